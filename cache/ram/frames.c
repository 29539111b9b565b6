/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames of a shard: where they come from, which block is in which, and how there get to be more or
 * fewer. The hash grows and shrinks by one bucket at a time (linear hashing), so that a resize of a
 * large tier never holds up a loop.
 */
#include "cache/ram/ram_priv.h"

#include <errno.h>
#include <sys/mman.h>

/* ---- the hash ------------------------------------------------------------------------------- */

/* Eight neighbours share half a cache line. */
static uint64_t
hash_of(uint64_t key)
{
	uint64_t x = key >> 3;
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ull;
	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 32;
	return x << 3 | (key & 7);
}

/* The largest power of two up to n, which isn't 0. */
static uint32_t
power_below(uint32_t n)
{
	return 1u << (31 - __builtin_clz(n));
}

static uint32_t *
slot_of(const struct rt_shard *s, uint64_t key)
{
	uint32_t p = power_below(s->hash_count);
	uint32_t i = (uint32_t)hash_of(key) & (2 * p - 1);
	return &s->hash[i < s->hash_count ? i : i & (p - 1)];
}

uint32_t
rt_lookup(const struct rt_shard *s, uint64_t key)
{
	for (uint32_t n = *slot_of(s, key); n != 0; n = s->frames[n - 1].next)
		if (s->frames[n - 1].node.key == key)
			return n - 1;
	return RT_NIL;
}

void
rt_prefetch_bucket(const struct rt_shard *s, uint64_t key)
{
	__builtin_prefetch(slot_of(s, key));
}

void
rt_prefetch_frame(const struct rt_shard *s, uint64_t key)
{
	uint32_t n = *slot_of(s, key);
	if (n == 0)
		return;
	__builtin_prefetch(&s->frames[n - 1]);
	__builtin_prefetch(&s->frames[n - 1].next, 1); /* may be in the next line */
}

static void
hash_add(struct rt_shard *s, uint32_t f)
{
	uint32_t *slot = slot_of(s, s->frames[f].node.key);
	s->frames[f].next = *slot;
	*slot = f + 1;
}

static void
hash_remove(struct rt_shard *s, uint32_t f)
{
	uint32_t *at = slot_of(s, s->frames[f].node.key);
	while (*at != f + 1) {
		ASSERT(*at != 0);
		at = &s->frames[*at - 1].next;
	}
	*at = s->frames[f].next;
}

/* Puts the frames of a chain where they belong now. */
static void
rehash(struct rt_shard *s, uint32_t chain)
{
	while (chain != 0) {
		uint32_t f = chain - 1;
		chain = s->frames[f].next;
		hash_add(s, f);
	}
}

static void
hash_split(struct rt_shard *s)
{
	uint32_t from = s->hash_count - power_below(s->hash_count);
	uint32_t chain = s->hash[from];
	s->hash[from] = 0;
	s->hash[s->hash_count++] = 0;
	rehash(s, chain);
}

static void
hash_merge(struct rt_shard *s)
{
	uint32_t chain = s->hash[--s->hash_count];
	s->hash[s->hash_count] = 0;
	rehash(s, chain);
}

void
rt_hash_adapt(struct rt_shard *s)
{
	for (unsigned i = 0; i < RT_TURN_STEPS && s->hash_count < s->limit; i++)
		hash_split(s);
	for (unsigned i = 0; i < RT_TURN_STEPS && s->hash_count > s->limit; i++)
		hash_merge(s);
	if (s->hash_count != s->limit && !loop_defer_queued(&s->hash_defer))
		loop_next_turn(s->loop, &s->hash_defer);
}

static void
hash_more(struct loop_defer *d)
{
	rt_hash_adapt(container_of(d, struct rt_shard, hash_defer));
}

/* ---- one frame ------------------------------------------------------------------------------ */

static void
retire(struct rt_shard *s, uint32_t f)
{
	s->frames[f].state = RT_RETIRED;
	s->retired++;
	if (s->is_shrinking && s->shrink_at == s->shrink_end &&
	    !loop_defer_queued(&s->shrink_defer))
		loop_defer(s->loop, &s->shrink_defer);
}

static void
frame_free(struct rt_shard *s, uint32_t f)
{
	DEBUG_ASSERT(s->frames[f].refs == 0);
	rt_count(&s->n.frames_used, UINT64_MAX);
	if (f >= s->limit) {
		retire(s, f);
		return;
	}
	s->frames[f].state = RT_FREE;
	s->free[s->free_count++] = f;
}

/* Out of the hash; the policy has let it go already. */
static void
forget(struct rt_shard *s, uint32_t f)
{
	struct ram_volume *v = rt_volume_of_key(s->t, s->frames[f].node.key);
	rt_count(&v->per_loop[s->idx].n.kept, UINT64_MAX);
	hash_remove(s, f);
	s->frames[f].state = RT_HELD;
}

/* The policy's choice, free, or RT_NIL. While the shard shrinks it may be one that has to go anyway. */
static uint32_t
evict(struct rt_shard *s)
{
	for (;;) {
		struct policy_s3_node *node = policy_s3_evict(s->s3);
		if (node == NULL)
			return RT_NIL;
		uint32_t f = (uint32_t)(container_of(node, struct rt_frame, node) - s->frames);
		ASSERT(s->frames[f].state == RT_CACHED && s->frames[f].refs == 0);
		forget(s, f);
		struct ram_volume *v = rt_volume_of_key(s->t, node->key);
		RT_COUNT(s, v, evicted, 1);
		RT_COUNT(s, v, ahead_wasted, s->frames[f].is_ahead);
		if (f < s->limit) {
			rt_count(&s->n.frames_used, UINT64_MAX);
			return f;
		}
		frame_free(s, f);
	}
}

uint32_t
rt_frame_get(struct rt_shard *s)
{
	uint32_t f;
	if (s->free_count > 0)
		f = s->free[--s->free_count];
	else if (s->fresh < s->limit)
		f = s->fresh++;
	else
		f = evict(s);
	if (f == RT_NIL)
		return RT_NIL;
	ASSERT(f < s->limit);
	s->frames[f].state = RT_HELD;
	s->frames[f].refs = 1;
	s->frames[f].is_ahead = 0;
	rt_count(&s->n.frames_used, 1);
	rt_count(&s->n.frames_lent, 1);
	return f;
}

void
rt_frame_ref(struct rt_shard *s, uint32_t f)
{
	struct rt_frame *fr = &s->frames[f];
	DEBUG_ASSERT(fr->state != RT_FREE && fr->state != RT_RETIRED);
	if (fr->refs++ > 0)
		return;
	ASSERT(fr->state == RT_CACHED);
	policy_s3_pin(s->s3, &fr->node);
	rt_count(&s->n.frames_lent, 1);
}

void
rt_frame_unref(struct rt_shard *s, uint32_t f)
{
	struct rt_frame *fr = &s->frames[f];
	ASSERT(fr->refs > 0);
	if (--fr->refs > 0)
		return;
	rt_count(&s->n.frames_lent, UINT64_MAX);
	ASSERT(fr->state != RT_FILLING);
	if (fr->state == RT_CACHED)
		policy_s3_unpin(s->s3, &fr->node);
	else
		frame_free(s, f);
}

void
rt_frame_insert(struct rt_shard *s, uint32_t f, uint64_t key, enum policy_s3_kind kind)
{
	struct rt_frame *fr = &s->frames[f];
	ASSERT(fr->state == RT_HELD || fr->state == RT_FILLING);
	ASSERT(f < s->limit && fr->refs > 0);
	DEBUG_ASSERT(rt_lookup(s, key) == RT_NIL);
	fr->state = RT_CACHED;
	fr->is_ahead = kind == POLICY_S3_AHEAD || kind == POLICY_S3_SCAN_AHEAD;
	fr->node = (struct policy_s3_node){0};
	policy_s3_insert(s->s3, &fr->node, key, kind);
	policy_s3_pin(s->s3, &fr->node);
	hash_add(s, f);
	rt_count(&rt_volume_of_key(s->t, key)->per_loop[s->idx].n.kept, 1);
}

void
rt_frame_hit(struct rt_shard *s, uint32_t f)
{
	struct rt_frame *fr = &s->frames[f];
	policy_s3_hit(s->s3, &fr->node);
	if (fr->is_ahead) {
		fr->is_ahead = 0;
		RT_COUNT(s, rt_volume_of_key(s->t, fr->node.key), ahead_used, 1);
	}
}

void
rt_frame_drop(struct rt_shard *s, uint32_t f)
{
	struct rt_frame *fr = &s->frames[f];
	ASSERT(fr->state == RT_CACHED);
	bool lent = fr->refs > 0;
	if (lent)
		policy_s3_unpin(s->s3, &fr->node);
	policy_s3_remove(s->s3, &fr->node);
	forget(s, f);
	RT_COUNT(s, rt_volume_of_key(s->t, fr->node.key), dropped, 1);
	if (!lent)
		frame_free(s, f);
}

/* ---- more and fewer ------------------------------------------------------------------------- */

/* What is above the limit goes; what is lent when its list is put, what is filled when it ends. */
static void
shrink_one(struct rt_shard *s, uint32_t f)
{
	switch ((enum rt_state)s->frames[f].state) {
	case RT_FREE:
		retire(s, f);
		break;
	case RT_CACHED:
		rt_frame_drop(s, f);
		break;
	case RT_FILLING:
		rt_fill_of(s, f)->keep = false;
		break;
	default:
		break;
	}
}

static void
shrink_more(struct loop_defer *d)
{
	struct rt_shard *s = container_of(d, struct rt_shard, shrink_defer);
	for (unsigned i = 0; i < RT_TURN_STEPS && s->shrink_at < s->shrink_end; i++)
		shrink_one(s, s->shrink_at++);
	if (s->shrink_at < s->shrink_end) {
		loop_next_turn(s->loop, &s->shrink_defer);
		return;
	}
	if (s->retired < s->shrink_end - s->limit)
		return; /* the last to retire comes back here */
	loop_defer_cancel(&s->shrink_defer);
	for (uint32_t f = s->limit; f < s->shrink_end; f++)
		s->frames[f].state = RT_FREE;
	/* A device that knows the pages would go on using them, and the frames have others then. */
	if (!__atomic_load_n(&s->known_to_device, __ATOMIC_ACQUIRE))
		(void)madvise(rt_mem(s, s->limit),
		    (size_t)(s->shrink_end - s->limit) << RT_FRAME_SHIFT, MADV_DONTNEED);
	s->fresh = s->limit;
	s->retired = 0;
	s->is_shrinking = false;
	rt_shrunk(s);
}

void
rt_frames_limit(struct rt_shard *s, uint32_t limit)
{
	ASSERT(!s->is_shrinking && limit > 0);
	__atomic_store_n(&s->limit, limit, __ATOMIC_RELAXED);
	s->spare_max = limit / 8 > 0 ? limit / 8 : 1;
	rt_hash_adapt(s);
	if (s->fresh <= limit) {
		rt_shrunk(s);
		return;
	}
	uint32_t kept = 0;
	for (uint32_t i = 0; i < s->free_count; i++)
		if (s->free[i] < limit)
			s->free[kept++] = s->free[i];
	s->free_count = kept;
	s->is_shrinking = true;
	s->retired = 0;
	s->shrink_at = limit;
	s->shrink_end = s->fresh;
	loop_next_turn(s->loop, &s->shrink_defer);
}

/* ---- memory --------------------------------------------------------------------------------- */

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

int
rt_frames_init(struct rt_shard *s, char *arena, uint32_t stride, uint32_t limit)
{
	s->arena = arena;
	s->limit = limit;
	s->spare_max = limit / 8 > 0 ? limit / 8 : 1;
	loop_defer_init(&s->hash_defer, hash_more);
	loop_defer_init(&s->shrink_defer, shrink_more);
	s->frames = reserve((size_t)stride * sizeof *s->frames);
	s->free = reserve((size_t)stride * sizeof *s->free);
	s->hash = reserve((size_t)stride * sizeof *s->hash);
	if (s->frames == NULL || s->free == NULL || s->hash == NULL)
		return -ENOMEM;
	s->hash_count = limit;
	return policy_s3_create(limit, &s->s3);
}

void
rt_frames_fini(struct rt_shard *s, uint32_t stride)
{
	policy_s3_destroy(s->s3);
	unreserve(s->frames, (size_t)stride * sizeof *s->frames);
	unreserve(s->free, (size_t)stride * sizeof *s->free);
	unreserve(s->hash, (size_t)stride * sizeof *s->hash);
}
