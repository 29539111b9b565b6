/* SPDX-License-Identifier: BSD-2-Clause */
/* A picture of what is served, taken on the home loop, looked at by a helper thread. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "daemon/control.h"
#include "daemon/stats.h"

/* ---- LUNs --------------------------------------------------------------------------------------- */

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

static const char *
store_of(const struct daemon_lun *l)
{
	return l->canonical != NULL ? l->canonical : l->conf->store;
}

static const char *
why_of(const struct daemon_lun *l)
{
	return l->why != NULL ? l->why : "";
}

/* Copies a text to *at, which moves on. */
static const char *
keep(char **at, const char *text)
{
	char *copy = *at;
	size_t size = strlen(text) + 1;

	memcpy(copy, text, size);
	*at += size;
	return copy;
}

/* `texts`: where there is room for its store and its `why`. */
static void
take_lun(struct picture *p, const struct daemon *d, const struct daemon_lun *l, char **texts)
{
	struct picture_lun *to = &p->luns[p->lun_count];

	*to = (struct picture_lun){
	    .conf = l->conf,
	    .state = lun_state(l),
	    .mode = daemon_lun_mode(l),
	    .store = keep(texts, store_of(l)),
	    .why = keep(texts, why_of(l)),
	    .size_bytes = l->blk != NULL ? blk_get_info(l->blk)->size_bytes : l->conf->size_bytes,
	    .has_stats = p->stats != NULL && l->lu != NULL,
	    .rates = {.p99_ms = -1},
	    .frozen = l->freeze != NULL,
	    .nbd_writable = (p->parts & PICTURE_SESSIONS) && daemon_lun_nbd_writable(l),
	};
	if (l->volume != NULL) {
		to->has_volume = true;
		to->marker_is_local = daemon_marker_is_local(l->marker);
		cache_volume_get_stats(l->volume, &to->volume);
	}
	if (l->lu != NULL) {
		to->has_ids = true;
		to->naa_len = scsi_lu_naa(l->lu, to->naa);
		memcpy(to->uuid, l->id.uuid, sizeof to->uuid);
	}
	if (to->has_stats && (p->parts & PICTURE_LATENCY))
		scsi_lu_get_stats(l->lu, &p->stats[p->lun_count]);
	else if (to->has_stats)
		scsi_lu_get_counters(l->lu, &p->stats[p->lun_count]);
	if (to->has_stats && d->monitor != NULL)
		monitor_lun_rates(d->monitor, l->name, &to->rates);
	if (p->summaries != NULL && l->lu != NULL && d->stats != NULL)
		(void)stats_get(d->stats, l->name, &p->summaries[p->lun_count]);
	p->lun_count++;
}

/* None while the daemon ends. */
static bool
take_luns(struct picture *p, const struct daemon *d)
{
	const struct daemon_lun *only = p->lun != NULL ? daemon_lun_find(d, p->lun) : NULL;
	unsigned count = d->stopping ? 0 : p->lun == NULL ? d->now.lun_count : only != NULL;
	size_t room = 1;

	for (unsigned i = 0; i < count; i++) {
		const struct daemon_lun *l = only != NULL ? only : d->now.luns[i];
		room += strlen(store_of(l)) + strlen(why_of(l)) + 2;
	}
	p->luns = calloc(count + 1u, sizeof *p->luns);
	p->texts = malloc(room);
	if (p->luns == NULL || p->texts == NULL)
		return false;
	if (p->parts & PICTURE_STATS) {
		p->stats = calloc(count + 1u, sizeof *p->stats);
		if (p->stats == NULL)
			return false;
	}
	if (p->parts & PICTURE_SUMMARIES) {
		p->summaries = calloc(count + 1u, sizeof *p->summaries);
		if (p->summaries == NULL)
			return false;
	}
	char *texts = p->texts;
	for (unsigned i = 0; i < count; i++)
		take_lun(p, d, only != NULL ? only : d->now.luns[i], &texts);
	if (p->summaries != NULL && d->stats != NULL)
		(void)stats_get(d->stats, NULL, &p->summaries[count]);
	return true;
}

/* ---- the others ----------------------------------------------------------------------------------- */

static bool
take_sessions(struct picture *p, const struct daemon *d)
{
	uint32_t count = daemon_session_count(d);

	p->sessions = calloc(count + 1u, sizeof *p->sessions);
	if (p->sessions == NULL)
		return false;
	p->session_count = daemon_sessions(d, p->sessions, count);
	return true;
}

/* A wildcard address is nobody's to connect to, but says that all of this machine's do. */
static bool
is_wildcard(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_IB)
		return true;
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
}

/* SRP: the server tries again until a device has the address. */
static bool
waits(const struct daemon *d, const struct daemon_portal *portal, const struct daemon_address *a)
{
	struct srp_portal_info info;
	if (portal->protocol != CONF_PROTOCOL_SRP)
		return false;
	for (unsigned i = 0; d->srp != NULL && srp_server_portal(d->srp, i, &info); i++)
		if (info.tag == portal->tag && info.listening &&
		    memcmp(&info.addr, &a->real, sizeof info.addr) == 0)
			return false;
	return true;
}

static bool
take_portal(struct picture *p, const struct daemon *d, const struct daemon_portal *portal)
{
	struct picture_portal *to = &p->portals[p->portal_count++];

	*to = (struct picture_portal){
	    .name = strdup(portal->name), .tag = portal->tag, .protocol = portal->protocol};
	to->addresses = calloc(portal->address_count + 1u, sizeof *to->addresses);
	if (to->name == NULL || to->addresses == NULL)
		return false;
	for (unsigned i = 0; i < portal->address_count; i++) {
		const struct daemon_address *a = &portal->addresses[i];
		struct picture_address *address = &to->addresses[to->address_count];
		if (!a->listening)
			continue;
		daemon_format_address(&a->real, address->text, sizeof address->text);
		address->wildcard = is_wildcard(&a->real);
		address->waits = waits(d, portal, a);
		to->address_count++;
	}
	return true;
}

static bool
take_portals(struct picture *p, const struct daemon *d)
{
	p->portals = calloc(d->now.portal_count + 1u, sizeof *p->portals);
	if (p->portals == NULL)
		return false;
	for (unsigned i = 0; i < d->now.portal_count; i++)
		if (!take_portal(p, d, d->now.portals[i]))
			return false;
	return true;
}

static void
take_loops(struct picture *p, const struct daemon *d)
{
	for (unsigned i = 0; i < d->loop_count; i++) {
		loop_get_stats(d->loops[i], &p->loops[i].stats);
		p->loops[i].uring = loop_is_uring(d->loops[i]);
		if (d->nbd != NULL)
			nbd_server_get_stats(d->nbd, i, &p->loops[i].nbd);
	}
	p->inspect_rate = d->nbd != NULL ? nbd_server_rate(d->nbd) : 0;
	p->loop_count = d->loop_count;
}

static bool
take(struct picture *p, const struct daemon *d)
{
	if ((p->parts & PICTURE_SESSIONS) && !take_sessions(p, d))
		return false;
	if ((p->parts & PICTURE_LUNS) && !take_luns(p, d))
		return false;
	if ((p->parts & PICTURE_PORTALS) && !take_portals(p, d))
		return false;
	if (p->parts & PICTURE_LOOPS)
		take_loops(p, d);
	if (p->parts & PICTURE_HEALTH) {
		p->health = health_copy_conditions(d->health);
		if (p->health == NULL)
			return false;
	}
	if (p->parts & PICTURE_CACHES) {
		p->caches = control_caches(d);
		if (p->caches == NULL)
			return false;
	}
	p->now_ns = loop_now_ns(d->loops[0]);
	p->uptime_s = (int64_t)((p->now_ns - d->started_ns) / 1000000000ull);
	return true;
}

/* ---- the answer ------------------------------------------------------------------------------------- */

/* What isn't bound to the home loop: thousands of small pieces. */
static void
forget(struct picture *p)
{
	free(p->luns);
	free(p->texts);
	free(p->stats);
	for (unsigned i = 0; i < p->portal_count; i++) {
		free(p->portals[i].name);
		free(p->portals[i].addresses);
	}
	free(p->portals);
	free(p->sessions);
	free(p->summaries);
	json_decref(p->caches);
	free(p->lun);
	free(p->extra);
	health_copy_destroy(p->health);
	p->health = NULL;
}

static json_t *
build(struct ctl_build *b)
{
	struct picture *p = container_of(b, struct picture, build);
	json_t *result = p->make(p);
	forget(p);
	return result;
}

static void
built(struct ctl_build *b)
{
	struct picture *p = container_of(b, struct picture, build);
	struct daemon *d = p->pin.daemon;

	daemon_unpin(&p->pin);
	free(p);
	ASSERT(d->answers > 0);
	d->answers--;
	if (d->ended && d->answers == 0)
		daemon_stop_loops(d);
}

/* Takes what the wish brings. False without memory: the picture is forgotten. */
static bool
fill(struct picture *p, const struct daemon *d, const struct control_wish *wish)
{
	p->parts = wish->parts;
	p->make = wish->make;
	p->options = d->options;
	p->conf = d->conf;
	p->health = wish->health;
	p->extra = wish->extra;
	if (wish->lun != NULL && (p->lun = strdup(wish->lun)) == NULL)
		return false;
	return take(p, d);
}

void
control_answer_wish(struct daemon *d, struct ctl_call *call, const struct control_wish *wish)
{
	struct picture *p = d->ended ? NULL : calloc(1, sizeof *p);

	if (p == NULL) {
		health_copy_destroy(wish->health);
		free(wish->extra);
		ctl_call_fail(call, CTL_FAILED, NULL, "%s",
		    d->ended ? "terraced is ending" : "out of memory");
		return;
	}
	if (!fill(p, d, wish)) {
		forget(p);
		free(p);
		ctl_call_fail(call, CTL_FAILED, NULL, "out of memory");
		return;
	}
	daemon_pin(d, &p->pin);
	d->answers++;
	p->build = (struct ctl_build){.build = build, .built = built};
	ctl_call_build(call, d->loops[0], &p->build);
}

void
control_answer(struct daemon *d, struct ctl_call *call, unsigned parts, struct health_copy *health,
    json_t *(*make)(const struct picture *p))
{
	const struct control_wish wish = {.parts = parts, .health = health, .make = make};

	control_answer_wish(d, call, &wish);
}
