/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing conf.d: a kill after every system call that writes, a failure of each, and the order of
 * syncs that a power cut asks for. The linker sends the calls of conf/ through here.
 */
#include "tests/unit/conf/conf_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what the calls do ----------------------------------------------------------------------- */

static struct {
	unsigned calls;             /* since the start of the test */
	unsigned kill_at;           /* the process ends before call number …; 0: never */
	unsigned fail_at;           /* call number … fails */
	bool fail_on;               /* and all that follow */
	int error;                  /* with this errno */
	unsigned short_write;       /* write() takes so many bytes at once; 0: all */
	bool slow;                  /* renames take a while */
	bool file_dirty, dir_dirty; /* written since the last fsync() */
	unsigned touched;           /* files, with the journal there */
} world;

/* True: the call is to fail. */
static bool
call(void)
{
	unsigned n = ++world.calls;
	if (n == world.kill_at)
		_exit(9);
	if (world.fail_at == 0 || n < world.fail_at || (n > world.fail_at && !world.fail_on))
		return false;
	errno = world.error;
	return true;
}

int __real_openat(int dir, const char *path, int flags, ...);
int __real_mkdir(const char *path, mode_t mode);
int __real_fchmod(int fd, mode_t mode);
int __real_fchown(int fd, uid_t uid, gid_t gid);
ssize_t __real_write(int fd, const void *buf, size_t len);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_unlinkat(int dir, const char *path, int flags);
int __real_flock(int fd, int operation);
int __real_ftruncate(int fd, off_t len);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchown(int fd, uid_t uid, gid_t gid);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_flock(int fd, int operation);
int __wrap_ftruncate(int fd, off_t len);

int
__wrap_openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	va_start(ap, flags);
	mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if ((flags & O_CREAT) != 0 && call())
		return -1;
	return __real_openat(dir, path, flags, mode);
}

int
__wrap_mkdir(const char *path, mode_t mode)
{
	return call() ? -1 : __real_mkdir(path, mode);
}

int
__wrap_fchmod(int fd, mode_t mode)
{
	return call() ? -1 : __real_fchmod(fd, mode);
}

int
__wrap_fchown(int fd, uid_t uid, gid_t gid)
{
	return call() ? -1 : __real_fchown(fd, uid, gid);
}

ssize_t
__wrap_write(int fd, const void *buf, size_t len)
{
	if (call())
		return -1;
	world.file_dirty = true;
	if (world.short_write > 0 && len > world.short_write)
		len = world.short_write;
	return __real_write(fd, buf, len);
}

int
__wrap_fsync(int fd)
{
	struct stat st;
	if (call())
		return -1;
	assert_int_equal(fstat(fd, &st), 0);
	if (S_ISDIR(st.st_mode))
		world.dir_dirty = false;
	else
		world.file_dirty = false;
	return 0; /* no power cut here: what it costs isn't needed */
}

static bool
is(const char *path, const char *name)
{
	return strcmp(path, name) == 0;
}

static bool
is_pending(int dir)
{
	return faccessat(dir, ".pending", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* INV-1 and INV-2 of commit.c. */
int
__wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (call())
		return -1;
	assert_false(world.file_dirty);
	if (is_pending(to_dir) && world.touched++ == 0)
		assert_false(world.dir_dirty); /* of the journal's own rename */
	world.dir_dirty = true;
	if (world.slow)
		usleep(400);
	return __real_renameat(from_dir, from, to_dir, to);
}

int
__wrap_unlinkat(int dir, const char *path, int flags)
{
	if (call())
		return -1;
	if (is(path, ".tmp"))
		return __real_unlinkat(dir, path, flags);
	/* Of which nothing was carried out it may be taken back. */
	if (is(path, ".pending") ? world.touched > 0 : is_pending(dir) && world.touched++ == 0)
		assert_false(world.dir_dirty);
	world.dir_dirty = true;
	return __real_unlinkat(dir, path, flags);
}

int
__wrap_ftruncate(int fd, off_t len)
{
	return call() ? -1 : __real_ftruncate(fd, len);
}

int
__wrap_flock(int fd, int operation)
{
	return call() ? -1 : __real_flock(fd, operation);
}

/* ---- helpers --------------------------------------------------------------------------------- */

#define LUN(name, store) "lun " name " {\n\tstore " store "\n}\n"

static const struct conf_file one_new[] = {{.name = "lun-n.conf", .text = LUN("n", "/n")}};
static const struct conf_file one_changed[] = {{.name = "lun-a.conf", .text = LUN("a", "/c")}};
static const struct conf_file one_removed[] = {{.name = "lun-a.conf"}};
static const struct conf_file several[] = {
    {.name = "lun-n.conf", .text = LUN("n", "/n")},
    {.name = "lun-a.conf", .text = LUN("a", "/c")},
    {.name = "lun-b.conf"},
    {.name = "chap-c.conf", .text = "chap c {\n\tdiscovery yes\n\tsecret abcdefghijkl\n}\n"},
    {.name = "lun-nothing.conf"},
};

static void
start(struct fixture *f)
{
	fixture_file(f, "t.conf", "# administrator's\n", 0644);
	fixture_dir_file(f, "conf.d/lun-a.conf", LUN("a", "/a"), 0644);
	fixture_dir_file(f, "conf.d/lun-b.conf", LUN("b", "/b"), 0644);
	fixture_dir_file(f, "conf.d/other.conf", LUN("o", "/o"), 0644);
}

/* "a=/a b=/b o=/o c" as conf_load() sees it. */
static const char *
seen(struct fixture *f)
{
	static char text[512];
	fixture_load(f, "t.conf", NULL, 0);
	assert_int_equal(f->errors.wrong, 0);
	text[0] = '\0';
	for (unsigned i = 0; i < f->conf->lun_count; i++)
		sprintf(
		    text + strlen(text), "%s=%s ", f->conf->luns[i].name, f->conf->luns[i].store);
	strcat(text, f->conf->discovery_chap_count > 0 ? "c" : "");
	return text;
}

static void
clear_dir(struct fixture *f)
{
	char path[512];
	DIR *dir = opendir(fixture_file_path(f, "conf.d"));
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		snprintf(path, sizeof path, "%s/conf.d/%s", f->dir, e->d_name);
		if (!is(e->d_name, ".") && !is(e->d_name, ".."))
			assert_int_equal(unlink(path), 0);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(fixture_file_path(f, "conf.d"));
}

/* Nothing but the files and the lock. */
static void
expect_tidy(struct fixture *f)
{
	DIR *dir = opendir(fixture_file_path(f, "conf.d"));
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		if (e->d_name[0] == '.' && !is(e->d_name, ".") && !is(e->d_name, "..") &&
		    !is(e->d_name, ".lock"))
			fail_msg("%s is left", e->d_name);
	closedir(dir);
}

static int
commit(struct fixture *f, const struct conf_file *files, unsigned count, char reason[400])
{
	char path[256];
	snprintf(path, sizeof path, "%s", fixture_file_path(f, "t.conf"));
	return conf_commit(path, files, count, reason, 400);
}

static void
recover(struct fixture *f)
{
	char path[256], reason[400];
	snprintf(path, sizeof path, "%s", fixture_file_path(f, "t.conf"));
	if (conf_recover(path, reason, sizeof reason) < 0)
		fail_msg("%s", reason);
	assert_string_equal(reason, "");
}

static void
reset(void)
{
	memset(&world, 0, sizeof world);
}

/* ---- whole or absent ------------------------------------------------------------------------- */

/* 9: killed. */
static int
commit_in_child(struct fixture *f, const struct conf_file *files, unsigned count, unsigned kill_at)
{
	char reason[400];
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		reset();
		world.kill_at = kill_at;
		_exit(commit(f, files, count, reason) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The n-th call of recovery likewise. */
static int
recover_in_child(struct fixture *f, unsigned kill_at)
{
	char reason[400], path[256];
	int status;
	snprintf(path, sizeof path, "%s", fixture_file_path(f, "t.conf"));
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		reset();
		world.kill_at = kill_at;
		_exit(conf_recover(path, reason, sizeof reason) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

/* Killed before each call: what is seen is the old or the new, at once and after recovery. */
static void
kill_everywhere(struct fixture *f, const struct conf_file *files, unsigned count, const char *old,
    const char *new, unsigned calls_min)
{
	unsigned at = 1, was_old = 0, was_new = 0;
	for (int rc = 9; rc == 9; at++) {
		clear_dir(f);
		start(f);
		rc = commit_in_child(f, files, count, at);
		assert_true(rc == 0 || rc == 9);
		char before[512];
		strcpy(before, seen(f));
		was_old += is(before, old);
		was_new += is(before, new);
		assert_true(is(before, old) || is(before, new));
		if (rc == 0)
			assert_string_equal(before, new);
		/* Recovery may be killed as well, as often as it likes. */
		for (unsigned k = 1; recover_in_child(f, k) == 9; k++)
			assert_string_equal(seen(f), before);
		recover(f);
		assert_string_equal(seen(f), before);
		expect_tidy(f);
	}
	assert_true(at - 2 >= calls_min && was_old > 1 && was_new > 1);
}

static void
a_new_file_is_whole_or_absent(void **state)
{
	kill_everywhere(*state, one_new, 1, "a=/a b=/b o=/o ", "a=/a b=/b n=/n o=/o ", 8);
}

static void
a_changed_file_is_the_old_or_the_new(void **state)
{
	kill_everywhere(*state, one_changed, 1, "a=/a b=/b o=/o ", "a=/c b=/b o=/o ", 8);
}

static void
a_removed_file_is_there_or_not(void **state)
{
	kill_everywhere(*state, one_removed, 1, "a=/a b=/b o=/o ", "b=/b o=/o ", 3);
}

static void
several_files_change_together(void **state)
{
	kill_everywhere(*state, several, 5, "a=/a b=/b o=/o ", "a=/c n=/n o=/o c", 25);
}

/* The next change completes the one before. */
static void
a_change_completes_an_interrupted_one(void **state)
{
	struct fixture *f = *state;
	char reason[400];
	bool pending = false;
	for (unsigned at = 1;; at++) {
		clear_dir(f);
		start(f);
		if (commit_in_child(f, several, 5, at) != 9)
			break;
		bool was_new = is(seen(f), "a=/c n=/n o=/o c");
		pending |= was_new;
		reset();
		assert_int_equal(
		    commit(f,
		        &(const struct conf_file){.name = "lun-x.conf", .text = LUN("x", "/x")}, 1,
		        reason),
		    0);
		assert_string_equal(
		    seen(f), was_new ? "a=/c n=/n x=/x o=/o c" : "a=/a b=/b x=/x o=/o ");
		expect_tidy(f);
	}
	assert_true(pending);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Each call fails, alone or with all that follow (a full disk): refused and unchanged, or done. */
static void
fail_everywhere(struct fixture *f, const struct conf_file *files, unsigned count, bool on,
    int error, const char *old, const char *new)
{
	char reason[400];
	unsigned refused = 0, remarks = 0;
	for (unsigned at = 1;; at++) {
		clear_dir(f);
		start(f);
		reset();
		world.fail_at = at;
		world.fail_on = on;
		world.error = error;
		int rc = commit(f, files, count, reason);
		bool reached = world.calls >= at;
		reset();
		if (rc < 0) {
			assert_string_not_equal(reason, "");
			refused++;
			/* A single file is there when the folder can't be synced: documented. */
			if (!(rc == -EIO && is(seen(f), new)))
				assert_string_equal(seen(f), old);
		} else {
			remarks += reason[0] != '\0';
			assert_string_equal(seen(f), new);
		}
		recover(f);
		expect_tidy(f);
		if (!reached)
			break;
	}
	assert_true(refused > 1);
	assert_true(count == 1 || remarks > 1);
}

static void
failures_change_nothing_or_are_made_good(void **state)
{
	fail_everywhere(*state, one_new, 1, false, EIO, "a=/a b=/b o=/o ", "a=/a b=/b n=/n o=/o ");
	fail_everywhere(*state, one_changed, 1, false, EIO, "a=/a b=/b o=/o ", "a=/c b=/b o=/o ");
	fail_everywhere(*state, several, 5, false, EIO, "a=/a b=/b o=/o ", "a=/c n=/n o=/o c");
	fail_everywhere(
	    *state, one_new, 1, true, ENOSPC, "a=/a b=/b o=/o ", "a=/a b=/b n=/n o=/o ");
	fail_everywhere(*state, several, 5, true, EIO, "a=/a b=/b o=/o ", "a=/c n=/n o=/o c");
}

static void
short_writes_are_continued(void **state)
{
	struct fixture *f = *state;
	char reason[400];
	start(f);
	reset();
	world.short_write = 7;
	assert_int_equal(commit(f, several, 5, reason), 0);
	reset();
	assert_string_equal(seen(f), "a=/c n=/n o=/o c");
	expect_tidy(f);
}

/* ---- what is written ------------------------------------------------------------------------- */

static mode_t
mode_of(struct fixture *f, const char *name)
{
	struct stat st;
	if (stat(fixture_file_path(f, name), &st) < 0)
		fail_msg("%s: %s", name, strerror(errno));
	return st.st_mode & 07777u;
}

static void
secrets_are_for_the_owner_others_as_the_configuration(void **state)
{
	struct fixture *f = *state;
	static const struct {
		mode_t conf, file, dir;
	} modes[] = {
	    {0644, 0644, 0755}, {0640, 0640, 0750}, {0600, 0600, 0700}, {0664, 0644, 0755}};
	static const struct conf_file files[] = {
	    {.name = "lun-a.conf", .text = LUN("a", "/a")},
	    {.name = "chap-a.conf", .text = "chap a { discovery yes; secret abcdefghijkl }"},
	    {.name = "chap-b.conf",
	        .text = "chap b { discovery yes; secret_file x; mutual_secret abcdefghijkl }"},
	    {.name = "target-iqn.2026-11.x:y.conf",
	        .text = "target iqn.2026-11.x:y { portals p; chap c { secret abcdefghijkl } }"},
	    {.name = "chap-c.conf", .text = "chap c { discovery yes; secret_file x }"},
	};
	char reason[400], name[64];
	for (unsigned m = 0; m < 4; m++) {
		clear_dir(f);
		fixture_file(f, "t.conf", "", modes[m].conf);
		for (unsigned k = 0; k < 2; k++) {
			reset();
			if (k == 0)
				for (unsigned i = 0; i < 5; i++)
					assert_int_equal(commit(f, &files[i], 1, reason), 0);
			else
				assert_int_equal(commit(f, files, 5, reason), 0);
			for (unsigned i = 0; i < 5; i++) {
				snprintf(name, sizeof name, "conf.d/%s", files[i].name);
				bool secret = i >= 1 && i <= 3;
				assert_int_equal(mode_of(f, name), secret ? 0600 : modes[m].file);
			}
		}
		assert_int_equal(mode_of(f, "conf.d"), modes[m].dir);
		assert_int_equal(mode_of(f, "conf.d/.lock"), 0600);
	}
}

static void
names_that_lead_elsewhere_are_refused(void **state)
{
	struct fixture *f = *state;
	static char long_name[300];
	memset(long_name, 'x', sizeof long_name - 1);
	memcpy(long_name, "lun-", 4);
	memcpy(long_name + sizeof long_name - 6, ".conf", 5);
	char *names[] = {"", "a.conf", "lun-a", "lun-.conf", ".lun-a.conf", "../lun-a.conf",
	    "lun-a/b.conf", "lun-../../x.conf", "lun-a\n.conf", "lun-ä.conf", "x-a.conf", "lun",
	    "settings-a.conf", "lun-a.conf/", long_name};
	char reason[400];
	start(f);
	reset();
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct conf_file files[] = {{.name = "lun-n.conf", .text = LUN("n", "/n")},
		    {.name = names[i], .text = LUN("x", "/x")}, {.name = names[i]}};
		assert_int_equal(commit(f, files, 2, reason), -EINVAL);
		assert_int_equal(commit(f, files + 1, 1, reason), -EINVAL);
		assert_int_equal(commit(f, files + 2, 1, reason), -EINVAL);
	}
	assert_string_equal(seen(f), "a=/a b=/b o=/o ");
}

static void
texts_that_are_no_configuration_are_refused(void **state)
{
	struct fixture *f = *state;
	char reason[400];
	struct conf_file file = {.name = "lun-n.conf", .text = "lun n {\n\tstore /n\n"};
	start(f);
	reset();
	assert_int_equal(commit(f, &file, 1, reason), -EINVAL);
	assert_string_equal(reason, "lun-n.conf:1:7: this '{' is never closed: a '}' is missing");
	file.text = "include other.conf\n";
	assert_int_equal(commit(f, &file, 1, reason), -EINVAL);
	file.text = "lun n { }\x01";
	assert_int_equal(commit(f, &file, 1, reason), -EINVAL);
	file.text = LUN("n", "/n");
	file.runtime = true;
	assert_int_equal(commit(f, &file, 1, reason), -EINVAL);
	assert_string_equal(seen(f), "a=/a b=/b o=/o ");
	expect_tidy(f);
}

static void
two_writers_dont_meet(void **state)
{
	struct fixture *f = *state;
	char reason[400];
	start(f);
	reset();
	assert_int_equal(commit(f, one_new, 1, reason), 0);
	int fd = open(fixture_file_path(f, "conf.d/.lock"), O_RDWR | O_CLOEXEC);
	assert_int_equal(__real_flock(fd, LOCK_EX), 0);
	assert_int_equal(commit(f, one_changed, 1, reason), -EBUSY);
	assert_non_null(strstr(reason, "conf.d is being changed by another process"));
	close(fd);
	assert_int_equal(commit(f, one_changed, 1, reason), 0);
	assert_string_equal(seen(f), "a=/c b=/b n=/n o=/o ");
}

/* ---- who reads meanwhile --------------------------------------------------------------------- */

/* Ends when it is killed. */
static void
change_for_ever(struct fixture *f)
{
	static const char *const stores[] = {"/x", "/y"};
	char text[2][3][64], reason[400];
	for (unsigned n = 0; n < 6; n++)
		snprintf(text[n / 3][n % 3], 64, "lun %c { store %s%u }", 'a' + (int)(n % 3),
		    stores[n / 3], n % 3);
	for (unsigned n = 0;; n = 1 - n) {
		struct conf_file files[] = {{.name = "lun-a.conf", .text = text[n][0]},
		    {.name = "lun-b.conf", .text = text[n][1]},
		    {.name = "lun-c.conf", .text = text[n][2]}};
		reset();
		world.slow = true;
		if (commit(f, files, 3, reason) < 0)
			_exit(1);
		usleep(2000);
	}
}

static void
a_reader_sees_whole_changes(void **state)
{
	struct fixture *f = *state;
	unsigned times[2] = {0};
	int status;
	start(f);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		change_for_ever(f);
	/* A machine under load may give the two turns in which nothing can be read. */
	for (unsigned i = 0; i < 20000 && (times[0] < 100 || times[1] < 100); i++) {
		fixture_load(f, "t.conf", NULL, 0);
		if (f->conf == NULL) {
			if (strstr(f->messages, "is being changed all the time") == NULL)
				fail_msg("%s", f->messages);
			continue;
		}
		if (f->conf->lun_count == 3) /* before the first change */
			continue;
		assert_int_equal(f->conf->lun_count, 4);
		char which = f->conf->luns[0].store[1];
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(f->conf->luns[k].store[1], which);
		times[which == 'y']++;
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(times[0] >= 100 && times[1] >= 100);
}

/* ---- journals that aren't whole -------------------------------------------------------------- */

static void
a_journal_that_isnt_ours_stops_everything(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", "x", "terrace-pending 2 0\nend 00000000\n",
	    "terrace-pending 1 1\nremove lun-a.conf\nend 00000000\n",
	    "terrace-pending 1 1\nwrite 0644 100 lun-a.conf\nlun a { store /x }\n"};
	char reason[400], path[256];
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start(f);
		fixture_file(f, "conf.d/.pending", bad[i], 0600);
		reset();
		snprintf(path, sizeof path, "%s", fixture_file_path(f, "t.conf"));
		assert_int_equal(conf_recover(path, reason, sizeof reason), -EUCLEAN);
		assert_non_null(strstr(reason, ".pending holds a change that was interrupted"));
		assert_non_null(strstr(reason, "then remove that file"));
		assert_int_equal(commit(f, one_new, 1, reason), -EUCLEAN);
		fixture_load(f, "t.conf", NULL, 0);
		assert_int_equal(f->errors.wrong, 1);
		assert_non_null(strstr(f->messages, "t.conf:1:1: "));
		assert_non_null(strstr(f->messages, "then remove that file"));
		assert_int_equal(unlink(fixture_file_path(f, "conf.d/.pending")), 0);
		assert_string_equal(seen(f), "a=/a b=/b o=/o ");
	}
	assert_int_equal(symlink("other.conf", fixture_file_path(f, "conf.d/.pending")), 0);
	assert_int_equal(conf_recover(path, reason, sizeof reason), -ELOOP);
}

static void
without_a_folder_there_is_nothing_to_recover(void **state)
{
	struct fixture *f = *state;
	fixture_file(f, "t.conf", "", 0644);
	reset();
	recover(f);
	assert_int_equal(world.calls, 0);
	start(f);
	reset();
	recover(f);
	assert_int_equal(world.calls, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_new_file_is_whole_or_absent),
	    TEST(a_changed_file_is_the_old_or_the_new),
	    TEST(a_removed_file_is_there_or_not),
	    TEST(several_files_change_together),
	    TEST(a_change_completes_an_interrupted_one),
	    TEST(failures_change_nothing_or_are_made_good),
	    TEST(short_writes_are_continued),
	    TEST(secrets_are_for_the_owner_others_as_the_configuration),
	    TEST(names_that_lead_elsewhere_are_refused),
	    TEST(texts_that_are_no_configuration_are_refused),
	    TEST(two_writers_dont_meet),
	    TEST(a_reader_sees_whole_changes),
	    TEST(a_journal_that_isnt_ours_stops_everything),
	    TEST(without_a_folder_there_is_nothing_to_recover),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
