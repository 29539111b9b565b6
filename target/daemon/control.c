/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: where it is, what can be asked and ordered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/change.h"
#include "daemon/control.h"

#define RUN_DIR "/run/terrace"
#define DEFAULT_STATE_DIR "/var/lib/terrace"

static const struct ctl_method *const tables[] = {control_health_methods, control_list_methods,
    control_cache_methods, control_order_methods, control_stats_methods, control_connect_methods,
    control_srp_methods, control_power_methods, change_methods, NULL};

/*
 * Where everybody finds it as long as root uses the state directory of the system, which others
 * can't enter; otherwise in the state directory.
 */
static const char *
default_path(const struct daemon *d, char *buf, size_t cap)
{
	if (geteuid() == 0 && strcmp(statedir_path(d->statedir), DEFAULT_STATE_DIR) == 0) {
		(void)mkdir(RUN_DIR, 0755);
		return RUN_DIR "/control.sock";
	}
	snprintf(buf, cap, "%s/control.sock", statedir_path(d->statedir));
	return buf;
}

void
daemon_control_path(const struct daemon *d, char *buf, size_t cap)
{
	char fallback[4096];
	const char *path = d->options->control != NULL ? d->options->control : d->conf->control;

	if (path == NULL)
		path = default_path(d, fallback, sizeof fallback);
	char *real = realpath(path, NULL);
	snprintf(buf, cap, "%s", real != NULL ? real : path);
	free(real);
}

int
daemon_open_control(void *ctx)
{
	struct daemon *d = ctx;
	char fallback[4096];
	const char *path = d->options->control != NULL ? d->options->control : d->conf->control;
	const struct ctl_server_args args = {
	    .path = path != NULL ? path : default_path(d, fallback, sizeof fallback),
	    .tables = tables,
	    .ctx = d,
	};
	return ctl_server_create(d->loops[0], &args, &d->ctl, d->reason, sizeof d->reason);
}

void
daemon_close_control(void *ctx)
{
	struct daemon *d = ctx;
	control_end_waiters(d);
	ctl_server_destroy(d->ctl);
	d->ctl = NULL;
}
