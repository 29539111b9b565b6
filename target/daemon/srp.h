/* SPDX-License-Identifier: BSD-2-Clause */
/* SRP in the daemon: its server, portals, targets; and sessions of both frontends as one list. */
#ifndef DAEMON_SRP_H
#define DAEMON_SRP_H

#include "daemon/daemon.h"
#include "srp/backend.h"
#include "srp/srp.h"

struct plan;
struct plan_address;

/* Numbers of SRP sessions begin behind this; iSCSI's TSIHs end before. */
#define DAEMON_SRP_SESSIONS 65536u

/* Steps of the start. Without RDMA in the build, d->srp stays NULL. */
int daemon_create_srp(void *daemon);
void daemon_destroy_srp(void *daemon);
/* Home loop: nobody is served any more, then `done`, perhaps at once. */
void daemon_end_srp(struct daemon *d, void (*done)(void *daemon));

/* "ib:PORT": logins by the IB CM. False: another address. */
bool daemon_srp_resolve(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);
/*
 * *ret: what to unlisten. Where no device is (yet), or RDMA isn't built in, that is told in the log
 * and is no failure. 0 or -errno.
 */
int daemon_srp_listen(struct daemon *d, const struct plan_address *a, struct sockaddr_storage *ret);
void daemon_srp_unlisten(struct daemon *d, const struct sockaddr_storage *sa, uint16_t tag);

/* The target port identifier: as configured, else from the name. */
void daemon_srp_ids(const struct conf_target *t, uint8_t ret[SRP_PORT_ID_BYTES]);
/* The targets of a configuration that have SRP portals. 0 or -errno with a sentence. */
int daemon_srp_config(const struct conf *conf, const struct daemon_objects *o,
    const uint16_t *bases, struct srp_config **ret, char *reason, size_t cap);

struct daemon_session {
	bool srp;
	uint32_t number; /* iSCSI: the TSIH; SRP: above DAEMON_SRP_SESSIONS */
	unsigned channels;
	uint64_t immediate_bytes, copied_bytes; /* SRP: payload that was copied, and why */
	struct iscsi_session_info info;         /* SRP's in the same terms; no TSIH */
};
uint32_t daemon_session_count(const struct daemon *d); /* at most so many */
/* Up to `cap`; returns the number written. */
uint32_t daemon_sessions(const struct daemon *d, struct daemon_session *ret, uint32_t cap);
/* Those that the plan's targets would end, with info.reason. */
uint32_t daemon_sessions_affected(
    const struct daemon *d, const struct plan *p, struct daemon_session *ret, uint32_t cap);
/* 0, -ENOENT. */
int daemon_session_drop(struct daemon *d, const struct daemon_session *s, const char *reason);

#endif
