/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Long start and stop sequences as a const table of named steps, undone in reverse when one fails.
 * Synchronous; an asynchronous action returns STEPS_PENDING and later calls steps_continue().
 */
#ifndef BASE_STEPS_H
#define BASE_STEPS_H

#include <stdbool.h>
#include <stddef.h>

#define STEPS_PENDING 1

struct step {
	const char *name;
	int (*action)(void *ctx); /* 0, -errno, or STEPS_PENDING */
	void (*undo)(void *ctx);  /* may be NULL; synchronous */
};

struct steps {
	const struct step *table;
	size_t count;
	size_t at; /* index of the step that runs, or number of steps done */
	bool running;
	int result;
	void *ctx;
	void (*finished)(
	    struct steps *s, int result); /* 0, or -errno after all undo ran; may be NULL */
};

/*
 * Runs the table from its beginning. Returns the result (0 or -errno) when it ended at once, or
 * STEPS_PENDING when a step is pending. `finished` is called exactly once in either case.
 */
int steps_start(struct steps *s, const struct step *table, size_t count, void *ctx,
    void (*finished)(struct steps *s, int result));

/* The pending step ended with `result` (0 or -errno): go on, or undo. */
void steps_continue(struct steps *s, int result);

/* Undoes all completed steps in reverse (orderly stop). Nothing may be pending. */
void steps_undo(struct steps *s);

/* Name of the step that failed or runs; for messages. */
const char *steps_name(const struct steps *s);

#endif
