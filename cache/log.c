/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: what waits becomes one record, written at once as one contiguous piece [2]. One record of a
 * stream is in flight; what arrives meanwhile goes into the next one.
 *
 * Order: descriptors get their ver when the record is built, in the order of arrival [1]; the record is
 * written (W, G: durable when the write ends); its entries are applied; the requests are told. A crash
 * before the write ends leaves the record, a part of it or nothing: nobody was told. After it: the record.
 * A frame isn't changed between its CRC and the end of the commit [20]: it is the requester's, who waits.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BLOCKS_MAX 16u
#define IOVS_ROOM 258u /* a request of 256 blocks in pieces of 4 KiB, and ragged ends */

int
cache_log_init(struct cache *c, unsigned log)
{
	struct cache_log *l = &c->logs[log];
	enum cf_stream s = log == CACHE_LOG_MAIN ? CF_F : (enum cf_stream)log;
	*l = (struct cache_log){.c = c, .stream = s, .seg = LOC_NONE};
	list_init(&l->queue);
	list_init(&l->inflight);
	l->header = cache_pages_alloc(HEADER_BLOCKS_MAX * CF_BLOCK_BYTES);
	l->descs = calloc(CACHE_RECORD_DESCS_MAX, sizeof *l->descs);
	l->crcs = calloc(CACHE_RECORD_BLOCKS_MAX, sizeof *l->crcs);
	l->iov = calloc(CACHE_RECORD_IOVS, sizeof *l->iov);
	if (s == CF_F)
		l->packed = cache_pages_alloc(CACHE_RECORD_BLOCKS_MAX * CF_BLOCK_BYTES);
	bool ok = (s != CF_F || l->packed != NULL) && l->header != NULL && l->descs != NULL &&
	          l->crcs != NULL && l->iov != NULL;
	return ok ? 0 : -ENOMEM;
}

void
cache_log_fini(struct cache_log *l)
{
	free(l->header);
	free(l->descs);
	free(l->crcs);
	free(l->iov);
}

uint32_t
cache_log_req_max(const struct cache *c)
{
	uint32_t n = c->geo.data_blocks / 2;
	return n < CACHE_RECORD_BLOCKS_MAX ? n : CACHE_RECORD_BLOCKS_MAX;
}

/* ---- building a record ------------------------------------------------------------------- */

struct room {
	uint32_t descs, zeros, blocks;
	uint32_t packed, sectors;
};

static uint32_t
payload(const struct room *m)
{
	return m->blocks + cache_pack_payload(m->packed, m->sectors);
}

static bool
fits(const struct cache *c, const struct segment *s, const struct room *m)
{
	uint32_t blocks = payload(m),
	         header = cache_record_header_blocks(m->descs, m->zeros, blocks);
	uint32_t foot = cache_footer_need(cache_record_bytes(m->descs, blocks));
	return m->descs <= CACHE_RECORD_DESCS_MAX && m->zeros <= CACHE_RECORD_ZEROS_MAX &&
	       blocks <= CACHE_RECORD_BLOCKS_MAX && header <= HEADER_BLOCKS_MAX &&
	       header + blocks <= c->geo.data_blocks - s->unit &&
	       foot <= c->geo.footer_blocks * CF_BLOCK_BYTES - s->foot_bytes;
}

static void
add(struct room *m, const struct cache_req *r)
{
	m->descs += r->ents;
	m->zeros += r->zeros;
	m->blocks += r->blocks;
	m->packed += r->packed;
	m->sectors += r->sectors;
}

/* A volume whose store doesn't take its data can't have the whole log, nor can one whose store may be the next
 * that doesn't: the last free segments are for the others, but for what is left of one that was opened before they
 * were the last [18]. Nobody gets more of the index when that is full
 * and nothing in it is clean [19]. */
static bool
is_capped(const struct cache_log *l, const struct cache_volume *v)
{
	const struct cache *c = l->c;
	if (l->stream == CF_W && c->index_full && c->space.pressure)
		return true;
	if (l->stream != CF_W || v->ix.dirty_blocks <= cache_log_capped_from(c) ||
	    MUTANT(STUCK_NO_CAP))
		return false;
	return cache_volume_stuck(v) ||
	       (!l->roomy && cache_segment_free_count(c) <= CACHE_FREE_FOR_OTHERS);
}

/* Nobody who waits may have another segment. */
static bool
all_capped(const struct cache_log *l)
{
	LIST_FOREACH (n, &l->queue)
		if (!is_capped(l, container_of(n, struct cache_req, link)->vol))
			return false;
	return true;
}

enum collected { SOME, NONE_FITS, NONE_MAY };

/* Moves what fits into the record from the queue. */
static enum collected
collect(struct cache_log *l, const struct segment *s, struct room *m)
{
	uint32_t iovs = 1;
	*m = (struct room){0};
	l->capped = false;
	LIST_FOREACH_SAFE (n, &l->queue) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		struct room with = *m;
		if (is_capped(l, r->vol)) {
			l->capped = true;
			continue;
		}
		add(&with, r);
		uint32_t more = 0;
		for (uint32_t i = 0; i < r->ents; i++)
			more += r->ent[i].sg != NULL ? r->ent[i].sg->iovcnt : 0;
		if (!fits(l->c, s, &with))
			return m->descs > 0 ? SOME : NONE_FITS;
		/* A request alone always has room: nothing is cut finer than a sector. */
		if (m->descs > 0 && iovs + more + IOVS_ROOM > CACHE_RECORD_IOVS)
			break;
		iovs += more;
		*m = with;
		list_remove(&r->link);
		list_push_back(&l->inflight, &r->link);
	}
	return m->descs > 0 ? SOME : NONE_MAY;
}

static void
add_iovs(struct cache_log *l, const struct cache_ent *e)
{
	const struct iovec *v = e->sg->iov;
	uint64_t at = e->sg_at, len = e->count << CF_BLOCK_SHIFT;
	ASSERT(at + len <= e->sg->len_bytes);
	for (; at >= v->iov_len; v++)
		at -= v->iov_len;
	for (; len > 0; v++, at = 0) {
		uint64_t n = v->iov_len - at < len ? v->iov_len - at : len;
		ASSERT(l->iovcnt < CACHE_RECORD_IOVS);
		l->iov[l->iovcnt++] = (struct iovec){(char *)v->iov_base + at, n};
		len -= n;
	}
}

/* Without [6]: what will be superseded dies before its successor is durable. */
static void
early_dead(struct cache_volume *v, const struct cache_ent *e)
{
	struct cache_piece p;
	uint64_t at = e->block, end = e->block + e->count;
	for (; cache_index_next(&v->ix, at, end, 0, &p); at = p.block + p.count) {
		for (uint32_t i = 0; p.kind == CACHE_DATA && i < p.count; i++) {
			bit_set(dead_map(v->c, seg_of(v->c, p.loc), p.loc + i),
			    unit_of(v->c, p.loc + i));
			seg_of(v->c, p.loc)->changed = true;
		}
	}
}

static void
place_ent(struct cache_log *l, struct cache_ent *e, uint32_t vol, uint32_t *zero, uint32_t *data)
{
	struct cache *c = l->c;
	struct cache_record *r = &l->rec;
	bool is_zero = e->flags & CF_DESC_ZERO;
	uint32_t unit = is_zero ? (*zero)++ : *data;
	if (e->ver == 0)
		e->ver = ++c->ver;
	e->loc = loc_of(c, l->seg, unit);
	l->descs[r->desc_count++] = (struct cache_desc){
	    .volume = vol,
	    .flags = e->flags,
	    .mask = e->mask,
	    .block = e->block,
	    .count = e->count,
	    .ver = e->ver,
	    .place = unit,
	};
	if (is_zero)
		return;
	uint32_t first = *data - r->unit - r->header_blocks;
	for (uint32_t i = 0; i < e->count; i++)
		l->crcs[first + i] = cache_crc_part(
		    e->sg, e->sg_at + ((uint64_t)i << CF_BLOCK_SHIFT), CF_BLOCK_BYTES);
	add_iovs(l, e);
	*data += (uint32_t)e->count;
}

static void
build(struct cache_log *l, const struct room *m)
{
	struct cache *c = l->c;
	struct segment *s = &c->segs[l->seg];
	l->rec = (struct cache_record){
	    .generation = s->generation,
	    .epoch = c->super.epoch,
	    .seq = ++l->seq,
	    .durable_seq = l->acked.seq,
	    .prev_crc = l->acked.crc,
	    .stream = l->stream,
	    .unit = s->unit,
	    .header_blocks = cache_record_header_blocks(m->descs, m->zeros, payload(m)),
	    .payload_blocks = payload(m),
	};
	uint32_t zero = s->unit, data = s->unit + l->rec.header_blocks;
	l->iov[0] = (struct iovec){l->header, (size_t)l->rec.header_blocks << CF_BLOCK_SHIFT};
	l->iovcnt = 1;
	LIST_FOREACH (n, &l->inflight) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		for (uint32_t i = 0; r->packed == 0 && i < r->ents; i++) {
			if (MUTANT(EARLY_DEAD) && l->stream == CF_W)
				early_dead(r->vol, &r->ent[i]);
			place_ent(l, &r->ent[i], r->vol->row.id, &zero, &data);
		}
	}
	data += cache_pack_place(l, data);
	ASSERT(data == s->unit + l->rec.header_blocks + l->rec.payload_blocks);
	cache_record_encode(&c->geo, c->uuid, l->seg, &l->rec, l->descs, l->crcs, l->header);
	s->unit = data;
}

/* ---- committing -------------------------------------------------------------------------- */

/* The record is part of the segment: what its footer will say, and what verifies its blocks. */
static void
account(struct cache_log *l)
{
	struct segment *s = &l->c->segs[l->seg];
	const struct cache_record *r = &l->rec;
	memcpy((char *)s->foot + s->foot_bytes, l->header, r->bytes);
	s->foot_bytes += cache_footer_need(r->bytes);
	s->records++;
	s->acked = r->unit + r->header_blocks + r->payload_blocks;
	memcpy(s->crc + r->unit + r->header_blocks, l->crcs, r->payload_blocks * sizeof *l->crcs);
	l->acked = (struct cache_position){r->epoch, r->seq, r->crc};
	cache_away_note(l);
	for (uint32_t i = 0; i < r->desc_count; i++)
		if (l->descs[i].flags & CF_DESC_PACKED)
			cache_pack_learn(l->c, s, &l->descs[i]);
}

static void
tell(struct cache_log *l, int result)
{
	struct list all = LIST_INIT(all);
	list_splice_back(&all, &l->inflight);
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		r->done(r, result);
	}
}

static void
commit_done(struct cache_io *x, int result)
{
	struct cache_log *l = x->ctx;
	struct cache *c = l->c;
	if (result < 0 && l->stream != CF_F && !MUTANT(COMMIT_FAIL_GO_ON)) {
		l->busy = false;
		cache_epoch_end(c, l);
		return;
	}
	if (result < 0) {
		/* Nothing of it counts: the footer won't name it. */
		l->seq--;
		if (l->stream == CF_F) {
			tell(l, result);
		} else {
			while (!list_empty(&l->inflight)) {
				struct list *n = l->inflight.prev;
				list_remove(n);
				list_push_front(&l->queue, n);
			}
		}
	} else {
		c->stats.commits++;
		c->stats.commit_blocks += l->rec.payload_blocks;
		c->stats.commit_ns += loop_now_ns(c->home) - x->io.submit_ns;
		if (!list_empty(&l->inflight))
			account(l);
		tell(l, 0);
	}
	l->busy = false;
	cache_epoch_check(c);
	cache_log_kick(c);
}

static void
commit(struct cache_log *l)
{
	struct cache *c = l->c;
	l->busy = true;
	struct cache_io *x = cache_io_get(c, commit_done, l);
	uint64_t blocks = l->rec.header_blocks + l->rec.payload_blocks;
	blk_sg_init(&x->sg);
	x->sg.iov = l->iov;
	x->sg.iovcnt = l->iovcnt;
	x->sg.iovcap = CACHE_RECORD_IOVS;
	x->sg.len_bytes = blocks << CF_BLOCK_SHIFT;
	x->sg.loop = c->home;
	uint32_t flags = l->stream == CF_F || MUTANT(NO_FUA) ? 0 : BLK_FUA;
	cache_ssd_write(x, cache_data_block(&c->geo, l->seg, l->rec.unit), (uint32_t)blocks, flags);
}

/* Ends what can't go on: without a log there are no writes [4]. */
static void
refuse(struct cache_log *l)
{
	struct list all = LIST_INIT(all);
	list_splice_back(&all, &l->queue);
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		r->done(r, -EIO);
	}
}

static void
kick_one(struct cache_log *l)
{
	struct cache *c = l->c;
	while (!l->busy && !l->opening && !c->epoch_ending && !list_empty(&l->queue)) {
		if (c->is_void) {
			refuse(l);
			return;
		}
		if (l->seg == LOC_NONE) {
			l->capped = all_capped(l);
			if (l->capped)
				return;
			cache_segment_open(l);
			/* Fills and copies don't wait for room: they would hold memory, and what is
			 * under them. */
			if ((l->blocked || l->stalled) && l->stream != CF_W)
				refuse(l);
			return;
		}
		struct room m;
		enum collected got = collect(l, &c->segs[l->seg], &m);
		if (got == NONE_MAY)
			return;
		if (got == NONE_FITS) {
			cache_log_close(l);
			continue;
		}
		build(l, &m);
		commit(l);
		if (MUTANT(ACK_EARLY) && l->stream == CF_W) {
			account(l);
			tell(l, 0);
		}
	}
}

void
cache_log_close(struct cache_log *l)
{
	uint32_t seg = l->seg;
	ASSERT(!l->busy && !l->opening);
	if (seg == LOC_NONE)
		return;
	l->seg = LOC_NONE;
	l->roomy = false;
	cache_segment_close(l->c, seg);
}

static bool
is_full(const struct cache *c)
{
	const struct cache_log *w = &c->logs[CF_W];
	return (w->blocked || w->capped) && !list_empty(&w->queue);
}

bool
cache_log_hurries(const struct cache *c)
{
	if (!is_full(c))
		return false;
	LIST_FOREACH (n, &c->logs[CF_W].queue)
		if (!cache_volume_stuck(container_of(n, struct cache_req, link)->vol))
			return true;
	return false;
}

void
cache_log_kick(struct cache *c)
{
	/* G first: it makes room; then W; F takes what is left [18]. */
	kick_one(&c->logs[CF_G]);
	kick_one(&c->logs[CF_W]);
	kick_one(&c->logs[CACHE_LOG_MAIN]);
	kick_one(&c->logs[CF_F]);
	const struct cache_log *w = &c->logs[CF_W];
	bool full = is_full(c);
	if (full || w->blocked || c->logs[CF_G].blocked)
		cache_space_kick(c);
	cache_set_condition(c, CACHE_COND_LOG_FULL, full, "writes wait for free segments");
}

void
cache_log_submit(struct cache *c, unsigned log, struct cache_req *r)
{
	struct cache_log *l = &c->logs[log];
	ASSERT(log < CACHE_LOG_COUNT);
	ASSERT(r->ents > 0 && r->blocks <= cache_log_req_max(c));
	if (r->since_ns == 0)
		r->since_ns = loop_now_ns(c->home);
	list_push_back(&l->queue, &r->link);
	/* Later in this turn: what arrives together is committed together. */
	if (!loop_defer_queued(&c->kick_defer))
		loop_defer(c->home, &c->kick_defer);
}

void
cache_log_expire(struct cache *c)
{
	struct cache_log *l = &c->logs[CF_W];
	uint64_t now = loop_now_ns(c->home), most = (uint64_t)c->tuning.write_wait_ms * 1000000;
	if (most > 0 && now > most) {
		LIST_FOREACH (n, &c->volumes)
			cache_volume_expire(container_of(n, struct cache_volume, link), now - most);
		cache_frames_expire(c, now - most);
	}
	/* While an epoch ends, whether a write that was sent lies on the SSD is unknown [4]. */
	if ((!l->blocked && !l->capped && !l->stalled) || most == 0 || c->epoch_ending)
		return;
	struct list all = LIST_INIT(all);
	LIST_FOREACH_SAFE (n, &l->queue) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		if (now - r->since_ns < most)
			break;
		list_remove(n);
		list_push_back(&all, n);
	}
	for (struct list *n; (n = list_pop_front(&all)) != NULL;) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		r->done(r, -EAGAIN); /* BUSY, in SCSI's words */
	}
}

bool
cache_log_idle(const struct cache *c)
{
	for (unsigned s = 0; s < CACHE_LOG_COUNT; s++) {
		const struct cache_log *l = &c->logs[s];
		if (l->busy || l->opening || !list_empty(&l->queue))
			return false;
	}
	return !c->epoch_ending && cache_pack_idle(c);
}
