/* SPDX-License-Identifier: BSD-2-Clause */
/* The stored form of a unit's reservations: docs/format/reservations.md has every byte. */
#include "scsi/pr.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"

#define BLOB_VERSION 1u

struct blob_head {
	uint8_t magic[4];     /*  0  "TRPR" */
	le16 version;         /*  4 */
	le16 reserved1;       /*  6  0 */
	le32 bytes;           /*  8  of the whole blob */
	le32 crc;             /* 12  CRC32C of the whole blob with this field 0 */
	uint8_t lu_uuid[16];  /* 16 */
	uint8_t type;         /* 32  SPC-4 6.15.3.4, 0: no reservation */
	uint8_t reserved2[3]; /* 33  0 */
	le32 holder;          /* 36  index of the registration, ffffffffh: none */
	le32 count;           /* 40  of registrations */
	le32 reserved3;       /* 44  0 */
};
_Static_assert(sizeof(struct blob_head) == 48, "format");
_Static_assert(offsetof(struct blob_head, lu_uuid) == 16, "format");
_Static_assert(offsetof(struct blob_head, holder) == 36, "format");

struct blob_reg {
	le64 key;       /*  0  not 0 */
	le16 rel_port;  /*  8  relative target port identifier */
	le16 tid_bytes; /* 10  of the TransportID that follows */
	le32 reserved;  /* 12  0 */
};
_Static_assert(sizeof(struct blob_reg) == 16, "format");

static const uint8_t magic[4] = {'T', 'R', 'P', 'R'};

static uint32_t
blob_crc(const uint8_t *buf, size_t len)
{
	static const uint8_t zero[sizeof(le32)];
	const size_t at = offsetof(struct blob_head, crc);

	uint32_t crc = crc32c_update(CRC32C_INIT, buf, at);
	crc = crc32c_update(crc, zero, sizeof(zero));
	crc = crc32c_update(crc, buf + at + sizeof(zero), len - at - sizeof(zero));
	return crc32c_final(crc);
}

size_t
pr_blob_bytes(const struct pr_state *st)
{
	size_t len = sizeof(struct blob_head);

	for (uint32_t i = 0; i < st->count; i++)
		len += sizeof(struct blob_reg) + st->regs[i].tid.len;
	return len;
}

void
pr_blob_encode(const struct pr_state *st, const uint8_t lu_uuid[16], uint8_t *buf)
{
	size_t len = pr_blob_bytes(st), at = sizeof(struct blob_head);
	struct blob_head h = {.type = st->type};

	ASSERT(!st->lost && st->count <= SCSI_PR_REGISTRATIONS_MAX);
	memcpy(h.magic, magic, sizeof(magic));
	memcpy(h.lu_uuid, lu_uuid, sizeof(h.lu_uuid));
	le16_put(&h.version, BLOB_VERSION);
	le32_put(&h.bytes, (uint32_t)len);
	le32_put(&h.holder, st->holder);
	le32_put(&h.count, st->count);
	memcpy(buf, &h, sizeof(h));
	for (uint32_t i = 0; i < st->count; i++) {
		const struct pr_reg *reg = &st->regs[i];
		struct blob_reg r = {0};
		le64_put(&r.key, reg->key);
		le16_put(&r.rel_port, reg->rel_port);
		le16_put(&r.tid_bytes, reg->tid.len);
		memcpy(buf + at, &r, sizeof(r));
		memcpy(buf + at + sizeof(r), reg->tid.b, reg->tid.len);
		at += sizeof(r) + reg->tid.len;
	}
	ASSERT(at == len);
	le32_put(&h.crc, blob_crc(buf, len));
	memcpy(buf, &h, sizeof(h));
}

static bool
head_ok(const struct blob_head *h, const uint8_t *buf, size_t len, const uint8_t lu_uuid[16])
{
	static const uint8_t zero[3];

	return memcmp(h->magic, magic, sizeof(magic)) == 0 &&
	       le16_get(h->version) == BLOB_VERSION && le32_get(h->bytes) == len &&
	       le32_get(h->crc) == blob_crc(buf, len) &&
	       memcmp(h->lu_uuid, lu_uuid, sizeof(h->lu_uuid)) == 0 &&
	       le16_get(h->reserved1) == 0 && le32_get(h->reserved3) == 0 &&
	       memcmp(h->reserved2, zero, sizeof(zero)) == 0 &&
	       le32_get(h->count) <= SCSI_PR_REGISTRATIONS_MAX;
}

/* Appends the registration at buf[at]; the offset behind it, or 0: damaged. */
static size_t
decode_reg(struct pr_state *st, const uint8_t *buf, size_t len, size_t at)
{
	struct blob_reg r;
	struct pr_tid parsed;

	if (len - at < sizeof(r))
		return 0;
	memcpy(&r, buf + at, sizeof(r));
	at += sizeof(r);
	size_t n = le16_get(r.tid_bytes);
	if (le64_get(r.key) == 0 || le32_get(r.reserved) != 0 || n < 24 || n % 4 ||
	    n > SCSI_TRANSPORT_ID_MAX || n > len - at)
		return 0;
	struct pr_reg *reg = &st->regs[st->count];
	reg->key = le64_get(r.key);
	reg->rel_port = le16_get(r.rel_port);
	reg->tid.len = (uint16_t)n;
	memcpy(reg->tid.b, buf + at, n);
	/* A known form has to be in its one spelling, or it would never match its port. */
	if (pr_tid_parse(buf + at, n, &parsed) != 0 && !pr_tid_equal(&parsed, &reg->tid))
		return 0;
	if (pr_state_find(st, &reg->tid, reg->rel_port) >= 0)
		return 0;
	st->count++;
	return at + n;
}

static bool
decode_regs(struct pr_state *st, uint32_t count, const uint8_t *buf, size_t len)
{
	size_t at = sizeof(struct blob_head);

	for (uint32_t i = 0; i < count; i++) {
		at = decode_reg(st, buf, len, at);
		if (at == 0)
			return false;
	}
	return at == len;
}

int
pr_blob_decode(const void *blob, size_t len, const uint8_t lu_uuid[16], struct pr_state **ret)
{
	struct blob_head h;

	if (len < sizeof(h))
		return -EINVAL;
	memcpy(&h, blob, sizeof(h));
	if (!head_ok(&h, blob, len, lu_uuid))
		return -EINVAL;
	uint32_t count = le32_get(h.count), holder = le32_get(h.holder);
	bool one_holder = h.type != PR_NONE && !pr_type_all_registrants(h.type);
	if (h.type != PR_NONE && (!pr_type_valid(h.type) || count == 0))
		return -EINVAL;
	if (one_holder ? holder >= count : holder != PR_NO_HOLDER)
		return -EINVAL;
	struct pr_state *st = pr_state_alloc(count);
	if (!st)
		return -ENOMEM;
	if (!decode_regs(st, count, blob, len)) {
		free(st);
		return -EINVAL;
	}
	st->type = h.type;
	st->holder = holder;
	st->aptpl = count > 0;
	*ret = st;
	return 0;
}
