/* SPDX-License-Identifier: BSD-2-Clause */
/* The tier as a whole: its memory, its size, and what can be seen of it. */
#include "cache/ram/ram_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAME_COST_BYTES (RT_FRAME_BYTES + RT_FRAME_META_BYTES)
#define HUGE_PAGE_BYTES (2u << 20)
#define HUGE_PAGE_FRAMES (HUGE_PAGE_BYTES / RT_FRAME_BYTES)
#define MRC_ENTRIES 2048u
#define AHEADS_MAX 4096u /* messages to other shards; a stream has one or two */

/* What is counted per frame in FRAME_COST_BYTES; the ghost has 1.5 entries of 5 bytes, rounded up. */
_Static_assert(
    sizeof(struct rt_frame) + 2 * sizeof(uint32_t) + 12 <= RT_FRAME_META_BYTES, "cost of a frame");

/* ---- memory --------------------------------------------------------------------------------- */

/* Aligned to huge pages, which are asked for and not needed. */
static char *
reserve_arena(size_t bytes)
{
	char *p = mmap(NULL, bytes + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t head = -(uintptr_t)p & (HUGE_PAGE_BYTES - 1);
	if (head > 0)
		munmap(p, head);
	munmap(p + head + bytes, HUGE_PAGE_BYTES - head);
	(void)madvise(p + head, bytes, MADV_HUGEPAGE);
	return p + head;
}

/* Without a curve the tier works as well. */
static void
mrc_create(struct rt_shard *s)
{
	struct policy_mrc_config cfg = {.entries_max = MRC_ENTRIES};
	for (unsigned quarters = 1; quarters <= 32; quarters *= 2)
		cfg.blocks[cfg.points++] = (uint64_t)s->limit * quarters / 4;
	s->mrc = NULL;
	if (policy_mrc_create(&cfg, &s->mrc) < 0)
		s->mrc = NULL;
}

static int
shard_init(struct ram_tier *t, unsigned idx, struct loop *loop, uint32_t limit)
{
	struct rt_shard *s = &t->shards[idx];
	s->t = t;
	s->idx = idx;
	s->loop = loop;
	for (unsigned i = 0; i < RT_BUCKETS; i++) {
		list_init(&s->buckets[i].fills);
		list_init(&s->buckets[i].changes);
	}
	list_init(&s->wide);
	list_init(&s->op_waiting);
	(void)rt_lend_limit(s, limit);
	char *arena = t->arena + ((size_t)idx * t->stride << RT_FRAME_SHIFT);
	int err = rt_frames_init(s, arena, t->stride, limit);
	if (err < 0)
		return err;
	struct policy_streams_config sc = {0};
	err = policy_streams_create(&sc, &s->streams);
	if (err < 0)
		return err;
	mrc_create(s);
	void *leases = mmap(NULL, RT_LEASES * sizeof *s->leases, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (leases == MAP_FAILED)
		return -ENOMEM;
	s->leases = leases;
	if (pool_init(&s->fill_pool, "ram tier fills", sizeof(struct rt_fill), t->stride) < 0 ||
	    pool_init(&s->miss_pool, "ram tier misses", sizeof(struct rt_miss), t->stride) < 0 ||
	    pool_init(&s->op_pool, "ram tier requests", rt_op_bytes(t), RT_OPS_MAX) < 0 ||
	    pool_init(&s->ahead_pool, "ram tier aheads", sizeof(struct rt_ahead), AHEADS_MAX) < 0)
		return -ENOMEM;
	return 0;
}

static void
shard_fini(struct rt_shard *s, uint32_t stride)
{
	pool_fini(&s->ahead_pool);
	pool_fini(&s->op_pool);
	pool_fini(&s->miss_pool);
	pool_fini(&s->fill_pool);
	if (s->leases != NULL)
		munmap(s->leases, RT_LEASES * sizeof *s->leases);
	policy_mrc_destroy(s->mrc);
	policy_streams_destroy(s->streams);
	rt_frames_fini(s, stride);
}

static void
tier_free(struct ram_tier *t)
{
	for (unsigned i = 0; t->shards != NULL && i < t->loop_count; i++)
		shard_fini(&t->shards[i], t->stride);
	if (t->arena != NULL)
		munmap(t->arena, t->arena_bytes);
	free(t->shards);
	free(t->by_id);
	free(t);
}

/* Frames per loop, or 0: too small or too large. */
static uint32_t
frames_of(const struct ram_tier *t, uint64_t size_bytes)
{
	uint64_t frames = size_bytes / FRAME_COST_BYTES / t->loop_count;
	if (frames >= 8 * HUGE_PAGE_FRAMES)
		frames -= frames % HUGE_PAGE_FRAMES; /* no more of the last one is touched */
	bool enough = t->frames_min > 0 ? frames >= t->frames_min
	                                : size_bytes >= t->loop_count * RAM_TIER_LOOP_MIN_BYTES;
	return enough && size_bytes <= t->size_max_bytes ? (uint32_t)frames : 0;
}

static uint64_t
machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

/* Address space for the largest size; one frame of each shard stays unused, so that no segment of a
 * list spans two shards. */
static int
plan_memory(struct ram_tier *t, const struct ram_tier_args *args)
{
	uint64_t max = args->size_max_bytes != 0 ? args->size_max_bytes : machine_bytes();
	t->size_max_bytes = max > args->size_bytes ? max : args->size_bytes;
	uint64_t frames = t->size_max_bytes / FRAME_COST_BYTES / t->loop_count + 1;
	frames = (frames + HUGE_PAGE_FRAMES - 1) / HUGE_PAGE_FRAMES * HUGE_PAGE_FRAMES;
	if (frames * t->loop_count >= RT_NIL)
		return -EINVAL;
	t->stride = (uint32_t)frames;
	t->arena_bytes = (frames * t->loop_count) << RT_FRAME_SHIFT;
	return 0;
}

int
ram_tier_create(const struct ram_tier_args *args, struct ram_tier **ret)
{
	ASSERT(args->loop_count > 0 && args->loop_count <= LOOP_COUNT_MAX);
	struct ram_tier *t = calloc(1, sizeof *t);
	if (t == NULL)
		return -ENOMEM;
	t->loop_count = args->loop_count;
	t->frames_min = args->frames_min;
	t->size_bytes = args->size_bytes;
	list_init(&t->volumes);
	int err = plan_memory(t, args);
	uint32_t limit = err == 0 ? frames_of(t, args->size_bytes) : 0;
	if (limit == 0) {
		free(t);
		return -EINVAL;
	}
	size_t bytes = t->loop_count * sizeof *t->shards;
	t->shards = aligned_alloc(_Alignof(struct rt_shard), bytes);
	if (t->shards != NULL)
		memset(t->shards, 0, bytes);
	t->arena = reserve_arena(t->arena_bytes);
	t->by_id = calloc(RT_VOLUME_IDS, sizeof(struct ram_volume *));
	err = t->shards == NULL || t->arena == NULL || t->by_id == NULL ? -ENOMEM : 0;
	for (unsigned i = 0; err == 0 && i < t->loop_count; i++) {
		t->loop_idx[loop_id(args->loops[i])] = (uint8_t)i;
		err = shard_init(t, i, args->loops[i], limit);
	}
	if (err < 0) {
		tier_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

/* ---- destroy -------------------------------------------------------------------------------- */

/* Visits every loop in turn, waits there for its leases, and comes home to free everything. */
static void
destroy_hop(struct loop_msg *m)
{
	struct ram_tier *t = container_of(m, struct ram_tier, msg);
	if (t->at == t->loop_count) {
		tier_free(t);
		return;
	}
	struct rt_shard *s = &t->shards[t->at];
	loop_defer_cancel(&s->hash_defer);
	if (s->lease_used > 0)
		s->is_closing = true;
	else
		rt_destroy_continue(t);
}

void
rt_destroy_continue(struct ram_tier *t)
{
	t->at++;
	t->msg.run = destroy_hop;
	loop_send(t->shards[t->at % t->loop_count].loop, &t->msg);
}

void
ram_tier_destroy(struct ram_tier *t)
{
	if (t == NULL)
		return;
	ASSERT(list_empty(&t->volumes));
	for (unsigned i = 0; i < t->loop_count; i++)
		ASSERT(__atomic_load_n(&t->shards[i].lists_out, __ATOMIC_RELAXED) == 0);
	if (loop_current() == NULL) {
		for (unsigned i = 0; i < t->loop_count; i++) {
			loop_defer_cancel(&t->shards[i].hash_defer);
			loop_defer_cancel(&t->shards[i].shrink_defer);
		}
		tier_free(t);
		return;
	}
	ASSERT(!t->is_resizing && !t->curve_asked);
	t->at = 0;
	t->msg.run = destroy_hop;
	loop_send(t->shards[0].loop, &t->msg);
}

/* ---- resize --------------------------------------------------------------------------------- */

/*
 * Two rounds over the loops: what lists may hold, and the frames. When it gets smaller, lists come
 * first, and when it gets larger, last: at no time may more be reserved than there is (RT-5).
 */
static void resize_hop(struct loop_msg *m);

static void
resize_next(struct ram_tier *t)
{
	t->resize_at++;
	t->resize_msg.run = resize_hop;
	loop_send(t->shards[t->resize_at % t->loop_count].loop, &t->resize_msg);
}

static void
resize_end(struct ram_tier *t)
{
	t->is_resizing = false;
	if (t->resize_result == 0)
		__atomic_store_n(&t->size_bytes, t->resize_bytes, __ATOMIC_RELAXED);
	t->resize_done(t->resize_ctx, t->resize_result);
}

static void
resize_hop(struct loop_msg *m)
{
	struct ram_tier *t = container_of(m, struct ram_tier, resize_msg);
	unsigned n = t->loop_count;
	if (t->resize_result < 0 || t->resize_at == 2 * n) {
		resize_end(t);
		return;
	}
	struct rt_shard *s = &t->shards[t->resize_at % n];
	bool lists = (t->resize_at < n) == t->resize_is_shrink;
	if (!lists)
		rt_frames_limit(s, t->resize_limit);
	else if (!rt_lend_limit(s, t->resize_limit))
		resize_next(t);
}

void
rt_lend_settled(struct rt_shard *s)
{
	resize_next(s->t);
}

void
rt_shrunk(struct rt_shard *s)
{
	/* Without memory for it the old shares and ghost stay: that costs hits only. */
	(void)policy_s3_resize(s->s3, s->limit);
	policy_mrc_destroy(s->mrc);
	mrc_create(s);
	resize_next(s->t);
}

void
ram_tier_resize(struct ram_tier *t, uint64_t size_bytes, ram_done_fn *done, void *ctx)
{
	ASSERT(loop_is_current(t->shards[0].loop));
	ASSERT(!t->is_resizing);
	t->is_resizing = true;
	t->resize_done = done;
	t->resize_ctx = ctx;
	t->resize_bytes = size_bytes;
	t->resize_limit = frames_of(t, size_bytes);
	t->resize_is_shrink = t->resize_limit < t->shards[0].limit;
	t->resize_result = t->resize_limit == 0 ? -EINVAL : 0;
	t->resize_at = 0;
	t->resize_msg.run = resize_hop;
	loop_send(t->shards[0].loop, &t->resize_msg);
}

bool
ram_tier_memory(struct ram_tier *t, unsigned loop, void **ret_base, size_t *ret_bytes)
{
	if (loop >= t->loop_count)
		return false;
	struct rt_shard *s = &t->shards[loop];
	/* First: a shrink that is under way keeps its memory too. */
	__atomic_store_n(&s->known_to_device, true, __ATOMIC_RELEASE);
	*ret_base = s->arena;
	*ret_bytes = (size_t)__atomic_load_n(&s->limit, __ATOMIC_RELAXED) << RT_FRAME_SHIFT;
	return true;
}

/* ---- looking -------------------------------------------------------------------------------- */

void
ram_tier_get_stats(const struct ram_tier *t, struct ram_tier_stats *ret)
{
	*ret = (struct ram_tier_stats){
	    .size_bytes = __atomic_load_n(&t->size_bytes, __ATOMIC_RELAXED)};
	for (unsigned i = 0; i < t->loop_count; i++) {
		const struct rt_counters *n = &t->shards[i].n;
		ret->frames += __atomic_load_n(&t->shards[i].limit, __ATOMIC_RELAXED);
#define SUM(field) ret->field += __atomic_load_n(&n->field, __ATOMIC_RELAXED)
		SUM(frames_used);
		SUM(frames_lent);
		SUM(hits);
		SUM(misses);
		SUM(fills);
		SUM(write_fills);
		SUM(fills_cancelled);
		SUM(dropped);
		SUM(evicted);
		SUM(ahead);
		SUM(ahead_used);
		SUM(ahead_wasted);
		SUM(passed);
#undef SUM
	}
}

/* Each shard is a cache of its own, with its share of the size: ratios are averaged, sizes added. */
static void
curve_hop(struct loop_msg *m)
{
	struct ram_tier *t = container_of(m, struct ram_tier, curve_msg);
	if (t->curve_at < t->loop_count) {
		struct policy_mrc_point p[POLICY_MRC_POINTS_MAX];
		const struct rt_shard *s = &t->shards[t->curve_at++];
		uint32_t n = s->mrc != NULL ? policy_mrc_read(s->mrc, p) : 0;
		for (uint32_t i = 0; i < n; i++) {
			t->curve[i].blocks += p[i].blocks;
			t->curve[i].samples += p[i].samples;
			t->curve_hits[i] += p[i].hit_ratio * (double)p[i].samples;
		}
		t->curve_points = n < t->curve_points ? n : t->curve_points;
		loop_send(t->shards[t->curve_at % t->loop_count].loop, &t->curve_msg);
		return;
	}
	for (uint32_t i = 0; i < t->curve_points; i++)
		if (t->curve[i].samples > 0)
			t->curve[i].hit_ratio = t->curve_hits[i] / (double)t->curve[i].samples;
	t->curve_asked = false;
	t->curve_done(t->curve_ctx, t->curve, t->curve_points);
}

void
ram_tier_curve(struct ram_tier *t, ram_curve_fn *done, void *ctx)
{
	ASSERT(loop_is_current(t->shards[0].loop) && !t->curve_asked);
	t->curve_asked = true;
	t->curve_done = done;
	t->curve_ctx = ctx;
	t->curve_at = 0;
	t->curve_points = POLICY_MRC_POINTS_MAX;
	memset(t->curve, 0, sizeof t->curve);
	memset(t->curve_hits, 0, sizeof t->curve_hits);
	t->curve_msg.run = curve_hop;
	loop_send(t->shards[0].loop, &t->curve_msg);
}
