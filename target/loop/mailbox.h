/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way into a loop from other threads, and the only place with atomics: a stack of messages that
 * the owner takes as a whole and reverses, so that the order of arrival is kept, and a flag by which
 * a sender sees that the owner sleeps and needs a write to its eventfd.
 */
#ifndef LOOP_MAILBOX_H
#define LOOP_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "loop/loop.h"

struct mailbox {
	_Alignas(64) _Atomic(struct loop_msg *) head; /* last sent first */
	atomic_bool sleeping;                         /* the owner sleeps or is about to */
	atomic_bool stop;
	int event_fd;
};

/* 0 or -errno. */
int mailbox_init(struct mailbox *mb);
void mailbox_fini(struct mailbox *mb);

/* Any thread. */
void mailbox_push(struct mailbox *mb, struct loop_msg *m);
void mailbox_stop(struct mailbox *mb);

/* Owner. All messages so far in order of arrival, linked by next, or NULL. */
struct loop_msg *mailbox_take(struct mailbox *mb);
/* Messages or a request to stop are waiting. */
bool mailbox_waiting(struct mailbox *mb);
bool mailbox_stopping(struct mailbox *mb);
void mailbox_clear_stop(struct mailbox *mb);
/* Before sleeping. False: don't, something is there. True: later senders write to event_fd. */
bool mailbox_sleep_begin(struct mailbox *mb);
void mailbox_sleep_end(struct mailbox *mb);
/* Takes the wake-up off event_fd. */
void mailbox_drain_event(struct mailbox *mb);

#endif
