/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O on a descriptor. READ and WRITE continue after short transfers; UNMAP and WRITE_ZEROES try
 * fallocate and end in writing zeros; what must be durable is written with RWF_DSYNC or followed
 * by fdatasync. The steps of an io are its `fop`, one after another.
 */
#include "store/raw_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

/* blk_io.scratch, but for EXTENTS, where it is the struct loop_job: */
#define DONE 0 /* bytes transferred */
#define IOV 1  /* and 2: a segment cut to fit */
#define RETRIES 3
#define METHOD 4 /* UNMAP, WRITE_ZEROES: enum method in use */
#define OLDS 5   /* raw_loop.olds when it was submitted */
#define RETRIES_MAX 1000u
_Static_assert(sizeof(struct iovec) <= 2 * sizeof(uint64_t), "a segment fits the scratch");
_Static_assert(
    sizeof(struct loop_job) <= sizeof((struct blk_io *)0)->scratch, "a job fits the scratch");

enum method { PUNCH, ZERO_RANGE, WRITE_ZEROS, SYNC };

static void rw_next(struct raw_loop *rl, struct blk_io *io);
static void zero_next(struct raw_loop *rl, struct blk_io *io);
static void bounce_start(struct raw_loop *rl);

static struct raw *
raw_of(struct blk *b)
{
	return container_of(b, struct raw, b);
}

static struct raw_loop *
loop_of(struct blk_io *io)
{
	struct raw *r = raw_of(io->blk);
	return &r->loops[blk_loop_idx(&r->b, io->loop)];
}

int
raw_io_error(int err)
{
	switch (err) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return -ENOSPC;
	case -ENODEV:
	case -ENXIO:
	case -ENOMEDIUM:
	case -EBADF:
		return -ENODEV;
	case -EROFS:
	case -EPERM:
		return -EROFS;
	case -ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* Ends an io that used the descriptor. */
static void
raw_finish(struct raw_loop *rl, struct blk_io *io, int result)
{
	if (rl->bounce_io == io) {
		if (result == 0 && io->op == BLK_READ) {
			struct blk_sg_cursor c;
			blk_sg_cursor_init(&c, io->sg, 0);
			for (uint32_t i = 0; i < rl->bounce_sg.iovcnt; i++)
				blk_sg_cursor_in(&c, rl->bounce_sg.iov[i].iov_base,
				    rl->bounce_sg.iov[i].iov_len);
		}
		rl->bounce_io = NULL;
		blk_sg_put(&rl->bounce_sg);
		bounce_start(rl);
	}
	ASSERT(rl->in_flight > 0);
	rl->in_flight--;
	if (io->op == BLK_FLUSH) {
		rl->owed |= result < 0;
		rl->old &= result < 0 || io->scratch[OLDS] != rl->olds;
	} else {
		rl->owed |= result == 0 && (io->flags & BLK_LAZY);
	}
	if (rl->draining && rl->in_flight == 0)
		raw_loop_drained(rl);
	if (result < 0) {
		result = raw_io_error(result);
		if (result == -EIO || result == -ENODEV)
			raw_watch_hint(rl->raw);
	}
	blk_complete(io, result);
}

static void
retry_run(struct loop_defer *d)
{
	struct blk_io *io = container_of(d, struct blk_io, defer);
	loop_file_submit(io->loop, &io->fop);
}

/* True if the step will run again: the kernel was interrupted or short of something. */
static bool
try_again(struct blk_io *io, int result)
{
	if ((result != -EINTR && result != -EAGAIN) || io->scratch[RETRIES]++ == RETRIES_MAX)
		return false;
	loop_defer_init(&io->defer, retry_run);
	loop_next_turn(io->loop, &io->defer);
	return true;
}

static void
fop_submit(struct raw_loop *rl, struct blk_io *io, void (*done)(struct loop_op *op, int result))
{
	io->fop.fd = rl->fd;
	io->fop.done = done;
	loop_file_submit(io->loop, &io->fop);
}

static bool
must_be_durable(const struct raw *r, const struct blk_io *io)
{
	return (io->flags & BLK_FUA) || !(r->is_volatile || (io->flags & BLK_LAZY));
}

/* ---- READ and WRITE ---------------------------------------------------------------------- */

static void
rw_done(struct loop_op *op, int result)
{
	struct blk_io *io = container_of(op, struct blk_io, fop);
	struct raw_loop *rl = loop_of(io);
	if (result < 0) {
		if (!try_again(io, result))
			raw_finish(rl, io, result);
		return;
	}
	/* Nothing transferred within the size we know: it was cut off behind our back. */
	if (result == 0) {
		raw_finish(rl, io, -EIO);
		return;
	}
	io->scratch[DONE] += (uint64_t)result;
	ASSERT(io->scratch[DONE] <= io->len_bytes);
	if (io->scratch[DONE] == io->len_bytes)
		raw_finish(rl, io, 0);
	else
		rw_next(rl, io);
}

/* Whole segments as they are, from where we stop; a segment that has to be cut goes alone. */
static void
rw_next(struct raw_loop *rl, struct blk_io *io)
{
	const struct blk_sg *sg = rl->bounce_io == io ? &rl->bounce_sg : io->sg;
	uint64_t skip = io->scratch[DONE], left = io->len_bytes - skip;
	const struct iovec *v = sg->iov;
	for (; skip >= v->iov_len; v++)
		skip -= v->iov_len;
	unsigned count = 0;
	for (uint64_t n = 0; skip == 0 && v + count < sg->iov + sg->iovcnt; count++) {
		n += v[count].iov_len;
		if (n > left || count == UIO_MAXIOV)
			break;
	}
	if (count == 0) {
		struct iovec *cut = (struct iovec *)(void *)&io->scratch[IOV];
		uint64_t len = v->iov_len - skip;
		*cut = (struct iovec){(char *)v->iov_base + skip, len < left ? len : left};
		v = cut;
		count = 1;
	}
	bool is_write = io->op == BLK_WRITE;
	io->fop.op = is_write ? LOOP_FILE_WRITEV : LOOP_FILE_READV;
	io->fop.flags = is_write && must_be_durable(rl->raw, io) ? RWF_DSYNC : 0;
	io->fop.iov = v;
	io->fop.iovcnt = count;
	io->fop.offset_bytes = io->offset_bytes + io->scratch[DONE];
	fop_submit(rl, io, rw_done);
}

static bool
is_aligned(const struct raw *r, const struct blk_io *io)
{
	if (!r->is_direct)
		return true;
	uint64_t left = io->len_bytes;
	for (const struct iovec *v = io->sg->iov; left > 0; v++) {
		uint64_t len = v->iov_len < left ? v->iov_len : left;
		if ((uintptr_t)v->iov_base % r->mem_align != 0 || len % r->len_align != 0)
			return false;
		left -= len;
	}
	return true;
}

static void
bounce_retry(struct loop_bufwait *w)
{
	bounce_start(container_of(w, struct raw_loop, bounce_wait));
}

static void
bounce_start(struct raw_loop *rl)
{
	if (rl->bounce_io != NULL || list_empty(&rl->bounce_queue))
		return;
	struct blk_io *io = container_of(rl->bounce_queue.next, struct blk_io, link);
	if (blk_sg_get_plain(rl->loop, &rl->bounce_sg, io->len_bytes) < 0) {
		if (list_empty(&rl->bounce_wait.link))
			loop_bufwait_queue(rl->loop, &rl->bounce_wait);
		return;
	}
	list_remove(&io->link);
	rl->bounce_io = io;
	if (io->op == BLK_WRITE) {
		struct blk_sg_cursor c;
		blk_sg_cursor_init(&c, io->sg, 0);
		for (uint32_t i = 0; i < rl->bounce_sg.iovcnt; i++)
			blk_sg_cursor_out(
			    &c, rl->bounce_sg.iov[i].iov_base, rl->bounce_sg.iov[i].iov_len);
	}
	rw_next(rl, io);
}

static void
rw_start(struct raw_loop *rl, struct blk_io *io)
{
	ASSERT(io->sg->len_bytes >= io->len_bytes);
	if (is_aligned(rl->raw, io)) {
		rw_next(rl, io);
		return;
	}
	list_push_back(&rl->bounce_queue, &io->link);
	bounce_start(rl);
}

/* ---- FLUSH, UNMAP, WRITE_ZEROES ---------------------------------------------------------- */

static void
sync_done(struct loop_op *op, int result)
{
	struct blk_io *io = container_of(op, struct blk_io, fop);
	if (result >= 0 || !try_again(io, result))
		raw_finish(loop_of(io), io, result);
}

static void
sync_start(struct raw_loop *rl, struct blk_io *io)
{
	io->fop.op = LOOP_FILE_FSYNC;
	io->fop.flags = 0;
	fop_submit(rl, io, sync_done);
}

static void
zero_done(struct loop_op *op, int result)
{
	struct blk_io *io = container_of(op, struct blk_io, fop);
	struct raw_loop *rl = loop_of(io);
	enum method m = (enum method)io->scratch[METHOD];
	if (result < 0 && try_again(io, result))
		return;
	if (m == WRITE_ZEROS) {
		if (result <= 0) {
			raw_finish(rl, io, result < 0 ? result : -EIO);
			return;
		}
		io->scratch[DONE] += (uint64_t)result;
		if (io->scratch[DONE] < io->len_bytes)
			zero_next(rl, io);
		else
			raw_finish(rl, io, 0); /* was written durably where that was asked */
		return;
	}
	if (result == -EOPNOTSUPP || result == -ENOSYS) {
		if (m == PUNCH)
			rl->no_punch = true;
		else
			rl->no_zero_range = true;
		zero_next(rl, io);
		return;
	}
	if (result < 0 || !must_be_durable(rl->raw, io)) {
		raw_finish(rl, io, result);
		return;
	}
	sync_start(rl, io);
}

/* How the range becomes zeros: the first of the ways that the file system hasn't refused. */
static enum method
zero_method(const struct raw_loop *rl, const struct blk_io *io)
{
	bool keep = io->flags & BLK_NO_UNMAP;
	if (io->scratch[DONE] > 0)
		return WRITE_ZEROS;
	if (!keep && !rl->no_punch)
		return PUNCH;
	return rl->no_zero_range ? WRITE_ZEROS : ZERO_RANGE;
}

static void
zero_next(struct raw_loop *rl, struct blk_io *io)
{
	const struct raw *r = rl->raw;
	enum method m = zero_method(rl, io);
	struct loop_op *op = &io->fop;
	io->scratch[METHOD] = m;
	op->offset_bytes = io->offset_bytes + io->scratch[DONE];
	op->len_bytes = io->len_bytes - io->scratch[DONE];
	if (m != WRITE_ZEROS) {
		op->op = LOOP_FILE_FALLOCATE;
		op->flags = FALLOC_FL_KEEP_SIZE |
		            (m == PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
		fop_submit(rl, io, zero_done);
		return;
	}
	struct iovec *cut = (struct iovec *)(void *)&io->scratch[IOV];
	*cut = (struct iovec){r->zero_iov[0].iov_base, op->len_bytes};
	bool whole = op->len_bytes >= RAW_ZEROS_BYTES;
	uint64_t count = op->len_bytes / RAW_ZEROS_BYTES;
	op->op = LOOP_FILE_WRITEV;
	op->flags = must_be_durable(r, io) ? RWF_DSYNC : 0;
	op->iov = whole ? r->zero_iov : cut;
	op->iovcnt = !whole ? 1 : count < RAW_ZERO_IOVS ? (unsigned)count : RAW_ZERO_IOVS;
	fop_submit(rl, io, zero_done);
}

/* ---- EXTENTS ----------------------------------------------------------------------------- */

/* On a worker. The offset that lseek moves is nobody's: all I/O is positional. */
static int
extents_work(struct loop_job *j)
{
	struct blk_io *io = container_of((uint64_t(*)[6])(void *)j, struct blk_io, scratch);
	int fd = io->fop.fd;
	uint64_t at = io->offset_bytes, end = at + io->len_bytes;
	while (at < end && io->extent_count < io->extent_cap) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return -errno;
		uint64_t data_at = data < 0 || (uint64_t)data > end ? end : (uint64_t)data;
		uint64_t next = data_at;
		bool mapped = data_at == at;
		if (mapped) {
			off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);
			if (hole < 0)
				return -errno;
			next = (uint64_t)hole > end ? end : (uint64_t)hole;
			if (next <= at) /* changed meanwhile */
				next = end;
		}
		/* Cut at a block: what is partly data counts as data. */
		uint32_t bb = io->blk->info.block_bytes;
		next = mapped ? (next + bb - 1) / bb * bb : next / bb * bb;
		if (next <= at) {
			next = at + bb;
			mapped = true;
		}
		io->extents[io->extent_count++] = (struct blk_extent){at, next - at, mapped};
		at = next;
	}
	return 0;
}

static void
extents_done(struct loop_job *j, int result)
{
	struct blk_io *io = container_of((uint64_t(*)[6])(void *)j, struct blk_io, scratch);
	/* A file system that can't tell has everything mapped. */
	if (result == -EINVAL || result == -EOPNOTSUPP) {
		blk_extents_all_mapped(io);
		result = 0;
	}
	raw_finish(loop_of(io), io, result);
}

static void
extents_start(struct raw_loop *rl, struct blk_io *io)
{
	struct loop_job *j = (struct loop_job *)(void *)io->scratch;
	*j = (struct loop_job){.work = extents_work, .done = extents_done};
	io->fop.fd = rl->fd;
	loop_job_submit(io->loop, j);
}

/* ---- operations -------------------------------------------------------------------------- */

static void
raw_submit(struct blk *b, struct blk_io *io)
{
	struct raw *r = raw_of(b);
	struct raw_loop *rl = loop_of(io);
	if (rl->fd < 0) {
		blk_complete_later(io, -ENODEV);
		return;
	}
	if (io->op == BLK_FLUSH && !r->is_volatile && !rl->lazy && !rl->old) {
		blk_complete_later(io, 0); /* every write was durable at its done */
		return;
	}
	rl->lazy |= (io->flags & BLK_LAZY) != 0;
	if (io->op == BLK_FLUSH && rl->lost) {
		rl->lost = rl->owed = false;
		blk_complete_later(io, -EIO);
		return;
	}
	if (io->op == BLK_FLUSH)
		rl->owed = false; /* what ends from here on is for the next one */
	if (io->op == BLK_EXTENTS && !(b->info.caps & BLK_CAP_EXTENTS)) {
		blk_extents_all_mapped(io);
		blk_complete_later(io, 0);
		return;
	}
	rl->in_flight++;
	memset(io->scratch, 0, sizeof io->scratch);
	io->scratch[OLDS] = rl->olds;
	switch (io->op) {
	case BLK_READ:
	case BLK_WRITE:
		rw_start(rl, io);
		return;
	case BLK_FLUSH:
		sync_start(rl, io);
		return;
	case BLK_UNMAP:
	case BLK_WRITE_ZEROES:
		zero_next(rl, io);
		return;
	case BLK_EXTENTS:
		extents_start(rl, io);
		return;
	case BLK_OP_COUNT:
		break;
	}
	ASSERT(false); /* blk_submit() lets no other through */
}

void
raw_free(struct raw *r)
{
	blk_zeros_unmap(r->zeros, RAW_ZEROS_BYTES);
	blk_fini(&r->b);
	sem_destroy(&r->look_ended);
	free(r->loops);
	free(r->path);
	free(r);
}

static void
raw_close(struct blk *b)
{
	struct raw *r = raw_of(b);
	for (unsigned i = 0; i < b->loop_count; i++)
		ASSERT(r->loops[i].in_flight == 0 && list_empty(&r->loops[i].bounce_queue));
	/* The locks go with the descriptor, now, but not under a worker that looks at it; the memory may
	 * have to wait for the worker's message. */
	raw_watch_wait_look(r);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	if (raw_watch_stop(r))
		raw_free(r);
}

static void
raw_may_shrink(struct blk *b, uint64_t size_bytes)
{
	struct raw *r = container_of(b, struct raw, b);
	atomic_store_explicit(&r->may_shrink_to, size_bytes, memory_order_relaxed);
}

static void
raw_watched(struct blk *b)
{
	struct raw *r = raw_of(b);
	if (!r->watching)
		raw_watch_start(r);
}

static const struct blk_ops raw_ops = {
    .name = "raw",
    .submit = raw_submit,
    .close = raw_close,
    .watched = raw_watched,
    .may_shrink = raw_may_shrink,
    .look = raw_watch_look,
    .looks = raw_watch_looks,
};

int
raw_create(const struct raw_setup *su, const struct blk_open_args *args, struct blk **ret)
{
	struct raw *r = calloc(1, sizeof *r);
	if (r == NULL)
		return -ENOMEM;
	size_t loops_bytes = args->loop_count * sizeof *r->loops;
	sem_init(&r->look_ended, 0, 0);
	r->kind = su->kind;
	r->path = strdup(su->path);
	r->zeros = blk_zeros_map(RAW_ZEROS_BYTES);
	r->loops = aligned_alloc(_Alignof(struct raw_loop), loops_bytes);
	if (r->path == NULL || r->zeros == NULL || r->loops == NULL ||
	    blk_init(&r->b, &raw_ops, &su->info, su->name, args) < 0) {
		raw_free(r);
		return -ENOMEM;
	}
	r->open_flags = su->open_flags;
	r->is_volatile = su->is_volatile;
	r->is_direct = su->is_direct;
	r->mem_align = su->mem_align;
	r->len_align = su->len_align;
	r->fd = su->fd;
	for (unsigned i = 0; i < RAW_ZERO_IOVS; i++)
		r->zero_iov[i] = (struct iovec){(void *)(uintptr_t)r->zeros, RAW_ZEROS_BYTES};
	memset(r->loops, 0, loops_bytes);
	for (unsigned i = 0; i < args->loop_count; i++) {
		struct raw_loop *rl = &r->loops[i];
		rl->raw = r;
		rl->loop = args->loops[i];
		rl->fd = su->fd;
		rl->old = !(su->info.caps & BLK_CAP_READ_ONLY);
		list_init(&rl->bounce_queue);
		loop_bufwait_init(&rl->bounce_wait, bounce_retry);
	}
	if (!(args->flags & BLK_OPEN_WATCH_LATER))
		raw_watch_start(r);
	*ret = &r->b;
	return 0;
}
