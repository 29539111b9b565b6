/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace.conf(5) and the sample say what the program does: every example is read without a
 * mistake, every key is described with its default, and nothing else is.
 */
#include "tests/unit/conf/conf_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *
read_file(const char *path)
{
	char *text = NULL;
	size_t cap = 0;
	FILE *in = fopen(path, "re");
	assert_non_null(in);
	assert_true(getdelim(&text, &cap, '\0', in) > 0);
	fclose(in);
	return text;
}

/* ---- examples ------------------------------------------------------------------------------------ */

/* Secrets of the examples lie in the test's folder. */
static char *
with_secrets(struct fixture *f, const char *text)
{
	static const char place[] = "/etc/terrace/secrets/";
	char *ret;
	size_t size;
	FILE *out = open_memstream(&ret, &size);
	assert_non_null(out);
	for (const char *at; (at = strstr(text, place)) != NULL;) {
		char name[32], secret[64];
		const char *from = at + strlen(place);
		snprintf(name, sizeof name, "%.*s", (int)strspn(from, "abcdefghijklmnopqrstuvwxyz"),
		    from);
		snprintf(secret, sizeof secret, "%.5s-0123456789", name);
		fwrite(text, 1, (size_t)(at - text), out);
		fprintf(out, "%s", fixture_file(f, name, secret, 0600));
		text = from + strlen(name);
	}
	fputs(text, out);
	fclose(out);
	return ret;
}

/* Remarks are allowed only where the example says it is a part. */
static void
expect_right(struct fixture *f, const char *text, bool remarks)
{
	char *whole = with_secrets(f, text);
	fixture_text(f, whole);
	free(whole);
	if (f->errors.wrong > 0 || (!remarks && f->errors.count > 0))
		fail_msg("%s\n%s", text, f->messages);
}

/* What mdoc writes otherwise. */
static void
unescape(char *s)
{
	char *to = s;
	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] == 'e') {
			*to++ = '\\';
			s++;
		} else if (s[0] == '\\' && s[1] == '&') {
			s++;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static void
examples_of_the_manual(void **state)
{
	static const char begin[] = ".Bd -literal -offset indent\n";
	char *man = read_file(TERRACE_MAN), *examples = strstr(man, ".Sh EXAMPLES");
	unsigned count = 0;

	assert_non_null(examples);
	for (char *at = man; (at = strstr(at, begin)) != NULL; count++) {
		char *text = at + strlen(begin), *end = strstr(text, "\n.Ed");
		assert_non_null(end);
		bool part = at < examples; /* the one that shows the syntax */
		at = end + 2;
		end[1] = '\0';
		unescape(text);
		expect_right(*state, text, part);
	}
	assert_int_equal(count, 7);
	free(man);
}

static void
the_sample_as_it_is(void **state)
{
	char *text = read_file(TERRACE_SAMPLE);
	expect_right(*state, text, false);
	assert_int_equal(((struct fixture *)*state)->conf->target_count, 1);
	free(text);
}

static void
the_sample_with_all_its_examples(void **state)
{
	struct fixture *f = *state;
	char *text = read_file(TERRACE_SAMPLE);
	for (char *line = text; line != NULL && *line != '\0';) {
		if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
			line[0] = ' ';
		line = strchr(line, '\n');
		line += line != NULL;
	}
	expect_right(f, text, false);
	assert_int_equal(f->conf->lun_count, 7);
	assert_int_equal(f->conf->target_count, 2);
	assert_int_equal(f->conf->limit_count, 2);
	free(text);
}

/* ---- options -------------------------------------------------------------------------------------- */

static const struct {
	const char *object, *section;
} sections[] = {
    {"", ".Sh TOP LEVEL\n"},
    {"cache", ".Sh CACHE\n"},
    {"lun", ".Sh LUN\n"},
    {"portal", ".Sh PORTAL\n"},
    {"target", ".Sh TARGET\n"},
    {"group", ".Sh GROUP\n"},
    {"chap", ".Sh CHAP\n"},
    {"initiators", ".Sh INITIATORS\n"},
    {"discovery", ".Sh DISCOVERY\n"},
    {"hooks", ".Sh HOOKS\n"},
    {"limits", ".Sh LIMITS\n"},
};
#define SECTION_COUNT (sizeof sections / sizeof sections[0])

/* A copy of the section, or of the item of a section, without its title. */
static char *
section(const char *man, const char *title)
{
	const char *from = strstr(man, title);
	if (from == NULL)
		fail_msg("no %s", title);
	from += strlen(title);
	const char *end = strstr(from, ".Sh ");
	return strndup(from, (size_t)(end - from));
}

static char *
item(const char *text, const char *key)
{
	char title[64];
	snprintf(title, sizeof title, ".It Ic %s ", key);
	const char *from = strstr(text, title);
	if (from == NULL)
		return NULL;
	from += strlen(title);
	const char *end = strstr(from, "\n.It Ic ");
	return end != NULL ? strndup(from, (size_t)(end - from)) : strdup(from);
}

static void
the_manual_has_every_option(void **state)
{
	(void)state;
	char *man = read_file(TERRACE_MAN);
	unsigned count;
	const struct conf_option *o = conf_options(&count);
	for (unsigned s = 0; s < SECTION_COUNT; s++) {
		char *text = section(man, sections[s].section);
		for (unsigned i = 0; i < count; i++) {
			if (strcmp(o[i].object, sections[s].object) != 0)
				continue;
			char *description = item(text, o[i].key), fallback[128];
			if (description == NULL)
				fail_msg("%s of '%s' isn't in the manual", o[i].key, o[i].object);
			/* The first letter is a capital there. */
			if (strstr(description, o[i].help + 1) == NULL)
				fail_msg("%s: not '%s'", o[i].key, o[i].help);
			snprintf(fallback, sizeof fallback, "Default: %s.",
			    o[i].fallback != NULL ? o[i].fallback : "");
			if (o[i].fallback != NULL && strstr(description, fallback) == NULL)
				fail_msg("%s: not '%s'", o[i].key, fallback);
			free(description);
		}
		free(text);
	}
	free(man);
}

static void
the_manual_has_no_other_option(void **state)
{
	(void)state;
	char *man = read_file(TERRACE_MAN);
	unsigned count, found = 0;
	const struct conf_option *o = conf_options(&count);
	for (unsigned s = 0; s < SECTION_COUNT; s++) {
		char *text = section(man, sections[s].section);
		for (char *at = text; (at = strstr(at, ".It Ic ")) != NULL; found++) {
			at += 7;
			size_t len = strcspn(at, " \n");
			bool known = false;
			for (unsigned i = 0; i < count; i++)
				known |= strcmp(o[i].object, sections[s].object) == 0 &&
				         strlen(o[i].key) == len && memcmp(o[i].key, at, len) == 0;
			if (!known)
				fail_msg("%.*s in %s", (int)len, at, sections[s].section);
		}
		free(text);
	}
	assert_int_equal(found, count);
	free(man);
}

/* An object of the table that the list above doesn't have would not be looked at. */
static void
every_object_has_its_section(void **state)
{
	(void)state;
	unsigned count;
	const struct conf_option *o = conf_options(&count);
	assert_in_range(count, 60, 128);
	for (unsigned i = 0; i < count; i++) {
		bool known = false;
		for (unsigned s = 0; s < SECTION_COUNT; s++)
			known |= strcmp(o[i].object, sections[s].object) == 0;
		assert_true(known);
		assert_non_null(o[i].argument);
		assert_true(o[i].help != NULL && o[i].help[0] != '\0');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(examples_of_the_manual),
	    TEST(the_sample_as_it_is),
	    TEST(the_sample_with_all_its_examples),
	    TEST(the_manual_has_every_option),
	    TEST(the_manual_has_no_other_option),
	    TEST(every_object_has_its_section),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
