/* SPDX-License-Identifier: BSD-2-Clause */
#include "iscsi/login.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define AT_LOGIN (KEY_AT_SECURITY | KEY_AT_OPERATIONAL)
#define AT_ANY (AT_LOGIN | KEY_AT_FULL)
#define BYTES_MAX 0xffffffu /* lengths of segments and bursts: 24 bits */
#define TEXT_VALUE_MAX 255u /* RFC 7143 §6.1, of texts that aren't lists or binary */

static const char *const digests[] = {"None", "CRC32C", NULL};
static const char *const reportings[] = {"RFC3720", "ResponseFence", "FastAbort", NULL};

/*
 * RFC 7143 §12, §13; RFC 7144 §7. "Leading only" isn't told from "initialize only": with
 * MaxConnections=1 every login that gets to the operational stage is a leading one.
 */
/* clang-format off */
static const struct iscsi_key_row rows[ISCSI_KEY_COUNT] = {
/*  key                                  name                        kind              at                   flags                                 min   max        preset  choices */
[ISCSI_KEY_AUTH_METHOD]              = {"AuthMethod",              KEY_SECURITY,     KEY_AT_SECURITY,     0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_CHAP_A]                   = {"CHAP_A",                  KEY_SECURITY,     KEY_AT_SECURITY,     0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_CHAP_I]                   = {"CHAP_I",                  KEY_SECURITY,     KEY_AT_SECURITY,     0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_CHAP_C]                   = {"CHAP_C",                  KEY_SECURITY,     KEY_AT_SECURITY,     0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_CHAP_N]                   = {"CHAP_N",                  KEY_SECURITY,     KEY_AT_SECURITY,     0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_CHAP_R]                   = {"CHAP_R",                  KEY_SECURITY,     KEY_AT_SECURITY,     0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_HEADER_DIGEST]            = {"HeaderDigest",            KEY_LIST,         KEY_AT_OPERATIONAL,  0,                                    0,    0,         1,      digests},
[ISCSI_KEY_DATA_DIGEST]              = {"DataDigest",              KEY_LIST,         KEY_AT_OPERATIONAL,  0,                                    0,    0,         1,      digests},
[ISCSI_KEY_MAX_CONNECTIONS]          = {"MaxConnections",          KEY_MIN,          KEY_AT_OPERATIONAL,  KEY_NORMAL,             1,    65535,     1,      NULL},
[ISCSI_KEY_SEND_TARGETS]             = {"SendTargets",             KEY_TEXT,         KEY_AT_FULL,         0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_TARGET_NAME]              = {"TargetName",              KEY_TEXT,         KEY_AT_FIRST,        KEY_EARLY,                            0,    0,         0,      NULL},
[ISCSI_KEY_INITIATOR_NAME]           = {"InitiatorName",           KEY_TEXT,         KEY_AT_FIRST,        KEY_EARLY,                            0,    0,         0,      NULL},
[ISCSI_KEY_TARGET_ALIAS]             = {"TargetAlias",             KEY_TARGET_SENDS, AT_ANY,              0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_INITIATOR_ALIAS]          = {"InitiatorAlias",          KEY_TEXT,         AT_ANY,              0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_TARGET_ADDRESS]           = {"TargetAddress",           KEY_TARGET_SENDS, AT_ANY,              0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_TARGET_PORTAL_GROUP_TAG]  = {"TargetPortalGroupTag",    KEY_TARGET_SENDS, AT_LOGIN,            0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_INITIAL_R2T]              = {"InitialR2T",              KEY_OR,           KEY_AT_OPERATIONAL,  KEY_NORMAL,             0,    1,         1,      NULL},
[ISCSI_KEY_IMMEDIATE_DATA]           = {"ImmediateData",           KEY_AND,          KEY_AT_OPERATIONAL,  KEY_NORMAL,             0,    1,         1,      NULL},
[ISCSI_KEY_MAX_RECV]                 = {"MaxRecvDataSegmentLength",KEY_DECLARE,      KEY_AT_OPERATIONAL | KEY_AT_FULL, 0,                       512,  BYTES_MAX, ISCSI_RECV_PRESET, NULL},
[ISCSI_KEY_MAX_BURST]                = {"MaxBurstLength",          KEY_MIN,          KEY_AT_OPERATIONAL,  KEY_NORMAL,             512,  BYTES_MAX, 262144, NULL},
[ISCSI_KEY_FIRST_BURST]              = {"FirstBurstLength",        KEY_MIN,          KEY_AT_OPERATIONAL,  KEY_NORMAL | KEY_LATE,  512,  BYTES_MAX, 65536,  NULL},
[ISCSI_KEY_TIME2WAIT]                = {"DefaultTime2Wait",        KEY_MAX,          KEY_AT_OPERATIONAL,  0,                                    0,    3600,      2,      NULL},
[ISCSI_KEY_TIME2RETAIN]              = {"DefaultTime2Retain",      KEY_MIN,          KEY_AT_OPERATIONAL,  0,                                    0,    3600,      20,     NULL},
[ISCSI_KEY_MAX_R2T]                  = {"MaxOutstandingR2T",       KEY_MIN,          KEY_AT_OPERATIONAL,  KEY_NORMAL,             1,    65535,     1,      NULL},
[ISCSI_KEY_PDU_IN_ORDER]             = {"DataPDUInOrder",          KEY_OR,           KEY_AT_OPERATIONAL,  KEY_NORMAL,             0,    1,         1,      NULL},
[ISCSI_KEY_SEQUENCE_IN_ORDER]        = {"DataSequenceInOrder",     KEY_OR,           KEY_AT_OPERATIONAL,  KEY_NORMAL,             0,    1,         1,      NULL},
[ISCSI_KEY_ERL]                      = {"ErrorRecoveryLevel",      KEY_MIN,          KEY_AT_OPERATIONAL,  0,                                    0,    2,         0,      NULL},
[ISCSI_KEY_SESSION_TYPE]             = {"SessionType",             KEY_TEXT,         KEY_AT_FIRST,        KEY_EARLY,              0,    0,         0,      NULL},
[ISCSI_KEY_NODE_ARCHITECTURE]        = {"X#NodeArchitecture",      KEY_TEXT,         AT_ANY,              0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_TASK_REPORTING]           = {"TaskReporting",           KEY_LIST,         KEY_AT_OPERATIONAL,  KEY_NORMAL,             0,    0,         ISCSI_TASK_REPORTING_RFC3720, reportings},
[ISCSI_KEY_PROTOCOL_LEVEL]           = {"iSCSIProtocolLevel",      KEY_MIN,          KEY_AT_OPERATIONAL,  KEY_NORMAL,             0,    31,        1,      NULL},
[ISCSI_KEY_OF_MARKER]                = {"OFMarker",                KEY_MARKER,       KEY_AT_OPERATIONAL,  0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_IF_MARKER]                = {"IFMarker",                KEY_MARKER,       KEY_AT_OPERATIONAL,  0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_OF_MARK_INT]              = {"OFMarkInt",               KEY_MARKER_INT,   KEY_AT_OPERATIONAL,  0,                                    0,    0,         0,      NULL},
[ISCSI_KEY_IF_MARK_INT]              = {"IFMarkInt",               KEY_MARKER_INT,   KEY_AT_OPERATIONAL,  0,                                    0,    0,         0,      NULL},
};
/* clang-format on */

const struct iscsi_key_row *
iscsi_key_row(enum iscsi_key key)
{
	ASSERT(key < ISCSI_KEY_COUNT);
	ASSERT(rows[key].name != NULL);
	return &rows[key];
}

enum iscsi_key
iscsi_key_find(const char *name)
{
	enum iscsi_key key = 0;
	while (key < ISCSI_KEY_COUNT && strcmp(rows[key].name, name) != 0)
		key++;
	return key;
}

unsigned
iscsi_key_rank(const char *name)
{
	enum iscsi_key key = iscsi_key_find(name);
	if (key == ISCSI_KEY_COUNT)
		return 1;
	return rows[key].flags & KEY_EARLY ? 0 : rows[key].flags & KEY_LATE ? 2 : 1;
}

int
iscsi_text_pairs(char *text, size_t len, struct iscsi_pair *pairs, unsigned cap)
{
	struct iscsi_text_iter it = {text, text + len};
	struct iscsi_pair p;
	unsigned count = 0;
	int r;
	while ((r = iscsi_text_next(&it, &p.key, &p.value)) > 0) {
		if (count == cap)
			return -E2BIG;
		pairs[count++] = p;
	}
	return r < 0 ? r : (int)count;
}

/* ---- before: what we offer --------------------------------------------------------------------- */

void
iscsi_params_default(struct iscsi_params *p)
{
	*p = (struct iscsi_params){
	    .initial_r2t = true,
	    .immediate_data = true,
	    .data_pdu_in_order = true,
	    .data_sequence_in_order = true,
	    .max_recv_bytes = ISCSI_RECV_PRESET,
	    .max_xmit_bytes = ISCSI_RECV_PRESET,
	    .max_burst_bytes = rows[ISCSI_KEY_MAX_BURST].preset,
	    .first_burst_bytes = rows[ISCSI_KEY_FIRST_BURST].preset,
	    .max_outstanding_r2t = 1,
	    .default_time2wait = rows[ISCSI_KEY_TIME2WAIT].preset,
	    .default_time2retain = rows[ISCSI_KEY_TIME2RETAIN].preset,
	    .max_connections = 1,
	    .protocol_level = 1,
	};
}

/* What matters without commands; the burst keys are irrelevant. */
static const struct iscsi_offer discovery_offer = {
    .header_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
    .data_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
    .initial_r2t = true,
    .max_recv_bytes = ISCSI_RECV_PRESET,
    .max_burst_bytes = 262144,
    .first_burst_bytes = 65536,
    .max_outstanding_r2t = 1,
};

void
iscsi_negotiation_offer(struct iscsi_negotiation *n, const struct iscsi_offer *offer)
{
	uint32_t *mine = n->mine;
	mine[ISCSI_KEY_HEADER_DIGEST] = offer->header_digest;
	mine[ISCSI_KEY_DATA_DIGEST] = offer->data_digest;
	mine[ISCSI_KEY_INITIAL_R2T] = offer->initial_r2t;
	mine[ISCSI_KEY_IMMEDIATE_DATA] = offer->immediate_data;
	mine[ISCSI_KEY_MAX_RECV] = offer->max_recv_bytes;
	mine[ISCSI_KEY_MAX_BURST] = offer->max_burst_bytes;
	mine[ISCSI_KEY_FIRST_BURST] = offer->first_burst_bytes;
	mine[ISCSI_KEY_MAX_R2T] = offer->max_outstanding_r2t;
	n->prefer_digests = offer->prefer_digests;
}

void
iscsi_negotiation_init(struct iscsi_negotiation *n, const struct iscsi_offer *offer)
{
	*n = (struct iscsi_negotiation){0};
	for (unsigned k = 0; k < ISCSI_KEY_COUNT; k++)
		n->mine[k] = n->theirs[k] = n->active[k] = rows[k].preset;

	iscsi_negotiation_offer(n, offer ? offer : &discovery_offer);
	/* ErrorRecoveryLevel 0: no task outlives its connection, nothing is retained. */
	n->mine[ISCSI_KEY_TIME2RETAIN] = 0;
	n->mine[ISCSI_KEY_PROTOCOL_LEVEL] = ISCSI_PROTOCOL_LEVEL;
	n->mine[ISCSI_KEY_TASK_REPORTING] =
	    ISCSI_TASK_REPORTING_RFC3720 | ISCSI_TASK_REPORTING_FENCE;
}

/* ---- during: one key at a time ------------------------------------------------------------------- */

static enum iscsi_negotiate __attribute__((format(printf, 2, 3)))
fail(struct iscsi_negotiation *n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(n->reason, sizeof n->reason, fmt, ap);
	va_end(ap);
	return NEGOTIATE_ERROR;
}

/* §6.2: the negotiation of this key is over, what was in force stays so. */
static enum iscsi_negotiate
refuse_value(const struct iscsi_key_row *row, struct iscsi_text_out *out)
{
	iscsi_text_add(out, row->name, "Reject");
	return NEGOTIATE_DONE;
}

/* "Reject", "Irrelevant" and "NotUnderstood" as proposals are protocol errors, §6.2. */
static bool
reserved_word(const char *value)
{
	return strcmp(value, "Reject") == 0 || strcmp(value, "Irrelevant") == 0 ||
	       strcmp(value, "NotUnderstood") == 0;
}

static enum iscsi_negotiate
take_bool(
    struct iscsi_negotiation *n, enum iscsi_key key, const char *value, struct iscsi_text_out *out)
{
	const struct iscsi_key_row *row = &rows[key];
	bool yes = strcmp(value, "Yes") == 0;
	if (!yes && strcmp(value, "No") != 0)
		return refuse_value(row, out);
	n->theirs[key] = yes;
	if (row->kind == KEY_AND)
		n->active[key] = yes && n->mine[key];
	else
		n->active[key] = yes || n->mine[key];
	/* §6.2.1: AND with No and OR with Yes need no answer; one never hurts. */
	iscsi_text_add(out, row->name, n->active[key] ? "Yes" : "No");
	return NEGOTIATE_DONE;
}

static enum iscsi_negotiate
take_number(
    struct iscsi_negotiation *n, enum iscsi_key key, const char *value, struct iscsi_text_out *out)
{
	const struct iscsi_key_row *row = &rows[key];
	uint64_t v = 0;
	if (iscsi_text_number(value, row->max, &v) < 0 || v < row->min) {
		/* A declared value that can't be accepted is a negotiation failure, §7.12. */
		if (row->kind == KEY_DECLARE)
			return fail(n, "%s has an inadmissible value", row->name);
		return refuse_value(row, out);
	}
	uint32_t theirs = (uint32_t)v, mine = n->mine[key];
	n->theirs[key] = theirs;
	if (row->kind == KEY_DECLARE) {
		n->active[key] = theirs;
		return NEGOTIATE_DONE;
	}
	uint32_t result = row->kind == KEY_MIN ? (theirs < mine ? theirs : mine)
	                                       : (theirs > mine ? theirs : mine);
	/* FirstBurstLength must not exceed MaxBurstLength, §13.14. */
	if (key == ISCSI_KEY_FIRST_BURST && result > n->active[ISCSI_KEY_MAX_BURST])
		result = n->active[ISCSI_KEY_MAX_BURST];
	n->active[key] = result;
	iscsi_text_addf(out, row->name, "%u", result);
	return NEGOTIATE_DONE;
}

/* The bit of the word at *at, 0 for words that aren't known; *at moves behind it. */
static uint32_t
next_choice(const struct iscsi_key_row *row, const char **at)
{
	size_t len = strcspn(*at, ",");
	uint32_t bit = 0;
	for (unsigned i = 0; row->choices[i]; i++)
		if (strlen(row->choices[i]) == len && memcmp(row->choices[i], *at, len) == 0)
			bit = 1u << i;
	*at += len;
	if (**at == ',')
		(*at)++;
	return bit;
}

static enum iscsi_negotiate
take_list(
    struct iscsi_negotiation *n, enum iscsi_key key, const char *value, struct iscsi_text_out *out)
{
	const struct iscsi_key_row *row = &rows[key];
	bool digest = key == ISCSI_KEY_HEADER_DIGEST || key == ISCSI_KEY_DATA_DIGEST;
	uint32_t offered = 0, chosen = 0;
	while (*value) {
		uint32_t bit = next_choice(row, &value);
		offered |= bit;
		if (chosen == 0)
			chosen = bit & n->mine[key];
	}
	n->theirs[key] = offered;
	if (digest && n->prefer_digests && (offered & n->mine[key] & ISCSI_DIGEST_CRC32C))
		chosen = ISCSI_DIGEST_CRC32C;
	if (chosen == 0)
		return refuse_value(row, out);
	n->active[key] = chosen;
	ASSERT((chosen & (chosen - 1)) == 0);
	iscsi_text_add(out, row->name, row->choices[__builtin_ctz(chosen)]);
	return NEGOTIATE_DONE;
}

/* Whether this key has no meaning given what is agreed so far; it is answered so. */
static bool
irrelevant(const struct iscsi_negotiation *n, enum iscsi_key key)
{
	if (n->discovery && (rows[key].flags & KEY_NORMAL))
		return true;
	/* §13.14: no unsolicited data, no first burst. */
	return key == ISCSI_KEY_FIRST_BURST && n->active[ISCSI_KEY_INITIAL_R2T] &&
	       !n->active[ISCSI_KEY_IMMEDIATE_DATA];
}

/* In place, in time, for the first time? */
static enum iscsi_negotiate
check_place(struct iscsi_negotiation *n, enum iscsi_key key, unsigned at, const char *value)
{
	const struct iscsi_key_row *row = &rows[key];
	if (row->kind == KEY_TARGET_SENDS)
		return fail(n, "%s is not for initiators to send", row->name);
	if (!(row->at & at))
		return fail(n, "%s is out of place", row->name);
	/* §6.3: no key is negotiated twice in a login. */
	if (n->seen & 1ull << key)
		return fail(n, "%s was sent twice", row->name);
	if (row->kind == KEY_TEXT && strlen(value) > TEXT_VALUE_MAX)
		return fail(n, "the value of %s is too long", row->name);
	if (row->kind != KEY_TEXT && reserved_word(value))
		return fail(n, "%s answers what was never offered", row->name);
	return NEGOTIATE_DONE;
}

enum iscsi_negotiate
iscsi_negotiate_key(struct iscsi_negotiation *n, unsigned at, const char *name, const char *value,
    struct iscsi_text_out *out, enum iscsi_key *ret_key)
{
	enum iscsi_key key = iscsi_key_find(name);
	if (key == ISCSI_KEY_COUNT) {
		if (!reserved_word(value))
			iscsi_text_add(out, name, "NotUnderstood");
		return NEGOTIATE_DONE;
	}
	enum iscsi_negotiate r = check_place(n, key, at, value);
	if (r != NEGOTIATE_DONE)
		return r;
	n->seen |= 1ull << key;
	const struct iscsi_key_row *row = &rows[key];
	if (irrelevant(n, key)) {
		iscsi_text_add(out, name, "Irrelevant");
		return NEGOTIATE_DONE;
	}

	switch ((enum iscsi_key_kind)row->kind) {
	case KEY_SECURITY:
	case KEY_TEXT:
		*ret_key = key;
		return NEGOTIATE_VALUE;
	case KEY_AND:
	case KEY_OR:
		return take_bool(n, key, value, out);
	case KEY_MIN:
	case KEY_MAX:
	case KEY_DECLARE:
		return take_number(n, key, value, out);
	case KEY_LIST:
		return take_list(n, key, value, out);
	case KEY_MARKER:
		iscsi_text_add(out, name, "No");
		return NEGOTIATE_DONE;
	case KEY_MARKER_INT:
		return refuse_value(row, out);
	case KEY_TARGET_SENDS:
		break;
	}
	return fail(n, "%s is not for initiators to send", name);
}

/* ---- after ------------------------------------------------------------------------------------------ */

static bool
seen(const struct iscsi_negotiation *n, enum iscsi_key key)
{
	return (n->seen & 1ull << key) != 0;
}

bool
iscsi_negotiation_finish(struct iscsi_negotiation *n, struct iscsi_params *ret)
{
	const uint32_t *a = n->active;
	for (enum iscsi_key k = ISCSI_KEY_HEADER_DIGEST; k <= ISCSI_KEY_DATA_DIGEST; k++) {
		/* §7.12: None stays in force when there was no agreement; we may insist. */
		if (!n->discovery && !(a[k] & n->mine[k])) {
			(void)fail(n, "%s is required", rows[k].name);
			return false;
		}
	}
	uint32_t first = a[ISCSI_KEY_FIRST_BURST];
	if (first > a[ISCSI_KEY_MAX_BURST]) {
		if (seen(n, ISCSI_KEY_FIRST_BURST) && !irrelevant(n, ISCSI_KEY_FIRST_BURST)) {
			(void)fail(n, "FirstBurstLength exceeds MaxBurstLength");
			return false;
		}
		first = a[ISCSI_KEY_MAX_BURST];
	}
	uint32_t reporting = a[ISCSI_KEY_TASK_REPORTING];
	*ret = (struct iscsi_params){
	    .header_digest = a[ISCSI_KEY_HEADER_DIGEST] == ISCSI_DIGEST_CRC32C,
	    .data_digest = a[ISCSI_KEY_DATA_DIGEST] == ISCSI_DIGEST_CRC32C,
	    .initial_r2t = a[ISCSI_KEY_INITIAL_R2T],
	    .immediate_data = a[ISCSI_KEY_IMMEDIATE_DATA],
	    .data_pdu_in_order = a[ISCSI_KEY_PDU_IN_ORDER],
	    .data_sequence_in_order = a[ISCSI_KEY_SEQUENCE_IN_ORDER],
	    .max_recv_bytes = ISCSI_RECV_PRESET, /* until the caller has declared another */
	    .max_xmit_bytes = a[ISCSI_KEY_MAX_RECV],
	    .max_burst_bytes = a[ISCSI_KEY_MAX_BURST],
	    .first_burst_bytes = first,
	    .max_outstanding_r2t = a[ISCSI_KEY_MAX_R2T],
	    .default_time2wait = a[ISCSI_KEY_TIME2WAIT],
	    .default_time2retain = a[ISCSI_KEY_TIME2RETAIN],
	    .max_connections = a[ISCSI_KEY_MAX_CONNECTIONS],
	    .protocol_level = a[ISCSI_KEY_PROTOCOL_LEVEL],
	    .task_reporting_fastabort = reporting == ISCSI_TASK_REPORTING_FASTABORT,
	    .task_reporting_responsefence =
	        reporting >= ISCSI_TASK_REPORTING_FENCE, /* FastAbort includes it */
	};
	return true;
}
