/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the login half: the key table and negotiation (params.c), the login's state table
 * (login_table.c), its keys and checks (login.c) and CHAP (login_chap.c). Nothing here knows a
 * socket or a loop.
 */
#ifndef ISCSI_LOGIN_H
#define ISCSI_LOGIN_H

#include "iscsi/iscsi_priv.h"

/* ---- params.c: the keys --------------------------------------------------------------------- */

enum iscsi_key {
	/* §12: security */
	ISCSI_KEY_AUTH_METHOD,
	ISCSI_KEY_CHAP_A,
	ISCSI_KEY_CHAP_I,
	ISCSI_KEY_CHAP_C,
	ISCSI_KEY_CHAP_N,
	ISCSI_KEY_CHAP_R,
	/* §13 */
	ISCSI_KEY_HEADER_DIGEST,
	ISCSI_KEY_DATA_DIGEST,
	ISCSI_KEY_MAX_CONNECTIONS,
	ISCSI_KEY_SEND_TARGETS,
	ISCSI_KEY_TARGET_NAME,
	ISCSI_KEY_INITIATOR_NAME,
	ISCSI_KEY_TARGET_ALIAS,
	ISCSI_KEY_INITIATOR_ALIAS,
	ISCSI_KEY_TARGET_ADDRESS,
	ISCSI_KEY_TARGET_PORTAL_GROUP_TAG,
	ISCSI_KEY_INITIAL_R2T,
	ISCSI_KEY_IMMEDIATE_DATA,
	ISCSI_KEY_MAX_RECV,
	ISCSI_KEY_MAX_BURST,
	ISCSI_KEY_FIRST_BURST,
	ISCSI_KEY_TIME2WAIT,
	ISCSI_KEY_TIME2RETAIN,
	ISCSI_KEY_MAX_R2T,
	ISCSI_KEY_PDU_IN_ORDER,
	ISCSI_KEY_SEQUENCE_IN_ORDER,
	ISCSI_KEY_ERL,
	ISCSI_KEY_SESSION_TYPE,
	ISCSI_KEY_NODE_ARCHITECTURE,
	ISCSI_KEY_TASK_REPORTING,
	ISCSI_KEY_PROTOCOL_LEVEL, /* RFC 7144 */
	/* RFC 3720, obsolete: §13.25 */
	ISCSI_KEY_OF_MARKER,
	ISCSI_KEY_IF_MARKER,
	ISCSI_KEY_OF_MARK_INT,
	ISCSI_KEY_IF_MARK_INT,
	ISCSI_KEY_COUNT,
};
_Static_assert(ISCSI_KEY_COUNT <= 64, "one bit per key in iscsi_negotiation.seen");

/* How a key's value is agreed on. */
enum iscsi_key_kind {
	KEY_SECURITY,     /* the caller's */
	KEY_TEXT,         /* declared text; the caller's */
	KEY_DECLARE,      /* declared number: no answer */
	KEY_AND,          /* Yes only if both say Yes */
	KEY_OR,           /* Yes if one says Yes */
	KEY_MIN,          /* the smaller number */
	KEY_MAX,          /* the larger number */
	KEY_LIST,         /* the first of the offered values that we accept */
	KEY_TARGET_SENDS, /* never sent by an initiator */
	KEY_MARKER,       /* obsolete: No */
	KEY_MARKER_INT,   /* obsolete: Reject */
};

/* When it may be sent; bits. */
#define KEY_AT_FIRST 1u /* the first request of a login */
#define KEY_AT_SECURITY 2u
#define KEY_AT_OPERATIONAL 4u
#define KEY_AT_FULL 8u /* full feature phase */

#define KEY_NORMAL 1u /* "Irrelevant" in a discovery session */
#define KEY_LATE 2u   /* looked at after the other keys of the request */
#define KEY_EARLY 4u  /* looked at before them */

struct iscsi_key_row {
	const char *name;
	uint8_t kind, at, flags;
	uint32_t min, max;          /* of numbers */
	uint32_t preset;            /* RFC default: number, 0/1, or bit of the list value */
	const char *const *choices; /* list: words by bit, NULL at the end */
};
const struct iscsi_key_row *iscsi_key_row(enum iscsi_key key);

#define ISCSI_TASK_REPORTING_RFC3720 1u
#define ISCSI_TASK_REPORTING_FENCE 2u
#define ISCSI_TASK_REPORTING_FASTABORT 4u
#define ISCSI_PROTOCOL_LEVEL 2u /* RFC 7144 */
#define ISCSI_RECV_PRESET 8192u /* MaxRecvDataSegmentLength until it is declared, §13.12 */

/*
 * mine: what we offer or accept (lists: bits); theirs: what the initiator sent; active: what is in
 * force. Indexed by key, meaningful for numbers, booleans and lists.
 */
struct iscsi_negotiation {
	uint32_t mine[ISCSI_KEY_COUNT], theirs[ISCSI_KEY_COUNT], active[ISCSI_KEY_COUNT];
	uint64_t seen; /* bit per key that was received */
	bool discovery;
	bool prefer_digests;
	char reason[160]; /* of the last NEGOTIATE_ERROR */
};
/* `offer` NULL: a discovery session's. */
void iscsi_negotiation_init(struct iscsi_negotiation *n, const struct iscsi_offer *offer);
/* A target is known now. */
void iscsi_negotiation_offer(struct iscsi_negotiation *n, const struct iscsi_offer *offer);

enum iscsi_negotiate {
	NEGOTIATE_DONE,  /* dealt with; the answer, if any, is in `out` */
	NEGOTIATE_VALUE, /* right in place and time; the value is the caller's to look at */
	NEGOTIATE_ERROR, /* protocol error or no agreement: the login or exchange ends */
};
/* `at`: one or more KEY_AT_ bits that hold now. *ret_key for NEGOTIATE_VALUE. */
enum iscsi_negotiate iscsi_negotiate_key(struct iscsi_negotiation *n, unsigned at, const char *key,
    const char *value, struct iscsi_text_out *out, enum iscsi_key *ret_key);
/* All keys are in: do they fit together? False with n->reason. */
bool iscsi_negotiation_finish(struct iscsi_negotiation *n, struct iscsi_params *ret);
/* ISCSI_KEY_COUNT: not known. */
enum iscsi_key iscsi_key_find(const char *name);

/* Pairs of one request, in order, so that they can be looked at by rank. */
struct iscsi_pair {
	char *key, *value;
};
#define ISCSI_RANKS 3u /* early, middle, late: iscsi_key_rank() */
unsigned iscsi_key_rank(const char *name);
/* Splits text into pairs: their number, -EINVAL (malformed), -E2BIG (over cap). */
int iscsi_text_pairs(char *text, size_t len, struct iscsi_pair *pairs, unsigned cap);

/* ---- config.c, access.c ------------------------------------------------------------------------- */

/*
 * Checks an iSCSI name and writes it in lower case (RFC 3722). `strict` also checks the date and
 * the digits (RFC 7143 §4.2.7): for names that we give; peers have many that aren't quite right.
 */
bool iscsi_name_normalise(const char *name, bool strict, char ret[ISCSI_NAME_MAX + 1]);

/*
 * May this initiator, from this address and on this portal, log in to the target? *ret_group is its
 * group, NULL for the open view. CHAP comes on top: iscsi_group_has_user().
 */
bool iscsi_access_admits(const struct iscsi_login_env *env, const struct iscsi_target *t,
    const char *initiator, const struct iscsi_group **ret_group);
bool iscsi_group_has_user(const struct iscsi_group *g, const char *user);

/* ---- login_table.c: stages, RFC 7143 §6.3 ------------------------------------------------------------- */

enum login_state {
	LS_FIRST, /* nothing received */
	LS_SECURITY,
	LS_OPERATIONAL,
	LS_PLACE, /* all agreed, waits for iscsi_login_finish() */
	LS_FULL,
	LS_ENDED,
	LS_COUNT
};
enum login_event {
	/* a request, by its T, C, CSG, NSG */
	LE_SECURITY,
	LE_SECURITY_TO_OPERATIONAL,
	LE_SECURITY_TO_FULL,
	LE_OPERATIONAL,
	LE_OPERATIONAL_TO_FULL,
	LE_MALFORMED, /* T with C, reserved stages, backwards */
	/* our own */
	LE_AGREED_OPERATIONAL,
	LE_AGREED_FULL,
	LE_PLACED,
	LE_FAILED,
	LE_COUNT
};
enum login_event login_event_of(uint8_t flags);
/* The state after `event`, LS_COUNT where the event has no place. */
enum login_state login_next_state(enum login_state state, enum login_event event);
const char *login_state_to_string(enum login_state state);

/* ---- login.c -------------------------------------------------------------------------------------------- */

enum login_chap_state { CHAP_OFF, CHAP_WANT_ALGORITHM, CHAP_WANT_RESPONSE, CHAP_DONE };

struct login_chap {
	enum login_chap_state state;
	enum iscsi_chap_alg alg;
	uint8_t id;
	uint8_t challenge[ISCSI_CHAP_CHALLENGE_BYTES];
	/* Values of this request; NULL: not in it. */
	const char *in_a, *in_i, *in_c, *in_n, *in_r;
};

struct iscsi_login {
	struct iscsi_login_env env;
	enum login_state state;
	bool identified; /* a first complete request said who and where */
	bool needs_auth;
	bool method_agreed; /* AuthMethod was answered */
	bool declared;      /* our operational declarations are out */
	uint8_t isid[6];
	uint16_t tsih, cid;
	uint32_t itt, stat_sn, cmd_sn;
	struct iscsi_negotiation neg;
	struct login_chap chap;
	const char *in_initiator, *in_target, *in_session_type, *in_auth; /* of this request */
	char initiator[ISCSI_NAME_MAX + 1], target[ISCSI_NAME_MAX + 1];
	char reason[160];
	uint8_t final_flags;
	struct iscsi_login_result result;
	struct iscsi_text_out out;
	unsigned key_count;
	struct iscsi_pair *pairs; /* limits.login_keys_max */
	char *in;                 /* limits.login_text_max_bytes, collected over C bits */
	size_t in_len;
};
/* Sets the reason; returns false, so that checks can end with it. */
bool login_reason(struct iscsi_login *lg, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- login_chap.c ------------------------------------------------------------------------------------------ */

enum login_chap_verdict {
	CHAP_GO_ON,
	CHAP_FAILED,    /* "Authentication failure", whatever was wrong */
	CHAP_REFLECTED, /* our own challenge came back: not even an answer */
};
/* The CHAP keys of this request; called for every request that has any. */
enum login_chap_verdict login_chap_step(struct iscsi_login *lg);

#endif
