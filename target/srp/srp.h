/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SRP frontend (SCSI RDMA Protocol r16a, immediate data of SRP-2): logins over the RDMA CM and
 * the IB CM, sessions of one or several channels, commands whose data moves by RDMA. It turns
 * information units into SCSI tasks and knows no LUN internals, no store, no configuration file, and
 * below its backend (srp/backend.h) no verbs.
 *
 * SRP has no authentication: an initiator's port identifier is what it says it is.
 *
 * Thread rule: everything here on the home loop (loops[0]) or before the loops run. Logins are
 * decided on the home loop; a session with all its channels lives on one loop.
 */
#ifndef SRP_SRP_H
#define SRP_SRP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "loop/loop.h"
#include "scsi/scsi.h"

#define SRP_PORT_ID_BYTES 16u /* identifier extension, then GUID: 8 bytes each */
#define SRP_NAME_CAP 40u      /* "srp." and 32 hex digits */
#define SRP_TARGET_NAME_MAX 223u
#define SRP_CHANNELS_MAX 64u /* of a session: a bound of limits.channels_per_session_max */

struct srp_config;
struct srp_server;
struct srp_backend;

/* Limits; every one is enforced. Defaults by srp_limits_default(). */
struct srp_limits {
	uint32_t queue_depth;              /* 128: requests of a channel, 4..1024 */
	uint32_t it_iu_max_bytes;          /* 8448: longest unit taken, 512..12288 */
	uint32_t channels_max;             /* 1024 of the process */
	uint32_t channels_per_session_max; /* 16 */
	uint32_t sessions_max;             /* 256 */
	uint32_t sessions_per_addr_max;    /* 64 */
	uint32_t pending_max;              /* 64 channels accepted but not established */
	uint32_t login_timeout_ms;         /* 15 000: from the login to an established channel */
	uint32_t keepalive_ms;             /* 15 000 of silence: a probe; 0: none */
	uint32_t stall_ms;                 /* 30 000: nothing completes: the channel ends */
	bool same_address_only; /* a login that ends a session must come from the same address */
};
void srp_limits_default(struct srp_limits *l);

/* ---- identifiers --------------------------------------------------------------------------- */

/*
 * The target port identifier of a target that was given none: derived from its name, so that it is
 * the same on every start and wherever the configuration goes.
 */
void srp_target_id_default(const char *target_name, uint8_t ret[SRP_PORT_ID_BYTES]);
/* Exactly 2 × len hex digits, colons and a leading "0x" ignored. 0 or -EINVAL. */
int srp_hex_parse(const char *s, uint8_t *ret, size_t len);
/* Lower case, no separators; ret has room for 2 × len + 1. */
void srp_hex_format(const uint8_t *p, size_t len, char *ret);

/* ---- configuration: built once, then given to the server ------------------------------------ */

struct srp_group_args {
	const char *name;
	/*
	 * First match wins. "srp.PATTERN" is held against "srp." and the 32 hex digits of the
	 * initiator port identifier, in lower case; behind it, each may follow once: "@RANGE", the
	 * address (or GID) that it comes from, "%PKEY", four hex digits. All that are given must match.
	 */
	const char *const *initiators;
	unsigned initiator_count;
	bool needs_chap; /* the group asks for a user: nobody comes in over SRP, which has none */
	struct scsi_view *view; /* borrowed */
};

struct srp_target_args {
	const char *name;
	uint8_t port_id[SRP_PORT_ID_BYTES];
	const struct srp_group_args *groups;
	unsigned group_count;
	struct scsi_view *open_view; /* everybody else gets this; NULL: refused */
	const char *const *allow;    /* addresses: base/subnet.h */
	unsigned allow_count;
	const char *const *deny;
	unsigned deny_count;
	const uint16_t *portal_tags;  /* it is served on */
	const uint16_t *rel_port_ids; /* one for each */
	unsigned portal_count;
};

int srp_config_create(struct srp_config **ret); /* 0, -ENOMEM */
/* Not while a server uses it. Accepts NULL. */
void srp_config_destroy(struct srp_config *c);
/* Strings are copied. 0; -EINVAL, -EEXIST (name, identifier) with a sentence in reason; -ENOMEM. */
int srp_config_add_target(
    struct srp_config *c, const struct srp_target_args *args, char *reason, size_t reason_cap);
/* For all targets: deny is read first, allow overrides. 0, -EINVAL with a sentence, -ENOMEM. */
int srp_config_set_access(struct srp_config *c, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, char *reason, size_t reason_cap);

/* ---- server ------------------------------------------------------------------------------------ */

enum srp_event_kind {
	SRP_EVENT_LOGIN,   /* a session was established: its first channel */
	SRP_EVENT_CHANNEL, /* a further channel */
	SRP_EVENT_LOGOUT,  /* a session ended in order */
	SRP_EVENT_DROPPED, /* it ended otherwise; `reason` */
	SRP_EVENT_REFUSED, /* a login was refused; `reason`, `status` */
	SRP_EVENT_DEVICE,  /* a device came, went or failed: `device`, `reason` */
	SRP_EVENT_COUNT
};
struct srp_event {
	enum srp_event_kind kind;
	const char *initiator; /* "srp.…"; "" when not known */
	const char *target;    /* its name; "" when not known */
	const char *address;   /* peer */
	const char *device;    /* "" when not known */
	const char *reason;
	uint32_t status; /* enum srp_login_reason */
	uint32_t session;
	unsigned channels; /* of the session, with this one */
};

struct srp_server_args {
	struct scsi_core *core;
	struct loop *const *loops;
	unsigned loop_count;
	struct srp_limits limits;
	struct srp_config *config;   /* borrowed */
	struct srp_backend *backend; /* borrowed: srp/backend.h, srp_verbs_create() */
	void (*event)(
	    void *ctx, const struct srp_event *e); /* home loop; strings valid in the call */
	void *event_ctx;
};
/* 0, -ENOMEM. */
int srp_server_create(const struct srp_server_args *args, struct srp_server **ret);
/*
 * Listens; tag: the portal's, ≥ 1. 0; -ENODEV: no RDMA device has the address (it is tried again
 * while the server runs, and listens when there is one); else of the backend.
 */
int srp_server_listen(
    struct srp_server *s, const struct sockaddr *addr, socklen_t addr_len, uint16_t tag);
/* Channels that came by it stay. 0, -ENOENT. */
int srp_server_unlisten(struct srp_server *s, const struct sockaddr *addr, uint16_t tag);

struct srp_portal_info {
	struct sockaddr_storage addr;
	uint16_t tag;
	bool listening; /* false: no device has the address yet */
};
/* Number `i` in the order of listen. False: no such portal. */
bool srp_server_portal(const struct srp_server *s, unsigned i, struct srp_portal_info *ret);

struct srp_session_info {
	uint32_t id;
	uint16_t portal_tag, rel_port_id;
	uint8_t initiator_port[SRP_PORT_ID_BYTES], target_port[SRP_PORT_ID_BYTES];
	char initiator[SRP_NAME_CAP];
	char target[SRP_TARGET_NAME_MAX + 1];
	char address[64], local_address[64], device[64];
	char group[256]; /* "": the open view */
	unsigned channels;
	bool immediate, ending;
	struct scsi_view *view;
	uint64_t connected_s;
	uint64_t reads, writes, others, read_bytes, write_bytes;
	/* Payload that was copied: by immediate data, which SRP copies by nature, and because memory
	 * wasn't registered with the device. */
	uint64_t immediate_bytes, copied_bytes;
	const char *reason; /* srp_server_affected(): why it would end; else NULL */
	unsigned loop;
};
uint32_t srp_server_session_count(const struct srp_server *s);
/* Up to `cap`; returns the number written. */
uint32_t srp_server_sessions(
    const struct srp_server *s, struct srp_session_info *ret, uint32_t cap);

/* ---- changes while sessions work -------------------------------------------------------------- */

/*
 * Uses `config` from now on (borrowed, as the one before). Sessions go on where, by name, the same
 * group of the same target still admits them with the same view; the others end. `done` (may be NULL)
 * runs on the home loop, later, exactly once: nothing refers to `old`, nor to a view that only it has.
 * 0; -ENOMEM: nothing changed.
 */
int srp_server_set_config(struct srp_server *s, struct srp_config *config,
    void (*done)(void *ctx, struct srp_config *old), void *ctx);
/* The sessions that set_config(config) would end, with reason: up to `cap`. Returns how many. */
uint32_t srp_server_affected(const struct srp_server *s, const struct srp_config *config,
    struct srp_session_info *ret, uint32_t cap);
/* In force for logins from now on. */
void srp_server_set_limits(struct srp_server *s, const struct srp_limits *limits);
/* Ends a session; `reason` (copied) is told in the event. 0, -ENOENT. */
int srp_server_drop(struct srp_server *s, uint32_t session, const char *reason);

/* ---- end ----------------------------------------------------------------------------------------- */

/* Stops listening, ends all sessions, then calls `done` on the home loop: nothing is left. */
void srp_server_stop(struct srp_server *s, void (*done)(void *ctx), void *ctx);
void srp_server_destroy(struct srp_server *s); /* stopped, or never ran; accepts NULL */

#endif
