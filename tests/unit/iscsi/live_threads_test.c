/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real loops on threads: sessions work over loopback sockets while the configuration, views, limits,
 * portals and single sessions change. For the thread and address sanitizers above all; that every
 * command ends and everything comes back is checked as well.
 */
#include "tests/cmocka_all.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/iscsi.h"
#include "scsi/scsi.h"
#include "base/endian.h"
#include "store/blk.h"
#include "tests/sim/sim_initiator.h"

#define TARGET_LOOPS 2u
#define LOOPS (TARGET_LOOPS + 1) /* the last one is the initiators' */
#define UNITS 3u
#define HOSTS 6u
#define DEPTH 4u
#define CHANGES 400u
#define TARGET "iqn.2024-01.com.example:threads"

struct host;
struct command {
	struct ini_cmd cmd;
	struct host *host;
	uint8_t data[4096];
};

struct host {
	struct fixture *f;
	char name[64];
	uint8_t isid[6];
	struct ini *ini;
	struct loop_timer again;
	struct command cmds[DEPTH];
	unsigned started, ended;
};

struct fixture {
	struct loop *loops[LOOPS];
	struct scsi_core *core;
	struct blk *blks[UNITS];
	struct scsi_lu *lus[UNITS];
	struct scsi_view *views[2];
	struct iscsi_config *config;
	struct iscsi_server *server;
	struct sockaddr_storage portal;
	/* home */
	struct sim_rng rng;
	struct loop_timer timer;
	struct loop_msg begin_msg, clients_gone_msg;
	unsigned made, configs_out, changes_out, lus_gone;
	bool listens;
	/* the initiators' loop */
	struct sim_rng client_rng;
	struct loop_msg client_begin_msg, client_finish_msg;
	struct host hosts[HOSTS];
	bool finishing, told;
	uint64_t good, answered;
};

/* ---- initiators ------------------------------------------------------------------------------------ */

static void connect_host(struct host *h);

static void
check_finished(struct fixture *f)
{
	if (!f->finishing || f->told)
		return;
	for (unsigned i = 0; i < HOSTS; i++)
		if (f->hosts[i].ini != NULL)
			return;
	f->told = true;
	loop_send(f->loops[0], &f->clients_gone_msg);
}

static void on_command(struct ini_cmd *c, enum ini_end end);

static void
start_command(struct command *k)
{
	struct host *h = k->host;
	struct sim_rng *r = &h->f->client_rng;
	struct ini_cmd *c = &k->cmd;
	memset(c, 0, sizeof *c);
	c->lun = (uint8_t)sim_pick(r, UNITS);
	c->attr = 1;
	c->done = on_command;
	c->ctx = k;
	switch (sim_pick(r, 4)) {
	case 0:
		c->cdb[0] = 0x2a;
		c->cdb[8] = 8;
		c->out = k->data;
		c->out_len = 4096;
		break;
	case 1:
		c->cdb[0] = 0xa0;
		store_be32(c->cdb + 6, 4096);
		c->in = k->data;
		c->in_cap = 4096;
		break;
	default:
		c->cdb[0] = 0x28;
		c->cdb[8] = 8;
		c->in = k->data;
		c->in_cap = 4096;
		break;
	}
	h->started++;
	ini_submit(h->ini, c);
}

static void
on_command(struct ini_cmd *c, enum ini_end end)
{
	struct command *k = c->ctx;
	struct host *h = k->host;
	h->ended++;
	h->f->answered += end == INI_ANSWERED;
	h->f->good += end == INI_ANSWERED && c->status == SCSI_GOOD;
	if (h->ini == c->ini && h->ini->state == INI_FULL && !h->f->finishing)
		start_command(k);
}

static void
on_logged_in(struct ini *i)
{
	struct host *h = i->ctx;
	for (unsigned k = 0; k < DEPTH; k++)
		start_command(&h->cmds[k]);
}

static void
over(struct host *h)
{
	h->ini = NULL;
	if (h->f->finishing)
		check_finished(h->f);
	else
		loop_timer_set(&h->again, 1000000);
}

static void
on_refused(struct ini *i, uint16_t status)
{
	(void)status;
	over(i->ctx);
}

static void
on_ended(struct ini *i)
{
	over(i->ctx);
}

static void
on_logout_wanted(struct ini *i)
{
	ini_logout(i);
}

static const struct ini_ops ini_ops = {.logged_in = on_logged_in,
    .refused = on_refused,
    .ended = on_ended,
    .logout_wanted = on_logout_wanted};

static void
connect_host(struct host *h)
{
	static const struct ini_params params = {.immediate_data = true,
	    .max_recv_bytes = 65536,
	    .max_burst_bytes = 65536,
	    .first_burst_bytes = 65536,
	    .max_r2t = 1,
	    .protocol_level = 1,
	    .pdu_max_bytes = 65536};
	struct fixture *f = h->f;
	h->ini = ini_start(f->loops[TARGET_LOOPS], &f->portal, h->name, h->isid, TARGET, &params,
	    &f->client_rng, &ini_ops, h);
}

static void
on_again(struct loop_timer *t)
{
	struct host *h = container_of(t, struct host, again);
	if (h->f->finishing)
		check_finished(h->f);
	else
		connect_host(h);
}

static void
client_begin(struct loop_msg *m)
{
	struct fixture *f = container_of(m, struct fixture, client_begin_msg);
	for (unsigned i = 0; i < HOSTS; i++) {
		struct host *h = &f->hosts[i];
		h->f = f;
		snprintf(h->name, sizeof h->name, "iqn.2024-01.com.example:host%u", i);
		h->isid[0] = 0x80;
		loop_timer_init(&h->again, f->loops[TARGET_LOOPS], on_again);
		for (unsigned k = 0; k < DEPTH; k++)
			h->cmds[k].host = h;
		connect_host(h);
	}
}

/* No more logins and commands; the sessions end with the target. */
static void
client_finish(struct loop_msg *m)
{
	struct fixture *f = container_of(m, struct fixture, client_finish_msg);
	f->finishing = true;
	check_finished(f);
}

/* ---- target ------------------------------------------------------------------------------------------ */

static struct iscsi_config *
make_config(struct fixture *f, unsigned split)
{
	static const char *const all[] = {"iqn.2024-01.com.example:*"};
	static const uint16_t tags[] = {1};
	char patterns[HOSTS][64], reason[256];
	const char *initiators[HOSTS];
	for (unsigned i = 0; i < split; i++) {
		snprintf(patterns[i], sizeof patterns[i], "iqn.2024-01.com.example:host%u", i);
		initiators[i] = patterns[i];
	}
	struct iscsi_group_args g[2] = {
	    {.name = "a", .initiators = initiators, .initiator_count = split, .view = f->views[0]},
	    {.name = "b", .initiators = all, .initiator_count = 1, .view = f->views[1]}};
	struct iscsi_target_args t = {.name = TARGET,
	    .rel_port_base = 1,
	    .groups = g,
	    .group_count = 2,
	    .portal_tags = tags,
	    .portal_tag_count = 1};
	iscsi_offer_default(&t.offer);
	struct iscsi_config *c;
	assert_int_equal(iscsi_config_create(&c), 0);
	assert_int_equal(iscsi_config_add_target(c, &t, reason, sizeof reason), 0);
	return c;
}

static void
on_config_done(void *ctx, struct iscsi_config *old)
{
	struct fixture *f = ctx;
	iscsi_config_destroy(old);
	f->configs_out--;
}

static void
on_view_done(void *ctx)
{
	((struct fixture *)ctx)->changes_out--;
}

static void
change_view(struct fixture *f)
{
	struct scsi_view_entry e[UNITS];
	uint32_t n = 0;
	for (uint16_t i = 0; i < UNITS; i++)
		if (sim_chance(&f->rng, 70))
			e[n++] = (struct scsi_view_entry){.lun = i, .lu = f->lus[i]};
	f->changes_out++;
	assert_int_equal(
	    scsi_view_change(f->views[sim_pick(&f->rng, 2)], e, n, on_view_done, f), 0);
}

static void
change_limits(struct fixture *f)
{
	struct iscsi_limits l;
	iscsi_limits_default(&l);
	l.depth_max = 1 + sim_pick(&f->rng, 64);
	l.logout_grace_ms = sim_pick(&f->rng, 5);
	l.half_open_per_addr_max = 64;
	assert_int_equal(iscsi_server_set_limits(f->server, &l), 0);
}

static void
change_portal(struct fixture *f)
{
	const struct sockaddr *addr = (const struct sockaddr *)&f->portal;
	if (f->listens)
		assert_int_equal(iscsi_server_unlisten(f->server, addr, 1), 0);
	/* Somebody else may have got the port meanwhile; then it stays closed. */
	else if (iscsi_server_listen(f->server, addr, sizeof(struct sockaddr_in), 1) < 0)
		return;
	f->listens = !f->listens;
}

static void
drop_session(struct fixture *f)
{
	static struct iscsi_session_info s[HOSTS * 2];
	uint32_t n = iscsi_server_sessions(f->server, s, HOSTS * 2);
	if (n > 0)
		assert_int_equal(
		    iscsi_server_drop(f->server, s[sim_pick(&f->rng, n)].tsih, "dropped"), 0);
}

static void
on_lu_gone(void *ctx)
{
	struct fixture *f = ctx;
	if (++f->lus_gone == UNITS)
		for (unsigned i = 0; i < LOOPS; i++)
			loop_stop(f->loops[i]);
}

static void
clients_gone(struct loop_msg *m)
{
	struct fixture *f = container_of(m, struct fixture, clients_gone_msg);
	for (unsigned i = 0; i < UNITS; i++)
		scsi_lu_destroy(f->lus[i], on_lu_gone, f);
}

static void
on_stopped(void *ctx)
{
	struct fixture *f = ctx;
	assert_int_equal(f->configs_out, 0);
	loop_send(f->loops[TARGET_LOOPS], &f->client_finish_msg);
}

static void
on_timer(struct loop_timer *t)
{
	struct fixture *f = container_of(t, struct fixture, timer);
	if (f->made < CHANGES) {
		uint32_t p = sim_pick(&f->rng, 100);
		f->made++;
		if (p < 45) {
			change_view(f);
		} else if (p < 65) {
			struct iscsi_config *old = f->config;
			f->config = make_config(f, sim_pick(&f->rng, HOSTS));
			f->configs_out++;
			assert_int_equal(
			    iscsi_server_set_config(f->server, f->config, on_config_done, f), 0);
			assert_ptr_not_equal(old, f->config);
		} else if (p < 75) {
			change_limits(f);
		} else if (p < 85) {
			drop_session(f);
		} else if (p < 92 || !f->listens) {
			change_portal(f);
		} else {
			assert_int_equal(
			    scsi_lu_set_read_only(f->lus[0], sim_chance(&f->rng, 50), NULL, NULL),
			    0);
		}
		loop_timer_set(t, 1000ull * (1 + sim_pick(&f->rng, 4000)));
	} else if (f->changes_out > 0) {
		loop_timer_set(t, 1000000);
	} else {
		iscsi_server_stop(f->server, 20, on_stopped, f);
	}
}

static void
begin(struct loop_msg *m)
{
	struct fixture *f = container_of(m, struct fixture, begin_msg);
	loop_timer_init(&f->timer, f->loops[0], on_timer);
	loop_timer_set(&f->timer, 1000000);
}

/* ---- up and down ----------------------------------------------------------------------------------------- */

static void
up_units(struct fixture *f)
{
	char reason[256];
	struct scsi_view_entry e[UNITS];
	for (unsigned i = 0; i < UNITS; i++) {
		struct blk_open_args ba = {.spec = "ram:",
		    .size_bytes = 1u << 20,
		    .block_bytes = 512,
		    .loops = f->loops,
		    .loop_count = TARGET_LOOPS};
		assert_int_equal(blk_open(&ba, &f->blks[i], reason, sizeof reason), 0);
		struct scsi_lu_args la = {.name = "lu",
		    .uuid = {(uint8_t)(i + 1)},
		    .block_bytes = 512,
		    .physical_exponent = 0xff,
		    .blk = f->blks[i]};
		assert_int_equal(scsi_lu_create(f->core, &la, &f->lus[i]), 0);
		e[i] = (struct scsi_view_entry){.lun = (uint16_t)i, .lu = f->lus[i]};
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(scsi_view_create(f->core, e, UNITS, &f->views[i]), 0);
}

static void
up(struct fixture *f)
{
	for (unsigned i = 0; i < LOOPS; i++) {
		struct loop_cfg cfg;
		loop_cfg_default(&cfg);
		cfg.id = i;
		cfg.buf_bytes = 64u * 1024 * 1024;
		assert_int_equal(loop_create(&cfg, &f->loops[i]), 0);
	}
	struct scsi_core_args ca = {
	    .loops = f->loops, .loop_count = TARGET_LOOPS, .tasks_per_loop = 1024};
	assert_int_equal(scsi_core_create(&ca, &f->core), 0);
	assert_int_equal(scsi_core_add_port(f->core, 1, 1, TARGET, TARGET ",t,0x0001"), 0);
	up_units(f);
	f->config = make_config(f, 3);
	struct iscsi_server_args sa = {
	    .core = f->core, .loops = f->loops, .loop_count = TARGET_LOOPS, .config = f->config};
	iscsi_limits_default(&sa.limits);
	sa.limits.half_open_per_addr_max = 64;
	sa.limits.logout_grace_ms = 5;
	assert_int_equal(iscsi_server_create(&sa, &f->server), 0);
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	assert_int_equal(
	    iscsi_server_listen(f->server, (struct sockaddr *)&addr, sizeof addr, 1), 0);
	assert_true(iscsi_server_portal(f->server, 0, &f->portal));
	f->listens = true;
	f->rng.state = 11;
	f->client_rng.state = 12;
	f->begin_msg.run = begin;
	f->client_begin_msg.run = client_begin;
	f->client_finish_msg.run = client_finish;
	f->clients_gone_msg.run = clients_gone;
}

static void
down(struct fixture *f)
{
	iscsi_server_destroy(f->server);
	iscsi_config_destroy(f->config);
	for (unsigned i = 0; i < 2; i++)
		scsi_view_destroy(f->views[i]);
	scsi_core_destroy(f->core);
	for (unsigned i = 0; i < UNITS; i++)
		blk_close(f->blks[i]);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_destroy(f->loops[i]);
}

static void
sessions_work_on_threads_while_everything_changes(void **state)
{
	(void)state;
	struct fixture *f = calloc(1, sizeof *f);
	assert_non_null(f);
	up(f);
	loop_send(f->loops[0], &f->begin_msg);
	loop_send(f->loops[TARGET_LOOPS], &f->client_begin_msg);
	for (unsigned i = 0; i < LOOPS; i++)
		assert_int_equal(loop_start_thread(f->loops[i]), 0);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_join(f->loops[i]);
	assert_true(f->good > 0 && f->answered > f->good);
	for (unsigned i = 0; i < HOSTS; i++)
		assert_int_equal(f->hosts[i].started, f->hosts[i].ended);
	down(f);
	free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sessions_work_on_threads_while_everything_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
