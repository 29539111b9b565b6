/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compression: what goes to the F stream, which nobody waits for: fills, and clean data that is written again
 * for its hits. What is written by clients, and G, isn't packed: there somebody waits, or it has been clean
 * never [2].
 *
 *	request ─▶ one unit of up to 16 KiB in each turn of the loop, in place ─▶ the log ─▶ behind what isn't
 *	packed of its record, in sectors ─▶ its CRCs are those of the blocks as they are stored
 *
 * A unit that doesn't get smaller by an eighth stays as it is; a request of which no unit does isn't packed.
 * Of one tick so many units are tried at most, and where one after the other is refused only some: the loop
 * has other things to do.
 *
 * Each packed block has a place of its own, half a unit of the segment, with a bit that tells when it is dead:
 * so at most two of them lie in one block of the SSD. A read takes the unit's blocks, verifies them and unpacks
 * the unit; what doesn't unpack is damaged, as what has another CRC [3].
 *
 * Older programs don't know such records: a superblock that says so is durable before the first one is written.
 * A recovery that meets none takes that back.
 */
#include "cache/cache_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#ifdef CACHE_SIM
#define BUDGET_UNITS 8u
#define RAW_MAX 2u
#else
#define BUDGET_UNITS 64u /* of a tick of 20 ms: 50 MiB/s */
#define RAW_MAX 128u     /* reads at once */
#endif
#define REFUSED_MAX 16u /* then one in so many is tried */
#define HOLD_TICKS 50u
#define UNIT_BYTES (CF_PACK_UNIT_BLOCKS * CF_BLOCK_BYTES)
#define RAW_BYTES (UNIT_BYTES + CF_BLOCK_BYTES) /* a unit needn't begin where a block does */
#define MAP_MIN 256u

/* Where a unit lies, in the segment's data area. */
struct pack_map {
	uint16_t half;
	uint8_t blocks, sectors;
	uint32_t sector;
};

_Static_assert(2 * CF_DATA_BLOCKS_MAX <= UINT16_MAX, "halves are 16 bits");
_Static_assert(PACK_SECTOR_BYTES *CF_SECTORS == CF_BLOCK_BYTES, "sectors");

static void run(struct loop_defer *d);

int
cache_pack_init(struct cache *c)
{
	uint64_t halves = 2ull * c->geo.segment_count * c->geo.segment_blocks;
	c->loc_packed = halves < LOC_PACKED ? LOC_PACKED : 0;
	c->pack.unit = cache_pages_alloc(UNIT_BYTES);
	c->pack.budget = BUDGET_UNITS;
	c->pack.raw_free = RAW_MAX;
	if (c->pack.unit == NULL ||
	    bufpool_create(RAW_MAX * bufpool_cost_bytes(RAW_BYTES), &c->pack.bufs) < 0)
		return -ENOMEM;
	return pack_ctx_create(true, &c->pack.ctx);
}

void
cache_pack_begin(struct cache *c)
{
	list_init(&c->pack.queue);
	loop_defer_init(&c->pack.defer, run);
}

void
cache_pack_fini(struct cache *c)
{
	loop_defer_cancel(&c->pack.defer);
	for (uint32_t i = 0; c->segs != NULL && i < c->geo.segment_count; i++)
		free(c->segs[i].map);
	for (unsigned i = 0; i < CACHE_LOG_COUNT; i++)
		free(c->logs[i].packed);
	free(c->pack.unit);
	bufpool_destroy(c->pack.bufs);
	pack_ctx_destroy(c->pack.ctx);
}

bool
cache_pack_idle(const struct cache *c)
{
	return list_empty(&c->pack.queue) && !c->pack.writing;
}

/* ---- the feature ------------------------------------------------------------------------------ */

static void
feature_written(void *ctx, int result)
{
	struct cache *c = ctx;
	c->pack.writing = false;
	c->pack.on = result == 0;
	c->pack.hold = HOLD_TICKS;
	c->stats.ssd_errors += result < 0;
	cache_epoch_check(c);
}

void
cache_pack_tick(struct cache *c)
{
	c->pack.budget = BUDGET_UNITS;
	c->pack.hold -= c->pack.hold > 0;
	bool busy = c->is_void || c->stopping || c->epoch_ending || c->epoch_writing ||
	            c->epoch_owed || c->sb.done != NULL || c->pack.hold > 0;
	if (!c->pack.want || c->pack.on || busy || c->loc_packed == 0)
		return;
	c->pack.writing = true;
	c->super.incompat |= CF_INCOMPAT_PACKED;
	cache_super_write(c, feature_written, c);
}

/* ---- packing ------------------------------------------------------------------------------------ */

static bool
worth_it(const struct cache *c, unsigned log, const struct cache_req *r)
{
	const struct cache_ent *e = &r->ent[0];
	const struct cache_log *l = &c->logs[log];
	if (!r->vol->fill.compress || !c->pack.on || r->ents != 1 || e->sg == NULL ||
	    e->mask != 0xff || e->count > CACHE_PACK_REQ_BLOCKS || c->is_void)
		return false;
	/* A single block alone in its record takes a block all the same. */
	return e->count > 1 || l->busy || !list_empty(&l->queue) || !list_empty(&c->pack.queue);
}

void
cache_pack_submit(
    struct cache *c, unsigned log, struct cache_req *r, char *mem, struct cache_packing *k)
{
	ASSERT(c->logs[log].stream == CF_F);
	if (!worth_it(c, log, r)) {
		cache_log_submit(c, log, r);
		return;
	}
	*k = (struct cache_packing){.req = r, .mem = mem, .log = log};
	list_push_back(&c->pack.queue, &k->link);
	if (!loop_defer_queued(&c->pack.defer))
		loop_next_turn(c->home, &c->pack.defer);
}

/* Sectors; 0: it stays as it is. */
static uint32_t
try_unit(struct cache *c, struct cache_volume *v, const char *src, uint32_t bytes)
{
	if (c->pack.budget == 0 ||
	    (v->pack_refused >= REFUSED_MAX && v->pack_refused++ % REFUSED_MAX != 0)) {
		c->stats.pack_skipped_bytes += bytes;
		return 0;
	}
	c->pack.budget--;
	uint32_t n = pack_unit(c->pack.ctx, src, bytes, c->pack.unit);
	v->pack_refused = n > 0 ? 0 : v->pack_refused + (v->pack_refused < REFUSED_MAX);
	if (n == 0)
		c->stats.pack_refused_bytes += bytes;
	return n;
}

static void
step(struct cache *c, struct cache_packing *k)
{
	const struct cache_ent *e = &k->req->ent[0];
	uint64_t left = e->count - k->done;
	uint32_t blocks = left < CF_PACK_UNIT_BLOCKS ? (uint32_t)left : CF_PACK_UNIT_BLOCKS;
	uint32_t bytes = blocks * CF_BLOCK_BYTES;
	char *src = k->mem + (size_t)k->done * CF_BLOCK_BYTES, *to = k->mem + k->out;
	uint32_t sectors = try_unit(c, k->req->vol, src, bytes);
	if (sectors > 0) {
		memcpy(to, c->pack.unit, (size_t)sectors * PACK_SECTOR_BYTES);
		k->any = true;
	} else {
		sectors = blocks * CF_SECTORS;
		if (to != src)
			memmove(to, src, bytes);
	}
	k->units[k->done / CF_PACK_UNIT_BLOCKS] = (uint8_t)sectors;
	k->done += blocks;
	k->out += sectors * PACK_SECTOR_BYTES;
}

/* Its entry becomes several, each with its units. */
static void
cut(struct cache_packing *k)
{
	struct cache_req *r = k->req;
	const struct cache_ent all = r->ent[0];
	uint64_t at = 0, sg_at = all.sg_at;
	r->packed = (uint32_t)all.count;
	r->sectors = k->out / PACK_SECTOR_BYTES;
	r->blocks = 0;
	for (r->ents = 0; at < all.count; r->ents++) {
		struct cache_ent *e = &r->ent[r->ents];
		uint64_t n = all.count - at;
		*e = all;
		e->flags = CF_DESC_PACKED;
		e->block = all.block + at;
		e->count = n < CACHE_PACK_DESC_BLOCKS ? n : CACHE_PACK_DESC_BLOCKS;
		e->sg_at = sg_at;
		memcpy(e->units, k->units + (size_t)r->ents * CF_PACK_UNITS, sizeof e->units);
		for (unsigned i = 0; i < CF_PACK_UNITS; i++)
			sg_at += (uint64_t)e->units[i] * PACK_SECTOR_BYTES;
		at += e->count;
	}
}

static void
run(struct loop_defer *d)
{
	struct cache *c = container_of(d, struct cache, pack.defer);
	struct cache_packing *k = container_of(c->pack.queue.next, struct cache_packing, link);
	uint64_t count = k->req->ent[0].count;
	do
		step(c, k);
	while (k->done < count && c->pack.budget == 0);
	if (k->done == count) {
		list_remove(&k->link);
		if (k->any)
			cut(k);
		cache_log_submit(c, k->log, k->req);
	}
	if (!list_empty(&c->pack.queue))
		loop_next_turn(c->home, d);
}

/* ---- the record ----------------------------------------------------------------------------------- */

static void
place(struct cache_log *l, struct cache_ent *e, uint32_t volume, uint32_t half, uint32_t sector)
{
	l->descs[l->rec.desc_count] = (struct cache_desc){
	    .volume = volume,
	    .flags = e->flags,
	    .mask = e->mask,
	    .block = e->block,
	    .count = e->count,
	    .ver = e->ver,
	    .place = half,
	    .sector = sector,
	};
	memcpy(l->descs[l->rec.desc_count].units, e->units, sizeof e->units);
	e->loc = loc_of_desc(l->c, l->seg, &l->descs[l->rec.desc_count]);
	l->rec.desc_count++;
}

uint32_t
cache_pack_place(struct cache_log *l, uint32_t data)
{
	struct cache *c = l->c;
	uint32_t blocks = 0, sectors = 0, first = data - l->rec.unit - l->rec.header_blocks;
	LIST_FOREACH (n, &l->inflight) {
		struct cache_req *r = container_of(n, struct cache_req, link);
		for (uint32_t i = 0; r->packed > 0 && i < r->ents; i++) {
			struct cache_ent *e = &r->ent[i];
			uint32_t own = 0;
			for (unsigned k = 0; k < CF_PACK_UNITS; k++)
				own += e->units[k];
			blk_sg_copy_out(e->sg, e->sg_at,
			    l->packed + (size_t)sectors * PACK_SECTOR_BYTES,
			    (uint64_t)own * PACK_SECTOR_BYTES);
			place(l, e, r->vol->row.id, 2 * data + blocks, data * CF_SECTORS + sectors);
			blocks += (uint32_t)e->count;
			sectors += own;
		}
	}
	uint32_t payload = cache_pack_payload(blocks, sectors);
	if (payload == 0)
		return 0;
	size_t used = (size_t)sectors * PACK_SECTOR_BYTES, all = (size_t)payload * CF_BLOCK_BYTES;
	memset(l->packed + used, 0, all - used);
	for (uint32_t i = 0; i < payload; i++)
		l->crcs[first + i] = crc32c(l->packed + (size_t)i * CF_BLOCK_BYTES, CF_BLOCK_BYTES);
	ASSERT(l->iovcnt < CACHE_RECORD_IOVS);
	l->iov[l->iovcnt++] = (struct iovec){l->packed, all};
	c->stats.pack_in_bytes += (uint64_t)blocks << CF_BLOCK_SHIFT;
	c->stats.pack_out_bytes += all;
	return payload;
}

void
cache_pack_forget(struct cache *c, struct segment *s)
{
	c->pack.bytes -= s->map_cap * sizeof *s->map;
	free(s->map);
	s->map = NULL;
	s->map_count = s->map_cap = 0;
}

void
cache_pack_learn(struct cache *c, struct segment *s, const struct cache_desc *d)
{
	struct cache_pack_unit u;
	c->pack.found = true;
	for (unsigned i = 0; cache_desc_unit(d, i, &u); i++) {
		if (s->map_count == s->map_cap) {
			/* Each takes a half at least, so that it ends. */
			uint32_t cap = s->map_cap > 0 ? s->map_cap * 2 : MAP_MIN;
			struct pack_map *more = realloc(s->map, cap * sizeof *more);
			ASSERT(
			    more != NULL); /* as for the index: what was promised is in the log */
			c->pack.bytes += (cap - s->map_cap) * sizeof *more;
			s->map = more;
			s->map_cap = cap;
		}
		s->map[s->map_count++] = (struct pack_map){
		    .half = (uint16_t)u.half,
		    .blocks = (uint8_t)u.blocks,
		    .sectors = (uint8_t)u.sectors,
		    .sector = u.sector,
		};
	}
}

/* ---- reading ---------------------------------------------------------------------------------------- */

struct cache_pack_at
cache_pack_find(struct cache *c, struct cache_piece *p)
{
	const struct segment *s = seg_of(c, p->loc);
	uint32_t half = (p->loc & ~LOC_PACKED) % (2 * c->geo.segment_blocks);
	uint32_t lo = 0, hi = s->map_count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (s->map[mid].half <= half)
			lo = mid + 1;
		else
			hi = mid;
	}
	ASSERT(lo > 0);
	const struct pack_map *m = &s->map[lo - 1];
	uint32_t skip = half - m->half;
	ASSERT(skip < m->blocks);
	if (p->count > m->blocks - skip)
		p->count = m->blocks - skip;
	uint32_t first = m->sector / CF_SECTORS;
	return (struct cache_pack_at){
	    .block = first,
	    .count = (m->sector + m->sectors + CF_SECTORS - 1) / CF_SECTORS - first,
	    .skip = m->sector % CF_SECTORS * PACK_SECTOR_BYTES,
	    .bytes = m->sectors * PACK_SECTOR_BYTES,
	    .unit_bytes = m->blocks * CF_BLOCK_BYTES,
	    .first = skip * CF_BLOCK_BYTES,
	};
}

char *
cache_pack_raw_get(struct cache *c)
{
	if (c->pack.raw_free == 0)
		return NULL;
	char *raw = bufpool_get(c->pack.bufs, RAW_BYTES);
	ASSERT(raw != NULL);
	c->pack.raw_free--;
	return raw;
}

void
cache_pack_raw_put(struct cache *c, char *raw)
{
	bufpool_put(c->pack.bufs, raw, RAW_BYTES);
	c->pack.raw_free++;
	cache_frames_free(c);
}

void
cache_pack_read(struct cache_io *x, uint32_t loc, const struct cache_pack_at *at, char *raw)
{
	struct cache *c = x->c;
	cache_io_buf(x, raw, (uint64_t)at->count << CF_BLOCK_SHIFT);
	cache_ssd_read(x, cache_data_block(&c->geo, seg_index(c, loc), at->block), at->count);
}

const char *
cache_pack_open(struct cache *c, uint32_t loc, const struct cache_pack_at *at, const char *raw)
{
	const uint32_t *crc = seg_of(c, loc)->crc + at->block;
	for (uint32_t i = 0; i < at->count; i++)
		if (crc32c(raw + (size_t)i * CF_BLOCK_BYTES, CF_BLOCK_BYTES) != crc[i] &&
		    !MUTANT(READ_NO_CRC) && !MUTANT(FILL_NO_FLUSH) && !MUTANT(PACK_NO_CRC))
			return NULL;
	if (at->bytes == at->unit_bytes)
		return raw + at->skip + at->first;
	if (unpack_unit(c->pack.ctx, raw + at->skip, at->bytes, c->pack.unit, at->unit_bytes) < 0)
		return NULL;
	return c->pack.unit + at->first;
}
