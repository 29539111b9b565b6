/* SPDX-License-Identifier: BSD-2-Clause */
/* Which parts of a unit are read and written: a count for each part, on each loop. */
#include "scsi/scsi_priv.h"

#include <string.h>

uint32_t
scsi_heat_shift(uint64_t blocks)
{
	uint32_t shift = 0;
	while (blocks > 0 && (blocks - 1) >> shift >= SCSI_HEAT_PARTS)
		shift++;
	return shift;
}

/* Parts become larger; the counts of those that were stay in those that have them now. */
static void
fold(uint32_t *counts, uint32_t by)
{
	for (uint32_t i = 0; i < SCSI_HEAT_PARTS; i++) {
		uint32_t n = counts[i], to = by < 32 ? i >> by : 0;
		__atomic_store_n(&counts[i], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&counts[to], counts[to] + n, __ATOMIC_RELAXED);
	}
}

void
scsi_heat_follow(struct scsi_lu_loop *ll)
{
	uint32_t shift = scsi_heat_shift(ll->st.blocks), was = ll->heat->shift;
	if (shift <= was) /* a unit that shrank keeps its large parts */
		return;
	fold(ll->heat->reads, shift - was);
	fold(ll->heat->writes, shift - was);
	__atomic_store_n(&ll->heat->shift, shift, __ATOMIC_RELEASE);
}

bool
scsi_lu_get_heat(const struct scsi_lu *lu, struct scsi_heat *ret)
{
	uint32_t shift = __atomic_load_n(&lu->ll[0].heat->shift, __ATOMIC_ACQUIRE);

	memset(ret, 0, sizeof *ret);
	for (unsigned i = 0; i < lu->core->loop_count; i++) {
		const struct scsi_heat *h = lu->ll[i].heat;
		if (__atomic_load_n(&h->shift, __ATOMIC_ACQUIRE) != shift)
			return false;
		for (uint32_t p = 0; p < SCSI_HEAT_PARTS; p++) {
			ret->reads[p] += __atomic_load_n(&h->reads[p], __ATOMIC_RELAXED);
			ret->writes[p] += __atomic_load_n(&h->writes[p], __ATOMIC_RELAXED);
		}
	}
	ret->shift = shift;
	return true;
}
