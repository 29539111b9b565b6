/* What there is: LUNs, targets, portals, groups, CHAP objects, sessions, loops. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "daemon/caches.h"
#include "daemon/control.h"

#define HEAD(o) ((const struct conf_head *)(const void *)(o))

json_t *
control_add_head(json_t *o, const struct conf_head *head)
{
	char origin[4352];

	if (o == NULL)
		return NULL;
	if (head->pos.file != NULL)
		snprintf(origin, sizeof origin, "%s:%u", head->pos.file, head->pos.line);
	else
		snprintf(origin, sizeof origin, "command line");
	json_object_set_new(o, "owner", json_string(conf_owner_to_string(head->owner)));
	json_object_set_new(o, "runtime", json_boolean(head->owner == CONF_OWNER_RUNTIME));
	json_object_set_new(o, "origin", ctl_string(origin));
	return o;
}

static json_t *
words(char *const *list, unsigned count)
{
	json_t *a = json_array();
	for (unsigned i = 0; a != NULL && i < count; i++)
		json_array_append_new(a, ctl_string(list[i]));
	return a;
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

struct sessions {
	struct iscsi_session_info *list;
	uint32_t count;
};

/* To be freed. Without memory as if there were none. */
static struct sessions
get_sessions(const struct daemon *d)
{
	struct sessions s = {.count = iscsi_server_session_count(d->iscsi)};
	s.list = calloc(s.count + 1u, sizeof *s.list);
	s.count = s.list != NULL ? iscsi_server_sessions(d->iscsi, s.list, s.count) : 0;
	return s;
}

static json_t *
session_json(const struct iscsi_session_info *s)
{
	char isid[13];

	snprintf(isid, sizeof isid, "%02x%02x%02x%02x%02x%02x", s->isid[0], s->isid[1], s->isid[2],
	    s->isid[3], s->isid[4], s->isid[5]);
	return json_pack(
	    "{s:i, s:s, s:o, s:o, s:s, s:s, s:i, s:o, s:o, s:b, s:b, s:b, s:b, s:I, s:I, "
	    "s:I, s:I, s:I, s:I, s:i}",
	    "tsih", s->tsih, "isid", isid, "initiator", ctl_string(s->initiator), "target",
	    ctl_string(s->target), "address", s->address, "local_address", s->local_address,
	    "portal_tag", s->portal_tag, "group", ctl_string(s->group), "user", ctl_string(s->user),
	    "discovery", s->discovery, "header_digest", s->header_digest, "data_digest",
	    s->data_digest, "ending", s->ending, "connected_s", (json_int_t)s->connected_s, "reads",
	    (json_int_t)s->reads, "writes", (json_int_t)s->writes, "others", (json_int_t)s->others,
	    "read_bytes", (json_int_t)s->read_bytes, "write_bytes", (json_int_t)s->write_bytes,
	    "loop", (int)s->loop);
}

json_t *
control_sessions(const struct daemon *d)
{
	struct sessions s = get_sessions(d);
	json_t *list = json_array();

	for (uint32_t i = 0; list != NULL && i < s.count; i++)
		json_array_append_new(list, session_json(&s.list[i]));
	free(s.list);
	return list;
}

static json_t *
session_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)params;
	(void)failure;
	return control_sessions(ctx);
}

static unsigned
count_sessions(const struct sessions *s, const char *target, const char *group)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < s->count; i++)
		n += strcmp(s->list[i].target, target) == 0 &&
		     (group == NULL || strcmp(s->list[i].group, group) == 0);
	return n;
}

/* ---- LUNs ------------------------------------------------------------------------------------------------ */

/* [[end of a bucket in µs, how many], …] without those that are empty. */
static json_t *
buckets_json(const struct scsi_latency *l)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < SCSI_LATENCY_BUCKETS; i++) {
		/* the last one has no end: twice its beginning */
		uint64_t end = i + 1 < SCSI_LATENCY_BUCKETS ? scsi_latency_floor_ns(i + 1)
		                                            : 2 * scsi_latency_floor_ns(i);
		if (l->buckets[i] > 0)
			json_array_append_new(list,
			    json_pack("[f, I]", (double)end / 1000, (json_int_t)l->buckets[i]));
	}
	return list;
}

static json_t *
stats_json(const struct scsi_lu_stats *st)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "reads",
	    (json_int_t)st->reads, "writes", (json_int_t)st->writes, "others",
	    (json_int_t)st->others, "read_bytes", (json_int_t)st->read_bytes, "write_bytes",
	    (json_int_t)st->write_bytes, "check_conditions", (json_int_t)st->check_conditions,
	    "reservation_conflicts", (json_int_t)st->reservation_conflicts, "aborts",
	    (json_int_t)st->aborts, "resets", (json_int_t)st->resets, "in_flight",
	    (json_int_t)st->in_flight, "read_latency_us", buckets_json(&st->read_latency),
	    "write_latency_us", buckets_json(&st->write_latency));
}

static json_t *
rates_json(const struct daemon *d, const char *name)
{
	struct monitor_rates r = {.p99_ms = -1};

	if (d->monitor != NULL)
		monitor_lun_rates(d->monitor, name, &r);
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:o}", "seconds", r.seconds, "reads_per_s",
	    r.reads, "writes_per_s", r.writes, "read_bytes_per_s", r.read_bytes,
	    "write_bytes_per_s", r.write_bytes, "p99_ms",
	    r.p99_ms < 0 ? json_null() : json_real(r.p99_ms));
}

/* "ok", "store gone", "store not open", "ending". */
static const char *
lun_state(const struct daemon_lun *l)
{
	if (l->lu == NULL && l->why != NULL)
		return "store not open";
	if (l->blk == NULL)
		return "ending";
	if (blk_get_state(l->blk) != BLK_OK)
		return "store gone";
	return l->lu != NULL ? "ok" : "ending";
}

static json_t *
lun_json(const struct daemon *d, const struct daemon_lun *l, bool stats)
{
	const struct blk_info *info = l->blk != NULL ? blk_get_info(l->blk) : NULL;
	char uuid[37] = "";

	if (l->lu != NULL)
		text_format_uuid(l->id.uuid, uuid);
	json_t *o = json_pack("{s:o, s:o, s:I, s:i, s:s, s:s, s:b, s:s, s:o}", "name",
	    ctl_string(l->name), "store",
	    ctl_string(l->canonical != NULL ? l->canonical : l->conf->store), "size_bytes",
	    (json_int_t)(info != NULL ? info->size_bytes : l->conf->size_bytes), "block_bytes",
	    (int)l->conf->block_size, "mode", daemon_lun_mode(l), "state", lun_state(l),
	    "read_only", l->conf->read_only, "uuid", l->conf->uuid != NULL ? l->conf->uuid : uuid,
	    "why", ctl_string(l->why != NULL ? l->why : ""));
	if (o != NULL && stats && l->lu != NULL) {
		struct scsi_lu_stats st;
		scsi_lu_get_stats(l->lu, &st);
		json_object_set_new(o, "stats", stats_json(&st));
		json_object_set_new(o, "rates", rates_json(d, l->name));
	}
	return control_add_head(o, HEAD(l->conf));
}

/* The place of each LUN in d->now.luns, by name; sessions per place are added up. */
static void
count_users(const struct daemon *d, const struct conf_group_lun *luns, unsigned count,
    unsigned sessions, unsigned *users, const struct names *places)
{
	(void)d;
	for (unsigned i = 0; i < count; i++) {
		const unsigned *place = names_find(places, luns[i].lun);
		if (place != NULL)
			users[*place] += sessions;
	}
}

/* Sessions that see each LUN, in the order of d->now.luns; NULL without memory. */
static unsigned *
sessions_of_luns(const struct daemon *d)
{
	unsigned n = d->now.lun_count;
	unsigned *users = calloc(2 * (size_t)n + 1, sizeof *users), *places = users + n;
	struct names by_name = {0};
	struct sessions s = get_sessions(d);

	if (users == NULL || names_reserve(&by_name, n) < 0) {
		free(users);
		free(s.list);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		places[i] = i;
		(void)names_add(&by_name, d->now.luns[i]->name, &places[i]);
	}
	for (unsigned t = 0; s.count > 0 && t < d->conf->target_count; t++) {
		const struct conf_target *target = &d->conf->targets[t];
		count_users(d, target->luns, target->lun_count,
		    count_sessions(&s, target->name, ""), users, &by_name);
		for (unsigned g = 0; g < target->group_count; g++)
			count_users(d, target->groups[g].luns, target->groups[g].lun_count,
			    count_sessions(&s, target->name, target->groups[g].name), users,
			    &by_name);
	}
	names_fini(&by_name);
	free(s.list);
	return users;
}

json_t *
control_luns(const struct daemon *d, bool stats)
{
	json_t *list = json_array();
	unsigned *users = sessions_of_luns(d);

	for (unsigned i = 0; list != NULL && !d->stopping && i < d->now.lun_count; i++) {
		json_t *o = lun_json(d, d->now.luns[i], stats);
		if (o != NULL)
			json_object_set_new(
			    o, "sessions", json_integer(users != NULL ? users[i] : 0));
		json_array_append_new(list, o);
	}
	free(users);
	return list;
}

static const struct ctl_param lun_list_params[] = {
    {"stats", CTL_BOOL, false, "with counters, latencies and rates; true if not said"},
    {.name = NULL},
};

static json_t *
lun_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)failure;
	return control_luns(ctx, !json_is_false(json_object_get(params, "stats")));
}

/* ---- targets, groups, CHAP ------------------------------------------------------------------------------- */

static json_t *
mapping_json(const struct conf_group_lun *luns, unsigned count)
{
	json_t *list = json_array();
	for (unsigned i = 0; list != NULL && i < count; i++)
		json_array_append_new(
		    list, json_pack("{s:i, s:o, s:b}", "number", (int)luns[i].number, "lun",
		              ctl_string(luns[i].lun), "read_only", luns[i].read_only));
	return list;
}

static json_t *
target_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	struct sessions s = get_sessions(d);
	json_t *list = json_array();

	(void)params;
	(void)failure;
	for (unsigned i = 0; list != NULL && i < d->conf->target_count; i++) {
		const struct conf_target *t = &d->conf->targets[i];
		json_t *groups = json_array(), *chaps = json_array();
		for (unsigned g = 0; groups != NULL && g < t->group_count; g++)
			json_array_append_new(groups, ctl_string(t->groups[g].name));
		for (unsigned c = 0; chaps != NULL && c < t->chap_count; c++)
			json_array_append_new(chaps, ctl_string(t->chaps[c].name));
		json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:i}", "name",
		    ctl_string(t->name), "alias", ctl_string(t->alias != NULL ? t->alias : ""),
		    "portals", words(t->portals, t->portal_count), "groups", groups, "chaps", chaps,
		    "open", t->open, "luns", mapping_json(t->luns, t->lun_count), "allow",
		    words(t->allow, t->allow_count), "deny", words(t->deny, t->deny_count),
		    "sessions", (int)count_sessions(&s, t->name, NULL));
		json_array_append_new(list, control_add_head(o, HEAD(t)));
	}
	free(s.list);
	return list;
}

static json_t *
group_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	struct sessions s = get_sessions(d);
	json_t *list = json_array();

	(void)params;
	(void)failure;
	for (unsigned i = 0; list != NULL && i < d->conf->target_count; i++) {
		const struct conf_target *t = &d->conf->targets[i];
		for (unsigned k = 0; k < t->group_count; k++) {
			const struct conf_group *g = &t->groups[k];
			json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "name",
			    ctl_string(g->name), "target", ctl_string(t->name), "initiators",
			    words(g->initiators, g->initiator_count), "users",
			    words(g->users, g->user_count), "luns",
			    mapping_json(g->luns, g->lun_count), "order", (int)g->order, "sessions",
			    (int)count_sessions(&s, t->name, g->name));
			json_array_append_new(list, control_add_head(o, HEAD(g)));
		}
	}
	free(s.list);
	return list;
}

/* Secrets are in no answer. */
static void
add_chaps(json_t *list, const char *target, const struct conf_chap *chaps, unsigned count)
{
	for (unsigned i = 0; list != NULL && i < count; i++) {
		const struct conf_chap *c = &chaps[i];
		json_t *o = json_pack("{s:o, s:o, s:b, s:o, s:o, s:b}", "name", ctl_string(c->name),
		    "target", ctl_string(target), "discovery", target[0] == '\0', "user",
		    ctl_string(c->user), "mutual_user",
		    ctl_string(c->mutual_user != NULL ? c->mutual_user : ""), "mutual",
		    c->mutual_secret != NULL);
		json_array_append_new(list, control_add_head(o, HEAD(c)));
	}
}

static json_t *
chap_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	json_t *list = json_array();

	(void)params;
	(void)failure;
	for (unsigned i = 0; i < d->conf->target_count; i++)
		add_chaps(list, d->conf->targets[i].name, d->conf->targets[i].chaps,
		    d->conf->targets[i].chap_count);
	add_chaps(list, "", d->conf->discovery_chaps, d->conf->discovery_chap_count);
	return list;
}

/* ---- portals, loops --------------------------------------------------------------------------------------- */

static json_t *
portal_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	json_t *list = json_array();

	(void)params;
	(void)failure;
	for (unsigned i = 0; list != NULL && i < d->conf->portal_count; i++) {
		const struct conf_portal *c = &d->conf->portals[i];
		const struct daemon_portal *p = daemon_portal_find(d, c->name);
		json_t *addresses = json_array();
		for (unsigned k = 0; addresses != NULL && p != NULL && k < p->address_count; k++) {
			char text[80];
			daemon_format_address(&p->addresses[k].real, text, sizeof text);
			if (p->addresses[k].listening)
				json_array_append_new(addresses, json_string(text));
		}
		json_t *o = json_pack("{s:o, s:i, s:o, s:o}", "name", ctl_string(c->name), "tag",
		    p != NULL ? p->tag : 0, "listen", words(c->listen, c->listen_count),
		    "addresses", addresses);
		json_array_append_new(list, control_add_head(o, HEAD(c)));
	}
	return list;
}

json_t *
control_loops(const struct daemon *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < d->loop_count; i++) {
		struct loop_stats st;
		loop_get_stats(d->loops[i], &st);
		json_array_append_new(
		    list, json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:f}", "loop", (int)i,
		              "backend", loop_is_uring(d->loops[i]) ? "io_uring" : "epoll", "turns",
		              (json_int_t)st.turns, "sleeps", (json_int_t)st.sleeps, "messages",
		              (json_int_t)st.messages, "ops", (json_int_t)st.ops, "turn_max_ms",
		              (double)st.turn_max_ns / 1e6));
	}
	return list;
}

static json_t *
loop_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	(void)params;
	(void)failure;
	return control_loops(ctx);
}

const struct ctl_method control_list_methods[] = {
    {.name = "lun.list",
        .help = "LUNs with their stores, states and counters",
        .params = lun_list_params,
        .call = lun_list},
    {.name = "target.list", .help = "targets with portals, groups, sessions", .call = target_list},
    {.name = "portal.list",
        .help = "portals with the addresses they listen on",
        .call = portal_list},
    {.name = "group.list", .help = "groups of initiators and what they see", .call = group_list},
    {.name = "chap.list", .help = "CHAP objects, without secrets", .call = chap_list},
    {.name = "session.list",
        .help = "sessions with initiator, target, address, user and loop",
        .call = session_list},
    {.name = "loop.list", .help = "event loops with their counters", .call = loop_list},
    {.name = NULL},
};
