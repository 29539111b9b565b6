/* SPDX-License-Identifier: BSD-2-Clause */
/* From and to the bytes on the SSD: see format.h and docs/format/cache.md. */
#include "cache/codec.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "cache/cache.h"

#define SEGMENT_BLOCKS_DEFAULT 16384u /* 64 MiB */
#define SEGMENT_BLOCKS_MIN 16u
#define SEGMENTS_WANTED 32u  /* a small device gets smaller segments, down to 1 MiB, for so many */
#define FOOTER_SHARE 50u     /* a footer takes one in so many blocks, at least one */
#define AREA_SPARE_SHARE 64u /* of an area's blocks one in so many, at most, is a slot 0 */
#define FOOTER_BLOCKS_MAX 1024u     /* it is read and written in one piece */
#define BLOCKS_MAX (1ull << 44)     /* of a device: 64 PiB */
#define VOL_BLOCKS_MAX (1ull << 40) /* of a volume: 4 PiB; bounds the index's memory */
/* Of numbers that grow by one: a hostile one leaves room for all that will ever be added. */
#define NUMBER_MAX (UINT64_MAX / 2)
#define ROWS_PER_BLOCK (CF_BLOCK_BYTES / sizeof(struct cf_volume))

/* ---- heads ------------------------------------------------------------------------------- */

bool
cf_all_zero(const void *p, size_t len)
{
	const uint8_t *b = p;
	return len == 0 || (b[0] == 0 && memcmp(b, b + 1, len - 1) == 0);
}

static uint32_t
head_crc(const void *buf, uint32_t bytes)
{
	static const uint8_t zero[4];
	const uint8_t *p = buf;
	size_t at = offsetof(struct cf_head, crc);
	uint32_t crc = crc32c_update(CRC32C_INIT, p, at);
	crc = crc32c_update(crc, zero, sizeof zero);
	crc = crc32c_update(crc, p + at + sizeof zero, bytes - at - sizeof zero);
	return crc32c_final(crc);
}

uint32_t
cf_seal(void *buf, enum cf_type type, uint32_t bytes, const uint8_t uuid[16], uint64_t place,
    uint64_t generation)
{
	struct cf_head *h = buf;
	ASSERT(bytes >= sizeof *h);
	le32_put(&h->magic, CF_MAGIC);
	le16_put(&h->type, (uint16_t)type);
	le16_put(&h->version, CF_VERSION);
	le32_put(&h->bytes, bytes);
	memcpy(h->uuid, uuid, sizeof h->uuid);
	le64_put(&h->place, place);
	le64_put(&h->generation, generation);
	uint32_t crc = head_crc(buf, bytes);
	le32_put(&h->crc, crc);
	return crc;
}

bool
cf_check(const void *buf, size_t cap, enum cf_type type, const uint8_t *uuid, uint64_t place)
{
	const struct cf_head *h = buf;
	if (cap < sizeof *h)
		return false;
	uint32_t bytes = le32_get(h->bytes);
	return le32_get(h->magic) == CF_MAGIC && le16_get(h->type) == type &&
	       le16_get(h->version) == CF_VERSION && bytes >= sizeof *h && bytes <= cap &&
	       le64_get(h->place) == place &&
	       (uuid == NULL || memcmp(h->uuid, uuid, sizeof h->uuid) == 0) &&
	       head_crc(buf, bytes) == le32_get(h->crc);
}

static void
position_put(struct cf_position *to, const struct cache_position *from)
{
	le64_put(&to->epoch, from->epoch);
	le64_put(&to->seq, from->seq);
	le32_put(&to->crc, from->crc);
}

static bool
position_good(const struct cache_position *p)
{
	return p->epoch <= NUMBER_MAX && p->seq <= NUMBER_MAX;
}

static struct cache_position
position_get(const struct cf_position *p)
{
	return (struct cache_position){le64_get(p->epoch), le64_get(p->seq), le32_get(p->crc)};
}

/* ---- geometry ---------------------------------------------------------------------------- */

/* Places, from sizes and counts. */
static void
geometry_places(struct cache_geometry *g)
{
	struct cache_area *a = &g->area[0];
	g->data_blocks = g->segment_blocks - 1 - g->footer_blocks;
	g->voltable_block = 2;
	g->liveness_block = g->voltable_block + 2ull * g->voltable_blocks;
	g->checkpoint_block = g->liveness_block + 2ull * a->slots;
	g->segment0_block = g->checkpoint_block + 2;
	a->first = 0;
	a->liveness_block = g->liveness_block;
	a->segment0_block = g->segment0_block;
	for (uint32_t k = 1; k < g->area_count; k++) {
		const struct cache_area *b = &g->area[k - 1];
		a = &g->area[k];
		a->first = b->first + b->slots;
		a->liveness_block = b->segment0_block + (uint64_t)b->slots * g->segment_blocks;
		a->segment0_block = a->liveness_block + 2ull * a->slots;
	}
}

static uint32_t
segment_blocks_for(uint64_t blocks)
{
	uint32_t n = SEGMENT_BLOCKS_DEFAULT;
	while (n > 256 && blocks / n < SEGMENTS_WANTED)
		n /= 2;
	return n;
}

int
cache_geometry_make(
    struct cache_geometry *ret, uint64_t size_bytes, uint32_t segment_blocks, uint32_t volumes_max)
{
	struct cache_geometry g = {.size_blocks = size_bytes >> CF_BLOCK_SHIFT};
	g.segment_blocks = segment_blocks != 0 ? segment_blocks : segment_blocks_for(g.size_blocks);
	if (g.segment_blocks < SEGMENT_BLOCKS_MIN || g.segment_blocks > SEGMENT_BLOCKS_DEFAULT)
		return -EINVAL;
	g.footer_blocks = g.segment_blocks / FOOTER_SHARE;
	if (g.footer_blocks == 0)
		g.footer_blocks = 1;
	g.voltable_blocks = (uint32_t)((volumes_max + ROWS_PER_BLOCK) / ROWS_PER_BLOCK);
	uint64_t fixed = 2 + 2ull * g.voltable_blocks + 2;
	if (g.size_blocks <= fixed || g.size_blocks > BLOCKS_MAX)
		return -ENOSPC;
	/* A segment's own blocks and its two slots. */
	uint64_t count = (g.size_blocks - fixed) / (g.segment_blocks + 2u);
	if (count < CACHE_SEGMENTS_MIN)
		return -ENOSPC;
	/* Places in memory are 32 bits of blocks. */
	uint64_t most = UINT32_MAX / g.segment_blocks;
	g.segment_count = (uint32_t)(count < most ? count : most);
	g.area_count = 1;
	g.area[0].slots = g.segment_count;
	geometry_places(&g);
	ASSERT(g.data_blocks <= CF_DATA_BLOCKS_MAX);
	*ret = g;
	return 0;
}

uint64_t
cache_geometry_end(const struct cache_geometry *g)
{
	return cache_segment_block(g, g->segment_count);
}

/* One more area with what `blocks` have room for, with slots for what may come after that: so that areas
 * don't run out, though each time it grows by little. False: no segment fits. */
static bool
area_add(struct cache_geometry *g, uint64_t blocks, uint64_t most)
{
	uint64_t n = blocks / (g->segment_blocks + 2ull);
	if (n == 0 || g->area_count == CF_AREAS_MAX || most == 0)
		return false;
	if (n > most)
		n = most;
	uint64_t slots = blocks / AREA_SPARE_SHARE;
	if (slots > g->segment_count)
		slots = g->segment_count;
	uint64_t with = slots > n ? (blocks - 2 * slots) / g->segment_blocks : 0;
	if (with == 0)
		slots = with = n;
	g->area[g->area_count++].slots = (uint32_t)slots;
	g->segment_count += (uint32_t)(with < n ? with : n);
	return true;
}

static void
geometry_grow(struct cache_geometry *g, uint32_t at_most)
{
	const struct cache_area *last = &g->area[g->area_count - 1];
	uint64_t most = UINT32_MAX / g->segment_blocks;
	if (at_most != 0 && at_most < most)
		most = at_most;
	most = most > g->segment_count ? most - g->segment_count : 0;
	uint64_t room = last->first + last->slots - g->segment_count;
	uint64_t n = (g->size_blocks - cache_geometry_end(g)) / g->segment_blocks;
	if (n > room)
		n = room;
	if (n > most)
		n = most;
	g->segment_count += (uint32_t)n;
	if (n == room && area_add(g, g->size_blocks - cache_geometry_end(g), most - n))
		geometry_places(g);
}

int
cache_geometry_resize(const struct cache_geometry *from, uint64_t size_bytes, uint32_t most,
    struct cache_geometry *ret)
{
	struct cache_geometry g = *from;
	g.size_blocks = size_bytes >> CF_BLOCK_SHIFT;
	if (g.size_blocks > BLOCKS_MAX)
		return -ENOSPC;
	if (g.size_blocks >= cache_geometry_end(&g)) {
		geometry_grow(&g, most);
		*ret = g;
		return 0;
	}
	uint32_t k = g.area_count - 1;
	while (k > 0 && g.size_blocks < g.area[k].segment0_block + g.segment_blocks)
		k--;
	if (g.size_blocks < g.area[k].segment0_block)
		return -ENOSPC;
	uint64_t n = (g.size_blocks - g.area[k].segment0_block) / g.segment_blocks;
	uint64_t has =
	    (k + 1 < g.area_count ? g.area[k + 1].first : g.segment_count) - g.area[k].first;
	while (g.area_count > k + 1)
		g.area[--g.area_count] = (struct cache_area){0};
	g.segment_count = g.area[k].first + (uint32_t)(n < has ? n : has);
	if (g.segment_count < CACHE_SEGMENTS_MIN)
		return -ENOSPC;
	*ret = g;
	return 0;
}

uint32_t
cache_geometry_volumes_max(const struct cache_geometry *g)
{
	return (uint32_t)(g->voltable_blocks * ROWS_PER_BLOCK - 1);
}

/* Of sizes and counts alone: places follow from them. */
static bool
areas_good(const struct cache_geometry *g)
{
	uint64_t slots = 0, full = 0;
	if (g->area_count == 0 || g->area_count > CF_AREAS_MAX || g->size_blocks > BLOCKS_MAX)
		return false;
	for (uint32_t k = 0; k < g->area_count; k++) {
		full = slots;
		slots += g->area[k].slots;
		if (g->area[k].slots > UINT32_MAX / g->segment_blocks)
			return false;
	}
	return g->segment_count > full && g->segment_count <= slots && slots <= UINT32_MAX;
}

static bool
geometry_good(const struct cache_geometry *g, uint64_t device_bytes)
{
	struct cache_geometry want = *g;
	if (g->segment_blocks < SEGMENT_BLOCKS_MIN || g->segment_blocks > SEGMENT_BLOCKS_DEFAULT)
		return false;
	if (g->footer_blocks == 0 || g->footer_blocks > g->segment_blocks / 2 ||
	    g->footer_blocks > FOOTER_BLOCKS_MAX)
		return false;
	if (g->segment_count < CACHE_SEGMENTS_MIN || g->voltable_blocks == 0 ||
	    g->voltable_blocks > 256)
		return false;
	if (g->segment_count > UINT32_MAX / g->segment_blocks || !areas_good(g))
		return false;
	geometry_places(&want);
	return want.data_blocks <= CF_DATA_BLOCKS_MAX && want.data_blocks >= 8 &&
	       want.voltable_block == g->voltable_block &&
	       want.liveness_block == g->liveness_block &&
	       want.checkpoint_block == g->checkpoint_block &&
	       want.segment0_block == g->segment0_block &&
	       cache_geometry_end(&want) <= g->size_blocks &&
	       g->size_blocks <= device_bytes >> CF_BLOCK_SHIFT;
}

/* ---- superblock -------------------------------------------------------------------------- */

void
cache_super_encode(const struct cache_super *s, unsigned which, void *buf)
{
	struct cf_super *d = buf;
	memset(d, 0, sizeof *d);
	le64_put(&d->incompat, s->incompat);
	le64_put(&d->ro_compat, s->ro_compat);
	le64_put(&d->size_blocks, s->geo.size_blocks);
	le32_put(&d->segment_blocks, s->geo.segment_blocks);
	le32_put(&d->segment_count, s->geo.segment_count);
	le32_put(&d->footer_blocks, s->geo.footer_blocks);
	le32_put(&d->voltable_blocks, s->geo.voltable_blocks);
	le64_put(&d->voltable_block, s->geo.voltable_block);
	le64_put(&d->liveness_block, s->geo.liveness_block);
	le64_put(&d->checkpoint_block, s->geo.checkpoint_block);
	le64_put(&d->segment0_block, s->geo.segment0_block);
	le64_put(&d->epoch, s->epoch);
	for (unsigned i = 0; i < CF_STREAM_COUNT; i++)
		position_put(&d->end[i], &s->end[i]);
	memcpy(d->host, s->host, sizeof d->host);
	le32_put(&d->state, s->is_void);
	le32_put(&d->member_count, 1);
	if (s->incompat & CF_INCOMPAT_RESIZED) {
		le32_put(&d->area_count, s->geo.area_count);
		for (uint32_t i = 0; i < s->geo.area_count; i++)
			le32_put(&d->area_slots[i], s->geo.area[i].slots);
	}
	memcpy(d->members[0], s->uuid, sizeof s->uuid);
	cf_seal(d, CF_SUPER, sizeof *d, s->uuid, which, s->generation);
}

/* A newer version moves nothing that tells it from ours: magic, type, place and CRC stay. */
static bool
super_is_newer(const void *buf, unsigned which)
{
	const struct cf_head *h = buf;
	uint32_t bytes = le32_get(h->bytes);
	return le32_get(h->magic) == CF_MAGIC && le16_get(h->type) == CF_SUPER &&
	       le16_get(h->version) > CF_VERSION && le64_get(h->place) == which &&
	       bytes >= sizeof *h && bytes <= CF_BLOCK_BYTES &&
	       head_crc(buf, bytes) == le32_get(h->crc);
}

static void
areas_get(const struct cf_super *d, struct cache_super *s)
{
	bool resized = s->incompat & CF_INCOMPAT_RESIZED;
	s->geo.area_count = resized ? le32_get(d->area_count) : 1;
	s->geo.area[0].slots = s->geo.segment_count;
	for (uint32_t i = 0; resized && i < s->geo.area_count && i < CF_AREAS_MAX; i++)
		s->geo.area[i].slots = le32_get(d->area_slots[i]);
}

enum cf_verdict
cache_super_decode(const void *buf, unsigned which, uint64_t device_bytes, struct cache_super *ret)
{
	const struct cf_super *d = buf;
	if (super_is_newer(buf, which))
		return CF_NEWER;
	if (!cf_check(buf, CF_BLOCK_BYTES, CF_SUPER, NULL, which) ||
	    le32_get(d->head.bytes) != sizeof *d)
		return CF_BAD;
	if ((le64_get(d->incompat) & ~CF_INCOMPAT_KNOWN) != 0 || le32_get(d->member_count) != 1)
		return CF_NEWER;
	struct cache_super s = {
	    .generation = le64_get(d->head.generation),
	    .incompat = le64_get(d->incompat),
	    .ro_compat = le64_get(d->ro_compat),
	    .geo =
	        {
	            .size_blocks = le64_get(d->size_blocks),
	            .segment_blocks = le32_get(d->segment_blocks),
	            .segment_count = le32_get(d->segment_count),
	            .footer_blocks = le32_get(d->footer_blocks),
	            .voltable_blocks = le32_get(d->voltable_blocks),
	            .voltable_block = le64_get(d->voltable_block),
	            .liveness_block = le64_get(d->liveness_block),
	            .checkpoint_block = le64_get(d->checkpoint_block),
	            .segment0_block = le64_get(d->segment0_block),
	        },
	    .epoch = le64_get(d->epoch),
	    .is_void = le32_get(d->state) != 0,
	};
	areas_get(d, &s);
	if (!geometry_good(&s.geo, device_bytes) || s.epoch == 0 || s.epoch > NUMBER_MAX ||
	    s.generation > NUMBER_MAX || le32_get(d->state) > 1 || le32_get(d->member_index) != 0 ||
	    memcmp(d->members[0], d->head.uuid, 16) != 0)
		return CF_BAD;
	geometry_places(&s.geo);
	for (unsigned i = 0; i < CF_STREAM_COUNT; i++) {
		s.end[i] = position_get(&d->end[i]);
		if (!position_good(&s.end[i]))
			return CF_BAD;
	}
	memcpy(s.uuid, d->head.uuid, sizeof s.uuid);
	memcpy(s.host, d->host, sizeof s.host);
	*ret = s;
	return CF_OK;
}

/* ---- volume table ------------------------------------------------------------------------ */

static uint64_t
voltable_place(const struct cache_geometry *g, unsigned which)
{
	return g->voltable_block + (uint64_t)which * g->voltable_blocks;
}

void
cache_voltable_encode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    uint64_t generation, uint32_t next_id, const struct cache_volrow *rows, uint32_t count,
    void *buf)
{
	ASSERT(count <= cache_geometry_volumes_max(g));
	memset(buf, 0, (size_t)g->voltable_blocks * CF_BLOCK_BYTES);
	struct cf_voltable *t = buf;
	struct cf_volume *v = (struct cf_volume *)(void *)(t + 1);
	le32_put(&t->next_id, next_id);
	le32_put(&t->count, count);
	for (uint32_t i = 0; i < count; i++, v++, rows++) {
		le32_put(&v->id, rows->id);
		v->state = CF_VOL_ACTIVE;
		v->mode = rows->mode;
		le16_put(&v->flags, rows->dirty ? CF_VOL_DIRTY : 0);
		memcpy(v->uuid, rows->uuid, sizeof v->uuid);
		memcpy(v->name, rows->name, strnlen(rows->name, CACHE_NAME_MAX));
		memcpy(v->store, rows->store, strnlen(rows->store, CACHE_STORE_MAX));
		le64_put(&v->size_bytes, rows->size_bytes);
		le64_put(&v->marker_gen, rows->marker_gen);
		le64_put(&v->marker_next, rows->marker_next);
	}
	uint32_t bytes = (uint32_t)(sizeof *t + count * sizeof *v);
	cf_seal(buf, CF_VOLTABLE, bytes, uuid, voltable_place(g, which), generation);
}

void
cache_voltable_place(
    const struct cache_geometry *g, const uint8_t uuid[16], unsigned which, void *buf)
{
	const struct cf_head *h = buf;
	cf_seal(buf, CF_VOLTABLE, le32_get(h->bytes), uuid, voltable_place(g, which),
	    le64_get(h->generation));
}

static bool
volume_decode(const struct cf_volume *v, struct cache_volrow *row)
{
	*row = (struct cache_volrow){
	    .id = le32_get(v->id),
	    .mode = v->mode,
	    .dirty = le16_get(v->flags) & CF_VOL_DIRTY,
	    .size_bytes = le64_get(v->size_bytes),
	    .marker_gen = le64_get(v->marker_gen),
	    .marker_next = le64_get(v->marker_next),
	};
	memcpy(row->uuid, v->uuid, sizeof row->uuid);
	memcpy(row->name, v->name, CACHE_NAME_MAX);
	memcpy(row->store, v->store, CACHE_STORE_MAX);
	return row->id != 0 && v->state == CF_VOL_ACTIVE && v->name[CACHE_NAME_MAX] == '\0' &&
	       v->store[CACHE_STORE_MAX] == '\0' && row->size_bytes % 512 == 0 &&
	       row->size_bytes >> CF_BLOCK_SHIFT < VOL_BLOCKS_MAX &&
	       row->marker_gen <= NUMBER_MAX && row->marker_next <= NUMBER_MAX;
}

bool
cache_voltable_decode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    const void *buf, uint64_t *ret_generation, uint32_t *ret_next_id, struct cache_volrow *rows,
    uint32_t *ret_count)
{
	const struct cf_voltable *t = buf;
	size_t cap = (size_t)g->voltable_blocks * CF_BLOCK_BYTES;
	if (!cf_check(buf, cap, CF_VOLTABLE, uuid, voltable_place(g, which)))
		return false;
	uint32_t count = le32_get(t->count), next_id = le32_get(t->next_id);
	if (count > cache_geometry_volumes_max(g) || next_id > UINT32_MAX / 2 ||
	    le64_get(t->head.generation) > NUMBER_MAX ||
	    le32_get(t->head.bytes) != sizeof *t + count * sizeof(struct cf_volume))
		return false;
	const struct cf_volume *v = (const struct cf_volume *)(const void *)(t + 1);
	for (uint32_t i = 0; i < count; i++) {
		if (!volume_decode(&v[i], &rows[i]) || rows[i].id >= next_id)
			return false;
		for (uint32_t k = 0; k < i; k++)
			if (rows[k].id == rows[i].id)
				return false;
	}
	*ret_generation = le64_get(t->head.generation);
	*ret_next_id = next_id;
	*ret_count = count;
	return true;
}

/* ---- liveness slots and the checkpoint header ---------------------------------------------- */

void
cache_slot_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    unsigned which, const struct cache_slot *s, void *buf)
{
	struct cf_slot *d = buf;
	size_t bytes = (g->data_blocks + 7) / 8;
	memset(d, 0, sizeof *d);
	le64_put(&d->checkpoint, s->checkpoint);
	le32_put(&d->segment, seg);
	d->which = (uint8_t)which;
	d->state = s->in_use ? CF_SLOT_IN_USE : CF_SLOT_FREE;
	if (s->in_use) {
		memcpy(d->dead, s->dead, bytes);
		memcpy(d->clean, s->clean, bytes);
		le32_put(&d->used, s->used);
	}
	cf_seal(d, CF_SLOT, sizeof *d, uuid, cache_slot_block(g, seg, which), s->generation);
}

bool
cache_slot_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    unsigned which, const void *buf, struct cache_slot *ret)
{
	const struct cf_slot *d = buf;
	if (!cf_check(buf, CF_BLOCK_BYTES, CF_SLOT, uuid, cache_slot_block(g, seg, which)) ||
	    le32_get(d->head.bytes) != sizeof *d || le32_get(d->segment) != seg ||
	    d->which != which || d->state > CF_SLOT_IN_USE ||
	    le64_get(d->checkpoint) > NUMBER_MAX || le64_get(d->head.generation) > NUMBER_MAX ||
	    le32_get(d->used) > g->data_blocks)
		return false;
	*ret = (struct cache_slot){
	    .checkpoint = le64_get(d->checkpoint),
	    .generation = le64_get(d->head.generation),
	    .in_use = d->state == CF_SLOT_IN_USE,
	    .used = le32_get(d->used),
	    .dead = d->dead,
	    .clean = d->clean,
	};
	return true;
}

uint32_t
cache_slots_crc(uint32_t crc, uint64_t checkpoint)
{
	le64 n;
	le64_put(&n, checkpoint);
	return crc32c_update(crc, &n, sizeof n);
}

void
cache_ckhead_encode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    const struct cache_ckhead *c, void *buf)
{
	struct cf_checkpoint *d = buf;
	memset(d, 0, sizeof *d);
	le64_put(&d->ver, c->ver);
	for (unsigned i = 0; i < CF_STREAM_COUNT; i++)
		position_put(&d->pos[i], &c->pos[i]);
	le32_put(&d->slots_crc, c->slots_crc);
	le32_put(&d->segments, c->segments);
	cf_seal(d, CF_CHECKPOINT, sizeof *d, uuid, g->checkpoint_block + which, c->number);
}

bool
cache_ckhead_decode(const struct cache_geometry *g, const uint8_t uuid[16], unsigned which,
    const void *buf, struct cache_ckhead *ret)
{
	const struct cf_checkpoint *d = buf;
	if (!cf_check(buf, CF_BLOCK_BYTES, CF_CHECKPOINT, uuid, g->checkpoint_block + which) ||
	    le32_get(d->head.bytes) != sizeof *d)
		return false;
	struct cache_ckhead h = {
	    .number = le64_get(d->head.generation),
	    .ver = le64_get(d->ver),
	    .slots_crc = le32_get(d->slots_crc),
	    .segments = le32_get(d->segments),
	};
	bool good = h.number <= NUMBER_MAX && h.ver <= NUMBER_MAX;
	for (unsigned i = 0; i < CF_STREAM_COUNT; i++) {
		h.pos[i] = position_get(&d->pos[i]);
		good &= position_good(&h.pos[i]);
	}
	if (good)
		*ret = h;
	return good;
}

/* ---- segments ---------------------------------------------------------------------------- */

void
cache_seghead_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const struct cache_seghead *h, void *buf)
{
	struct cf_segment *d = buf;
	memset(d, 0, sizeof *d);
	le32_put(&d->segment, seg);
	d->stream = (uint8_t)h->stream;
	le64_put(&d->epoch, h->epoch);
	le64_put(&d->first_seq, h->first_seq);
	cf_seal(d, CF_SEGMENT, sizeof *d, uuid, cache_segment_block(g, seg), h->generation);
}

bool
cache_seghead_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const void *buf, struct cache_seghead *ret)
{
	const struct cf_segment *d = buf;
	if (!cf_check(buf, CF_BLOCK_BYTES, CF_SEGMENT, uuid, cache_segment_block(g, seg)) ||
	    le32_get(d->head.bytes) != sizeof *d || le32_get(d->segment) != seg ||
	    d->stream >= CF_STREAM_COUNT || le64_get(d->head.generation) > NUMBER_MAX ||
	    le64_get(d->epoch) > NUMBER_MAX || le64_get(d->first_seq) > NUMBER_MAX)
		return false;
	*ret = (struct cache_seghead){
	    .generation = le64_get(d->head.generation),
	    .epoch = le64_get(d->epoch),
	    .first_seq = le64_get(d->first_seq),
	    .stream = d->stream,
	};
	return true;
}

/* ---- records ----------------------------------------------------------------------------- */

uint32_t
cache_record_bytes(uint32_t descs, uint32_t blocks)
{
	return (uint32_t)(sizeof(struct cf_record) + descs * sizeof(struct cf_desc) +
	                  blocks * sizeof(le32));
}

uint32_t
cache_record_header_blocks(uint32_t descs, uint32_t zeros, uint32_t blocks)
{
	uint32_t n = (cache_record_bytes(descs, blocks) + CF_BLOCK_BYTES - 1) >> CF_BLOCK_SHIFT;
	return n > zeros ? n : zeros;
}

void
cache_record_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    struct cache_record *r, const struct cache_desc *descs, const uint32_t *crcs, void *buf)
{
	struct cf_record *d = buf;
	memset(d, 0, (size_t)r->header_blocks * CF_BLOCK_BYTES);
	struct cf_desc *to = (struct cf_desc *)(void *)(d + 1);
	for (uint32_t i = 0; i < r->desc_count; i++, to++, descs++) {
		le32_put(&to->volume, descs->volume);
		le16_put(&to->flags, descs->flags);
		to->mask = descs->mask;
		le64_put(&to->block, descs->block);
		le64_put(&to->count, descs->count);
		le64_put(&to->ver, descs->ver);
		le32_put(&to->place, descs->place);
		le32_put(&to->sector, descs->sector);
		memcpy(to->units, descs->units, sizeof to->units);
	}
	le32 *c = (le32 *)(void *)to;
	for (uint32_t i = 0; i < r->payload_blocks; i++)
		le32_put(&c[i], crcs[i]);
	le32_put(&d->segment, seg);
	d->stream = (uint8_t)r->stream;
	le16_put(&d->desc_count, (uint16_t)r->desc_count);
	le64_put(&d->epoch, r->epoch);
	le64_put(&d->seq, r->seq);
	le32_put(&d->prev_crc, r->prev_crc);
	le16_put(&d->header_blocks, (uint16_t)r->header_blocks);
	le32_put(&d->payload_blocks, r->payload_blocks);
	le64_put(&d->durable_seq, r->durable_seq);
	r->bytes = cache_record_bytes(r->desc_count, r->payload_blocks);
	r->crc =
	    cf_seal(d, CF_RECORD, r->bytes, uuid, cache_data_block(g, seg, r->unit), r->generation);
}

void
cache_desc_get(const struct cf_desc *d, struct cache_desc *ret)
{
	*ret = (struct cache_desc){
	    .volume = le32_get(d->volume),
	    .flags = le16_get(d->flags),
	    .mask = d->mask,
	    .block = le64_get(d->block),
	    .count = le64_get(d->count),
	    .ver = le64_get(d->ver),
	    .place = le32_get(d->place),
	    .sector = le32_get(d->sector),
	};
	memcpy(ret->units, d->units, sizeof ret->units);
}

uint32_t
cache_pack_payload(uint32_t blocks, uint32_t sectors)
{
	uint32_t room = (sectors + CF_SECTORS - 1) / CF_SECTORS, bits = (blocks + 1) / 2;
	return room > bits ? room : bits;
}

bool
cache_desc_unit(const struct cache_desc *d, unsigned i, struct cache_pack_unit *ret)
{
	if (i >= CF_PACK_UNITS || (uint64_t)i * CF_PACK_UNIT_BLOCKS >= d->count)
		return false;
	uint64_t left = d->count - (uint64_t)i * CF_PACK_UNIT_BLOCKS;
	*ret = (struct cache_pack_unit){
	    .half = d->place + i * CF_PACK_UNIT_BLOCKS,
	    .sector = d->sector,
	    .blocks = left < CF_PACK_UNIT_BLOCKS ? (uint32_t)left : CF_PACK_UNIT_BLOCKS,
	    .sectors = d->units[i],
	};
	for (unsigned k = 0; k < i; k++)
		ret->sector += d->units[k];
	return true;
}

/* What is packed comes last, its units one after the other. */
struct packed {
	uint32_t begin; /* first block of its payload; 0: there is none */
	uint32_t blocks, sectors;
};

static bool
packed_good(
    const struct cache_record *r, const struct cache_desc *d, uint32_t next, struct packed *p)
{
	struct cache_pack_unit u;
	unsigned i;
	if (p->begin == 0)
		p->begin = next;
	if (r->stream != CF_F || d->flags != CF_DESC_PACKED || d->count > CACHE_PACK_DESC_BLOCKS ||
	    d->place != 2 * p->begin + p->blocks || d->sector != p->begin * CF_SECTORS + p->sectors)
		return false;
	for (i = 0; cache_desc_unit(d, i, &u); i++) {
		if (u.sectors == 0 || u.sectors > u.blocks * CF_SECTORS)
			return false;
		p->sectors += u.sectors;
	}
	p->blocks += (uint32_t)d->count;
	return i == CF_PACK_UNITS || cf_all_zero(d->units + i, CF_PACK_UNITS - i);
}

/* Descriptors in the order of their places, which cover the payload exactly. */
static bool
descs_good(const struct cache_record *r)
{
	uint32_t zero = r->unit, next = r->unit + r->header_blocks;
	const uint32_t end = next + r->payload_blocks;
	struct packed packed = {0};
	for (uint32_t i = 0; i < r->desc_count; i++) {
		struct cache_desc d;
		cache_desc_get(&r->descs[i], &d);
		if (d.volume == 0 || (d.flags & ~CF_DESC_KNOWN) != 0 || d.mask == 0 || d.ver == 0 ||
		    d.ver > NUMBER_MAX || d.count == 0 || d.count > VOL_BLOCKS_MAX ||
		    d.block > VOL_BLOCKS_MAX)
			return false;
		if (d.mask != 0xff && (d.count != 1 || (d.flags & CF_DESC_ZERO)))
			return false;
		if ((d.flags & CF_DESC_PACKED) && d.flags != CF_DESC_PACKED)
			return false;
		if (d.flags & CF_DESC_ZERO) {
			if (d.place != zero || zero >= r->unit + r->header_blocks)
				return false;
			zero++;
			continue;
		}
		if (d.flags & CF_DESC_PACKED) {
			if (!packed_good(r, &d, next, &packed))
				return false;
			continue;
		}
		if (d.flags != 0 || d.place != next || d.count > end - next || packed.begin != 0)
			return false;
		next += (uint32_t)d.count;
	}
	return end - next == cache_pack_payload(packed.blocks, packed.sectors);
}

/* What the header says, as it stands there; the CRCs are where a judged header says, see crcs_of(). */
static void
record_get(const struct cache_geometry *g, uint32_t seg, const void *buf, struct cache_record *ret)
{
	const struct cf_record *d = buf;
	*ret = (struct cache_record){
	    .generation = le64_get(d->head.generation),
	    .epoch = le64_get(d->epoch),
	    .seq = le64_get(d->seq),
	    .durable_seq = le64_get(d->durable_seq),
	    .crc = le32_get(d->head.crc),
	    .prev_crc = le32_get(d->prev_crc),
	    .bytes = le32_get(d->head.bytes),
	    .stream = d->stream,
	    .unit = (uint32_t)(le64_get(d->head.place) - cache_data_block(g, seg, 0)),
	    .header_blocks = le16_get(d->header_blocks),
	    .payload_blocks = le32_get(d->payload_blocks),
	    .desc_count = le16_get(d->desc_count),
	    .descs = (const struct cf_desc *)(const void *)(d + 1),
	};
}

static const le32 *
crcs_of(const struct cache_record *r)
{
	return (const le32 *)(const void *)(r->descs + r->desc_count);
}

bool
cache_record_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    uint32_t unit, const void *buf, size_t cap, struct cache_record *ret)
{
	const struct cf_record *d = buf;
	if (cap < sizeof *d)
		return false;
	uint64_t place = le64_get(d->head.place), first = cache_data_block(g, seg, 0);
	if (place < first || place - first >= g->data_blocks)
		return false;
	if ((unit != UINT32_MAX && place - first != unit) ||
	    !cf_check(buf, cap, CF_RECORD, uuid, place))
		return false;
	struct cache_record r;
	record_get(g, seg, buf, &r);
	uint32_t room = g->data_blocks - r.unit;
	if (le32_get(d->segment) != seg || d->stream >= CF_STREAM_COUNT || r.desc_count == 0 ||
	    r.desc_count > CACHE_RECORD_DESCS_MAX || r.payload_blocks > CACHE_RECORD_BLOCKS_MAX ||
	    r.header_blocks == 0 || r.header_blocks > CACHE_RECORD_HEADER_BLOCKS_MAX ||
	    r.header_blocks > room || r.payload_blocks > room - r.header_blocks ||
	    r.bytes != cache_record_bytes(r.desc_count, r.payload_blocks) ||
	    r.bytes > r.header_blocks * CF_BLOCK_BYTES || r.seq == 0 || r.durable_seq >= r.seq ||
	    r.seq > NUMBER_MAX || r.epoch > NUMBER_MAX || r.generation > NUMBER_MAX ||
	    !descs_good(&r))
		return false;
	r.crcs = crcs_of(&r);
	*ret = r;
	return true;
}

/* ---- footers ----------------------------------------------------------------------------- */

void
cache_footer_encode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const struct cache_footer *f, void *buf)
{
	struct cf_footer *d = buf;
	size_t cap = (size_t)g->footer_blocks * CF_BLOCK_BYTES;
	ASSERT(f->bytes >= sizeof *d && f->bytes <= cap);
	memset(d, 0, sizeof *d);
	memset((char *)buf + f->bytes, 0, cap - f->bytes);
	le32_put(&d->segment, seg);
	d->stream = (uint8_t)f->stream;
	le64_put(&d->epoch, f->epoch);
	le32_put(&d->record_count, f->record_count);
	le32_put(&d->used_blocks, f->used_blocks);
	cf_seal(d, CF_FOOTER, f->bytes, uuid, cache_footer_block(g, seg), f->generation);
}

uint32_t
cache_footer_bytes(
    const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg, const void *block)
{
	const struct cf_head *h = block;
	uint32_t bytes = le32_get(h->bytes);
	if (le32_get(h->magic) != CF_MAGIC || le16_get(h->type) != CF_FOOTER ||
	    memcmp(h->uuid, uuid, sizeof h->uuid) != 0 ||
	    le64_get(h->place) != cache_footer_block(g, seg) || bytes < sizeof(struct cf_footer) ||
	    bytes > g->footer_blocks * CF_BLOCK_BYTES)
		return 0;
	return bytes;
}

bool
cache_footer_next(const struct cache_geometry *g, uint32_t seg, const void *buf,
    const struct cache_footer *f, uint32_t *at, struct cache_record *ret)
{
	if (*at == 0)
		*at = sizeof(struct cf_footer);
	if (*at >= f->bytes)
		return false;
	record_get(g, seg, (const char *)buf + *at, ret);
	ret->crcs = crcs_of(ret);
	*at += cache_footer_need(ret->bytes);
	return true;
}

bool
cache_footer_decode(const struct cache_geometry *g, const uint8_t uuid[16], uint32_t seg,
    const void *buf, size_t cap, struct cache_footer *ret)
{
	const struct cf_footer *d = buf;
	if (cap < sizeof *d || !cf_check(buf, cap, CF_FOOTER, uuid, cache_footer_block(g, seg)))
		return false;
	struct cache_footer f = {
	    .generation = le64_get(d->head.generation),
	    .epoch = le64_get(d->epoch),
	    .stream = d->stream,
	    .record_count = le32_get(d->record_count),
	    .used_blocks = le32_get(d->used_blocks),
	    .bytes = le32_get(d->head.bytes),
	};
	if (f.bytes < sizeof *d || le32_get(d->segment) != seg || d->stream >= CF_STREAM_COUNT ||
	    f.used_blocks > g->data_blocks)
		return false;
	uint32_t at = sizeof *d, records = 0, unit = 0;
	for (; at < f.bytes; records++) {
		struct cache_record r;
		if (!cache_record_decode(
		        g, uuid, seg, UINT32_MAX, (const char *)buf + at, f.bytes - at, &r))
			return false;
		at += cache_footer_need(r.bytes);
		if (r.generation != f.generation || r.stream != f.stream || r.unit < unit)
			return false;
		unit = r.unit + r.header_blocks + r.payload_blocks;
		if (unit > f.used_blocks)
			return false;
	}
	if (records != f.record_count || at != f.bytes)
		return false;
	*ret = f;
	return true;
}
