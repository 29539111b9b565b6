/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checkpoints [6]: what is dead, clean and free, made durable as of one instant.
 *
 *	begin: a copy of every changed segment's bits, numbered n; the positions of the streams
 *	  1. each copy is written to the slot that is not in force
 *	  2. flush of the SSD
 *	  3. header n, durable, in the place that is not in force; then in the other
 *	end: the slots written are in force; what was free at the begin, and is still, may be reused
 *
 * A crash before 3 leaves slots numbered above the newest header: ignored, and overwritten by the first
 * checkpoint after recovery. Between the two of 3: header n counts. If 3 fails, it may be there or not: until
 * both are known to be durable no other slot is written, and n is repeated in the same places. So of what
 * was acted on there are two headers, and one may decay. That a slot in force has decayed, and its forerunner
 * would be taken for it, shows in the header: it has a CRC of the numbers of all slots in force. If 1 or 2 fails, nobody can have seen n:
 * the next checkpoint begins anew with n + 1 into the same slots, and includes all that n did.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define SLOTS_AT_ONCE 32u

static void write_slots(struct cache *c);
static void write_header(struct cache *c);

bool
cache_checkpoint_needed(const struct cache *c)
{
	if (c->ck.owed)
		return true;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		if (c->segs[i].changed || cache_segment_all_dead(&c->segs[i]))
			return true;
	return false;
}

static void
finish(struct cache *c, int result)
{
	free(c->ck.slots);
	free(c->ck.segs);
	c->ck.slots = NULL;
	c->ck.segs = NULL;
	c->ck.running = false;
	c->ck.last_ns = loop_now_ns(c->home);
	cache_wake(&c->ck.waiters, result);
	if (!list_empty(&c->ck.next_waiters)) {
		list_splice_back(&c->ck.waiters, &c->ck.next_waiters);
		cache_checkpoint_start(c);
	}
	cache_log_kick(c);
	cache_space_kick(c);
}

static void
failed(struct cache *c, int err)
{
	c->stats.ssd_errors++;
	/* What failed at once would be begun again at once, and nothing else be done. */
	c->ck.put_off = true;
	cache_set_condition(c, CACHE_COND_SSD_WRITE, true, "a checkpoint can't be written");
	for (uint32_t i = 0; i < c->ck.count; i++) {
		struct segment *s = &c->segs[c->ck.segs[i]];
		s->changed = true;
		s->in_ck = s->free_ck = false;
	}
	finish(c, err);
}

/* Header n is durable: its slots are in force, and what it calls free is free. */
static void
header_durable(struct cache *c)
{
	c->stats.checkpoints++;
	c->ck.owed = false;
	c->ck.durable = c->ck.head.number;
	c->ck.header ^= 1;
	for (uint32_t i = 0; i < c->ck.count; i++) {
		struct segment *s = &c->segs[c->ck.segs[i]];
		s->slot ^= 1;
		s->slot_number = c->ck.number;
		if (s->free_ck && cache_segment_all_dead(s)) {
			s->state = SEG_FREE;
			s->changed = false;
		}
		s->in_ck = s->free_ck = s->out = false;
	}
	finish(c, 0);
}

static void
header_done(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	if (result == 0 && ++c->ck.written < 2 && !MUTANT(HEADER_ONCE)) {
		write_header(c);
		return;
	}
	if (result == 0) {
		header_durable(c);
		return;
	}
	c->stats.ssd_errors++;
	cache_set_condition(c, CACHE_COND_SSD_WRITE, true, "a checkpoint header can't be written");
	/* It may be there: repeated by the tick, in the same place, before anything else. */
	c->ck.header_only = true;
	cache_wake(&c->ck.waiters, result);
	cache_wake(&c->ck.next_waiters, result);
}

static void
write_header(struct cache *c)
{
	/* The one in force last: there is an intact one at each instant. */
	unsigned which = c->ck.written == 0 ? c->ck.header ^ 1u : c->ck.header;
	cache_ckhead_encode(&c->geo, c->uuid, which, &c->ck.head, c->ck.header_buf);
	struct cache_io *x = cache_io_get(c, header_done, NULL);
	cache_io_buf(x, c->ck.header_buf, CF_BLOCK_BYTES);
	cache_ssd_write(x, c->geo.checkpoint_block + which, 1, BLK_FUA);
}

static void
slots_flushed(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	/* Somebody else's flush failed meanwhile: slots may have gone with it, and this one, which had
	 * nothing left to do, says OK [9]. */
	if (result == 0 && c->ck.flush_failures != c->flush_failures && !MUTANT(OTHER_FLUSH_FAILED))
		result = -EIO;
	if (result < 0)
		failed(c, result);
	else
		write_header(c);
}

static void
slot_done(struct cache_io *x, int result)
{
	struct cache *c = x->c;
	c->ck.pending--;
	if (result < 0 && c->ck.err == 0)
		c->ck.err = result;
	write_slots(c);
}

static void
write_slots(struct cache *c)
{
	while (c->ck.err == 0 && c->ck.next < c->ck.count && c->ck.pending < SLOTS_AT_ONCE) {
		uint32_t i = c->ck.next++, seg = c->ck.segs[i];
		unsigned which = c->segs[seg].slot ^ 1u;
		if (MUTANT(SLOT_IN_FORCE))
			which ^= 1u;
		c->ck.pending++;
		struct cache_io *x = cache_io_get(c, slot_done, NULL);
		cache_io_buf(x, c->ck.slots + (size_t)i * CF_BLOCK_BYTES, CF_BLOCK_BYTES);
		cache_ssd_write(x, cache_slot_block(&c->geo, seg, which), 1, 0);
	}
	if (c->ck.pending > 0)
		return;
	if (c->ck.err < 0) {
		failed(c, c->ck.err);
		return;
	}
	if (MUTANT(NO_SLOT_FLUSH)) {
		write_header(c);
		return;
	}
	cache_ssd_flush(cache_io_get(c, slots_flushed, NULL));
}

static uint32_t
slots_crc(const struct cache *c)
{
	uint32_t crc = CRC32C_INIT;
	for (uint32_t i = 0; i < cache_resize_covers(c); i++) {
		const struct segment *s = &c->segs[i];
		crc = cache_slots_crc(crc, s->in_ck ? c->ck.number : s->slot_number);
	}
	return crc32c_final(crc);
}

/* All of it in one go: the instant that the checkpoint shows. */
static void
snapshot(struct cache *c)
{
	c->ck.count = 0;
	for (uint32_t i = 0; i < cache_resize_covers(c); i++) {
		struct segment *s = &c->segs[i];
		bool dead = cache_segment_all_dead(s);
		if ((!s->changed && !dead) || s->state == SEG_LOST)
			continue;
		/* One that is being opened is free until its header is durable: a slot that calls it
		 * in use says that there is one. It isn't left out: a slot that a checkpoint left
		 * that never came to be would count from now on. */
		bool opening = s->state == SEG_OPENING;
		bool free_now = dead || opening || s->state == SEG_FREE;
		struct cache_slot d = {
		    .checkpoint = c->ck.number,
		    .generation = s->generation - opening,
		    .in_use = !free_now,
		    .used = s->acked,
		    .dead = s->dead,
		    .clean = s->clean,
		};
		unsigned which = s->slot ^ 1u;
		if (MUTANT(SLOT_IN_FORCE))
			which ^= 1u;
		cache_slot_encode(&c->geo, c->uuid, i, which, &d,
		    c->ck.slots + (size_t)c->ck.count * CF_BLOCK_BYTES);
		c->ck.segs[c->ck.count++] = i;
		s->changed = opening;
		s->in_ck = true;
		s->free_ck = dead;
	}
	c->ck.head.number = c->ck.number;
	c->ck.head.ver = c->ver;
	c->ck.head.slots_crc = slots_crc(c);
	c->ck.head.segments = c->super.incompat & CF_INCOMPAT_RESIZED ? cache_resize_covers(c) : 0;
	for (unsigned i = 0; i < CF_STREAM_COUNT; i++)
		c->ck.head.pos[i] = c->logs[i].acked;
}

void
cache_checkpoint_start(struct cache *c)
{
	ASSERT(c->loaded); /* [7] */
	if (c->ck.running) {
		if (!c->ck.header_only)
			return;
		c->ck.header_only = false;
		write_header(c);
		return;
	}
	/* A record that failed may count yet, with an older copy of what has been dropped since [4] [6]. */
	if (c->epoch_owed && !MUTANT(OWED_CHECKPOINT)) {
		cache_wake(&c->ck.waiters, -EIO);
		return;
	}
	uint32_t n = 0;
	for (uint32_t i = 0; i < c->geo.segment_count; i++)
		n += c->segs[i].changed || cache_segment_all_dead(&c->segs[i]);
	c->ck.slots = cache_pages_alloc((size_t)(n + 1) * CF_BLOCK_BYTES);
	c->ck.segs = calloc(n + 1, sizeof *c->ck.segs);
	if (c->ck.slots == NULL || c->ck.segs == NULL) {
		free(c->ck.slots);
		free(c->ck.segs);
		c->ck.slots = NULL;
		c->ck.segs = NULL;
		cache_wake(&c->ck.waiters, -ENOMEM);
		return;
	}
	c->ck.running = true;
	c->ck.number++;
	c->ck.written = 0;
	c->ck.next = c->ck.pending = 0;
	c->ck.err = 0;
	c->ck.flush_failures = c->flush_failures;
	snapshot(c);
	write_slots(c);
}

void
cache_checkpoint_wait(struct cache *c, cache_done_fn *done, void *ctx)
{
	/* One that has begun already doesn't show what changed since. */
	if (c->ck.running) {
		cache_wait(&c->ck.next_waiters, done, ctx);
		return;
	}
	cache_wait(&c->ck.waiters, done, ctx);
	cache_checkpoint_start(c);
}
