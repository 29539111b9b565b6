/* SPDX-License-Identifier: BSD-2-Clause */
/* What there is: targets, portals, groups, CHAP objects, sessions, loops. What makes JSON: any thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
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

static json_t *
session_json(const struct daemon_session *which)
{
	const struct iscsi_session_info *s = &which->info;
	char isid[13];

	snprintf(isid, sizeof isid, "%02x%02x%02x%02x%02x%02x", s->isid[0], s->isid[1], s->isid[2],
	    s->isid[3], s->isid[4], s->isid[5]);
	json_t *o =
	    json_pack("{s:i, s:s, s:o, s:o, s:s, s:s, s:i, s:o, s:o, s:b, s:b, s:b, s:b, s:I, s:I, "
	              "s:I, s:I, s:I, s:I, s:i}",
	        "tsih", (int)which->number, "isid", which->srp ? "" : isid, "initiator",
	        ctl_string(s->initiator), "target", ctl_string(s->target), "address", s->address,
	        "local_address", s->local_address, "portal_tag", s->portal_tag, "group",
	        ctl_string(s->group), "user", ctl_string(s->user), "discovery", s->discovery,
	        "header_digest", s->header_digest, "data_digest", s->data_digest, "ending",
	        s->ending, "connected_s", (json_int_t)s->connected_s, "reads", (json_int_t)s->reads,
	        "writes", (json_int_t)s->writes, "others", (json_int_t)s->others, "read_bytes",
	        (json_int_t)s->read_bytes, "write_bytes", (json_int_t)s->write_bytes, "loop",
	        (int)s->loop);
	if (o == NULL)
		return NULL;
	json_object_set_new(o, "protocol", json_string(which->srp ? "srp" : "iscsi"));
	json_object_set_new(o, "channels", json_integer(which->channels));
	json_object_set_new(o, "immediate_bytes", json_integer((json_int_t)which->immediate_bytes));
	json_object_set_new(o, "copied_bytes", json_integer((json_int_t)which->copied_bytes));
	return o;
}

json_t *
control_sessions(const struct picture *p)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list != NULL && i < p->session_count; i++)
		json_array_append_new(list, session_json(&p->sessions[i]));
	return list;
}

static void
session_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_SESSIONS, NULL, control_sessions);
}

unsigned
control_count_sessions(const struct picture *p, const char *target, const char *group)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < p->session_count; i++)
		n += strcmp(p->sessions[i].info.target, target) == 0 &&
		     (group == NULL || strcmp(p->sessions[i].info.group, group) == 0);
	return n;
}

/* ---- LUNs ------------------------------------------------------------------------------------------------ */

static const struct ctl_param lun_list_params[] = {
    {"stats", CTL_BOOL, false, "with counters and rates; true if not said"},
    {"latency", CTL_BOOL, false, "with the latencies counted; false if not said"},
    {.name = NULL},
};

static void
lun_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	unsigned parts = PICTURE_LUNS | PICTURE_SESSIONS;
	if (!json_is_false(json_object_get(params, "stats")))
		parts |= PICTURE_STATS;
	if (json_is_true(json_object_get(params, "latency")))
		parts |= PICTURE_STATS | PICTURE_LATENCY;
	control_answer(ctx, call, parts, NULL, control_luns);
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
targets_json(const struct picture *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < p->conf->target_count; i++) {
		const struct conf_target *t = &p->conf->targets[i];
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
		    "sessions", (int)control_count_sessions(p, t->name, NULL));
		json_array_append_new(list, control_add_head(o, HEAD(t)));
	}
	return list;
}

static void
target_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_SESSIONS, NULL, targets_json);
}

static json_t *
groups_json(const struct picture *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < p->conf->target_count; i++) {
		const struct conf_target *t = &p->conf->targets[i];
		for (unsigned k = 0; k < t->group_count; k++) {
			const struct conf_group *g = &t->groups[k];
			json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "name",
			    ctl_string(g->name), "target", ctl_string(t->name), "initiators",
			    words(g->initiators, g->initiator_count), "users",
			    words(g->users, g->user_count), "luns",
			    mapping_json(g->luns, g->lun_count), "order", (int)g->order, "sessions",
			    (int)control_count_sessions(p, t->name, g->name));
			json_array_append_new(list, control_add_head(o, HEAD(g)));
		}
	}
	return list;
}

static void
group_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_SESSIONS, NULL, groups_json);
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
chaps_json(const struct picture *p)
{
	const struct conf *c = p->conf;
	json_t *list = json_array();

	for (unsigned i = 0; i < c->target_count; i++)
		add_chaps(list, c->targets[i].name, c->targets[i].chaps, c->targets[i].chap_count);
	add_chaps(list, "", c->discovery_chaps, c->discovery_chap_count);
	return list;
}

static void
chap_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, 0, NULL, chaps_json);
}

/* ---- portals, loops --------------------------------------------------------------------------------------- */

const struct picture_portal *
control_portal(const struct picture *p, const char *name)
{
	for (unsigned i = 0; i < p->portal_count; i++)
		if (strcmp(p->portals[i].name, name) == 0)
			return &p->portals[i];
	return NULL;
}

static json_t *
portals_json(const struct picture *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < p->conf->portal_count; i++) {
		const struct conf_portal *c = &p->conf->portals[i];
		const struct picture_portal *is = control_portal(p, c->name);
		json_t *addresses = json_array();
		for (unsigned k = 0; addresses != NULL && is != NULL && k < is->address_count; k++)
			json_array_append_new(addresses, json_string(is->addresses[k].text));
		json_t *waiting = json_array();
		for (unsigned k = 0; waiting != NULL && is != NULL && k < is->address_count; k++)
			if (is->addresses[k].waits)
				json_array_append_new(waiting, json_string(is->addresses[k].text));
		json_t *o = json_pack("{s:o, s:i, s:s, s:o, s:o, s:o}", "name", ctl_string(c->name),
		    "tag", is != NULL ? (int)is->tag : 0, "protocol",
		    conf_protocol_to_string(c->protocol), "listen",
		    words(c->listen, c->listen_count), "addresses", addresses, "waiting", waiting);
		json_array_append_new(list, control_add_head(o, HEAD(c)));
	}
	return list;
}

static void
portal_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_PORTALS, NULL, portals_json);
}

json_t *
control_loops(const struct picture *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < p->loop_count; i++) {
		const struct loop_stats *st = &p->loops[i].stats;
		json_array_append_new(
		    list, json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:f}", "loop", (int)i,
		              "backend", p->loops[i].uring ? "io_uring" : "epoll", "turns",
		              (json_int_t)st->turns, "sleeps", (json_int_t)st->sleeps, "messages",
		              (json_int_t)st->messages, "ops", (json_int_t)st->ops, "turn_max_ms",
		              (double)st->turn_max_ns / 1e6, "nbd_bytes",
		              (json_int_t)p->loops[i].nbd.moved_bytes, "nbd_paused_s",
		              (double)p->loops[i].nbd.paused_ns / 1e9));
	}
	return list;
}

static void
loop_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_LOOPS, NULL, control_loops);
}

const struct ctl_method control_list_methods[] = {
    {.name = "lun.reservations",
        .help = "who registered with a LUN, and who reserved it",
        .params = control_reservations_params,
        .call = control_reservations},
    {.name = "lun.list",
        .help = "LUNs with their stores, states and counters",
        .params = lun_list_params,
        .start = lun_list},
    {.name = "target.list", .help = "targets with portals, groups, sessions", .start = target_list},
    {.name = "portal.list",
        .help = "portals with the addresses they listen on",
        .start = portal_list},
    {.name = "group.list", .help = "groups of initiators and what they see", .start = group_list},
    {.name = "chap.list", .help = "CHAP objects, without secrets", .start = chap_list},
    {.name = "session.list",
        .help = "sessions with initiator, target, address, user and loop",
        .start = session_list},
    {.name = "loop.list", .help = "event loops with their counters", .start = loop_list},
    {.name = NULL},
};
