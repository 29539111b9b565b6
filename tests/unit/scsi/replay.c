/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/scsi/replay.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (1u << 20)

struct bytes {
	uint8_t value[BYTES_MAX], mask[BYTES_MAX]; /* mask 0: any */
	size_t len;
	bool exact; /* of the answer nothing may follow */
};

static uint8_t naa[2][16];

static void
put(struct bytes *b, uint8_t value, uint8_t mask, unsigned long count)
{
	for (; count > 0; count--) {
		assert_true(b->len < BYTES_MAX);
		b->value[b->len] = value;
		b->mask[b->len++] = mask;
	}
}

/* One word of the notation; where it ends. */
static const char *
word(struct bytes *b, const char *s)
{
	char *end;

	if (*s == '\'') {
		for (s++; *s != '\''; s++) {
			assert_true(*s != '\0');
			put(b, (uint8_t)*s, 0xff, 1);
		}
		return s + 1;
	}
	if (*s == '@' || *s == '#') {
		unsigned long at = strtoul(s + 1, &end, 10);
		assert_true(at >= b->len);
		put(b, 0, 0, at - b->len);
		b->exact |= *s == '#';
		return end;
	}
	if (*s == 'N') {
		for (unsigned i = 0; i < 16; i++)
			put(b, naa[s[1] - '0'][i], 0xff, 1);
		return s + 2;
	}
	if (*s == '?') {
		put(b, 0, 0, 1);
		return s + 2;
	}
	uint8_t value = (uint8_t)strtoul(s, &end, 16), mask = 0xff;
	unsigned long count = 1;
	assert_int_equal(end - s, 2);
	if (*end == '/')
		mask = (uint8_t)strtoul(end + 1, &end, 16);
	if (*end == '*')
		count = strtoul(end + 1, &end, 10);
	put(b, value, mask, count);
	return end;
}

static void
parse(struct bytes *b, const char *s)
{
	b->len = 0;
	b->exact = false;
	for (s += strspn(s, " "); *s != '\0'; s += strspn(s, " "))
		s = word(b, s);
}

static void
wrong(const struct replay_row *r, const struct fx_cmd *c, const char *why)
{
	print_error("%s: %s\n  CDB %s\n  status %02x, sense %06x, %zu bytes:", r->what, why, r->cdb,
	    c->status, (unsigned)fx_sense(c), c->in_len);
	for (size_t i = 0; i < c->in_len && i < 256; i++)
		print_error("%s%02x", i % 16 == 0 ? "\n  " : " ", c->in[i]);
	print_error("\n");
	fail_msg("%s", r->what);
}

static void
compare(const struct replay_row *r, const struct fx_cmd *c, const struct bytes *want)
{
	char why[64];

	if (c->in_len < want->len || (want->exact && c->in_len != want->len)) {
		snprintf(why, sizeof why, "expected %zu bytes", want->len);
		wrong(r, c, why);
	}
	for (size_t i = 0; i < want->len; i++) {
		if (((c->in[i] ^ want->value[i]) & want->mask[i]) == 0)
			continue;
		snprintf(why, sizeof why, "byte %zu is %02x, expected %02x of mask %02x", i,
		    c->in[i], want->value[i], want->mask[i]);
		wrong(r, c, why);
	}
}

static void
row(struct fx_nexus *n, const struct replay_row *r, struct bytes *b)
{
	static const uint8_t statuses[] = {[GOOD] = SCSI_GOOD,
	    [CHECK] = SCSI_CHECK_CONDITION,
	    [CONFLICT] = SCSI_RESERVATION_CONFLICT};
	uint8_t cdb[32], *out = NULL;
	size_t cdb_len, out_len = 0;

	if (r->end == LUN_RESET) {
		assert_int_equal(fx_tmf(n, SCSI_TMF_LU_RESET, r->lun, 0, NULL), SCSI_TMF_COMPLETE);
		return;
	}
	parse(b, r->cdb);
	assert_true(b->len <= sizeof cdb);
	memcpy(cdb, b->value, cdb_len = b->len);
	if (r->out != NULL) {
		parse(b, r->out);
		out = malloc(out_len = b->len);
		assert_non_null(out);
		memcpy(out, b->value, out_len);
	}
	struct fx_cmd *c = fx_exec(n, r->lun, cdb, cdb_len, out, out_len, r->in);
	free(out);
	if (c->status != statuses[r->end])
		wrong(r, c, "the status isn't what was expected");
	if (r->end == CHECK && r->answer != NULL) {
		parse(b, r->answer);
		assert_int_equal(b->len, 3);
		if (fx_sense(c) != FX_SENSE(b->value[0], b->value[1], b->value[2]))
			wrong(r, c, "the sense isn't what was expected");
	} else if (r->answer != NULL) {
		parse(b, r->answer);
		compare(r, c, b);
	}
	fx_cmd_free(c);
}

static void
learn_naa(struct fx_nexus *n)
{
	const uint8_t cdb[6] = {0x12, 0x01, 0x83, 0, 255, 0};

	for (uint16_t i = 0; i < 2; i++) {
		struct fx_cmd *c = fx_exec(n, i, cdb, sizeof cdb, NULL, 0, 255);
		if (c->status == SCSI_GOOD && c->in_len >= 24)
			memcpy(naa[i], c->in + 8, 16);
		fx_cmd_free(c);
	}
}

void
replay(struct fx_nexus *const *nexuses, const struct replay_row *rows, size_t count)
{
	struct bytes *b = malloc(sizeof *b);

	assert_non_null(b);
	learn_naa(nexuses[0]);
	for (size_t i = 0; i < count; i++)
		row(nexuses[rows[i].who], &rows[i], b);
	free(b);
}
