/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The io_uring backend: readiness by multishot poll, file operations as SQEs, all handed over once
 * a turn. Sockets themselves are read and written directly (sock_kernel.c).
 *
 * The ring is created disabled and enabled by the thread that runs the loop, so that the kernel may
 * count on a single issuer. Until then polls and operations only queue. user_data: a struct loop_op,
 * a struct loop_poll with the low bit set, or 0 for answers nobody needs.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loop/loop_priv.h"

#define SQ_ENTRIES 512u
#define CQ_ENTRIES 4096u
#define FILE_INFLIGHT_MAX (CQ_ENTRIES / 2) /* polls have the rest; NODROP for the worst case */
/*
 * So many are submitted before the end of the turn, if no other runs; then as many as run: a device that gets
 * all of them at once, late, has nothing to do until then, and one that gets each by itself costs a call each.
 */
#define EARLY_OPS 4u
#define BACKLOG_RETRY_NS 1000000ull

#define TAG_POLL 1ull

struct uring {
	struct io_uring ring;
	bool enabled;
	pthread_t thread;   /* that enabled it */
	struct list arm;    /* polls for the next submission */
	struct list remove; /* stopped polls that the kernel still has */
	unsigned inflight;  /* file operations */
	unsigned queued;    /* and those since the last submission */
	bool backlog;       /* the kernel didn't take everything */
};

static int
ring_init(struct io_uring *ring)
{
	/* From the best down to what every usable kernel has (5.13: multishot poll). */
	static const unsigned flags[] = {
	    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	    0,
	};
	int r = -ENOSYS;
	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		struct io_uring_params p = {
		    .flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
		             IORING_SETUP_CLAMP,
		    .cq_entries = CQ_ENTRIES,
		};
		r = io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
		if (r == 0) {
			const unsigned need =
			    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_RSRC_TAGS;
			if ((p.features & need) == need)
				return 0;
			io_uring_queue_exit(ring);
			return -ENOSYS;
		}
		if (r != -EINVAL)
			break;
	}
	return r;
}

int
loop_uring_create(struct loop *l)
{
	struct uring *u = calloc(1, sizeof *u);
	if (!u)
		return -ENOMEM;
	int r = ring_init(&u->ring);
	if (r < 0) {
		free(u);
		return r;
	}
	list_init(&u->arm);
	list_init(&u->remove);
	l->backend = u;
	return 0;
}

static void
uring_destroy(struct loop *l)
{
	struct uring *u = l->backend;
	ASSERT(u->inflight == 0);
	io_uring_queue_exit(&u->ring);
	free(u);
	l->backend = NULL;
}

static void
uring_run_begin(struct loop *l)
{
	struct uring *u = l->backend;
	if (!u->enabled) {
		/* liburing 2.3 declares io_uring_enable_rings() but doesn't export it. */
		long r = syscall(
		    __NR_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		ASSERT(r == 0);
		u->enabled = true;
		u->thread = pthread_self();
	}
	/* A loop that ran once stays with its thread: the ring has a single issuer. */
	ASSERT(pthread_equal(u->thread, pthread_self()));
	/* Saves looking up the descriptor on each entry; older kernels do without. */
	(void)io_uring_register_ring_fd(&u->ring);
}

static void
uring_run_end(struct loop *l)
{
	struct uring *u = l->backend;
	(void)io_uring_unregister_ring_fd(&u->ring);
}

/* ---- completions ---- */

static void
poll_completed(struct uring *u, struct loop_poll *p, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		p->armed = false;
		if (p->stopped) {
			loop_poll_free(p);
			return;
		}
		/* The kernel ended the series (as it may): arm again. Not after an error, which
		 * would come back for ever: the owner hears of it instead. */
		if (cqe->res >= 0)
			list_push_back(&u->arm, &p->link);
	}
	loop_poll_event(p, cqe->res >= 0 ? (uint32_t)cqe->res : EPOLLERR | EPOLLHUP);
}

static void
uring_reap(struct loop *l)
{
	struct uring *u = l->backend;
	if (IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		(void)io_uring_get_events(&u->ring);

	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		n++;
		uint64_t data = io_uring_cqe_get_data64(cqe);
		if (data & TAG_POLL) {
			poll_completed(u, (struct loop_poll *)(uintptr_t)(data & ~TAG_POLL), cqe);
		} else if (data) {
			struct loop_op *op = (struct loop_op *)(uintptr_t)data;
			u->inflight--;
			op->result = cqe->res;
			loop_file_done(l, op);
		}
	}
	if (n)
		io_uring_cq_advance(&u->ring, n);
}

static bool
uring_peek(struct loop *l)
{
	struct uring *u = l->backend;
	return io_uring_cq_ready(&u->ring) > 0 ||
	       (IO_URING_READ_ONCE(*u->ring.sq.kflags) & IORING_SQ_TASKRUN);
}

/* ---- submission ---- */

static void
prep_op(struct io_uring_sqe *sqe, struct loop_op *op)
{
	switch (op->op) {
	case LOOP_FILE_READV:
		io_uring_prep_readv2(
		    sqe, op->fd, op->iov, op->iovcnt, op->offset_bytes, (int)op->flags);
		break;
	case LOOP_FILE_WRITEV:
		io_uring_prep_writev2(
		    sqe, op->fd, op->iov, op->iovcnt, op->offset_bytes, (int)op->flags);
		break;
	case LOOP_FILE_FSYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case LOOP_FILE_FALLOCATE:
		io_uring_prep_fallocate(
		    sqe, op->fd, (int)op->flags, (off_t)op->offset_bytes, (off_t)op->len_bytes);
		break;
	case LOOP_FILE_OP_COUNT:
		ASSERT(op->op < LOOP_FILE_OP_COUNT);
		break;
	}
	io_uring_sqe_set_data64(sqe, (uintptr_t)op);
}

/* Turns what waits into SQEs. False when the ring was full before all were placed. */
static bool
fill(struct loop *l)
{
	struct uring *u = l->backend;
	u->queued = 0;
	while (!list_empty(&u->remove)) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			return false;
		struct loop_poll *p =
		    container_of(list_pop_front(&u->remove), struct loop_poll, link);
		io_uring_prep_poll_remove(sqe, (uintptr_t)p | TAG_POLL);
		io_uring_sqe_set_data64(sqe, 0);
	}
	while (!list_empty(&u->arm)) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			return false;
		struct loop_poll *p = container_of(list_pop_front(&u->arm), struct loop_poll, link);
		io_uring_prep_poll_multishot(sqe, p->fd, p->mask);
		io_uring_sqe_set_data64(sqe, (uintptr_t)p | TAG_POLL);
		p->armed = true;
	}
	while (!list_empty(&l->op_queue) && u->inflight < FILE_INFLIGHT_MAX) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			return false;
		prep_op(sqe, container_of(list_pop_front(&l->op_queue), struct loop_op, link));
		u->inflight++;
	}
	return true;
}

static void
uring_submit(struct loop *l)
{
	struct uring *u = l->backend;
	for (;;) {
		bool all = fill(l);
		u->backlog = io_uring_sq_ready(&u->ring) > 0;
		if (!u->backlog)
			return;
		/* EBUSY: completions must be taken first. EAGAIN: memory is short. Both pass; the
		 * SQEs stay in the ring. */
		if (io_uring_submit(&u->ring) < 0)
			return;
		u->backlog = io_uring_sq_ready(&u->ring) > 0;
		if (all || u->backlog)
			return;
	}
}

static void
uring_sleep(struct loop *l, uint64_t timeout_ns)
{
	struct uring *u = l->backend;
	if (!fill(l) || u->backlog) {
		uring_submit(l);
		if (u->backlog && timeout_ns > BACKLOG_RETRY_NS)
			timeout_ns = BACKLOG_RETRY_NS;
	}
	if (uring_peek(l))
		return;
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts = {
	    .tv_sec = (long long)(timeout_ns / 1000000000u),
	    .tv_nsec = (long long)(timeout_ns % 1000000000u),
	};
	/* ETIME, EINTR and the passing failures above all mean: have another turn. */
	(void)io_uring_submit_and_wait_timeout(
	    &u->ring, &cqe, 1, timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
}

/* ---- watches and operations ---- */

static int
uring_poll_start(struct loop_poll *p)
{
	struct uring *u = p->loop->backend;
	list_push_back(&u->arm, &p->link);
	return 0;
}

static void
uring_poll_stop(struct loop_poll *p)
{
	struct uring *u = p->loop->backend;
	list_remove(&p->link);
	if (p->armed)
		list_push_back(&u->remove, &p->link);
	else
		loop_poll_free(p);
}

static void
uring_file_submit(struct loop *l, struct loop_op *op)
{
	struct uring *u = l->backend;
	list_push_back(&l->op_queue, &op->link);
	u->queued++;
	if (u->queued >= EARLY_OPS && u->queued >= u->inflight && u->enabled && loop_current() == l)
		uring_submit(l);
}

const struct loop_ops loop_uring_ops = {
    .name = "io_uring",
    .net = &loop_kernel_net_ops,
    .destroy = uring_destroy,
    .run_begin = uring_run_begin,
    .run_end = uring_run_end,
    .reap = uring_reap,
    .peek = uring_peek,
    .submit = uring_submit,
    .sleep = uring_sleep,
    .poll_start = uring_poll_start,
    .poll_stop = uring_poll_stop,
    .send = loop_kernel_send,
    .job_submit = loop_kernel_job_submit,
    .file_submit = uring_file_submit,
    .clock_ns = loop_kernel_clock_ns,
    .wall_s = loop_kernel_wall_s,
    .random_bytes = loop_kernel_random_bytes,
};
