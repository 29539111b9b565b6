/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fallback where the kernel refuses io_uring: readiness by edge-triggered epoll, file operations
 * on helper threads.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"
#include "loop/loop_priv.h"

#define EVENTS_AT_ONCE 128
#define FILE_JOBS_MAX 4096u /* at the helpers at the same time; more wait in the loop */

struct file_job {
	struct loop_job job;
	struct loop_op *op;
	struct epoll_backend *owner;
};

struct epoll_backend {
	int fd;
	struct pool file_jobs;
};

int
loop_epoll_create(struct loop *l)
{
	struct epoll_backend *e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	int r = pool_init(&e->file_jobs, "file jobs", sizeof(struct file_job), FILE_JOBS_MAX);
	if (r < 0)
		goto err_free;
	e->fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->fd < 0) {
		r = -errno;
		goto err_pool;
	}
	l->backend = e;
	return 0;

err_pool:
	pool_fini(&e->file_jobs);
err_free:
	free(e);
	return r;
}

static void
epoll_destroy(struct loop *l)
{
	struct epoll_backend *e = l->backend;
	pool_fini(&e->file_jobs);
	close(e->fd);
	free(e);
	l->backend = NULL;
}

static void
epoll_run_nothing(struct loop *l)
{
	(void)l;
}

static void
take_events(const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++)
		loop_poll_event(events[i].data.ptr, events[i].events);
}

static void
epoll_reap(struct loop *l)
{
	const struct epoll_backend *e = l->backend;
	struct epoll_event events[EVENTS_AT_ONCE];
	take_events(events, epoll_wait(e->fd, events, EVENTS_AT_ONCE, 0));
}

static bool
epoll_peek(struct loop *l)
{
	epoll_reap(l);
	return !list_empty(&l->ready);
}

static void
epoll_sleep(struct loop *l, uint64_t timeout_ns)
{
	const struct epoll_backend *e = l->backend;
	l->ops->submit(l);
	struct epoll_event events[EVENTS_AT_ONCE];
	struct timespec ts = {
	    .tv_sec = (time_t)(timeout_ns / 1000000000u),
	    .tv_nsec = (long)(timeout_ns % 1000000000u),
	};
	int n = epoll_pwait2(
	    e->fd, events, EVENTS_AT_ONCE, timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
	if (n < 0 && errno == ENOSYS) {
		/* Before 5.11, or filtered: milliseconds, rounded up. */
		uint64_t ms = timeout_ns / 1000000u + 1;
		int timeout = timeout_ns == UINT64_MAX ? -1 : ms > 60000 ? 60000 : (int)ms;
		n = epoll_wait(e->fd, events, EVENTS_AT_ONCE, timeout);
	}
	take_events(events, n);
}

static int
epoll_poll_start(struct loop_poll *p)
{
	const struct epoll_backend *e = p->loop->backend;
	struct epoll_event ev = {.events = p->mask | EPOLLET, .data.ptr = p};
	if (epoll_ctl(e->fd, EPOLL_CTL_ADD, p->fd, &ev) < 0)
		return -errno;
	p->armed = true;
	return 0;
}

static void
epoll_poll_stop(struct loop_poll *p)
{
	const struct epoll_backend *e = p->loop->backend;
	(void)epoll_ctl(e->fd, EPOLL_CTL_DEL, p->fd, NULL);
	/* No event is between the kernel and us: take_events() passes them on at once. */
	loop_poll_free(p);
}

/* ---- files ---- */

static int
file_job_work(struct loop_job *j)
{
	return loop_file_exec(container_of(j, struct file_job, job)->op);
}

static void
file_job_done(struct loop_job *j, int result)
{
	struct file_job *fj = container_of(j, struct file_job, job);
	struct loop_op *op = fj->op;
	pool_put(&fj->owner->file_jobs, fj);
	op->result = result;
	LOOP_STAT_ADD(op->loop, ops);
	op->done(op, result);
}

static void
epoll_submit(struct loop *l)
{
	struct epoll_backend *e = l->backend;
	while (!list_empty(&l->op_queue)) {
		struct file_job *fj = pool_get(&e->file_jobs);
		if (!fj)
			return; /* the next completion brings us here again */
		*fj = (struct file_job){
		    .job = {.loop = l, .work = file_job_work, .done = file_job_done},
		    .op = container_of(list_pop_front(&l->op_queue), struct loop_op, link),
		    .owner = e,
		};
		worker_submit(&fj->job);
	}
}

static void
epoll_file_submit(struct loop *l, struct loop_op *op)
{
	list_push_back(&l->op_queue, &op->link);
}

const struct loop_ops loop_epoll_ops = {
    .name = "epoll",
    .net = &loop_kernel_net_ops,
    .destroy = epoll_destroy,
    .run_begin = epoll_run_nothing,
    .run_end = epoll_run_nothing,
    .reap = epoll_reap,
    .peek = epoll_peek,
    .submit = epoll_submit,
    .sleep = epoll_sleep,
    .poll_start = epoll_poll_start,
    .poll_stop = epoll_poll_stop,
    .send = loop_kernel_send,
    .job_submit = loop_kernel_job_submit,
    .file_submit = epoll_file_submit,
    .clock_ns = loop_kernel_clock_ns,
    .wall_s = loop_kernel_wall_s,
    .random_bytes = loop_kernel_random_bytes,
};
