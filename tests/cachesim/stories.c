/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * States that chance reaches too seldom, or only until something else changes the order of events: each is
 * brought about step by step, waiting for what a step needs, and from there on cut at every event. So each
 * guard named in the table is missed within a second, and goes on to be.
 */
#include "tests/cachesim/world_priv.h"

#define STEPS_MAX 200000u

/* ---- what stories are made of ------------------------------------------------------------------- */

static void
base_config(struct sim_cfg *c)
{
	const struct story *s = c->story;
	*c = (struct sim_cfg){
	    .seed = c->seed,
	    .story = s,
	    .loops = 1,
	    .depth = 1,
	    .cut_one_in = 1,
	    .losses = LOSS_COUNT,
	    .cuts_max = UINT32_MAX,
	    .segment_blocks = 16,
	    .segments = 8,
	    .tasks = 1,
	    .weight = {[OP_WRITE] = 1},
	};
}

/* Nothing happens by itself. */
static void
quiet(struct world *w)
{
	struct cache_tuning *t = &w->c->tuning;
	t->destage_idle_ms = 1u << 30;
	t->dirty_low_percent = 100;
	t->free_low_segments = 2;
	t->checkpoint_ms = 0;
	t->write_wait_ms = 0;
}

static void
until(struct world *w, bool (*is)(const struct world *w), const char *what)
{
	w->what = what;
	for (uint32_t i = 0; !is(w); i++) {
		if (i > STEPS_MAX)
			world_lost(w, "%s: doesn't come", what);
		world_step(w);
	}
}

static bool
is_sealed(const struct world *w)
{
	for (uint32_t i = 0; i < w->c->geo.segment_count; i++)
		if (w->c->segs[i].state == SEG_CLOSED || w->c->segs[i].sealing)
			return false;
	return true;
}

static void
close_w(void *ctx)
{
	const struct world *w = ctx;
	cache_log_close(&w->c->logs[CF_W]);
}

/* What is written from here on goes to another segment. */
static void
next_segment(struct world *w)
{
	world_call(w, close_w, w);
	until(w, is_sealed, "a sealed segment");
}

/* Four, each with as many blocks by themselves. */
static void
fill_segments(struct world *w, struct vol *v)
{
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned k = 0; k < 4; k++)
			world_ask(w, v, OP_WRITE, (4 * i + k) * 8, 8);
		next_segment(w);
	}
}

static void
want_room(void *ctx)
{
	const struct world *w = ctx;
	w->c->tuning.free_low_segments = w->c->geo.segment_count;
	cache_space_kick(w->c);
}

/* Nothing more can be evicted. */
static bool
is_pressed(const struct world *w)
{
	return w->c->space.pressure && !w->c->space.evicting;
}

static void
evict_what_may(struct world *w)
{
	world_call(w, want_room, w);
	until(w, is_pressed, "nothing left to evict");
	w->c->tuning.free_low_segments = 2;
}

struct asking {
	struct world *w;
	bool done;
	int result;
};

static void
on_checkpoint(void *ctx, int result)
{
	struct asking *a = ctx;
	a->result = result;
	a->done = true;
}

static void
ask_checkpoint(void *ctx)
{
	struct asking *a = ctx;
	cache_checkpoint(a->w->c, on_checkpoint, a);
}

static int
try_checkpoint(struct world *w)
{
	struct asking a = {.w = w};
	world_call(w, ask_checkpoint, &a);
	world_until(w, &a.done, "a checkpoint");
	return a.result;
}

static void
checkpoint(struct world *w)
{
	int err = try_checkpoint(w);
	ASSERT(err == 0);
}

/* ---- [6] data above zeros that the store doesn't take ---------------------------------------------- */

/* The zeros stay dirty, so what was written over a part of them may not leave, though the store has it:
 * after a crash the zeros would be the newest. */
static void
above_zeros(struct world *w, bool is_hit)
{
	struct vol *v = &w->vols[0];
	quiet(w);
	v->store->no_zeros = true;
	world_ask(w, v, OP_ZERO, 0, v->sectors);
	next_segment(w);
	world_ask(w, v, OP_WRITE, 24, 8);
	next_segment(w);
	vol_flush(w, v); /* fails for the zeros, and turns the rest clean */
	struct cache_piece p;
	cache_index_lookup(&v->v->ix, 3, 1, &p);
	ASSERT(p.kind == CACHE_DATA && !(p.flags & CACHE_EXT_DIRTY));
	ASSERT(v->v->dirty_zeros > 0);
	if (is_hit)
		world_ask(w, v, OP_READ, 24, 8);
	w->cut_at = 0;
	evict_what_may(w);
	ASSERT(w->c->stats.rewritten_blocks == 0 || cache_mutant != CACHE_MUTANT_NONE);
	checkpoint(w);
	w->cut_at = UINT64_MAX;
	v->store->no_zeros = false;
}

static void
dropped_above_zeros(struct world *w)
{
	above_zeros(w, false);
}

static void
rewritten_above_zeros(struct world *w)
{
	above_zeros(w, true);
}

/* ---- [9] a flush of the store that somebody else asked for ------------------------------------------- */

struct moding {
	struct vol *v;
	enum cache_mode to;
};

static void
begin_mode(void *ctx)
{
	const struct moding *m = ctx;
	vol_set_mode(m->v, m->to);
}

static bool
has_mode(const struct world *w)
{
	return !w->vols[0].managed;
}

/* Of the first volume. */
static void
change_mode(struct world *w, enum cache_mode to)
{
	struct moding m = {.v = &w->vols[0], .to = to};
	world_call(w, begin_mode, &m);
	until(w, has_mode, "another mode");
	ASSERT(m.v->mode == to);
}

static bool
is_answered(const struct world *w)
{
	return !w->tasks[0].busy;
}

static bool
two_flushes_wait(const struct world *w)
{
	return drive_held(w->vols[0].store) == 2;
}

static void
fail_one(void *ctx)
{
	drive_flush_end(ctx, true);
}

static void
end_one(void *ctx)
{
	drive_flush_end(ctx, false);
}

/* Asked for in bypass, it fails when that is over, and takes with it what is being destaged; the flush of that ends
 * well. */
static void
other_flush_fails(struct world *w)
{
	struct vol *v = &w->vols[0];
	quiet(w);
	change_mode(w, CACHE_BYPASS);
	v->store->holds = true;
	world_ask_begin(w, 1, v, OP_BLK_FLUSH, 0, 0);
	v->store->holds = false;
	change_mode(w, CACHE_NV);
	world_ask_begin(w, 0, v, OP_WRITE, 0, 8);
	until(w, is_answered, "a write");
	v->store->holds = true;
	world_call(w, vol_flush_begin, v);
	until(w, two_flushes_wait, "a flush of what is destaged");
	v->store->holds = false;
	world_call(w, fail_one, v->store);
	world_call(w, end_one, v->store);
	w->cut_at = 0;
	world_idle(w, "destaging");
	checkpoint(w);
	w->cut_at = UINT64_MAX;
}

/* ---- [18] room for G ------------------------------------------------------------------------------------ */

/* Each segment gets something of a volume whose store takes nothing, faster than such data is moved together:
 * that needs a segment, which others must have left; else nobody writes any more. */
static void
last_segment(struct world *w)
{
	struct vol *stuck = &w->vols[0], *well = &w->vols[1];
	quiet(w);
	stuck->store->broken = true;
	w->ssd->read_us = 50000;
	for (unsigned i = 0; i < 24; i++) {
		world_ask(w, stuck, OP_WRITE, i % 18 * 8, 8);
		world_ask(w, well, OP_WRITE, 8, 56);
	}
	w->ssd->read_us = 0;
	stuck->store->broken = false;
}

static bool
is_filled(const struct world *w)
{
	const struct cache_log *l = &w->c->logs[CF_F];
	return l->seg != LOC_NONE && w->c->segs[l->seg].records > 0;
}

/* One block of several is read. */
static bool
is_moving(const struct world *w)
{
	const struct cache_log *l = &w->c->logs[CF_G];
	return l->opening || !list_empty(&l->queue);
}

/* …and no more of them. */
static bool
is_moved(const struct world *w)
{
	const struct cache_log *l = &w->c->logs[CF_G];
	return w->c->space.copying == 0 && l->seg != LOC_NONE && w->c->segs[l->seg].live > 0;
}

/* Or there was room enough without. */
static bool
is_epoch_ending(const struct world *w)
{
	const struct cache *c = w->c;
	return c->epoch_ending || cache_segment_free_count(c) >= c->tuning.free_low_segments;
}

/* Of the first segment that is moved not all can be read, and the SSD fails with the next one: what was left to G ends
 * with the epoch, and nothing is empty yet. The only segment in which nothing is dirty has fills, and room for more. */
static void
fills_only(struct world *w)
{
	struct vol *stuck = &w->vols[0], *well = &w->vols[1];
	quiet(w);
	w->c->tuning.fill_cutoff_bytes = 1u << 20; /* nothing is too long */
	stuck->store->broken = true;
	world_ask(w, well, OP_READ, 0, 8);
	until(w, is_filled, "a fill");
	fill_segments(w, stuck);
	until(w, is_moving, "a block that is moved");
	w->ssd->deaf = true;
	until(w, is_moved, "what could be moved");
	w->ssd->deaf = false;
	w->ssd->broken = true;
	w->mend_at = UINT64_MAX;
	until(w, is_epoch_ending, "an epoch's end");
	w->ssd->broken = false;
	world_ask(w, well, OP_WRITE, 8, 56);
	stuck->store->broken = false;
}

static void
small_config(struct sim_cfg *c)
{
	base_config(c);
	c->segments = 6;
}

/* ---- [4] an old copy of the SSD comes back ----------------------------------------------------------- */

/* Made after the last checkpoint: only the last record tells. */
static void
old_copy_without_checkpoint(struct world *w)
{
	quiet(w);
	world_ask(w, &w->vols[0], OP_WRITE, 0, 8);
	faults_away(w);
}

/* ---- [4] [6] a copy that failed, and is there --------------------------------------------------------- */

static bool
is_copied(const struct world *w)
{
	const struct cache_log *l = &w->c->logs[CF_G];
	return l->busy && !list_empty(&l->inflight);
}

static bool
is_alone(const struct world *w)
{
	const struct list *all = &w->ssd->requests;
	return all->next == all->prev;
}

static bool
is_epoch_owed(const struct world *w)
{
	return w->c->epoch_owed;
}

static void
begin_evict(void *ctx)
{
	struct vol *v = ctx;
	vol_manage_begins(v);
	v->weak = false; /* nothing of it turns less durable */
	cache_volume_evict(v->v, world_managed, v);
}

/* Beside the commit of a copy the block is written anew. The commit fails, but all of it is there, and the superblocks
 * can't be written: so it counts as long as its epoch does. Then the new data goes to the store and is dropped: were
 * that durable, the copy would be the newest. */
static void
old_copy_of_a_failed_commit(struct world *w)
{
	struct vol *v = &w->vols[0];
	quiet(w);
	v->store->broken = true;
	fill_segments(w, v);
	world_ask(w, &w->vols[1], OP_WRITE, 8, 8);
	w->ssd->write_us = 50000;
	until(w, is_copied, "a commit of copies");
	w->ssd->write_us = 0;
	const struct cache_req *r =
	    container_of(w->c->logs[CF_G].inflight.next, struct cache_req, link);
	world_ask(w, v, OP_WRITE, r->ent[0].block * 8, 8);
	until(w, is_alone, "nothing else on its way to the SSD");
	ASSERT(is_copied(w));
	w->ssd->bad_bytes = 2ull * CF_BLOCK_BYTES;
	w->ssd->broken = true;
	w->ssd->lands = true;
	w->mend_at = UINT64_MAX;
	until(w, is_epoch_owed, "an epoch's end that is owed");
	w->ssd->broken = false;
	v->store->broken = false;
	w->cut_at = 0;
	world_call(w, begin_evict, v);
	world_idle(w, "evicting");
	(void)try_checkpoint(w); /* refused */
	w->ssd->bad_bytes = 0;
	w->cut_at = UINT64_MAX;
}

/* ---- [24] a volume that grows ------------------------------------------------------------------------- */

static bool
has_failed(const struct world *w)
{
	return w->ssd->write_errors > 0;
}

static void
begin_grow(void *ctx)
{
	faults_grow(ctx);
}

/* Its row can't be written at first. What it shows is written to, then and when it has been. */
static void
row_of_growth_fails(struct world *w)
{
	struct vol *v = &w->vols[0];
	uint64_t was = v->sectors;
	quiet(w);
	w->ssd->bad_bytes =
	    (w->c->geo.voltable_block + 2ull * w->c->geo.voltable_blocks) * CF_BLOCK_BYTES;
	world_call(w, begin_grow, v);
	until(w, has_failed, "a row that can't be written");
	w->cut_at = 0;
	if (v->sectors > was)
		world_ask(w, v, OP_WRITE, was, v->sectors - was);
	w->ssd->bad_bytes = 0;
	world_idle(w, "growing");
	ASSERT(v->sectors > was);
	world_ask(w, v, OP_WRITE, was, v->sectors - was);
	w->cut_at = UINT64_MAX;
}

static void
grow_config(struct sim_cfg *c)
{
	base_config(c);
	c->grows = true;
}

static void
away_config(struct sim_cfg *c)
{
	base_config(c);
	c->ssd_read_error = UINT32_MAX; /* reads may fail, as they do while it is away */
}

const struct story stories[] = {
    {"dropped_above_zeros", base_config, dropped_above_zeros, {CACHE_MUTANT_ZERO_DROP}},
    {"rewritten_above_zeros", base_config, rewritten_above_zeros, {CACHE_MUTANT_REWRITE_NO_CHECK}},
    {"other_flush_fails", base_config, other_flush_fails, {CACHE_MUTANT_OTHER_STORE_FLUSH}},
    {"last_segment", small_config, last_segment, {CACHE_MUTANT_NO_RESERVE}},
    {"fills_only", small_config, fills_only, {CACHE_MUTANT_FILL_KEEPS_LAST}},
    {"old_copy_without_checkpoint", away_config, old_copy_without_checkpoint,
        {CACHE_MUTANT_AWAY_NO_RECORD}},
    {"old_copy_of_a_failed_commit", small_config, old_copy_of_a_failed_commit,
        {CACHE_MUTANT_OWED_CHECKPOINT}},
    {"row_of_growth_fails", grow_config, row_of_growth_fails, {CACHE_MUTANT_GROW_SHOWN_EARLY}},
};
const unsigned story_count = sizeof stories / sizeof stories[0];
