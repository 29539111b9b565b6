/*
 * The methods of the control socket, a table for each group of them; control.c puts them together.
 * Answers are described in terrace-control(7). ctx is the daemon.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "daemon/daemon.h"

#define CONTROL_SCHEMA 1 /* of the answers; fields are only ever added */

extern const struct ctl_method control_health_methods[];  /* version status health events … */
extern const struct ctl_method control_list_methods[];    /* lun.list target.list … loop.list */
extern const struct ctl_method control_connect_methods[]; /* connect */

/* The lists, for answers that hold several. New references, NULL without memory. */
json_t *control_luns(const struct daemon *d, bool stats);
json_t *control_sessions(const struct daemon *d);
json_t *control_loops(const struct daemon *d);

/* Answers the calls that wait for an event. */
void control_end_waiters(struct daemon *d);

/* Adds "owner", "runtime" and "origin" of an object; takes and returns it. */
json_t *control_add_head(json_t *o, const struct conf_head *head);

#endif
