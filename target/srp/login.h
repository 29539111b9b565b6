/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the frontend: the configuration (config.c), who may log in (access.c) and what becomes of a
 * login (login.c). Pure: no socket, no loop, no clock.
 */
#ifndef SRP_LOGIN_H
#define SRP_LOGIN_H

#include "base/list.h"
#include "base/subnet.h"
#include "srp/iu.h"
#include "srp/srp.h"

/* ---- config.c ------------------------------------------------------------------------------ */

struct srp_group {
	char *name;
	struct srp_pattern *patterns;
	unsigned pattern_count;
	bool needs_chap;
	struct scsi_view *view;
};

struct srp_target {
	struct list link;
	char *name;
	uint8_t port_id[SRP_PORT_ID_BYTES];
	struct srp_group *groups;
	unsigned group_count;
	struct scsi_view *open_view;
	struct subnet_list acl;
	uint16_t *portal_tags, *rel_port_ids;
	unsigned portal_count;
};

struct srp_config {
	struct list targets;
	struct subnet_list acl;
};
const struct srp_target *srp_config_find(
    const struct srp_config *c, const uint8_t port_id[SRP_PORT_ID_BYTES]);
const struct srp_target *srp_config_find_name(const struct srp_config *c, const char *name);
/* The relative port id on this portal; 0: it isn't served there. */
uint16_t srp_target_rel_port(const struct srp_target *t, uint16_t tag);

/* ---- access.c ------------------------------------------------------------------------------- */

/* Where a connection comes from. */
struct srp_peer {
	struct sockaddr_storage addr; /* of IB connections: AF_INET6 with the GID */
	uint16_t pkey;                /* 0: not known (IP) */
	bool native;                  /* IB CM */
};

/* "srp.PATTERN@RANGE%PKEY", taken apart. */
struct srp_pattern {
	char *name;
	struct subnet range; /* AF_UNSPEC: any */
	bool has_range;
	uint16_t pkey; /* 0: any */
};
/* 0, -EINVAL, -ENOMEM. */
int srp_pattern_parse(const char *s, struct srp_pattern *ret);
void srp_pattern_fini(struct srp_pattern *p);
bool srp_pattern_matches(
    const struct srp_pattern *p, const char *initiator, const struct srp_peer *peer);
void srp_initiator_name(const uint8_t port_id[SRP_PORT_ID_BYTES], char ret[SRP_NAME_CAP]);

/* What somebody is given. */
struct srp_grant {
	const struct srp_target *target;
	const struct srp_group *group; /* NULL: the open view */
	struct scsi_view *view;
	uint16_t rel_port_id;
};
/* NULL: granted. Else why not, for people: static text. */
const char *srp_access_grant(const struct srp_config *config, const struct srp_target *t,
    const char *initiator, const struct srp_peer *peer, uint16_t tag, struct srp_grant *ret);

/* What a session was given at its login, by name. */
struct srp_claim {
	const char *initiator;
	const struct srp_peer *peer;
	uint16_t portal_tag, rel_port_id;
	const char *target;
	const uint8_t *target_port;
	const char *group; /* NULL: the open view */
	struct scsi_view *view;
};
/* NULL: the configuration grants it still. Else why not: static text. */
const char *srp_access_regrant(const struct srp_config *config, const struct srp_claim *claim);

/* ---- login.c -------------------------------------------------------------------------------- */

struct srp_login_env {
	const struct srp_config *config;
	const struct srp_limits *limits;
	struct srp_peer peer;
	uint16_t portal_tag;
	/* The session that this login names. */
	unsigned channels;       /* 0: there is none */
	bool session_elsewhere;  /* it came from another address */
	bool session_ending;     /* no channel can join it */
	bool session_other_view; /* it was granted something else than this login would be */
	/* All of them. */
	unsigned sessions, sessions_from_addr, channels_all, pending;
	bool stopping;
};

struct srp_login_result {
	struct srp_grant grant;
	bool joins;               /* a further channel of the session */
	bool ends;                /* the session that is there ends first */
	uint16_t imm_data_offset; /* 0: no immediate data */
	uint8_t rsp_flags;
};
/* NULL: granted, *ret is filled. Else why not (static text), and *ret_reason for the answer. */
const char *srp_login_decide(const struct srp_login_env *env, const struct srp_login *req,
    struct srp_login_result *ret, enum srp_login_reason *ret_reason);

#endif
