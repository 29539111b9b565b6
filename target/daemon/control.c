/* What the control socket can be asked: version, status, LUNs, sessions, loops. All of it reads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "daemon/daemon.h"

#define CONTROL_SCHEMA 1 /* of the answers; fields are only ever added */

#define RUN_DIR "/run/terrace"
#define DEFAULT_STATE_DIR "/var/lib/terrace"

static json_t *
version(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)ctx;
	(void)params;
	(void)failure;
	return json_pack("{s:s, s:i}", "version", TERRACE_VERSION, "schema", CONTROL_SCHEMA);
}

static json_t *
lun_json(const struct daemon_lun *l)
{
	const struct blk_info *info = blk_get_info(l->blk);
	struct scsi_lu_stats st;
	scsi_lu_get_stats(l->lu, &st);
	return json_pack(
	    "{s:o, s:o, s:I, s:s, s:s, s:b, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
	    "name", ctl_string(l->conf->name), "store", ctl_string(l->canonical), "size_bytes",
	    (json_int_t)info->size_bytes, "mode",
	    l->conf->mode == CONF_MODE_VOLATILE ? "volatile" : "writethrough", "state",
	    blk_get_state(l->blk) == BLK_OK ? "ok" : "store gone", "read_only", l->conf->read_only,
	    "stats", "reads", (json_int_t)st.reads, "writes", (json_int_t)st.writes, "others",
	    (json_int_t)st.others, "read_bytes", (json_int_t)st.read_bytes, "write_bytes",
	    (json_int_t)st.write_bytes, "check_conditions", (json_int_t)st.check_conditions,
	    "reservation_conflicts", (json_int_t)st.reservation_conflicts, "aborts",
	    (json_int_t)st.aborts, "resets", (json_int_t)st.resets, "in_flight",
	    (json_int_t)st.in_flight);
}

static json_t *
lun_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	json_t *list = json_array();
	(void)params;
	(void)failure;
	for (unsigned i = 0; list != NULL && i < d->now.lun_count; i++)
		if (d->now.luns[i]->lu != NULL) /* none any more while the daemon ends */
			json_array_append_new(list, lun_json(d->now.luns[i]));
	return list;
}

static json_t *
session_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	uint32_t count = iscsi_server_session_count(d->iscsi);
	struct iscsi_session_info *infos = calloc(count + 1, sizeof *infos);
	json_t *list = json_array();

	(void)params;
	(void)failure;
	if (infos != NULL && list != NULL) {
		count = iscsi_server_sessions(d->iscsi, infos, count);
		for (uint32_t i = 0; i < count; i++) {
			const struct iscsi_session_info *s = &infos[i];
			char isid[13];
			snprintf(isid, sizeof isid, "%02x%02x%02x%02x%02x%02x", s->isid[0],
			    s->isid[1], s->isid[2], s->isid[3], s->isid[4], s->isid[5]);
			json_array_append_new(
			    list, json_pack("{s:i, s:s, s:o, s:o, s:s, s:o, s:i}", "tsih", s->tsih,
			              "isid", isid, "initiator", ctl_string(s->initiator), "target",
			              ctl_string(s->target), "address", s->address, "user",
			              ctl_string(s->user), "loop", (int)s->loop));
		}
	}
	free(infos);
	return list;
}

static json_t *
loop_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	json_t *list = json_array();
	(void)params;
	(void)failure;
	for (unsigned i = 0; list != NULL && i < d->loop_count; i++) {
		struct loop_stats st;
		loop_get_stats(d->loops[i], &st);
		json_array_append_new(
		    list, json_pack("{s:i, s:s, s:I, s:I, s:I, s:I}", "loop", (int)i, "backend",
		              loop_is_uring(d->loops[i]) ? "io_uring" : "epoll", "turns",
		              (json_int_t)st.turns, "sleeps", (json_int_t)st.sleeps, "messages",
		              (json_int_t)st.messages, "ops", (json_int_t)st.ops));
	}
	return list;
}

static json_t *
status(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	return json_pack("{s:s, s:i, s:o, s:o, s:o}", "version", TERRACE_VERSION, "schema",
	    CONTROL_SCHEMA, "luns", lun_list(ctx, params, failure), "sessions",
	    session_list(ctx, params, failure), "loops", loop_list(ctx, params, failure));
}

static const struct ctl_method methods[] = {
    {.name = "version", .help = "version of the daemon and of these answers", .call = version},
    {.name = "status", .help = "LUNs, sessions and loops in one answer", .call = status},
    {.name = "lun.list", .help = "LUNs with their stores, states and counters", .call = lun_list},
    {.name = "session.list",
        .help = "sessions with initiator, target, address, user and loop",
        .call = session_list},
    {.name = "loop.list", .help = "event loops with their counters", .call = loop_list},
    {.name = NULL},
};

static const struct ctl_method *const tables[] = {methods, NULL};

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
	ctl_server_destroy(d->ctl);
	d->ctl = NULL;
}
