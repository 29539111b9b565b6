/* SPDX-License-Identifier: BSD-2-Clause */
/* What holds between objects, and many mistakes at once. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LUN_A "lun a { store /srv/a }\n"
#define PORTAL_P "portal p { listen 10.0.0.1 }\n"
#define TARGET "target iqn.2026-11.example:t "
/* Three lines before what is tested; it begins in line 4. */
#define FRAME LUN_A PORTAL_P TARGET "{ portals p\n"

/* ---- names and references ------------------------------------------------------------------------ */

static void
names_are_there_once(void **state)
{
	expect_messages(*state, LUN_A "lun b { store /b }\nlun a { store /c }",
	    "3:5: lun 'a' is there already (line 1)\n");
	expect_messages(*state, PORTAL_P "portal p { listen 10.0.0.2 }",
	    "2:8: portal 'p' is there already (line 1)\n");
	expect_messages(*state,
	    FRAME "open yes; lun 0 a }\n" TARGET "{ portals p; open yes; lun 0 a }\n"
	          "target IQN.2026-11.EXAMPLE:T { portals p; open yes; lun 0 a }",
	    "5:8: target 'iqn.2026-11.example:t' is there already (line 3)\n"
	    "6:8: target 'iqn.2026-11.example:t' is there already (line 3)\n");
	expect_messages(*state,
	    FRAME "group g { initiators x; lun 0 a }\n group g { initiators y; lun 0 a } }",
	    "5:8: group 'g' is there already (line 4)\n");
	expect_messages(*state,
	    FRAME "chap c { secret abcdefghijkl }\n chap c { secret abcdefghijkl }\n"
	          "group g { initiators x; user c; lun 0 a } }",
	    "5:7: chap 'c' is there already (line 4)\n");
}

static void
references_lead_somewhere(void **state)
{
	expect_messages(*state,
	    "lun vmfs1 { store /srv/a }\nportal lab { listen 10.0.0.1 }\n" TARGET
	    "{ portals lab lap\n"
	    " group g { initiators x; lun 0 vmfs1; lun 1 vmsf1; user esx }\n"
	    " group h { initiators y; user esxi; lun 5 nothing }\n"
	    " chap esx { secret abcdefghijkl } }",
	    "3:44: there is no portal 'lap'; did you mean 'lab'?\n"
	    "4:45: there is no lun 'vmsf1'; did you mean 'vmfs1'?\n"
	    "5:31: there is no chap in this target named 'esxi'; did you mean 'esx'?\n"
	    "5:43: there is no lun 'nothing'\n");
}

static void
users_of_other_targets_are_not_known(void **state)
{
	expect_messages(*state,
	    FRAME "group g { initiators x; user c; lun 0 a } }\n"
	          "target iqn.2026-11.example:u { portals p; chap c { secret abcdefghijkl }\n"
	          "group g { initiators x; user c; lun 0 a } }",
	    "4:30: there is no chap in this target named 'c'\n");
}

static void
lun_numbers_and_luns_once_in_a_group(void **state)
{
	expect_messages(*state,
	    "lun b { store /srv/b }\n" FRAME "group g { initiators x\nlun 0 a\nlun 0 b\nlun 1 a }\n"
	    "group h { initiators y; lun 0 a; lun 1 b } }",
	    "7:5: LUN number 0 is there already (line 6)\n"
	    "8:7: lun 'a' has a number already (line 6)\n");
}

static void
portals_once_in_a_target(void **state)
{
	expect_messages(*state, LUN_A PORTAL_P TARGET "{ portals p p; open yes; lun 0 a }",
	    "3:42: portal 'p' is there already (line 3)\n");
}

static void
sixty_four_portals_in_a_target(void **state)
{
	struct fixture *f = *state;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	for (unsigned i = 0; i < 65; i++)
		fprintf(out, "portal p%u { listen 10.0.0.1:%u }\n", i, i + 1);
	fprintf(out, LUN_A TARGET "{ open yes; lun 0 a; portals");
	for (unsigned i = 0; i < 65; i++)
		fprintf(out, " p%u", i);
	fprintf(out, " }\n");
	fclose(out);
	fixture_text(f, text);
	free(text);
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "too many portals of one target: at most 64"));
}

/* ---- stores, identities, addresses ------------------------------------------------------------------ */

static void
a_store_is_served_once(void **state)
{
	expect_messages(*state,
	    "lun a { store /srv/x }\nlun b { store file:/srv/x }\nlun c { store block:/srv/x }\n"
	    "lun d { store lvm:a/b }\nlun e { store lvm:a/b }\n"
	    "lun f { store ram:; size 1MiB }\nlun g { store ram:; size 1MiB }",
	    "2:15: store '/srv/x' is there already (line 1)\n"
	    "3:15: store '/srv/x' is there already (line 1)\n"
	    "5:15: store 'lvm:a/b' is there already (line 4)\n");
}

static void
an_identity_is_one_luns(void **state)
{
	expect_messages(*state,
	    "lun a { store /a; uuid 01234567-89ab-cdef-0123-456789abcdef; serial s; t10_id t\n"
	    "naa 6001405a1b2c3d4e5f60718293a4b5c6; eui64 3a1b2c3d4e5f6071 }\n"
	    "lun b { store /b\nuuid 01234567-89AB-CDEF-0123-456789ABCDEF\nserial s\nt10_id t\n"
	    "naa naa.6001405A1b2c3d4e5f60718293a4b5c6\neui64 0x3A1b2c3d4e5f6071 }",
	    "4:6: uuid '01234567-89ab-cdef-0123-456789abcdef' is there already (line 1)\n"
	    "5:8: serial 's' is there already (line 1)\n"
	    "6:8: t10_id 't' is there already (line 1)\n"
	    "7:5: naa '6001405a1b2c3d4e5f60718293a4b5c6' is there already (line 2)\n"
	    "8:7: eui64 '3a1b2c3d4e5f6071' is there already (line 2)\n");
	expect_messages(*state, "lun a { store /a; naa none }\nlun b { store /b; naa none }",
	    "1:1: remark: no target shows lun 'a': add lun N a to a group\n"
	    "2:1: remark: no target shows lun 'b': add lun N b to a group\n");
}

static void
an_address_is_listened_on_once(void **state)
{
	expect_messages(*state,
	    "portal p { listen 10.0.0.1 10.0.0.2:0 }\nportal q { listen 10.0.0.2:0 10.0.0.1:3260 }",
	    "2:30: address '10.0.0.1:3260' is there already (line 1)\n");
}

static void
sizes_fit_the_blocks(void **state)
{
	expect_messages(*state, "lun a { store /a; size 1KiB; block_size 4096 }",
	    "1:24: the size is no multiple of the block size, 4096\n");
	expect_messages(*state, "lun a { store /a; size 1000 }",
	    "1:24: the size is no multiple of the block size, 512\n");
}

static void
memory_needs_a_size(void **state)
{
	expect_messages(*state, "lun a { store null: }",
	    "1:15: null: needs a size: add size SIZE, as in size 1GiB\n");
}

/* ---- targets -------------------------------------------------------------------------------------------- */

static void
open_goes_with_luns(void **state)
{
	expect_messages(*state, FRAME "open yes }",
	    "1:1: remark: no target shows lun 'a': add lun N a to a group\n"
	    "4:1: remark: an open target shows its own lun lines and has none: add lun N NAME\n");
	expect_messages(*state, FRAME "lun 0 a }",
	    "4:1: nobody would see this: say open yes, or move the line into a group\n");
	expect_messages(*state, FRAME "open no\nlun 0 a }",
	    "5:1: nobody would see this: say open yes, or move the line into a group\n");
}

static void
a_target_needs_portals(void **state)
{
	expect_messages(*state, LUN_A TARGET "{ open yes; lun 0 a }",
	    "2:1: a target needs 'portals': add portals NAME ...\n");
}

static void
secrets_of_two_directions_differ(void **state)
{
	expect_messages(*state,
	    FRAME "chap c { secret abcdefghijkl; mutual_user m; mutual_secret abcdefghijkl }\n"
	          "chap d { secret abcdefghijkm; mutual_user m; mutual_secret abcdefghijkl }\n"
	          "group g { initiators x; user c d; lun 0 a } }",
	    "4:1: chap 'c' has the same secret in both directions: they must differ\n"
	    "5:1: the mutual secret of chap 'd' is the secret of chap 'c': they must differ\n");
}

static void
mutual_chap_is_whole(void **state)
{
	expect_messages(*state,
	    "discovery {\nchap a { secret abcdefghijkl; mutual_user m }\n"
	    "chap b { secret abcdefghijkl; mutual_secret abcdefghijkm }\nchap c { }\n}",
	    "2:1: chap 'a' has a mutual_user but no mutual secret: add mutual_secret_file PATH\n"
	    "3:1: chap 'b' has a mutual secret but no mutual_user: add mutual_user NAME\n"
	    "4:1: chap 'c' needs a secret: add secret_file PATH\n");
}

static void
chap_names_are_told_apart(void **state)
{
	expect_messages(*state,
	    "discovery {\nchap a { secret abcdefghijkl }\nchap b { user a; secret abcdefghijkl "
	    "}\n}",
	    "3:15: user 'a' is there already (line 2)\n");
}

/* ---- remarks ---------------------------------------------------------------------------------------------- */

static void
remarks_refuse_nothing(void **state)
{
	struct fixture *f = *state;
	expect_messages(f,
	    LUN_A PORTAL_P
	    "portal q { listen 10.0.0.2 }\nlun b { store /srv/b }\n" TARGET
	    "{ portals p; group g { initiators x }\n"
	    "chap c { secret abcdefghijkl } }\n"
	    "target iqn.2026-11.example:u { portals p; group g { initiators x; lun 0 a } }\n"
	    "target iqn.2026-11.example:v { portals p }\n",
	    "3:1: remark: no target is on portal 'q': add portals q to one\n"
	    "4:1: remark: no target shows lun 'b': add lun N b to a group\n"
	    "5:43: remark: group 'g' shows no LUN: add lun N NAME\n"
	    "6:1: remark: no group asks for chap 'c': add user c to one\n"
	    "8:1: remark: target iqn.2026-11.example:v admits nobody: add a group, or say open yes "
	    "and lun lines\n");
	assert_int_equal(f->built, 0);
	assert_int_equal(f->errors.wrong, 0);
}

static void
remarks_leave_room_for_errors(void **state)
{
	struct fixture *f = *state;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	for (unsigned i = 0; i < 300; i++)
		fprintf(out, "lun l%u { store /srv/%u }\n", i, i);
	fclose(out);
	fixture_text(f, text);
	free(text);
	assert_int_equal(f->built, 0);
	assert_int_equal(f->errors.count, CONF_ERRORS_MAX / 2);
	assert_int_equal(f->errors.dropped, 300 - CONF_ERRORS_MAX / 2);
	assert_int_equal(f->errors.wrong, 0);
}

/* ---- all at once ---------------------------------------------------------------------------------------------- */

static void
ten_mistakes_in_one_file(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "terrace.conf",
	    "# ten mistakes\n"
	    "lun vmfs1 { stroe lvm:raid10/vmfs1 ; size 2TB }\n"
	    "lun vmfs1 { store lvm:raid10/vmfs1 }\n"
	    "\n"
	    "portal san { listen 192.0.2.10:99999 }\n"
	    "target iqn.2026-13.example:storage {\n"
	    "\tportals sann\n"
	    "\theader_digest always\n"
	    "\tgroup esx { user esx ; initiators * ; lun 0 vmfs2 }\n"
	    "}\n"
	    "limits { depth_max \"9 }\n",
	    0600);
	fixture_path(f, "terrace.conf");
	assert_string_equal(f->messages,
	    "terrace.conf:2:1: a lun needs 'store': add store STORE\n"
	    "terrace.conf:2:13: 'stroe' isn't known by this version in a lun; did you mean "
	    "'store'?\n"
	    "terrace.conf:2:43: '2TB' is no size: write it as 512MiB, 10GiB, 2TiB or bytes\n"
	    "terrace.conf:3:5: lun 'vmfs1' is there already (line 2)\n"
	    "terrace.conf:5:21: listen: '192.0.2.10:99999': a port is a number from 1 to 65535 (0: "
	    "any free one)\n"
	    "terrace.conf:6:8: 'iqn.2026-13.example:storage' is no name for a target: write "
	    "iqn.YEAR-MONTH.DOMAIN:NAME, as in iqn.2026-11.com.example:storage\n"
	    "terrace.conf:7:10: there is no portal 'sann'; did you mean 'san'?\n"
	    "terrace.conf:8:16: 'always' is no header_digest that this version knows: "
	    "required|offered\n"
	    "terrace.conf:9:19: there is no chap in this target named 'esx'\n"
	    "terrace.conf:9:46: there is no lun 'vmfs2'; did you mean 'vmfs1'?\n"
	    "terrace.conf:11:8: this '{' is never closed: a '}' is missing\n"
	    "terrace.conf:11:20: this quote is never closed: a string ends on the line it begins "
	    "on\n"
	    "terrace.conf:11:20: '9 }' is no depth_max: a number from 1 to 1024\n");
	assert_int_equal(f->parsed, -EINVAL);
	assert_int_equal(f->built, -EINVAL);
}

/* What a hostile file can cost: sorted lists, not each against each. */
static void
many_objects_take_no_time(void **state)
{
	struct fixture *f = *state;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	for (unsigned i = 0; i < 20000; i++)
		fprintf(out, "lun l%u { store /%u }\n", i % 10000, i % 10000);
	fclose(out);
	fixture_text(f, text);
	free(text);
	assert_int_equal(f->errors.count, CONF_ERRORS_MAX);
	assert_int_equal(f->errors.wrong, 20000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(names_are_there_once),
	    TEST(references_lead_somewhere),
	    TEST(users_of_other_targets_are_not_known),
	    TEST(lun_numbers_and_luns_once_in_a_group),
	    TEST(portals_once_in_a_target),
	    TEST(sixty_four_portals_in_a_target),
	    TEST(a_store_is_served_once),
	    TEST(an_identity_is_one_luns),
	    TEST(an_address_is_listened_on_once),
	    TEST(sizes_fit_the_blocks),
	    TEST(memory_needs_a_size),
	    TEST(open_goes_with_luns),
	    TEST(a_target_needs_portals),
	    TEST(secrets_of_two_directions_differ),
	    TEST(mutual_chap_is_whole),
	    TEST(chap_names_are_told_apart),
	    TEST(remarks_refuse_nothing),
	    TEST(remarks_leave_room_for_errors),
	    TEST(ten_mistakes_in_one_file),
	    TEST(many_objects_take_no_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
