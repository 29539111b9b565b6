/* SPDX-License-Identifier: BSD-2-Clause */
/* Watches on descriptors: what the backends share. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "loop/loop_priv.h"

int
loop_poll_start(struct loop *l, int fd, uint32_t mask,
    void (*fn)(struct loop_poll *p, uint32_t events), void *ctx, struct loop_poll **ret)
{
	struct loop_poll *p = malloc(sizeof *p);
	if (!p)
		return -ENOMEM;
	*p = (struct loop_poll){.loop = l, .fd = fd, .mask = mask, .fn = fn, .ctx = ctx};
	list_init(&p->ready);
	list_init(&p->link);
	list_push_back(&l->polls, &p->all);
	int r = l->ops->poll_start(p);
	if (r < 0) {
		list_remove(&p->all);
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void
loop_poll_stop(struct loop_poll *p)
{
	ASSERT(!p->stopped);
	p->stopped = true;
	list_remove(&p->ready);
	p->loop->ops->poll_stop(p);
}

void
loop_poll_event(struct loop_poll *p, uint32_t events)
{
	if (p->stopped)
		return;
	p->events |= events;
	if (list_empty(&p->ready))
		list_push_back(&p->loop->ready, &p->ready);
}

void
loop_poll_free(struct loop_poll *p)
{
	ASSERT(p->stopped);
	list_remove(&p->link);
	list_remove(&p->all);
	list_push_back(&p->loop->dead, &p->all);
}

uint32_t
loop_poll_now(int fd, uint32_t mask)
{
	/* The low bits of EPOLL… and POLL… are the same on Linux. */
	struct pollfd pfd = {.fd = fd, .events = (short)mask};
	int r = poll(&pfd, 1, 0);
	return r > 0 ? (uint32_t)(unsigned short)pfd.revents : 0;
}
