/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the file and block stores share: I/O on a descriptor from all loops (raw.c) and the watch
 * over the object behind it (raw_watch.c).
 *
 * The descriptor changes only while no io uses it. Home (loops[0]) asks each loop by message to
 * stop; a loop answers when its last io on the descriptor has ended; the new one goes out the same
 * way. So no loop looks at another's state, and an io never meets a reused descriptor number.
 */
#ifndef STORE_RAW_PRIV_H
#define STORE_RAW_PRIV_H

#include <stdatomic.h>
#include <semaphore.h>
#include <sys/types.h>

#include "store/blk_driver.h"
#include "store/store_priv.h"

#define RAW_WATCH_NS 1000000000ull /* period of the look at the object */
#define RAW_ZEROS_BYTES (1024u * 1024u)
#define RAW_ZERO_IOVS 4u /* zeros written at once: this many times RAW_ZEROS_BYTES */

struct raw;

struct raw_loop {
	struct raw *raw;
	struct loop *loop;
	int fd;                       /* -1: gone, everything fails with -ENODEV */
	bool draining;                /* home waits for in_flight to become 0 */
	uint64_t in_flight;           /* ios that use fd */
	bool no_punch, no_zero_range; /* fallocate said so */
	bool old;                     /* what others did to the object may not be durable yet */
	uint64_t olds;                /* how often that became so since the open */
	bool lazy;                    /* BLK_LAZY was used: FLUSH has something to do */
	bool owed;                    /* …has ended and no flush since has succeeded */
	bool lost;                    /* …and then the object was gone: the next FLUSH fails */
	struct loop_msg msg;          /* home's question and the answer */
	/* ios whose memory isn't aligned for O_DIRECT: one at a time through memory that is */
	struct list bounce_queue;
	struct blk_io *bounce_io;
	struct blk_sg bounce_sg;
	struct loop_bufwait bounce_wait;
} __attribute__((aligned(64)));

enum raw_verdict { RAW_SAME, RAW_SIZE, RAW_LOST, RAW_FOUND };

/* Input and answer of a look at the object, on a worker. */
struct raw_probe {
	struct loop_job job;
	const struct raw *raw; /* its constant part only */
	int fd;                /* the present one; -1: none */
	bool gone;             /* looks for its return */
	uint64_t size_bytes;   /* known size */
	int ret_fd;            /* RAW_FOUND: the new descriptor, or the present one */
	uint64_t ret_size_bytes;
	bool ret_has_space;
	struct blk_space ret_space;
};

struct raw_kind {
	/* On a worker: is it still there (RAW_SAME, RAW_SIZE, RAW_LOST)? */
	enum raw_verdict (*check)(struct raw_probe *p);
	/* On a worker: is it back (RAW_LOST, RAW_FOUND)? */
	enum raw_verdict (*reopen)(struct raw_probe *p);
	/* The lost descriptor is closed at once, or the object could not come back. */
	bool close_lost;
};

struct raw {
	struct blk b;
	/* constant while open */
	const struct raw_kind *kind;
	char *path;       /* canonical */
	int open_flags;   /* O_… to open it again */
	bool is_volatile; /* durable only by FLUSH and FUA */
	bool is_direct;   /* O_DIRECT: memory has to be aligned */
	uint32_t mem_align, len_align;
	const char *zeros; /* RAW_ZEROS_BYTES */
	struct iovec zero_iov[RAW_ZERO_IOVS];
	struct raw_loop *loops;
	/* home's */
	int fd;
	struct loop_timer timer;
	bool watching; /* the timer is in use */
	struct raw_probe probe;
	bool probing;
	sem_t look_ended;            /* posted by the worker that looks, taken on home */
	uint64_t looks_begun, looks; /* …and what came of it has been done */
	bool look_again;             /* as soon as that is so */
	unsigned answers_due;        /* loops that haven't answered */
	int next_fd;                 /* while the loops are told: the new descriptor, -1: stop */
	uint64_t next_size_bytes;
	_Atomic uint64_t may_shrink_to; /* home's; the worker that looks reads it. 0: it may not */
	bool closing;                   /* freed when nothing is under way any more */
};

/* What the opener found out. */
struct raw_setup {
	const struct raw_kind *kind;
	const char *path;
	const char *name; /* of the blk */
	int fd;           /* taken over on success */
	int open_flags;
	bool is_volatile, is_direct;
	uint32_t mem_align, len_align;
	struct blk_info info;
};

/* 0 or -ENOMEM; then nothing was taken over. */
int raw_create(const struct raw_setup *su, const struct blk_open_args *args, struct blk **ret);

/* raw_watch.c */
void raw_watch_start(struct raw *r);
/* An io failed: look now. On any loop; elsewhere than at home the timer has to do. */
void raw_watch_hint(struct raw *r);
/* blk_look(), blk_looks() */
uint64_t raw_watch_look(struct blk *b);
uint64_t raw_watch_looks(const struct blk *b);
/* A loop's last io has ended while it drains. */
void raw_loop_drained(struct raw_loop *rl);
/* True if nothing is under way and the memory may go; else it goes later, by raw_free(). */
/* Blocks until no worker uses the descriptor. */
void raw_watch_wait_look(struct raw *r);
bool raw_watch_stop(struct raw *r);
void raw_free(struct raw *r);

/* -ENOSPC, -ENODEV, … as blk.h allows them. */
int raw_io_error(int err);

#endif
