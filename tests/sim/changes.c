/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/changes.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS 3u
#define SLOTS 3u /* views: of group a, of group b, open */
#define SESSIONS_MAX 64u
#define PORTS_END 6u

/* A view; configurations refer to it, and changes of it that are under way. */
struct view {
	struct changes *c;
	struct scsi_view *v;
	unsigned refs;
	struct spare *shows; /* the spare unit that it shows as last changed, or NULL */
};

/* The unit that comes and goes. */
struct spare {
	struct changes *c;
	struct blk *blk;
	struct scsi_lu *lu;
	unsigned refs; /* views that show it, changes that take it away */
	bool ending;
};

struct config {
	struct changes *c;
	struct iscsi_config *config;
	struct view *views[SLOTS];
};

struct changes {
	struct world *w;
	struct sim_rng rng;
	struct loop_timer timer;
	uint32_t period_us;
	const bool *verifying;
	uint64_t made;
	struct config *config; /* current */
	struct view *views[SLOTS];
	unsigned where[HOSTS]; /* slot of each host */
	struct spare *spare;
	unsigned views_left, configs_left, spares_left, changes_left;
	bool ports[PORTS_END];
	bool listens, first_gone;
	uint8_t next_uuid;
};

/* ---- views ------------------------------------------------------------------------------------- */

static void
spare_put(struct spare *s)
{
	SIM_CHECK(s->refs > 0, "a unit is given back twice");
	s->refs--;
}

static void
view_put(struct view *v)
{
	if (--v->refs > 0)
		return;
	if (v->shows != NULL)
		spare_put(v->shows);
	scsi_view_destroy(v->v);
	v->c->views_left--;
	free(v);
}

struct view_change {
	struct view *view;
	struct spare *before;
};

static void
on_view_changed(void *ctx)
{
	struct view_change *vc = ctx;
	if (vc->before != NULL)
		spare_put(vc->before);
	vc->view->c->changes_left--;
	view_put(vc->view);
	free(vc);
}

/* Some of the units, or all of them. */
static uint32_t
entries(struct changes *c, bool all, struct scsi_view_entry e[WORLD_NUMBERS], struct spare **ret)
{
	uint32_t n = 0;
	*ret = NULL;
	for (uint16_t i = 0; i < WORLD_LUNS; i++)
		if (all || sim_chance(&c->rng, 85))
			e[n++] = (struct scsi_view_entry){.lun = i,
			    .lu = c->w->lus[i],
			    .read_only = !all && sim_chance(&c->rng, 10)};
	if (c->spare != NULL && !c->spare->ending && (all || sim_chance(&c->rng, 60))) {
		e[n++] = (struct scsi_view_entry){.lun = WORLD_SPARE, .lu = c->spare->lu};
		*ret = c->spare;
		c->spare->refs++;
	}
	return n;
}

static struct view *
view_new(struct changes *c)
{
	struct scsi_view_entry e[WORLD_NUMBERS];
	struct view *v = calloc(1, sizeof *v);
	SIM_CHECK(v != NULL, "out of memory");
	v->c = c;
	v->refs = 1;
	uint32_t n = entries(c, true, e, &v->shows);
	SIM_CHECK(scsi_view_create(c->w->core, e, n, &v->v) == 0, "scsi_view_create");
	c->views_left++;
	return v;
}

static void
change_view(struct changes *c, struct view *v, bool all)
{
	struct scsi_view_entry e[WORLD_NUMBERS];
	struct view_change *vc = calloc(1, sizeof *vc);
	SIM_CHECK(vc != NULL, "out of memory");
	vc->view = v;
	vc->before = v->shows;
	v->refs++;
	uint32_t n = entries(c, all, e, &v->shows);
	c->changes_left++;
	int rc = scsi_view_change(v->v, e, n, on_view_changed, vc);
	SIM_CHECK(rc == 0, "scsi_view_change: %d", rc);
	SIM_CHECK(scsi_view_count(v->v) == n, "the view doesn't count its entries");
}

/* ---- the spare unit ------------------------------------------------------------------------------ */

static void
on_spare_gone(void *ctx)
{
	struct spare *s = ctx;
	blk_close(s->blk);
	s->c->spares_left--;
	if (s->c->spare == s)
		s->c->spare = NULL;
	free(s);
}

static void
spare_new(struct changes *c)
{
	char reason[256];
	struct spare *s = calloc(1, sizeof *s);
	SIM_CHECK(s != NULL, "out of memory");
	s->c = c;
	struct blk_open_args open = {
	    .spec = "fault:7:delay_us=0-500:ram:",
	    .size_bytes = 1u << 20,
	    .block_bytes = 512,
	    .loops = c->w->loops,
	    .loop_count = c->w->cfg.loops,
	};
	int rc = blk_open(&open, &s->blk, reason, sizeof reason);
	SIM_CHECK(rc == 0, "blk_open: %d %s", rc, reason);
	struct scsi_lu_args args = {
	    .name = "spare", .block_bytes = 512, .physical_exponent = 0xff, .blk = s->blk};
	args.uuid[0] = 0x55;
	args.uuid[15] = c->next_uuid++;
	rc = scsi_lu_create(c->w->core, &args, &s->lu);
	SIM_CHECK(rc == 0, "scsi_lu_create: %d", rc);
	c->spare = s;
	c->spares_left++;
}

static void
change_spare(struct changes *c)
{
	if (c->spare == NULL)
		spare_new(c);
	else if (c->spare->refs == 0 && !c->spare->ending) {
		c->spare->ending = true;
		scsi_lu_destroy(c->spare->lu, on_spare_gone, c->spare);
	}
}

/* ---- configurations -------------------------------------------------------------------------------- */

static void
config_free(struct config *cfg)
{
	iscsi_config_destroy(cfg->config);
	for (unsigned i = 0; i < SLOTS; i++)
		if (cfg->views[i] != NULL)
			view_put(cfg->views[i]);
	cfg->c->configs_left--;
	free(cfg);
}

static void
add_target(struct changes *c, struct config *cfg, bool open, bool deny)
{
	static const char *const hosts[HOSTS] = {"iqn.2024-01.com.example:host0",
	    "iqn.2024-01.com.example:host1", "iqn.2024-01.com.example:host2"};
	static const char *const group_names[] = {"a", "b"};
	static const char *const everybody[] = {"ALL"};
	static const uint16_t tags[] = {1};
	const char *initiators[2][HOSTS];
	struct iscsi_group_args g[2];
	char reason[256];

	for (unsigned i = 0; i < 2; i++) {
		g[i] = (struct iscsi_group_args){
		    .name = group_names[i], .initiators = initiators[i], .view = c->views[i]->v};
		for (unsigned h = 0; h < HOSTS; h++)
			if (c->where[h] == i)
				initiators[i][g[i].initiator_count++] = hosts[h];
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		if (i == 2 && !open)
			continue;
		cfg->views[i] = c->views[i];
		c->views[i]->refs++;
	}
	struct iscsi_target_args t = {
	    .name = WORLD_TARGET,
	    .rel_port_base = 1,
	    .groups = g,
	    .group_count = 2,
	    .open_view = open ? c->views[2]->v : NULL,
	    .offer = c->w->cfg.offer,
	    .portal_tags = tags,
	    .portal_tag_count = 1,
	    .deny = everybody,
	    .deny_count = deny,
	};
	int rc = iscsi_config_add_target(cfg->config, &t, reason, sizeof reason);
	SIM_CHECK(rc == 0, "iscsi_config_add_target: %d %s", rc, reason);
}

static struct config *
config_new(struct changes *c, bool all)
{
	struct config *cfg = calloc(1, sizeof *cfg);
	SIM_CHECK(cfg != NULL, "out of memory");
	cfg->c = c;
	c->configs_left++;
	SIM_CHECK(iscsi_config_create(&cfg->config) == 0, "iscsi_config_create");
	if (all || sim_chance(&c->rng, 90))
		add_target(c, cfg, all || sim_chance(&c->rng, 80), !all && sim_chance(&c->rng, 5));
	return cfg;
}

static void
on_config_done(void *ctx, struct iscsi_config *old)
{
	struct config *cfg = ctx;
	SIM_CHECK(cfg->config == old, "another configuration came back");
	config_free(cfg);
}

/* The first one is the world's. */
static void
on_first_done(void *ctx, struct iscsi_config *old)
{
	struct changes *c = ctx;
	SIM_CHECK(c->w->config == old, "another configuration came back");
	iscsi_config_destroy(old);
	scsi_view_destroy(c->w->view);
	c->w->config = NULL;
	c->w->view = NULL;
	c->first_gone = true;
}

static const struct iscsi_session_info *
find_session(const struct iscsi_session_info *s, uint32_t count, uint16_t tsih)
{
	for (uint32_t i = 0; i < count; i++)
		if (s[i].tsih == tsih)
			return &s[i];
	return NULL;
}

/* Just those sessions end that it was said of. */
static void
set_config(struct changes *c, struct config *cfg)
{
	static struct iscsi_session_info before[SESSIONS_MAX], said[SESSIONS_MAX],
	    after[SESSIONS_MAX];
	struct iscsi_server *s = c->w->server;
	struct config *old = c->config;
	uint32_t n_before = iscsi_server_sessions(s, before, SESSIONS_MAX);
	uint32_t n_said = iscsi_server_affected(s, cfg->config, said, SESSIONS_MAX);

	int rc = old != NULL ? iscsi_server_set_config(s, cfg->config, on_config_done, old)
	                     : iscsi_server_set_config(s, cfg->config, on_first_done, c);
	SIM_CHECK(rc == 0, "iscsi_server_set_config: %d", rc);
	SIM_CHECK(iscsi_server_set_config(s, cfg->config, NULL, NULL) == -EALREADY,
	    "the same configuration again is taken");
	c->config = cfg;
	uint32_t n_after = iscsi_server_sessions(s, after, SESSIONS_MAX);
	SIM_CHECK(n_before == n_after, "sessions go in an instant");
	for (uint32_t i = 0; i < n_after; i++) {
		const struct iscsi_session_info *b = find_session(before, n_before, after[i].tsih);
		const struct iscsi_session_info *m = find_session(said, n_said, after[i].tsih);
		SIM_CHECK(b != NULL, "a session comes in an instant");
		SIM_CHECK((after[i].ending && !b->ending) == (m != NULL),
		    "session %u: ending before %d, after %d, said %d", after[i].tsih, b->ending,
		    after[i].ending, m != NULL);
		SIM_CHECK(
		    m == NULL || (m->reason != NULL && m->reason[0] != '\0'), "no reason is given");
	}
}

static void
change_config(struct changes *c)
{
	if (sim_chance(&c->rng, 40))
		c->where[sim_pick(&c->rng, HOSTS)] = sim_pick(&c->rng, SLOTS);
	if (sim_chance(&c->rng, 15)) {
		struct view **slot = &c->views[sim_pick(&c->rng, SLOTS)];
		struct view *old = *slot;
		*slot = view_new(c);
		view_put(old);
	}
	set_config(c, config_new(c, false));
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

static void
change_limits(struct changes *c)
{
	struct iscsi_limits l = c->w->limits;
	l.depth_max = ONE_OF(&c->rng, 0, 1, 4, 16, 128);
	l.tmf_max = ONE_OF(&c->rng, 1, 4, 16);
	l.logout_grace_ms = ONE_OF(&c->rng, 0, 1, 20);
	l.nop_interval_ms = ONE_OF(&c->rng, 0, 5, 100, 15000);
	int rc = iscsi_server_set_limits(c->w->server, &l);
	SIM_CHECK(rc == 0, "iscsi_server_set_limits: %d", rc);
}

static void
drop_session(struct changes *c)
{
	static struct iscsi_session_info s[SESSIONS_MAX];
	uint32_t n = iscsi_server_sessions(c->w->server, s, SESSIONS_MAX);
	if (n == 0) {
		SIM_CHECK(iscsi_server_drop(c->w->server, 1, "x") == -ENOENT, "nobody is dropped");
		return;
	}
	char reason[32] = "dropped for the sake of it";
	int rc = iscsi_server_drop(c->w->server, s[sim_pick(&c->rng, n)].tsih, reason);
	SIM_CHECK(rc == 0, "iscsi_server_drop: %d", rc);
	memset(reason, 'x', sizeof reason - 1); /* it was copied */
}

static void
change_port(struct changes *c)
{
	uint16_t id = (uint16_t)(2 + sim_pick(&c->rng, PORTS_END - 2));
	if (c->ports[id])
		scsi_core_remove_port(c->w->core, id);
	else
		SIM_CHECK(scsi_core_add_port(c->w->core, id, 1, WORLD_TARGET, "x,t,0x0002") == 0,
		    "scsi_core_add_port");
	c->ports[id] = !c->ports[id];
}

/* The portal that initiators use is closed for a while. */
static void
change_portal(struct changes *c)
{
	const struct sockaddr *addr = (const struct sockaddr *)&c->w->portal;
	int rc = c->listens
	             ? iscsi_server_unlisten(c->w->server, addr, 1)
	             : iscsi_server_listen(c->w->server, addr, sizeof(struct sockaddr_in), 1);
	SIM_CHECK(rc == 0, "a portal %s: %d", c->listens ? "closes" : "opens", rc);
	c->listens = !c->listens;
	struct sockaddr_storage ss;
	SIM_CHECK(iscsi_server_portal(c->w->server, 0, &ss) == c->listens, "the list of portals");
}

static void
change_read_only(struct changes *c)
{
	int rc = scsi_lu_set_read_only(c->w->lus[0], sim_chance(&c->rng, 30), NULL, NULL);
	SIM_CHECK(rc == 0, "scsi_lu_set_read_only: %d", rc);
}

/* ---- time ----------------------------------------------------------------------------------------------- */

static void
put_in_order(struct changes *c)
{
	for (unsigned i = 0; i < SLOTS; i++)
		change_view(c, c->views[i], true);
	set_config(c, config_new(c, true));
	if (!c->listens)
		change_portal(c);
	SIM_CHECK(scsi_lu_set_read_only(c->w->lus[0], false, NULL, NULL) == 0, "set_read_only");
	SIM_CHECK(iscsi_server_set_limits(c->w->server, &c->w->limits) == 0, "set_limits");
}

static void
change(struct changes *c)
{
	uint32_t p = sim_pick(&c->rng, 100);
	c->made++;
	sim_say(loop_sim_now_ns(c->w->sim), "administrator: %u", p);
	if (p < 32)
		change_view(c, c->views[sim_pick(&c->rng, SLOTS)], sim_chance(&c->rng, 30));
	else if (p < 52)
		change_config(c);
	else if (p < 58)
		drop_session(c);
	else if (p < 66)
		change_limits(c);
	else if (p < 78)
		change_spare(c);
	else if (p < 84)
		change_read_only(c);
	else if (p < 91)
		change_port(c);
	else if (p < 95 || !c->listens)
		change_portal(c);
}

static void
on_timer(struct loop_timer *t)
{
	struct changes *c = container_of(t, struct changes, timer);
	if (c->w->stopping)
		return;
	if (*c->verifying) {
		put_in_order(c);
		return;
	}
	/* Often one directly behind the other. */
	do
		change(c);
	while (sim_chance(&c->rng, 30));
	loop_timer_set(t, 1000ull * (1 + sim_pick(&c->rng, c->period_us)));
}

static void
begin(void *ctx)
{
	struct changes *c = ctx;
	for (unsigned i = 0; i < SLOTS; i++)
		c->views[i] = view_new(c);
	set_config(c, config_new(c, true));
	loop_timer_set(&c->timer, 1000ull * (1 + sim_pick(&c->rng, c->period_us)));
}

struct changes *
changes_start(struct world *w, uint32_t period_us, uint64_t seed, const bool *verifying)
{
	struct changes *c = calloc(1, sizeof *c);
	SIM_CHECK(c != NULL, "out of memory");
	c->w = w;
	c->rng.state = seed;
	c->period_us = period_us;
	c->verifying = verifying;
	c->listens = true;
	for (unsigned h = 0; h < HOSTS; h++)
		c->where[h] = sim_pick(&c->rng, SLOTS);
	loop_timer_init(&c->timer, w->loops[0], on_timer);
	loop_sim_call(w->loops[0], begin, c);
	return c;
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static void
end(void *ctx)
{
	struct changes *c = ctx;
	config_free(c->config);
	for (unsigned i = 0; i < SLOTS; i++)
		view_put(c->views[i]);
	if (c->spare != NULL && !c->spare->ending) {
		SIM_CHECK(c->spare->refs == 0, "%u refer to the spare unit", c->spare->refs);
		scsi_lu_destroy(c->spare->lu, on_spare_gone, c->spare);
	}
	for (uint16_t id = 0; id < PORTS_END; id++)
		if (c->ports[id])
			scsi_core_remove_port(c->w->core, id);
}

void
changes_down(struct changes *c)
{
	SIM_CHECK(c->first_gone, "the first configuration never came back");
	SIM_CHECK(c->changes_left == 0, "%u changes of views are left over", c->changes_left);
	SIM_CHECK(c->configs_left == 1, "%u configurations are left over", c->configs_left - 1);
	loop_sim_call(c->w->loops[0], end, c);
	loop_sim_run(c->w->sim, UINT64_MAX, 100000);
	SIM_CHECK(c->views_left + c->configs_left + c->spares_left == 0,
	    "%u views, %u configurations, %u units are left over", c->views_left, c->configs_left,
	    c->spares_left);
	free(c);
}

uint64_t
changes_made(const struct changes *c)
{
	return c->made;
}
