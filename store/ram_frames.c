/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames of the ram store: the arena, the free lists, and frames lent to scatter lists. */
#include "store/ram_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "store/store_priv.h"

/* blk_sg.priv[0] of a list of ours: what it holds, or the lease that takes it back. */
#define SG_PINS 0u    /* frames of the own shard */
#define SG_LANDING 1u /* free frames of the own shard, for a WRITE at priv[1] */
#define SG_TAKEN 2u   /* the same, now in the map too */

struct ram_shard *
ram_own_shard(struct ram *r)
{
	return &r->shards[blk_loop_idx(&r->b, loop_current())];
}

struct ram_shard *
ram_shard_of(struct ram *r, uint64_t offset_bytes)
{
	return &r->shards[(offset_bytes >> RAM_EXTENT_SHIFT) % r->shard_count];
}

uint32_t
ram_frame_get(struct ram_shard *s)
{
	ASSERT(ram_frames_avail(s) > 0);
	uint32_t f = s->free_count > 0 ? s->free[--s->free_count] : s->fresh++;
	DEBUG_ASSERT(s->ram->refs[f] == 0);
	s->ram->refs[f] = 1;
	return f;
}

void
ram_frame_unref(struct ram_shard *s, uint32_t f)
{
	uint32_t *refs = &s->ram->refs[f];
	ASSERT(*refs > 0);
	if (--*refs > 0)
		return;
	s->free[s->free_count++] = f;
	if (!list_empty(&s->waiting) && !s->draining && !loop_defer_queued(&s->wake))
		loop_defer(s->loop, &s->wake);
}

/* ---- lists that go back ------------------------------------------------------------------ */

static bool
in_arena(const struct ram *r, const void *p)
{
	uintptr_t at = (uintptr_t)p - (uintptr_t)r->arena;
	return at < r->arena_bytes;
}

static uint32_t
frame_at(const struct ram *r, const char *p)
{
	return (uint32_t)((size_t)(p - r->arena) >> RAM_FRAME_SHIFT);
}

/* Backwards, so that the free list hands out the run forwards again. */
static void
unpin_own(struct ram_shard *s, const struct iovec *iov, uint32_t iovcnt)
{
	const struct ram *r = s->ram;
	for (uint32_t i = iovcnt; i-- > 0;) {
		const char *p = iov[i].iov_base;
		if (!in_arena(r, p))
			continue;
		uint32_t first = frame_at(r, p);
		if (first / r->shard_frames != s->idx)
			continue;
		for (uint32_t f = frame_at(r, p + iov[i].iov_len - 1); f >= first; f--)
			ram_frame_unref(s, f);
	}
}

static struct ram_lease *
lease_get(struct ram_shard *s)
{
	struct ram_lease *le = s->lease_free;
	if (le != NULL)
		s->lease_free = le->next_free;
	else if (s->lease_fresh < RAM_LEASES)
		le = &s->leases[s->lease_fresh++];
	if (le != NULL)
		s->lease_used++;
	return le;
}

static void
lease_put(struct ram_shard *s, struct ram_lease *le)
{
	ASSERT(s->lease_used > 0);
	le->next_free = s->lease_free;
	s->lease_free = le;
	if (--s->lease_used == 0 && s->closing)
		ram_close_continue(s->ram);
}

static void
lease_home(struct loop_msg *m)
{
	struct ram_lease *le = container_of(m, struct ram_lease, msg);
	if (le->iovcap > 0)
		loop_buf_put(le->loop, le->iov, le->iovcap * sizeof *le->iov);
	lease_put(ram_own_shard(le->ram), le);
}

static void lease_hop(struct loop_msg *m);

/* To the next shard that holds pins, or home. */
static void
lease_send(struct ram_lease *le)
{
	if (le->shard_mask == 0) {
		le->msg.run = lease_home;
		loop_send(le->loop, &le->msg);
		return;
	}
	le->msg.run = lease_hop;
	loop_send(le->ram->shards[__builtin_ctz(le->shard_mask)].loop, &le->msg);
}

static void
lease_hop(struct loop_msg *m)
{
	struct ram_lease *le = container_of(m, struct ram_lease, msg);
	struct ram_shard *s = ram_own_shard(le->ram);
	unpin_own(s, le->iov, le->iovcnt);
	le->shard_mask &= ~(1u << s->idx);
	lease_send(le);
}

static void
lease_release(struct blk_sg *sg, struct ram_lease *le)
{
	struct ram *r = le->ram;
	struct ram_shard *own = ram_own_shard(r);
	le->shard_mask = 0;
	for (uint32_t i = 0; i < sg->iovcnt; i++) {
		if (in_arena(r, sg->iov[i].iov_base))
			le->shard_mask |= 1u << frame_at(r, sg->iov[i].iov_base) / r->shard_frames;
	}
	if (le->shard_mask & 1u << own->idx)
		unpin_own(own, sg->iov, sg->iovcnt);
	le->shard_mask &= ~(1u << own->idx);
	if (le->shard_mask == 0) {
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
count_list(struct ram *r, uint64_t change)
{
	uint64_t *n = &ram_own_shard(r)->lists_out;
	__atomic_store_n(n, *n + change, __ATOMIC_RELAXED);
}

static void
sg_release(struct blk_sg *sg)
{
	struct ram *r = sg->owner;
	count_list(r, UINT64_MAX); /* one less */
	if (sg->priv[0] <= SG_TAKEN)
		unpin_own(ram_own_shard(r), sg->iov, sg->iovcnt);
	else
		lease_release(sg, (struct ram_lease *)(uintptr_t)sg->priv[0]);
}

/* ---- lists handed out -------------------------------------------------------------------- */

uint32_t
ram_frames_spanned(uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t end = offset_bytes + len_bytes + RAM_FRAME_BYTES - 1;
	return (uint32_t)((end >> RAM_FRAME_SHIFT) - (offset_bytes >> RAM_FRAME_SHIFT));
}

bool
ram_is_local(struct ram *r, uint64_t offset_bytes, uint64_t len_bytes)
{
	if (r->shard_count == 1)
		return true;
	uint64_t last = offset_bytes + len_bytes - 1;
	return offset_bytes >> RAM_EXTENT_SHIFT == last >> RAM_EXTENT_SHIFT &&
	       ram_shard_of(r, offset_bytes) == ram_own_shard(r);
}

static void
sg_own(struct ram *r, struct blk_sg *sg, uint64_t kind, uint64_t offset_bytes)
{
	count_list(r, 1);
	sg->release = sg_release;
	sg->owner = r;
	sg->priv[0] = kind;
	sg->priv[1] = offset_bytes;
}

/* Room for the frames of a READ. Without a lease the owner copies into plain memory. */
static int
get_for_read(struct ram *r, struct blk_sg *sg, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct loop *l = loop_current();
	struct ram_lease *le = NULL;
	struct ram_shard *own = ram_own_shard(r);
	if (!ram_is_local(r, offset_bytes, len_bytes)) {
		le = lease_get(own);
		if (le == NULL)
			return blk_sg_get_plain(l, sg, len_bytes);
		le->ram = r;
		le->loop = l;
	}
	blk_sg_init(sg);
	int err = blk_sg_reserve(l, sg, ram_frames_spanned(offset_bytes, len_bytes));
	if (err < 0) {
		if (le != NULL)
			lease_put(own, le);
		return err;
	}
	sg_own(r, sg, le != NULL ? (uintptr_t)le : SG_PINS, offset_bytes);
	return 0;
}

/*
 * Free frames for a WRITE of whole frames of the own shard. Enough stay behind for a write that has
 * to be copied, so that one of those never waits for a write that hasn't all its data yet.
 */
static int
get_for_write(struct ram *r, struct blk_sg *sg, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct loop *l = loop_current();
	struct ram_shard *s = ram_own_shard(r);
	uint32_t count = ram_frames_spanned(offset_bytes, len_bytes);
	if (((offset_bytes | len_bytes) & (RAM_FRAME_BYTES - 1)) != 0 ||
	    !ram_is_local(r, offset_bytes, len_bytes) ||
	    ram_frames_avail(s) < count + RAM_IO_FRAMES_MAX)
		return blk_sg_get_plain(l, sg, len_bytes);
	blk_sg_init(sg);
	int err = blk_sg_reserve(l, sg, count);
	if (err < 0)
		return err;
	for (uint32_t i = 0; i < count; i++)
		blk_sg_append(sg, ram_frame(r, ram_frame_get(s)), RAM_FRAME_BYTES);
	sg_own(r, sg, SG_LANDING, offset_bytes);
	return 0;
}

int
ram_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct ram *r = container_of(b, struct ram, b);
	if (op == BLK_READ)
		return get_for_read(r, sg, offset_bytes, len_bytes);
	if (len_bytes < RAM_LAND_MIN_BYTES)
		return blk_sg_get_plain(loop_current(), sg, len_bytes);
	return get_for_write(r, sg, offset_bytes, len_bytes);
}

bool
ram_sg_lends(const struct ram *r, const struct blk_io *io)
{
	const struct blk_sg *sg = io->sg;
	if (sg->release != sg_release || sg->owner != r)
		return false;
	ASSERT(sg->iovcnt == 0 && sg->priv[1] == io->offset_bytes);
	return true;
}

bool
ram_sg_take_landing(const struct ram *r, struct blk_io *io)
{
	struct blk_sg *sg = io->sg;
	if (sg->release != sg_release || sg->owner != r || sg->priv[0] != SG_LANDING ||
	    sg->priv[1] != io->offset_bytes || sg->len_bytes != io->len_bytes)
		return false;
	sg->priv[0] = SG_TAKEN;
	return true;
}

/* ---- the arena --------------------------------------------------------------------------- */

static void *
reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void
unreserve(void *p, size_t bytes)
{
	if (p != NULL)
		munmap(p, bytes);
}

/* Aligned to huge pages, which are asked for and not needed. */
static char *
reserve_arena(size_t bytes)
{
	const size_t huge = 2u << 20;
	char *p = reserve(bytes + huge);
	if (p == NULL)
		return NULL;
	size_t head = (huge - ((uintptr_t)p & (huge - 1))) & (huge - 1);
	if (head > 0)
		munmap(p, head);
	munmap(p + head + bytes, huge - head);
	(void)madvise(p + head, bytes, MADV_HUGEPAGE);
	return p + head;
}

static void
shard_init(struct ram *r, unsigned idx)
{
	struct ram_shard *s = &r->shards[idx];
	s->ram = r;
	s->idx = idx;
	s->fresh = idx * r->shard_frames + 1; /* frame 0 is none; the others leave a gap */
	s->frame_end = (idx + 1) * r->shard_frames;
	s->free = r->free_store + s->fresh;
	list_init(&s->waiting);
}

int
ram_arena_create(struct ram *r, uint64_t size_bytes)
{
	uint64_t extents = (size_bytes + (1u << RAM_EXTENT_SHIFT) - 1) >> RAM_EXTENT_SHIFT;
	uint64_t own_extents = (extents + r->shard_count - 1) / r->shard_count;
	/* In units of 2 MiB; one frame more, which stays unused between two shards. */
	uint64_t frames =
	    (own_extents << (RAM_EXTENT_SHIFT - RAM_FRAME_SHIFT)) + RAM_SLACK_FRAMES + 1;
	frames = (frames + 511) & ~511ull;
	ASSERT(frames * r->shard_count <= UINT32_MAX);
	r->shard_frames = (uint32_t)frames;
	r->arena_bytes = frames * r->shard_count * RAM_FRAME_BYTES;
	r->refs_bytes = frames * r->shard_count * sizeof *r->refs;
	r->map_bytes = (extents << (RAM_EXTENT_SHIFT - RAM_FRAME_SHIFT)) * sizeof *r->map;
	r->arena = reserve_arena(r->arena_bytes);
	r->refs = reserve(r->refs_bytes);
	r->free_store = reserve(r->refs_bytes);
	r->map = reserve(r->map_bytes);
	r->zeros = blk_zeros_map(RAM_ZEROS_BYTES);
	size_t shards_bytes = r->shard_count * sizeof *r->shards;
	r->shards = aligned_alloc(_Alignof(struct ram_shard), shards_bytes);
	bool ok = r->arena != NULL && r->refs != NULL && r->free_store != NULL && r->map != NULL &&
	          r->zeros != NULL && r->shards != NULL;
	if (r->shards != NULL)
		memset(r->shards, 0, shards_bytes);
	for (unsigned i = 0; ok && i < r->shard_count; i++) {
		shard_init(r, i);
		if (r->shard_count == 1)
			continue; /* nobody else's frames to read */
		r->shards[i].leases = reserve(RAM_LEASES * sizeof(struct ram_lease));
		ok = r->shards[i].leases != NULL;
	}
	if (ok)
		return 0;
	ram_arena_destroy(r);
	return -ENOMEM;
}

void
ram_arena_destroy(struct ram *r)
{
	for (unsigned i = 0; r->shards != NULL && i < r->shard_count; i++)
		unreserve(r->shards[i].leases, RAM_LEASES * sizeof(struct ram_lease));
	free(r->shards);
	unreserve(r->arena, r->arena_bytes);
	unreserve(r->refs, r->refs_bytes);
	unreserve(r->free_store, r->refs_bytes);
	unreserve(r->map, r->map_bytes);
	blk_zeros_unmap(r->zeros, RAM_ZEROS_BYTES);
}
