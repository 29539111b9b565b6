/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logins as events: who came, went and was turned away, noted at a rate that no peer can raise, and the
 * last that were refused, with what would admit them. Home loop.
 */
#ifndef DAEMON_LOGINS_H
#define DAEMON_LOGINS_H

#include "conf/conf.h"
#include "health/health.h"
#include "iscsi/iscsi.h"

#define LOGINS_REFUSED_MAX 64u      /* remembered; then the one longest ago goes */
#define LOGINS_FLOOD_PER_MINUTE 30u /* more of them: HEALTH_LOGINS_REFUSED */
#define LOGINS_NOTED_AGAIN_S 600u   /* the same refusal is an event again after */

struct logins;

/* 0, -ENOMEM. */
int logins_create(struct health *h, struct loop *l, struct logins **ret);
void logins_destroy(struct logins *g); /* accepts NULL */
void logins_event(struct logins *g, const struct iscsi_event *e);
/* Every few seconds: whether there are too many refusals, still. */
void logins_tick(struct logins *g);
/*
 * [{"initiator", "target", "address", "reason", "status", "count", "first", "time", "action"}], the
 * latest first. `action`: what admits it as a shell takes it, for the objects of `conf`; "": nothing
 * of ours does. NULL without memory.
 */
json_t *logins_refused(const struct logins *g, const struct conf *conf);

#endif
