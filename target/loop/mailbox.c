/* SPDX-License-Identifier: BSD-2-Clause */
#include "loop/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

int
mailbox_init(struct mailbox *mb)
{
	atomic_init(&mb->head, NULL);
	atomic_init(&mb->sleeping, false);
	atomic_init(&mb->stop, false);
	mb->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return mb->event_fd < 0 ? -errno : 0;
}

void
mailbox_fini(struct mailbox *mb)
{
	if (mb->event_fd >= 0)
		close(mb->event_fd);
	mb->event_fd = -1;
}

/*
 * What was pushed before is seen either here or by the owner's check in mailbox_sleep_begin(): both
 * sides write first and read second, sequentially consistent. The exchange lets one sender write.
 */
static void
wake(struct mailbox *mb)
{
	if (!atomic_load(&mb->sleeping) || !atomic_exchange(&mb->sleeping, false))
		return;
	uint64_t one = 1;
	ssize_t n = write(mb->event_fd, &one, sizeof one);
	/* EAGAIN: the counter is at its end, so the owner is being woken anyway. */
	ASSERT(n == (ssize_t)sizeof one || errno == EAGAIN || errno == EINTR);
}

void
mailbox_push(struct mailbox *mb, struct loop_msg *m)
{
	struct loop_msg *old = atomic_load_explicit(&mb->head, memory_order_relaxed);
	do
		m->next = old;
	while (!atomic_compare_exchange_weak(&mb->head, &old, m));
	wake(mb);
}

void
mailbox_stop(struct mailbox *mb)
{
	atomic_store(&mb->stop, true);
	wake(mb);
}

struct loop_msg *
mailbox_take(struct mailbox *mb)
{
	if (!atomic_load_explicit(&mb->head, memory_order_relaxed))
		return NULL;
	struct loop_msg *m = atomic_exchange_explicit(&mb->head, NULL, memory_order_acquire);
	struct loop_msg *first = NULL;
	while (m) {
		struct loop_msg *next = m->next;
		m->next = first;
		first = m;
		m = next;
	}
	return first;
}

bool
mailbox_waiting(struct mailbox *mb)
{
	return atomic_load_explicit(&mb->head, memory_order_relaxed) ||
	       atomic_load_explicit(&mb->stop, memory_order_relaxed);
}

bool
mailbox_stopping(struct mailbox *mb)
{
	return atomic_load(&mb->stop);
}

void
mailbox_clear_stop(struct mailbox *mb)
{
	atomic_store(&mb->stop, false);
}

bool
mailbox_sleep_begin(struct mailbox *mb)
{
	atomic_store(&mb->sleeping, true);
	if (!atomic_load(&mb->head) && !atomic_load(&mb->stop))
		return true;
	atomic_store(&mb->sleeping, false);
	return false;
}

void
mailbox_sleep_end(struct mailbox *mb)
{
	atomic_store_explicit(&mb->sleeping, false, memory_order_relaxed);
}

void
mailbox_drain_event(struct mailbox *mb)
{
	uint64_t n;
	ssize_t r = read(mb->event_fd, &n, sizeof n);
	ASSERT(r == (ssize_t)sizeof n || errno == EAGAIN || errno == EINTR);
}
