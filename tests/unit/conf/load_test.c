/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole configurations: conf.d, overlays, owners, objects of the top level. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LUN(name) "lun " name " { store /srv/" name " }\n"
#define PORTAL "portal p { listen 10.0.0.1 }\n"
#define NAME "iqn.2026-11.example:t"
#define TARGET "target " NAME " { portals p }\n"
#define FRAME LUN("a") PORTAL TARGET

static void
expect_luns(const struct fixture *f, const char *names)
{
	char got[512] = "";
	if (f->conf == NULL)
		fail_msg("%s", f->messages);
	for (unsigned i = 0; i < f->conf->lun_count; i++) {
		strcat(got, f->conf->luns[i].name);
		strcat(got, " ");
	}
	assert_string_equal(got, names);
}

/* ---- what is read ---------------------------------------------------------------------------- */

static void
the_folder_is_read_after_the_file_in_the_order_of_names(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "t.conf", LUN("z"), 0644);
	fixture_dir_file(f, "conf.d/b.conf", LUN("b"), 0644);
	fixture_dir_file(f, "conf.d/lun-10.conf", LUN("10"), 0644);
	fixture_dir_file(f, "conf.d/lun-9.conf", LUN("9"), 0644);
	fixture_dir_file(f, "conf.d/A.conf", LUN("A"), 0644);
	fixture_dir_file(f, "conf.d/b.conf~", "rubbish {", 0644);
	fixture_dir_file(f, "conf.d/.b.conf", "rubbish {", 0644);
	fixture_dir_file(f, "conf.d/.tmp", "rubbish {", 0644);
	fixture_dir_file(f, "conf.d/.conf", "rubbish {", 0644);
	fixture_load(f, "t.conf", NULL, 0);
	expect_luns(f, "z A b 10 9 ");
	assert_string_equal(strstr(f->conf->luns[2].pos.file, "conf.d"), "conf.d/b.conf");
}

static void
without_a_folder_there_is_the_file(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "t.conf", LUN("z"), 0644);
	fixture_load(f, "t.conf", NULL, 0);
	expect_luns(f, "z ");
}

static void
what_an_include_has_read_isnt_read_again(void **state)
{
	struct fixture *f = *state;
	char link[256];
	fixture_file(f, "t.conf", "include conf.d/b*.conf\n" LUN("z"), 0644);
	fixture_dir_file(f, "conf.d/a.conf", LUN("a"), 0644);
	fixture_dir_file(f, "conf.d/b1.conf", LUN("b1"), 0644);
	fixture_dir_file(f, "conf.d/b2.conf", LUN("b2"), 0644);
	snprintf(link, sizeof link, "%s", fixture_file_path(f, "conf.d/zz.conf"));
	assert_int_equal(symlink("../t.conf", link), 0);
	fixture_load(f, "t.conf", NULL, 0);
	expect_luns(f, "b1 b2 z a ");
}

static void
what_cant_be_read_is_told_and_the_others_are_read(void **state)
{
	struct fixture *f = *state;
	char expected[512];
	fixture_file(f, "t.conf", "", 0644);
	fixture_dir_file(f, "conf.d/a.conf", "lun a { stroe x }", 0644);
	assert_int_equal(mkdir(fixture_file_path(f, "conf.d/b.conf"), 0755), 0);
	assert_int_equal(symlink("nowhere", fixture_file_path(f, "conf.d/c.conf")), 0);
	assert_int_equal(mkfifo(fixture_file_path(f, "conf.d/d.conf"), 0600), 0);
	fixture_dir_file(f, "conf.d/e.conf", "lunn e { }", 0644);
	fixture_load(f, "t.conf", NULL, 0);
	snprintf(expected, sizeof expected,
	    "conf.d/a.conf:1:1: a lun needs 'store': add store STORE\n"
	    "conf.d/a.conf:1:9: 'stroe' isn't known by this version in a lun; did you mean "
	    "'store'?\n"
	    "conf.d/b.conf:1:1: %s/conf.d/b.conf is a folder: name its files, as in "
	    "%s/conf.d/b.conf/*.conf\n",
	    f->dir, f->dir);
	assert_memory_equal(f->messages, expected, strlen(expected));
	assert_non_null(strstr(f->messages, "conf.d/c.conf:1:1: can't read "));
	assert_non_null(strstr(f->messages, "d.conf is no regular file"));
	assert_non_null(strstr(f->messages, "conf.d/e.conf:1:1: 'lunn' isn't known"));
	assert_int_equal(f->errors.count, 6);
}

static void
a_folder_that_is_none_is_an_error(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "t.conf", LUN("a"), 0644);
	fixture_file(f, "conf.d", "", 0644);
	fixture_load(f, "t.conf", NULL, 0);
	assert_non_null(strstr(f->messages, "t.conf:1:1: can't read "));
	assert_non_null(strstr(f->messages, "conf.d: Not a directory"));
}

static void
a_file_that_isnt_there_is_one_error(void **state)
{
	struct fixture *f = *state;
	fixture_dir_file(f, "conf.d/lun-a.conf", LUN("a"), 0644);
	fixture_load(f, "t.conf", NULL, 0);
	assert_int_equal(f->errors.count, 1);
	assert_non_null(strstr(f->messages, "t.conf:1:1: can't read"));
}

/* Each in its file, line and column, in the order of the files. */
static void
mistakes_of_all_files_are_told_at_once(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "more.conf", "\n  loops 99\n", 0644);
	fixture_file(f, "t.conf",
	    PORTAL "lun a { store /srv/a; sise 1GiB }\n"
	           "include more.conf\n"
	           "target " NAME " { portals p q; open maybe }\n"
	           "limits { depth_max 0 }\n",
	    0644);
	fixture_dir_file(f, "conf.d/chap-c.conf", "chap c {\n\tsecret abcdefghijkl\n}\n", 0600);
	fixture_dir_file(f, "conf.d/group-g.conf",
	    "group g {\n\ttarget iqn.2026-11.example:u\n\tlun 0 b\n}\n", 0644);
	fixture_dir_file(f, "conf.d/lun-a.conf", "lun a {\n\tstore /srv/b\n}\n", 0644);
	fixture_dir_file(f, "conf.d/lun-b.conf", "lun b {\n\tstore /srv/a\n\tuuid 1\n}\n", 0644);
	fixture_load(f, "t.conf", NULL, 0);
	for (char *dir; (dir = strstr(f->messages, f->dir)) != NULL;)
		memmove(dir, dir + strlen(f->dir), strlen(dir + strlen(f->dir)) + 1);
	assert_string_equal(f->messages,
	    "t.conf:2:23: 'sise' isn't known by this version in a lun; did you mean 'size'?\n"
	    "more.conf:2:9: '99' is no loops: a number from 1 to 32\n"
	    "t.conf:4:1: remark: target iqn.2026-11.example:t admits nobody: add a group, or say "
	    "open yes and lun lines\n"
	    "t.conf:4:42: there is no portal 'q'\n"
	    "t.conf:4:50: 'maybe' is neither yes nor no: write open yes or open no\n"
	    "t.conf:5:20: '0' is no depth_max: a number from 1 to 1024\n"
	    "conf.d/chap-c.conf:1:1: chap 'c' needs either a target or discovery: add target NAME, "
	    "or discovery yes\n"
	    "conf.d/group-g.conf:1:1: a group needs 'initiators': add initiators PATTERN ...\n"
	    "conf.d/group-g.conf:2:9: there is no target 'iqn.2026-11.example:u'; did you mean "
	    "'iqn.2026-11.example:t'?\n"
	    "conf.d/lun-a.conf:1:5: lun 'a' is there already (/t.conf:2)\n"
	    "conf.d/lun-b.conf:2:8: store '/srv/a' is there already (/t.conf:2)\n"
	    "conf.d/lun-b.conf:3:7: '1' is no uuid: write it as "
	    "01234567-89ab-cdef-0123-456789abcdef "
	    "('uuidgen' makes one)\n");
	assert_int_equal(f->errors.wrong, 11);
}

/* ---- overlays -------------------------------------------------------------------------------- */

static void
an_overlay_replaces_adds_and_removes(void **state)
{
	struct fixture *f = *state;
	struct conf_file overlay[] = {
	    {.name = "lun-a.conf", .text = "lun a { store /other }"},
	    {.name = "lun-b.conf"},
	    {.name = "lun-d.conf", .text = LUN("wrong")},
	    {.name = "lun-nothing.conf"},
	    {.name = "lun-d.conf", .text = LUN("d")},
	};
	fixture_file(f, "t.conf", "include conf.d/lun-b.conf\n", 0644);
	fixture_dir_file(f, "conf.d/lun-a.conf", LUN("a"), 0644);
	fixture_dir_file(f, "conf.d/lun-b.conf", LUN("b"), 0644);
	fixture_dir_file(f, "conf.d/lun-c.conf", LUN("c"), 0644);
	fixture_load(f, "t.conf", overlay, 5);
	expect_luns(f, "a c d ");
	assert_string_equal(f->conf->luns[0].store, "/other");
	fixture_load(f, "t.conf", NULL, 0);
	expect_luns(f, "b a c ");
}

/* A file that terrace.conf includes: what is to be in it is read there, once. */
static void
an_overlay_holds_for_includes(void **state)
{
	struct fixture *f = *state;
	struct conf_file overlay = {.name = "lun-a.conf", .text = "lun a { store /other }"};
	fixture_file(f, "t.conf", "include conf.d/*.conf\n", 0644);
	fixture_dir_file(f, "conf.d/lun-a.conf", LUN("a"), 0644);
	fixture_load(f, "t.conf", &overlay, 1);
	expect_luns(f, "a ");
	assert_string_equal(f->conf->luns[0].store, "/other");
}

static void
mistakes_of_an_overlay_have_its_place(void **state)
{
	struct fixture *f = *state;
	struct conf_file overlay = {.name = "lun-a.conf", .text = "lun a {\n\tstore x\n}\n"};
	fixture_file(f, "t.conf", "", 0644);
	fixture_load(f, "t.conf", &overlay, 1);
	assert_string_equal(
	    f->messages, "conf.d/lun-a.conf:2:8: 'x' is no store: write the whole path, from /\n");
}

static void
a_text_stands_for_a_command_line(void **state)
{
	struct fixture *f = *state;
	struct conf_file overlay = {
	    .name = "lun-b.conf", .text = "lun b { store /b }\n", .runtime = true};
	const struct conf_load_args args = {.text = "lun a { store /a }",
	    .text_name = "t",
	    .overlay = &overlay,
	    .overlay_count = 1};
	fixture_load_args(f, &args);
	expect_luns(f, "a b ");
	assert_int_equal(f->conf->luns[0].owner, CONF_OWNER_COMMAND_LINE);
	assert_int_equal(f->conf->luns[1].owner, CONF_OWNER_RUNTIME);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static void
owners(void **state)
{
	static const struct {
		const char *file, *text;
		enum conf_owner owner;
	} files[] = {
	    {"conf.d/lun-a.conf", "# a comment\n" LUN("a"), CONF_OWNER_COMMANDS},
	    {"conf.d/lun-b.conf", LUN("b2"), CONF_OWNER_ADMIN},
	    {"conf.d/lun-c.conf", LUN("c") "initiators { }", CONF_OWNER_ADMIN},
	    {"conf.d/lun-d.conf", "lun d { include ../in-d }", CONF_OWNER_ADMIN},
	    {"conf.d/d.conf", LUN("e"), CONF_OWNER_ADMIN},
	    {"conf.d/portal-f.conf", LUN("f"), CONF_OWNER_ADMIN},
	    {"conf.d/lun-g.conf", "include ../in-g", CONF_OWNER_ADMIN},
	};
	struct fixture *f = *state;
	fixture_file(f, "t.conf", LUN("z"), 0644);
	fixture_file(f, "in-d", "store /srv/d\n", 0644);
	fixture_file(f, "in-g", LUN("g"), 0644);
	fixture_file(f, "lun-h", LUN("h"), 0644);
	for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++)
		fixture_dir_file(f, files[i].file, files[i].text, 0644);
	assert_int_equal(symlink("../lun-h", fixture_file_path(f, "conf.d/lun-h.conf")), 0);
	fixture_load(f, "t.conf", NULL, 0);
	expect_luns(f, "z e a b2 c d g h f ");
	for (unsigned i = 0; i < f->conf->lun_count; i++)
		assert_int_equal(f->conf->luns[i].owner,
		    f->conf->luns[i].name[0] == 'a' ? CONF_OWNER_COMMANDS : CONF_OWNER_ADMIN);
}

static void
objects_of_all_kinds_are_owned(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "t.conf", LUN("a"), 0600);
	fixture_dir_file(f, "conf.d/portal-p.conf", PORTAL, 0600);
	fixture_dir_file(f, "conf.d/target-" NAME ".conf",
	    "target IQN.2026-11.example:T { portals p; group inner { initiators x; lun 0 a } }",
	    0600);
	fixture_dir_file(f, "conf.d/group-g.conf",
	    "group g { target " NAME "; initiators y; user c; lun 0 a }", 0600);
	fixture_dir_file(
	    f, "conf.d/chap-c.conf", "chap c { target " NAME "; secret abcdefghijkl }", 0600);
	fixture_dir_file(
	    f, "conf.d/chap-d.conf", "chap d { discovery yes; secret abcdefghijkl }", 0600);
	fixture_load(f, "t.conf", NULL, 0);
	assert_string_equal(f->messages, "");
	const struct conf_target *t = &f->conf->targets[0];
	assert_int_equal(f->conf->portals[0].owner, CONF_OWNER_COMMANDS);
	assert_int_equal(t->owner, CONF_OWNER_COMMANDS);
	assert_int_equal(t->group_count, 2);
	assert_string_equal(t->groups[0].name, "inner");
	assert_int_equal(t->groups[0].owner, CONF_OWNER_COMMANDS);
	assert_int_equal(t->groups[1].owner, CONF_OWNER_COMMANDS);
	assert_int_equal(t->chaps[0].owner, CONF_OWNER_COMMANDS);
	assert_int_equal(f->conf->discovery_chaps[0].owner, CONF_OWNER_COMMANDS);
	assert_int_equal(f->conf->group_count + f->conf->chap_count, 0);
	assert_ptr_equal(conf_object_find(f->conf, CONF_KIND_GROUP, NAME, "g"), &t->groups[1]);
	assert_ptr_equal(
	    conf_object_find(f->conf, CONF_KIND_CHAP, NULL, "d"), &f->conf->discovery_chaps[0]);
	assert_null(conf_object_find(f->conf, CONF_KIND_CHAP, NULL, "c"));
	assert_null(conf_object_find(f->conf, CONF_KIND_GROUP, "iqn.2026-11.example:u", "g"));
}

/* ---- the top level --------------------------------------------------------------------------- */

static void
groups_are_tried_in_their_order(void **state)
{
	struct fixture *f = *state;
	char got[128] = "";
	fixture_text(f,
	    LUN("a") PORTAL "group z { target " NAME "; initiators z; lun 0 a }\n"
	                    "group b { target " NAME "; initiators b; lun 0 a; order 0 }\n"
	                    "group x { target " NAME "; initiators x; lun 0 a; order 2000 }\n"
	                    "group y { target " NAME "; initiators y; lun 0 a; order 1000 }\n"
	                    "target " NAME " { portals p; group n { initiators n; lun 0 a }\n"
	                    "group m { initiators m; lun 0 a } }\n");
	assert_string_equal(f->messages, "");
	const struct conf_target *t = &f->conf->targets[0];
	for (unsigned i = 0; i < t->group_count; i++)
		strcat(got, t->groups[i].name);
	assert_string_equal(got, "nmbyzx");
	assert_true(t->groups[2].top_level && !t->groups[0].top_level);
	assert_int_equal(t->groups[3].order, 1000);
}

static void
mistakes_of_the_top_level(void **state)
{
	expect_messages(*state,
	    FRAME "group g { initiators x; lun 0 a }\n"
	          "group h { target " NAME "; initiators x; lun 0 nothing; order 1000001 }\n"
	          "chap c { target " NAME "; discovery yes; secret abcdefghijkl }\n"
	          "chap d { secret abcdefghijkl }\n"
	          "chap e { target x; secret abcdefghijkl }\n",
	    "4:1: a group needs 'target': add target NAME\n"
	    "5:61: there is no lun 'nothing'\n"
	    "5:76: '1000001' is no order: a number from 0 to 1000000\n"
	    "6:1: chap 'c' needs either a target or discovery: add target NAME, or discovery yes\n"
	    "7:1: chap 'd' needs either a target or discovery: add target NAME, or discovery yes\n"
	    "8:17: 'x' is no target: an iSCSI name begins with iqn., eui. or naa., as in "
	    "iqn.2026-11.com.example:storage\n");
}

static void
what_is_wrong_without_a_target_is_told_as_well(void **state)
{
	expect_messages(*state,
	    FRAME "group g { target iqn.2026-11.other:x; initiators x; lun 0 b; lun 0 a }\n"
	          "chap c { target iqn.2026-11.other:x }\n",
	    "3:1: remark: target iqn.2026-11.example:t admits nobody: add a group, or say open yes "
	    "and "
	    "lun lines\n"
	    "4:18: there is no target 'iqn.2026-11.other:x'\n"
	    "4:59: there is no lun 'b'\n"
	    "4:66: LUN number 0 is there already (line 4)\n"
	    "5:1: chap 'c' needs a secret: add secret_file PATH\n"
	    "5:17: there is no target 'iqn.2026-11.other:x'\n");
}

static void
names_of_the_top_level_are_there_once(void **state)
{
	expect_messages(*state,
	    FRAME "target iqn.2026-11.example:u { portals p; group g { initiators x; lun 0 a } }\n"
	          "group g { target " NAME "; initiators x; lun 0 a }\n"
	          "group g { target iqn.2026-11.example:u; initiators y; lun 0 a }\n"
	          "group h { target " NAME "; initiators x; lun 0 a }\n"
	          "group h { target " NAME "; initiators z; lun 0 a }\n",
	    "6:7: group 'g' is at the top level already (line 5): a name is there once, whatever "
	    "the target\n"
	    "6:7: group 'g' is there already (line 4)\n"
	    "8:7: group 'h' is there already (line 7)\n");
}

static void
what_is_of_the_top_level_cant_stand_inside(void **state)
{
	expect_messages(*state,
	    LUN("a") PORTAL "target " NAME " { portals p\n"
	                    "group g { target " NAME "; initiators x; lun 0 a }\n"
	                    "chap c { discovery yes; secret abcdefghijkl } }\n",
	    "4:11: 'target' can't stand in a group of a target or of discovery: only one at the "
	    "top "
	    "level says it\n"
	    "5:10: 'discovery' can't stand in a chap of a target or of discovery: only one at the "
	    "top level says it\n");
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static void
hooks_are_kept(void **state)
{
	struct fixture *f = *state;
	fixture_text(f, "hooks {\non all /bin/a\n on store.gone \"/bin/b c\"\n}\nevents_max 100");
	assert_string_equal(f->messages, "");
	assert_int_equal(f->conf->hook_count, 2);
	assert_string_equal(f->conf->hooks[1].event, "store.gone");
	assert_string_equal(f->conf->hooks[1].path, "/bin/b c");
	assert_int_equal(f->conf->hooks[1].pos.line, 3);
	assert_int_equal(f->conf->events_max, 100);
}

static void
mistakes_of_hooks(void **state)
{
	static const char *const events[] = {"store-gone", "login", NULL};
	struct fixture *f = *state;
	expect_messages(f,
	    "hooks { on\non all\non ALL /x\non all x\non all /x; on all /x\non a { } }",
	    "1:9: 'on' takes an event and a program: write on all /usr/local/sbin/tell-me\n"
	    "2:1: 'on' takes an event and a program: write on all /usr/local/sbin/tell-me\n"
	    "3:4: 'ALL': an event is a word in lower case, or all\n"
	    "4:8: 'x': write the whole path, from /\n"
	    "5:12: this hook is there already (line 5)\n"
	    "6:1: 'on' takes no block: write on EVENT PATH\n");
	const struct conf_load_args args = {.text = "hooks { on all /x; on login /x\n on logn /x }",
	    .text_name = "t",
	    .events = events};
	fixture_load_args(f, &args);
	assert_string_equal(f->messages, "2:5: there is no event 'logn'; did you mean 'login'?\n");
}

/* ---- size ------------------------------------------------------------------------------------ */

static double
seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The time is for reading, not asserted: machines differ. */
static void
a_thousand_files(void **state)
{
	struct fixture *f = *state;
	char name[64], text[512];
	fixture_file(f, "t.conf", PORTAL TARGET, 0644);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "conf.d/lun-l%u.conf", i);
		snprintf(text, sizeof text,
		    "lun l%u {\n\tstore block:/dev/vg/l%u\n\tmode volatile\n\tserial s%u\n\tuuid "
		    "01234567-89ab-cdef-0123-%012u\n}\n",
		    i, i, i, i + 1);
		fixture_dir_file(f, name, text, 0644);
		snprintf(name, sizeof name, "conf.d/group-l%u.conf", i);
		snprintf(text, sizeof text,
		    "group l%u {\n\ttarget " NAME
		    "\n\tinitiators iqn.2026-11.host:h%u\n\tlun 0 l%u\n}\n",
		    i, i, i);
		fixture_dir_file(f, name, text, 0644);
	}
	double from = seconds();
	fixture_load(f, "t.conf", NULL, 0);
	printf("1000 LUNs, 2000 files: %.1f ms\n", (seconds() - from) * 1e3);
	assert_string_equal(f->messages, "");
	assert_int_equal(f->conf->lun_count, 1000);
	assert_int_equal(f->conf->targets[0].group_count, 1000);
	assert_int_equal(f->conf->luns[999].owner, CONF_OWNER_COMMANDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_folder_is_read_after_the_file_in_the_order_of_names),
	    TEST(without_a_folder_there_is_the_file),
	    TEST(what_an_include_has_read_isnt_read_again),
	    TEST(what_cant_be_read_is_told_and_the_others_are_read),
	    TEST(a_folder_that_is_none_is_an_error),
	    TEST(a_file_that_isnt_there_is_one_error),
	    TEST(mistakes_of_all_files_are_told_at_once),
	    TEST(an_overlay_replaces_adds_and_removes),
	    TEST(an_overlay_holds_for_includes),
	    TEST(mistakes_of_an_overlay_have_its_place),
	    TEST(a_text_stands_for_a_command_line),
	    TEST(owners),
	    TEST(objects_of_all_kinds_are_owned),
	    TEST(groups_are_tried_in_their_order),
	    TEST(mistakes_of_the_top_level),
	    TEST(what_is_wrong_without_a_target_is_told_as_well),
	    TEST(names_of_the_top_level_are_there_once),
	    TEST(what_is_of_the_top_level_cant_stand_inside),
	    TEST(hooks_are_kept),
	    TEST(mistakes_of_hooks),
	    TEST(a_thousand_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
