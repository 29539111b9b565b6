/* SPDX-License-Identifier: BSD-2-Clause */
/* A SANITIZE that hasn't succeeded, over a restart (docs/format/catalog.md, "sanitize"). */
#include <errno.h>

#include "base/crc32c.h"
#include "scsi/sbc_priv.h"

#define RECORD_VERSION 1u
#define FLAG_AUSE 0x0001u

struct record {
	le16 version; /*  0 */
	le16 flags;   /*  2 */
	le32 crc;     /*  4  CRC32C of the unit's UUID and the record with this field 0 */
	le64 zero;    /*  8 */
};
_Static_assert(sizeof(struct record) == sizeof(((struct sanitize_keep *)0)->record), "format");

static uint32_t
record_crc(const struct scsi_lu *lu, struct record r)
{
	le32_put(&r.crc, 0);
	const uint32_t crc = crc32c_update(CRC32C_INIT, lu->id.uuid, sizeof lu->id.uuid);
	return crc32c_final(crc32c_update(crc, &r, sizeof r));
}

static void
kept(void *ctx, int result)
{
	struct sanitize_keep *k = ctx;
	k->done(k, result);
}

bool
sbc_sanitize_keep(const struct scsi_lu *lu, bool ause, struct sanitize_keep *k)
{
	const struct scsi_persist_ops *p = &lu->core->persist;
	struct record r = {0};
	le16_put(&r.version, RECORD_VERSION);
	le16_put(&r.flags, ause ? FLAG_AUSE : 0);
	le32_put(&r.crc, record_crc(lu, r));
	memcpy(k->record, &r, sizeof r);
	if (p->save == NULL)
		return false;
	p->save(p->ctx, SCSI_PERSIST_SANITIZE, lu->id.uuid, k->record, sizeof k->record, kept, k);
	return true;
}

bool
sbc_sanitize_forget(const struct scsi_lu *lu, struct sanitize_keep *k)
{
	const struct scsi_persist_ops *p = &lu->core->persist;
	if (p->save == NULL)
		return false;
	p->save(p->ctx, SCSI_PERSIST_SANITIZE, lu->id.uuid, NULL, 0, kept, k);
	return true;
}

int
scsi_lu_restore_sanitize(struct scsi_lu *lu, const void *blob, size_t len)
{
	struct record r = {0};
	if (len == 0)
		return 0;
	if (len == sizeof r)
		memcpy(&r, blob, sizeof r);
	const bool sound = len == sizeof r && le16_get(r.version) == RECORD_VERSION &&
	                   le32_get(r.crc) == record_crc(lu, r);
	for (unsigned i = 0; i < lu->core->loop_count; i++) {
		struct scsi_lu_loop *ll = &lu->ll[i];
		ASSERT(list_empty(&ll->nexus_lus));
		ll->st.sanitize_failed = true;
		ll->st.sanitize_restricted = !sound || (le16_get(r.flags) & FLAG_AUSE) == 0;
		scsi_lu_refresh(ll);
	}
	return sound ? 0 : -EINVAL;
}

bool
scsi_lu_sanitize_failed(const struct scsi_lu *lu)
{
	return lu->ll[0].st.sanitize_failed;
}
