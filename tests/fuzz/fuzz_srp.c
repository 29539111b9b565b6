/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec of SRP. The first byte says what the rest is: 0 a login of the RDMA CM, 1 of the IB CM,
 * else a command, with the second byte as the offset of immediate data that was granted, in words.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "srp/login.h"

/* All that a buffer names can be read, and describes what it says. */
static void
look(const struct srp_buffer *b, const uint8_t *iu, size_t size)
{
	uint64_t total = 0;
	uint8_t sum = 0;
	for (uint32_t i = 0; i < b->desc_count; i++) {
		struct srp_desc d = srp_desc_get(b->descs, i);
		total += d.len;
		if (!srp_buffer_is_external(b))
			ASSERT(d.len > 0 && d.va <= UINT64_MAX - d.len);
	}
	if (b->desc_count > 0) {
		ASSERT((const uint8_t *)b->descs >= iu);
		ASSERT((const uint8_t *)(b->descs + b->desc_count) <= iu + size);
		if (!srp_buffer_is_external(b))
			ASSERT(total == b->bytes);
	}
	ASSERT(b->table_count <= SRP_TABLE_MAX);
	for (uint32_t i = 0; b->data != NULL && i < b->bytes; i++)
		sum = (uint8_t)(sum + b->data[i]);
	(void)sum;
}

static void
command(const uint8_t *data, size_t size, unsigned offset)
{
	const struct srp_cmd_limits limits = {
	    .imm_data_offset = (uint16_t)(offset * 4), .xfer_max_bytes = 4u << 20};
	struct srp_request r;
	enum srp_logout_reason reason;
	enum srp_verdict v = srp_cmd_parse(data, size, &limits, &r, &reason);
	if (v == SRP_END)
		return;
	ASSERT(r.cdb >= data && r.cdb + r.cdb_len <= data + size);
	if (v == SRP_REFUSE)
		return;
	ASSERT(r.cdb_len >= 16 && r.cdb_len <= SRP_CDB_MAX_BYTES);
	ASSERT(r.out.format == SRP_FMT_NONE || r.in.format == SRP_FMT_NONE);
	ASSERT(r.out.bytes <= limits.xfer_max_bytes && r.in.bytes <= limits.xfer_max_bytes);
	look(&r.out, data, size);
	look(&r.in, data, size);
	uint8_t buf[SRP_RSP_MAX_BYTES];
	const struct srp_answer a = {.tag = r.tag,
	    .code = r.sol_not - 1,
	    .out_bytes = r.out.bytes,
	    .in_bytes = r.in.bytes,
	    .xfer_bytes = load_be16(r.cdb),
	    .sense = r.cdb,
	    .sense_len = r.attr};
	size_t len = srp_rsp_build(buf, &a);
	ASSERT(len >= 36 && len <= sizeof buf);
}

static void
login(const uint8_t *data, size_t size, bool rdma)
{
	struct srp_login l;
	if (srp_login_parse(data, size, rdma, &l) < 0)
		return;
	struct srp_config config = {0};
	list_init(&config.targets);
	struct srp_target t = {.name = (char[]){"t"}, .open_view = (struct scsi_view *)&t};
	uint16_t one = 1;
	t.portal_tags = t.rel_port_ids = &one;
	t.portal_count = 1;
	memcpy(t.port_id, l.target_port, sizeof t.port_id);
	list_push_back(&config.targets, &t.link);
	struct srp_limits limits;
	srp_limits_default(&limits);
	struct srp_login_env env = {.config = &config, .limits = &limits, .portal_tag = 1};
	env.channels = l.tag[0] % 20;
	struct srp_login_result r;
	enum srp_login_reason reason;
	if (srp_login_decide(&env, &l, &r, &reason) != NULL)
		return;
	ASSERT(l.it_iu_len >= SRP_IU_MIN_BYTES && l.it_iu_len <= limits.it_iu_max_bytes);
	ASSERT(
	    r.imm_data_offset == 0 || (r.imm_data_offset >= 52 && r.imm_data_offset < l.it_iu_len));
	ASSERT(!(r.joins && r.ends));
}

static void
pattern(const uint8_t *data, size_t size)
{
	char text[300];
	struct srp_pattern p;
	struct srp_peer peer = {.pkey = 0x8001};
	size_t len = size < sizeof text - 1 ? size : sizeof text - 1;
	memcpy(text, data, len);
	text[len] = '\0';
	if (srp_pattern_parse(text, &p) < 0)
		return;
	(void)srp_pattern_matches(&p, "srp.00000000000000000000000000000001", &peer);
	srp_pattern_fini(&p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	uint8_t kind = data[0], arg = data[1];
	uint8_t *copy = malloc(size); /* of just its size: reads behind it are seen */
	if (copy == NULL)
		abort();
	memcpy(copy, data + 2, size - 2);
	uint8_t *exact = realloc(copy, size - 2 > 0 ? size - 2 : 1);
	if (exact == NULL)
		abort();
	if (kind <= 1)
		login(exact, size - 2, kind == 0);
	else if (kind == 2)
		pattern(exact, size - 2);
	else
		command(exact, size - 2, arg);
	free(exact);
	return 0;
}
