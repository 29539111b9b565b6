/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much space a thin unit's store has left, and the notice when it gets short (SBC-3 4.7.3.7):
 * available and used space in the log page, one threshold in the mode page, a unit attention when it
 * is crossed. Counted in threshold sets of 1 MiB.
 */
#include <errno.h>

#include "scsi/sbc_priv.h"
#include "scsi/spc.h"

#define SET_SHIFT 20u
/* 2 PiB in sets: two counts and a flag travel in one word. */
#define SETS_MAX ((1u << 31) - 1)
#define LOW_SHARE 10u /* the threshold: this part of the unit */
#define PARAM_AVAILABLE 0x0001u
#define PARAM_USED 0x0002u
#define SCOPE_UNIT 0x01u   /* for this unit alone */
#define SCOPE_SHARED 0x02u /* perhaps for others as well: a file system's */

static uint32_t
sets(uint64_t bytes)
{
	uint64_t n = bytes >> SET_SHIFT;
	return n > SETS_MAX ? SETS_MAX : (uint32_t)n;
}

static uint32_t
threshold_sets(const struct scsi_lu *lu, uint64_t blocks)
{
	uint32_t n = sets(blocks << lu->block_shift) / LOW_SHARE;
	return n > 0 ? n : 1;
}

uint8_t
sbc_space_exponent(const struct scsi_lu *lu)
{
	return (uint8_t)(SET_SHIFT - lu->block_shift);
}

/*
 * Short is what is below the threshold and may be needed: a unit whose blocks are all there wants no
 * more. An eighth above it ends the shortage, so that a count that wavers isn't news every time.
 */
static bool
is_low(const struct scsi_lu *lu, const struct scsi_lu_state *st, uint64_t used, uint64_t free_bytes)
{
	uint64_t size = st->blocks << lu->block_shift;
	uint64_t limit = threshold_sets(lu, st->blocks);
	if (st->space_low)
		limit += limit / 8 + 1;
	return sets(free_bytes) < limit && used < size && free_bytes < size - used;
}

static void
space_edit(struct scsi_lu_state *st, void *arg)
{
	uint64_t packed = (uint64_t)(uintptr_t)arg;
	st->space_known = true;
	st->space_low = packed & 1;
	st->space_used_sets = (uint32_t)(packed >> 1) & SETS_MAX;
	st->space_free_sets = (uint32_t)(packed >> 32) & SETS_MAX;
}

int
scsi_lu_set_space(struct scsi_lu *lu, uint64_t used_bytes, uint64_t free_bytes)
{
	ASSERT(loop_is_current(lu->core->loops[0]));
	if (!lu->thin || lu->destroying)
		return 0;
	/* Home's own state may lag behind changes under way: the same news twice does no harm. */
	const struct scsi_lu_state *st = &lu->ll[0].st;
	bool low = is_low(lu, st, used_bytes, free_bytes);
	uint32_t used = sets(used_bytes), left = sets(free_bytes);
	if (st->space_known && st->space_low == low && st->space_used_sets == used &&
	    st->space_free_sets == left)
		return 0;
	uint64_t packed = (uint64_t)low | (uint64_t)used << 1 | (uint64_t)left << 32;
	int ua = low && !st->space_low ? UA_THIN_THRESHOLD : -1;
	return scsi_change_state(lu, space_edit, packed, ua, 0, NULL, NULL);
}

bool
scsi_lu_space_low(const struct scsi_lu *lu)
{
	ASSERT(loop_is_current(lu->core->loops[0]));
	return lu->ll[0].st.space_low;
}

/* SBC-3 6.5.8: one descriptor. SITUA 0: every nexus is told. */
void
sbc_space_mode_page(const struct scsi_lu *lu, const struct scsi_mode *m, uint8_t *body)
{
	(void)m;
	uint8_t *d = body + 12;
	d[0] = 0x80; /* enabled; a count; armed when it decreases */
	d[1] = PARAM_AVAILABLE;
	store_be32(d + 4, threshold_sets(lu, scsi_lu_here(lu)->st.blocks));
}

static void
add_count(struct spc_buf *b, uint16_t code, uint32_t count, uint8_t scope)
{
	uint8_t *d = spc_log_param_add(b, code, 8);
	store_be32(d, count);
	d[4] = scope;
}

/* SBC-3 6.4.4. */
bool
sbc_space_log_page(const struct scsi_task *t, uint16_t first, struct spc_buf *b)
{
	const struct scsi_lu_state *st = &t->nlu->ll->st;
	if (!st->space_known)
		return first == 0; /* an empty page: nothing was told yet */
	if (first <= PARAM_AVAILABLE)
		add_count(b, PARAM_AVAILABLE, st->space_free_sets, SCOPE_SHARED);
	if (first <= PARAM_USED)
		add_count(b, PARAM_USED, st->space_used_sets, SCOPE_UNIT);
	return first <= PARAM_USED;
}
