/* SPDX-License-Identifier: BSD-2-Clause */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (8ull << 20)

static char path[128];

static const char *
fresh_path(void)
{
	static unsigned n;
	snprintf(path, sizeof path, "%s/file%u.img", test_dir(), n++);
	return path;
}

static void
on_real(unsigned loops, bool epoll, uint32_t flags, uint32_t block_bytes)
{
	struct world *w = world_real(loops, epoll);
	struct blk *b = world_open(w, fresh_path(), SIZE, BLK_OPEN_CREATE | flags, block_bytes);
	suite_all(w, b, 5);
	world_close(w, b);
	world_destroy(w);
}

static void
behaves_durably_on_one_loop(void **state)
{
	(void)state;
	on_real(1, false, 0, 512);
}

static void
behaves_durably_on_two_loops_in_4k_blocks(void **state)
{
	(void)state;
	on_real(2, false, 0, 4096);
}

static void
behaves_volatile_on_two_loops(void **state)
{
	(void)state;
	on_real(2, false, BLK_OPEN_VOLATILE, 512);
}

static void
behaves_on_epoll(void **state)
{
	(void)state;
	on_real(1, true, 0, 512);
}

static void
behaves_on_the_simulated_loop(void **state)
{
	(void)state;
	struct world *w = world_sim(3, 2, 32u << 20);
	struct blk *b = world_open(w, fresh_path(), SIZE, BLK_OPEN_CREATE, 512);
	suite_basic(w, b);
	suite_random(w, b, 3, 60);
	suite_parallel(w, b, 3, 2);
	world_close(w, b);
	world_destroy(w);
}

static void
data_survives_close_and_open(void **state)
{
	(void)state;
	char buf[8192], got[8192];
	struct world *w = world_real(1, false);
	struct blk *b = world_open(w, fresh_path(), SIZE, BLK_OPEN_CREATE, 512);
	pattern_fill(buf, sizeof buf, 1);
	assert_int_equal(io_write(w, 0, b, 0, 4608, sizeof buf, buf), 0);
	world_close(w, b);
	b = world_open(w, path, 0, BLK_OPEN_READ_ONLY, 512);
	assert_int_equal(blk_get_info(b)->size_bytes, SIZE);
	assert_int_equal(io_read(w, 0, b, 4608, sizeof got, got), 0);
	assert_memory_equal(got, buf, sizeof buf);
	assert_int_equal(io_write(w, 0, b, 0, 0, 512, buf), -EROFS);
	world_close(w, b);
	world_destroy(w);
}

static void
a_created_file_is_sparse_and_unmap_returns_space(void **state)
{
	(void)state;
	static char buf[1 << 20];
	struct stat st;
	struct world *w = world_real(1, false);
	struct blk *b = world_open(w, fresh_path(), 1ull << 30, BLK_OPEN_CREATE, 512);
	assert_true(blk_get_info(b)->caps & BLK_CAP_THIN);
	assert_false(blk_get_info(b)->caps & BLK_CAP_VOLATILE);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1 << 30);
	assert_true(st.st_blocks < 64);
	pattern_fill(buf, sizeof buf, 1);
	assert_int_equal(io_write(w, 0, b, 0, 0, sizeof buf, buf), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks >= 2048);
	assert_int_equal(io_range(w, 0, b, BLK_UNMAP, 0, 0, 1 << 30), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks < 64);
	assert_int_equal(io_range(w, 0, b, BLK_WRITE_ZEROES, BLK_NO_UNMAP, 0, 1 << 20), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks >= 2048);
	world_close(w, b);
	world_destroy(w);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static struct world *rw;
static char reason[256];

static int
try_open(const char *spec, uint64_t size, uint32_t flags)
{
	struct blk_open_args args = {.spec = spec, .size_bytes = size, .flags = flags};
	struct blk *b = NULL;
	int err = world_open_reason(rw, &args, &b, reason);
	if (err == 0)
		world_close(rw, b);
	return err;
}

static void
make_file(const char *p, off_t size)
{
	int fd = open(p, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void
missing_files_are_refused_with_a_cure(void **state)
{
	(void)state;
	char p[200];
	assert_int_equal(try_open(fresh_path(), 0, 0), -ENOENT);
	assert_non_null(strstr(reason, path));
	assert_int_equal(try_open(path, 0, BLK_OPEN_CREATE), -ENOENT);
	assert_non_null(strstr(reason, "give a size"));
	snprintf(p, sizeof p, "%s/no/such/dir.img", test_dir());
	assert_int_equal(try_open(p, SIZE, BLK_OPEN_CREATE), -ENOENT);
	assert_non_null(strstr(reason, "directory"));
	assert_int_equal(try_open(test_dir(), 0, 0), -EINVAL);
	assert_non_null(strstr(reason, "directory"));
	assert_int_equal(try_open("file:", 0, 0), -EINVAL);
	assert_int_equal(try_open("", 0, 0), -EINVAL);
	assert_int_equal(try_open("rbd:pool/image", 0, 0), -EINVAL);
	assert_non_null(strstr(reason, "rbd:"));
}

static void
a_near_name_is_proposed(void **state)
{
	(void)state;
	char near[200];
	snprintf(near, sizeof near, "%s/exchange.img", test_dir());
	make_file(near, SIZE);
	snprintf(path, sizeof path, "%s/exchang.img", test_dir());
	assert_int_equal(try_open(path, 0, 0), -ENOENT);
	assert_non_null(strstr(reason, "did you mean"));
	assert_non_null(strstr(reason, near));
}

static void
sizes_that_differ_are_refused(void **state)
{
	(void)state;
	make_file(fresh_path(), 10 << 20);
	assert_int_equal(try_open(path, 5 << 20, BLK_OPEN_CREATE), -EINVAL);
	assert_non_null(strstr(reason, "10MiB"));
	assert_non_null(strstr(reason, "5MiB"));
	assert_int_equal(try_open(path, 20 << 20, 0), -EINVAL);
	assert_non_null(strstr(reason, "truncate"));
	assert_int_equal(try_open(path, 10 << 20, 0), 0);
	make_file(fresh_path(), 1000);
	assert_int_equal(try_open(path, 0, 0), -EINVAL);
	make_file(fresh_path(), 0);
	assert_int_equal(try_open(path, 0, 0), -EINVAL);
	assert_int_equal(try_open(fresh_path(), 1000, BLK_OPEN_CREATE), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
}

static void
places_that_do_not_last_are_refused(void **state)
{
	(void)state;
	assert_int_equal(try_open("file:/dev/terrace.img", SIZE, BLK_OPEN_CREATE), -EINVAL);
	assert_int_equal(try_open("/run/terrace.img", SIZE, BLK_OPEN_CREATE), -EINVAL);
	assert_int_equal(try_open("/proc/terrace.img", SIZE, BLK_OPEN_CREATE), -EINVAL);
	assert_int_equal(access("/run/terrace.img", F_OK), -1);
	snprintf(path, sizeof path, "/dev/shm/terrace-test-%d.img", (int)getpid());
	int err = try_open(path, SIZE, BLK_OPEN_CREATE);
	assert_true(err == -EINVAL || err == -ENOENT);
	char spec[160];
	snprintf(spec, sizeof spec, "file:%s", path);
	assert_int_equal(try_open(spec, SIZE, BLK_OPEN_CREATE), -EINVAL);
	assert_int_equal(try_open(spec, SIZE, BLK_OPEN_CREATE | BLK_OPEN_UNSAFE_FS), 0);
	unlink(path);
}

/* A child that holds a lock until it is told to end. */
static pid_t
lock_in_child(const char *p, bool ofd, int operation, int *ret_pipe)
{
	int ready[2], end[2];
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct flock fl = {.l_type = operation == LOCK_SH ? F_RDLCK : F_WRLCK};
		int fd = open(p, O_RDWR);
		close(end[1]);
		if (ofd ? fcntl(fd, F_OFD_SETLK, &fl) < 0 : flock(fd, operation) < 0)
			_exit(1);
		if (write(ready[1], "x", 1) != 1 || read(end[0], ready, 1) != 0)
			_exit(1);
		_exit(0);
	}
	char c;
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(end[0]);
	*ret_pipe = end[1];
	return pid;
}

static void
files_locked_by_others_are_refused_with_their_name(void **state)
{
	(void)state;
	for (unsigned ofd = 0; ofd < 2; ofd++) {
		int end;
		char want[32];
		make_file(fresh_path(), SIZE);
		pid_t pid = lock_in_child(path, ofd, LOCK_EX, &end);
		assert_int_equal(try_open(path, 0, 0), -EBUSY);
		snprintf(want, sizeof want, "process %d (", (int)pid);
		assert_non_null(strstr(reason, want));
		assert_int_equal(try_open(path, 0, BLK_OPEN_READ_ONLY), -EBUSY);
		close(end);
		waitpid(pid, NULL, 0);
		assert_int_equal(try_open(path, 0, 0), 0);
		pid = lock_in_child(path, ofd, LOCK_SH, &end);
		assert_int_equal(try_open(path, 0, 0), -EBUSY);
		assert_int_equal(try_open(path, 0, BLK_OPEN_READ_ONLY), 0);
		close(end);
		waitpid(pid, NULL, 0);
	}
}

static void
one_file_is_not_served_twice(void **state)
{
	(void)state;
	char link_path[160];
	struct blk *b = world_open(rw, fresh_path(), SIZE, BLK_OPEN_CREATE, 512);
	assert_int_equal(try_open(path, 0, 0), -EBUSY);
	snprintf(link_path, sizeof link_path, "%s.link", path);
	assert_int_equal(symlink(path, link_path), 0);
	assert_int_equal(try_open(link_path, 0, 0), -EBUSY);
	world_close(rw, b);
	b = world_open(rw, link_path, 0, 0, 512);
	char want[160];
	snprintf(want, sizeof want, "file:%s", path);
	assert_string_equal(blk_get_name(b), want);
	world_close(rw, b);
}

static void
a_path_may_have_colons(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "%s/ram:file:x", test_dir());
	make_file(path, SIZE);
	assert_int_equal(try_open(path, 0, 0), 0);
	char cwd[200];
	assert_non_null(getcwd(cwd, sizeof cwd));
	assert_int_equal(chdir(test_dir()), 0);
	struct blk *b = world_open(rw, "ram:file:x", 0, 0, 512);
	assert_string_equal(blk_get_info(b)->driver, "file");
	world_close(rw, b);
	assert_int_equal(chdir(cwd), 0);
}

/* ---- events ------------------------------------------------------------------------------ */

static unsigned events[BLK_EVENT_COUNT];

static void
count_event(void *ctx, enum blk_event ev)
{
	(void)ctx;
	__atomic_fetch_add(&events[ev], 1, __ATOMIC_RELEASE);
}

static void
expect_event(enum blk_event ev, unsigned count)
{
	for (unsigned i = 0; i < 60; i++) {
		if (__atomic_load_n(&events[ev], __ATOMIC_ACQUIRE) >= count)
			break;
		world_pass(rw, 50000000);
	}
	assert_int_equal(__atomic_load_n(&events[ev], __ATOMIC_ACQUIRE), count);
}

static void
listen_run(void *ctx)
{
	memset(events, 0, sizeof events);
	blk_set_events(ctx, count_event, NULL);
}

static struct blk *
open_watched(void)
{
	struct blk *b = world_open(rw, fresh_path(), SIZE, BLK_OPEN_CREATE, 512);
	world_call(rw, 0, listen_run, b);
	return b;
}

static void
growth_is_noticed(void **state)
{
	(void)state;
	char buf[512] = {0};
	struct blk *b = open_watched();
	assert_int_equal(truncate(path, SIZE * 2 + 100), 0);
	expect_event(BLK_EVENT_SIZE, 1);
	assert_int_equal(blk_get_info(b)->size_bytes, SIZE * 2);
	assert_int_equal(io_write(rw, 1, b, 0, SIZE * 2 - 512, 512, buf), 0);
	world_close(rw, b);
}

struct look {
	struct blk *b;
	uint64_t due, looks, size_bytes;
};

static void
look_run(void *ctx)
{
	struct look *l = ctx;
	l->due = blk_look(l->b);
}

static void
looked_run(void *ctx)
{
	struct look *l = ctx;
	l->looks = blk_looks(l->b);
	l->size_bytes = blk_get_info(l->b)->size_bytes;
}

static void
a_look_that_is_asked_for_shows_what_is_so_then(void **state)
{
	(void)state;
	struct look l = {.b = open_watched()};
	for (uint64_t n = 1; n <= 40; n++) {
		/* Also while another look is under way, which may have seen the old size. */
		world_call(rw, 0, look_run, &l);
		assert_int_equal(truncate(path, (off_t)(SIZE + n * 4096)), 0);
		world_call(rw, 0, look_run, &l);
		assert_true(l.due > 0);
		for (unsigned i = 0; i < 5000; i++) {
			world_call(rw, 0, looked_run, &l);
			if (l.looks >= l.due)
				break;
			world_pass(rw, 1000000);
		}
		assert_true(l.looks >= l.due);
		assert_int_equal(l.size_bytes, SIZE + n * 4096);
	}
	world_close(rw, l.b);
}

struct space_asked {
	struct blk *b;
	struct blk_space space;
	bool known;
};

static void
ask_space(void *ctx)
{
	struct space_asked *a = ctx;
	a->known = blk_get_space(a->b, &a->space);
}

static void
space_is_told_and_followed(void **state)
{
	(void)state;
	static char data[1 << 20];
	struct statvfs fs;
	struct space_asked a = {.b = open_watched()};
	for (unsigned i = 0; i < 60 && !a.known; i++) {
		world_pass(rw, 50000000);
		world_call(rw, 0, ask_space, &a);
	}
	assert_true(a.known);
	assert_int_equal(statvfs(path, &fs), 0);
	uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
	assert_in_range(a.space.free_bytes, 1, total);
	uint64_t before = a.space.used_bytes;
	memset(data, 'x', sizeof data);
	assert_int_equal(io_write(rw, 1, a.b, 0, 0, sizeof data, data), 0);
	for (unsigned i = 0; i < 60 && a.space.used_bytes < before + sizeof data; i++) {
		world_pass(rw, 50000000);
		world_call(rw, 0, ask_space, &a);
	}
	assert_in_range(a.space.used_bytes, before + sizeof data, before + SIZE);
	world_close(rw, a.b);
}

static void
an_unlinked_file_is_gone_and_the_same_one_comes_back(void **state)
{
	(void)state;
	char moved[160], buf[4096], got[4096];
	struct blk *b = open_watched();
	pattern_fill(buf, sizeof buf, 1);
	assert_int_equal(io_write(rw, 1, b, 0, 0, 4096, buf), 0);
	snprintf(moved, sizeof moved, "%s.away", path);
	assert_int_equal(rename(path, moved), 0);
	expect_event(BLK_EVENT_GONE, 1);
	assert_int_equal(blk_get_state(b), BLK_GONE);
	assert_int_equal(io_read(rw, 0, b, 0, 4096, got), -ENODEV);
	assert_int_equal(io_write(rw, 1, b, 0, 0, 4096, buf), -ENODEV);
	assert_int_equal(rename(moved, path), 0);
	expect_event(BLK_EVENT_BACK, 1);
	assert_int_equal(io_read(rw, 1, b, 0, 4096, got), 0);
	assert_memory_equal(got, buf, 4096);
	assert_int_equal(try_open(path, 0, 0), -EBUSY);
	world_close(rw, b);
}

/* What was written lazily may be gone with a store that was away: its next flush, on the loop of the write, says
 * so, once. */
static void
lazy_writes_before_an_absence_fail_the_next_flush(void **state)
{
	(void)state;
	char moved[160], buf[4096], got[4096];
	struct blk *b = open_watched();
	pattern_fill(buf, sizeof buf, 3);
	assert_int_equal(io_write(rw, 1, b, BLK_LAZY, 0, 4096, buf), 0);
	assert_int_equal(io_range(rw, 1, b, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(io_write(rw, 1, b, BLK_LAZY, 4096, 4096, buf), 0);
	assert_int_equal(io_range(rw, 1, b, BLK_WRITE_ZEROES, BLK_LAZY, 8192, 4096), 0);
	snprintf(moved, sizeof moved, "%s.away", path);
	assert_int_equal(rename(path, moved), 0);
	expect_event(BLK_EVENT_GONE, 1);
	assert_int_equal(io_range(rw, 1, b, BLK_FLUSH, 0, 0, 0), -ENODEV);
	assert_int_equal(rename(moved, path), 0);
	expect_event(BLK_EVENT_BACK, 1);
	assert_int_equal(io_range(rw, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(io_range(rw, 1, b, BLK_FLUSH, 0, 0, 0), -EIO);
	assert_int_equal(io_range(rw, 1, b, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(io_read(rw, 1, b, 4096, 4096, got), 0);
	assert_memory_equal(got, buf, 4096);
	world_close(rw, b);
}

/* Puts what can't be synced in the place of the store's descriptor. */
static void
spoil_descriptor(void)
{
	char link[64], real[PATH_MAX], to[PATH_MAX];
	assert_non_null(realpath(path, real));
	for (int fd = 3; fd < 1024; fd++) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, to, sizeof to - 1);
		if (n < 0)
			continue;
		to[n] = '\0';
		if (strcmp(to, real) != 0)
			continue;
		int unsyncable = eventfd(0, EFD_CLOEXEC);
		assert_true(unsyncable >= 0);
		assert_int_equal(dup2(unsyncable, fd), fd);
		close(unsyncable);
		return;
	}
	fail_msg("%s isn't open", real);
}

/* Whoever wrote before the open may not have synced: the first flush can't be answered from memory, though each
 * write since was durable. */
static void
the_first_flush_reaches_the_file(void **state)
{
	(void)state;
	struct world *w = world_real(1, false);
	struct blk *b =
	    world_open(w, fresh_path(), SIZE, BLK_OPEN_CREATE | BLK_OPEN_WATCH_LATER, 512);
	spoil_descriptor();
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), -EIO);
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), -EIO);
	world_close(w, b);
	b = world_open(w, path, 0, BLK_OPEN_WATCH_LATER, 512);
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	spoil_descriptor();
	assert_int_equal(io_range(w, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	world_close(w, b);
	world_destroy(w);
}

/* Who has made the file larger may not have synced that. */
static void
the_first_flush_after_growth_reaches_the_file(void **state)
{
	(void)state;
	struct blk *b = open_watched();
	assert_int_equal(io_range(rw, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(truncate(path, SIZE * 2), 0);
	expect_event(BLK_EVENT_SIZE, 1);
	assert_int_equal(io_range(rw, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(truncate(path, SIZE * 3), 0);
	expect_event(BLK_EVENT_SIZE, 2);
	spoil_descriptor();
	assert_int_equal(io_range(rw, 0, b, BLK_FLUSH, 0, 0, 0), -EIO);
	world_close(rw, b);
	b = open_watched();
	assert_int_equal(truncate(path, SIZE * 2), 0);
	expect_event(BLK_EVENT_SIZE, 1);
	assert_int_equal(io_range(rw, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	spoil_descriptor();
	assert_int_equal(io_range(rw, 0, b, BLK_FLUSH, 0, 0, 0), 0);
	world_close(rw, b);
}

static void
a_new_file_of_the_same_size_takes_its_place(void **state)
{
	(void)state;
	char buf[4096], got[4096];
	struct blk *b = open_watched();
	assert_int_equal(unlink(path), 0);
	expect_event(BLK_EVENT_GONE, 1);
	make_file(path, SIZE / 2); /* another size: not ours */
	world_pass(rw, 1500000000);
	assert_int_equal(blk_get_state(b), BLK_GONE);
	make_file(path, SIZE);
	expect_event(BLK_EVENT_BACK, 1);
	pattern_fill(buf, sizeof buf, 2);
	assert_int_equal(io_write(rw, 1, b, 0, 0, 4096, buf), 0);
	int fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, got, 4096), 4096);
	close(fd);
	assert_memory_equal(got, buf, 4096);
	assert_int_equal(try_open(path, 0, 0), -EBUSY); /* locked again */
	world_close(rw, b);
	assert_int_equal(try_open(path, 0, 0), 0);
}

static void
a_truncated_file_is_gone_until_it_has_its_size_again(void **state)
{
	(void)state;
	char buf[512];
	struct blk *b = open_watched();
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(io_read(rw, 0, b, SIZE - 512, 512, buf), -EIO);
	expect_event(BLK_EVENT_GONE, 1);
	assert_int_equal(io_read(rw, 0, b, 0, 512, buf), -ENODEV);
	assert_int_equal(truncate(path, SIZE), 0);
	expect_event(BLK_EVENT_BACK, 1);
	assert_int_equal(io_read(rw, 0, b, SIZE - 512, 512, buf), 0);
	world_close(rw, b);
}

static void
closing_while_gone_and_while_looking_is_clean(void **state)
{
	(void)state;
	struct blk *b = open_watched();
	assert_int_equal(unlink(path), 0);
	expect_event(BLK_EVENT_GONE, 1);
	world_close(rw, b);
	for (unsigned i = 0; i < 8; i++) { /* some of these close while a worker looks */
		b = world_open(rw, fresh_path(), SIZE, BLK_OPEN_CREATE, 512);
		assert_int_equal(unlink(path), 0);
		world_pass(rw, 999000000 + i * 300000);
		world_close(rw, b);
	}
}

static int
world_up(void **state)
{
	(void)state;
	rw = world_real(2, false);
	return 0;
}

static int
world_down(void **state)
{
	(void)state;
	world_destroy(rw);
	return 0;
}

#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

static int
group_end(void **state)
{
	(void)state;
	test_dir_remove();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(behaves_durably_on_one_loop),
	    cmocka_unit_test(behaves_durably_on_two_loops_in_4k_blocks),
	    cmocka_unit_test(behaves_volatile_on_two_loops),
	    cmocka_unit_test(behaves_on_epoll),
	    cmocka_unit_test(behaves_on_the_simulated_loop),
	    cmocka_unit_test(data_survives_close_and_open),
	    cmocka_unit_test(the_first_flush_reaches_the_file),
	    cmocka_unit_test(a_created_file_is_sparse_and_unmap_returns_space),
	    WITH_WORLD(missing_files_are_refused_with_a_cure),
	    WITH_WORLD(a_near_name_is_proposed),
	    WITH_WORLD(sizes_that_differ_are_refused),
	    WITH_WORLD(places_that_do_not_last_are_refused),
	    WITH_WORLD(files_locked_by_others_are_refused_with_their_name),
	    WITH_WORLD(one_file_is_not_served_twice),
	    WITH_WORLD(a_path_may_have_colons),
	    WITH_WORLD(growth_is_noticed),
	    WITH_WORLD(the_first_flush_after_growth_reaches_the_file),
	    WITH_WORLD(a_look_that_is_asked_for_shows_what_is_so_then),
	    WITH_WORLD(space_is_told_and_followed),
	    WITH_WORLD(an_unlinked_file_is_gone_and_the_same_one_comes_back),
	    WITH_WORLD(lazy_writes_before_an_absence_fail_the_next_flush),
	    WITH_WORLD(a_new_file_of_the_same_size_takes_its_place),
	    WITH_WORLD(a_truncated_file_is_gone_until_it_has_its_size_again),
	    WITH_WORLD(closing_while_gone_and_while_looking_is_clean),
	};
	return cmocka_run_group_tests(tests, NULL, group_end);
}
