/* SPDX-License-Identifier: BSD-2-Clause */
/* The iSCSI frontend of the daemon: its server, what it tells. */
#include <errno.h>

#include "base/log.h"
#include "daemon/plan.h"

static void
on_iscsi_event(void *ctx, const struct iscsi_event *e)
{
	struct daemon *d = ctx;
	const char *user = e->user[0] != '\0' ? e->user : "-";
	switch (e->kind) {
	case ISCSI_EVENT_LOGIN:
		log_info("iscsi", "login initiator=%s target=%s address=%s user=%s session=%u",
		    e->initiator, e->target, e->address, user, e->tsih);
		break;
	case ISCSI_EVENT_LOGOUT:
		log_info("iscsi",
		    "logout initiator=%s target=%s address=%s session=%u reason=\"%s\"",
		    e->initiator, e->target, e->address, e->tsih, e->reason);
		break;
	case ISCSI_EVENT_DROPPED:
		log_warn("iscsi",
		    "session lost initiator=%s target=%s address=%s session=%u reason=\"%s\"",
		    e->initiator, e->target, e->address, e->tsih, e->reason);
		break;
	case ISCSI_EVENT_REFUSED: {
		static struct log_limit limit;
		uint32_t suppressed;
		if (log_limit_ok(&limit, loop_now_ns(loop_current()), &suppressed))
			log_warn("iscsi",
			    "login refused initiator=%s target=%s address=%s status=%04x "
			    "reason=\"%s\" "
			    "suppressed=%u",
			    e->initiator[0] != '\0' ? e->initiator : "?",
			    e->target[0] != '\0' ? e->target : "?", e->address, e->status,
			    e->reason, suppressed);
		break;
	}
	case ISCSI_EVENT_COUNT:
		break;
	}
	if (e->kind == ISCSI_EVENT_LOGIN)
		daemon_nbd_look(d);
	if (d->monitor != NULL)
		logins_event(monitor_logins(d->monitor), e);
}

int
daemon_create_frontend(void *ctx)
{
	struct daemon *d = ctx;
	struct iscsi_server_args args = {
	    .core = d->core,
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	    .config = d->iscsi_config,
	    .event = on_iscsi_event,
	    .event_ctx = d,
	};
	daemon_limits(d->conf, &args.limits);
	return iscsi_server_create(&args, &d->iscsi);
}

void
daemon_destroy_frontend(void *ctx)
{
	struct daemon *d = ctx;
	iscsi_server_destroy(d->iscsi);
	d->iscsi = NULL;
}

int
daemon_listen(void *ctx)
{
	struct daemon *d = ctx;
	const struct plan_address *failed;
	int rc = plan_listen(d->plan, &failed);
	if (rc < 0)
		portal_failed(failed, rc, d->reason, sizeof d->reason);
	return rc;
}
