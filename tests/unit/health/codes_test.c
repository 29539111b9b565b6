/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of conditions: complete, without doubles, and as in terrace-messages(7). */
#include "health/health.h"
#include "tests/cmocka_all.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
every_row_is_complete(void **state)
{
	(void)state;
	for (unsigned i = 0; i < HEALTH_CODE_COUNT; i++) {
		const struct health_condition *c = health_condition((enum health_code)i);
		assert_int_equal(strlen(c->code), 4);
		assert_int_equal(c->code[0], 'C');
		assert_true(isdigit((unsigned char)c->code[1]));
		const char *texts[] = {c->name, c->title, c->effect, c->action, c->explanation};
		for (unsigned t = 0; t < 5; t++) {
			assert_non_null(texts[t]);
			assert_true(strlen(texts[t]) > 3);
		}
		assert_int_equal(strcspn(c->name, " \n"), strlen(c->name));
		assert_true(c->title[strlen(c->title) - 1] != '.');
		unsigned marks = 0;
		for (const char *p = c->action; (p = strchr(p, '{')) != NULL; p++, marks++)
			assert_int_equal(strncmp(p, "{object}", 8), 0);
		assert_in_range(marks, 0, 2);
		for (unsigned o = 0; o < i; o++) {
			const struct health_condition *other =
			    health_condition((enum health_code)o);
			assert_true(strcmp(other->code, c->code) < 0); /* in order */
			assert_string_not_equal(other->name, c->name);
		}
	}
}

static void
codes_and_names_are_found(void **state)
{
	(void)state;
	assert_ptr_equal(health_condition_find("C204"), health_condition(HEALTH_STORE_GONE));
	assert_ptr_equal(health_condition_find("c204"), health_condition(HEALTH_STORE_GONE));
	assert_ptr_equal(health_condition_find("Store-Gone"), health_condition(HEALTH_STORE_GONE));
	assert_null(health_condition_find("C999"));
	assert_null(health_condition_find(""));
}

static void
event_names_are_found(void **state)
{
	enum health_event_kind kind = HEALTH_EVENT_COUNT;
	(void)state;
	for (unsigned i = 0; i < HEALTH_EVENT_COUNT; i++) {
		assert_int_equal(
		    health_event_parse(health_event_name((enum health_event_kind)i), &kind), 0);
		assert_int_equal(kind, i);
	}
	assert_int_equal(health_event_parse("all", &kind), -22);
	assert_int_equal(kind, HEALTH_EVENT_COUNT - 1);
}

/* ---- the manual page ----------------------------------------------------------------------------- */

/* The page as words with single blanks: macros and their quotes away. */
static char *
page_text(void)
{
	FILE *f = fopen(TERRACE_MAN, "r");
	char line[1024];
	size_t len = 0, cap = 1u << 20;
	char *out = malloc(cap);
	assert_non_null(f);
	assert_non_null(out);
	while (fgets(line, sizeof line, f) != NULL) {
		const char *p = line;
		if (strncmp(line, ".\\\"", 3) == 0 || strncmp(line, ".Pp", 3) == 0)
			continue;
		if (line[0] == '.') /* ".It Sy C101 …": the words */
			p += strcspn(line, " \n");
		for (; *p != '\0' && len + 2 < cap; p++) {
			if (p[0] == '\\' && p[1] == '&') {
				p++;
				continue;
			}
			if (p[0] == '\\' && p[1] == 'e') {
				out[len++] = '\\';
				p++;
				continue;
			}
			if (p[0] == '\\' && p[1] == '-')
				continue;
			if (strncmp(p, "\\(dq", 4) == 0 || strncmp(p, "\\(aq", 4) == 0) {
				out[len++] = p[2] == 'd' ? '"' : '\'';
				p += 3;
				continue;
			}
			bool blank = isspace((unsigned char)*p);
			if (!blank || (len > 0 && out[len - 1] != ' '))
				out[len++] = blank ? ' ' : *p;
		}
	}
	out[len] = '\0';
	fclose(f);
	return out;
}

static void
assert_on_page(const char *page, const char *text)
{
	char *copy = strdup(text);
	assert_non_null(copy);
	for (char *part = copy, *next; part != NULL; part = next) {
		next = strstr(part, "\n\n");
		if (next != NULL) {
			*next = '\0';
			next += 2;
		}
		if (strstr(page, part) == NULL)
			fail_msg("terrace-messages(7) doesn't say: %s", part);
	}
	free(copy);
}

static void
the_manual_page_says_the_same(void **state)
{
	char *page = page_text();
	unsigned codes = 0;
	(void)state;
	for (unsigned i = 0; i < HEALTH_CODE_COUNT; i++) {
		const struct health_condition *c = health_condition((enum health_code)i);
		char head[128];
		snprintf(head, sizeof head, "%s %s (%s)", c->code, c->name,
		    health_severity_name(c->severity));
		assert_on_page(page, head);
		assert_on_page(page, c->title);
		assert_on_page(page, c->effect);
		assert_on_page(page, c->action);
		assert_on_page(page, c->explanation);
	}
	for (const char *p = page; (p = strstr(p, " C")) != NULL; p++)
		if (isdigit((unsigned char)p[2]) && isdigit((unsigned char)p[3]) &&
		    isdigit((unsigned char)p[4]) && p[5] == ' ') {
			char code[5] = {p[1], p[2], p[3], p[4], '\0'};
			if (health_condition_find(code) == NULL)
				fail_msg("terrace-messages(7) has %s, the table doesn't", code);
			codes++;
		}
	assert_true(codes >= HEALTH_CODE_COUNT);
	for (unsigned i = 0; i < HEALTH_EVENT_COUNT; i++)
		assert_on_page(page, health_event_name((enum health_event_kind)i));
	free(page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_is_complete),
	    cmocka_unit_test(codes_and_names_are_found),
	    cmocka_unit_test(event_names_are_found),
	    cmocka_unit_test(the_manual_page_says_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
