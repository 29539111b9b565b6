/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The watch over a file or device. Once a second a worker looks whether the object is still there;
 * home decides:
 *
 *   there ── lost ──▶ gone, listener told; loops stop, each answers when its ios have ended
 *   gone  ── found ─▶ loops get the descriptor; when all have it: there, listener told
 *
 * One look or one round of messages is under way at a time.
 */
#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "store/raw_priv.h"

static void round_answer(struct loop_msg *m);

static bool
is_busy(const struct raw *r)
{
	return r->probing || r->answers_due > 0;
}

static void
free_if_closed(struct raw *r)
{
	if (r->closing && !is_busy(r))
		raw_free(r);
}

/* A look has ended, and all that came of it. */
static void
rest(struct raw *r)
{
	ASSERT(!is_busy(r));
	r->looks = r->looks_begun;
	loop_timer_set(&r->timer, r->look_again ? 0 : RAW_WATCH_NS);
}

/* ---- rounds over the loops --------------------------------------------------------------- */

static void
answer(struct raw_loop *rl)
{
	rl->msg.run = round_answer;
	loop_send(rl->raw->b.loops[0], &rl->msg);
}

void
raw_loop_drained(struct raw_loop *rl)
{
	ASSERT(rl->in_flight == 0);
	rl->draining = false;
	answer(rl);
}

/* On each loop: the new descriptor, or none. */
static void
round_question(struct loop_msg *m)
{
	struct raw_loop *rl = container_of(m, struct raw_loop, msg);
	rl->lost |= rl->owed;      /* it may have come back without what it hadn't written */
	rl->fd = rl->raw->next_fd; /* constant during the round */
	if (rl->fd < 0 && rl->in_flight > 0)
		rl->draining = true;
	else
		answer(rl);
}

static void
round_start(struct raw *r, int fd)
{
	ASSERT(!is_busy(r));
	r->next_fd = fd;
	r->answers_due = r->b.loop_count;
	for (unsigned i = 0; i < r->b.loop_count; i++) {
		r->loops[i].msg.run = round_question;
		loop_send(r->loops[i].loop, &r->loops[i].msg);
	}
}

/* The next flush at home is a real one: what others have made of the object, its size too, is durable after it. */
static void
size_is_new(struct raw *r, uint64_t size_bytes)
{
	struct raw_loop *home = &r->loops[0];
	if (size_bytes != r->b.info.size_bytes) {
		home->old = !(r->b.info.caps & BLK_CAP_READ_ONLY);
		home->olds++;
	}
	blk_set_size(&r->b, size_bytes);
}

static void
became_back(struct raw *r)
{
	bool resized = r->next_size_bytes != r->b.info.size_bytes;
	if (r->fd >= 0 && r->fd != r->next_fd)
		close(r->fd);
	r->fd = r->next_fd;
	size_is_new(r, r->next_size_bytes);
	blk_set_state(&r->b, BLK_OK);
	blk_raise(&r->b, BLK_EVENT_BACK);
	if (resized)
		blk_raise(&r->b, BLK_EVENT_SIZE);
}

static void
round_answer(struct loop_msg *m)
{
	struct raw *r = container_of(m, struct raw_loop, msg)->raw;
	ASSERT(r->answers_due > 0);
	if (--r->answers_due > 0)
		return;
	if (r->closing) {
		if (r->next_fd >= 0)
			close(r->next_fd);
		free_if_closed(r);
		return;
	}
	if (r->next_fd >= 0) {
		became_back(r);
	} else if (r->kind->close_lost && r->fd >= 0) {
		close(r->fd);
		r->fd = -1;
	}
	rest(r);
}

/* ---- looking ----------------------------------------------------------------------------- */

static int
probe_work(struct loop_job *j)
{
	struct raw_probe *p = container_of(j, struct raw_probe, job);
	const struct raw_kind *kind = p->raw->kind;
	int verdict = (int)(p->gone ? kind->reopen(p) : kind->check(p));
	sem_post(&container_of(p, struct raw, probe)->look_ended);
	return verdict;
}

/* The store was closed while the worker looked: what it opened goes, too. */
static void
probe_orphaned(struct raw *r, enum raw_verdict v)
{
	if (v == RAW_FOUND && r->probe.ret_fd != r->probe.fd)
		close(r->probe.ret_fd);
	free_if_closed(r);
}

static void
probe_done(struct loop_job *j, int result)
{
	struct raw *r = container_of(j, struct raw, probe.job);
	const struct raw_probe *p = &r->probe;
	enum raw_verdict v = (enum raw_verdict)result;
	r->probing = false;
	while (sem_wait(&r->look_ended) < 0)
		; /* EINTR; the worker has posted it */
	if (r->closing) {
		probe_orphaned(r, v);
		return;
	}
	if (p->ret_has_space)
		blk_set_space(&r->b, &p->ret_space);
	switch (v) {
	case RAW_SIZE:
		size_is_new(r, p->ret_size_bytes);
		blk_raise(&r->b, BLK_EVENT_SIZE);
		break;
	case RAW_LOST:
		if (p->gone)
			break;
		blk_set_state(&r->b, BLK_GONE);
		round_start(r, -1);
		blk_raise(&r->b, BLK_EVENT_GONE);
		return; /* the watch goes on when the loops have stopped */
	case RAW_FOUND:
		ASSERT(p->gone);
		r->next_size_bytes = p->ret_size_bytes;
		round_start(r, p->ret_fd);
		return;
	case RAW_SAME:
		break;
	}
	rest(r);
}

static void
probe_start(struct raw *r)
{
	ASSERT(!is_busy(r));
	r->probing = true;
	r->look_again = false;
	r->looks_begun++;
	r->probe = (struct raw_probe){
	    .job = {.work = probe_work, .done = probe_done},
	    .raw = r,
	    .fd = r->fd,
	    .gone = r->b.state == BLK_GONE,
	    .size_bytes = r->b.info.size_bytes,
	    .ret_fd = -1,
	};
	loop_job_submit(r->b.loops[0], &r->probe.job);
}

static void
watch_fired(struct loop_timer *t)
{
	probe_start(container_of(t, struct raw, timer));
}

void
raw_watch_start(struct raw *r)
{
	ASSERT(!r->watching);
	r->watching = true;
	loop_timer_init(&r->timer, r->b.loops[0], watch_fired);
	loop_timer_set(&r->timer, RAW_WATCH_NS);
}

void
raw_watch_hint(struct raw *r)
{
	if (!r->watching || !loop_is_current(r->b.loops[0]) || is_busy(r) || r->b.state == BLK_GONE)
		return;
	loop_timer_cancel(&r->timer);
	probe_start(r);
}

uint64_t
raw_watch_look(struct blk *b)
{
	struct raw *r = container_of(b, struct raw, b);
	if (!r->watching)
		return 0;
	/* What one that is under way sees may be from before this call. */
	r->look_again = true;
	if (!is_busy(r))
		loop_timer_set(&r->timer, 0);
	return r->looks_begun + 1;
}

uint64_t
raw_watch_looks(const struct blk *b)
{
	return ((const struct raw *)(const void *)b)->looks; /* `b` is its first */
}

void
raw_watch_wait_look(struct raw *r)
{
	if (!r->probing)
		return;
	while (sem_wait(&r->look_ended) < 0)
		;                 /* EINTR */
	sem_post(&r->look_ended); /* for probe_done() */
}

bool
raw_watch_stop(struct raw *r)
{
	loop_timer_cancel(&r->timer);
	r->closing = true;
	return !is_busy(r);
}
