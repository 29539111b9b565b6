/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the iSCSI frontend, by source file.
 *
 * Two halves: the login half (params, text, chap, access, config, login, discovery) is pure
 * protocol: bytes and a clock in, bytes and verdicts out; no socket, no loop. The connection half
 * (conn, rx, tx, ffp, tmf, session, server) moves PDUs and tasks.
 */
#ifndef ISCSI_ISCSI_PRIV_H
#define ISCSI_ISCSI_PRIV_H

#include "base/assert.h"
#include "base/endian.h"
#include "base/list.h"
#include "base/subnet.h"
#include "iscsi/iscsi.h"
#include "iscsi/wire.h"

/* ---- config.c ---------------------------------------------------------------------------- */

#define ISCSI_DIGEST_NONE 1u
#define ISCSI_DIGEST_CRC32C 2u

struct iscsi_user {
	char *name, *mutual_name;
	uint8_t *secret, *mutual_secret;
	size_t secret_len, mutual_secret_len;
};

struct iscsi_group {
	char *name;
	char **initiators;
	unsigned initiator_count;
	const struct iscsi_user **users; /* into the target's */
	unsigned user_count;
	struct scsi_view *view;
};

struct iscsi_target {
	struct list link;
	char *name, *alias;
	uint16_t *rel_port_ids; /* one for each of portal_tags */
	struct iscsi_user *users;
	unsigned user_count;
	struct iscsi_group *groups;
	unsigned group_count;
	struct scsi_view *open_view;
	struct subnet_list acl;
	struct iscsi_offer offer;
	uint16_t *portal_tags;
	unsigned portal_tag_count;
};

/* A portal as discovery shows it. */
struct iscsi_portal_addr {
	struct sockaddr_storage addr;
	uint16_t tag;
};

struct iscsi_config {
	struct list targets;
	struct iscsi_user *discovery_users;
	unsigned discovery_user_count;
	struct subnet_list acl;
};

struct iscsi_target *iscsi_config_find(const struct iscsi_config *c, const char *name);
bool iscsi_target_on_tag(const struct iscsi_target *t, uint16_t tag);
/* The relative port id of the tag; 0: it isn't one of the target's. */
uint16_t iscsi_target_rel_port(const struct iscsi_target *t, uint16_t tag);

/* ---- access.c ------------------------------------------------------------------------------ */

/*
 * The group for this initiator name: first match in order. *ret_needs_auth: CHAP with one of its
 * users. NULL: open_view, if the target has one, else refused.
 */
const struct iscsi_group *iscsi_access_group(const struct iscsi_target *t, const char *initiator);

/* What a session was given at its login, by name: it outlives the configuration that gave it. */
struct iscsi_claim {
	bool discovery;
	const char *initiator, *user;
	const struct sockaddr_storage *peer;
	uint16_t portal_tag;
	const char *target;
	const char *group;      /* NULL: the open view */
	struct scsi_view *view; /* NULL: none yet, any will do; so with rel_port_id 0 */
	uint16_t rel_port_id;
};
/* What a configuration gives it; all NULL for discovery. */
struct iscsi_grant {
	const struct iscsi_target *target;
	const struct iscsi_group *group;
	struct scsi_view *view;
	uint16_t rel_port_id;
};
/* NULL: the configuration grants the claim. Else why it doesn't, for people: static text. */
const char *iscsi_access_regrant(
    const struct iscsi_config *config, const struct iscsi_claim *claim, struct iscsi_grant *ret);

/* ---- text.c: key=value pairs, RFC 7143 §6.1 --------------------------------------------------- */

/* Walks NUL-terminated pairs in place. 1: a pair, 0: end, -EINVAL: malformed (no '=', too long key
 * (63), value without NUL …). key and value point into `buf` (which is modified: '=' becomes NUL). */
struct iscsi_text_iter {
	char *at, *end;
};
int iscsi_text_next(struct iscsi_text_iter *it, char **ret_key, char **ret_value);

/* Output buffer with a limit; `overflow` is sticky. */
struct iscsi_text_out {
	char *buf;
	size_t len, cap;
	bool overflow;
};
void iscsi_text_add(struct iscsi_text_out *o, const char *key, const char *value);
void iscsi_text_addf(struct iscsi_text_out *o, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Numbers and binary values, §6.1: decimal, 0x…, 0b… (base64). 0 or -EINVAL. */
int iscsi_text_number(const char *s, uint64_t max, uint64_t *ret);
int iscsi_text_binary(const char *s, uint8_t *buf, size_t cap, size_t *ret_len);

/* ---- params.c: negotiation by table, §13 --------------------------------------------------------- */

/* What is in force after login. */
struct iscsi_params {
	bool header_digest, data_digest; /* CRC32C */
	bool initial_r2t, immediate_data;
	bool data_pdu_in_order, data_sequence_in_order;
	uint32_t max_recv_bytes; /* ours: what the initiator may send in one PDU */
	uint32_t max_xmit_bytes; /* the initiator's MaxRecvDataSegmentLength */
	uint32_t max_burst_bytes, first_burst_bytes;
	uint32_t max_outstanding_r2t;
	uint32_t default_time2wait, default_time2retain; /* seconds */
	uint32_t max_connections;
	uint32_t protocol_level; /* iSCSIProtocolLevel, RFC 7144 §9.1; 1 when not negotiated */
	bool task_reporting_fastabort, task_reporting_responsefence; /* RFC 7143 §13.23 */
};
void iscsi_params_default(struct iscsi_params *p); /* RFC defaults before negotiation */

/* ---- chap.c: §12.1.3, RFC 1994 --------------------------------------------------------------------- */

enum iscsi_chap_alg { CHAP_MD5 = 5, CHAP_SHA1 = 6, CHAP_SHA256 = 7, CHAP_SHA3_256 = 8 };
#define ISCSI_CHAP_HASH_MAX 32u
/* Length of the hash, 0 for unknown algorithms. */
size_t iscsi_chap_hash(enum iscsi_chap_alg alg, uint8_t id, const void *secret, size_t secret_len,
    const void *challenge, size_t challenge_len, uint8_t ret[ISCSI_CHAP_HASH_MAX]);

/* ---- login.c: the login phase, RFC 7143 §6.3, §8 ------------------------------------------------------ */

/* What the login needs from outside; constant while it lasts. Pointers are borrowed. */
struct iscsi_login_env {
	const struct iscsi_config *config;
	const struct iscsi_limits *limits;
	struct sockaddr_storage peer, local;
	uint16_t portal_tag;
	const struct iscsi_portal_addr *portals; /* all that listen, for discovery */
	unsigned portal_count;
	void (*random)(void *ctx, void *buf, size_t len);
	/* Is this challenge one of ours that is outstanding on another login? (reflection) */
	bool (*challenge_known)(void *ctx, const uint8_t *challenge, size_t len);
	/*
	 * Does this initiator port have a session of this TSIH with the target? For logins that want
	 * to join one. May be NULL: none has.
	 */
	bool (*session_known)(
	    void *ctx, const char *initiator, const uint8_t isid[6], uint16_t tsih);
	/* Counts a failed authentication of the peer's address. */
	void (*auth_failed)(void *ctx);
	void *ctx;
};

enum iscsi_login_verdict {
	LOGIN_RESPOND, /* send rsp and its text, go on receiving */
	LOGIN_PLACE,   /* all is agreed: place the session, then iscsi_login_finish() */
	LOGIN_REFUSE,  /* send rsp (its status says why), then close */
	LOGIN_DROP,    /* not even an answer: close */
};

#define ISCSI_CHAP_CHALLENGE_BYTES 32u

struct iscsi_login;
/* NULL when memory is short. One allocation, freed at full feature phase. */
struct iscsi_login *iscsi_login_create(const struct iscsi_login_env *env);
void iscsi_login_destroy(struct iscsi_login *lg); /* wipes secrets; accepts NULL */

/*
 * One login PDU: `data` is its text (modified). *rsp is the complete answer but for ExpCmdSN and
 * MaxCmdSN; its text is in iscsi_login_text(), ≤ 8192 bytes. Anything but a Login Request as first
 * PDU is LOGIN_DROP.
 */
enum iscsi_login_verdict iscsi_login_pdu(struct iscsi_login *lg, const struct iscsi_login_req *req,
    char *data, size_t len, struct iscsi_login_rsp *rsp);
const char *iscsi_login_text(const struct iscsi_login *lg, size_t *ret_len);
/* After LOGIN_PLACE: status 0 and the new TSIH, or why the session couldn't be placed. */
enum iscsi_login_verdict iscsi_login_finish(struct iscsi_login *lg, enum iscsi_login_status status,
    uint16_t tsih, struct iscsi_login_rsp *rsp);

/* What was agreed; valid at LOGIN_PLACE and after, until destroy. */
struct iscsi_login_result {
	bool discovery;
	const char *initiator;             /* normalised */
	const char *user;                  /* authenticated CHAP user, or "" */
	const struct iscsi_target *target; /* NULL for discovery */
	const struct iscsi_group *group;   /* NULL: open view */
	struct scsi_view *view;
	uint8_t isid[6];
	uint16_t tsih, cid; /* as in the request */
	uint32_t cmd_sn;    /* the next expected after login */
	uint32_t stat_sn;   /* the next to send after the final response */
	uint32_t itt;
	struct iscsi_params params;
};
const struct iscsi_login_result *iscsi_login_result(const struct iscsi_login *lg);
/* For events and logs: why it was refused; "" otherwise. And what is known so far. */
const char *iscsi_login_reason(const struct iscsi_login *lg);
const char *iscsi_login_initiator(const struct iscsi_login *lg);
const char *iscsi_login_target(const struct iscsi_login *lg);
/* Our outstanding challenge, for challenge_known() of others; len 0: none. */
const uint8_t *iscsi_login_challenge(const struct iscsi_login *lg, size_t *ret_len);

/* ---- discovery.c: Text requests in the full feature phase, §11.10, appendix C ---------------------------------- */

struct iscsi_text_session { /* per session; zero-initialised; fini frees */
	char *out;          /* answer under way */
	size_t out_len, out_at;
	char *in; /* request collected over C bits */
	size_t in_len, in_cap;
	uint32_t itt, ttt;
	bool active;
	uint64_t seen; /* keys of this exchange, enum iscsi_key */
	unsigned key_count;
	uint32_t max_xmit_next; /* declared in this exchange, in force at its end; 0: not */
};
void iscsi_text_session_fini(struct iscsi_text_session *ts);

/* Who asks, for what it may see. */
struct iscsi_text_who {
	const struct iscsi_login_env *env; /* its address fields and config are used */
	bool discovery;
	const char *initiator, *user;
	const struct iscsi_target *target; /* of a normal session */
	struct iscsi_params *params;       /* MaxRecvDataSegmentLength may change */
};
/*
 * One Text Request. 0: *rsp (but for SNs) and *ret_text, *ret_len (≤ max_xmit_bytes, valid until the
 * next call) are the answer; >0: Reject with that reason (enum iscsi_reject_reason); -ECONNRESET:
 * drop. Text over the limits, bad TTT, keys that may only be negotiated at login etc. as in §6.
 */
int iscsi_text_request(struct iscsi_text_session *ts, const struct iscsi_text_who *who,
    const struct iscsi_text_req *req, char *data, size_t len, struct iscsi_text_rsp *rsp,
    const char **ret_text, size_t *ret_len);

#endif
