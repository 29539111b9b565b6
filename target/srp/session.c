/* SPDX-License-Identifier: BSD-2-Clause */
/* A session on its loop: the nexus and its channels. */
#include <errno.h>
#include <string.h>

#include "srp/chan.h"

static void on_nexus_defer(struct loop_defer *d);

/* SRP TransportID, SPC-4 7.6.4.5. */
static int
create_nexus(struct srp_session *s)
{
	uint8_t tid[24] = {0x04};
	memcpy(tid + 8, s->initiator_port, SRP_PORT_ID_BYTES);
	struct scsi_nexus_args args = {
	    .loop = s->loop,
	    .view = s->view,
	    .rel_port_id = s->rel_port_id,
	    .transport_id = tid,
	    .transport_id_len = sizeof tid,
	    .initiator = s->initiator,
	    .tmfs = 1u << SCSI_TMF_ABORT_TASK | 1u << SCSI_TMF_ABORT_TASK_SET |
	            1u << SCSI_TMF_CLEAR_TASK_SET | 1u << SCSI_TMF_LU_RESET,
	};
	return scsi_nexus_create(s->server->core, &args, &s->nexus);
}

int
srp_session_join(struct srp_session *s, struct srp_chan *c)
{
	if (s->over)
		return -ECANCELED;
	if (s->nexus == NULL) {
		loop_defer_init(&s->nexus_defer, on_nexus_defer);
		int rc = create_nexus(s);
		if (rc < 0) {
			srp_session_end(s, "out of memory", false);
			return rc;
		}
	}
	list_push_back(&s->chans, &c->link);
	return 0;
}

static void
on_nexus_gone(void *ctx)
{
	struct srp_session *s = ctx;
	s->nexus = NULL;
	srp_session_check(s);
}

/* Whoever ends it may be in the middle of a task: the nexus goes when it has returned. */
static void
on_nexus_defer(struct loop_defer *d)
{
	struct srp_session *s = container_of(d, struct srp_session, nexus_defer);
	ASSERT(s->nexus != NULL && !s->nexus_ending);
	s->nexus_ending = true;
	scsi_nexus_destroy(s->nexus, on_nexus_gone, s);
}

void
srp_session_end(struct srp_session *s, const char *reason, bool orderly)
{
	if (s->over)
		return;
	s->over = true;
	s->end_reason = reason;
	s->orderly = orderly;
	LIST_FOREACH_SAFE (l, &s->chans)
		srp_chan_end(container_of(l, struct srp_chan, link), reason, orderly);
	if (s->nexus != NULL)
		loop_defer(s->loop, &s->nexus_defer);
	srp_session_check(s);
}

void
srp_session_chan_ending(struct srp_session *s, const char *reason, bool orderly)
{
	LIST_FOREACH (l, &s->chans)
		if (container_of(l, struct srp_chan, link)->state <= SRP_CHAN_LIVE)
			return;
	srp_session_end(s, reason, orderly);
}

void
srp_session_chan_closed(struct srp_session *s, struct srp_chan *c)
{
	list_remove(&c->link);
	srp_session_check(s);
}

void
srp_session_check(struct srp_session *s)
{
	if (!s->over || s->nexus != NULL || !list_empty(&s->chans) || s->gone_sent)
		return;
	s->gone_sent = true;
	s->gone_msg.run = srp_registry_session_gone;
	loop_send(s->server->home, &s->gone_msg);
}
