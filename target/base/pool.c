/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/poison.h"

#define OBJ_ALIGN 64u

/* Debug builds fill free objects with one pattern and new ones with another: a second put of the
 * same object finds the first pattern at the object's end. */
#define FILL_FREE 0xd7
#define FILL_NEW 0xa5

int
pool_init(struct pool *p, const char *name, size_t obj_bytes, uint32_t count_max)
{
	ASSERT(obj_bytes > 0);
	ASSERT(count_max > 0);

	if (obj_bytes > SIZE_MAX - OBJ_ALIGN)
		return -ENOMEM;
	size_t rounded = (obj_bytes + OBJ_ALIGN - 1) / OBJ_ALIGN * OBJ_ALIGN;
	size_t map_bytes;
	if (__builtin_mul_overflow(rounded, (size_t)count_max, &map_bytes))
		return -ENOMEM;
	void *base = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	*p = (struct pool){
	    .name = name,
	    .base = base,
	    .map_bytes = map_bytes,
	    .obj_bytes = rounded,
	    .count_max = count_max,
	};
	return 0;
}

void
pool_fini(struct pool *p)
{
	ASSERT(p->used == 0);
	if (p->base) {
		/* No more than was ever poisoned: the address space of a pool may be far larger. */
		UNPOISON(p->base, (size_t)p->fresh * p->obj_bytes);
		munmap(p->base, p->map_bytes);
	}
	*p = (struct pool){.name = NULL};
}

void *
pool_get(struct pool *p)
{
	void *obj = p->free;
	if (obj) {
		UNPOISON(obj, p->obj_bytes);
		memcpy(&p->free, obj, sizeof p->free);
	} else if (p->fresh < p->count_max) {
		obj = p->base + (size_t)p->fresh * p->obj_bytes;
		p->fresh++;
	} else {
		return NULL;
	}
	p->used++;
#ifndef NDEBUG
	memset(obj, FILL_NEW, p->obj_bytes);
#endif
	return obj;
}

void
pool_put(struct pool *p, void *obj)
{
	if (!obj)
		return;
	size_t off = (size_t)((char *)obj - p->base);
	ASSERT(off < (size_t)p->fresh * p->obj_bytes);
	ASSERT(off % p->obj_bytes == 0);
	ASSERT(p->used > 0);
#ifndef NDEBUG
	static const uint8_t free_mark[8] = {
	    FILL_FREE, FILL_FREE, FILL_FREE, FILL_FREE, FILL_FREE, FILL_FREE, FILL_FREE, FILL_FREE};
	UNPOISON(obj, p->obj_bytes);
	ASSERT(memcmp((char *)obj + p->obj_bytes - sizeof free_mark, free_mark, sizeof free_mark) !=
	       0);
	memset(obj, FILL_FREE, p->obj_bytes);
#endif
	memcpy(obj, &p->free, sizeof p->free);
	p->free = obj;
	p->used--;
	POISON(obj, p->obj_bytes);
}
