/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The chains of records that recovery follows [3][5], by stream and seq.
 *
 *	checkpoint's position ─▶ … ─▶ end of the epoch before ─▶ … ─▶ first gap
 *
 * Of the first part every record must be there: all of it was acknowledged, and no segment that has a part of
 * it can have been freed since, because only a later checkpoint would have done so. One that is missing has
 * decayed with the header that led to it. The second part ends where the crash came; what is lost there is
 * told by durable_seq alone. Records at or below the position needn't be complete, and aren't kept.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/recover.h"

static uint64_t
position_of(const struct recovery *v, unsigned stream)
{
	return v->head.pos[stream].seq;
}

/* The header as it was, for the footer to come. */
static bool
keep_header(struct found_rec *f, const struct cache_record *r)
{
	const char *from = (const char *)r->descs - sizeof(struct cf_record);
	f->bytes = malloc(r->bytes);
	if (f->bytes == NULL)
		return false;
	memcpy(f->bytes, from, r->bytes);
	f->r.descs = (const void *)((const char *)f->bytes + sizeof(struct cf_record));
	f->r.crcs = (const void *)(f->r.descs + r->desc_count);
	return true;
}

void
recovery_add(struct recovery *v, uint32_t seg, const struct cache_record *r, bool sealed)
{
	if (sealed && r->seq <= position_of(v, r->stream))
		return;
	if (v->rec_count == v->rec_cap) {
		uint32_t cap = v->rec_cap != 0 ? v->rec_cap * 2 : 64;
		struct found_rec *n =
		    cap > v->rec_cap ? realloc(v->recs, cap * sizeof *v->recs) : NULL;
		if (n == NULL) {
			v->no_memory = true;
			return;
		}
		v->recs = n;
		v->rec_cap = cap;
	}
	struct found_rec *f = &v->recs[v->rec_count];
	*f = (struct found_rec){.seg = seg, .sealed = sealed, .r = *r};
	if (!sealed && !keep_header(f, r)) {
		v->no_memory = true;
		return;
	}
	v->rec_count++;
}

static int
compare(const void *a, const void *b)
{
	const struct found_rec *x = *(struct found_rec *const *)a;
	const struct found_rec *y = *(struct found_rec *const *)b;
	if (x->r.stream != y->r.stream)
		return x->r.stream < y->r.stream ? -1 : 1;
	if (x->r.seq != y->r.seq)
		return x->r.seq < y->r.seq ? -1 : 1;
	return (x->r.epoch > y->r.epoch) - (x->r.epoch < y->r.epoch);
}

bool
recovery_sort(struct recovery *v)
{
	v->sorted = calloc(v->rec_count + 1ull, sizeof(struct found_rec *));
	if (v->sorted == NULL)
		return false;
	for (uint32_t i = 0; i < v->rec_count; i++)
		v->sorted[i] = &v->recs[i];
	qsort(v->sorted, v->rec_count, sizeof(struct found_rec *), compare);
	return true;
}

/* Record last + 1 of the stream that follows `last`, of an epoch from..to; or NULL. */
static struct found_rec *
follow(const struct recovery *v, unsigned stream, const struct cache_position *last, uint64_t from,
    uint64_t to)
{
	uint32_t lo = 0, hi = v->rec_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct cache_record *r = &v->sorted[mid]->r;
		if (r->stream < stream || (r->stream == stream && r->seq <= last->seq))
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < v->rec_count; lo++) {
		struct found_rec *f = v->sorted[lo];
		if (f->r.stream != stream || f->r.seq != last->seq + 1)
			return NULL;
		if (f->r.prev_crc == last->crc && f->r.epoch >= from && f->r.epoch <= to)
			return f;
	}
	return NULL;
}

bool
recovery_before(const struct recovery *v, unsigned stream)
{
	const struct cache_position *end = &v->c->super.end[stream];
	struct cache_position at = v->head.pos[stream];
	uint64_t epoch = v->c->super.epoch;
	if (at.epoch >= epoch || at.seq >= end->seq)
		return true;
	while (at.seq < end->seq) {
		const struct found_rec *f = follow(v, stream, &at, at.epoch, epoch - 1);
		if (f == NULL)
			return false;
		at = (struct cache_position){f->r.epoch, f->r.seq, f->r.crc};
	}
	return at.crc == end->crc;
}

/* Where the chain begins: the checkpoint's position, or the end of the epoch before. */
void
recovery_chain_start(struct recovery *v)
{
	struct cache *c = v->c;
	const struct cache_position *pos = &v->head.pos[v->stream];
	struct cache_position *last = &v->last[v->stream];
	*last = c->super.end[v->stream];
	if (pos->epoch == c->super.epoch && pos->seq > last->seq)
		*last = *pos;
}

struct found_rec *
recovery_next(struct recovery *v)
{
	uint64_t epoch = v->c->super.epoch;
	return follow(v, v->stream, &v->last[v->stream], epoch, epoch);
}

void
recovery_accept(struct recovery *v)
{
	struct cache *c = v->c;
	for (uint32_t i = 0; i < v->rec_count; i++) {
		struct found_rec *f = &v->recs[i];
		const struct cache_record *r = &f->r;
		if (f->sealed)
			continue;
		bool now = r->epoch == c->super.epoch && r->seq <= v->last[r->stream].seq;
		bool before =
		    r->epoch + 1 == c->super.epoch && r->seq <= c->super.end[r->stream].seq;
		f->accepted = now || before;
		if (f->accepted)
			recovery_insert(v, f->seg, r);
	}
}
