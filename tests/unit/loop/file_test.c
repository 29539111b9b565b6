/* SPDX-License-Identifier: BSD-2-Clause */
/* File operations on both backends. */
#include "loop_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture *fx;
static unsigned pending;

static int
temp_file(void)
{
	char path[] = "/tmp/terrace-file-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void
op_done(struct loop_op *op, int result)
{
	assert_int_equal(op->result, result);
	assert_true(loop_is_current(fx->l));
	if (--pending == 0)
		loop_stop(fx->l);
}

static int
run_op(struct loop_op *op)
{
	op->done = op_done;
	op->result = 12345;
	pending = 1;
	loop_file_submit(fx->l, op);
	assert_int_equal(pending, 1);
	fixture_run(fx);
	return op->result;
}

static void
bytes_written_are_read_back(void **state)
{
	fx = *state;
	int fd = temp_file();
	char a[] = "hello ", b[] = "world";
	struct iovec out[2] = {{a, 6}, {b, 5}};
	struct loop_op op = {
	    .op = LOOP_FILE_WRITEV, .fd = fd, .iov = out, .iovcnt = 2, .offset_bytes = 4096};
	assert_int_equal(run_op(&op), 11);
	op = (struct loop_op){.op = LOOP_FILE_FSYNC, .fd = fd};
	assert_int_equal(run_op(&op), 0);
	char back[32] = "";
	struct iovec in = {back, sizeof back};
	op = (struct loop_op){
	    .op = LOOP_FILE_READV, .fd = fd, .iov = &in, .iovcnt = 1, .offset_bytes = 4096};
	assert_int_equal(run_op(&op), 11); /* short: the end of the file */
	assert_memory_equal(back, "hello world", 11);
	close(fd);
}

static void
write_takes_flags(void **state)
{
	fx = *state;
	int fd = temp_file();
	char a[512] = "x";
	struct iovec out = {a, sizeof a};
	struct loop_op op = {
	    .op = LOOP_FILE_WRITEV, .fd = fd, .iov = &out, .iovcnt = 1, .flags = RWF_DSYNC};
	assert_int_equal(run_op(&op), 512);
	op.flags = 0x80000000u;
	assert_int_equal(run_op(&op), -EOPNOTSUPP);
	close(fd);
}

static void
fallocate_extends_and_punches(void **state)
{
	fx = *state;
	int fd = temp_file();
	struct loop_op op = {.op = LOOP_FILE_FALLOCATE, .fd = fd, .len_bytes = 1 << 20};
	int r = run_op(&op);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	if (r == -EOPNOTSUPP) { /* the file system's business */
		assert_int_equal(st.st_size, 0);
	} else {
		assert_int_equal(r, 0);
		assert_int_equal(st.st_size, 1 << 20);
		op.flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		assert_int_equal(run_op(&op), 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 1 << 20);
		assert_int_equal(st.st_blocks, 0);
	}
	close(fd);
}

static void
failure_is_the_result(void **state)
{
	fx = *state;
	char b[8];
	struct iovec iov = {b, sizeof b};
	struct loop_op op = {.op = LOOP_FILE_READV, .fd = 9999, .iov = &iov, .iovcnt = 1};
	assert_int_equal(run_op(&op), -EBADF);
	op.op = LOOP_FILE_FSYNC;
	assert_int_equal(run_op(&op), -EBADF);
}

#define MANY 6000u

/* More than the ring has entries, submitted at once. */
static void
many_operations_at_once_all_end(void **state)
{
	fx = *state;
	int fd = temp_file();
	static struct loop_op op[MANY];
	static uint32_t value[MANY], back[MANY];
	static struct iovec iov[MANY];
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < MANY; i++) {
			value[i] = i * 2654435761u;
			iov[i] = (struct iovec){pass ? &back[i] : &value[i], sizeof value[i]};
			op[i] = (struct loop_op){.op = pass ? LOOP_FILE_READV : LOOP_FILE_WRITEV,
			    .fd = fd,
			    .iov = &iov[i],
			    .iovcnt = 1,
			    .offset_bytes = (uint64_t)i * sizeof value[i],
			    .done = op_done};
			loop_file_submit(fx->l, &op[i]);
		}
		pending = MANY;
		fixture_run(fx);
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(op[i].result, sizeof value[i]);
	}
	assert_memory_equal(value, back, sizeof value);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    LOOP_TEST(bytes_written_are_read_back),
	    LOOP_TEST(write_takes_flags),
	    LOOP_TEST(fallocate_extends_and_punches),
	    LOOP_TEST(failure_is_the_result),
	    LOOP_TEST(many_operations_at_once_all_end),
	};
	return RUN_ON_BOTH_BACKENDS(tests);
}
