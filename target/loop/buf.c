/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop's buffers and those who wait for them. */
#include "loop/loop_priv.h"

struct bufpool *
loop_bufpool(struct loop *l)
{
	return l->bufs;
}

void
loop_bufwait_init(struct loop_bufwait *w, void (*retry)(struct loop_bufwait *w))
{
	list_init(&w->link);
	w->retry = retry;
}

void
loop_bufwait_queue(struct loop *l, struct loop_bufwait *w)
{
	loop_assert_owner(l);
	ASSERT(list_empty(&w->link));
	w->loop = l;
	if (w == l->retrying) {
		/* It tried and failed: it keeps its place, nobody overtakes it. */
		list_push_front(&l->bufwaits, &w->link);
		l->retry_failed = true;
		return;
	}
	list_push_back(&l->bufwaits, &w->link);
}

void
loop_bufwait_cancel(struct loop_bufwait *w)
{
	if (list_empty(&w->link))
		return;
	loop_assert_owner(w->loop);
	list_remove(&w->link);
	/* Those behind it may have waited only for their turn, with memory free. */
	w->loop->buf_returned = true;
}

void *
loop_buf_get(struct loop *l, size_t len_bytes)
{
	loop_assert_owner(l);
	if (!l->retrying && !list_empty(&l->bufwaits))
		return NULL;
	return bufpool_get(l->bufs, len_bytes);
}

void
loop_buf_put(struct loop *l, void *buf, size_t len_bytes)
{
	loop_assert_owner(l);
	bufpool_put(l->bufs, buf, len_bytes);
	l->buf_returned = true;
}

void
loop_run_bufwaits(struct loop *l)
{
	if (!l->buf_returned)
		return;
	l->buf_returned = false;
	l->retry_failed = false;
	/* Ends with the first that fails; those queued meanwhile are tried too. */
	while (!l->retry_failed) {
		struct list *n = list_pop_front(&l->bufwaits);
		if (!n)
			break;
		struct loop_bufwait *w = container_of(n, struct loop_bufwait, link);
		l->retrying = w;
		l->ran = true;
		w->retry(w);
		l->retrying = NULL;
	}
}
