/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unit attentions: one bit per kind, nexus and unit, taken lazily by the next command (SAM-5 5.14).
 * Raising one that is pending changes nothing, so none is reported twice.
 */
#include "scsi/scsi_priv.h"

/* clang-format off */
static const struct {
	uint8_t asc, ascq;
} codes[UA_COUNT] = {
	[UA_POWER_ON]         = {0x29, 0x00},
	[UA_BUS_RESET]        = {0x29, 0x02},
	[UA_DEVICE_RESET]     = {0x29, 0x03},
	[UA_NEXUS_LOSS]       = {0x29, 0x07},
	[UA_MEDIUM_CHANGED]   = {0x28, 0x00},
	[UA_COMMANDS_CLEARED] = {0x2f, 0x00},
	[UA_MODE_CHANGED]     = {0x2a, 0x01},
	[UA_LOG_CHANGED]      = {0x2a, 0x02},
	[UA_RES_PREEMPTED]    = {0x2a, 0x03},
	[UA_RES_RELEASED]     = {0x2a, 0x04},
	[UA_REG_PREEMPTED]    = {0x2a, 0x05},
	[UA_ALUA_CHANGED]     = {0x2a, 0x06},
	[UA_CAPACITY_CHANGED] = {0x2a, 0x09},
	[UA_INQUIRY_CHANGED]  = {0x3f, 0x03},
	[UA_LUNS_CHANGED]     = {0x3f, 0x0e},
	[UA_THIN_THRESHOLD]   = {0x38, 0x07},
};
/* clang-format on */
_Static_assert(UA_COUNT <= 32, "bits of scsi_nexus_lu.ua");

void
scsi_ua_raise(struct scsi_nexus_lu *nlu, enum scsi_ua ua)
{
	ASSERT(ua < UA_COUNT);
	nlu->ua |= 1u << ua;
}

void
scsi_ua_clear(struct scsi_nexus *n, enum scsi_ua ua)
{
	ASSERT(loop_is_current(n->loop) && ua < UA_COUNT);
	for (uint32_t i = 0; i < n->nlu_count; i++)
		n->nlus[i]->ua &= ~(1u << ua);
}

void
scsi_ua_raise_loop(struct scsi_lu_loop *ll, enum scsi_ua ua, const struct scsi_nexus *except)
{
	LIST_FOREACH (l, &ll->nexus_lus) {
		struct scsi_nexus_lu *nlu = container_of(l, struct scsi_nexus_lu, lu_link);
		if (nlu->nexus != except)
			scsi_ua_raise(nlu, ua);
	}
}

size_t
scsi_ua_take_sense(struct scsi_nexus_lu *nlu, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES])
{
	if (nlu->ua == 0)
		return 0;
	unsigned ua = (unsigned)__builtin_ctz(nlu->ua);
	nlu->ua &= nlu->ua - 1;
	return scsi_sense_build_code(0x6, codes[ua].asc, codes[ua].ascq, descriptor, buf);
}

bool
scsi_ua_take(struct scsi_nexus_lu *nlu, struct scsi_task *t)
{
	size_t len = scsi_ua_take_sense(nlu, nlu->ll->st.mode.d_sense, t->sense);
	if (len == 0)
		return false;
	t->sense_len = (uint8_t)len;
	t->status = SCSI_CHECK_CONDITION;
	return true;
}
