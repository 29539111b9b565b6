/* SPDX-License-Identifier: BSD-2-Clause */
/* See world.h. */
#include "tests/cachesim/world_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/cachesim/stamp.h"

struct sim_totals totals;
static uint32_t cuts_left; /* of this seed */
bool sim_verbose;

#define STEPS_MAX 400000u
static void task_next(struct task *t);
static void cut(struct world *w);
static void world_run(
    const struct sim_cfg *cfg, unsigned level, struct world *parent, enum loss loss, uint64_t seed);

void
world_lost(const struct world *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "seed %" PRIu64 " level %u event %" PRIu64 ": ", w->cfg.seed, w->level,
	    w->events);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	abort();
}

/* ---- the oracle ------------------------------------------------------------------------------- */

static void
raise_to(uint64_t *p, uint64_t v)
{
	if (v > *p)
		*p = v;
}

/* What was on the store alone when its flush failed may be gone again: also what had no answer yet. */
static bool
is_lossy(const struct task *t)
{
	return t->weak && !(t->io.flags & BLK_FUA) &&
	       t->flush_errors != t->vol->store->flush_errors;
}

/* `p` was read by `t` from `sector`. */
static void
verify(struct task *t, uint64_t sector, const uint8_t *p)
{
	struct world *w = t->w;
	struct vol *v = t->vol;
	uint64_t floor = t->floor[sector];
	uint64_t x = stamp_read(v->idx, sector, p);
	if (w->cfg.lie > 0 || w->forgiven) {
		/* What a lying drive had acknowledged is nobody's promise. */
		uint64_t was = x == 0 ? zero_value(&v->o, sector, floor) : x;
		totals.lied += was == UINT64_MAX || was < floor;
		return;
	}
	if (x == UINT64_MAX)
		world_lost(w, "volume %u sector %" PRIu64 ": not what anybody wrote there", v->idx,
		    sector);
	uint64_t value = x == 0 ? zero_value(&v->o, sector, floor) : x;
	if (value == UINT64_MAX || value < floor)
		world_lost(w,
		    "volume %u sector %" PRIu64 ": %" PRIu64 " came back, %" PRIu64
		    " was acknowledged or read",
		    v->idx, sector, x, floor);
	if (x > v->o.issued)
		world_lost(w, "volume %u sector %" PRIu64 ": from the future", v->idx, sector);
	totals.verified++;
	if (!is_lossy(t))
		raise_to(&v->o.now[sector], value);
	if (!t->weak)
		raise_to(&v->o.durable[sector], value);
}

/* ---- stepping ---------------------------------------------------------------------------------- */

/* A store's flush failed: what was written to it in bypass and not flushed may be gone. What went by way of
 * the cache was durable before, and may not. */
static void
flush_failed(struct world *w, struct vol *v)
{
	v->flush_errors = v->store->flush_errors;
	memcpy(v->o.now, v->o.durable, sizeof v->o.now);
	for (unsigned i = 0; i < TASKS_MAX; i++) {
		struct task *t = &w->tasks[i];
		for (uint64_t s = 0; t->busy && t->vol == v && s < v->sectors; s++)
			if (t->floor[s] > v->o.durable[s])
				t->floor[s] = v->o.durable[s];
	}
}

/* One event of the world; then maybe a crash of it, in another one. */
void
world_step(struct world *w)
{
	uint64_t before = w->events;
	if (!loop_sim_step(w->sim))
		world_lost(w, "%s: nothing goes on", w->what);
	if (w->events >= w->mend_at)
		w->ssd->broken = false;
	for (unsigned i = 0; i < VOLUMES; i++)
		if (w->vols[i].store->flush_errors != w->vols[i].flush_errors)
			flush_failed(w, &w->vols[i]);
	faults_step(w);
	if (w->events != before && w->level < w->cfg.depth && w->events >= w->cut_at) {
		w->cut_at = w->events + 1;
		if (w->cfg.cut_one_in > 1)
			w->cut_at += rng_below(&w->rng, 2 * w->cfg.cut_one_in);
		cut(w);
	}
}

void
world_until(struct world *w, const bool *flag, const char *what)
{
	w->what = what;
	for (uint32_t i = 0; !*flag; i++) {
		if (i > STEPS_MAX)
			world_lost(w, "%s: doesn't end", what);
		world_step(w);
	}
}

void
world_idle(struct world *w, const char *what)
{
	w->what = what;
	for (uint32_t i = 0;; i++) {
		bool busy = w->waiting > 0;
		for (unsigned k = 0; k < TASKS_MAX; k++)
			busy |= w->tasks[k].busy;
		if (!busy)
			return;
		if (i > STEPS_MAX)
			world_lost(w, "%s: doesn't end", what);
		world_step(w);
	}
}

void
world_call(struct world *w, void (*fn)(void *ctx), void *ctx)
{
	loop_sim_call(w->loops[0], fn, ctx);
}

/* ---- attaching --------------------------------------------------------------------------------- */

static void
on_attached(void *ctx, int result, struct cache *c, const char *reason)
{
	struct world *w = ctx;
	w->attached = true;
	w->result = result;
	w->c = c;
	faults_look(w);
	if (reason != NULL)
		snprintf(w->reason, sizeof w->reason, "%s", reason);
}

static void
on_lost(void *ctx, const struct cache_loss *l)
{
	struct world *w = ctx;
	w->told++;
	SAY("%*slost: %s %" PRIu64 "+%" PRIu64 " %s\n", (int)w->level * 2, "", l->name,
	    l->offset_bytes, l->bytes, l->why);
}

static void
do_attach(void *ctx)
{
	struct world *w = ctx;
	struct cache_args a = {.ssd = &w->ssd->b, .loops = w->loops, .loop_count = w->cfg.loops};
	cache_tuning_default(&a.tuning);
	a.tuning.buf_bytes = 1u << 20;
	a.tuning.destage_blocks = 1 + (uint32_t)rng_below(&w->rng, 16);
	a.tuning.destage_idle_ms = (uint32_t)rng_below(&w->rng, 60);
	a.tuning.dirty_low_percent = (uint32_t)rng_below(&w->rng, 60);
	if (w->cfg.controller)
		a.tuning.dirty_low_percent = 0; /* it decides, and slows writes */
	a.tuning.free_low_segments = 2 + (uint32_t)rng_below(&w->rng, 2) + w->cfg.free_more;
	a.tuning.checkpoint_ms = (uint32_t)rng_below(&w->rng, 3) * 15;
	a.tuning.write_wait_ms = 60000;
	if (w->cfg.index_cap)
		a.tuning.index_bytes_max = 8300 + rng_below(&w->rng, 400);
	a.tuning.fill_cutoff_bytes = rng_below(&w->rng, 4) == 0 ? 0 : 1u << 20;
	if (w->cfg.impatient)
		a.tuning.write_wait_ms = 2 + (uint32_t)rng_below(&w->rng, 60);
	a.accept_loss = w->accepts;
	a.lost = on_lost;
	a.ctx = w;
	cache_attach(&a, on_attached, w);
}

static void
on_opened(void *ctx, int result, struct cache_volume *v)
{
	struct opening *o = ctx;
	const struct cache_fill_policy fill = {.on_read = true, .compress = o->w->cfg.compress};
	o->result = result;
	o->v->v = v;
	if (v != NULL)
		cache_volume_set_fill(v, &fill);
	o->done = true;
}

static void
do_open(void *ctx)
{
	struct opening *o = ctx;
	struct vol *v = o->v;
	struct cache_volume_args a = {
	    .uuid = {(uint8_t)(v->idx + 1)},
	    .name = v->idx == 0 ? "zero" : "one",
	    .store = &v->store->b,
	    .mode = v->mode,
	    .marker = &marker_ops,
	    .marker_ctx = &v->marker,
	};
	cache_volume_open(o->w->c, &a, on_opened, o);
}

void
vol_open(struct world *w, struct vol *v)
{
	struct opening o = {.w = w, .v = v};
	world_call(w, do_open, &o);
	world_until(w, &o.done, "open");
	if (o.result < 0 && !(o.result == -EIO && w->c->is_void) && w->cfg.lie == 0 && !w->rotten)
		world_lost(w, "volume %u doesn't open: %s", v->idx, strerror(-o.result));
	if (v->v != NULL) {
		v->mode = v->v->mode;
		v->shown = v->sectors = v->v->row.size_bytes / 512;
	}
}

/* ---- management ---------------------------------------------------------------------------------- */

void
world_managed(void *ctx, int result)
{
	struct vol *v = ctx;
	(void)result;
	v->managed = false;
	v->w->waiting--;
	v->mode = v->v->mode;
	v->weak = v->mode == CACHE_BYPASS;
}

static void
on_checkpoint(void *ctx, int result)
{
	struct world *w = ctx;
	(void)result;
	w->waiting--;
	w->checkpointing = false;
}

static void
on_closed(void *ctx, int result)
{
	struct opening *o = ctx;
	o->result = result;
	o->done = true;
}

static void
do_close(void *ctx)
{
	struct opening *o = ctx;
	cache_volume_close(o->v->v, on_closed, o);
}

static void
do_remove(void *ctx)
{
	struct opening *o = ctx;
	cache_volume_remove(o->v->v, false, on_closed, o);
}

/* ---- requests ----------------------------------------------------------------------------------- */

static void
ended_change(struct task *t)
{
	struct vol *v = t->vol;
	if (t->io.result < 0)
		return;
	ASSERT(v->marker.now.present || v->mode != CACHE_NV || t->weak || v->managed); /* [15] */
	/* It may have been held until the mode was another one. */
	t->weak |= v->weak || v->managed || v->changes != t->changes;
	for (uint64_t i = 0; i < t->count; i++) {
		if (!is_lossy(t))
			raise_to(&v->o.now[t->first + i], t->number);
		if (!t->weak || (t->io.flags & BLK_FUA))
			raise_to(&v->o.durable[t->first + i], t->number);
	}
	/* Writethrough: the store has it, whatever becomes of the SSD [11]. */
	if (v->mode != CACHE_WRITETHROUGH || t->mode != v->mode || t->weak || v->managed ||
	    t->kind != OP_WRITE)
		return;
	for (uint64_t i = 0; i < t->count; i++) {
		uint64_t x =
		    stamp_read(v->idx, t->first + i, v->store->durable + (t->first + i) * 512);
		if (x != UINT64_MAX && x != 0 && x < t->number)
			world_lost(t->w,
			    "writethrough: volume %u sector %" PRIu64 ": the store has %" PRIu64
			    ", %" PRIu64 " was acknowledged",
			    v->idx, t->first + i, x, t->number);
	}
}

static void
ended(struct blk_io *io)
{
	struct task *t = container_of(io, struct task, io);
	struct vol *v = t->vol;
	struct world *w = t->w;
	uint8_t sector[512];
	v->users--;
	SAY("%*s%" PRIu64 " vol %u task %u op %u ends %d\n", (int)w->level * 2, "", w->events,
	    v->idx, (unsigned)(t - w->tasks), t->kind, io->result);
	if (io->op == BLK_WRITE || io->op == BLK_UNMAP || io->op == BLK_WRITE_ZEROES) {
		ended_change(t);
	} else if (io->op == BLK_FLUSH && io->result == 0) {
		for (uint64_t s = 0; s < v->sectors; s++)
			raise_to(&v->o.durable[s], t->floor[s]);
	} else if (io->op == BLK_READ && io->result == 0) {
		totals.reads++;
		t->weak |= v->weak || v->managed;
		for (uint64_t i = 0; i < t->count; i++) {
			blk_sg_copy_out(&t->sg, i * 512, sector, 512);
			verify(t, t->first + i, sector);
		}
	} else if (io->op == BLK_READ && w->cfg.ssd_read_error == 0 && w->cfg.lie == 0 &&
	           !w->rotten) {
		world_lost(w, "a read fails: %s", strerror(-io->result));
	}
	t->busy = false;
	task_next(t);
}

static void
submit(struct task *t, enum blk_op op, uint32_t flags)
{
	struct vol *v = t->vol;
	t->io = (struct blk_io){
	    .op = op,
	    .flags = flags,
	    .offset_bytes = t->first * 512,
	    .len_bytes = t->count * 512,
	    .sg = &t->sg,
	    .done = ended,
	};
	/* In two pieces now and then, at an odd place. */
	blk_sg_init(&t->sg);
	t->sg.iov = t->sg.inline_iov;
	t->sg.len_bytes = t->count * 512;
	uint64_t half = rng_below(&t->w->rng, 3) == 0 ? (t->count / 2) * 512 : 0;
	if (half > 0)
		t->sg.iov[t->sg.iovcnt++] = (struct iovec){t->mem, half};
	t->sg.iov[t->sg.iovcnt++] = (struct iovec){t->mem + half, t->count * 512 - half};
	memcpy(t->floor, v->o.now, sizeof t->floor);
	t->weak = v->weak || v->managed;
	t->mode = v->mode;
	t->changes = v->changes;
	t->flush_errors = v->store->flush_errors;
	t->busy = true;
	v->users++;
	blk_submit(cache_volume_blk(v->v), &t->io);
}

static void
pick_range(struct task *t)
{
	struct world *w = t->w;
	uint64_t most = t->vol->sectors;
	if (w->cfg.sectors != 0 && w->cfg.sectors < most)
		most = w->cfg.sectors;
	uint64_t n = 1 + rng_below(&w->rng, rng_below(&w->rng, 4) == 0 ? most : 24);
	n = n < most ? n : most;
	t->first = rng_below(&w->rng, most - n + 1);
	t->count = n;
	if (rng_below(&w->rng, 2) == 0) {
		t->first &= ~7ull;
		t->count = (t->count + 7) & ~7ull;
		if (t->first + t->count > most)
			t->count = most - t->first;
	}
}

/* Whether a change of it from another loop is in flight: which of the two comes first nobody knows. */
static bool
races(const struct task *t)
{
	for (unsigned i = 0; i < TASKS_MAX; i++) {
		const struct task *o = &t->w->tasks[i];
		if (o != t && o->busy && o->loop != t->loop && o->vol == t->vol &&
		    o->kind != OP_READ && o->kind != OP_BLK_FLUSH && o->kind != OP_PAUSE &&
		    o->first < t->first + t->count && t->first < o->first + o->count)
			return true;
	}
	return false;
}

static void
change_range(struct task *t, enum op_kind kind)
{
	struct vol *v = t->vol;
	t->number = ++v->o.issued;
	uint32_t flags = rng_below(&t->w->rng, 3) == 0 ? BLK_FUA : 0;
	for (uint64_t i = 0; i < t->count; i++) {
		if (kind == OP_WRITE)
			stamp_fill(v->idx, t->number, t->first + i, t->mem + i * 512);
		else
			zero_issued(&v->o, t->first + i, t->number);
	}
	if (kind == OP_ZERO && rng_below(&t->w->rng, 2) == 0)
		flags |= BLK_NO_UNMAP;
	SAY("%*s%" PRIu64 " vol %u task %u op %u number %" PRIu64 " [%" PRIu64 "+%" PRIu64 "]\n",
	    (int)t->w->level * 2, "", t->w->events, v->idx, (unsigned)(t - t->w->tasks), kind,
	    t->number, t->first, t->count);
	submit(t,
	    kind == OP_WRITE   ? BLK_WRITE
	    : kind == OP_UNMAP ? BLK_UNMAP
	                       : BLK_WRITE_ZEROES,
	    flags);
}

static void
change(struct task *t, enum op_kind kind)
{
	pick_range(t);
	for (unsigned i = 0; i < 8 && races(t); i++)
		pick_range(t);
	if (races(t)) {
		t->kind = OP_READ;
		submit(t, BLK_READ, 0);
		return;
	}
	change_range(t, kind);
}

static void
asked(void *ctx)
{
	struct task *t = ctx;
	if (t->kind == OP_READ)
		submit(t, BLK_READ, 0);
	else if (t->kind == OP_BLK_FLUSH)
		submit(t, BLK_FLUSH, 0);
	else
		change_range(t, t->kind);
}

void
world_ask_begin(struct world *w, unsigned task, struct vol *v, enum op_kind kind, uint64_t first,
    uint64_t count)
{
	struct task *t = &w->tasks[task];
	ASSERT(!t->busy && w->ops_left == 0 && first + count <= v->sectors);
	*t = (struct task){.w = w,
	    .vol = v,
	    .kind = kind,
	    .first = first,
	    .count = count,
	    .mem = t->mem,
	    .loop = t->loop};
	loop_sim_call(t->loop, asked, t);
}

void
world_ask(struct world *w, struct vol *v, enum op_kind kind, uint64_t first, uint64_t count)
{
	world_ask_begin(w, 0, v, kind, first, count);
	world_idle(w, "asked");
}

static enum op_kind
pick_kind(struct world *w)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < OP_COUNT; i++)
		sum += w->cfg.weight[i];
	uint64_t x = rng_below(&w->rng, sum);
	for (unsigned i = 0; i < OP_COUNT; i++) {
		if (x < w->cfg.weight[i])
			return i;
		x -= w->cfg.weight[i];
	}
	return OP_READ;
}

void
vol_manage_begins(struct vol *v)
{
	v->managed = true;
	v->weak = true;
	v->changes++;
	v->w->waiting++;
}

void
vol_set_mode(struct vol *v, enum cache_mode to)
{
	vol_manage_begins(v);
	cache_volume_set_mode(v->v, to, world_managed, v);
}

static void
manage(struct task *t, enum op_kind kind)
{
	struct vol *v = t->vol;
	struct world *w = t->w;
	switch (kind) {
	case OP_FLUSH:
		if (!v->managed && !v->weak)
			vol_flush_begin(v);
		break;
	case OP_CHECKPOINT:
		if (!w->checkpointing) {
			w->checkpointing = true;
			w->waiting++;
			cache_checkpoint(w->c, on_checkpoint, w);
		}
		break;
	case OP_RESIZE:
		faults_resize(w);
		break;
	case OP_GROW:
		faults_grow(v);
		break;
	case OP_EVICT:
		if (v->managed || v->v->chg.step != 0)
			break;
		vol_manage_begins(v);
		faults_evict(w, v);
		break;
	case OP_MODE:
		if (!v->managed && v->v->chg.step == 0)
			vol_set_mode(v, (enum cache_mode)rng_below(&w->rng, CACHE_MODE_COUNT));
		break;
	default:
		break;
	}
}

static void
paused(struct loop_timer *timer)
{
	struct task *t = container_of(timer, struct task, pause);
	t->busy = false;
	task_next(t);
}

static void
task_next(struct task *t)
{
	struct world *w = t->w;
	ASSERT(!t->busy);
	while (w->ops_left > 0) {
		w->ops_left--;
		totals.ops++;
		t->vol = &w->vols[rng_below(&w->rng, VOLUMES)];
		struct vol *v = t->vol;
		if (v->v == NULL || v->gone)
			continue;
		t->kind = pick_kind(w);
		switch (t->kind) {
		case OP_WRITE:
		case OP_UNMAP:
		case OP_ZERO:
			change(t, t->kind);
			return;
		case OP_READ:
			pick_range(t);
			submit(t, BLK_READ, 0);
			return;
		case OP_BLK_FLUSH:
			t->first = t->count = 0;
			submit(t, BLK_FLUSH, 0);
			return;
		case OP_PAUSE:
			t->busy = true;
			loop_timer_init(&t->pause, t->loop, paused);
			loop_timer_set(&t->pause, 1000000 * (1 + rng_below(&w->rng, 100)));
			return;
		default:
			/* On the home loop only. */
			if (loop_current() == w->loops[0])
				manage(t, t->kind);
			break;
		}
	}
}

static void
task_begin(void *ctx)
{
	task_next(ctx);
}

/* ---- verifying all of a volume ---------------------------------------------------------------------- */

static void
submit_check(void *ctx)
{
	submit(ctx, BLK_READ, 0);
}

static void
verify_volume(struct world *w, struct vol *v)
{
	struct task *t = &w->tasks[0];
	uint32_t left = w->ops_left;
	if (v->v == NULL)
		return;
	ASSERT(!t->busy);
	w->ops_left = 0;
	t->vol = v;
	t->kind = OP_READ;
	t->first = 0;
	t->count = v->sectors;
	loop_sim_call(t->loop, submit_check, t);
	world_idle(w, "verify");
	w->ops_left = left;
}

/* ---- crashes ----------------------------------------------------------------------------------------- */

static void
cut(struct world *w)
{
	for (uint32_t i = 0; i < w->cfg.losses && cuts_left > 0; i++) {
		cuts_left--;
		enum loss loss = w->cfg.losses >= LOSS_COUNT
		                     ? (enum loss)(i % LOSS_COUNT)
		                     : (enum loss)rng_below(&w->rng, LOSS_COUNT);
		uint64_t seed = rng_next(&w->rng);
		totals.cuts++;
		totals.deep_cuts += w->level > 0;
		world_run(&w->cfg, w->level + 1, w, loss, seed);
	}
}

void
world_cut(struct world *w, enum loss loss)
{
	totals.cuts++;
	world_run(&w->cfg, w->level + 1, w, loss, rng_next(&w->rng));
}

/* ---- life cycle ----------------------------------------------------------------------------------------- */

static void
on_formatted(void *ctx, int result)
{
	struct world *w = ctx;
	w->result = result;
	w->detached = true;
}

static void
do_format(void *ctx)
{
	struct world *w = ctx;
	struct cache_format_args a = {.segment_blocks = w->cfg.segment_blocks, .volumes_max = 7};
	memset(a.uuid, 0x42, sizeof a.uuid);
	cache_format(&w->ssd->b, &a, on_formatted, w);
}

static void
on_detached(void *ctx, int result)
{
	struct world *w = ctx;
	w->unsettled = w->forgiven && result < 0;
	w->detached = true;
	w->c = NULL;
}

static void
do_detach(void *ctx)
{
	struct world *w = ctx;
	cache_detach(w->c, on_detached, w);
}

static void
drives_new(struct world *w)
{
	static const uint64_t sectors[VOLUMES] = {152, 85};
	uint64_t blocks = 2 + 2 * 1 + 2 + (uint64_t)w->cfg.segments * (w->cfg.segment_blocks + 2);
	struct drive_cfg c = {
	    .size_bytes = blocks * CF_BLOCK_BYTES,
	    .seed = rng_next(&w->rng),
	    .delay_us_max = 1 + (uint32_t)rng_below(&w->rng, 200),
	    .is_volatile = true,
	    .is_ssd = true,
	    .slow = w->cfg.slow,
	    .room_bytes = (blocks + 8ull * (w->cfg.segment_blocks + 2)) * CF_BLOCK_BYTES,
	};
	w->ssd = drive_create(&c, w->loops, w->cfg.loops, "ssd", &w->events);
	c.is_ssd = false;
	for (unsigned i = 0; i < VOLUMES; i++) {
		c.size_bytes = sectors[i] * 512;
		c.room_bytes = SECTORS_MAX * 512;
		c.seed = rng_next(&w->rng);
		c.delay_us_max = 1 + (uint32_t)rng_below(&w->rng, 2000);
		w->vols[i].store = drive_create(
		    &c, w->loops, w->cfg.loops, i == 0 ? "store0" : "store1", &w->events);
		w->vols[i].sectors = sectors[i];
		w->vols[i].mode = CACHE_NV;
	}
}

static void
drives_crashed(struct world *w, struct world *from, enum loss loss, uint64_t seed)
{
	w->ssd = drive_after_crash(from->ssd, loss, seed, w->loops, w->cfg.loops, &w->events);
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct vol *v = &w->vols[i], *old = &from->vols[i];
		enum loss l =
		    loss == LOSS_KILL ? LOSS_KILL : (enum loss)rng_below(&w->rng, LOSS_KILL);
		v->store = drive_after_crash(
		    old->store, l, seed + i + 1, w->loops, w->cfg.loops, &w->events);
		v->sectors = v->store->cfg.size_bytes / 512;
		v->shown = old->shown;
		if (v->sectors < v->shown && w->cfg.lie == 0)
			world_lost(from, "volume %u was shown larger than its store is", i);
		if (rng_below(&w->rng, 6) == 0 && v->sectors < SECTORS_MAX - 3) {
			v->sectors += 1 + rng_below(&w->rng, 3);
			drive_grow(v->store, v->sectors * 512);
		}
		v->o = old->o;
		/* A killed process leaves the drive's cache: nothing acknowledged is gone. */
		memcpy(v->o.now, loss == LOSS_KILL ? old->o.now : old->o.durable, sizeof v->o.now);
		v->mode = old->mode;
		if (v->mode == CACHE_BYPASS && rng_below(&w->rng, 3) == 0)
			v->mode = (enum cache_mode)rng_below(&w->rng, CACHE_MODE_COUNT);
		v->marker.now = old->marker.now;
		if (old->marker.busy && old->marker.got == NULL && rng_below(&w->rng, 2) == 0)
			v->marker.now = old->marker.next;
	}
	faults_off(w);
}

static void
world_init(struct world *w, const struct sim_cfg *cfg, unsigned level, uint64_t seed)
{
	*w = (struct world){.cfg = *cfg, .level = level, .rng = seed};
	struct loop_sim_cfg sc = {
	    .seed = seed, .loops = cfg->loops, .buf_bytes = 1 << 20, .op_delay_us_max = 50};
	int err = loop_sim_create(&sc, &w->sim);
	ASSERT(err == 0);
	for (unsigned i = 0; i < cfg->loops; i++)
		w->loops[i] = loop_sim_loop(w->sim, i);
	for (unsigned i = 0; i < VOLUMES; i++) {
		w->vols[i].w = w;
		w->vols[i].idx = i;
		w->vols[i].marker.w = w;
	}
	for (unsigned i = 0; i < TASKS_MAX; i++) {
		struct task *t = &w->tasks[i];
		t->w = w;
		t->loop = w->loops[i % cfg->loops];
		t->mem = aligned_alloc(4096, 4096 * (SECTORS_MAX / 8 + 1));
		ASSERT(t->mem != NULL);
	}
	/* Some cut only in recovery, some only later. */
	w->cut_at = cfg->cut_one_in <= 1 ? 0 : rng_below(&w->rng, 4 * cfg->cut_one_in);
	w->ops_left = level == 0 ? cfg->ops : (uint32_t)rng_below(&w->rng, cfg->ops / 4 + 2);
	if (cfg->story != NULL) {
		w->cut_at = UINT64_MAX; /* it says where */
		w->ops_left = 0;
	}
}

static void
world_fini(struct world *w)
{
	for (unsigned i = 0; i < TASKS_MAX; i++)
		free(w->tasks[i].mem);
	drive_destroy(w->ssd);
	for (unsigned i = 0; i < VOLUMES; i++)
		drive_destroy(w->vols[i].store);
	loop_sim_destroy(w->sim);
}

void
world_work(struct world *w)
{
	faults_on(w);
	for (unsigned i = 0; i < w->cfg.tasks; i++) {
		struct task *t = &w->tasks[i];
		if (t->busy)
			continue;
		loop_sim_call(t->loop, task_begin, t);
	}
	world_idle(w, "work");
	faults_off(w);
}

void
vol_close(struct world *w, struct vol *v)
{
	struct opening o = {.w = w, .v = v};
	if (v->v == NULL)
		return;
	struct cache_volume_stats s;
	cache_volume_get_stats(v->v, &s);
	totals.slowed += s.slowed_writes;
	totals.gaps += s.gap_blocks;
	world_call(w, do_close, &o);
	world_until(w, &o.done, "close");
	v->v = NULL;
}

static void
shut_down(struct world *w)
{
	for (unsigned i = 0; i < VOLUMES; i++)
		vol_close(w, &w->vols[i]);
	struct cache_stats s;
	cache_get_stats(w->c, &s);
	totals_add(&s);
	w->detached = false;
	if (w->cfg.dies && rng_below(&w->rng, 2) == 0) {
		w->mend_at = UINT64_MAX;
		w->ssd->broken = true;
	}
	world_call(w, faults_unhog, w);
	if (w->cfg.resizes && rng_below(&w->rng, 3) == 0)
		world_call(w, faults_resize, w);
	world_call(w, do_detach, w);
	world_until(w, &w->detached, "detach");
}

/* A removed volume has its newest data on the store, and its successor shows nothing else. */
static void
remove_and_make(struct world *w, struct vol *v)
{
	struct opening o = {.w = w, .v = v};
	if (v->v == NULL || v->mode == CACHE_BYPASS)
		return;
	world_call(w, do_remove, &o);
	world_until(w, &o.done, "remove");
	if (o.result < 0)
		return;
	v->v = NULL;
	v->mode = CACHE_NV;
	v->weak = false;
	vol_open(w, v);
}

/* After a crash a store may not come back: it holds nobody else up [18]. */
static bool
level_has(const struct world *w, unsigned vol)
{
	return w->level == 0 || vol == 0 || !w->cfg.absent;
}

/* Somebody says: go on. What is lost is told, and isn't found lost again. */
static bool
accept_loss(struct world *w)
{
	w->accepts = w->forgiven = true;
	w->attached = false;
	w->told = 0;
	world_call(w, do_attach, w);
	world_until(w, &w->attached, "attach, losses accepted");
	/* One of two copies has decayed, or is durable only by a lie, and a crash tore the other. */
	if (w->result < 0 && (w->rotten || w->cfg.lie > 0) && strstr(w->reason, "both ") != NULL)
		return false;
	if (w->result < 0)
		world_lost(
		    w, "the cache doesn't attach, though losses are accepted: %s", w->reason);
	if (w->told == 0)
		world_lost(w, "nothing was said of what is lost: %s", w->reason);
	w->accepts = false;
	return true;
}

static void
attach_again(struct world *w)
{
	w->ssd->broken = w->attached = w->detached = false;
	world_call(w, do_attach, w);
	world_until(w, &w->attached, "attach again");
	if (w->result < 0 && !w->unsettled && w->cfg.lie == 0)
		world_lost(w, "after a detach or accepted losses it doesn't attach: %s", w->reason);
	if (w->result < 0)
		return;
	for (unsigned i = 0; i < VOLUMES; i++) {
		if (level_has(w, i))
			vol_open(w, &w->vols[i]);
		verify_volume(w, &w->vols[i]);
		vol_close(w, &w->vols[i]);
	}
	w->detached = false;
	world_call(w, do_detach, w);
	world_until(w, &w->detached, "detach again");
}

static void
world_run(
    const struct sim_cfg *cfg, unsigned level, struct world *parent, enum loss loss, uint64_t seed)
{
	struct world *w = malloc(sizeof *w);
	ASSERT(w != NULL);
	world_init(w, cfg, level, seed);
	if (parent == NULL) {
		uint32_t depth = w->cfg.depth;
		drives_new(w);
		w->cfg.depth = 0; /* an unfinished format isn't a cache yet */
		world_call(w, do_format, w);
		world_until(w, &w->detached, "format");
		ASSERT(w->result == 0);
		w->cfg.depth = depth;
	} else {
		SAY("%*scrash of level %u at event %" PRIu64 " loss %u seed %" PRIu64 "\n",
		    (int)level * 2, "", parent->level, parent->events, loss, seed);
		drives_crashed(w, parent, loss, seed);
		w->rotten = parent->rotten;
		w->forgiven = parent->forgiven;
		if (!w->rotten && rng_one_in(&w->rng, cfg->rot))
			faults_rot(w);
	}
	world_call(w, do_attach, w);
	world_until(w, &w->attached, "attach");
	totals.attaches++;
	if (w->result < 0) {
		totals.rot_refused += w->rotten;
		if (cfg->lie == 0 && !w->rotten && !w->forgiven)
			world_lost(w, "the cache doesn't attach: %s (loss %u)", w->reason, loss);
		totals.refused++;
		if (!accept_loss(w)) {
			world_fini(w);
			free(w);
			return;
		}
	}
	for (unsigned i = 0; i < VOLUMES; i++) {
		if (!level_has(w, i))
			continue;
		vol_open(w, &w->vols[i]);
		w->vols[i].weak = w->vols[i].mode == CACHE_BYPASS;
	}
	for (unsigned i = 0; i < VOLUMES; i++)
		verify_volume(w, &w->vols[i]);
	if (w->cfg.few_frames)
		world_call(w, faults_hog, w);
	if (cfg->story == NULL)
		world_work(w);
	else if (level == 0)
		cfg->story->run(w);
	if (w->cfg.reopen && rng_below(&w->rng, 2) == 0)
		faults_reopen(w);
	if (w->cfg.ssd_breaks && w->level == 0)
		faults_void(w);
	if (w->cfg.ssd_goes && w->level == 0)
		faults_away(w);
	if (w->cfg.weight[OP_REMOVE] > 0 && rng_below(&w->rng, 3) == 0) {
		remove_and_make(w, &w->vols[rng_below(&w->rng, VOLUMES)]);
		w->ops_left = w->cfg.ops / 4;
		world_work(w);
	}
	for (unsigned i = 0; i < VOLUMES; i++)
		verify_volume(w, &w->vols[i]);
	shut_down(w);
	if (w->forgiven || rng_below(&w->rng, 4) == 0)
		attach_again(w);
	totals.events += w->events;
	world_fini(w);
	free(w);
}

void
sim_run(const struct sim_cfg *cfg)
{
	cuts_left = cfg->cuts_max;
	world_run(cfg, 0, NULL, LOSS_ALL, cfg->seed);
}
