/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon: opens what the configuration names, wires it together, serves until told to stop.
 * The order of starting is a table of steps (base/steps.h), undone in reverse when one fails and at
 * the end.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/steps.h"
#include "conf/conf.h"
#include "daemon/catalog.h"
#include "daemon/monitor.h"
#include "daemon/names.h"
#include "daemon/options.h"
#include "daemon/statedir.h"
#include "health/health.h"
#include "iscsi/iscsi.h"
#include "loop/loop.h"
#include "nbd/nbd.h"
#include "scsi/scsi.h"
#include "store/blk.h"

/* What runs; replaced as a whole by a change. The tree goes after the objects that borrow from it. */
struct daemon_config {
	struct conf_tree *tree; /* NULL: from the command line */
	struct conf *conf;
};

struct cache_volume;
struct srp_backend;
struct srp_config;
struct srp_server;
struct stats;
struct lun_freeze;
struct daemon_cache;
struct daemon_marker;
struct lun_detach;

/* Keeps the configuration that runs, which a change may replace meanwhile. Embedded in its user. */
struct daemon_pin {
	struct list link;
	struct daemon *daemon;
	const struct conf *conf;
};

/* A LUN that is served, or would be if its store could be opened. */
struct daemon_lun {
	struct daemon *daemon;
	char *name;
	const struct conf_lun *conf;  /* in the running configuration: another one after a change */
	struct blk *blk;              /* the store; NULL: it couldn't be opened */
	struct daemon_marker *marker; /* of the open store */
	struct daemon_cache *cache;   /* with `volume` */
	struct cache_volume *volume;  /* in front of the store; NULL: none */
	struct ram_volume *ram;       /* in front of that, while there is a unit; NULL: none */
	struct lun_detach *detaching; /* waits for a change of mode */
	struct lun_freeze *freeze;    /* its writes wait, or are about to */
	bool mode_changes;            /* or something else of the volume as a whole is under way */
	bool volume_is_new;           /* the cache didn't know it before */
	int grow_error;     /* why the volume didn't grow with its store; 0: nothing failed */
	struct scsi_lu *lu; /* NULL: no unit (store not open, or ending): not served */
	char *canonical;    /* the store's, or "ram:NAME": key of its identity */
	char *why;          /* it isn't served: one sentence, else NULL */
	bool lacks_cache;   /* that is why: the store's newest data is in a cache */
	bool created;       /* its file was made by this start or change */
	bool is_volatile;   /* opened for, and told as, mode volatile; see mode_wait.c */
	struct catalog_identity id;
	struct {
		void *blob;
		size_t len;
	} remembered[SCSI_PERSIST_COUNT]; /* from before, until the unit has it */
	struct nbd_release nbd_release;   /* daemon_lun_end_unit() */
	struct scsi_lu *ending;
	void (*ended)(void *ctx);
	void *ended_ctx;
};

/* What the initiators of a group, or everybody on an open target, see. */
struct daemon_view {
	char *key;              /* daemon_view_key() */
	struct scsi_view *view; /* LUNs without unit aren't in it */
};

/* An address that a portal listens on. */
struct daemon_address {
	char *text;                   /* as the configuration says it */
	struct sockaddr_storage real; /* bound to: with the kernel's choice for port 0 */
	bool listening;
};
struct daemon_portal {
	char *name;
	enum conf_protocol protocol;
	uint16_t tag; /* portal group tag; the portal's for ever (catalogue) */
	struct daemon_address *addresses;
	unsigned address_count;
};

/* A SCSI target port: a target on a portal. */
struct daemon_port {
	uint16_t rel_id; /* base of the target + tag - 1 */
	uint16_t tag;
	const char *target; /* of the configuration */
};

/* What is served, in the order of the configuration, and by name. */
struct daemon_objects {
	struct daemon_lun **luns;
	unsigned lun_count;
	struct daemon_view **views;
	unsigned view_count;
	struct daemon_portal **portals;
	unsigned portal_count;
	struct daemon_port *ports; /* by rel_id */
	unsigned port_count;
	struct names lun_names, view_names, portal_names;
};

struct daemon {
	const struct options *options;
	struct daemon_config config;
	const struct conf *conf;   /* config.conf */
	struct list pins, retired; /* who looks at configurations; plans whose ones are looked at */
	uint64_t changes_adopted;  /* another number: `now` and `conf` are others */
	struct statedir *statedir;
	struct catalog *catalog;
	struct loop *loops[LOOP_COUNT_MAX];
	unsigned loop_count;
	unsigned threads_started;
	struct daemon_cache **caches; /* as at the start */
	unsigned cache_count;
	struct list freezes; /* of LUNs */
	uint64_t freezes_made;
	struct daemon_objects now;
	struct plan *plan; /* of the start, until it is complete */
	struct scsi_core *core;
	struct iscsi_config *iscsi_config;
	struct iscsi_server *iscsi;
	struct srp_backend *srp_backend; /* these two NULL: built without RDMA */
	struct srp_server *srp;
	struct srp_config *srp_config;
	bool srp_memory_told;
	struct nbd_server *nbd; /* NULL: off, or no more */
	char *nbd_path;         /* where it listens; NULL: off */
	struct loop_timer nbd_writers;
	struct inspect *inspect;             /* NULL: nowhere, or no more */
	void (*resizing_stopped)(void *ctx); /* cache_resize.c, at the end */
	void *resizing_stopped_ctx;
	struct change_engine *changes;
	struct ctl_server *ctl;
	struct health *health;
	struct monitor *monitor; /* NULL: not yet, or no more */
	struct stats *stats;     /* NULL: not yet, or no more */
	struct service *service; /* never NULL while steps are in force after its own */
	void (*health_ended)(struct daemon *d);
	struct list waiters; /* calls that wait for an event */
	uint64_t started_ns;
	struct loop_watch signals;
	int signal_fd;
	unsigned answers; /* of the control socket that are being made */
	bool stopping;
	bool ended;        /* the loops stop when no answer is being made */
	bool served;       /* the start is complete */
	unsigned lus_left; /* being destroyed at the end */
	struct steps steps;
	char reason[1024]; /* why a step failed */
};

/*
 * Starts, serves, stops. An exit status; what went wrong has been told on stderr. Takes over the
 * configuration.
 */
int daemon_run(const struct options *o, struct daemon_config config);
void daemon_config_fini(struct daemon_config *c);
/* What `on` of hooks may say, NULL-terminated. First called before the loops run. */
const char *const *daemon_event_names(void);

/* Ends the loops, as soon as no answer is being made. Home loop, at the end. */
void daemon_stop_loops(struct daemon *d);

/* ---- pin.c: the running configuration for helper threads ------------------------------------------ */

/* Home loop. pin->conf stays, for any thread, until daemon_unpin(). */
void daemon_pin(struct daemon *d, struct daemon_pin *pin);
void daemon_unpin(struct daemon_pin *pin);
bool daemon_is_pinned(const struct daemon *d, const struct conf *conf);

/* ---- lun.c: one LUN ------------------------------------------------------------------------------ */

/* NULL: no such LUN. */
struct daemon_lun *daemon_lun_find(const struct daemon *d, const char *name);
/* "ram:" or "null:": nothing to find again after a restart. */
bool daemon_is_memory(const char *store);
/* The path of "file:PATH" or "/PATH"; NULL: another kind of store. */
const char *daemon_lun_file(const char *store);
/* In no table. 0 or -ENOMEM. */
int daemon_lun_create(struct daemon *d, const struct conf_lun *conf, struct daemon_lun **ret);
/* Without unit; closes the store. Accepts NULL. */
void daemon_lun_destroy(struct daemon_lun *l);
/* It is about to lose its unit: what its store or cache tell doesn't concern it any more. */
void daemon_lun_unwatch(struct daemon_lun *l);
/*
 * Opens the store. Blocking: before the loops run, or on a worker for a LUN that is in no table.
 * 0 or -errno with one sentence in `reason`, which is l->why too.
 */
int daemon_lun_open(struct daemon_lun *l, char *reason, size_t cap);
/* The file that the opening made is removed again: nobody has seen it. Blocking. */
void daemon_lun_undo(struct daemon_lun *l);
/*
 * Identities and reservations of LUNs that are open, in one transaction. Blocking, as above. 0 or
 * -errno and a sentence.
 */
int daemon_luns_remember(
    struct daemon *d, struct daemon_lun *const *luns, unsigned count, char *reason, size_t cap);
/*
 * Home loop: the unit. 0 or -errno (-EEXIST: an identity that another unit has) and a sentence. After
 * a failure there may be a unit, which must not be shown: it is the caller's to destroy.
 */
int daemon_lun_create_unit(struct daemon_lun *l, char *reason, size_t cap);
/*
 * Moves the open store and what is remembered of `trial` to `l`, which has no store: the trial was
 * opened on a worker, where nobody else looks at it.
 */
void daemon_lun_take(struct daemon_lun *l, struct daemon_lun *trial);
/* It isn't served for this reason, which is l->why from now on. Without unit. */
void daemon_lun_fail(struct daemon_lun *l, const char *reason);
/* "FILE:LINE: " of the LUN's statement, or "". */
const char *daemon_pos_text(const struct conf_pos *pos, char *buf, size_t cap);

/* ---- objects.c: what is served ------------------------------------------------------------------ */

#define DAEMON_PORTALS_MAX CATALOG_PORTALS_MAX

/* "TARGET\nGROUP", "TARGET" for an open target's own (group NULL). NULL: no memory. */
char *daemon_view_key(const char *target, const char *group);
/* NULL: no such object. */
struct daemon_view *daemon_view_find(const struct daemon *d, const char *target, const char *group);
struct daemon_portal *daemon_portal_find(const struct daemon *d, const char *name);
/* Accept NULL. A view has no user any more; a portal doesn't listen. */
void daemon_view_destroy(struct daemon_view *v);
void daemon_portal_destroy(struct daemon_portal *p);
/* Forgets the tables, not what is in them. */
void daemon_objects_forget(struct daemon_objects *o);
/* Destroys all; no unit is left. */
void daemon_objects_fini(struct daemon_objects *o);

/* ---- limits.c ---------------------------------------------------------------------------------------- */
/* The defaults and what `limits { … }` sets. */
void daemon_limits(const struct conf *conf, struct iscsi_limits *ret);

/* ---- portal.c ---------------------------------------------------------------------------------------- */
/* "192.0.2.1:3260", "[2001:db8::1]:3260". */
void daemon_format_address(const struct sockaddr_storage *a, char *buf, size_t cap);

/* ---- frontend.c, announce.c ------------------------------------------------------------------------ */

/* Steps of the start. */
int daemon_create_frontend(void *daemon);
void daemon_destroy_frontend(void *daemon);
int daemon_listen(void *daemon);
/* Lines for the person who started it: what is served, how to connect. */
void daemon_announce(const struct daemon *d);

/* ---- observe.c: conditions, events, the monitor --------------------------------------------------- */

/* Steps of the start. */
int daemon_open_health(void *daemon);
void daemon_close_health(void *daemon);
int daemon_open_monitor(void *daemon);
void daemon_close_monitor(void *daemon);
int daemon_open_stats(void *daemon);
void daemon_close_stats(void *daemon);
/* Home loop, at the end, once: what is under way ends, then `done`. */
void daemon_end_health(struct daemon *d, void (*done)(struct daemon *d));
/* The catalogue's, and a condition when it fails. */
struct scsi_persist_ops daemon_persist_ops(struct daemon *d);

/* ---- control.c ---------------------------------------------------------------------------------- */
int daemon_open_control(void *daemon);
void daemon_close_control(void *daemon);

/* ---- nbd.c -------------------------------------------------------------------------------------- */

/* Steps of the start. */
int daemon_open_nbd(void *daemon);
void daemon_close_nbd(void *daemon);
/* Home loop: nobody is served any more, then `done`, perhaps at once. */
void daemon_end_nbd(struct daemon *d, void (*done)(void *daemon));
/*
 * Home loop: whether tools may write to it now: its configuration lets them, and no session sees it, or
 * it says that this doesn't matter.
 */
bool daemon_lun_nbd_writable(const struct daemon_lun *l);
/* Home loop: sessions or the configuration are others. Who may not write any more is ended. */
void daemon_nbd_look(struct daemon *d);
/* Home loop: the configuration is another. Takes effect at once. */
void daemon_nbd_follow_rate(struct daemon *d);
/*
 * Home loop: ends the unit of a LUN, l->lu before, after all that reads its blk otherwise. `done` runs
 * there, not before this returns.
 */
void daemon_lun_end_unit(
    struct daemon_lun *l, struct scsi_lu *lu, void (*done)(void *ctx), void *ctx);

/* ---- inspect.c: terrace-fuse as a child ------------------------------------------------------------- */

/* Steps of the start. */
int daemon_open_inspect(void *daemon);
void daemon_close_inspect(void *daemon);
/* Home loop, at the end: the child is told, then `done`, perhaps at once. */
void daemon_end_inspect(struct daemon *d, void (*done)(struct daemon *d));
/* Where the control socket is, absolute; `cap` as for a path. */
void daemon_control_path(const struct daemon *d, char *buf, size_t cap);

/* ---- holder.c ------------------------------------------------------------------------------------- */

/*
 * Who listens on a TCP port: "tgtd (pid 812)", "the kernel (LIO or SCST)"; "" when it can't be told.
 */
void holder_of_port(unsigned port, char *buf, size_t cap);

#endif
