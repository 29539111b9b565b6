/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/workload.h"

#include "tests/sim/changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_NS (500ull * 1000000)
#define TRIES_MAX 500u

static const struct ini_ops ini_ops;

/* ---- sessions ---------------------------------------------------------------------------------- */

static void
actor_done(struct actor *a)
{
	if (a->done)
		return;
	a->done = true;
	a->run->actors_done++;
}

static void
connect_now(struct actor *a)
{
	struct world *w = a->run->world;

	a->ready = false;
	a->run->stats.reconnects++;
	a->ini = ini_start(w->client, &w->portal, a->name, a->isid, WORLD_TARGET, &a->params,
	    &a->run->rng, &ini_ops, a);
}

static void
connect_later(struct actor *a)
{
	a->ini = NULL;
	a->ready = false;
	if (a->run->world->stopping || a->run->finished) {
		actor_done(a);
		return;
	}
	SIM_CHECK(a->tries++ < TRIES_MAX, "%s can't log in", a->label);
	loop_timer_set(&a->again, 1000ull * (1 + sim_pick(&a->run->rng, 5000)));
}

static void
on_again(struct loop_timer *t)
{
	struct actor *a = container_of(t, struct actor, again);
	if (a->ini == NULL)
		connect_now(a);
}

/* A new login with the same name and ISID while the session lives. */
void
actor_reconnect(struct actor *a)
{
	connect_now(a);
}

static void
on_logged_in(struct ini *i)
{
	struct actor *a = i->ctx;
	if (i != a->ini)
		return;
	a->ready = true;
	a->tries = 0;
	op_settle_orphans(a);
	if (a->key == 0)
		a->wants_register = true;
	actor_fill(a);
}

static void
on_refused(struct ini *i, uint16_t status)
{
	struct actor *a = i->ctx;
	sim_say(loop_now_ns(i->loop), "%s: login refused, %04xh", a->label, status);
	if (i == a->ini)
		connect_later(a);
}

static void
on_ended(struct ini *i)
{
	struct actor *a = i->ctx;
	sim_say(loop_now_ns(i->loop), "%s: session ended%s", a->label, i == a->ini ? "" : " (old)");
	if (i == a->ini)
		connect_later(a);
}

static void
on_logout_wanted(struct ini *i)
{
	struct actor *a = i->ctx;
	if (sim_chance(&a->run->rng, 70))
		ini_logout(i);
}

static const struct ini_ops ini_ops = {
    .logged_in = on_logged_in,
    .refused = on_refused,
    .ended = on_ended,
    .logout_wanted = on_logout_wanted,
};

/* ---- actors ------------------------------------------------------------------------------------ */

static bool
can_start(const struct actor *a)
{
	return a->ready && a->ini != NULL && a->ini->state == INI_FULL && !list_empty(&a->idle) &&
	       a->ini->in_flight < a->depth;
}

static void
verify(struct actor *a)
{
	struct sim_run *r = a->run;
	while (!r->finished && can_start(a) && list_empty(&a->busy))
		op_start_verify(a);
	if (r->finished && !r->world->stopping)
		world_stop_server(r->world, sim_chance(&r->rng, 50) ? 0 : 50);
}

static void
maybe_verify(struct sim_run *r)
{
	if (r->actors_done < r->cfg.actors || r->world->stopping || r->verifying)
		return;
	r->verifying = true;
	struct actor *a = &r->actors[0];
	if (a->ini == NULL)
		connect_later(a);
	else
		verify(a);
}

/* Starts what the actor may start. */
void
actor_fill(struct actor *a)
{
	struct sim_run *r = a->run;

	if (r->cfg.stop_at_ops > 0 && r->stats.ended >= r->cfg.stop_at_ops && !r->world->stopping)
		world_stop_server(
		    r->world, sim_chance(&r->rng, 50) ? 0 : 1 + sim_pick(&r->rng, 20));
	if (r->verifying) {
		if (a->idx == 0)
			verify(a);
		return;
	}
	while (a->ops_left > 0 && can_start(a)) {
		a->ops_left--;
		if (sim_chance(&r->rng, r->cfg.trouble))
			op_trouble(a);
		else
			op_start(a);
	}
	if (a->ops_left > 0 || !list_empty(&a->busy))
		return;
	for (unsigned i = 0; i < sizeof a->tmfs / sizeof a->tmfs[0]; i++)
		if (a->tmfs[i].busy)
			return;
	actor_done(a);
	maybe_verify(r);
}

static void
on_check(struct loop_timer *t)
{
	struct actor *a = container_of(t, struct actor, check);
	op_check_times(a);
	if (!a->run->world->stopping)
		loop_timer_set(&a->check, CHECK_NS);
}

/* ---- the run ----------------------------------------------------------------------------------- */

static void
pick_params(struct sim_rng *r, struct ini_params *p)
{
	*p = (struct ini_params){
	    .header_digest = sim_chance(r, 40),
	    .data_digest = sim_chance(r, 40),
	    .initial_r2t = sim_chance(r, 40),
	    .immediate_data = sim_chance(r, 70),
	    .max_recv_bytes = ONE_OF(r, 512, 1024, 4096, 8192, 65536, 262144, 1500),
	    .max_burst_bytes = ONE_OF(r, 512, 4096, 16384, 65536, 262144, 1048576),
	    .max_r2t = 1 + sim_pick(r, 8),
	    .protocol_level = 1 + sim_pick(r, 2),
	    .pdu_max_bytes = ONE_OF(r, 512, 700, 4096, 65536, 262144),
	    .read_pause_us = sim_chance(r, 15) ? 30 : 0,
	    .deaf = sim_chance(r, 10),
	};
	p->first_burst_bytes = ONE_OF(r, 512, 4096, 65536, 262144);
	if (p->first_burst_bytes > p->max_burst_bytes)
		p->first_burst_bytes = p->max_burst_bytes;
}

static void
actor_init(struct sim_run *r, unsigned idx)
{
	struct actor *a = &r->actors[idx];
	struct loop *l = r->world->client;

	a->run = r;
	a->idx = idx;
	snprintf(a->name, sizeof a->name, "iqn.2024-01.com.example:host%u", idx / 2);
	snprintf(a->label, sizeof a->label, "host%u.%u", idx / 2, idx % 2);
	memcpy(a->isid, "\x80\x00\x00\x00\x00", 5);
	a->isid[5] = (uint8_t)idx; /* two ports of each initiator */
	pick_params(&r->rng, &a->params);
	a->depth = 1 + sim_pick(&r->rng, DEPTH_MAX - 1);
	a->ops_left = r->cfg.ops;
	list_init(&a->idle);
	list_init(&a->busy);
	list_init(&a->orphans);
	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		a->ops[i].actor = a;
		list_push_back(&a->idle, &a->ops[i].link);
	}
	loop_timer_init(&a->again, l, on_again);
	loop_timer_init(&a->check, l, on_check);
}

static void
start(void *ctx)
{
	struct sim_run *r = ctx;
	for (unsigned i = 0; i < r->cfg.actors; i++) {
		struct actor *a = &r->actors[i];
		loop_timer_set(&a->check, CHECK_NS);
		if (sim_chance(&r->rng, 50))
			connect_now(a);
		else
			connect_later(a);
	}
}

static void
free_orphans(struct actor *a)
{
	for (struct list *l; (l = list_pop_front(&a->orphans)) != NULL;)
		free(container_of(l, struct orphan, link));
}

void
workload_run(struct sim_run *r, struct world *w, const struct workload_cfg *cfg, uint64_t seed)
{
	memset(r, 0, sizeof *r);
	r->world = w;
	r->cfg = *cfg;
	r->rng.state = seed;
	r->hist = hist_create(WORLD_LUNS, WORLD_SECTORS);
	for (unsigned i = 0; i < cfg->actors; i++)
		actor_init(r, i);
	if (cfg->change_us > 0)
		w->changes = changes_start(w, cfg->change_us, seed ^ 0xad, &r->verifying);
	loop_sim_call(w->client, start, r);
	for (uint64_t steps = 0; !w->stopped; steps += 1000) {
		SIM_CHECK(steps < 40u * 1000 * 1000, "no end in sight");
		SIM_CHECK(loop_sim_run(w->sim, UINT64_MAX, 1000) > 0, "everything stands still");
	}
	/* Without the target nothing is left to do but to see the ends of the sessions. */
	loop_sim_run(w->sim, UINT64_MAX, 1000000);
	SIM_CHECK(!loop_sim_step(w->sim), "the world doesn't come to rest");
	for (unsigned i = 0; i < cfg->actors; i++) {
		struct actor *a = &r->actors[i];
		SIM_CHECK(list_empty(&a->busy), "%s: commands are left over", a->label);
		SIM_CHECK(a->ini == NULL, "%s: the session is left over", a->label);
		free_orphans(a);
	}
	if (w->changes != NULL)
		r->stats.changes = changes_made(w->changes);
	hist_destroy(r->hist);
}
