/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes while initiators work: by command, by reload. One at a time; everything that may fail comes
 * before the change is written, everything after that can't fail:
 *
 *   edit ─▶ load ─▶ look ─▶ open ─▶ make ─▶ commit ─▶ apply ─▶ done
 *              └───────┴───────┴───────┴───────┴──▶ undo ─▶ failed
 *
 * load, open and commit run on a worker. Killed at any instant, the change is whole after the next
 * start (it was written), or absent.
 *
 * Thread rule: home loop.
 */
#ifndef DAEMON_CHANGE_H
#define DAEMON_CHANGE_H

#include "ctl/ctl.h"
#include "daemon/daemon.h"

struct change_engine;

/* Methods that change, and those about the configuration; ctx is the struct daemon. */
extern const struct ctl_method change_methods[];

/* Before the loops run, when everything is served. 0, -ENOMEM. */
int change_engine_create(struct daemon *d);
/* Nothing is under way: change_engine_stop() is done, or the loops never ran. Accepts NULL. */
void change_engine_destroy(struct change_engine *e);
/* No new change from now on; `done` runs when the present one has ended, perhaps at once. */
void change_engine_stop(struct change_engine *e, void (*done)(void *ctx), void *ctx);

/* SIGHUP: a reload that nobody waits for. What it couldn't do is told in log and health. */
void change_reload(struct daemon *d);
/* By itself: modes that wait for nobody any more take effect (mode_wait.c). False: not now. */
bool change_modes_due(struct change_engine *e);
/* A file that a killed process had made and that no LUN has. Blocking, before the stores open. */
void change_recover(struct daemon *d);

/* {"user", "command", "since"} of the change under way, or null. A new reference. */
json_t *change_current(const struct daemon *d);
/* Keys that are configured otherwise than they are in force until a restart: ["loops: …"]. */
json_t *change_restart(const struct daemon *d);
/*
 * A copy of the files that stand in front of those of conf.d until the end only, for conf_load(); to be
 * freed with conf_files_destroy(). 0, -ENOMEM.
 */
int change_runtime_files(const struct daemon *d, struct conf_file **ret, unsigned *ret_count);

#endif
