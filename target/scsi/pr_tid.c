/* SPDX-License-Identifier: BSD-2-Clause */
/* TransportIDs: parsed strictly, kept in one form (SPC-4 7.6.4). */
#include "scsi/pr.h"

#define TID_FIXED_BYTES 24u
#define ISID_DIGITS 12u

enum tid_protocol { TID_FC = 0x0, TID_SBP = 0x3, TID_SRP = 0x4, TID_ISCSI = 0x5, TID_SAS = 0x6 };

/* The bytes of the 24 that identify the port. */
static const struct {
	uint8_t protocol, first, count;
} fixed_forms[] = {
    {TID_FC, 8, 8},   /* 7.6.4.2: N_Port_Name */
    {TID_SBP, 8, 8},  /* 7.6.4.4: EUI-64 */
    {TID_SRP, 8, 16}, /* 7.6.4.5: initiator port identifier */
    {TID_SAS, 4, 8},  /* 7.6.4.7: SAS address */
};

static bool
is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* "name,i,0xISID" without its end; the identifier gets 12 digits. False: not of that form. */
static bool
iscsi_port_name(const uint8_t *s, size_t len, struct pr_tid *ret)
{
	static const uint8_t separator[5] = {',', 'i', ',', '0', 'x'};
	uint8_t name[SCSI_TRANSPORT_ID_MAX];

	for (size_t i = 0; i < len; i++) {
		if (s[i] <= ' ' || s[i] == 0x7f)
			return false;
		name[i] = lower(s[i]);
	}
	size_t digits = 0;
	while (digits < len && is_hex(name[len - 1 - digits]))
		digits++;
	if (digits == 0 || digits > ISID_DIGITS || len < digits + sizeof(separator) + 1)
		return false;
	size_t base = len - digits;
	if (memcmp(name + base - sizeof(separator), separator, sizeof(separator)) != 0)
		return false;
	size_t text = base + ISID_DIGITS;
	size_t field = (text + 1 + 3) & ~(size_t)3;
	if (field < TID_FIXED_BYTES - 4)
		field = TID_FIXED_BYTES - 4;
	if (4 + field > sizeof(ret->b))
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->len = (uint16_t)(4 + field);
	ret->b[0] = 0x40 | TID_ISCSI;
	store_be16(ret->b + 2, (uint16_t)field);
	memcpy(ret->b + 4, name, base);
	memset(ret->b + 4 + base, '0', ISID_DIGITS - digits);
	memcpy(ret->b + 4 + text - digits, name + base, digits);
	return true;
}

static size_t
parse_iscsi(const uint8_t *p, size_t avail, struct pr_tid *ret)
{
	if (avail < 4)
		return 0;
	size_t field = load_be16(p + 2);
	size_t total = 4 + field;
	if ((p[0] & 0x30) || field < TID_FIXED_BYTES - 4 || field % 4 || total > avail ||
	    total > sizeof(ret->b))
		return 0;
	/*
	 * The name ends at its first zero byte, 7.6.4.6; there has to be one. Format 00b, which stands
	 * for all ports of a device, may be rejected.
	 */
	size_t len = strnlen((const char *)p + 4, field);
	if (len == field || (p[0] >> 6) != 1)
		return 0;
	return iscsi_port_name(p + 4, len, ret) ? total : 0;
}

size_t
pr_tid_parse(const uint8_t *p, size_t avail, struct pr_tid *ret)
{
	if (avail < 1)
		return 0;
	unsigned protocol = p[0] & 0x0f;
	if (protocol == TID_ISCSI)
		return parse_iscsi(p, avail, ret);
	if (avail < TID_FIXED_BYTES || (p[0] & 0xf0))
		return 0;
	for (size_t i = 0; i < sizeof(fixed_forms) / sizeof(fixed_forms[0]); i++) {
		if (fixed_forms[i].protocol != protocol)
			continue;
		memset(ret, 0, sizeof(*ret));
		ret->len = TID_FIXED_BYTES;
		ret->b[0] = (uint8_t)protocol;
		memcpy(
		    ret->b + fixed_forms[i].first, p + fixed_forms[i].first, fixed_forms[i].count);
		return TID_FIXED_BYTES;
	}
	return 0;
}

void
pr_tid_of_nexus(const struct scsi_nexus *n, struct pr_tid *ret)
{
	ASSERT(n->transport_id_len <= sizeof(ret->b));
	if (pr_tid_parse(n->transport_id, n->transport_id_len, ret) == n->transport_id_len)
		return;
	memset(ret, 0, sizeof(*ret));
	ret->len = n->transport_id_len;
	memcpy(ret->b, n->transport_id, n->transport_id_len);
}
