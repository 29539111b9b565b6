/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool of objects of one size. Address space for `count_max` objects is reserved at init and
 * touched only when first used, so an unused pool costs no memory and a used one never calls
 * malloc. One owner thread; no locks.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool {
	const char *name;
	char *base; /* reserved region */
	size_t map_bytes;
	size_t obj_bytes; /* rounded up to 64 */
	uint32_t count_max;
	uint32_t fresh; /* objects below this index have been handed out at least once */
	uint32_t used;
	void *free; /* LIFO, linked through the first word */
};

/* 0, or -ENOMEM when the address space can't be reserved. `name` must outlive the pool. */
int pool_init(struct pool *p, const char *name, size_t obj_bytes, uint32_t count_max);

/* Accepts an all-zero pool. Every object must have been put back (asserted). */
void pool_fini(struct pool *p);

/* An object with undefined contents, aligned to 64, or NULL when all are in use. */
void *pool_get(struct pool *p);

/* `obj` came from this pool and isn't in it (DEBUG builds poison it). NULL is ignored. */
void pool_put(struct pool *p, void *obj);

static inline uint32_t
pool_free_count(const struct pool *p)
{
	return p->count_max - p->used;
}

#endif
