/* SPDX-License-Identifier: BSD-2-Clause */
/* Who could put other words into a program that runs with the target's rights. */
#include "health/health_priv.h"
#include "tests/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char reason[PATH_MAX + 128], resolved[PATH_MAX];

static const char *
at(const char *name)
{
	static char buf[2][PATH_MAX];
	static unsigned turn;
	char *p = buf[turn++ % 2];
	snprintf(p, PATH_MAX, "%s/%s", dir, name);
	return p;
}

static void
make(const char *name, mode_t mode)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0700);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(at(name), mode), 0);
}

static int
check(const char *name)
{
	reason[0] = '\0';
	return hook_check(at(name), resolved, reason, sizeof reason);
}

static void
says(const char *words)
{
	if (strstr(reason, words) == NULL)
		fail_msg("'%s' isn't in '%s'", words, reason);
}

static void
a_program_of_ours_may_run(void **state)
{
	(void)state;
	make("ok", 0755);
	assert_int_equal(check("ok"), 0);
	assert_string_equal(resolved, at("ok"));
	assert_int_equal(hook_check("/bin/sh", resolved, reason, sizeof reason), 0);
	assert_int_equal(hook_check("//bin///sh", resolved, reason, sizeof reason), 0);
}

static void
programs_others_can_write_may_not(void **state)
{
	(void)state;
	make("g", 0775);
	assert_int_equal(check("g"), -EPERM);
	says("writable by others");
	make("o", 0757);
	assert_int_equal(check("o"), -EPERM);
	make("x", 0644);
	assert_int_equal(check("x"), -EACCES);
	says("not executable");
	assert_int_equal(check("none"), -ENOENT);
	assert_int_equal(hook_check("bin/sh", resolved, reason, sizeof reason), -EINVAL);
	assert_int_equal(hook_check("/", resolved, reason, sizeof reason), -EINVAL);
	assert_int_equal(hook_check("/bin", resolved, reason, sizeof reason), -EINVAL);
	says("no file");
}

static void
folders_count(void **state)
{
	(void)state;
	assert_int_equal(mkdir(at("open"), 0755), 0);
	make("open/p", 0755);
	assert_int_equal(check("open/p"), 0);
	assert_int_equal(chmod(at("open"), 0777), 0);
	assert_int_equal(check("open/p"), -EPERM);
	says("open is writable");
	assert_int_equal(chmod(at("open"), 01777), 0); /* sticky: ours stays ours */
	assert_int_equal(check("open/p"), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(at("open/p"), 4711, 4711), 0);
		assert_int_equal(check("open/p"), -EPERM);
		says("belongs to user 4711");
	}
}

static void
links_are_followed_and_looked_at(void **state)
{
	(void)state;
	make("target", 0755);
	assert_int_equal(symlink("target", at("link")), 0);
	assert_int_equal(symlink(at("link"), at("link2")), 0);
	assert_int_equal(check("link2"), 0);
	assert_string_equal(resolved, at("target"));
	assert_int_equal(mkdir(at("bad"), 0755), 0);
	assert_int_equal(symlink("../target", at("bad/link")), 0);
	assert_int_equal(check("bad/link"), 0);
	assert_int_equal(chmod(at("bad"), 0777), 0); /* who writes there moves the link */
	assert_int_equal(check("bad/link"), -EPERM);
	assert_int_equal(symlink("circle", at("circle")), 0);
	assert_int_equal(check("circle"), -ELOOP);
	assert_int_equal(symlink("bad", at("baddir")), 0);
	assert_int_equal(check("baddir/link"), -EPERM);
}

static int
setup(void **state)
{
	(void)state;
	umask(022);
	snprintf(dir, sizeof dir, "/tmp/terrace-hook-test-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_program_of_ours_may_run),
	    cmocka_unit_test(programs_others_can_write_may_not),
	    cmocka_unit_test(folders_count),
	    cmocka_unit_test(links_are_followed_and_looked_at),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
