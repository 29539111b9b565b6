/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scatter lists that are lent frames. How many frames a loop's lists may hold is settled when a list
 * is got (RT-5); beyond that, and where a volume keeps nothing, the caller gets plain memory.
 */
#include "cache/ram/ram_priv.h"

#include <errno.h>
#include <string.h>

/* sg.priv[0]: the lease, or 0 when all is of the own shard. sg.priv[1]: offset and blocks, packed. */
#define PLACE_BLOCKS_BITS 11u /* up to BLK_IO_MAX_BYTES and a ragged edge on both sides */
_Static_assert(BLK_IO_MAX_BYTES / RT_FRAME_BYTES + 1 < 1u << PLACE_BLOCKS_BITS, "blocks of a list");

static uint64_t
place_of(uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t end = offset_bytes + len_bytes + RT_FRAME_BYTES - 1;
	uint64_t blocks = (end >> RT_FRAME_SHIFT) - (offset_bytes >> RT_FRAME_SHIFT);
	return offset_bytes << (PLACE_BLOCKS_BITS - 9) | blocks;
}

static uint32_t
place_blocks(uint64_t place)
{
	return (uint32_t)(place & ((1u << PLACE_BLOCKS_BITS) - 1));
}

/* Adds `sign` × the blocks of each shard to what the loop may still lend. */
static void
reserve(struct rt_shard *own, uint64_t place, int sign)
{
	const struct ram_tier *t = own->t;
	uint64_t first = (place >> PLACE_BLOCKS_BITS) << 9 >> RT_FRAME_SHIFT;
	uint64_t end = first + place_blocks(place);
	while (first < end) {
		uint64_t stop = rt_extent_last(first) + 1;
		stop = stop < end ? stop : end;
		own->lend_left[rt_shard_of_block(t, first)->idx] += sign * (int64_t)(stop - first);
		first = stop;
	}
	if (sign > 0 && own->lend_waited && !rt_lend_over(own)) {
		own->lend_waited = false;
		rt_lend_settled(own);
	}
}

/* False: nothing was reserved. */
static bool
try_reserve(struct rt_shard *own, uint64_t place)
{
	reserve(own, place, -1);
	if (!rt_lend_over(own))
		return true;
	bool waited = own->lend_waited;
	own->lend_waited = false; /* nothing came back */
	reserve(own, place, 1);
	own->lend_waited = waited;
	return false;
}

bool
rt_lend_over(const struct rt_shard *s)
{
	for (unsigned i = 0; i < s->t->loop_count; i++)
		if (s->lend_left[i] < 0)
			return true;
	return false;
}

bool
rt_lend_limit(struct rt_shard *s, uint32_t frames_per_shard)
{
	uint32_t max = frames_per_shard / 4 * 3 / s->t->loop_count;
	for (unsigned i = 0; i < s->t->loop_count; i++)
		s->lend_left[i] += (int64_t)max - s->lend_max;
	s->lend_max = max;
	s->lend_waited = rt_lend_over(s);
	return s->lend_waited;
}

/* ---- lists that go back --------------------------------------------------------------------- */

static uint32_t
frame_at(const struct ram_tier *t, const char *p)
{
	return (uint32_t)((size_t)(p - t->arena) >> RT_FRAME_SHIFT);
}

/* Backwards, so that the free stack hands out the run forwards again. */
static void
unref_own(struct rt_shard *s, const struct iovec *iov, uint32_t iovcnt)
{
	const struct ram_tier *t = s->t;
	const uint32_t base = s->idx * t->stride;
	for (uint32_t i = iovcnt; i-- > 0;) {
		const char *p = iov[i].iov_base;
		uint32_t first = frame_at(t, p);
		if (first / t->stride != s->idx)
			continue;
		for (uint32_t f = frame_at(t, p + iov[i].iov_len - 1) + 1; f-- > first;)
			rt_frame_unref(s, f - base);
	}
}

static struct rt_lease *
lease_get(struct rt_shard *s)
{
	struct rt_lease *le = s->lease_free;
	if (le != NULL)
		s->lease_free = le->next_free;
	else if (s->lease_fresh < RT_LEASES)
		le = &s->leases[s->lease_fresh++];
	if (le == NULL)
		return NULL;
	s->lease_used++;
	le->t = s->t;
	le->loop = s->loop;
	return le;
}

static void
lease_put(struct rt_shard *s, struct rt_lease *le)
{
	ASSERT(s->lease_used > 0);
	le->next_free = s->lease_free;
	s->lease_free = le;
	if (--s->lease_used == 0 && s->is_closing)
		rt_destroy_continue(s->t);
}

static void
lease_home(struct loop_msg *m)
{
	struct rt_lease *le = container_of(m, struct rt_lease, msg);
	struct rt_shard *own = rt_own(le->t);
	if (le->iovcap > 0)
		loop_buf_put(le->loop, le->iov, le->iovcap * sizeof *le->iov);
	reserve(own, le->place, 1);
	lease_put(own, le);
}

static void lease_hop(struct loop_msg *m);

/* To the next shard that holds frames of it, or home. */
static void
lease_send(struct rt_lease *le)
{
	struct loop *to = le->loop;
	le->msg.run = lease_home;
	if (le->shard_mask != 0) {
		le->msg.run = lease_hop;
		to = le->t->shards[__builtin_ctz(le->shard_mask)].loop;
	}
	loop_send(to, &le->msg);
}

static void
lease_hop(struct loop_msg *m)
{
	struct rt_lease *le = container_of(m, struct rt_lease, msg);
	struct rt_shard *s = rt_own(le->t);
	unref_own(s, le->iov, le->iovcnt);
	le->shard_mask &= ~(1u << s->idx);
	lease_send(le);
}

static void
lease_release(struct rt_shard *own, struct blk_sg *sg, struct rt_lease *le)
{
	const struct ram_tier *t = own->t;
	le->shard_mask = 0;
	le->place = sg->priv[1];
	for (uint32_t i = 0; i < sg->iovcnt; i++)
		le->shard_mask |= 1u << frame_at(t, sg->iov[i].iov_base) / t->stride;
	if (le->shard_mask & 1u << own->idx)
		unref_own(own, sg->iov, sg->iovcnt);
	le->shard_mask &= ~(1u << own->idx);
	if (le->shard_mask == 0) {
		reserve(own, le->place, 1);
		lease_put(own, le);
		return;
	}
	/* The segments move to the lease; an array of the pool moves as it is. */
	le->iovcnt = sg->iovcnt;
	le->iovcap = sg->iovcap;
	le->iov = sg->iovcap > 0 ? sg->iov : le->inline_iov;
	if (sg->iovcap == 0)
		memcpy(le->inline_iov, sg->iov, sg->iovcnt * sizeof *sg->iov);
	sg->iovcap = 0;
	lease_send(le);
}

static void
count_list(struct rt_shard *own, uint64_t change)
{
	__atomic_store_n(&own->lists_out, own->lists_out + change, __ATOMIC_RELAXED);
}

static void
sg_release(struct blk_sg *sg)
{
	struct rt_shard *own = rt_own(sg->owner);
	count_list(own, UINT64_MAX); /* one less */
	if (sg->priv[0] != 0) {
		lease_release(own, sg, (struct rt_lease *)(uintptr_t)sg->priv[0]);
		return;
	}
	unref_own(own, sg->iov, sg->iovcnt);
	reserve(own, sg->priv[1], 1);
}

/* ---- lists handed out ----------------------------------------------------------------------- */

static bool
is_local(const struct rt_shard *own, uint64_t offset_bytes, uint64_t len_bytes)
{
	if (own->t->loop_count == 1)
		return true;
	uint64_t last = offset_bytes + len_bytes - 1;
	return offset_bytes >> RT_EXTENT_SHIFT == last >> RT_EXTENT_SHIFT &&
	       rt_shard_of(own->t, offset_bytes) == own;
}

static int
get_for_read(struct rt_shard *own, struct blk_sg *sg, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t place = place_of(offset_bytes, len_bytes);
	struct rt_lease *le = NULL;
	if (!try_reserve(own, place))
		return blk_sg_get_plain(own->loop, sg, len_bytes);
	int err = -ENOBUFS;
	if (!is_local(own, offset_bytes, len_bytes)) {
		le = lease_get(own);
		if (le == NULL)
			goto err_plain;
	}
	blk_sg_init(sg);
	err = blk_sg_reserve(own->loop, sg, place_blocks(place));
	if (err < 0)
		goto err_lease;
	count_list(own, 1);
	sg->release = sg_release;
	sg->owner = own->t;
	sg->loop = own->loop;
	sg->priv[0] = (uintptr_t)le;
	sg->priv[1] = place;
	return 0;

err_lease:
	if (le != NULL)
		lease_put(own, le);
	reserve(own, place, 1);
	return err;
err_plain:
	reserve(own, place, 1);
	return blk_sg_get_plain(own->loop, sg, len_bytes);
}

int
rt_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct ram_volume *v = container_of(b, struct ram_volume, b);
	struct rt_shard *own = rt_own(v->t);
	uint64_t last = (offset_bytes + len_bytes - 1) >> RT_FRAME_SHIFT;
	if (op == BLK_WRITE || !v->per_loop[own->idx].cfg.enabled || last >= RT_BLOCK_MAX)
		return blk_sg_get(v->lower, sg, op, offset_bytes, len_bytes);
	uint64_t first = offset_bytes >> RT_FRAME_SHIFT;
	if (rt_shard_of_block(v->t, first) == own)
		rt_prefetch_bucket(own, rt_key(v, first));
	return get_for_read(own, sg, offset_bytes, len_bytes);
}

bool
rt_sg_lends(const struct ram_tier *t, const struct blk_io *io)
{
	const struct blk_sg *sg = io->sg;
	if (sg->release != sg_release || sg->owner != t)
		return false;
	ASSERT(sg->iovcnt == 0 && sg->priv[1] == place_of(io->offset_bytes, io->len_bytes));
	return true;
}
