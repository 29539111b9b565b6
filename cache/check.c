/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An offline look at a cache: superblocks ─▶ volume tables ─▶ checkpoint headers ─▶ slots ─▶ each segment with
 * its header, footer or records, and payload ─▶ the chains of records.
 */
#include "cache/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "cache/codec.h"
#include "cache/pack_unit.h"

#define B ((size_t)CF_BLOCK_BYTES)
#define SLOTS_AT_ONCE 256u
#define PAYLOAD_AT_ONCE 256u /* as much as a record has */

_Static_assert(PAYLOAD_AT_ONCE >= CACHE_RECORD_BLOCKS_MAX, "records are read whole");

/* Where a record stands in its chain. */
struct link {
	uint64_t seq, durable_seq;
	uint32_t crc, prev_crc, seg;
	uint8_t stream;
};

struct seen_slot {
	bool ok, in_use;
	uint32_t used;
	uint64_t checkpoint, generation;
};

struct check {
	const struct cache_check_args *args;
	struct cache_check_result *r;
	struct cache_super super;
	struct cache_geometry geo;
	struct cache_volrow *rows;
	uint32_t row_count, next_id;
	bool have_table, have_head;
	struct cache_ckhead head;
	uint32_t covered;             /* segments that the checkpoint header covers */
	struct seen_slot (*slots)[2]; /* of each segment */
	struct link *links;           /* of the running epoch */
	size_t link_count, link_cap;
	void *slot_block; /* of the segment under way: the slot in force */
	void *header;     /* of a segment, or a record */
	char *payload;
	struct pack_ctx *unpacker;
	char *unpacked;
	void *footer;
	uint64_t looked_at, total;
	bool no_memory;
};

/* The segment under way. */
struct seg {
	uint32_t number;
	struct cache_seghead head;
	bool has_bits;
	struct cache_slot bits;
	uint32_t used; /* acknowledged records reach at least so far */
};

/* ---- telling ------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void
problem(struct check *k, bool is_loss, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (is_loss)
		k->r->losses++;
	else
		k->r->remarks++;
	if (k->args->problem != NULL && k->r->losses + k->r->remarks <= CACHE_CHECK_TOLD_MAX)
		k->args->problem(k->args->ctx, is_loss, text);
}

__attribute__((format(printf, 4, 5))) static void
line(struct check *k, uint64_t block, const char *structure, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (k->args->line == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	k->args->line(k->args->ctx, block, structure, text);
}

static int
get(struct check *k, uint64_t block, void *buf, uint32_t count)
{
	return k->args->read(k->args->ctx, block * B, buf, count * B);
}

static void
progress(struct check *k, uint64_t blocks)
{
	k->looked_at += blocks;
	if (k->args->progress != NULL)
		k->args->progress(
		    k->args->ctx, k->total > k->looked_at ? k->total - k->looked_at : 0, k->total);
}

/* ---- superblocks, tables ----------------------------------------------------------------------------- */

static int
supers(struct check *k)
{
	struct cache_super s;
	bool newer = false, have[2] = {false, false};
	char uuid[37];
	int rc = 0;

	for (unsigned i = 0; i < 2; i++) {
		int err = get(k, i, k->header, 1);
		if (err < 0) {
			rc = err;
			continue;
		}
		enum cf_verdict verdict = cache_super_decode(k->header, i, k->args->size_bytes, &s);
		newer = newer || verdict == CF_NEWER;
		have[i] = verdict == CF_OK;
		if (!have[i])
			continue;
		text_format_uuid(s.uuid, uuid);
		line(k, i, "superblock",
		    "uuid %s generation %llu epoch %llu segments %u of %u blocks%s", uuid,
		    (unsigned long long)s.generation, (unsigned long long)s.epoch,
		    s.geo.segment_count, s.geo.segment_blocks, s.is_void ? " void" : "");
		if ((!have[0] && i == 1) || i == 0 || s.generation > k->super.generation)
			k->super = s;
	}
	if (newer)
		return -EPROTONOSUPPORT;
	if (!have[0] && !have[1])
		return rc < 0 ? rc : -EMEDIUMTYPE;
	if (!have[0] || !have[1])
		problem(k, false, "superblock %c is damaged; the other one is used",
		    have[0] ? 'B' : 'A');
	k->geo = k->super.geo;
	return 0;
}

static const char *
mode_name(uint8_t mode)
{
	static const char *const names[] = {"nv", "writethrough", "volatile", "bypass"};
	return mode < 4 ? names[mode] : "?";
}

static void
table_lines(struct check *k, unsigned which, const struct cache_volrow *rows, uint32_t count)
{
	uint64_t block = k->geo.voltable_block + (uint64_t)which * k->geo.voltable_blocks;
	char uuid[37];

	for (uint32_t i = 0; i < count; i++) {
		text_format_uuid(rows[i].uuid, uuid);
		line(k, block, "volume",
		    "id %u lun %s uuid %s mode %s size %llu marker %llu/%llu%s store %s",
		    rows[i].id, rows[i].name, uuid, mode_name(rows[i].mode),
		    (unsigned long long)rows[i].size_bytes, (unsigned long long)rows[i].marker_gen,
		    (unsigned long long)rows[i].marker_next, rows[i].dirty ? " dirty" : "",
		    rows[i].store);
	}
}

static void
tables(struct check *k)
{
	uint32_t cap = cache_geometry_volumes_max(&k->geo);
	void *buf = malloc(k->geo.voltable_blocks * B);
	struct cache_volrow *rows = calloc(cap + 1u, sizeof *rows);
	uint64_t best = 0;
	bool ok[2] = {false, false};

	k->rows = calloc(cap + 1u, sizeof *k->rows);
	k->no_memory = k->no_memory || buf == NULL || rows == NULL || k->rows == NULL;
	for (unsigned i = 0; !k->no_memory && i < 2; i++) {
		uint64_t generation,
		    at = k->geo.voltable_block + (uint64_t)i * k->geo.voltable_blocks;
		uint32_t next_id, count;
		ok[i] = get(k, at, buf, k->geo.voltable_blocks) == 0 &&
		        cache_voltable_decode(
		            &k->geo, k->super.uuid, i, buf, &generation, &next_id, rows, &count);
		if (!ok[i])
			continue;
		line(k, at, "volume table", "generation %llu volumes %u next id %u",
		    (unsigned long long)generation, count, next_id);
		table_lines(k, i, rows, count);
		if (k->have_table && generation <= best)
			continue;
		best = generation;
		k->have_table = true;
		k->row_count = count;
		k->next_id = next_id;
		memcpy(k->rows, rows, count * sizeof *rows);
	}
	k->r->volumes = k->row_count;
	if (!k->have_table)
		problem(k, true, "both volume tables are damaged: whose data this is isn't known");
	else if (!ok[0] || !ok[1])
		problem(k, false, "volume table %c is damaged; the other one is used",
		    ok[0] ? 'B' : 'A');
	free(buf);
	free(rows);
}

static void
heads(struct check *k)
{
	static const char stream[] = "WFG";
	struct cache_ckhead h;
	bool ok[2];

	for (unsigned i = 0; i < 2; i++) {
		ok[i] = get(k, k->geo.checkpoint_block + i, k->header, 1) == 0 &&
		        cache_ckhead_decode(&k->geo, k->super.uuid, i, k->header, &h);
		if (!ok[i])
			continue;
		line(k, k->geo.checkpoint_block + i, "checkpoint",
		    "number %llu ver %llu segments %u", (unsigned long long)h.number,
		    (unsigned long long)h.ver, cache_ckhead_covers(&h, &k->geo));
		for (unsigned s = 0; s < CF_STREAM_COUNT; s++)
			line(k, k->geo.checkpoint_block + i, "position", "%c epoch %llu seq %llu",
			    stream[s], (unsigned long long)h.pos[s].epoch,
			    (unsigned long long)h.pos[s].seq);
		if (!k->have_head || h.number > k->head.number)
			k->head = h;
		k->have_head = true;
	}
	k->r->checkpoint = k->head.number;
	k->covered = cache_ckhead_covers(&k->head, &k->geo);
	if (k->have_head && k->covered > k->geo.segment_count)
		problem(k, true, "the superblocks tell of fewer segments than the checkpoint does");
	if (!k->have_head || k->covered > k->geo.segment_count)
		k->covered = k->geo.segment_count;
	if (!k->have_head)
		problem(k, true, "both checkpoint headers are damaged: what is dead isn't known");
	else if (!ok[0] || !ok[1])
		problem(k, false, "checkpoint header %c is damaged; a new cache has one only",
		    ok[0] ? 'B' : 'A');
}

/* ---- slots --------------------------------------------------------------------------------------- */

static int
in_force(const struct check *k, uint32_t seg)
{
	int best = -1;
	for (int i = 0; i < 2; i++) {
		const struct seen_slot *s = &k->slots[seg][i];
		if (s->ok && s->checkpoint <= k->head.number &&
		    (best < 0 || s->checkpoint > k->slots[seg][best].checkpoint))
			best = i;
	}
	return best;
}

static void
take_slot(struct check *k, uint32_t seg, unsigned which, const void *buf)
{
	struct cache_slot s;
	struct seen_slot *to = &k->slots[seg][which];

	if (!cache_slot_decode(&k->geo, k->super.uuid, seg, which, buf, &s))
		return;
	*to = (struct seen_slot){true, s.in_use, s.used, s.checkpoint, s.generation};
	line(k, cache_slot_block(&k->geo, seg, which), "slot",
	    "segment %u which %u checkpoint %llu generation %llu %s used %u", seg, which,
	    (unsigned long long)s.checkpoint, (unsigned long long)s.generation,
	    s.in_use ? "in use" : "free", s.used);
}

static void
slots(struct check *k)
{
	uint32_t count = k->geo.segment_count, crc = CRC32C_INIT;
	char *buf = malloc(SLOTS_AT_ONCE * B);

	k->slots = calloc(count, sizeof *k->slots);
	k->no_memory = k->no_memory || buf == NULL || k->slots == NULL;
	for (unsigned which = 0; !k->no_memory && which < 2; which++) {
		for (uint32_t seg = 0, n; seg < count; seg += n) {
			n = cache_slots_run(&k->geo, seg, count, SLOTS_AT_ONCE);
			if (get(k, cache_slot_block(&k->geo, seg, which), buf, n) < 0) {
				problem(k, true,
				    "liveness slots %u of segments %u to %u can't be read", which,
				    seg, seg + n - 1);
				continue;
			}
			for (uint32_t i = 0; i < n; i++)
				take_slot(k, seg + i, which, buf + i * B);
		}
	}
	free(buf);
	if (k->no_memory || !k->have_head)
		return;
	for (uint32_t seg = 0; seg < k->covered; seg++) {
		int s = in_force(k, seg);
		crc = cache_slots_crc(crc, s < 0 ? 0 : k->slots[seg][s].checkpoint);
	}
	if (crc32c_final(crc) != k->head.slots_crc)
		problem(k, true,
		    "a liveness slot that the checkpoint relies on is damaged: old data could come "
		    "back");
}

/* ---- records ------------------------------------------------------------------------------------- */

static bool
bit(const uint8_t *map, uint32_t i)
{
	return map[i / 8] >> (i % 8) & 1;
}

static bool
is_dead(const struct seg *s, uint32_t unit)
{
	return s->has_bits && bit(s->bits.dead, unit);
}

static bool
is_dead_in(const struct seg *s, const struct cache_desc *d, uint32_t i)
{
	return s->has_bits && cache_desc_dead(d, i, s->bits.dead, s->bits.clean);
}

static bool
is_dirty(const struct seg *s, uint32_t unit)
{
	return s->head.stream != CF_F && !is_dead(s, unit) &&
	       !(s->has_bits && bit(s->bits.clean, unit));
}

static const struct cache_volrow *
row_of(const struct check *k, uint32_t id)
{
	for (uint32_t i = 0; i < k->row_count; i++)
		if (k->rows[i].id == id)
			return &k->rows[i];
	return NULL;
}

static void
look_at_desc(struct check *k, const struct seg *s, const struct cache_desc *d, uint64_t block)
{
	const struct cache_volrow *row = row_of(k, d->volume);
	bool zero = d->flags & CF_DESC_ZERO, packed = d->flags & CF_DESC_PACKED;

	if (k->args->descriptors)
		line(k, block, "descriptor",
		    "volume %u block %llu count %llu ver %llu place %u%s%s", d->volume,
		    (unsigned long long)d->block, (unsigned long long)d->count,
		    (unsigned long long)d->ver, d->place,
		    zero     ? " zeros"
		    : packed ? " packed"
		             : "",
		    is_dead_in(s, d, 0)                ? " dead"
		    : !packed && is_dirty(s, d->place) ? " dirty"
		                                       : " clean");
	if (k->have_table && d->volume >= k->next_id)
		problem(k, true,
		    "segment %u has data of volume %u, which the volume table doesn't know: "
		    "the table is an old copy",
		    s->number, d->volume);
	if (row == NULL)
		return;
	uint64_t blocks = (row->size_bytes + B - 1) / B;
	if (d->block >= blocks || d->count > blocks - d->block)
		problem(k, true,
		    "segment %u has data beyond the end of LUN %s: the volume table is an old "
		    "copy",
		    s->number, row->name);
	for (uint64_t i = 0; i < (zero ? 1 : d->count); i++) {
		k->r->live_blocks += !is_dead_in(s, d, (uint32_t)i);
		k->r->dirty_blocks += !packed && is_dirty(s, d->place + (uint32_t)i);
		k->r->packed_blocks += packed && !is_dead_in(s, d, (uint32_t)i);
	}
}

/* A block of the SSD's, in k->payload from the record's first. */
static bool
is_whole(const struct check *k, const struct cache_record *r, uint32_t i)
{
	return crc32c(k->payload + i * B, B) == le32_get(r->crcs[i]);
}

static bool
unpacks(struct check *k, const struct cache_record *r, const struct cache_pack_unit *u)
{
	uint32_t from = u->sector - (r->unit + r->header_blocks) * CF_SECTORS;
	for (uint32_t i = from / CF_SECTORS; i * CF_SECTORS < from + u->sectors; i++)
		if (!is_whole(k, r, i))
			return false;
	return u->sectors == u->blocks * CF_SECTORS ||
	       unpack_unit(k->unpacker, k->payload + (size_t)from * PACK_SECTOR_BYTES,
	           u->sectors * PACK_SECTOR_BYTES, k->unpacked, u->blocks * CF_BLOCK_BYTES) == 0;
}

/* Packed blocks that are damaged, of those that aren't dead; the record's payload was read. */
static uint32_t
bad_packed(struct check *k, const struct seg *s, const struct cache_record *r, bool readable)
{
	struct cache_pack_unit u;
	struct cache_desc d;
	uint32_t bad = 0;

	for (uint32_t i = 0; i < r->desc_count; i++) {
		cache_desc_get(&r->descs[i], &d);
		if (!(d.flags & CF_DESC_PACKED))
			continue;
		for (unsigned n = 0; cache_desc_unit(&d, n, &u); n++) {
			bool good = readable && unpacks(k, r, &u);
			for (uint32_t b = 0; !good && b < u.blocks; b++)
				bad += !is_dead_in(s, &d, u.half - d.place + b);
		}
	}
	return bad;
}

/* The first block of a record's payload that holds packed data. */
static uint32_t
packed_from(const struct cache_record *r)
{
	struct cache_desc d;

	for (uint32_t i = 0; i < r->desc_count; i++) {
		cache_desc_get(&r->descs[i], &d);
		if (d.flags & CF_DESC_PACKED)
			return d.sector / CF_SECTORS - (r->unit + r->header_blocks);
	}
	return r->payload_blocks;
}

/* False: the data isn't what it was. Dead blocks are nobody's any more. */
static bool
look_at_payload(struct check *k, const struct seg *s, const struct cache_record *r, bool told)
{
	uint32_t unit = r->unit + r->header_blocks, bad_dirty = 0, n = r->payload_blocks;
	bool readable =
	    n == 0 || get(k, cache_data_block(&k->geo, s->number, unit), k->payload, n) == 0;
	uint32_t raw = packed_from(r), bad = bad_packed(k, s, r, readable);

	for (uint32_t i = 0; i < raw; i++) {
		if (is_dead(s, unit + i) || (readable && is_whole(k, r, i)))
			continue;
		bad++;
		bad_dirty += is_dirty(s, unit + i);
	}
	k->r->read_blocks += r->payload_blocks;
	if (!told)
		return bad == 0;
	k->r->bad_blocks += bad;
	k->r->bad_dirty_blocks += bad_dirty;
	if (bad > 0)
		problem(k, bad_dirty > 0,
		    "segment %u, record %llu: %u block%s damaged, of which %u may be "
		    "the only copy",
		    s->number, (unsigned long long)r->seq, bad, bad == 1 ? " is" : "s are",
		    bad_dirty);
	return bad == 0;
}

static void
add_link(struct check *k, const struct seg *s, const struct cache_record *r)
{
	if (r->epoch != k->super.epoch || s->head.stream == CF_F)
		return;
	if (k->link_count == k->link_cap) {
		size_t cap = k->link_cap > 0 ? 2 * k->link_cap : 1024;
		struct link *more = realloc(k->links, cap * sizeof *more);
		if (more == NULL) {
			k->no_memory = true;
			return;
		}
		k->links = more;
		k->link_cap = cap;
	}
	k->links[k->link_count++] = (struct link){
	    r->seq, r->durable_seq, r->crc, r->prev_crc, s->number, (uint8_t)s->head.stream};
}

static void
look_at_record(struct check *k, const struct seg *s, const struct cache_record *r)
{
	uint64_t block = cache_data_block(&k->geo, s->number, r->unit);
	struct cache_desc d;

	line(k, block, "record",
	    "segment %u unit %u epoch %llu seq %llu durable %llu descriptors %u "
	    "blocks %u",
	    s->number, r->unit, (unsigned long long)r->epoch, (unsigned long long)r->seq,
	    (unsigned long long)r->durable_seq, r->desc_count, r->payload_blocks);
	k->r->records++;
	k->r->payload_blocks += r->payload_blocks;
	for (uint32_t i = 0; i < r->desc_count; i++) {
		cache_desc_get(&r->descs[i], &d);
		look_at_desc(k, s, &d, block);
	}
	add_link(k, s, r);
}

/* ---- segments ------------------------------------------------------------------------------------ */

/* True if it has a whole footer of its present use. */
static bool
look_at_footer(struct check *k, const struct seg *s)
{
	uint64_t block = cache_footer_block(&k->geo, s->number);
	struct cache_record r;
	struct cache_footer f;
	uint32_t at = 0;

	if (get(k, block, k->footer, k->geo.footer_blocks) < 0 ||
	    !cache_footer_decode(
	        &k->geo, k->super.uuid, s->number, k->footer, k->geo.footer_blocks * B, &f) ||
	    f.generation != s->head.generation || f.stream != s->head.stream)
		return false;
	line(k, block, "footer", "segment %u generation %llu records %u used %u", s->number,
	    (unsigned long long)f.generation, f.record_count, f.used_blocks);
	while (cache_footer_next(&k->geo, s->number, k->footer, &f, &at, &r)) {
		look_at_record(k, s, &r);
		if (k->args->payload)
			(void)look_at_payload(k, s, &r, true);
	}
	return true;
}

/* A header at this place, whole and of the segment's present use. */
static bool
record_at(struct check *k, const struct seg *s, uint32_t unit, struct cache_record *ret)
{
	uint32_t n = k->geo.data_blocks - unit;
	n = n < CACHE_RECORD_HEADER_BLOCKS_MAX ? n : CACHE_RECORD_HEADER_BLOCKS_MAX;
	return get(k, cache_data_block(&k->geo, s->number, unit), k->header, n) == 0 &&
	       cache_record_decode(
	           &k->geo, k->super.uuid, s->number, unit, k->header, n * B, ret) &&
	       ret->generation == s->head.generation && ret->stream == s->head.stream;
}

/* After the first gap only what later records say of earlier ones is of interest. */
static void
look_beyond(struct check *k, const struct seg *s, uint32_t unit)
{
	struct cache_record r;

	for (uint32_t at = unit; at < k->geo.data_blocks; at += PAYLOAD_AT_ONCE) {
		uint32_t n = k->geo.data_blocks - at;
		n = n < PAYLOAD_AT_ONCE ? n : PAYLOAD_AT_ONCE;
		if (get(k, cache_data_block(&k->geo, s->number, at), k->payload, n) < 0)
			continue;
		for (uint32_t i = 0; i < n; i++)
			if (le32_get(((const struct cf_head *)(k->payload + i * B))->magic) ==
			        CF_MAGIC &&
			    record_at(k, s, at + i, &r))
				add_link(k, s, &r);
	}
}

/* Record by record from its beginning. */
static void
look_at_records(struct check *k, const struct seg *s)
{
	uint32_t unit = 0;

	while (unit < k->geo.data_blocks) {
		struct cache_record r;
		if (!record_at(k, s, unit, &r))
			break;
		/* What was under way when it ended may be torn: nobody was told that it was written. */
		uint32_t end = unit + r.header_blocks + r.payload_blocks;
		bool acknowledged = end <= s->used;
		if (k->args->payload && !look_at_payload(k, s, &r, acknowledged) && !acknowledged)
			break;
		look_at_record(k, s, &r);
		unit = end;
	}
	look_beyond(k, s, unit);
	if (unit < s->used)
		problem(k, true, "segment %u: acknowledged records from unit %u on are gone",
		    s->number, unit);
}

/* What of it may count: as replay.c says it. */
static void
look_at_used(struct check *k, const struct seg *s)
{
	if (look_at_footer(k, s)) {
		k->r->sealed++;
	} else if (s->head.stream == CF_F) {
		k->r->empty++;
	} else {
		k->r->open++;
		if (s->head.epoch != k->super.epoch)
			line(k, cache_segment_block(&k->geo, s->number), "remark",
			    "segment %u was left open by an earlier epoch", s->number);
		look_at_records(k, s);
	}
}

static void
look_at_segment(struct check *k, uint32_t number)
{
	static const char stream[] = "WFG";
	struct seg s = {.number = number};
	int slot = in_force(k, number);
	const struct seen_slot *f = slot >= 0 ? &k->slots[number][slot] : NULL;
	uint64_t block = cache_segment_block(&k->geo, number);
	int rc = get(k, block, k->header, 1);
	bool head =
	    rc == 0 && cache_seghead_decode(&k->geo, k->super.uuid, number, k->header, &s.head);

	if (f == NULL) {
		k->r->lost++;
		problem(k, true, "segment %u: both liveness slots are damaged", number);
		return;
	}
	if (!head) {
		bool lost = rc < 0 || f->in_use;
		k->r->lost += lost;
		k->r->free += !lost;
		if (lost)
			problem(k, true, "segment %u: its header %s", number,
			    rc < 0 ? "can't be read" : "is damaged");
		return;
	}
	line(k, block, "segment", "%u generation %llu stream %c epoch %llu first seq %llu", number,
	    (unsigned long long)s.head.generation, stream[s.head.stream],
	    (unsigned long long)s.head.epoch, (unsigned long long)s.head.first_seq);
	if (s.head.generation < f->generation && f->in_use)
		problem(k, true, "segment %u: its header is older than what the checkpoint knows",
		    number);
	if (s.head.generation > f->generation && f->in_use) {
		k->r->lost++;
		problem(k, true,
		    "segment %u was used again though no checkpoint says that it was free", number);
		return;
	}
	if (s.head.generation < f->generation ||
	    (s.head.generation == f->generation && !f->in_use)) {
		k->r->free++;
		return;
	}
	s.has_bits =
	    s.head.generation == f->generation &&
	    get(k, cache_slot_block(&k->geo, number, (unsigned)slot), k->slot_block, 1) == 0 &&
	    cache_slot_decode(
	        &k->geo, k->super.uuid, number, (unsigned)slot, k->slot_block, &s.bits);
	s.used = s.has_bits ? f->used : 0;
	look_at_used(k, &s);
}

/* ---- chains -------------------------------------------------------------------------------------- */

static int
by_seq(const void *a, const void *b)
{
	const struct link *x = a, *y = b;
	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Above the checkpoint's position each record follows the one before; what was acknowledged is there. */
static void
look_at_chain(struct check *k, unsigned stream)
{
	const struct cache_position *pos = &k->head.pos[stream], *at = &k->super.end[stream];
	if (pos->epoch == k->super.epoch && pos->seq > at->seq)
		at = pos;
	uint64_t last = at->seq, durable = 0;
	uint32_t crc = at->crc;
	bool broken = false;

	for (size_t i = 0; i < k->link_count; i++) {
		const struct link *l = &k->links[i];
		if (l->stream != stream)
			continue;
		durable = l->durable_seq > durable ? l->durable_seq : durable;
		if (broken || l->seq <= last)
			continue;
		bool follows = l->seq == last + 1 && (l->prev_crc == crc || last == 0);
		broken = !follows;
		if (follows) {
			last = l->seq;
			crc = l->crc;
		}
	}
	if (durable > last)
		problem(k, true,
		    "stream %c: records %llu to %llu were durable once and are gone: the SSD "
		    "lost what it had called durable",
		    "WFG"[stream], (unsigned long long)last + 1, (unsigned long long)durable);
	else if (broken)
		problem(k, false,
		    "stream %c ends at record %llu; what lies beyond wasn't acknowledged",
		    "WFG"[stream], (unsigned long long)last);
}

/* ---- the whole ----------------------------------------------------------------------------------- */

static int
alloc(struct check *k)
{
	k->header = malloc(CACHE_RECORD_HEADER_BLOCKS_MAX * B);
	k->payload = malloc(PAYLOAD_AT_ONCE * B);
	k->slot_block = malloc(B);
	k->unpacked = malloc(CF_PACK_UNIT_BLOCKS * B);
	if (k->header == NULL || k->payload == NULL || k->slot_block == NULL || k->unpacked == NULL)
		return -ENOMEM;
	return pack_ctx_create(false, &k->unpacker);
}

static void
fini(struct check *k)
{
	free(k->header);
	free(k->payload);
	free(k->slot_block);
	free(k->unpacked);
	pack_ctx_destroy(k->unpacker);
	free(k->footer);
	free(k->slots);
	free(k->rows);
	free(k->links);
}

static void
look(struct check *k)
{
	tables(k);
	heads(k);
	slots(k);
	if (k->no_memory)
		return;
	k->total = (uint64_t)k->geo.segment_count * k->geo.segment_blocks;
	for (uint32_t i = 0; i < k->covered && !k->no_memory; i++) {
		look_at_segment(k, i);
		progress(k, k->geo.segment_blocks);
	}
	if (k->link_count > 0)
		qsort(k->links, k->link_count, sizeof *k->links, by_seq);
	look_at_chain(k, CF_W);
	look_at_chain(k, CF_G);
	k->r->in_order = k->r->open == 0;
}

int
cache_check(const struct cache_check_args *args, struct cache_check_result *ret)
{
	struct check k = {.args = args, .r = ret};

	*ret = (struct cache_check_result){0};
	int rc = alloc(&k);
	if (rc == 0)
		rc = supers(&k);
	if (rc == 0) {
		memcpy(ret->uuid, k.super.uuid, sizeof ret->uuid);
		ret->size_bytes = k.geo.size_blocks * B;
		ret->generation = k.super.generation;
		ret->epoch = k.super.epoch;
		ret->is_void = k.super.is_void;
		ret->segments = k.geo.segment_count;
		k.footer = malloc(k.geo.footer_blocks * B);
		k.no_memory = k.footer == NULL;
		look(&k);
		rc = k.no_memory ? -ENOMEM : 0;
	}
	if (rc == 0 && ret->is_void)
		problem(
		    &k, false, "the cache takes no writes any more: writes to it failed for good");
	fini(&k);
	return rc;
}
