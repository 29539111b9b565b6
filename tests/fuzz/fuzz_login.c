/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A login: PDUs of {flags, options, length (2, big-endian), text}. Options: 1: the opcode is the
 * text's first byte; 2: another TSIH; 4: append the right CHAP_R for our challenge, so that the
 * fuzzer gets behind it; 8: no version; 16: another tag.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz_iscsi.h"

#define TEXT_MAX 8192u
#define PDUS_MAX 64u

static uint8_t chap_id;

/* Our challenge is public; its identifier was in the answer. */
static size_t
add_response(const struct iscsi_login *lg, char *buf)
{
	size_t len = 0;
	const uint8_t *challenge = iscsi_login_challenge(lg, &len);
	if (len == 0)
		return 0;
	uint8_t hash[ISCSI_CHAP_HASH_MAX];
	size_t n = iscsi_chap_hash(
	    CHAP_SHA256, chap_id, FUZZ_SECRET, strlen(FUZZ_SECRET), challenge, len, hash);
	size_t at = (size_t)sprintf(buf, "CHAP_R=0x");
	for (size_t i = 0; i < n; i++)
		at += (size_t)sprintf(buf + at, "%02x", hash[i]);
	return at + 1;
}

static void
note_id(const char *text, size_t len)
{
	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		if (strncmp(text + at, "CHAP_I=", 7) == 0)
			chap_id = (uint8_t)atoi(text + at + 7);
}

static enum iscsi_login_verdict
one_pdu(struct iscsi_login *lg, uint8_t flags, uint8_t options, const uint8_t *text, size_t len)
{
	struct iscsi_login_rsp rsp = {0};
	struct iscsi_login_req req = {.opcode = ISCSI_OP_LOGIN_REQ | ISCSI_OPCODE_IMMEDIATE};
	req.flags = flags;
	if ((options & 1) && len > 0)
		req.opcode = text[0];
	if (options & 2)
		be16_put(&req.tsih, 1);
	if (options & 8)
		req.version_min = 1;
	be32_put(&req.itt, options & 16 ? 2 : 1);
	char *data = malloc(len + 128);
	if (!data)
		abort();
	memcpy(data, text, len);
	size_t total = len + (options & 4 ? add_response(lg, data + len) : 0);
	char *exact = malloc(total ? total : 1);
	if (!exact)
		abort();
	memcpy(exact, data, total);
	free(data);
	enum iscsi_login_verdict v = iscsi_login_pdu(lg, &req, exact, total, &rsp);
	free(exact);

	size_t out_len = 0;
	if (v == LOGIN_PLACE) {
		const struct iscsi_login_result *r = iscsi_login_result(lg);
		ASSERT(r->discovery || (r->target && r->view));
		/* Nobody gets behind CHAP without its user. */
		ASSERT(!r->group || strcmp(r->user, "alice") == 0);
		ASSERT(r->params.first_burst_bytes <= r->params.max_burst_bytes);
		ASSERT(r->params.max_xmit_bytes >= 512);
		v = iscsi_login_finish(lg, ISCSI_LOGIN_SUCCESS, 9, &rsp);
		ASSERT(v == LOGIN_REFUSE || be16_get(rsp.tsih) == 9);
		v = LOGIN_PLACE;
	}
	const char *out = iscsi_login_text(lg, &out_len);
	ASSERT(out_len <= TEXT_MAX);
	fuzz_check_text(out, out_len);
	note_id(out, out_len);
	if (v == LOGIN_REFUSE)
		ASSERT(rsp.status_class != 0 && out_len == 0);
	return v;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_random_reset();
	struct iscsi_login *lg = iscsi_login_create(fuzz_env());
	if (!lg)
		abort();
	for (unsigned pdus = 0; size >= 4 && pdus < PDUS_MAX; pdus++) {
		uint8_t flags = data[0], options = data[1];
		size_t len = load_be16(data + 2);
		data += 4;
		size -= 4;
		if (len > size)
			len = size;
		if (len > TEXT_MAX)
			len = TEXT_MAX;
		enum iscsi_login_verdict v = one_pdu(lg, flags, options, data, len);
		data += len;
		size -= len;
		if (v != LOGIN_RESPOND)
			break;
	}
	iscsi_login_destroy(lg);
	return 0;
}
