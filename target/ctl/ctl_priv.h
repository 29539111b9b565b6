/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the server, the protocol, and what is known of peers. */
#ifndef CTL_CTL_PRIV_H
#define CTL_CTL_PRIV_H

#include "base/list.h"
#include "ctl/ctl.h"

struct ctl_client;

struct ctl_call {
	struct list link;          /* in the server's, once it is pending */
	struct ctl_server *server; /* while it is pending */
	struct ctl_client *client; /* NULL: gone, or none */
	json_t *request;           /* what params, method and id are in */
	json_t *params;
	const struct ctl_method *method;
	struct ctl_peer peer;
	bool inside; /* its start() hasn't returned */
	bool answered;
	bool gone;  /* the client */
	char *text; /* the answer that was given inside; NULL for a notification */
	/* Takes the answer of a pending call, which is freed afterwards. NULL: it is dropped. */
	void (*deliver)(struct ctl_call *call, char *text);
};

/* A group of users and what it may. */
struct peer_group {
	char name[64];
	gid_t gid; /* when the server was created; (gid_t)-1: there was none */
};
struct peer_groups {
	struct peer_group change, read;
};

struct rpc_env {
	const struct ctl_method *const *tables;
	void *ctx;
	const struct ctl_peer *peer;
	const struct peer_groups *groups;
	bool full; /* no further call can be started */
};

/*
 * A line → its answer, to be freed; NULL: none, or none yet, then *ret_pending is a call whose
 * `deliver` is still to be set.
 */
char *rpc_handle(
    const struct rpc_env *env, const char *line, size_t len, struct ctl_call **ret_pending);

/* May block (a directory service). NULL: "terrace", "terrace-ro". */
void peer_groups_init(struct peer_groups *g, const char *change, const char *read);
/* Who is at the other end, and what they may. */
void peer_identify(const struct sock *sock, const struct peer_groups *g, struct ctl_peer *ret);

#endif
