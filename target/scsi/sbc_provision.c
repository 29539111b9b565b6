/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * WRITE SAME, UNMAP, GET LBA STATUS: logical block provisioning management, SBC-3 4.7.
 */
#include "scsi/sbc_priv.h"

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- WRITE SAME ---------------------------------------------------------------------------- */

#define WS_ANCHOR 0x10u
#define WS_UNMAP 0x08u
#define WS_NDOB 0x01u /* WRITE SAME(16) only; the usage mask of (10) refuses it */

bool
sbc_prepare_write_same(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(lu, &lim);
	/* Anchored blocks don't exist (ANC_SUP=0); without UNMAP the bit is invalid anyway. */
	if ((t->cdb[1] & WS_ANCHOR) != 0)
		return scsi_sense_cdb(t, 1, 4);
	if ((t->cdb[1] & WS_UNMAP) != 0 && !(t->op->cdb_len == 10 ? lim.lbpws10 : lim.lbpws))
		return scsi_sense_cdb(t, 1, 3);
	sbc_parse_range(t);
	if (!scsi_check_range(t, t->lba, t->blocks))
		return false;
	if (t->blocks == 0) /* WSNZ=0: to the end */
		t->blocks = t->nlu->ll->st.blocks - t->lba;
	if (t->blocks > lim.write_same_blocks_max)
		return scsi_sense_cdb(t, sbc_length_byte(t), -1);
	if ((t->cdb[1] & WS_NDOB) == 0) {
		t->xfer_bytes = lu->id.block_bytes;
		/* One block, neither more nor less: else the initiator means another block size. */
		if (t->out_bytes != t->xfer_bytes)
			return scsi_sense_cdb(t, sbc_length_byte(t), -1);
	}
	return true;
}

enum ws_kind { WS_IS_UNMAP, WS_IS_ZERO, WS_IS_PATTERN };

/* Is the one block in the data-out buffer all zeros? */
static bool
ws_data_is_zero(const struct scsi_task *t)
{
	uint8_t part[512];
	for (uint64_t at = 0; at < t->xfer_bytes; at += sizeof part) {
		blk_sg_copy_out(&t->sg, at, part, sizeof part);
		for (size_t i = 0; i < sizeof part; i++) {
			if (part[i] != 0)
				return false;
		}
	}
	return true;
}

/*
 * deviation: SBC-3 has a unit with LBPRZ=1 write the data when it isn't zero, UNMAP=1 or not. Like
 * other targets, and as conformance suites expect it, UNMAP=1 unmaps whatever the data: who asks for
 * it wants the space back, and no initiator known sends anything but zeros with it.
 */
static enum ws_kind
ws_kind(const struct scsi_task *t)
{
	if ((t->cdb[1] & WS_UNMAP) != 0)
		return (t->nlu->lu->caps & BLK_CAP_UNMAP_ZEROES) != 0 ? WS_IS_UNMAP : WS_IS_ZERO;
	if ((t->cdb[1] & WS_NDOB) != 0 || ws_data_is_zero(t))
		return WS_IS_ZERO;
	return WS_IS_PATTERN;
}

static uint64_t
ws_piece_blocks(const struct scsi_task *t, uint64_t piece_bytes)
{
	return min_u64(t->blocks - t->at, piece_bytes >> t->nlu->lu->block_shift);
}

static void ws_clear(struct scsi_task *t);
static void ws_cleared(struct scsi_task *t);
static void ws_fill(struct scsi_task *t);
static void ws_pattern(struct scsi_task *t);
static void ws_written(struct scsi_task *t);

void
sbc_write_same(struct scsi_task *t)
{
	t->at = 0;
	if (t->blocks == 0)
		scsi_task_good(t);
	else if (ws_kind(t) == WS_IS_PATTERN)
		scsi_task_get_sg2(t,
		    ws_piece_blocks(t, SBC_PIECE_BYTES) << scsi_task_lu(t)->block_shift, ws_fill);
	else
		ws_clear(t);
}

/* UNMAP and zeros: no data moves. */
static void
ws_clear(struct scsi_task *t)
{
	const uint64_t n = ws_piece_blocks(t, SBC_ZERO_PIECE_BYTES);
	uint32_t flags = sbc_write_flags(t, false);
	enum blk_op op = BLK_WRITE_ZEROES;
	if (ws_kind(t) == WS_IS_UNMAP)
		op = BLK_UNMAP;
	else if ((t->cdb[1] & WS_UNMAP) == 0)
		flags |= BLK_NO_UNMAP;
	scsi_task_blk(t, op, flags, t->lba + t->at, n, NULL, ws_cleared);
}

static void
ws_cleared(struct scsi_task *t)
{
	if (sbc_io_failed(t, t->io.op))
		return;
	t->at += ws_piece_blocks(t, SBC_ZERO_PIECE_BYTES);
	if (t->at == t->blocks)
		scsi_task_good(t);
	else
		ws_clear(t);
}

/* A pattern: sg2 full of copies of the block, written again and again. */
static void
ws_fill(struct scsi_task *t)
{
	const uint32_t block_bytes = scsi_task_lu(t)->id.block_bytes;
	uint8_t block[4096];
	ASSERT(block_bytes <= sizeof block);
	blk_sg_copy_out(&t->sg, 0, block, block_bytes);
	for (uint64_t at = 0; at + block_bytes <= t->sg2.len_bytes; at += block_bytes)
		blk_sg_copy_in(&t->sg2, at, block, block_bytes);
	ws_pattern(t);
}

static void
ws_pattern(struct scsi_task *t)
{
	scsi_task_blk(t, BLK_WRITE, sbc_write_flags(t, false), t->lba + t->at,
	    ws_piece_blocks(t, SBC_PIECE_BYTES), &t->sg2, ws_written);
}

static void
ws_written(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_WRITE))
		return;
	t->at += ws_piece_blocks(t, SBC_PIECE_BYTES);
	if (t->at == t->blocks)
		scsi_task_good(t);
	else
		ws_pattern(t);
}

/* ---- UNMAP ----------------------------------------------------------------------------------- */

#define UNMAP_HEADER_BYTES 8u
#define UNMAP_DESC_BYTES 16u

bool
sbc_unmap_supported(const struct scsi_lu *lu)
{
	return lu->thin;
}

bool
sbc_prepare_unmap(struct scsi_task *t)
{
	if ((t->cdb[1] & 1) != 0) /* ANCHOR */
		return scsi_sense_cdb(t, 1, 0);
	/* The ranges are in the parameter list: lba and blocks 0 stand for "anywhere" (lock.c). */
	t->lba = t->blocks = 0;
	t->xfer_bytes = load_be16(t->cdb + 7);
	return true;
}

/* Checks the list against every limit before anything is unmapped. *ret_count: descriptors. */
static bool
unmap_check(struct scsi_task *t, const uint8_t *p, size_t len, uint32_t *ret_count)
{
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(scsi_task_lu(t), &lim);
	if (len < t->xfer_bytes || len < UNMAP_HEADER_BYTES)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	const uint32_t desc_bytes = load_be16(p + 2);
	if (desc_bytes > len - UNMAP_HEADER_BYTES)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	/* An incomplete last descriptor is ignored (SBC-3, UNMAP). */
	const uint32_t count = desc_bytes / UNMAP_DESC_BYTES;
	if (count > lim.unmap_descs_max)
		return scsi_sense_param(t, 2, -1);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t at = UNMAP_HEADER_BYTES + i * UNMAP_DESC_BYTES;
		const uint64_t lba = load_be64(p + at);
		const uint32_t blocks = load_be32(p + at + 8);
		if (!scsi_check_range(t, lba, blocks))
			return false;
		sum += blocks;
		if (sum > lim.unmap_blocks_max)
			return scsi_sense_param(t, at + 8, -1);
	}
	*ret_count = count;
	return true;
}

static void unmap_next(struct scsi_task *t);

static void
unmap_done(struct scsi_task *t)
{
	if (!sbc_io_failed(t, BLK_UNMAP))
		unmap_next(t);
}

/* t->at: index of the next descriptor. */
static void
unmap_next(struct scsi_task *t)
{
	size_t len;
	const uint8_t *p = scsi_task_params(t, &len);
	const uint32_t count = load_be16(p + 2) / UNMAP_DESC_BYTES;
	while (t->at < count) {
		const uint8_t *d = p + UNMAP_HEADER_BYTES + t->at++ * UNMAP_DESC_BYTES;
		const uint32_t blocks = load_be32(d + 8);
		if (blocks == 0)
			continue;
		scsi_task_blk(t, BLK_UNMAP, sbc_write_flags(t, false), load_be64(d), blocks, NULL,
		    unmap_done);
		return;
	}
	scsi_task_good(t);
}

void
sbc_unmap(struct scsi_task *t)
{
	if (t->xfer_bytes == 0) {
		scsi_task_good(t);
		return;
	}
	size_t len;
	const uint8_t *p = scsi_task_params(t, &len);
	uint32_t count;
	if (!unmap_check(t, p, len, &count)) {
		scsi_task_fail(t);
		return;
	}
	t->at = 0;
	unmap_next(t);
}

/* ---- GET LBA STATUS ---------------------------------------------------------------------------- */

#define STATUS_HEADER_BYTES 8u
#define STATUS_DESC_BYTES 16u
#define STATUS_DESCS_MAX 240u /* per answer; the initiator asks again for what follows */
#define STATUS_EXTENTS_MAX 128u

enum { PROVISIONING_MAPPED = 0, PROVISIONING_DEALLOCATED = 1 };

/* Lies at the start of sg2. */
struct lba_status {
	struct blk_extent extents[STATUS_EXTENTS_MAX];
	uint8_t reply[STATUS_HEADER_BYTES + STATUS_DESCS_MAX * STATUS_DESC_BYTES];
	uint32_t count;     /* descriptors in the reply */
	uint32_t count_max; /* what the allocation length holds, at least 1 */
	uint64_t next_lba;  /* described up to here */
};

bool
sbc_prepare_lba_status(struct scsi_task *t)
{
	t->lba = load_be64(t->cdb + 2);
	t->xfer_bytes = load_be32(t->cdb + 10);
	/* The block asked for must exist. Describing isn't reading: no range to wait for. */
	t->blocks = 0;
	return scsi_check_range(t, t->lba, 1);
}

/* Describes [next_lba, end) as `provisioning`; a neighbour of the same kind grows. False: full. */
static bool
status_add(struct lba_status *s, uint64_t end, uint8_t provisioning)
{
	while (s->next_lba < end) {
		uint8_t *last = s->reply + STATUS_HEADER_BYTES + (s->count - 1) * STATUS_DESC_BYTES;
		uint32_t have = UINT32_MAX;
		if (s->count > 0 && last[12] == provisioning)
			have = load_be32(last + 8);
		if (have == UINT32_MAX) {
			if (s->count == s->count_max)
				return false;
			last = s->reply + STATUS_HEADER_BYTES + s->count++ * STATUS_DESC_BYTES;
			memset(last, 0, STATUS_DESC_BYTES);
			store_be64(last, s->next_lba);
			last[12] = provisioning;
			have = 0;
		}
		const uint32_t n = (uint32_t)min_u64(end - s->next_lba, UINT32_MAX - have);
		store_be32(last + 8, have + n);
		s->next_lba += n;
	}
	return true;
}

static void status_ready(struct scsi_task *t);
static void status_query(struct scsi_task *t, struct lba_status *s);
static void status_extents(struct scsi_task *t);
static void status_reply(struct scsi_task *t, struct lba_status *s);

static struct lba_status *
status_of(const struct scsi_task *t)
{
	ASSERT(t->sg2.iovcnt > 0 && t->sg2.iov[0].iov_len >= sizeof(struct lba_status));
	return t->sg2.iov[0].iov_base;
}

void
sbc_lba_status(struct scsi_task *t)
{
	scsi_task_get_sg2(t, sizeof(struct lba_status), status_ready);
}

static void
status_ready(struct scsi_task *t)
{
	struct lba_status *s = status_of(t);
	memset(s->reply, 0, STATUS_HEADER_BYTES);
	s->count = 0;
	s->next_lba = t->lba;
	const uint64_t room = t->xfer_bytes < STATUS_HEADER_BYTES
	                          ? 0
	                          : (t->xfer_bytes - STATUS_HEADER_BYTES) / STATUS_DESC_BYTES;
	s->count_max = (uint32_t)min_u64(room > 0 ? room : 1, STATUS_DESCS_MAX);
	if ((scsi_task_lu(t)->caps & BLK_CAP_EXTENTS) != 0) {
		status_query(t, s);
		return;
	}
	status_add(s, t->nlu->ll->st.blocks, PROVISIONING_MAPPED);
	status_reply(t, s);
}

static void
status_query(struct scsi_task *t, struct lba_status *s)
{
	const uint64_t blocks = t->nlu->ll->st.blocks;
	if (s->next_lba >= blocks) { /* all described, or the unit has shrunk */
		status_reply(t, s);
		return;
	}
	t->io.extents = s->extents;
	t->io.extent_cap = STATUS_EXTENTS_MAX;
	scsi_task_blk(t, BLK_EXTENTS, 0, s->next_lba, blocks - s->next_lba, NULL, status_extents);
}

static void
status_extents(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_EXTENTS))
		return;
	struct lba_status *s = status_of(t);
	const uint32_t shift = scsi_task_lu(t)->block_shift;
	const uint64_t round = (UINT64_C(1) << shift) - 1;
	const uint64_t before = s->next_lba;
	for (uint32_t i = 0; i < t->io.extent_count; i++) {
		const struct blk_extent *e = &s->extents[i];
		const uint64_t end = e->offset_bytes + e->len_bytes;
		/* A block is deallocated when all of it is, whatever the store's block size. */
		const uint64_t start_lba = (e->offset_bytes + round) >> shift;
		bool room = true;
		if (e->mapped)
			room = status_add(s, (end + round) >> shift, PROVISIONING_MAPPED);
		else if (end >> shift > start_lba)
			room = status_add(s, start_lba, PROVISIONING_MAPPED) &&
			       status_add(s, end >> shift, PROVISIONING_DEALLOCATED);
		if (!room) {
			status_reply(t, s);
			return;
		}
	}
	if (s->next_lba == before) /* a hole smaller than a block at the very end */
		status_reply(t, s);
	else
		status_query(t, s);
}

static void
status_reply(struct scsi_task *t, struct lba_status *s)
{
	/* At least the block that was asked for. */
	if (s->count == 0)
		status_add(s, t->lba + 1, PROVISIONING_MAPPED);
	const uint32_t desc_bytes = s->count * STATUS_DESC_BYTES;
	store_be32(s->reply, desc_bytes + 4); /* from byte 4 on */
	scsi_task_reply(t, s->reply, STATUS_HEADER_BYTES + desc_bytes);
}
