/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The methods of the control socket, a table for each group of them; control.c puts them together.
 * Answers are described in terrace-control(7). ctx is the daemon.
 *
 * Answers that grow with what is configured or happened are made by a helper thread, out of a picture
 * of the moment: initiators on the home loop wait for taking it, not for printing a thousand objects.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "daemon/caches.h"
#include "daemon/daemon.h"
#include "daemon/srp.h"

#define CONTROL_SCHEMA 1 /* of the answers; fields are only ever added */

extern const struct ctl_method control_health_methods[];  /* version status health events … */
extern const struct ctl_method control_list_methods[];    /* lun.list target.list … loop.list */
extern const struct ctl_method control_cache_methods[];   /* cache.list */
extern const struct ctl_method control_order_methods[];   /* cache.flush … lun.dirty */
extern const struct ctl_method control_power_methods[];   /* power-fail */
extern const struct ctl_method control_stats_methods[];   /* overview lun.stats … */
extern const struct ctl_method control_connect_methods[]; /* connect */
extern const struct ctl_method control_srp_methods[];

/* ---- control_picture.c ------------------------------------------------------------------------------ */

/* What a picture has beside the configuration. */
#define PICTURE_SESSIONS 1u
#define PICTURE_LUNS 2u    /* and PICTURE_SESSIONS */
#define PICTURE_STATS 4u   /* of LUNs: counters, rates */
#define PICTURE_LATENCY 8u /* … and latencies */
#define PICTURE_PORTALS 16u
#define PICTURE_LOOPS 32u
#define PICTURE_HEALTH 64u
#define PICTURE_SUMMARIES 128u /* with PICTURE_LUNS: what they did lately, and all together */
#define PICTURE_CACHES 256u

struct picture_lun {
	const struct conf_lun *conf;
	const char *state, *mode;  /* static */
	const char *store, *why;   /* ""; in the picture's `texts` */
	uint8_t uuid[16], naa[16]; /* as bytes: making text of them is the helper's */
	bool has_ids;              /* uuid, and naa up to naa_len */
	unsigned naa_len;
	uint64_t size_bytes;
	bool nbd_writable;
	bool has_stats, has_volume, marker_is_local, frozen;
	struct cache_volume_stats volume; /* its cache's, with has_volume */
	struct monitor_rates rates;
};
struct stats_summary;
struct picture_address {
	char text[80];
	bool wildcard;
	bool waits; /* SRP: no device has it yet */
};
struct picture_portal {
	char *name;
	enum conf_protocol protocol;
	unsigned tag, address_count;
	struct picture_address *addresses; /* listened on */
};

struct picture {
	struct ctl_build build;
	struct daemon_pin pin;
	json_t *(*make)(const struct picture *p);
	unsigned parts;
	const struct options *options;
	const struct conf *conf;
	struct daemon_session *sessions;
	uint32_t session_count;
	struct picture_lun *luns; /* in the order of the configuration */
	unsigned lun_count;
	char *texts;                    /* of luns, one piece of memory for all: they are many */
	struct scsi_lu_stats *stats;    /* of luns; without PICTURE_LATENCY those are unset */
	struct picture_portal *portals; /* in the order of the configuration */
	unsigned portal_count;
	struct {
		struct loop_stats stats;
		struct nbd_stats nbd;
		bool uring;
	} loops[LOOP_COUNT_MAX];
	unsigned loop_count;
	uint64_t inspect_rate;      /* bytes a second; 0: no bound */
	struct health_copy *health; /* conditions, or what the method put there: the picture's */
	struct stats_summary *summaries; /* of luns; behind them, of all LUNs together */
	json_t *caches;
	char *lun;   /* only that one was asked for; NULL: all */
	void *extra; /* what the method put there */
	int64_t uptime_s;
	uint64_t now_ns; /* of loop_now_ns() of the home loop */
};

/*
 * Answers the call with what make() says of a picture, on a helper thread: NULL is "out of memory".
 * `health`: taken, may be NULL.
 */
void control_answer(struct daemon *d, struct ctl_call *call, unsigned parts,
    struct health_copy *health, json_t *(*make)(const struct picture *p));

/* The same, for those who want more. */
struct control_wish {
	unsigned parts;
	const char *lun;            /* only this one is looked at, if it is there; NULL: all */
	struct health_copy *health; /* taken, may be NULL */
	void *extra;                /* taken: freed with free() at the end; may be NULL */
	json_t *(*make)(const struct picture *p);
};
void control_answer_wish(struct daemon *d, struct ctl_call *call, const struct control_wish *wish);

/* ---- parts of answers: any thread; new references, NULL without memory ---------------------------- */

json_t *control_luns(const struct picture *p);     /* control_luns.c */
json_t *control_sessions(const struct picture *p); /* control_lists.c */
json_t *control_caches(const struct daemon *d);    /* control_cache.c; home loop */
json_t *control_loops(const struct picture *p);
const struct picture_portal *control_portal(const struct picture *p, const char *name);
/* Of a target; of a group of it; group "": of its open view. */
unsigned control_count_sessions(const struct picture *p, const char *target, const char *group);
/* Adds "owner", "runtime" and "origin" of an object; takes and returns it. */
json_t *control_add_head(json_t *o, const struct conf_head *head);

/* ---- control_look.c ------------------------------------------------------------------------------------ */

/* Of a LUN, params `lun`. Home loop. */
json_t *control_reservations(void *daemon, const json_t *params, struct ctl_failure *failure);
extern const struct ctl_param control_reservations_params[];

/* The configured UUID, or the one that it was given; "": it isn't known. Any thread. */
json_t *control_uuid(const struct picture_lun *l);
/* Adds what is known of its cache to a LUN. Any thread. */
void control_add_volume(json_t *o, const struct picture_lun *l);

/* ---- control_stats.c, control_heat.c ----------------------------------------------------------------- */

/* The LUN that was asked for, NULL: none; *ret_ok: it is there. A call that isn't ok has failed. */
const char *control_lun_of(
    struct daemon *d, struct ctl_call *call, const json_t *params, bool *ret_ok);
/* Of what is known of a LUN: -ENOENT, -ENOMEM. */
void control_fail_lun(struct ctl_call *call, const char *lun, int rc);
extern const struct ctl_param control_heatmap_params[];
void control_lun_heatmap(void *daemon, struct ctl_call *call, const json_t *params);

/* Answers the calls that wait for an event. */
void control_end_waiters(struct daemon *d);

#endif
