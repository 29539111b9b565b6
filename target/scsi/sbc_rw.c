/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ, WRITE, VERIFY, WRITE AND VERIFY, PRE-FETCH, SYNCHRONIZE CACHE, and the limits of the block
 * commands. SBC-3 clause 5.
 */
#include "scsi/sbc_priv.h"

/* Initiators may prepare a WRITE of as many blocks as a WRITE SAME may have; 16 MiB stays below the
 * 65,536 blocks from which they send it in one command, which would pass the transfer limit. */
#define WRITE_SAME_MAX_BYTES (16u * 1024u * 1024u)
#define UNMAP_BLOCKS_MAX (1024u * 1024u)
/* What fits into a parameter list of 16 bit length: an 8 byte header, 16 bytes each. */
#define UNMAP_DESCS_MAX 4095u
#define MIB (1024u * 1024u)

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- limits -------------------------------------------------------------------------------- */

static void
limits_unmap(const struct scsi_lu *lu, const struct blk_info *info, struct scsi_sbc_limits *ret)
{
	if (!lu->thin)
		return;
	ret->lbpu = ret->lbpws = ret->lbpws10 = true;
	ret->lbprz = (lu->caps & BLK_CAP_UNMAP_ZEROES) != 0;
	ret->unmap_blocks_max = UNMAP_BLOCKS_MAX;
	ret->unmap_descs_max = UNMAP_DESCS_MAX;
	/* A granularity that doesn't divide 1 MiB makes ESXi not unmap at all. */
	uint32_t gran = info->unmap_granularity_bytes;
	if (gran < lu->id.block_bytes || MIB % gran != 0)
		gran = lu->id.block_bytes;
	ret->unmap_granularity_blocks = gran >> lu->block_shift;
}

static void
limits_atomic(const struct scsi_lu *lu, const struct blk_info *info, struct scsi_sbc_limits *ret)
{
	uint32_t max = info->atomic_max_bytes;
	if (max > SCSI_XFER_MAX_BYTES)
		max = SCSI_XFER_MAX_BYTES;
	/* Below a physical block a store would have to read and modify: not atomic by nature. */
	const uint32_t unit = lu->id.block_bytes << lu->physical_exponent;
	if (max < unit)
		return;
	ret->atomic_blocks_max = (max - max % unit) >> lu->block_shift;
	ret->atomic_align_blocks = unit >> lu->block_shift;
	ret->atomic_granularity_blocks = unit >> lu->block_shift;
}

/*
 * Sixteen bits. What isn't whole physical blocks, or doesn't divide the optimum, would be taken by
 * initiators for a mistake, and the optimum with it.
 */
static uint32_t
granularity(const struct scsi_lu *lu, const struct blk_info *info)
{
	const uint32_t exponent = lu->physical_exponent < 15 ? lu->physical_exponent : 15;
	const uint32_t least = info->minimum_bytes >> lu->block_shift;
	const uint32_t unit = lu->id.block_bytes << exponent;
	if (info->minimum_bytes <= unit || info->minimum_bytes % unit != 0 || least > UINT16_MAX ||
	    info->optimal_bytes % info->minimum_bytes != 0)
		return 1u << exponent;
	return least;
}

void
scsi_sbc_limits(const struct scsi_lu *lu, struct scsi_sbc_limits *ret)
{
	const struct blk_info *info = blk_get_info(lu->blk);
	*ret = (struct scsi_sbc_limits){0};
	ret->xfer_blocks_max = SCSI_XFER_MAX_BYTES >> lu->block_shift;
	ret->xfer_blocks_optimal =
	    (uint32_t)min_u64(info->optimal_bytes, SCSI_XFER_MAX_BYTES) >> lu->block_shift;
	ret->xfer_blocks_granularity = granularity(lu, info);
	ret->write_same_blocks_max = WRITE_SAME_MAX_BYTES >> lu->block_shift;
	/* The data-out buffer holds both halves. The CDB field has eight bits. */
	ret->caw_blocks_max = (uint32_t)min_u64(255, ret->xfer_blocks_max / 2);
	limits_unmap(lu, info, ret);
	limits_atomic(lu, info, ret);
}

uint32_t
scsi_sbc_caw_blocks_max(const struct scsi_lu *lu)
{
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(lu, &lim);
	return lim.caw_blocks_max;
}

/* ---- CDB ----------------------------------------------------------------------------------- */

void
sbc_parse_range(struct scsi_task *t)
{
	const uint8_t *cdb = t->cdb;
	switch (t->op->cdb_len) {
	case 6:
		t->lba = load_be24(cdb + 1) & 0x1fffff;
		t->blocks = cdb[4] != 0 ? cdb[4] : 256;
		break;
	case 10:
		t->lba = load_be32(cdb + 2);
		t->blocks = load_be16(cdb + 7);
		break;
	case 12:
		t->lba = load_be32(cdb + 2);
		t->blocks = load_be32(cdb + 6);
		break;
	default:
		ASSERT(t->op->cdb_len == 16);
		t->lba = load_be64(cdb + 2);
		t->blocks = load_be32(cdb + 10);
		break;
	}
}

unsigned
sbc_length_byte(const struct scsi_task *t)
{
	switch (t->op->cdb_len) {
	case 6:
		return 4;
	case 10:
		return 7;
	case 12:
		return 6;
	default:
		return 10;
	}
}

bool
sbc_prepare_rw(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	sbc_parse_range(t);
	if (!scsi_check_range(t, t->lba, t->blocks))
		return false;
	if (t->blocks > SCSI_XFER_MAX_BYTES >> lu->block_shift)
		return scsi_sense_cdb(t, sbc_length_byte(t), -1);
	t->xfer_bytes = t->blocks << lu->block_shift;
	return true;
}

uint32_t
sbc_write_flags(const struct scsi_task *t, bool fua)
{
	const struct scsi_lu *lu = t->nlu->lu;
	if ((lu->caps & BLK_CAP_VOLATILE) == 0)
		return 0; /* durable at done anyway */
	return fua || !t->nlu->ll->st.mode.wce ? BLK_FUA : 0;
}

static bool
cdb_fua(const struct scsi_task *t)
{
	return t->op->cdb_len > 6 && (t->cdb[1] & (SBC_FUA | SBC_FUA_NV)) != 0;
}

bool
sbc_io_failed(struct scsi_task *t, enum blk_op op)
{
	if (t->io.result == 0)
		return false;
	scsi_sense_errno(t, t->io.result, op, t->lba);
	scsi_task_fail(t);
	return true;
}

uint64_t
sbc_blocks_received(const struct scsi_task *t)
{
	return min_u64(t->data_out_len >> t->nlu->lu->block_shift, t->blocks);
}

/* ---- READ ---------------------------------------------------------------------------------- */

static void
read_done(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_READ))
		return;
	t->data_in_len = (uint32_t)min_u64(t->xfer_bytes, t->in_bytes);
	scsi_task_good(t);
}

static void
read_flushed(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_FLUSH))
		return;
	scsi_task_blk(t, BLK_READ, 0, t->lba, t->blocks, &t->sg, read_done);
}

void
sbc_read(struct scsi_task *t)
{
	if (t->blocks == 0) {
		scsi_task_good(t);
		return;
	}
	/* FUA: what the cache has that is newer goes to the medium first (SBC-3 4.15). */
	if (cdb_fua(t) && (scsi_task_lu(t)->caps & BLK_CAP_VOLATILE) != 0)
		scsi_task_blk(t, BLK_FLUSH, 0, t->lba, t->blocks, NULL, read_flushed);
	else
		scsi_task_blk(t, BLK_READ, 0, t->lba, t->blocks, &t->sg, read_done);
}

/* ---- WRITE --------------------------------------------------------------------------------- */

static void
write_done(struct scsi_task *t)
{
	if (!sbc_io_failed(t, BLK_WRITE))
		scsi_task_good(t);
}

void
sbc_write(struct scsi_task *t)
{
	/* An initiator that sends less than the CDB says gets the whole blocks of it written. */
	const uint64_t blocks = sbc_blocks_received(t);
	if (blocks == 0)
		scsi_task_good(t);
	else
		scsi_task_blk(t, BLK_WRITE, sbc_write_flags(t, cdb_fua(t)), t->lba, blocks, &t->sg,
		    write_done);
}

/* ---- VERIFY -------------------------------------------------------------------------------- */

enum {
	BYTCHK_MEDIUM = 0, /* blocks can be read; no data-out */
	BYTCHK_COMPARE = 1,
	BYTCHK_ONE_BLOCK = 3, /* each block against the one in the data-out buffer */
};

static unsigned
bytchk(const struct scsi_task *t)
{
	return t->cdb[1] >> 1 & 3;
}

bool
sbc_prepare_verify(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	switch (bytchk(t)) {
	case BYTCHK_COMPARE:
		return sbc_prepare_rw(t);
	case BYTCHK_MEDIUM:
	case BYTCHK_ONE_BLOCK:
		/* In pieces, with buffers of our own: no limit on the length. */
		sbc_parse_range(t);
		if (!scsi_check_range(t, t->lba, t->blocks))
			return false;
		if (bytchk(t) == BYTCHK_ONE_BLOCK && t->blocks > 0)
			t->xfer_bytes = lu->id.block_bytes;
		return true;
	default:
		return scsi_sense_cdb(t, 1, 2);
	}
}

static uint64_t
verify_total(const struct scsi_task *t)
{
	/* Without a data-out buffer, or with one for all, the CDB says how much. */
	if (t->xfer_bytes == 0 || bytchk(t) == BYTCHK_ONE_BLOCK)
		return t->blocks;
	return sbc_blocks_received(t);
}

static uint64_t
verify_piece_blocks(const struct scsi_task *t)
{
	return min_u64(verify_total(t) - t->at, SBC_PIECE_BYTES >> t->nlu->lu->block_shift);
}

static void verify_next(struct scsi_task *t);
static void verify_read(struct scsi_task *t);
static void verify_check(struct scsi_task *t);

/* Begins, or goes on, at block t->at of the range. */
static void
verify_next(struct scsi_task *t)
{
	blk_sg_put(&t->sg2);
	const uint64_t n = verify_piece_blocks(t);
	if (n == 0)
		scsi_task_good(t);
	else
		scsi_task_get_sg2(t, n << scsi_task_lu(t)->block_shift, verify_read);
}

static void
verify_read(struct scsi_task *t)
{
	scsi_task_blk(
	    t, BLK_READ, 0, t->lba + t->at, verify_piece_blocks(t), &t->sg2, verify_check);
}

/* Offset in the data-out buffer of the first byte that differs, or UINT64_MAX. */
static uint64_t
verify_compare(const struct scsi_task *t, uint64_t blocks)
{
	const uint32_t shift = t->nlu->lu->block_shift;
	if (bytchk(t) == BYTCHK_COMPARE) {
		const uint64_t diff =
		    blk_sg_compare(&t->sg, t->at << shift, &t->sg2, 0, blocks << shift);
		return diff == UINT64_MAX ? diff : diff + (t->at << shift);
	}
	for (uint64_t i = 0; i < blocks; i++) {
		const uint64_t diff =
		    blk_sg_compare(&t->sg, 0, &t->sg2, i << shift, UINT64_C(1) << shift);
		if (diff != UINT64_MAX)
			return diff;
	}
	return UINT64_MAX;
}

static void
verify_check(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_READ))
		return;
	const uint64_t n = verify_piece_blocks(t);
	if (bytchk(t) != BYTCHK_MEDIUM) {
		const uint64_t diff = verify_compare(t, n);
		if (diff != UINT64_MAX) {
			scsi_sense_info(t, SENSE_MISCOMPARE, diff);
			scsi_task_fail(t);
			return;
		}
	}
	t->at += n;
	verify_next(t);
}

void
sbc_verify(struct scsi_task *t)
{
	t->at = 0;
	if (bytchk(t) == BYTCHK_ONE_BLOCK && t->data_out_len < t->xfer_bytes) {
		scsi_sense_cdb(t, sbc_length_byte(t), -1);
		scsi_task_fail(t);
		return;
	}
	verify_next(t);
}

/* ---- WRITE AND VERIFY ---------------------------------------------------------------------- */

bool
sbc_prepare_write_verify(struct scsi_task *t)
{
	if (bytchk(t) > BYTCHK_COMPARE)
		return scsi_sense_cdb(t, 1, 2);
	return sbc_prepare_rw(t);
}

static void
write_verify_written(struct scsi_task *t)
{
	if (!sbc_io_failed(t, BLK_WRITE))
		verify_next(t);
}

void
sbc_write_verify(struct scsi_task *t)
{
	t->at = 0;
	const uint64_t blocks = sbc_blocks_received(t);
	if (blocks == 0)
		scsi_task_good(t);
	else /* what is verified is the medium: the write must have reached it */
		scsi_task_blk(t, BLK_WRITE, sbc_write_flags(t, true), t->lba, blocks, &t->sg,
		    write_verify_written);
}

/* ---- PRE-FETCH, SYNCHRONIZE CACHE ------------------------------------------------------------ */

/* Number of blocks 0 means up to the last one. */
bool
sbc_prepare_to_end(struct scsi_task *t)
{
	sbc_parse_range(t);
	if (!scsi_check_range(t, t->lba, t->blocks))
		return false;
	if (t->blocks == 0)
		t->blocks = t->nlu->ll->st.blocks - t->lba;
	return true;
}

static void pre_fetch_next(struct scsi_task *t);
static void pre_fetch_read(struct scsi_task *t);
static void pre_fetch_done(struct scsi_task *t);

static uint64_t
pre_fetch_piece_blocks(const struct scsi_task *t)
{
	return min_u64(t->blocks - t->at, SBC_PIECE_BYTES >> t->nlu->lu->block_shift);
}

static void
pre_fetch_next(struct scsi_task *t)
{
	blk_sg_put(&t->sg2);
	const uint64_t n = pre_fetch_piece_blocks(t);
	if (n == 0)
		scsi_task_status(t, SCSI_CONDITION_MET);
	else
		scsi_task_get_sg2(t, n << scsi_task_lu(t)->block_shift, pre_fetch_read);
}

static void
pre_fetch_read(struct scsi_task *t)
{
	scsi_task_blk(
	    t, BLK_READ, 0, t->lba + t->at, pre_fetch_piece_blocks(t), &t->sg2, pre_fetch_done);
}

static void
pre_fetch_done(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_READ))
		return;
	t->at += pre_fetch_piece_blocks(t);
	pre_fetch_next(t);
}

/*
 * Reading is what fills a cache. More than one transfer's worth is not fetched: GOOD instead of
 * CONDITION MET says that not all of it is in the cache. IMMED only allows an earlier answer; the
 * answer after the fact is the truer one.
 */
void
sbc_pre_fetch(struct scsi_task *t)
{
	t->at = 0;
	if (t->blocks > SCSI_XFER_MAX_BYTES >> scsi_task_lu(t)->block_shift)
		scsi_task_good(t);
	else
		pre_fetch_next(t);
}

static void
sync_cache_done(struct scsi_task *t)
{
	if (!sbc_io_failed(t, BLK_FLUSH))
		scsi_task_good(t);
}

/*
 * The whole store is flushed, whatever the range. IMMED is answered after the flush too: GOOD then
 * says more than it must. A store that isn't volatile has nothing to flush.
 */
void
sbc_sync_cache(struct scsi_task *t)
{
	if ((scsi_task_lu(t)->caps & BLK_CAP_VOLATILE) == 0)
		scsi_task_good(t);
	else
		scsi_task_blk(t, BLK_FLUSH, 0, t->lba, t->blocks, NULL, sync_cache_done);
}
