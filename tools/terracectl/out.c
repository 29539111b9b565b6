/* SPDX-License-Identifier: BSD-2-Clause */
/* Text, numbers and tables for people. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/terracectl/terracectl.h"

/* ---- text -------------------------------------------------------------------------------------- */

/* Of UTF-8 (all that comes out of JSON is): C0, DEL, and C1 as c2 80 … c2 9f. */
static bool
is_control(const char *s)
{
	unsigned char c = (unsigned char)s[0], next = (unsigned char)(c != '\0' ? s[1] : '\0');
	return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

void
out_text(FILE *f, const char *s)
{
	for (; *s != '\0'; s++) {
		if (!is_control(s)) {
			fputc(*s, f);
			continue;
		}
		fputc('?', f);
		if ((unsigned char)*s == 0xc2)
			s++;
	}
}

void
out_styled(enum term_style s, const char *text)
{
	term_begin(s);
	out_text(stdout, text);
	term_end(s);
}

unsigned
text_columns(const char *s)
{
	unsigned n = 0;
	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void
text_duration(uint64_t s, char *buf, size_t cap)
{
	if (s >= 2 * 86400)
		snprintf(buf, cap, "%llu d", (unsigned long long)(s / 86400));
	else if (s >= 3600)
		snprintf(buf, cap, "%u h %u min", (unsigned)(s / 3600), (unsigned)(s % 3600 / 60));
	else if (s >= 60)
		snprintf(buf, cap, "%u min", (unsigned)(s / 60));
	else
		snprintf(buf, cap, "%u s", (unsigned)s);
}

void
text_rate(double v, char *buf, size_t cap)
{
	static const char units[] = {'\0', 'k', 'M', 'G', 'T'};
	unsigned unit = 0;

	if (!(v > 0))
		v = 0;
	while (v >= 999.5 && unit + 1 < sizeof units) {
		v /= 1000;
		unit++;
	}
	bool whole = v >= 99.95 || v == floor(v) || (unit == 0 && v >= 9.95);
	snprintf(buf, cap, "%.*f%.1s", whole ? 0 : 1, v, &units[unit]);
}

void
text_time(double s, char *buf, size_t cap)
{
	struct tm tm;
	time_t t = s > 0 && s < 1e11 ? (time_t)s : 0;

	if (t == 0 || localtime_r(&t, &tm) == NULL || strftime(buf, cap, "%F %T", &tm) == 0)
		snprintf(buf, cap, "-");
}

const char *
text_short_name(const char *name)
{
	const char *colon = strrchr(name, ':');
	return colon != NULL && colon[1] != '\0' ? colon + 1 : name;
}

/* ---- getters ------------------------------------------------------------------------------------- */

const char *
get_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s != NULL ? s : "";
}

json_int_t
get_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

double
get_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool
get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const json_t *
find_named(const json_t *list, const char *name)
{
	size_t i;
	const json_t *o;

	json_array_foreach(list, i, o) if (strcmp(get_text(o, "name"), name) == 0) return o;
	return NULL;
}

/* ---- tables ---------------------------------------------------------------------------------------- */

struct cell {
	char *text;
	enum term_style style;
};

struct table {
	const struct column *columns;
	unsigned column_count;
	struct cell *cells;
	size_t count, cap;
};

static void *
must(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "%s: out of memory\n", tool_name());
		exit(TOOL_FAILED);
	}
	return p;
}

struct table *
table_create(const struct column *columns, unsigned count)
{
	struct table *t = must(calloc(1, sizeof *t));
	t->columns = columns;
	t->column_count = count;
	return t;
}

void
table_add(struct table *t, const char *text)
{
	if (t->count == t->cap) {
		t->cap = t->cap > 0 ? 2 * t->cap : 64;
		t->cells = must(realloc(t->cells, t->cap * sizeof *t->cells));
	}
	t->cells[t->count++] = (struct cell){.text = must(strdup(text))};
}

void
table_addf(struct table *t, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	table_add(t, must(text));
	free(text);
}

void
table_style(struct table *t, enum term_style s)
{
	t->cells[t->count - 1].style = s;
}

unsigned
table_rows(const struct table *t)
{
	return (unsigned)(t->count / t->column_count);
}

static const struct cell *
cell_at(const struct table *t, unsigned row, unsigned column)
{
	return &t->cells[(size_t)row * t->column_count + column];
}

static void
spaces(unsigned n)
{
	for (; n > 0; n--)
		fputc(' ', stdout);
}

/* Nothing is padded behind the last column. */
static void
print_cell(const char *text, enum term_style style, unsigned width, bool right, bool last)
{
	unsigned pad = width - text_columns(text);

	if (right)
		spaces(pad);
	out_styled(style, text);
	if (!right && !last)
		spaces(pad);
}

/* The width of a column; 0: it isn't shown. */
static unsigned
column_width(const struct table *t, unsigned column, bool header)
{
	unsigned width = 0;
	bool filled = false;

	for (unsigned row = 0; row < table_rows(t); row++) {
		unsigned n = text_columns(cell_at(t, row, column)->text);
		filled |= n > 0;
		width = n > width ? n : width;
	}
	if (t->columns[column].optional && !filled)
		return 0;
	unsigned title = header ? text_columns(t->columns[column].title) : 0;
	return title > width ? title : width;
}

static void
print_row(const struct table *t, const unsigned *widths, unsigned row, bool header)
{
	unsigned last = 0;
	bool first = true;

	for (unsigned c = 0; c < t->column_count; c++)
		if (widths[c] > 0 && (header || cell_at(t, row, c)->text[0] != '\0'))
			last = c;
	for (unsigned c = 0; c <= last; c++) {
		if (widths[c] == 0)
			continue;
		if (!first)
			spaces(2);
		first = false;
		const struct cell *cell = header ? NULL : cell_at(t, row, c);
		print_cell(header ? t->columns[c].title : cell->text,
		    header ? STYLE_BOLD : cell->style, widths[c], t->columns[c].right, c == last);
	}
	fputc('\n', stdout);
}

void
table_print(const struct table *t, bool header)
{
	unsigned *widths = must(calloc(t->column_count, sizeof *widths));

	for (unsigned c = 0; c < t->column_count; c++)
		widths[c] = column_width(t, c, header);
	if (header)
		print_row(t, widths, 0, true);
	for (unsigned row = 0; row < table_rows(t); row++)
		print_row(t, widths, row, false);
	free(widths);
}

void
table_destroy(struct table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}
