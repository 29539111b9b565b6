/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that fails: the n-th allocation of reading a whole configuration, for every n. Whatever
 * fails, the answer is a result, -ENOMEM or -EINVAL, and nothing leaks (checked by the sanitizer).
 */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned left; /* allocations that still succeed; 0: no limit */
static bool failed;

static bool
fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	return true;
}

/* The linker sends the calls of conf/ here; the first declarations are for -Wmissing-prototypes. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_reallocarray(void *p, size_t count, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_reallocarray(void *p, size_t count, size_t size);
char *__wrap_strdup(const char *s);

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_reallocarray(void *p, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, count, size);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* True: an allocation failed on the way. */
static bool
read_with(const char *path, unsigned nth)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree;
	struct conf *conf = NULL;

	left = nth;
	failed = false;
	int parsed = conf_parse_file(path, &errors, &tree);
	assert_true((parsed == -ENOMEM) == (tree == NULL));
	int built = tree != NULL ? conf_build(tree, &errors, &conf) : parsed;
	left = 0;
	assert_true((built == 0) == (conf != NULL));
	assert_true(parsed == 0 || parsed == -EINVAL || parsed == -ENOMEM);
	assert_true(built == 0 || built == -EINVAL || built == -ENOMEM);
	/* Nothing is lost silently. */
	if (failed)
		assert_true(parsed == -ENOMEM || built == -ENOMEM || errors.dropped > 0 ||
		            errors.wrong > 0);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	return failed;
}

static unsigned
sweep(const char *path)
{
	unsigned n = 1;
	while (read_with(path, n))
		n++;
	return n - 1;
}

static void
a_right_configuration(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "s", "abcdefghijkl", 0600);
	fixture_file(f, "b.conf", "size 1MiB", 0600);
	const char *path = fixture_file(f, "a.conf",
	    "lun a { store /srv/a; include b.conf; serial x; mode volatile }\n"
	    "portal p { listen 10.0.0.1 [::1] }\nlimits { depth_max 1 }\nloops 1\n"
	    "target iqn.2026-11.x:y { alias \"a b\"; portals p; open yes; lun 0 a\n"
	    "chap c { secret_file s; mutual_user m; mutual_secret abcdefghijkm }\n"
	    "group g { user c; initiators *; lun 1 a } }\n"
	    "discovery { chap d { secret_file s } }\ninitiators { allow ALL }\n",
	    0600);
	assert_in_range(sweep(path), 80, 10000);
}

static void
a_wrong_configuration(void **state)
{
	struct fixture *f = *state;
	const char *path = fixture_file(f, "a.conf",
	    "lun a { stroe /srv/a\nlun a { store /srv/a; size 1\nuuid 1; mode x } }\n"
	    "include nothing\nlun\n{ {\nportal p { listen x_ 1.2.3.4 1.2.3.4:3260 }\n"
	    "target x { portals q; lun 0 b; lun 0 b; chap c { secret s } group g { user d } }\n",
	    0600);
	assert_in_range(sweep(path), 80, 10000);
}

/* ---- whole configurations -------------------------------------------------------------------- */

static int
take_value(void *ctx, const struct conf_value *v)
{
	(void)v;
	(*(unsigned *)ctx)++;
	return 0;
}

/* What is done with a configuration once it is there; 0 or -ENOMEM. */
static int
use(const struct conf *conf)
{
	const struct conf empty = {0};
	struct conf_diff *d = NULL;
	struct conf_edit *e = NULL;
	unsigned values = 0;
	char *text = NULL, *line = NULL, *object = NULL;
	const char *words[] = {"a", "b c"};

	int rc = conf_diff(&empty, conf, &d);
	assert_true((rc == 0) == (d != NULL));
	if (rc == 0)
		rc = conf_effective(conf, take_value, &values);
	if (rc == 0 && (text = conf_text(conf)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = conf_edit_from(conf->targets[0].node, &e);
	if (rc == 0)
		rc = conf_edit_set(e, "alias", words, 2);
	if (rc == 0)
		rc = conf_edit_add(e, "portals", words, 1);
	if (rc == 0)
		conf_edit_remove(e, "group", words, 0);
	if (rc == 0 && (object = conf_edit_text(e)) == NULL)
		rc = -ENOMEM;
	if (rc == 0 && (line = conf_line_text("x", words, 2)) == NULL)
		rc = -ENOMEM;
	conf_text_destroy(line);
	conf_text_destroy(object);
	conf_text_destroy(text);
	conf_edit_destroy(e);
	conf_diff_destroy(d);
	return rc;
}

static bool
load_with(const struct conf_load_args *args, unsigned nth)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;

	left = nth;
	failed = false;
	int rc = conf_load(args, &errors, &tree, &conf);
	int used = rc == 0 ? use(conf) : rc;
	left = 0;
	assert_true((rc == 0) == (conf != NULL));
	assert_true((rc == -ENOMEM) == (tree == NULL));
	assert_true(used == 0 || used == -EINVAL || used == -ENOMEM);
	if (failed)
		assert_true(used == -ENOMEM || errors.dropped > 0 || errors.wrong > 0);
	conf_destroy(conf);
	conf_tree_destroy(tree);
	conf_errors_fini(&errors);
	return failed;
}

static unsigned
load_sweep(struct fixture *f, const struct conf_file *overlay, unsigned count)
{
	unsigned n = 1;
	const struct conf_load_args args = {
	    .path = fixture_file_path(f, "t.conf"), .overlay = overlay, .overlay_count = count};
	while (load_with(&args, n))
		n++;
	return n - 1;
}

static void
a_configuration_of_many_files(void **state)
{
	struct fixture *f = *state;
	struct conf_file overlay[] = {{.name = "lun-b.conf", .text = "lun b { store /b }"},
	    {.name = "lun-c.conf"}, {.name = "lun-d.conf", .text = "lun d { store x }"}};
	fixture_dir_file(f, "conf.d/lun-a.conf", "lun a { store /a }", 0600);
	fixture_dir_file(f, "conf.d/lun-b.conf", "lun b { store /c }", 0600);
	fixture_dir_file(f, "conf.d/lun-c.conf", "lun c { store /c }", 0600);
	fixture_dir_file(f, "conf.d/group-g.conf",
	    "group g { target iqn.2026-11.x:y; initiators x; lun 0 a; lun 1 b; user c }", 0600);
	fixture_dir_file(f, "conf.d/chap-c.conf",
	    "chap c { target iqn.2026-11.x:y; secret abcdefghijkl }", 0600);
	fixture_dir_file(
	    f, "conf.d/chap-d.conf", "chap d { discovery yes; secret abcdefghijkl }", 0600);
	fixture_file(f, "t.conf",
	    "include conf.d/lun-a.conf\nhooks { on all /x }\nlimits { depth_max 1 }\n"
	    "portal p { listen 10.0.0.1 }\ntarget iqn.2026-11.x:y { portals p\n"
	    "group h { initiators y; lun 0 a } }\n",
	    0600);
	assert_in_range(load_sweep(f, overlay, 2), 300, 10000);
	assert_in_range(load_sweep(f, overlay, 3), 100, 10000); /* the last one is wrong */
}

static unsigned
commit_sweep(struct fixture *f, const struct conf_file *files, unsigned count)
{
	char path[256], reason[256];
	unsigned n = 1;
	snprintf(path, sizeof path, "%s", fixture_file_path(f, "t.conf"));
	for (failed = true; failed; n++) {
		left = n;
		failed = false;
		int rc = conf_commit(path, files, count, reason, sizeof reason);
		left = 0;
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_true(failed || rc == 0);
	}
	return n - 2;
}

static void
a_change_of_many_files(void **state)
{
	struct fixture *f = *state;
	const struct conf_file files[] = {{.name = "lun-b.conf", .text = "lun b { store /b }"},
	    {.name = "lun-c.conf"}, {.name = "chap-d.conf", .text = "chap d { secret x }"}};
	fixture_file(f, "t.conf", "", 0600);
	assert_in_range(commit_sweep(f, files, 1), 5, 1000);
	assert_in_range(commit_sweep(f, files, 3), 10, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_right_configuration),
	    TEST(a_wrong_configuration),
	    TEST(a_configuration_of_many_files),
	    TEST(a_change_of_many_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
