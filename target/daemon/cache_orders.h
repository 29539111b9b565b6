/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Orders to caches by the control socket. Thread rule: home loop. Parameters and answers are described in
 * terrace-control(7).
 */
#ifndef DAEMON_CACHE_ORDERS_H
#define DAEMON_CACHE_ORDERS_H

#include "daemon/control.h"

/* ---- cache_orders.c --------------------------------------------------------------------------------- */

struct order_luns {
	struct daemon_lun **list; /* valid until the next turn of the loop; each once */
	unsigned count;
};
/* Those that "lun", "luns" and "cache" name, with a cache. 0, or -1: the call was answered. */
int order_luns(
    struct daemon *d, struct ctl_call *call, const json_t *params, struct order_luns *ret);
void order_luns_fini(struct order_luns *x);
/* Answers the call: there is no cache of that name. */
void order_no_cache(struct ctl_call *call, const char *name);
/* Why something of a LUN's cache failed, for a person. */
const char *order_reason(int result);

/* start() of methods */
void order_flush(void *daemon, struct ctl_call *call, const json_t *params);
void order_evict(void *daemon, struct ctl_call *call, const json_t *params);

/* ---- cache_curve.c ---------------------------------------------------------------------------------- */

void order_stats(void *daemon, struct ctl_call *call, const json_t *params);

/* ---- cache_resize.c --------------------------------------------------------------------------------- */

void order_resize(void *daemon, struct ctl_call *call, const json_t *params);

/* ---- cache_loss.c ----------------------------------------------------------------------------------- */

void order_accept_loss(void *daemon, struct ctl_call *call, const json_t *params);

/* ---- cache_freeze.c --------------------------------------------------------------------------------- */

#define FREEZE_SECONDS_DEFAULT 20
#define FREEZE_SECONDS_MAX 300

void order_freeze(void *daemon, struct ctl_call *call, const json_t *params);
void order_hold(void *daemon, struct ctl_call *call, const json_t *params);
void order_thaw(void *daemon, struct ctl_call *call, const json_t *params);
/* The LUN is about to lose its unit: whatever froze it ends. */
void daemon_lun_thaw(struct daemon_lun *l);
void daemon_thaw_all(struct daemon *d);

/* ---- cache_lun.c ------------------------------------------------------------------------------------ */

/*
 * Something that concerns the volume as a whole begins: no change of mode, and no detaching, until
 * daemon_lun_end(). False: another such thing is under way, or there is no volume.
 */
bool daemon_lun_begin(struct daemon_lun *l);
/* What waited for it comes now; the LUN may be gone after this. */
void daemon_lun_end(struct daemon_lun *l);

#endif
