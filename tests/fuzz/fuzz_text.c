/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text requests of one session: {flags, options, length (2, big-endian), text}. The first byte of
 * the input: 1: a normal session, 2: as alice, 4: small segments. Options: 1: no target transfer
 * tag, 2: a wrong one, 4: another task tag; else that of the answer before.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz_iscsi.h"

#define REQUESTS_MAX 64u

static int
one_request(struct iscsi_text_session *ts, const struct iscsi_text_who *who, uint8_t flags,
    uint8_t options, be32 ttt, const uint8_t *text, size_t len, struct iscsi_text_rsp *rsp)
{
	struct iscsi_text_req req = {.opcode = ISCSI_OP_TEXT_REQ, .flags = flags, .ttt = ttt};
	be32_put(&req.itt, options & 4 ? 2 : 1);
	if (options & 1)
		be32_put(&req.ttt, ISCSI_TAG_NONE);
	if (options & 2)
		be32_put(&req.ttt, 12345);
	char *data = malloc(len ? len : 1);
	if (!data)
		abort();
	memcpy(data, text, len);
	const char *out = NULL;
	size_t out_len = 0;
	uint32_t max = who->params->max_xmit_bytes;
	int r = iscsi_text_request(ts, who, &req, data, len, rsp, &out, &out_len);
	free(data);
	if (r == 0) {
		ASSERT(out_len <= max);
		ASSERT(out_len == be24_get(rsp->data_len));
		ASSERT((rsp->flags == ISCSI_FLAG_FINAL) == (be32_get(rsp->ttt) == ISCSI_TAG_NONE));
		char *copy = malloc(out_len ? out_len : 1);
		if (!copy)
			abort();
		memcpy(copy, out, out_len); /* all of it can be read */
		free(copy);
	}
	return r;
}

/* The parsers by themselves. */
static void
parse_values(const uint8_t *data, size_t size)
{
	char text[600];
	uint8_t binary[64];
	uint64_t number;
	size_t len = size < sizeof text - 1 ? size : sizeof text - 1;
	memcpy(text, data, len);
	text[len] = '\0';
	(void)iscsi_text_number(text, 1000, &number);
	if (iscsi_text_binary(text, binary, sizeof binary, &len) == 0)
		ASSERT(len > 0 && len <= sizeof binary);
	struct subnet acl;
	if (subnet_parse(text, &acl) == 0)
		ASSERT(acl.prefix_bits <= 128);
	char name[ISCSI_NAME_MAX + 1];
	if (iscsi_name_normalise(text, true, name))
		ASSERT(iscsi_name_normalise(name, false, name));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	parse_values(data + 1, size - 1);
	const struct iscsi_login_env *env = fuzz_env();
	struct iscsi_params params;
	iscsi_params_default(&params);
	if (data[0] & 4)
		params.max_xmit_bytes = 512;
	const struct iscsi_text_who who = {.env = env,
	    .discovery = !(data[0] & 1),
	    .initiator = "iqn.2020-01.x:host",
	    .user = data[0] & 2 ? "alice" : "",
	    .target = data[0] & 1 ? iscsi_config_find(env->config, "iqn.2024-01.x:open") : NULL,
	    .params = &params};
	data++;
	size--;
	struct iscsi_text_session ts = {0};
	struct iscsi_text_rsp rsp = {0};
	be32_put(&rsp.ttt, ISCSI_TAG_NONE);
	for (unsigned i = 0; size >= 4 && i < REQUESTS_MAX; i++) {
		uint8_t flags = data[0], options = data[1];
		size_t len = load_be16(data + 2);
		data += 4;
		size -= 4;
		if (len > size)
			len = size;
		if (one_request(&ts, &who, flags, options, rsp.ttt, data, len, &rsp) < 0)
			break;
		ASSERT(params.max_xmit_bytes >= 512);
		data += len;
		size -= len;
	}
	iscsi_text_session_fini(&ts);
	return 0;
}
