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
#include "daemon/options.h"
#include "daemon/statedir.h"
#include "iscsi/iscsi.h"
#include "loop/loop.h"
#include "scsi/scsi.h"
#include "store/blk.h"

struct daemon_lun {
	const struct conf_lun *conf;
	struct blk *blk;
	struct scsi_lu *lu;
	struct daemon *daemon;
	char *canonical; /* the store's, or "ram:NAME": key of its identity */
	bool created;    /* its file was made by this start */
};

struct daemon {
	const struct options *options;
	const struct conf *conf;
	struct statedir *statedir;
	struct catalog *catalog;
	struct loop *loops[LOOP_COUNT_MAX];
	unsigned loop_count;
	unsigned threads_started;
	struct daemon_lun *luns; /* conf->lun_count */
	struct scsi_core *core;
	struct scsi_view **views;
	unsigned view_count;
	struct iscsi_config *iscsi_config;
	struct iscsi_server *iscsi;
	struct ctl_server *ctl;
	struct loop_watch signals;
	int signal_fd;
	bool stopping;
	bool served;       /* the start is complete */
	unsigned lus_left; /* being destroyed at the end */
	struct steps steps;
	char reason[1024]; /* why a step failed */
};

/* Starts, serves, stops. An exit status; what went wrong has been told on stderr. */
int daemon_run(const struct options *o, const struct conf *conf);

/* ---- open.c: stores and units; each fills d->reason ------------------------------------------- */
int daemon_open_stores(void *daemon);
void daemon_close_stores(void *daemon);
int daemon_create_units(void *daemon);
/* "ram:" or "null:": nothing to find again after a restart. */
bool daemon_is_memory(const char *store);

/* ---- frontend.c: views, targets, portals -------------------------------------------------------- */
int daemon_create_targets(void *daemon);
/* The defaults and what `limits { … }` sets. */
void daemon_limits(const struct conf *conf, struct iscsi_limits *ret);
void daemon_destroy_targets(void *daemon);
/* No session is left. */
void daemon_destroy_views(struct daemon *d);
int daemon_listen(void *daemon);
/* Lines for the person who started it: what is served, how to connect. */
void daemon_announce(const struct daemon *d);

/* ---- control.c ---------------------------------------------------------------------------------- */
int daemon_open_control(void *daemon);
void daemon_close_control(void *daemon);

/* ---- holder.c ------------------------------------------------------------------------------------- */

/*
 * Who listens on a TCP port: "tgtd (pid 812)", "the kernel (LIO or SCST)"; "" when it can't be told.
 */
void holder_of_port(unsigned port, char *buf, size_t cap);

#endif
