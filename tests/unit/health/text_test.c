/* SPDX-License-Identifier: BSD-2-Clause */
/* Hostile bytes as text. */
#include "health/health_priv.h"
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

static void
text_is_made_printable_and_cut_between_characters(void **state)
{
	static const struct {
		const char *in;
		size_t cap;
		const char *out;
	} rows[] = {
	    {"plain", 16, "plain"},
	    {"", 16, ""},
	    {"a\nb\tc\x7f", 16, "a?b?c?"},
	    {"\xc3\xa9t\xc3\xa9", 16, "\xc3\xa9t\xc3\xa9"},
	    {"\xc3\xa9t\xc3\xa9", 5, "\xc3\xa9t"}, /* the last one has no room */
	    {"\xc3", 16, "?"},                     /* its end is missing */
	    {"\xc0\x80", 16, "??"},                /* overlong */
	    {"\xed\xa0\x80", 16, "???"},           /* a surrogate */
	    {"\xf4\x90\x80\x80", 16, "????"},      /* beyond U+10FFFF */
	    {"\xf0\x9f\x90\x98!", 16, "\xf0\x9f\x90\x98!"},
	    {"\xc2\x9b"
	     "31m",
	        16, "?31m"}, /* CSI of ISO 6429 */
	    {"\x1b[31m", 16, "?[31m"},
	    {"abc", 1, ""},
	};
	char buf[16];
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		health_text(buf, rows[i].cap, rows[i].in);
		assert_string_equal(buf, rows[i].out);
	}
}

/* Whatever the bytes: what comes out is a string that JSON takes. */
static void
any_bytes_become_a_json_string(void **state)
{
	char in[24], out[20];
	(void)state;
	srand(7);
	for (unsigned i = 0; i < 200000; i++) {
		size_t len = (size_t)rand() % (sizeof in - 1);
		for (size_t k = 0; k < len; k++)
			in[k] = (char)(rand() % 4 ? 0x80 | rand() : rand());
		in[len] = '\0';
		health_text(out, sizeof out, in);
		json_t *j = json_string(out);
		assert_non_null(j);
		json_decref(j);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_is_made_printable_and_cut_between_characters),
	    cmocka_unit_test(any_bytes_become_a_json_string),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
