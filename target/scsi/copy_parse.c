/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parameter list of EXTENDED COPY(LID1), SPC-4 6.3: header, target descriptors, segment
 * descriptors. Every byte comes from the initiator. A target is only ever looked for among the units
 * that the nexus itself sees.
 */
#include "scsi/copy.h"

#define HEADER_BYTES 16u

/* SPC-4 7.8.6.3. */
enum designator { DESIG_T10 = 1, DESIG_EUI64 = 2, DESIG_NAA = 3 };
#define DESIGNATOR_MAX_BYTES 20u

#define TARGET_NUL 0x20

static bool
parse_header(struct scsi_task *t, const uint8_t *p, size_t len, struct copy_list *l)
{
	if (len < HEADER_BYTES)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	l->list_id = p[0];
	l->list_id_usage = p[1] >> 3 & 0x03;
	if (l->list_id_usage == COPY_LIST_ID_RESERVED)
		return scsi_sense_param(t, 1, 4);
	if (l->list_id_usage == COPY_LIST_ID_NONE && l->list_id != 0)
		return scsi_sense_param(t, 0, -1);
	uint32_t target_bytes = load_be16(p + 2);
	uint64_t segment_bytes = load_be32(p + 8);
	uint64_t inline_bytes = load_be32(p + 12);
	if (HEADER_BYTES + target_bytes + segment_bytes + inline_bytes > len ||
	    target_bytes + segment_bytes > COPY_DESC_BYTES_MAX)
		return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
	if (inline_bytes != 0)
		return scsi_sense(t, SENSE_INLINE_DATA_LENGTH);
	if (target_bytes % COPY_TARGET_BYTES != 0)
		return scsi_sense_param(t, 2, -1);
	l->targets = p + HEADER_BYTES;
	l->target_count = target_bytes / COPY_TARGET_BYTES;
	l->segments_at = HEADER_BYTES + target_bytes;
	l->segments = p + l->segments_at;
	l->segment_count = (uint32_t)segment_bytes; /* bytes until they are counted */
	return true;
}

/* SPC-4 6.3.6.1, 6.3.6.4: LU ID TYPE is ignored where the descriptor has a designator. */
static bool
parse_targets(struct scsi_task *t, const struct copy_list *l)
{
	for (uint32_t i = 0; i < l->target_count; i++) {
		const uint8_t *d = l->targets + i * COPY_TARGET_BYTES;
		unsigned at = HEADER_BYTES + i * COPY_TARGET_BYTES;
		if (d[0] != COPY_TGT_IDENTIFICATION)
			return scsi_sense(t, SENSE_UNSUPPORTED_TARGET_DESC);
		if ((d[1] & 0x1f) != 0) /* not a disk */
			return scsi_sense_param(t, at + 1, 4);
		if (d[7] > DESIGNATOR_MAX_BYTES)
			return scsi_sense_param(t, at + 7, -1);
	}
	if (l->target_count > COPY_TARGETS_MAX)
		return scsi_sense(t, SENSE_TOO_MANY_TARGET_DESCS);
	return true;
}

/* SPC-4 6.3.7.1. Only block to block descriptors pass, so that all have one length. */
static bool
parse_segments(struct scsi_task *t, struct copy_list *l)
{
	uint32_t bytes = l->segment_count, count = 0;
	for (uint32_t at = 0; at < bytes; at += COPY_SEG_BYTES, count++) {
		const uint8_t *d = l->segments + at;
		if (d[0] != COPY_SEG_BLOCK_TO_BLOCK)
			return scsi_sense(t, SENSE_UNSUPPORTED_SEGMENT_DESC);
		if (bytes - at < COPY_SEG_BYTES)
			return scsi_sense(t, SENSE_PARAM_LIST_LENGTH);
		if (load_be16(d + 2) != COPY_SEG_BYTES - 4)
			return scsi_sense_param(t, l->segments_at + at + 2, -1);
	}
	if (count > COPY_SEGMENTS_MAX)
		return scsi_sense(t, SENSE_TOO_MANY_SEGMENT_DESCS);
	l->segment_count = count;
	return true;
}

bool
copy_parse(struct scsi_task *t, const uint8_t *p, size_t len, struct copy_list *ret)
{
	return parse_header(t, p, len, ret) && parse_targets(t, ret) && parse_segments(t, ret);
}

/* Does the designation descriptor at `d` name this unit? */
static bool
target_matches(const uint8_t *d, const struct scsi_lu *lu)
{
	uint8_t t10[8 + DESIGNATOR_MAX_BYTES + 1];
	size_t len = d[7];
	const uint8_t *id = d + 8;
	if ((d[5] & 0x30) != 0) /* not of a logical unit */
		return false;
	switch (d[5] & 0x0f) {
	case DESIG_NAA:
		return len > 0 && len == lu->id.naa_bytes && memcmp(id, lu->id.naa, len) == 0;
	case DESIG_EUI64: {
		static const uint8_t none[sizeof lu->id.eui64];
		return len == sizeof none && memcmp(id, lu->id.eui64, len) == 0 &&
		       memcmp(id, none, len) != 0;
	}
	case DESIG_T10:
		return len == scsi_lu_t10_designator(lu, t10, sizeof t10) &&
		       memcmp(id, t10, len) == 0;
	default:
		return false;
	}
}

static struct scsi_nexus_lu *
target_find(const struct scsi_task *t, const struct copy_list *l, uint32_t index)
{
	if (index >= l->target_count)
		return NULL;
	const uint8_t *d = l->targets + index * COPY_TARGET_BYTES;
	if (d[1] & TARGET_NUL)
		return NULL;
	for (uint32_t i = 0; i < t->nexus->nlu_count; i++) {
		if (target_matches(d, t->nexus->nlus[i]->lu))
			return t->nexus->nlus[i];
	}
	return NULL;
}

/* A block length that the descriptor gives must be the unit's; zero says nothing. */
static bool
target_block_bytes_ok(const struct copy_list *l, uint32_t index, const struct scsi_lu *lu)
{
	uint32_t bytes = load_be24(l->targets + index * COPY_TARGET_BYTES + 29);
	return bytes == 0 || bytes == lu->id.block_bytes;
}

static bool
segment_in_range(const struct scsi_nexus_lu *nlu, uint64_t lba, uint32_t blocks)
{
	uint64_t capacity = nlu->ll->st.blocks;
	return blocks <= capacity && lba <= capacity - blocks;
}

bool
copy_parse_segment(
    struct scsi_task *t, const struct copy_list *l, uint32_t index, struct copy_segment *ret)
{
	ASSERT(index < l->segment_count);
	const uint8_t *d = l->segments + index * COPY_SEG_BYTES;
	unsigned at = l->segments_at + index * COPY_SEG_BYTES;
	uint32_t src = load_be16(d + 4), dst = load_be16(d + 6);
	ret->src = target_find(t, l, src);
	ret->dst = target_find(t, l, dst);
	if (!ret->src || !ret->dst)
		return scsi_sense(t, SENSE_COPY_TARGET_UNREACHABLE);
	if (!target_block_bytes_ok(l, src, ret->src->lu))
		return scsi_sense_param(t, HEADER_BYTES + src * COPY_TARGET_BYTES + 29, -1);
	if (!target_block_bytes_ok(l, dst, ret->dst->lu))
		return scsi_sense_param(t, HEADER_BYTES + dst * COPY_TARGET_BYTES + 29, -1);
	if (ret->src->lu->id.block_bytes != ret->dst->lu->id.block_bytes)
		return scsi_sense_param(t, at + 6, -1);
	/* DC and CAT make a difference only where the block lengths do. */
	ret->blocks = load_be16(d + 10);
	ret->src_lba = load_be64(d + 12);
	ret->dst_lba = load_be64(d + 20);
	if (!segment_in_range(ret->src, ret->src_lba, ret->blocks) ||
	    !segment_in_range(ret->dst, ret->dst_lba, ret->blocks))
		return scsi_sense(t, SENSE_COPY_ABORTED);
	return true;
}
