/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RAM tier against an oracle: many requests at once from all loops over a few blocks, with frames
 * for a part of them only, over a store that delays, fails and tears; drops, resizes, changes of profile
 * and a store that goes away between them. Every sector says who wrote it. What a read may return:
 *
 *   a version whose write had begun before the read ended, and that was not surely replaced before the
 *   read began: by a write that began after it had ended, or by what an earlier read had seen instead.
 *
 * Time is a count of events; the world is simulated, so a seed fails again.
 */
#include "tests/unit/cache/ram_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/fault.h"

/* The format strings are a table. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

#define SECTOR 512u
#define REGION_BYTES (48u << 10) /* at each of these: */
#define REGIONS 3u
#define SECTORS (REGIONS * REGION_BYTES / SECTOR)
#define VERSIONS_MAX 256u /* of a sector that may still be seen */
#define IN_FLIGHT_MAX 20u
#define HELD_MAX 6u
#define NEVER UINT64_MAX

/* The middle of an extent, and the borders of two. */
static const uint64_t region_at[REGIONS] = {
    64u << 10, (1u << 20) - (24u << 10), (3u << 20) - (20u << 10)};

struct version {
	uint64_t id;         /* 0: zeros */
	uint64_t start, end; /* of the write; end NEVER: in flight */
	uint64_t dead;       /* reads that begin later may not see it */
	uint64_t seen;       /* the first read that returned it ended then; NEVER */
	bool applied;        /* the write succeeded */
};

struct sector {
	struct version v[VERSIONS_MAX];
	unsigned count;
};

struct op {
	struct req *r;
	uint64_t start, id;
	unsigned first, count; /* sectors */
	char *mem;             /* what is written, or a READ's own memory */
	uint64_t hash;         /* of what was lent, to see that it stays */
	bool done, is_own;
};

static struct ram_fixture f;
static struct sector sectors[SECTORS];
static uint64_t now, next_id, rng;
static struct op ops[IN_FLIGHT_MAX];
static unsigned in_flight;
static struct op held[HELD_MAX];

static uint64_t
pick(uint64_t n)
{
	return test_rand(&rng) % n;
}

/* ---- the oracle ------------------------------------------------------------------------------- */

static void
kill_at(struct version *v, uint64_t t)
{
	if (t < v->dead)
		v->dead = t;
}

/* Versions that no read to come can see go: those dead before anything that is in flight began. */
static void
tidy(struct sector *s)
{
	uint64_t oldest = now;
	for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
		if (ops[i].r != NULL && ops[i].start < oldest)
			oldest = ops[i].start;
	unsigned kept = 0;
	for (unsigned i = 0; i < s->count; i++)
		if (s->v[i].end == NEVER || s->v[i].dead >= oldest)
			s->v[kept++] = s->v[i];
	s->count = kept;
	assert_true(kept > 0);
}

static void
version_begin(struct sector *s, uint64_t id, uint64_t start)
{
	assert_true(s->count < VERSIONS_MAX);
	s->v[s->count++] =
	    (struct version){.id = id, .start = start, .end = NEVER, .dead = NEVER, .seen = NEVER};
}

/* The write that began at `start` has ended. */
static void
version_end(struct sector *s, uint64_t start, bool ok)
{
	for (unsigned i = 0; i < s->count; i++) {
		struct version *v = &s->v[i];
		if (v->start == start) {
			v->end = now;
			v->applied = ok;
		} else if (ok && v->end < start) {
			kill_at(v, now);
		}
	}
}

/* A read from `start` to now returned `id`. False: it may not have. */
static bool
version_seen(struct sector *s, uint64_t start, uint64_t id)
{
	struct version *found = NULL;
	unsigned candidates = 0;
	for (unsigned i = 0; i < s->count; i++) {
		struct version *v = &s->v[i];
		if (v->id != id || v->dead < start)
			continue;
		found = v;
		candidates++;
	}
	if (candidates != 1)
		return candidates > 1; /* zeros may have come from several */
	for (unsigned i = 0; i < s->count; i++) {
		struct version *o = &s->v[i];
		if (o != found && (o->end < found->start || o->seen < start))
			kill_at(o, now);
	}
	if (found->seen == NEVER)
		found->seen = now;
	return true;
}

static uint64_t
offset_of(unsigned sector)
{
	return region_at[sector / (SECTORS / REGIONS)] +
	       (uint64_t)(sector % (SECTORS / REGIONS)) * SECTOR;
}

static void
stamp(char *p, unsigned sector, uint64_t id)
{
	uint64_t *w = (uint64_t *)(void *)p;
	for (unsigned i = 0; i < SECTOR / 8; i += 2) {
		w[i] = id;
		w[i + 1] = sector;
	}
}

static void
wrong(unsigned sector, uint64_t start, uint64_t id)
{
	const struct sector *s = &sectors[sector];
	print_message("sector %u: a read from %llu to %llu returned version %llu; there were\n",
	    sector, (unsigned long long)start, (unsigned long long)now, (unsigned long long)id);
	for (unsigned i = 0; i < s->count; i++)
		print_message("  %llu: written %lld to %lld, applied %d, dead %lld, seen %lld\n",
		    (unsigned long long)s->v[i].id, (long long)s->v[i].start,
		    (long long)s->v[i].end, s->v[i].applied, (long long)s->v[i].dead,
		    (long long)s->v[i].seen);
	fail();
}

static void
check_sector(unsigned sector, const char *p, uint64_t start)
{
	const uint64_t *w = (const uint64_t *)(const void *)p;
	for (unsigned i = 0; i < SECTOR / 8; i += 2) {
		assert_int_equal(w[i], w[0]);
		assert_int_equal(w[i + 1], w[0] == 0 ? 0 : sector);
	}
	if (!version_seen(&sectors[sector], start, w[0]))
		wrong(sector, start, w[0]);
}

/* ---- requests --------------------------------------------------------------------------------- */

static uint64_t
hash_of(const char *p, size_t len)
{
	uint64_t h = 14695981039346656037ull;
	for (size_t i = 0; i < len; i += 8)
		h = (h ^ *(const uint64_t *)(const void *)(p + i)) * 1099511628211ull;
	return h;
}

static bool
is_change(const struct op *o)
{
	return o->r->io.op == BLK_WRITE || o->r->io.op == BLK_UNMAP ||
	       o->r->io.op == BLK_WRITE_ZEROES;
}

static void
on_done(struct req *r)
{
	struct op *o = NULL;
	for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
		if (ops[i].r == r)
			o = &ops[i];
	assert_non_null(o);
	now++;
	o->done = true;
	bool ok = r->io.result == 0;
	for (unsigned i = 0; is_change(o) && i < o->count; i++)
		version_end(&sectors[o->first + i], o->start, ok);
	if (r->io.op != BLK_READ || !ok)
		return;
	size_t len = (size_t)o->count * SECTOR;
	char *got = malloc(len);
	req_copy_out(r, got);
	for (unsigned i = 0; i < o->count; i++)
		check_sector(o->first + i, got + (size_t)i * SECTOR, o->start);
	o->hash = hash_of(got, len);
	free(got);
}

/* While a store fails all writes, none of them replaces another for sure: no more than can be told. */
static bool
is_full(unsigned first, unsigned count)
{
	bool full = false;
	for (unsigned i = first; i < first + count; i++) {
		if (sectors[i].count > VERSIONS_MAX / 2)
			tidy(&sectors[i]);
		full |= sectors[i].count == VERSIONS_MAX;
	}
	return full;
}

static void
begin(struct op *o)
{
	static const enum blk_op kinds[16] = {BLK_READ, BLK_READ, BLK_READ, BLK_READ, BLK_READ,
	    BLK_READ, BLK_READ, BLK_READ, BLK_WRITE, BLK_WRITE, BLK_WRITE, BLK_WRITE, BLK_WRITE,
	    BLK_UNMAP, BLK_WRITE_ZEROES, BLK_FLUSH};
	enum blk_op kind = kinds[pick(16)];
	unsigned per = SECTORS / REGIONS, region = (unsigned)pick(REGIONS);
	unsigned at = (unsigned)pick(per), len = 1 + (unsigned)pick(pick(3) == 0 ? 64 : 16);
	if (pick(2) == 0) { /* whole blocks */
		at &= ~7u;
		len = (len + 7) & ~7u;
	}
	if (at + len > per)
		len = per - at;
	if (kind != BLK_READ && is_full(region * per + at, len))
		kind = BLK_READ;
	*o = (struct op){.first = region * per + at, .count = len, .start = ++now};
	uint64_t off = offset_of(o->first), bytes = (uint64_t)len * SECTOR;
	uint32_t flags = kind == BLK_READ && pick(8) == 0 ? BLK_QUIET : 0;
	o->is_own = kind == BLK_READ && pick(4) == 0;
	if (kind == BLK_WRITE || o->is_own)
		o->mem = malloc(bytes);
	o->id = kind == BLK_WRITE ? ++next_id : 0;
	for (unsigned i = 0; kind == BLK_WRITE && i < len; i++)
		stamp(o->mem + (size_t)i * SECTOR, o->first + i, o->id);
	o->r = req_new(f.w, (unsigned)pick(f.w->loop_count), f.b, kind, flags, off,
	    kind == BLK_FLUSH ? 0 : bytes, o->mem);
	o->r->on_done = on_done;
	if (o->is_own) {
		o->r->foreign = o->mem;
		o->r->foreign_iov[0] = (struct iovec){o->mem, bytes};
	}
	for (unsigned i = 0; is_change(o) && i < len; i++)
		version_begin(&sectors[o->first + i], o->id, o->start);
	in_flight++;
	req_start(o->r);
}

/* What was lent hasn't changed since. */
static void
put(struct op *o)
{
	if (o->r->io.op == BLK_READ && o->r->io.result == 0) {
		size_t len = (size_t)o->count * SECTOR;
		char *got = malloc(len);
		req_copy_out(o->r, got);
		assert_int_equal(hash_of(got, len), o->hash);
		free(got);
	}
	req_put(o->r);
	free(o->mem);
	*o = (struct op){0};
}

/* Ends an op that is done; some keep what they were lent for a while. */
static void
end(struct op *o)
{
	int err = o->r->io.result;
	assert_true(err == 0 || err == -EIO || err == -ENODEV);
	in_flight--;
	struct op *h = &held[pick(HELD_MAX)];
	if (o->r->io.op == BLK_READ && err == 0 && pick(4) == 0) {
		if (h->r != NULL)
			put(h);
		*h = *o;
		*o = (struct op){0};
		return;
	}
	put(o);
}

static void
end_all(void)
{
	for (unsigned i = 0; i < IN_FLIGHT_MAX; i++) {
		if (ops[i].r == NULL)
			continue;
		(void)req_wait(ops[i].r);
		end(&ops[i]);
	}
	for (unsigned i = 0; i < HELD_MAX; i++)
		if (held[i].r != NULL)
			put(&held[i]);
}

/* ---- what else happens ------------------------------------------------------------------------ */

static int resize_state; /* 0: under way */
static bool gone;

static void
gone_run(void *ctx)
{
	(void)ctx;
	fault_set_gone(f.lower, gone);
}

static void
dropped(void *ctx, int result)
{
	(void)ctx;
	assert_int_equal(result, 0);
}

static void
drop_run(void *ctx)
{
	(void)ctx;
	ram_volume_drop(f.v, dropped, NULL);
}

static void
set_run(void *ctx)
{
	ram_volume_set(f.v, ctx);
}

static void
disturb(uint32_t frames)
{
	struct ram_volume_cfg cfg = {.enabled = pick(8) != 0,
	    .ahead_bytes = (uint32_t)pick(3) * (32u << 10),
	    .cutoff_bytes = pick(2) * (64u << 10)};
	switch (pick(8)) {
	case 0:
		world_call(f.w, 0, drop_run, NULL);
		break;
	case 1:
	case 2:
		world_call(f.w, 0, set_run, &cfg);
		break;
	case 3:
	case 4:
		if (resize_state == 0)
			break;
		resize_state = 0;
		ram_resize_start(&f, 4 + (uint32_t)pick(2 * frames), &resize_state);
		break;
	case 5:
		gone = !gone;
		world_call(f.w, 0, gone_run, NULL);
		break;
	default:
		if (gone) {
			gone = false;
			world_call(f.w, 0, gone_run, NULL);
		}
		break;
	}
}

static void
run(uint64_t seed, unsigned loops, uint32_t frames, const char *spec, unsigned steps)
{
	rng = seed;
	now = next_id = 0;
	resize_state = 1;
	gone = false;
	memset(ops, 0, sizeof ops);
	memset(held, 0, sizeof held);
	for (unsigned i = 0; i < SECTORS; i++) {
		sectors[i].count = 1;
		sectors[i].v[0] = (struct version){.dead = NEVER, .seen = NEVER, .applied = true};
	}
	ram_setup(&f, world_sim(seed, loops, 16u << 20), frames, spec);
	for (unsigned n = 0; n < steps; n++) {
		struct op *o = &ops[pick(IN_FLIGHT_MAX)];
		if (o->r == NULL)
			begin(o);
		for (uint64_t i = pick(12); i > 0; i--)
			(void)loop_sim_step(f.w->sim);
		for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
			if (ops[i].done)
				end(&ops[i]);
		if (pick(150) == 0)
			disturb(frames);
		struct ram_tier_stats s = ram_stats(&f);
		assert_true(s.frames_used <= 3u * loops * frames + 4);
	}
	end_all();
	if (gone) {
		gone = false;
		world_call(f.w, 0, gone_run, NULL);
	}
	world_pass(f.w, 50000000);
	assert_int_not_equal(resize_state, 0);
	struct ram_tier_stats s = ram_stats(&f);
	assert_true(s.frames_used <= s.frames);
	assert_int_equal(s.frames_lent, 0);
	ram_teardown(&f);
}

static uint64_t seeds_first, seeds_count;

static void
nothing_old_comes_back(void **state)
{
	(void)state;
	static const char *const stores[] = {
	    "fault:%llu:delay_us=0-300,answer_us=0-900:ram:",
	    ("fault:%llu:delay_us=0-300,answer_us=0-300,write_error=0.05,torn_write=0.05,"
	     "read_error=0.05,unmap_error=0.1:ram:"),
	    "fault:%llu:delay_us=50-60,answer_us=10-3000,read_error=0.01:ram:",
	};
	static const uint32_t frames[] = {8, 20, 64};
	for (uint64_t i = 0; i < seeds_count; i++) {
		uint64_t seed = seeds_first + i;
		char spec[160];
		snprintf(spec, sizeof spec, stores[seed % 3], (unsigned long long)seed);
		unsigned loops = 1 + (unsigned)(seed / 3 % 4);
		uint32_t n = frames[seed / 12 % 3];
		print_message("seed %llu: %u loops, %u frames, %s\n", (unsigned long long)seed,
		    loops, n, spec);
		run(seed, loops, n, spec, 4000);
	}
}

/* Arguments: the first seed and how many. */
int
main(int argc, char **argv)
{
	seeds_first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	seeds_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 72;
	const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_old_comes_back)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
