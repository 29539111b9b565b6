/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * COMPARE AND WRITE, ORWRITE(16), WRITE ATOMIC(16): nobody else sees, or changes, their range half
 * way. Each gets the buffer it needs first and the range lock last, so that a lock is held only
 * while the store works.
 */
#include "scsi/sbc_priv.h"

/* t->priv is the lock, from acquire to the end of the task. */
static void
lock_range(struct scsi_task *t, void (*granted)(struct scsi_lock *k))
{
	struct scsi_lock *k = scsi_lock_acquire(t, scsi_task_lu(t), t->lba, t->blocks, granted);
	if (k == NULL) {
		scsi_task_status(t, SCSI_BUSY);
		return;
	}
	t->priv = k;
	scsi_task_suspend(t);
}

void
sbc_unlock(struct scsi_task *t)
{
	if (t->priv != NULL)
		scsi_lock_release(t->priv);
	t->priv = NULL;
}

static uint32_t
write_flags(const struct scsi_task *t)
{
	return sbc_write_flags(t, (t->cdb[1] & (SBC_FUA | SBC_FUA_NV)) != 0);
}

static void
written(struct scsi_task *t)
{
	if (!sbc_io_failed(t, BLK_WRITE))
		scsi_task_good(t);
}

/* ---- COMPARE AND WRITE ----------------------------------------------------------------------- */

#define CAW_LENGTH_BYTE 13

bool
sbc_prepare_compare_write(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	t->lba = load_be64(t->cdb + 2);
	t->blocks = t->cdb[CAW_LENGTH_BYTE];
	if (!scsi_check_range(t, t->lba, t->blocks))
		return false;
	if (t->blocks > scsi_sbc_caw_blocks_max(lu))
		return scsi_sense_cdb(t, CAW_LENGTH_BYTE, -1);
	t->xfer_bytes = 2 * t->blocks << lu->block_shift;
	/* All or nothing: where the halves meet would be a guess. */
	if (t->out_bytes != t->xfer_bytes)
		return scsi_sense_cdb(t, CAW_LENGTH_BYTE, -1);
	return true;
}

static void caw_lock(struct scsi_task *t);
static void caw_locked(struct scsi_lock *k);
static void caw_compare(struct scsi_task *t);

void
sbc_compare_write(struct scsi_task *t)
{
	if (t->blocks == 0)
		scsi_task_good(t);
	else
		scsi_task_get_sg2(t, t->blocks << scsi_task_lu(t)->block_shift, caw_lock);
}

static void
caw_lock(struct scsi_task *t)
{
	lock_range(t, caw_locked);
}

static void
caw_locked(struct scsi_lock *k)
{
	struct scsi_task *t = k->owner;
	if (scsi_task_continue(t))
		scsi_task_blk(t, BLK_READ, 0, t->lba, t->blocks, &t->sg2, caw_compare);
}

static void
caw_compare(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_READ))
		return;
	const uint64_t len = t->blocks << scsi_task_lu(t)->block_shift;
	ASSERT(t->sg.len_bytes >= 2 * len);
	const uint64_t diff = blk_sg_compare(&t->sg, 0, &t->sg2, 0, len);
	if (diff != UINT64_MAX) {
		/* SBC-3, COMPARE AND WRITE: offset from the start of the data-out buffer. */
		scsi_sense_info(t, SENSE_MISCOMPARE, diff);
		scsi_task_fail(t);
		return;
	}
	/* The write half starts in the middle of sg; sg2 is free again and has its size. */
	uint64_t at = 0, from = len;
	for (uint32_t i = 0; i < t->sg.iovcnt && at < len; i++) {
		const struct iovec *v = &t->sg.iov[i];
		if (from >= v->iov_len) {
			from -= v->iov_len;
			continue;
		}
		size_t n = v->iov_len - (size_t)from;
		if (n > len - at)
			n = (size_t)(len - at);
		blk_sg_copy_in(&t->sg2, at, (const uint8_t *)v->iov_base + from, n);
		at += n;
		from = 0;
	}
	ASSERT(at == len);
	scsi_task_blk(t, BLK_WRITE, write_flags(t), t->lba, t->blocks, &t->sg2, written);
}

/* ---- ORWRITE(16) ------------------------------------------------------------------------------- */

static void orw_lock(struct scsi_task *t);
static void orw_locked(struct scsi_lock *k);
static void orw_merge(struct scsi_task *t);

void
sbc_orwrite(struct scsi_task *t)
{
	t->blocks = sbc_blocks_received(t);
	if (t->blocks == 0)
		scsi_task_good(t);
	else
		scsi_task_get_sg2(t, t->blocks << scsi_task_lu(t)->block_shift, orw_lock);
}

static void
orw_lock(struct scsi_task *t)
{
	lock_range(t, orw_locked);
}

static void
orw_locked(struct scsi_lock *k)
{
	struct scsi_task *t = k->owner;
	if (scsi_task_continue(t))
		scsi_task_blk(t, BLK_READ, 0, t->lba, t->blocks, &t->sg2, orw_merge);
}

/* What the medium has is or-ed into the data-out buffer, segment by segment. */
static void
orw_merge(struct scsi_task *t)
{
	if (sbc_io_failed(t, BLK_READ))
		return;
	uint64_t left = t->blocks << scsi_task_lu(t)->block_shift;
	uint64_t at = 0;
	for (uint32_t i = 0; left > 0; i++) {
		ASSERT(i < t->sg.iovcnt);
		uint8_t *p = t->sg.iov[i].iov_base;
		uint64_t n = t->sg.iov[i].iov_len < left ? t->sg.iov[i].iov_len : left;
		left -= n;
		while (n > 0) {
			uint8_t medium[512];
			const size_t k = n < sizeof medium ? (size_t)n : sizeof medium;
			blk_sg_copy_out(&t->sg2, at, medium, k);
			for (size_t j = 0; j < k; j++)
				p[j] |= medium[j];
			p += k;
			at += k;
			n -= k;
		}
	}
	scsi_task_blk(t, BLK_WRITE, write_flags(t), t->lba, t->blocks, &t->sg, written);
}

/* ---- WRITE ATOMIC(16) --------------------------------------------------------------------------- */

#define WRITE_ATOMIC_LENGTH_BYTE 12

bool
sbc_write_atomic_supported(const struct scsi_lu *lu)
{
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(lu, &lim);
	return lim.atomic_blocks_max > 0;
}

bool
sbc_prepare_write_atomic(struct scsi_task *t)
{
	const struct scsi_lu *lu = scsi_task_lu(t);
	struct scsi_sbc_limits lim;
	scsi_sbc_limits(lu, &lim);
	t->lba = load_be64(t->cdb + 2);
	t->blocks = load_be16(t->cdb + WRITE_ATOMIC_LENGTH_BYTE);
	if (!scsi_check_range(t, t->lba, t->blocks))
		return false;
	if (t->lba % lim.atomic_align_blocks != 0)
		return scsi_sense_cdb(t, 2, -1);
	if (t->blocks > lim.atomic_blocks_max || t->blocks % lim.atomic_granularity_blocks != 0)
		return scsi_sense_cdb(t, WRITE_ATOMIC_LENGTH_BYTE, -1);
	t->xfer_bytes = t->blocks << lu->block_shift;
	if (t->out_bytes < t->xfer_bytes) /* a part of it would not be atomic */
		return scsi_sense_cdb(t, WRITE_ATOMIC_LENGTH_BYTE, -1);
	return true;
}

static void
write_atomic_locked(struct scsi_lock *k)
{
	struct scsi_task *t = k->owner;
	if (scsi_task_continue(t))
		scsi_task_blk(t, BLK_WRITE, write_flags(t), t->lba, t->blocks, &t->sg, written);
}

void
sbc_write_atomic(struct scsi_task *t)
{
	if (t->blocks == 0)
		scsi_task_good(t);
	else
		lock_range(t, write_atomic_locked);
}
