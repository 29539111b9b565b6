/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sense data by meaning: one table of key, ASC and ASCQ, one place where a store's error becomes
 * sense, and the two formats (SPC-4 4.5.2 descriptor, 4.5.3 fixed), chosen by D_SENSE.
 */
#include "scsi/scsi_priv.h"

#include <errno.h>

struct sense_code {
	uint8_t key, asc, ascq;
};

/* clang-format off */
static const struct sense_code codes[SENSE_COUNT] = {
	[SENSE_NONE]                            = {0x0, 0x00, 0x00},
	[SENSE_NOT_READY_BECOMING]              = {0x2, 0x04, 0x01},
	[SENSE_NOT_READY_INITIALIZING_REQUIRED] = {0x2, 0x04, 0x02},
	[SENSE_NOT_READY_MANUAL]                = {0x2, 0x04, 0x03},
	[SENSE_NOT_READY_FORMAT]                = {0x2, 0x04, 0x04},
	[SENSE_NOT_READY_SANITIZE]              = {0x2, 0x04, 0x1b},
	[SENSE_MEDIUM_NOT_PRESENT]              = {0x2, 0x3a, 0x00},
	[SENSE_MEDIUM_NOT_PRESENT_TRAY_OPEN]    = {0x2, 0x3a, 0x02},
	[SENSE_UNRECOVERED_READ]                = {0x3, 0x11, 0x00},
	[SENSE_WRITE_ERROR]                     = {0x3, 0x0c, 0x00},
	[SENSE_SANITIZE_FAILED]                 = {0x3, 0x31, 0x03},
	[SENSE_INTERNAL_FAILURE]                = {0x4, 0x44, 0x00},
	[SENSE_OPERATION_IN_PROGRESS]           = {0x5, 0x00, 0x16},
	[SENSE_PARAM_LIST_LENGTH]               = {0x5, 0x1a, 0x00},
	[SENSE_INVALID_OPCODE]                  = {0x5, 0x20, 0x00},
	[SENSE_LBA_OUT_OF_RANGE]                = {0x5, 0x21, 0x00},
	[SENSE_INVALID_FIELD_CDB]               = {0x5, 0x24, 0x00},
	[SENSE_LUN_NOT_SUPPORTED]               = {0x5, 0x25, 0x00},
	[SENSE_INVALID_FIELD_PARAM]             = {0x5, 0x26, 0x00},
	[SENSE_INVALID_RELEASE]                 = {0x5, 0x26, 0x04},
	[SENSE_UNSUPPORTED_TARGET_DESC]         = {0x5, 0x26, 0x07},
	[SENSE_UNSUPPORTED_SEGMENT_DESC]        = {0x5, 0x26, 0x09},
	[SENSE_TOO_MANY_TARGET_DESCS]           = {0x5, 0x26, 0x06},
	[SENSE_TOO_MANY_SEGMENT_DESCS]          = {0x5, 0x26, 0x08},
	[SENSE_INLINE_DATA_LENGTH]              = {0x5, 0x26, 0x0b},
	[SENSE_SAVING_NOT_SUPPORTED]            = {0x5, 0x39, 0x00},
	[SENSE_MEDIUM_REMOVAL_PREVENTED]        = {0x5, 0x53, 0x02},
	[SENSE_INSUFFICIENT_REG_RESOURCES]      = {0x5, 0x55, 0x04},
	[SENSE_INSUFFICIENT_RESOURCES]          = {0x5, 0x55, 0x03},
	[SENSE_WRITE_PROTECTED]                 = {0x7, 0x27, 0x00},
	[SENSE_WRITE_PROTECTED_SOFTWARE]        = {0x7, 0x27, 0x02},
	[SENSE_SPACE_ALLOC_FAILED]              = {0x7, 0x27, 0x07},
	[SENSE_COPY_ABORTED]                    = {0xa, 0x00, 0x00},
	[SENSE_COPY_TARGET_UNREACHABLE]         = {0xa, 0x0d, 0x02},
	[SENSE_COPY_TARGET_FAILED]              = {0xa, 0x0d, 0x01},
	[SENSE_DATA_PHASE_ERROR]                = {0xb, 0x4b, 0x00},
	[SENSE_NOT_ENOUGH_UNSOLICITED]          = {0xb, 0x0c, 0x0d},
	[SENSE_PROTOCOL_CRC_ERROR]              = {0xb, 0x47, 0x05},
	[SENSE_UNEXPECTED_UNSOLICITED]          = {0xb, 0x0c, 0x0c},
	[SENSE_COMMAND_ABORTED]                 = {0xb, 0x00, 0x00},
	[SENSE_OVERLAPPED_COMMANDS]             = {0xb, 0x4e, 0x00},
	[SENSE_MISCOMPARE]                      = {0xe, 0x1d, 0x00},
};
/* clang-format on */

struct sense_extra {
	bool has_info, has_sks;
	uint64_t info;
	uint8_t sks[3];
};

static void
build_descriptor(const struct sense_code *s, const struct sense_extra *x, uint8_t *buf, size_t *len)
{
	buf[0] = 0x72;
	buf[1] = s->key;
	buf[2] = s->asc;
	buf[3] = s->ascq;
	size_t at = 8;
	if (x->has_info) { /* SPC-4 4.5.2.2 */
		buf[at] = 0x00;
		buf[at + 1] = 0x0a;
		buf[at + 2] = 0x80;
		store_be64(buf + at + 4, x->info);
		at += 12;
	}
	if (x->has_sks) { /* SPC-4 4.5.2.4 */
		buf[at] = 0x02;
		buf[at + 1] = 0x06;
		memcpy(buf + at + 4, x->sks, 3);
		at += 8;
	}
	buf[7] = (uint8_t)(at - 8);
	*len = at;
}

static void
build_fixed(const struct sense_code *s, const struct sense_extra *x, uint8_t *buf, size_t *len)
{
	buf[0] = 0x70;
	buf[2] = s->key;
	if (x->has_info && x->info <= UINT32_MAX) {
		buf[0] |= 0x80;
		store_be32(buf + 3, (uint32_t)x->info);
	}
	buf[7] = 10;
	buf[12] = s->asc;
	buf[13] = s->ascq;
	if (x->has_sks)
		memcpy(buf + 15, x->sks, 3);
	*len = 18;
}

static size_t
build(const struct sense_code *s, const struct sense_extra *x, bool descriptor, uint8_t *buf)
{
	size_t len = 0;
	memset(buf, 0, SCSI_SENSE_MAX_BYTES);
	(descriptor ? build_descriptor : build_fixed)(s, x, buf, &len);
	ASSERT(len <= SCSI_SENSE_MAX_BYTES);
	return len;
}

static bool
set(struct scsi_task *t, const struct sense_code *s, const struct sense_extra *x)
{
	bool descriptor = t->nlu != NULL && t->nlu->ll->st.mode.d_sense;
	t->sense_len = (uint8_t)build(s, x, descriptor, t->sense);
	t->status = SCSI_CHECK_CONDITION;
	return false;
}

bool
scsi_sense(struct scsi_task *t, enum scsi_sense s)
{
	ASSERT(s > SENSE_NONE && s < SENSE_COUNT);
	return set(t, &codes[s], &(struct sense_extra){0});
}

/* SPC-4 4.5.2.4.2. */
static bool
field_pointer(struct scsi_task *t, enum scsi_sense s, bool in_cdb, unsigned byte, int bit)
{
	struct sense_extra x = {.has_sks = true};
	x.sks[0] = (uint8_t)(0x80u | (in_cdb ? 0x40u : 0u));
	if (bit >= 0)
		x.sks[0] |= (uint8_t)(0x08u | ((unsigned)bit & 7u));
	store_be16(x.sks + 1, (uint16_t)byte);
	return set(t, &codes[s], &x);
}

bool
scsi_sense_cdb(struct scsi_task *t, unsigned byte, int bit)
{
	return field_pointer(t, SENSE_INVALID_FIELD_CDB, true, byte, bit);
}

bool
scsi_sense_param(struct scsi_task *t, unsigned byte, int bit)
{
	return field_pointer(t, SENSE_INVALID_FIELD_PARAM, false, byte, bit);
}

bool
scsi_sense_info(struct scsi_task *t, enum scsi_sense s, uint64_t information)
{
	ASSERT(s > SENSE_NONE && s < SENSE_COUNT);
	return set(t, &codes[s], &(struct sense_extra){.has_info = true, .info = information});
}

bool
scsi_sense_progress(struct scsi_task *t, enum scsi_sense s, uint16_t progress)
{
	ASSERT(s > SENSE_NONE && s < SENSE_COUNT);
	struct sense_extra x = {.has_sks = true, .sks = {0x80}};
	store_be16(x.sks + 1, progress); /* SPC-4 4.5.2.4.4 */
	return set(t, &codes[s], &x);
}

bool
scsi_sense_errno(struct scsi_task *t, int err, enum blk_op op, uint64_t lba)
{
	ASSERT(err < 0);
	switch (-err) {
	case EIO:
		return scsi_sense_info(t,
		    op == BLK_READ || op == BLK_EXTENTS ? SENSE_UNRECOVERED_READ
		                                        : SENSE_WRITE_ERROR,
		    lba);
	case ENOSPC:
		/* SBC-3 4.7.3.6: no resources for thin provisioning. */
		return scsi_sense(t, SENSE_SPACE_ALLOC_FAILED);
	case ENODEV:
	case ENXIO:
		return scsi_sense(t, SENSE_NOT_READY_MANUAL);
	case EROFS:
		return scsi_sense(t, SENSE_WRITE_PROTECTED);
	case EOPNOTSUPP:
		return scsi_sense(t, SENSE_INVALID_OPCODE);
	case EINVAL:
	case ERANGE:
		/* The store shrank after the range was checked. */
		return scsi_sense_info(t, SENSE_LBA_OUT_OF_RANGE, lba);
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:
		/* A shortage that passes: the initiator tries again (SAM-5 5.3.1). */
		t->status = SCSI_BUSY;
		t->sense_len = 0;
		return false;
	default:
		return scsi_sense(t, SENSE_INTERNAL_FAILURE);
	}
}

size_t
scsi_sense_build(enum scsi_sense s, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES])
{
	ASSERT(s < SENSE_COUNT);
	return build(&codes[s], &(struct sense_extra){0}, descriptor, buf);
}

size_t
scsi_sense_build_progress(
    enum scsi_sense s, uint16_t progress, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES])
{
	ASSERT(s < SENSE_COUNT);
	struct sense_extra x = {.has_sks = true, .sks = {0x80}};
	store_be16(x.sks + 1, progress);
	return build(&codes[s], &x, descriptor, buf);
}

size_t
scsi_sense_build_code(
    uint8_t key, uint8_t asc, uint8_t ascq, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES])
{
	struct sense_code s = {key, asc, ascq};
	return build(&s, &(struct sense_extra){0}, descriptor, buf);
}
