/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop: descriptors by epoll, timers in a list by time (there are few). */
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuse/terrace_fuse.h"

static uint64_t
clock_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
events_look_at_clock(struct events *ev)
{
	ev->now_ms = clock_ms();
}

int
events_init(struct events *ev)
{
	*ev = (struct events){.epfd = epoll_create1(EPOLL_CLOEXEC), .now_ms = clock_ms()};
	list_init(&ev->timers);
	return ev->epfd < 0 ? -errno : 0;
}

void
events_fini(struct events *ev)
{
	if (ev->epfd >= 0)
		close(ev->epfd);
	ev->epfd = -1;
}

int
events_watch(struct events *ev, struct watch *w, uint32_t mask)
{
	struct epoll_event e = {.events = mask, .data.ptr = w};

	if (w->mask == mask)
		return 0;
	int op = w->mask == 0 ? EPOLL_CTL_ADD : mask == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
	if (epoll_ctl(ev->epfd, op, w->fd, &e) < 0 && mask != 0)
		return -errno;
	w->mask = mask;
	for (unsigned i = 0; mask == 0 && i < EVENTS_BATCH; i++)
		if (ev->batch[i] == w)
			ev->batch[i] = NULL;
	return 0;
}

void
timer_init(struct timer *t, void (*fire)(struct timer *t))
{
	*t = (struct timer){.fire = fire};
	list_init(&t->link);
}

void
timer_set(struct events *ev, struct timer *t, uint64_t delay_ms)
{
	list_remove(&t->link);
	t->at_ms = ev->now_ms + delay_ms;
	struct list *after = ev->timers.prev;
	while (after != &ev->timers && container_of(after, struct timer, link)->at_ms > t->at_ms)
		after = after->prev;
	list_insert_after(after, &t->link);
}

void
timer_cancel(struct timer *t)
{
	list_remove(&t->link);
}

static void
fire_timers(struct events *ev)
{
	while (!list_empty(&ev->timers)) {
		struct timer *t = container_of(ev->timers.next, struct timer, link);
		if (t->at_ms > ev->now_ms)
			return;
		list_remove(&t->link);
		t->fire(t);
	}
}

static int
timeout_ms(const struct events *ev)
{
	if (list_empty(&ev->timers))
		return -1;
	uint64_t at = container_of(ev->timers.next, struct timer, link)->at_ms, now = clock_ms();
	if (at <= now)
		return 0;
	return at - now > 60000 ? 60000 : (int)(at - now);
}

int
events_run(struct events *ev)
{
	struct epoll_event list[EVENTS_BATCH];

	while (!ev->stop) {
		int n = epoll_wait(ev->epfd, list, EVENTS_BATCH, timeout_ms(ev));
		if (n < 0 && errno != EINTR)
			return -errno;
		ev->now_ms = clock_ms();
		for (int i = 0; i < EVENTS_BATCH; i++)
			ev->batch[i] = i < n ? list[i].data.ptr : NULL;
		for (int i = 0; i < n && !ev->stop; i++) {
			struct watch *w = ev->batch[i];
			if (w == NULL)
				continue;
			ASSERT(w->mask != 0);
			w->fire(w, list[i].events);
		}
		if (!ev->stop)
			fire_timers(ev);
	}
	return 0;
}
