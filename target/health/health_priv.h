/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside health/: the files, the events in memory, the helper process. Same thread rule. */
#ifndef HEALTH_HEALTH_PRIV_H
#define HEALTH_HEALTH_PRIV_H

#include "health/health.h"

/* ---- text.c ------------------------------------------------------------------------------------ */

/*
 * Any bytes as text for people and JSON: what isn't UTF-8 and control characters become '?', what
 * doesn't fit is cut between characters. Always ends with NUL.
 */
void health_text(char *dst, size_t cap, const char *src);

/* ---- ring.c: the last lines in memory ------------------------------------------------------------- */

struct ring {
	struct ring_line {
		uint64_t id;
		char *text;
	} * lines;
	unsigned cap, count, first;
};
int ring_init(struct ring *r, unsigned cap); /* 0, -ENOMEM */
void ring_fini(struct ring *r);              /* also one that is all zero */
/* Takes `text` (malloc); the oldest line goes when it is full. */
void ring_push(struct ring *r, uint64_t id, char *text);
/* i: 0 is the oldest, < count. */
const struct ring_line *ring_at(const struct ring *r, unsigned i);

/* ---- journal.c: lines in two files, the newer and the older ------------------------------------- */

#define JOURNAL_LINE_MAX 8192u            /* bytes with the line end; longer ones aren't kept */
#define JOURNAL_PENDING_MAX (256u * 1024) /* bytes that wait for the disk */
#define JOURNAL_RETRY_MS 5000u

struct journal {
	struct loop *loop;
	char *path, *old_path; /* NULL: lines are kept nowhere */
	uint64_t max_bytes;    /* of each file */
	int fd;                /* the worker's while busy; -1: to be opened */
	char *pending;         /* whole lines */
	size_t pending_len, pending_cap;
	char *batch; /* the worker's while busy */
	size_t batch_len;
	uint64_t dropped; /* lines without room to wait in, since the last success */
	bool busy, stopping;
	struct loop_job job;
	struct loop_defer kick;
	struct loop_timer retry;
	/* After each attempt: 0, or -errno and the lines that are lost since it fails. */
	void (*result)(struct journal *j, int err, uint64_t dropped);
	void (*idle)(struct journal *j); /* after journal_stop(): the worker has let go */
};
/* dir: NULL keeps nothing. 0, -ENOMEM. */
int journal_init(
    struct journal *j, struct loop *l, const char *dir, const char *name, uint64_t max_bytes);
/* Writes what waits, if the disk takes it. The worker has nothing of it. */
void journal_fini(struct journal *j);
/*
 * Gives each line of the older and then the newer file, without its end; the last one of a file may
 * be torn. At most 2 × max_bytes are looked at. Blocking, before the first append. 0, or -errno of the first file
 * that couldn't be read (-ENOENT isn't one).
 */
int journal_read(struct journal *j, void (*line)(void *ctx, char *line, size_t len), void *ctx);
/* Keeps a copy of `len` bytes and a line end. Never blocks, never fails aloud. */
void journal_append(struct journal *j, const char *line, size_t len);
/* No more writing by the worker; calls idle once, perhaps before it returns. */
void journal_stop(struct journal *j);

/* ---- hooks.c: the helper process ---------------------------------------------------------------- */

#define HOOK_QUEUE_MAX 1024u     /* lines that wait for the helper */
#define HOOK_OUTSTANDING_MAX 64u /* lines that it has and hasn't answered */
#define HOOK_LINE_MAX 16384u     /* of either direction, with its end */
#define HOOK_TIMEOUT_S 30u       /* of a program */
#define HOOK_AT_ONCE 4u          /* programs */
#define HOOK_FD 3                /* the helper's end of the socket */
#define HOOK_BACKOFF_MS 1000u    /* before the helper is started again; doubles … */
#define HOOK_BACKOFF_MAX_MS 60000u
#define HOOK_QUIET_MS 600000u /* without a drop: HEALTH_HOOK_DROPPED is over */

struct hooks;
/* helper: as of struct health_args. 0, -ENOMEM. */
int hooks_create(struct health *h, struct loop *l, const char *helper, struct hooks **ret);
void hooks_destroy(struct hooks *k); /* stopped, or the loop never ran; accepts NULL */
int hooks_set(struct hooks *k, const struct health_hook *hooks, unsigned count);
/* An event's line, for those hooks that want its kind. */
void hooks_event(struct hooks *k, enum health_event_kind kind, const char *line);
/* Ends the helper (it finishes what runs, by itself); `idle` once, perhaps before it returns. */
void hooks_stop(struct hooks *k, void (*idle)(void *ctx), void *ctx);

/* ---- hook_check.c: in the helper --------------------------------------------------------------------- */

/*
 * Whether a program may be run with our rights: it, and every folder and link on the way to it,
 * belongs to root or to us and others can't write there (but into folders with the sticky bit, where
 * they can't touch what isn't theirs). `resolved` (PATH_MAX) gets the path without links. 0, or
 * -errno with a reason for people.
 */
int hook_check(const char *path, char *resolved, char *reason, size_t reason_cap);

/* ---- health.c ------------------------------------------------------------------------------------ */

struct health {
	struct loop *loop;
	struct list active; /* in the order of being raised */
	unsigned active_count;
	struct ring events, history;
	uint64_t last_id;
	struct journal event_log, history_log;
	struct hooks *hooks;
	struct list waits;
	struct loop_defer wake;
	/* health_stop() */
	unsigned stop_left;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

#endif
