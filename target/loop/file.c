/* SPDX-License-Identifier: BSD-2-Clause */
/* File operations: what the backends share. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "loop/loop_priv.h"

int
loop_file_exec(const struct loop_op *op)
{
	off_t off = (off_t)op->offset_bytes;
	ssize_t n = -1;
	do {
		switch (op->op) {
		case LOOP_FILE_READV:
			n = preadv2(op->fd, op->iov, (int)op->iovcnt, off, (int)op->flags);
			break;
		case LOOP_FILE_WRITEV:
			n = pwritev2(op->fd, op->iov, (int)op->iovcnt, off, (int)op->flags);
			break;
		case LOOP_FILE_FSYNC:
			n = fdatasync(op->fd);
			break;
		case LOOP_FILE_FALLOCATE:
			n = fallocate(op->fd, (int)op->flags, off, (off_t)op->len_bytes);
			break;
		case LOOP_FILE_OP_COUNT:
			ASSERT(op->op < LOOP_FILE_OP_COUNT);
			break;
		}
	} while (n < 0 && errno == EINTR);
	/* The kernel moves at most 2 GiB - 4 KiB at once. */
	ASSERT(n <= INT_MAX);
	return n < 0 ? -errno : (int)n;
}

void
loop_file_done(struct loop *l, struct loop_op *op)
{
	list_push_back(&l->op_done, &op->link);
}

void
loop_file_submit(struct loop *l, struct loop_op *op)
{
	loop_assert_owner(l);
	ASSERT(op->op < LOOP_FILE_OP_COUNT);
	ASSERT(op->done);
	op->loop = l;
	op->result = 0;
	list_init(&op->link);
	l->ops_busy++;
	l->ops->file_submit(l, op);
}
