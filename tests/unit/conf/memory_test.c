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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_right_configuration),
	    TEST(a_wrong_configuration),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
