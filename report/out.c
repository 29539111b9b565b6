/* SPDX-License-Identifier: BSD-2-Clause */
/* Text that grows, escaped for where it goes; fields; numbers for people. */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "report/report_priv.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static bool
room(struct out *o, size_t more)
{
	if (o->failed)
		return false;
	if (o->cap - o->len > more)
		return true;
	size_t cap = o->cap < 1024 ? 1024 : o->cap;
	while (cap - o->len <= more) {
		if (cap > SIZE_MAX / 2) {
			o->failed = true;
			return false;
		}
		cap *= 2;
	}
	char *text = realloc(o->text, cap);
	if (text == NULL) {
		o->failed = true;
		return false;
	}
	o->text = text;
	o->cap = cap;
	return true;
}

void
out_bytes(struct out *o, const char *s, size_t len)
{
	if (!room(o, len))
		return;
	memcpy(o->text + o->len, s, len);
	o->len += len;
	o->text[o->len] = '\0';
}

void
out_add(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int len;

	if (!room(o, 256))
		return;
	va_start(ap, fmt);
	len = vsnprintf(o->text + o->len, o->cap - o->len, fmt, ap);
	va_end(ap);
	if (len < 0) {
		o->failed = true;
		return;
	}
	if ((size_t)len >= o->cap - o->len) {
		if (!room(o, (size_t)len))
			return;
		va_start(ap, fmt);
		len = vsnprintf(o->text + o->len, o->cap - o->len, fmt, ap);
		va_end(ap);
	}
	o->len += (size_t)len;
}

char *
out_take(struct out *o, size_t *ret_len)
{
	if (o->failed || !room(o, 1)) {
		free(o->text);
		*o = (struct out){.text = NULL};
		return NULL;
	}
	char *text = o->text;
	text[o->len] = '\0';
	if (ret_len != NULL)
		*ret_len = o->len;
	*o = (struct out){.text = NULL};
	return text;
}

/* ---- escaping: `s` is UTF-8, as all text of answers ---------------------------------------------------- */

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* Bytes of a character that is bad everywhere: C1 controls (a terminal may obey them), U+FFFE, U+FFFF, and
 * those that turn round the direction of writing, so that a name shows as another one. 0: it is none. */
static size_t
bad_len(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;

	if (u[0] == 0xc2 && u[1] >= 0x80 && u[1] < 0xa0)
		return 2;
	if (u[0] == 0xef && u[1] == 0xbf && u[2] >= 0xbe)
		return 3;
	if (u[0] == 0xe2 && u[1] == 0x80 && u[2] >= 0xa8 && u[2] <= 0xae)
		return 3;
	if (u[0] == 0xe2 && u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9)
		return 3;
	return is_control(u[0]) ? 1 : 0;
}

/* What `special` gives for a byte goes in its place. */
static void
escape(struct out *o, const char *s, const char *(*special)(char c))
{
	const char *from = s;

	while (*s != '\0') {
		size_t bad = bad_len(s);
		const char *instead = bad > 0 ? REPLACEMENT : special(*s);
		if (instead == NULL) {
			s++;
			continue;
		}
		out_bytes(o, from, (size_t)(s - from));
		out_bytes(o, instead, strlen(instead));
		s += bad > 0 ? bad : 1;
		from = s;
	}
	out_bytes(o, from, (size_t)(s - from));
}

static const char *
no_special(char c)
{
	(void)c;
	return NULL;
}

static const char *
xml_special(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static const char *
label_special(char c)
{
	return c == '\\' ? "\\\\" : c == '"' ? "\\\"" : NULL;
}

void
out_plain(struct out *o, const char *s)
{
	escape(o, s, no_special);
}

void
out_xml(struct out *o, const char *s)
{
	escape(o, s, xml_special);
}

void
out_label(struct out *o, const char *s)
{
	escape(o, s, label_special);
}

void
out_url(struct out *o, const char *s)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

	for (; *s != '\0'; s++) {
		if (strchr(plain, *s) != NULL)
			out_bytes(o, s, 1);
		else
			out_add(o, "%%%02X", (unsigned)(unsigned char)*s);
	}
}

/* ---- fields ----------------------------------------------------------------------------------------------- */

const char *
get_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s != NULL ? s : "";
}

double
get_number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return json_is_number(v) ? json_number_value(v) : NAN;
}

const json_t *
get_window(const json_t *lun, int window_s)
{
	size_t i;
	const json_t *w;

	json_array_foreach(json_object_get(lun, "windows"), i, w)
	{
		if (json_integer_value(json_object_get(w, "window_s")) == window_s)
			return w;
	}
	return NULL;
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

static const struct short_text none = {"-"};

struct short_text
show_count(double n)
{
	struct short_text t;

	if (!isfinite(n))
		return none;
	if (n > 0 && n < 9.95 && n != (double)(int)n)
		snprintf(t.s, sizeof t.s, "%.1f", n);
	else if (n < 999.5)
		snprintf(t.s, sizeof t.s, "%.0f", n);
	else if (n < 999.95e3)
		snprintf(t.s, sizeof t.s, "%.1fk", n / 1e3);
	else if (n < 999.95e6)
		snprintf(t.s, sizeof t.s, "%.1fM", n / 1e6);
	else
		snprintf(t.s, sizeof t.s, "%.4gG", n / 1e9);
	return t;
}

struct short_text
show_bytes(double n)
{
	struct short_text t;

	if (!isfinite(n) || n < 0 || n >= 9.2e18)
		return none;
	text_format_size((uint64_t)n, t.s, sizeof t.s);
	return t;
}

struct short_text
show_percent(double n)
{
	struct short_text t;

	if (!isfinite(n))
		return none;
	snprintf(t.s, sizeof t.s, "%.0f%%", n * 100);
	return t;
}

struct short_text
show_ms(double us)
{
	struct short_text t;
	double ms = us / 1000;

	if (!isfinite(us))
		return none;
	snprintf(t.s, sizeof t.s, "%.*f", ms < 1 ? 3 : ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
	return t;
}

struct short_text
show_time(double us)
{
	struct short_text t;

	if (!isfinite(us))
		return none;
	if (us < 1000)
		snprintf(t.s, sizeof t.s, "%.3g \xc2\xb5s", us);
	else if (us < 1e6)
		snprintf(t.s, sizeof t.s, "%.3g ms", us / 1e3);
	else
		snprintf(t.s, sizeof t.s, "%.3g s", us / 1e6);
	return t;
}

/* Days, hours, minutes and seconds: the two greatest that aren't zero. */
struct short_text
show_duration(double s)
{
	struct short_text t = none;

	if (!isfinite(s) || s < 0 || s > 1e12)
		return t;
	unsigned long long n = (unsigned long long)s;
	if (n >= 86400)
		snprintf(t.s, sizeof t.s, "%llu d %llu h", n / 86400, n % 86400 / 3600);
	else if (n >= 3600)
		snprintf(t.s, sizeof t.s, "%llu h %llu min", n / 3600, n % 3600 / 60);
	else if (n >= 60)
		snprintf(t.s, sizeof t.s, "%llu min %llu s", n / 60, n % 60);
	else
		snprintf(t.s, sizeof t.s, "%llu s", n);
	return t;
}

struct short_text
show_date(double s)
{
	struct short_text t = none;
	struct tm tm;

	if (!isfinite(s) || s < 0 || s > 250e9)
		return t;
	time_t when = (time_t)s;
	if (gmtime_r(&when, &tm) == NULL || strftime(t.s, sizeof t.s, "%F %T UTC", &tm) == 0)
		return none;
	return t;
}
