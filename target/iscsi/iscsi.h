/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The iSCSI frontend (RFC 7143, RFC 7144): portals, login, sessions, the full feature phase. It
 * turns PDUs into SCSI tasks and knows no LUN internals, no store, no configuration file.
 *
 * Thread rule: everything here on the home loop (loops[0]) or before the loops run. Connections are
 * accepted on the home loop, spread over the loops by load, and live there.
 */
#ifndef ISCSI_ISCSI_H
#define ISCSI_ISCSI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "loop/loop.h"
#include "scsi/scsi.h"

#define ISCSI_NAME_MAX 223u /* bytes, RFC 7143 §4.2.7.1 */
#define ISCSI_PORT_DEFAULT 3260u

struct iscsi_server;
struct iscsi_config;

/* Limits; every one is enforced. Defaults by iscsi_limits_default(). */
struct iscsi_limits {
	uint32_t login_timeout_ms;           /* 15 000: from accept to full feature phase */
	uint32_t half_open_max;              /* 64: connections before full feature phase */
	uint32_t half_open_per_addr_max;     /* 8 */
	uint32_t sessions_max;               /* 1024 */
	uint32_t sessions_per_initiator_max; /* 8 */
	uint32_t sessions_per_addr_max;      /* 64 */
	uint32_t login_keys_max;             /* 64 */
	uint32_t login_text_max_bytes;       /* 16 KiB over all C bits */
	uint32_t chap_value_max_bytes;       /* 1 KiB */
	uint32_t auth_failures_max;    /* 10 per address and minute, then refused for a minute */
	uint32_t nop_data_max_bytes;   /* 4 KiB */
	uint32_t ahs_max_bytes;        /* 64 */
	uint32_t immediate_max;        /* 8 immediate commands outside the window */
	uint32_t tmf_max;              /* 16 under way per session */
	uint32_t depth_max;            /* 128: command window of a session */
	uint32_t send_queue_max_bytes; /* 4 MiB waiting … */
	uint32_t send_stall_ms;        /* 30 000 … or data asked for doesn't come: it ends */
	uint32_t nop_interval_ms;      /* 15 000 of silence: NOP-In; 0: none */
	uint32_t nop_timeout_ms;       /* 15 000 without answer: the connection ends */
	uint32_t logout_grace_ms;      /* 3 000: how long a session that must end has to log out */
};
void iscsi_limits_default(struct iscsi_limits *l);

/* Negotiation, what we offer or insist on; per target. Bytes. RFC 7143 §13. */
struct iscsi_offer {
	uint8_t header_digest; /* bits: 1 None, 2 CRC32C; what we accept */
	uint8_t data_digest;
	bool prefer_digests;          /* choose CRC32C when the initiator offers both */
	bool initial_r2t;             /* false */
	bool immediate_data;          /* true */
	uint32_t max_recv_bytes;      /* 256 KiB: MaxRecvDataSegmentLength that we declare */
	uint32_t max_burst_bytes;     /* 1 MiB */
	uint32_t first_burst_bytes;   /* 256 KiB */
	uint32_t max_outstanding_r2t; /* 8 */
};
void iscsi_offer_default(struct iscsi_offer *o);

/* ---- configuration: built once, then given to the server ------------------------------------ */

/* The text of errors goes to reason: one sentence. Strings are copied. */
struct iscsi_chap_user {
	const char *name;   /* ≤ 255 bytes */
	const char *secret; /* 12..256 bytes */
	size_t secret_len;
	const char *mutual_name; /* what the target calls itself; NULL: one-way */
	const char *mutual_secret;
	size_t mutual_secret_len;
};

struct iscsi_group_args {
	const char *name;
	const char *const *initiators; /* patterns (text_match), first match wins */
	unsigned initiator_count;
	const char *const *users; /* CHAP users of the target that may log in; none: no CHAP */
	unsigned user_count;
	struct scsi_view *view; /* borrowed */
};

struct iscsi_target_args {
	const char *name;       /* iqn., eui. or naa. name; checked, normalised to lower case */
	const char *alias;      /* NULL: none */
	uint16_t rel_port_base; /* relative port id of the first of portal_tags, and so on … */
	const uint16_t *rel_port_ids; /* … or one for each of portal_tags; NULL: by rel_port_base */
	const struct iscsi_chap_user *users;
	unsigned user_count;
	const struct iscsi_group_args *groups;
	unsigned group_count;
	struct scsi_view *open_view; /* everybody else gets this (`open yes`); NULL: refused */
	const char *const
	    *allow; /* addresses "192.0.2.0/24", "2001:db8::/32", "ALL"; see access.c */
	unsigned allow_count;
	const char *const *deny;
	unsigned deny_count;
	struct iscsi_offer offer;
	const uint16_t *portal_tags; /* portal group tags it listens on */
	unsigned portal_tag_count;
};

int iscsi_config_create(struct iscsi_config **ret);
/* Not while a server uses it: see iscsi_server_set_config(). Accepts NULL. */
void iscsi_config_destroy(struct iscsi_config *c);
/* 0, -EINVAL (name, secret, pattern, address: see reason), -EEXIST, -ENOMEM. */
int iscsi_config_add_target(
    struct iscsi_config *c, const struct iscsi_target_args *args, char *reason, size_t reason_cap);
/* For discovery sessions; with at least one user, discovery needs CHAP. */
int iscsi_config_add_discovery_user(
    struct iscsi_config *c, const struct iscsi_chap_user *u, char *reason, size_t reason_cap);
/* For all targets and discovery. deny is read first, allow overrides; default: allowed. */
int iscsi_config_set_access(struct iscsi_config *c, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, char *reason, size_t reason_cap);

/* ---- server ------------------------------------------------------------------------------------ */

enum iscsi_event_kind {
	ISCSI_EVENT_LOGIN,   /* a session was established */
	ISCSI_EVENT_LOGOUT,  /* it ended in order */
	ISCSI_EVENT_DROPPED, /* it ended otherwise; `reason` */
	ISCSI_EVENT_REFUSED, /* a login was refused; `reason`, `status` */
	ISCSI_EVENT_COUNT
};
struct iscsi_event {
	enum iscsi_event_kind kind;
	const char *initiator; /* "" when not known yet; printable characters only */
	const char *target;
	const char *address; /* peer */
	const char *user;    /* CHAP; "" */
	const char *reason;
	uint16_t status; /* enum iscsi_login_status */
	uint32_t tsih;
};

struct iscsi_server_args {
	struct scsi_core *core;
	struct loop *const *loops;
	unsigned loop_count;
	struct iscsi_limits limits;
	struct iscsi_config *config; /* borrowed */
	void (*event)(
	    void *ctx, const struct iscsi_event *e); /* home loop; strings valid in the call */
	void *event_ctx;
};
int iscsi_server_create(const struct iscsi_server_args *args, struct iscsi_server **ret);
/* Listens; tag: portal group tag ≥ 1. 0 or what sock_listen() says. */
int iscsi_server_listen(
    struct iscsi_server *s, const struct sockaddr *addr, socklen_t addr_len, uint16_t tag);
/* The address that portal number `i` (in order of listen) is bound to. False: no such portal. */
bool iscsi_server_portal(const struct iscsi_server *s, unsigned i, struct sockaddr_storage *ret);
/*
 * Stops listening on the address that iscsi_server_portal() shows, for this tag. Connections that
 * came by it stay (iscsi_server_set_config() ends those whose tag leads to their target no more). The
 * numbers of the portals behind it move up. 0, -ENOENT, -ENOMEM.
 */
int iscsi_server_unlisten(struct iscsi_server *s, const struct sockaddr *addr, uint16_t tag);

/* One session, as a snapshot for status output. */
struct iscsi_session_info {
	uint16_t tsih;
	uint8_t isid[6];
	uint16_t portal_tag;
	uint16_t rel_port_id; /* 0: discovery */
	char initiator[ISCSI_NAME_MAX + 1];
	char target[ISCSI_NAME_MAX + 1]; /* "": discovery */
	char address[64];                /* the initiator's */
	char local_address[64];
	char user[256];
	char group[256]; /* "": the open view, or discovery */
	bool discovery, header_digest, data_digest;
	bool ending;            /* was told to end, has time to log out */
	struct scsi_view *view; /* NULL: discovery */
	uint64_t connected_s;   /* seconds since login */
	/* Commands that were answered: with data in, data out, without. */
	uint64_t reads, writes, others;
	uint64_t read_bytes, write_bytes;
	const char *reason; /* iscsi_server_affected(): why it would end, static text; else NULL */
	unsigned loop;
};
uint32_t iscsi_server_session_count(const struct iscsi_server *s);
/* Up to `cap` sessions that the registry knows; returns the number written. */
uint32_t iscsi_server_sessions(
    const struct iscsi_server *s, struct iscsi_session_info *ret, uint32_t cap);

/* ---- changes while sessions work -------------------------------------------------------------- */

/*
 * Uses `config` from now on (borrowed, as the one before). New logins see it at once; those under way
 * are looked at again before they become sessions. Sessions go on where, by name, the same group of
 * the same target still admits them with the same view (the same struct scsi_view, changed by
 * scsi_view_change()), relative port id and CHAP user. The others end: they are asked to log out and
 * have limits.logout_grace_ms for it. What was negotiated stays as it is in sessions that go on.
 *
 * `done` (may be NULL) runs on the home loop, later, exactly once: nothing refers to `old`, nor to a
 * view that only it has; both may be destroyed. After iscsi_server_stop() at the latest when that is
 * done. Another change may be made before.
 *
 * 0; -ENOMEM: nothing changed, done() won't come; -EALREADY: it is in use, or used to be and done()
 * hasn't come yet.
 */
int iscsi_server_set_config(struct iscsi_server *s, struct iscsi_config *config,
    void (*done)(void *ctx, struct iscsi_config *old), void *ctx);
/*
 * The sessions that set_config(config) would end, with reason, without those that end already and
 * discovery: up to `cap` into `ret`. Returns how many there are, which may be more.
 */
uint32_t iscsi_server_affected(const struct iscsi_server *s, const struct iscsi_config *config,
    struct iscsi_session_info *ret, uint32_t cap);
/*
 * In force for what happens from now on; sessions keep the number of task management functions and
 * the window that they have. Values that make no sense are made to fit (depth_max, tmf_max and
 * immediate_max are at least 1, ahs_max_bytes at most 64). 0, -ENOMEM.
 */
int iscsi_server_set_limits(struct iscsi_server *s, const struct iscsi_limits *limits);
/*
 * Ends a session: it is asked to log out, and ended after limits.logout_grace_ms. `reason` (copied)
 * is told in the event. 0, -ENOENT.
 */
int iscsi_server_drop(struct iscsi_server *s, uint16_t tsih, const char *reason);

/* ---- end ----------------------------------------------------------------------------------------- */

/*
 * Stops listening, asks initiators to log out (async message 1), ends what is left after
 * `grace_ms`, then calls `done` on the home loop: no connection and no nexus exists any more.
 */
void iscsi_server_stop(
    struct iscsi_server *s, uint32_t grace_ms, void (*done)(void *ctx), void *ctx);
void iscsi_server_destroy(struct iscsi_server *s); /* stopped, or never ran; accepts NULL */

#endif
