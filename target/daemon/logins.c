/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/logins.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "ctl/ctl.h"

#define SECOND_NS 1000000000ull
#define MINUTE_NS (60 * SECOND_NS)

/* How many events of a kind are noted: `burst` at once, then one every `every_ns`. */
static const struct rate {
	unsigned burst;
	uint64_t every_ns;
} rates[ISCSI_EVENT_COUNT] = {
    [ISCSI_EVENT_LOGIN] = {100, 5 * SECOND_NS},
    [ISCSI_EVENT_LOGOUT] = {100, 5 * SECOND_NS},
    [ISCSI_EVENT_DROPPED] = {100, 5 * SECOND_NS},
    [ISCSI_EVENT_REFUSED] = {10, 30 * SECOND_NS},
};

struct bucket {
	uint64_t full_ns; /* when all of it will have been paid back */
	unsigned suppressed;
};

struct refusal {
	char initiator[ISCSI_NAME_MAX + 1], target[ISCSI_NAME_MAX + 1];
	char address[64]; /* without port */
	char reason[128];
	uint16_t status;
	uint64_t count; /* 0: free */
	int64_t first_s, last_s;
	uint64_t seq;      /* of the last time */
	uint64_t noted_ns; /* as an event */
};

struct logins {
	struct health *health;
	struct loop *loop;
	struct bucket buckets[ISCSI_EVENT_COUNT];
	struct refusal refusals[LOGINS_REFUSED_MAX];
	uint64_t seq;
	uint64_t minute_ns; /* begin of the minute that is counted */
	unsigned in_minute;
};

int
logins_create(struct health *h, struct loop *l, struct logins **ret)
{
	struct logins *g = calloc(1, sizeof *g);
	if (g == NULL)
		return -ENOMEM;
	g->health = h;
	g->loop = l;
	g->minute_ns = loop_now_ns(l);
	*ret = g;
	return 0;
}

void
logins_destroy(struct logins *g)
{
	free(g);
}

/* ---- events ---------------------------------------------------------------------------------------- */

static bool
may_note(struct logins *g, enum iscsi_event_kind kind)
{
	const struct rate *r = &rates[kind];
	struct bucket *b = &g->buckets[kind];
	uint64_t now = loop_now_ns(g->loop);

	if (b->full_ns < now)
		b->full_ns = now;
	if (b->full_ns - now > (r->burst - 1) * r->every_ns) {
		b->suppressed++;
		return false;
	}
	b->full_ns += r->every_ns;
	return true;
}

static void
note(struct logins *g, enum health_event_kind kind, const struct iscsi_event *e, const char *what)
{
	struct bucket *b = &g->buckets[e->kind];
	char more[64] = "";

	if (b->suppressed > 0)
		snprintf(more, sizeof more, " (%u like this weren't noted)", b->suppressed);
	b->suppressed = 0;
	json_t *data =
	    json_pack("{s:o, s:o, s:o, s:o, s:o, s:i}", "initiator", ctl_string(e->initiator),
	        "target", ctl_string(e->target), "address", ctl_string(e->address), "user",
	        ctl_string(e->user), "reason", ctl_string(e->reason), "tsih", e->tsih);
	health_event(g->health, kind, e->target, data, "%s %s%s%s%s%s%s%s",
	    e->initiator[0] != '\0' ? e->initiator : "somebody", what,
	    e->target[0] != '\0' ? " " : "", e->target, " from ", e->address,
	    e->reason[0] != '\0' ? ": " : "", e->reason);
	if (more[0] != '\0')
		health_event(g->health, kind, e->target, NULL, "before that%s", more);
}

/* "192.0.2.1:51234" → "192.0.2.1", "[2001:db8::1]:3" → "2001:db8::1". */
static void
host_of(const char *address, char *buf, size_t cap)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon != NULL ? (size_t)(colon - address) : strlen(address);

	if (address[0] == '[' && len >= 2 && address[len - 1] == ']')
		snprintf(buf, cap, "%.*s", (int)(len - 2), address + 1);
	else
		snprintf(buf, cap, "%.*s", (int)len, address);
}

/* The row of such a refusal, or the free or oldest one, made new. */
static struct refusal *
refusal_of(struct logins *g, const struct iscsi_event *e)
{
	struct refusal *oldest = &g->refusals[0];
	char host[64];

	host_of(e->address, host, sizeof host);
	for (unsigned i = 0; i < LOGINS_REFUSED_MAX; i++) {
		struct refusal *r = &g->refusals[i];
		if (r->count > 0 && r->status == e->status && strcmp(r->address, host) == 0 &&
		    strcmp(r->initiator, e->initiator) == 0 && strcmp(r->target, e->target) == 0 &&
		    strncmp(r->reason, e->reason, sizeof r->reason - 1) == 0)
			return r;
		if (r->seq < oldest->seq)
			oldest = r;
	}
	*oldest = (struct refusal){.status = e->status, .first_s = loop_wall_s(g->loop)};
	snprintf(oldest->initiator, sizeof oldest->initiator, "%s", e->initiator);
	snprintf(oldest->target, sizeof oldest->target, "%s", e->target);
	snprintf(oldest->address, sizeof oldest->address, "%s", host);
	snprintf(oldest->reason, sizeof oldest->reason, "%s", e->reason);
	return oldest;
}

static void
refused(struct logins *g, const struct iscsi_event *e)
{
	struct refusal *r = refusal_of(g, e);
	uint64_t now = loop_now_ns(g->loop);

	r->count++;
	r->seq = ++g->seq;
	r->last_s = loop_wall_s(g->loop);
	bool again = r->count == 1 || now - r->noted_ns > LOGINS_NOTED_AGAIN_S * SECOND_NS;
	if (again && may_note(g, e->kind)) {
		r->noted_ns = now;
		note(g, HEALTH_EVENT_REFUSED, e, "was refused by");
	}
	g->in_minute++;
	if (g->in_minute > LOGINS_FLOOD_PER_MINUTE)
		health_raise(g->health, HEALTH_LOGINS_REFUSED, "",
		    "%u logins were refused within a minute, the last one of %s from %s",
		    g->in_minute, r->initiator[0] != '\0' ? r->initiator : "somebody", r->address);
}

void
logins_event(struct logins *g, const struct iscsi_event *e)
{
	ASSERT(e->kind < ISCSI_EVENT_COUNT);
	logins_tick(g);
	switch (e->kind) {
	case ISCSI_EVENT_LOGIN:
		if (may_note(g, e->kind))
			note(g, HEALTH_EVENT_LOGIN, e, "logged in to");
		break;
	case ISCSI_EVENT_LOGOUT:
		if (may_note(g, e->kind))
			note(g, HEALTH_EVENT_LOGOUT, e, "logged out of");
		break;
	case ISCSI_EVENT_DROPPED:
		if (may_note(g, e->kind))
			note(g, HEALTH_EVENT_LOST, e, "lost its session with");
		break;
	case ISCSI_EVENT_REFUSED:
		refused(g, e);
		break;
	case ISCSI_EVENT_COUNT:
		break;
	}
}

void
logins_tick(struct logins *g)
{
	uint64_t now = loop_now_ns(g->loop);

	if (now - g->minute_ns < MINUTE_NS)
		return;
	if (g->in_minute <= LOGINS_FLOOD_PER_MINUTE || now - g->minute_ns >= 2 * MINUTE_NS)
		health_clear(g->health, HEALTH_LOGINS_REFUSED, "");
	g->minute_ns = now;
	g->in_minute = 0;
}

/* ---- what admits ------------------------------------------------------------------------------------ */

/* One word for a shell: names come from peers. */
static void
quote(const char *word, char *buf, size_t cap)
{
	size_t at = 0;

	ASSERT(cap >= 8);
	buf[at++] = '\'';
	for (; *word != '\0' && at + 6 < cap; word++) {
		if (*word == '\'') {
			memcpy(buf + at, "'\\''", 4);
			at += 4;
		} else {
			buf[at++] = *word;
		}
	}
	buf[at++] = '\'';
	buf[at] = '\0';
}

static const struct conf_target *
find_target(const struct conf *c, const char *name)
{
	for (unsigned i = 0; i < c->target_count; i++)
		if (strcmp(c->targets[i].name, name) == 0)
			return &c->targets[i];
	return NULL;
}

static bool
has_group(const struct conf *c, const char *name)
{
	for (unsigned t = 0; t < c->target_count; t++)
		for (unsigned i = 0; i < c->targets[t].group_count; i++)
			if (strcmp(c->targets[t].groups[i].name, name) == 0)
				return true;
	return false;
}

/* A name for a group of this initiator: the end of its own, made fit, and not taken. */
static void
group_name(const struct conf *c, const char *initiator, char *buf, size_t cap)
{
	const char *colon = strrchr(initiator, ':');
	char base[33];
	size_t n = 0;

	for (const char *p = colon != NULL ? colon + 1 : initiator; *p != '\0' && n < 32; p++)
		if (isalnum((unsigned char)*p) || (n > 0 && (*p == '-' || *p == '_')))
			base[n++] = *p;
	base[n] = '\0';
	snprintf(buf, cap, "%s", n > 0 ? base : "initiator");
	for (unsigned i = 2; has_group(c, buf) && i < 1000; i++)
		snprintf(buf, cap, "%s-%u", n > 0 ? base : "initiator", i);
}

/* The line that makes a group of the initiator, and shows it the first LUN of the configuration. */
static void
group_action(const struct conf *c, const struct refusal *r, char *buf, size_t cap)
{
	char initiator[ISCSI_NAME_MAX * 2], target[ISCSI_NAME_MAX * 2], name[48];

	quote(r->initiator, initiator, sizeof initiator);
	quote(r->target, target, sizeof target);
	group_name(c, r->initiator, name, sizeof name);
	snprintf(buf, cap,
	    "terracectl group create %s --target %s --initiator %s && terracectl group map %s LUN",
	    name, target, initiator, name);
}

static void
action_for(const struct conf *c, const struct refusal *r, char *buf, size_t cap)
{
	const struct conf_target *t = find_target(c, r->target);

	buf[0] = '\0';
	if (strcmp(r->reason, "address not allowed") == 0)
		snprintf(buf, cap,
		    "write 'allow %s ;' into initiators { } of terrace.conf, then: terracectl "
		    "reload",
		    r->address);
	else if (r->target[0] != '\0' && t == NULL)
		snprintf(buf, cap, "terracectl connect   # names the targets that there are");
	else if (r->status == 0x0201) /* authentication, RFC 7143 §11.13.5 */
		snprintf(buf, cap,
		    "terracectl chap set %s secret   # and the same on the initiator",
		    t != NULL && t->chap_count == 1 ? t->chaps[0].name : "NAME");
	else if (r->initiator[0] != '\0' && t != NULL &&
	         strcmp(r->reason, "not admitted to the target") == 0)
		group_action(c, r, buf, cap);
	else if (strncmp(r->reason, "too many", 8) == 0)
		snprintf(buf, cap, "see limits { } in terrace.conf(5)");
}

static int
compare_refusals(const void *a, const void *b)
{
	const struct refusal *x = *(const struct refusal *const *)a,
	                     *y = *(const struct refusal *const *)b;
	return x->seq < y->seq ? 1 : x->seq > y->seq ? -1 : 0;
}

json_t *
logins_refused(const struct logins *g, const struct conf *conf)
{
	const struct refusal *sorted[LOGINS_REFUSED_MAX];
	char action[1536];
	size_t count = 0;
	json_t *list = json_array();

	for (unsigned i = 0; i < LOGINS_REFUSED_MAX; i++)
		if (g->refusals[i].count > 0)
			sorted[count++] = &g->refusals[i];
	qsort(sorted, count, sizeof sorted[0], compare_refusals);
	for (size_t i = 0; list != NULL && i < count; i++) {
		const struct refusal *r = sorted[i];
		action_for(conf, r, action, sizeof action);
		json_array_append_new(list,
		    json_pack("{s:o, s:o, s:o, s:o, s:i, s:I, s:I, s:I, s:o}", "initiator",
		        ctl_string(r->initiator), "target", ctl_string(r->target), "address",
		        ctl_string(r->address), "reason", ctl_string(r->reason), "status",
		        r->status, "count", (json_int_t)r->count, "first", (json_int_t)r->first_s,
		        "time", (json_int_t)r->last_s, "action", ctl_string(action)));
	}
	return list;
}
