/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What counts after a crash. See recover.c for the order of things, and docs/format/cache.md.
 *
 * A segment: its slots tell the newest durable checkpoint's view; slots above that are ignored [6].
 *	generation = the slot's, in use      what its bits don't call dead
 *	generation > the slot's              opened after the checkpoint: all that is accepted
 *	free at it, or generation < it       nothing
 * Its generation is in the header; if that has decayed, in the footer and in each record.
 * A record of an unsealed segment counts in the running epoch up to the checkpoint's position, above it only
 * in an unbroken chain of seq and header CRC, whose payload is whole where nothing says that it was
 * acknowledged [3][5]; of the epoch before, up to where that ended [4].
 * A block: the highest ver wins per sector; of equal ones, which are copies, a clean one [1].
 */
#include "cache/recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define FETCH_STEP 4u /* records, in which memory answers */
#define FETCH_AHEAD (CACHE_PREFETCH_STEPS * FETCH_STEP)

/* ---- segments ----------------------------------------------------------------------------------- */

static int
slot_in_force(const struct recovery *v, const struct found_seg *f)
{
	int best = -1;
	for (int k = 0; k < 2; k++) {
		const struct found_slot *s = &f->slot[k];
		if (!s->ok || (s->checkpoint > v->head.number && !MUTANT(SLOTS_ABOVE_HEADER)))
			continue;
		if (best < 0 || s->checkpoint > f->slot[best].checkpoint)
			best = k;
	}
	return best;
}

const struct found_slot *
recovery_slot(const struct recovery *v, uint32_t seg)
{
	int k = slot_in_force(v, &v->segs[seg]);
	return k < 0 ? NULL : &v->segs[seg].slot[k];
}

/* The slot that isn't in force was written by a checkpoint that never came to be, or can't be read now: it
 * must be overwritten before its number can count. */
static bool
has_stale_slot(const struct recovery *v, const struct found_seg *f)
{
	for (int k = 0; k < 2; k++) {
		const struct found_slot *s = &f->slot[k];
		if (s->is_torn || (s->ok && s->checkpoint > v->head.number))
			return !MUTANT(STALE_SLOT_KEPT);
	}
	return false;
}

/* The older slot of a segment says less of what is dead: it doesn't stand in for one that decayed. */
bool
recovery_slots_right(const struct recovery *v)
{
	uint32_t crc = CRC32C_INIT;
	for (uint32_t i = 0; i < v->covered; i++) {
		const struct found_seg *f = &v->segs[i];
		int k = slot_in_force(v, f);
		crc = cache_slots_crc(crc, k < 0 ? 0 : f->slot[k].checkpoint);
	}
	return crc32c_final(crc) == v->head.slots_crc || MUTANT(NO_SLOTS_CRC);
}

static enum found
live_kind(const struct recovery *v, const struct found_seg *f)
{
	uint64_t epoch = v->c->super.epoch;
	if (f->head.epoch > epoch)
		return FOUND_LOST;
	return FOUND_UNSEALED; /* until a footer is found */
}

void
recovery_judge(struct recovery *v, uint32_t seg)
{
	struct cache *c = v->c;
	struct found_seg *f = &v->segs[seg];
	struct segment *s = &c->segs[seg];
	f->in_force = slot_in_force(v, f);
	if (f->in_force < 0) {
		f->kind = FOUND_LOST;
		return;
	}
	const struct found_slot *k = &f->slot[f->in_force];
	s->slot = (uint8_t)f->in_force;
	s->slot_number = k->checkpoint;
	s->changed = has_stale_slot(v, f);
	s->generation = k->generation;
	if (!f->head_ok) {
		/* Torn while being opened, or decayed; nothing in it says that anything is in it. Its
		 * generation may have been the next. */
		f->kind = !k->in_use ? FOUND_FREE : k->used > 0 ? FOUND_LOST : FOUND_EMPTY;
		s->generation++;
		return;
	}
	if (f->head.generation < k->generation) {
		/* The slot knows a header that was durable before it. */
		f->kind = k->in_use ? FOUND_EMPTY : FOUND_FREE;
		v->lied |= k->in_use;
		return;
	}
	s->generation = f->head.generation;
	bool same = f->head.generation == k->generation;
	if (!same && k->in_use && !MUTANT(REUSE_NO_CHECKPOINT)) {
		/* It was opened again: a checkpoint that called it free was durable, and is gone. */
		f->kind = FOUND_LOST;
		return;
	}
	if (MUTANT(NO_GENERATION) && f->head.generation > 0) {
		f->bits = true;
		f->kind = live_kind(v, f);
		return;
	}
	if (same && !k->in_use) {
		f->kind = FOUND_FREE;
		return;
	}
	f->bits = same;
	f->used = same ? k->used : 0;
	s->changed |= !same;
	f->kind = live_kind(v, f);
}

void
recovery_uncovered(struct recovery *v, uint32_t seg)
{
	struct cache *c = v->c;
	struct segment *s = &c->segs[seg];
	v->segs[seg].kind = FOUND_FREE;
	free(v->segs[seg].slot_bits);
	v->segs[seg].slot_bits = NULL;
	s->state = SEG_FREE;
	s->generation = cache_resize_generation(c, false);
	s->changed = s->out = true;
	c->ck.owed = true;
}

/* ---- the index ----------------------------------------------------------------------------------- */

static void
count_data(struct cache *c, const struct cache_piece *p)
{
	struct segment *s = seg_of(c, p->loc);
	s->live += (uint32_t)p->count;
	if (p->flags & CACHE_EXT_DIRTY)
		s->dirty += (uint32_t)p->count;
}

static void
take(struct cache_volume *v, const struct cache_piece *p)
{
	struct cache *c = v->c;
	if (p->kind == CACHE_ZERO) {
		struct cache_zero *z = c->zeros[p->loc];
		struct segment *s = seg_of(c, z->loc);
		s->live += z->live == 0;
		s->dirty += z->dirty == 0;
		z->live += p->count;
		z->dirty += p->count;
		v->dirty_zeros += p->count;
	} else {
		count_data(c, p);
	}
	cache_index_set(&v->ix, p, cache_gone, v);
}

static bool
wins(const struct cache_piece *is, const struct cache_piece *p)
{
	if (is->kind == CACHE_HOLE || MUTANT(POS_WINS))
		return true;
	if (is->ver == p->ver)
		return (is->flags & CACHE_EXT_DIRTY) && !(p->flags & CACHE_EXT_DIRTY);
	return p->ver > is->ver;
}

/* Puts `p` where nothing newer is; the rest of it is dead. */
static void
insert(struct cache_volume *v, const struct cache_piece *p)
{
	/* Most of it goes where nothing is. */
	if (p->kind == CACHE_DATA && cache_index_fill(&v->ix, p)) {
		count_data(v->c, p);
		return;
	}
	uint64_t at = p->block, end = p->block + p->count;
	while (at < end) {
		struct cache_piece is, part = *p;
		cache_index_lookup(&v->ix, at, end - at, &is);
		part.block = at;
		part.count = is.count;
		if (p->kind == CACHE_DATA)
			part.loc += (uint32_t)(at - p->block);
		if (wins(&is, &part))
			take(v, &part);
		else if (p->kind == CACHE_DATA)
			cache_units_dead(v->c, part.loc, part.count);
		at += is.count;
	}
}

static void
insert_zero(struct cache_volume *v, const struct cache_desc *d, uint32_t loc)
{
	struct cache_zero *z =
	    cache_zero_make(v, d->block, d->count, d->ver, loc, d->flags & CF_DESC_NO_UNMAP);
	struct cache_piece p = {
	    .block = d->block,
	    .count = d->count,
	    .ver = d->ver,
	    .loc = z->id,
	    .mask = 0xff,
	    .flags = CACHE_EXT_ZERO | CACHE_EXT_DIRTY,
	    .kind = CACHE_ZERO,
	};
	insert(v, &p);
	if (z->live == 0) {
		cache_units_dead(v->c, loc, 1);
		cache_zero_free(z);
	}
}

/* Runs of units of the same kind, without the dead ones. */
static void
insert_data(struct cache_volume *v, const struct cache_desc *d, uint32_t loc, bool all_clean)
{
	struct cache *c = v->c;
	const struct segment *s = seg_of(c, loc);
	uint32_t u0 = d->place, n = (uint32_t)d->count;
	for (uint32_t i = 0, k; i < n; i = k) {
		bool is = cache_desc_dead(d, i, s->dead, s->clean),
		     dead = is && !MUTANT(NO_DEAD_BIT);
		bool clean = all_clean || bit_get(s->clean, u0 + i);
		for (k = i + 1; k < n; k++)
			if (cache_desc_dead(d, k, s->dead, s->clean) != is ||
			    (!all_clean && bit_get(s->clean, u0 + k) != bit_get(s->clean, u0 + i)))
				break;
		if (dead)
			continue;
		if (MUTANT(NO_DEAD_BIT))
			for (uint32_t j = i; j < k; j++) {
				uint32_t u = unit_of(c, loc + j);
				dead_map(c, s, loc + j)[u / 8] &= (uint8_t) ~(1u << (u % 8));
			}
		struct cache_piece p = {
		    .block = d->block + i,
		    .count = k - i,
		    .ver = d->ver,
		    .loc = loc + i,
		    .mask = d->mask,
		    .flags = clean ? 0 : CACHE_EXT_DIRTY,
		    .kind = CACHE_DATA,
		};
		insert(v, &p);
	}
}

static bool
any_live(const struct segment *s, const struct cache_desc *d)
{
	uint64_t units = (d->flags & CF_DESC_ZERO) ? 1 : d->count;
	for (uint32_t i = 0; i < units; i++)
		if (!cache_desc_dead(d, i, s->dead, s->clean))
			return true;
	return false;
}

void
recovery_insert(struct recovery *v, uint32_t seg, const struct cache_record *r)
{
	struct cache *c = v->c;
	struct segment *s = &c->segs[seg];
	uint32_t data = r->unit + r->header_blocks;
	for (uint32_t i = 0; i < r->payload_blocks; i++)
		s->crc[data + i] = le32_get(r->crcs[i]);
	for (uint32_t i = 0; i < r->desc_count; i++) {
		struct cache_desc d;
		cache_desc_get(&r->descs[i], &d);
		uint32_t loc = loc_of_desc(c, seg, &d);
		bool packed = d.flags & CF_DESC_PACKED;
		if (d.ver > v->max_ver)
			v->max_ver = d.ver;
		if (s->order == 0 || d.ver < s->order)
			s->order = d.ver;
		struct cache_volume *vol = cache_volume_by_id(c, d.volume);
		bool zero = d.flags & CF_DESC_ZERO;
		bool fits =
		    vol != NULL && d.block < vol->blocks && d.count <= vol->blocks - d.block;
		if (!fits && (d.volume >= c->vt.next_id || vol != NULL) && any_live(s, &d))
			v->old_table = true;
		if (d.volume > v->max_volume && d.volume < UINT32_MAX / 2)
			v->max_volume = d.volume;
		/* Bypass began when nothing of it was left [11]: a slot that was lost brings it back. */
		if (v->args.accept_loss && vol != NULL && vol->row.mode == CACHE_BYPASS)
			fits = false;
		if (packed && c->loc_packed == 0)
			continue; /* nobody wrote that: the SSD is too large for it */
		if (packed)
			cache_pack_learn(c, s, &d);
		if (!fits)
			cache_units_dead(c, loc, zero ? 1 : d.count); /* its volume is gone [17] */
		else if (!zero)
			insert_data(vol, &d, loc, r->stream == CF_F);
		else if (!bit_get(s->dead, d.place) || MUTANT(NO_DEAD_BIT))
			insert_zero(vol, &d, loc);
	}
	uint32_t end = data + r->payload_blocks;
	s->unit = end > s->unit ? end : s->unit;
	s->acked = s->unit;
}

/* ---- footers -------------------------------------------------------------------------------------- */

/* Memory is what this waits for: the index is asked for some records before they go in. */
static void
fetch(struct recovery *v, const struct cache_record *r, unsigned step)
{
	const struct cache_volume *vol = NULL;
	for (uint32_t i = 0; i < r->desc_count; i++) {
		uint32_t id = le32_get(r->descs[i].volume);
		if (vol == NULL || vol->row.id != id)
			vol = cache_volume_by_id(v->c, id);
		if (vol != NULL)
			cache_index_prefetch(&vol->ix, le64_get(r->descs[i].block), step);
	}
}

static void
sealed_record(struct recovery *v, uint32_t seg, const struct cache_record *r)
{
	recovery_insert(v, seg, r);
	if (r->stream == CF_F)
		return;
	if (r->epoch == v->c->super.epoch && r->durable_seq > v->durable[r->stream])
		v->durable[r->stream] = r->durable_seq;
	recovery_add(v, seg, r, true);
}

void
recovery_footer(struct recovery *v, uint32_t seg, const void *buf, const struct cache_footer *f)
{
	struct cache *c = v->c;
	struct cache_record ring[FETCH_AHEAD];
	uint32_t at = 0, n = 0, done = 0;
	while (cache_footer_next(&c->geo, seg, buf, f, &at, &ring[n % FETCH_AHEAD])) {
		fetch(v, &ring[n % FETCH_AHEAD], 0);
		n++;
		for (unsigned step = 1; step < CACHE_PREFETCH_STEPS; step++)
			if (n > step * FETCH_STEP)
				fetch(v, &ring[(n - 1 - step * FETCH_STEP) % FETCH_AHEAD], step);
		if (n - done == FETCH_AHEAD)
			sealed_record(v, seg, &ring[done++ % FETCH_AHEAD]);
	}
	for (; done < n; done++)
		sealed_record(v, seg, &ring[done % FETCH_AHEAD]);
	struct segment *s = &c->segs[seg];
	s->records = f->record_count;
	if (f->used_blocks > s->unit)
		s->unit = f->used_blocks;
	s->acked = s->unit;
}
