/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volume table [17]: two copies, written one after the other, each durable before the next: the one
 * that isn't in force first. So a crash leaves at least one of them whole, and one may decay. Volume ids
 * grow for ever. A write begun after a change shows it; changes made meanwhile share the next one.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <string.h>

#define FAILURES_MAX 3u

static void start(struct cache *c);
static void write_copy(struct cache *c);

static void
written(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	if (result == 0 && c->vt.written == 0)
		c->vt.which ^= 1; /* in force, also if the other one fails */
	if (result == 0 && c->vt.written++ == 0) {
		cache_voltable_place(&c->geo, c->uuid, c->vt.which ^ 1u, c->vt.buf);
		write_copy(c);
		return;
	}
	c->vt.busy = false;
	if (result == 0) {
		c->vt.failures = 0;
		cache_give_up_end(c);
	} else {
		c->stats.ssd_errors++;
		cache_set_condition(
		    c, CACHE_COND_SSD_WRITE, true, "the volume table can't be written");
		if (++c->vt.failures >= FAILURES_MAX)
			cache_give_up(c, "the volume table can't be written");
		c->vt.retry = true;
		if (!c->is_void)
			return; /* what is there now is unknown: the tick repeats it */
	}
	cache_wake(&c->vt.waiters, result);
	if (!c->vt.busy && !list_empty(&c->vt.next_waiters))
		start(c);
}

bool
cache_voltable_fails(const struct cache *c)
{
	return c->vt.failures >= FAILURES_MAX;
}

void
cache_voltable_retry(struct cache *c)
{
	if (c->vt.retry && !c->vt.busy)
		start(c);
}

static void
write_copy(struct cache *c)
{
	unsigned which = c->vt.which ^ 1u;
	struct cache_io *x = cache_io_get(c, written, NULL);
	cache_io_buf(x, c->vt.buf, (uint64_t)c->geo.voltable_blocks * CF_BLOCK_BYTES);
	cache_ssd_write(x, c->geo.voltable_block + (uint64_t)which * c->geo.voltable_blocks,
	    c->geo.voltable_blocks, BLK_FUA);
}

static void
start(struct cache *c)
{
	list_splice_back(&c->vt.waiters, &c->vt.next_waiters);
	c->vt.busy = true;
	c->vt.retry = false;
	c->vt.written = 0;
	cache_voltable_encode(&c->geo, c->uuid, c->vt.which ^ 1u, ++c->vt.generation, c->vt.next_id,
	    c->vt.rows, c->vt.count, c->vt.buf);
	write_copy(c);
}

void
cache_voltable_write(struct cache *c, cache_done_fn *done, void *ctx)
{
	cache_wait(&c->vt.next_waiters, done, ctx);
	if (!c->vt.busy && !c->vt.retry)
		start(c);
}

int
cache_volume_find(struct cache *c, const char *store_identity, uint8_t ret_uuid[16])
{
	for (uint32_t i = 0; i < c->vt.count; i++) {
		if (strcmp(c->vt.rows[i].store, store_identity) != 0)
			continue;
		memcpy(ret_uuid, c->vt.rows[i].uuid, 16);
		return 0;
	}
	return -ENOENT;
}

struct cache_volrow *
cache_voltable_find(struct cache *c, const uint8_t uuid[16])
{
	for (uint32_t i = 0; i < c->vt.count; i++)
		if (memcmp(c->vt.rows[i].uuid, uuid, 16) == 0)
			return &c->vt.rows[i];
	return NULL;
}
