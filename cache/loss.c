/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an attach has lost, as far as it can be named, and how it is settled when somebody accepts that: what
 * is lost is told once, then called free, so that the next attach finds nothing amiss.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/recover.h"

#define TOLD_MAX 10000u
#define JUMP (1ull << 32) /* above every generation that a segment can have had meanwhile */

static void next(struct recovery *v);

static void
tell(struct recovery *v, const struct cache_loss *l)
{
	static const struct cache_loss more = {.why = "and more"};
	if (v->args.lost == NULL || v->told > TOLD_MAX)
		return;
	v->args.lost(v->args.ctx, v->told == TOLD_MAX ? &more : l);
	v->told++;
}

static void
tell_record(
    struct recovery *v, const struct cache_record *r, const struct segment *dead, const char *why)
{
	for (uint32_t i = 0; i < r->desc_count; i++) {
		struct cache_desc d;
		cache_desc_get(&r->descs[i], &d);
		const struct cache_volume *vol = cache_volume_by_id(v->c, d.volume);
		bool zero = d.flags & CF_DESC_ZERO, live = dead == NULL;
		for (uint32_t k = 0; !live && k < (zero ? 1 : d.count); k++)
			live = !cache_desc_dead(&d, k, dead->dead, dead->clean);
		if (!live)
			continue;
		struct cache_loss l = {
		    .offset_bytes = d.block << CF_BLOCK_SHIFT,
		    .bytes = d.count << CF_BLOCK_SHIFT,
		    .why = why,
		};
		if (vol != NULL)
			memcpy(l.name, vol->row.name, sizeof l.name);
		tell(v, &l);
	}
}

static bool
suspect(const struct recovery *v, uint32_t seg)
{
	const struct found_seg *f = &v->segs[seg];
	bool torn = f->slot[0].is_torn || f->slot[1].is_torn;
	return f->is_damaged || (v->slots_wrong && torn);
}

static const char *
why(const struct recovery *v, uint32_t seg)
{
	return v->segs[seg].is_damaged ? "its segment is damaged"
	                               : "it may be older than what was acknowledged";
}

static void
got_footer(struct recovery *v, int result)
{
	struct cache *c = v->c;
	const struct found_seg *f = &v->segs[v->seg];
	struct cache_footer foot;
	struct cache_record r;
	uint32_t at = 0;
	bool ok = result == 0 &&
	          cache_footer_decode(&c->geo, c->uuid, v->seg, v->buf,
	              (size_t)c->geo.footer_blocks << CF_BLOCK_SHIFT, &foot) &&
	          f->head_ok && foot.generation == f->head.generation;
	while (ok && cache_footer_next(&c->geo, v->seg, v->buf, &foot, &at, &r))
		tell_record(v, &r, f->bits ? &c->segs[v->seg] : NULL, why(v, v->seg));
	for (uint32_t i = f->rec_first; !ok && i < f->rec_end; i++)
		if (!v->recs[i].sealed)
			tell_record(v, &v->recs[i].r, NULL, "near to records that are damaged");
	if (!ok)
		tell(v, &(struct cache_loss){.why = "what a damaged segment holds isn't known"});
	v->seg++;
	next(v);
}

/* Records that came after one that is gone: they were acknowledged too. */
static void
tell_beyond(struct recovery *v)
{
	for (uint32_t i = 0; v->lied && i < v->rec_count; i++) {
		const struct found_rec *f = &v->recs[i];
		if (!f->sealed && f->r.epoch == v->c->super.epoch &&
		    f->r.seq > v->last[f->r.stream].seq)
			tell_record(v, &f->r, NULL, "the SSD lost what came before it");
	}
	if (v->lied || v->missing > 0)
		tell(v, &(struct cache_loss){.why = "records whose content isn't known"});
	if (v->old_table)
		tell(v, &(struct cache_loss){.why = "volumes that the table doesn't know"});
	if (v->slots_wrong)
		tell(v, &(struct cache_loss){.why = "blocks that may be older than acknowledged"});
}

static void
next(struct recovery *v)
{
	const struct cache_geometry *g = &v->c->geo;
	while (v->seg < v->covered && (!suspect(v, v->seg) || v->args.lost == NULL))
		v->seg++;
	if (v->seg < v->covered) {
		recovery_read(v, cache_footer_block(g, v->seg), g->footer_blocks, got_footer);
		return;
	}
	tell_beyond(v);
	v->losses_told(v);
}

void
recovery_losses(struct recovery *v, void (*told)(struct recovery *v))
{
	v->losses_told = told;
	v->seg = 0;
	next(v);
}

void
recovery_settle(struct recovery *v)
{
	struct cache *c = v->c;
	for (uint32_t i = 0; i < c->geo.segment_count; i++) {
		const struct found_seg *f = &v->segs[i];
		struct segment *s = &c->segs[i];
		if (f->kind != FOUND_LOST)
			continue;
		for (unsigned k = 0; k < 2; k++)
			if (f->slot[k].ok && f->slot[k].generation > s->generation)
				s->generation = f->slot[k].generation;
		if (f->head_ok && f->head.generation > s->generation)
			s->generation = f->head.generation;
		s->generation += JUMP;
		s->state = SEG_SEALED; /* and nothing in it is live */
		s->changed = true;
	}
	if (c->vt.next_id <= v->max_volume)
		c->vt.next_id = v->max_volume + 1;
}
