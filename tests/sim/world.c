/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/world.h"

#include "tests/sim/changes.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/bufpool.h"

/* ---- units ------------------------------------------------------------------------------------- */

static void
blk_event(void *ctx, enum blk_event ev)
{
	scsi_lu_blk_event(ctx, ev);
}

static void
open_unit(struct world *w, unsigned i)
{
	char spec[160], reason[256], name[16];

	snprintf(spec, sizeof spec,
	    "fault:%" PRIu64 ":read_error=%.4f,write_error=%.4f,delay_us=0-%u:ram:",
	    w->cfg.seed & 0xffffffff, i == 0 ? w->cfg.store_errors : 0.0,
	    i == 0 ? w->cfg.store_errors : 0.0, w->cfg.store_delay_us);
	struct blk_open_args open = {
	    .spec = spec,
	    .size_bytes = (uint64_t)WORLD_SECTORS * 512,
	    .block_bytes = 512,
	    .loops = w->loops,
	    .loop_count = w->cfg.loops,
	};
	int rc = blk_open(&open, &w->blks[i], reason, sizeof reason);
	SIM_CHECK(rc == 0, "blk_open %s: %d %s", spec, rc, reason);
	snprintf(name, sizeof name, "unit%u", i);
	struct scsi_lu_args args = {
	    .name = name,
	    .block_bytes = 512,
	    .physical_exponent = 0xff,
	    .thin = true,
	    .sanitize = w->cfg.sanitize,
	    .blk = w->blks[i],
	};
	memcpy(args.uuid, "\x4f\x1c\x77\x10\xab\xcd\x4e\xf0\x81\x02\x03\x04\x05\x06\x07", 15);
	args.uuid[15] = (uint8_t)(i + 1);
	rc = scsi_lu_create(w->core, &args, &w->lus[i]);
	SIM_CHECK(rc == 0, "scsi_lu_create: %d", rc);
	blk_set_events(w->blks[i], blk_event, w->lus[i]);
}

/* ---- up ---------------------------------------------------------------------------------------- */

static void
on_iscsi_event(void *ctx, const struct iscsi_event *e)
{
	struct world *w = ctx;
	w->logins += e->kind == ISCSI_EVENT_LOGIN;
	w->drops += e->kind == ISCSI_EVENT_DROPPED;
	sim_say(loop_sim_now_ns(w->sim), "target: event %d %s %s", (int)e->kind, e->initiator,
	    e->reason);
}

static void
configure(struct world *w)
{
	static const uint16_t tags[] = {1};
	char reason[256] = "";
	struct scsi_view_entry e[WORLD_LUNS];

	for (unsigned i = 0; i < WORLD_LUNS; i++)
		e[i] = (struct scsi_view_entry){.lun = (uint16_t)i, .lu = w->lus[i]};
	SIM_CHECK(scsi_view_create(w->core, e, WORLD_LUNS, &w->view) == 0, "scsi_view_create");
	SIM_CHECK(iscsi_config_create(&w->config) == 0, "iscsi_config_create");
	struct iscsi_target_args t = {
	    .name = WORLD_TARGET,
	    .rel_port_base = 1,
	    .open_view = w->view,
	    .offer = w->cfg.offer,
	    .portal_tags = tags,
	    .portal_tag_count = 1,
	};
	int rc = iscsi_config_add_target(w->config, &t, reason, sizeof reason);
	SIM_CHECK(rc == 0, "iscsi_config_add_target: %d %s", rc, reason);
}

static void
up_home(struct world *w)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	SIM_CHECK(scsi_core_add_port(w->core, 1, 1, WORLD_TARGET, WORLD_TARGET ",t,0x0001") == 0,
	    "scsi_core_add_port");
	for (unsigned i = 0; i < WORLD_LUNS; i++)
		open_unit(w, i);
	configure(w);
	struct iscsi_server_args args = {
	    .core = w->core,
	    .loops = w->loops,
	    .loop_count = w->cfg.loops,
	    .config = w->config,
	    .event = on_iscsi_event,
	    .event_ctx = w,
	};
	iscsi_limits_default(&args.limits);
	args.limits.nop_interval_ms = w->cfg.nop_interval_ms;
	args.limits.nop_timeout_ms = 200;
	args.limits.depth_max = w->cfg.depth;
	args.limits.half_open_per_addr_max = 64;
	args.limits.logout_grace_ms = 5;
	w->limits = args.limits;
	SIM_CHECK(iscsi_server_create(&args, &w->server) == 0, "iscsi_server_create");
	SIM_CHECK(iscsi_server_listen(w->server, (struct sockaddr *)&addr, sizeof addr, 1) == 0,
	    "iscsi_server_listen");
	SIM_CHECK(iscsi_server_portal(w->server, 0, &w->portal), "no portal");
}

void
world_up(struct world *w, const struct world_cfg *cfg)
{
	memset(w, 0, sizeof *w);
	w->cfg = *cfg;
	struct loop_sim_cfg sim = {
	    .seed = cfg->seed,
	    .loops = cfg->loops + 1,
	    .buf_bytes = cfg->buf_bytes,
	    .net_delay_us_max = cfg->net_delay_us,
	    .op_delay_us_max = 20,
	    .net_chunk_max_bytes = cfg->net_chunk_bytes,
	};
	SIM_CHECK(loop_sim_create(&sim, &w->sim) == 0, "loop_sim_create");
	for (unsigned i = 0; i <= cfg->loops; i++)
		w->loops[i] = loop_sim_loop(w->sim, i);
	w->client = w->loops[cfg->loops];
	struct scsi_core_args args = {
	    .loops = w->loops,
	    .loop_count = cfg->loops,
	    .tasks_per_loop = 4096,
	};
	SIM_CHECK(scsi_core_create(&args, &w->core) == 0, "scsi_core_create");
	up_home(w);
}

/* ---- stop and down ----------------------------------------------------------------------------- */

struct stop {
	struct loop_msg msg;
	struct world *w;
	uint32_t grace_ms;
};
static struct stop stop_request;

static void
on_stopped(void *ctx)
{
	struct world *w = ctx;
	SIM_CHECK(!w->stopped, "stopped twice");
	w->stopped = true;
	sim_say(loop_sim_now_ns(w->sim), "target: stopped");
}

static void
on_stop(struct loop_msg *m)
{
	struct stop *s = container_of(m, struct stop, msg);
	iscsi_server_stop(s->w->server, s->grace_ms, on_stopped, s->w);
}

void
world_stop_server(struct world *w, uint32_t grace_ms)
{
	SIM_CHECK(!w->stopping, "stop twice");
	w->stopping = true;
	sim_say(loop_sim_now_ns(w->sim), "target: stops, grace %u ms", grace_ms);
	stop_request = (struct stop){.msg = {.run = on_stop}, .w = w, .grace_ms = grace_ms};
	loop_send(w->loops[0], &stop_request.msg);
}

static void
on_lu_gone(void *ctx)
{
	struct world *w = ctx;
	w->lus_gone++;
}

static void
down_frontend(struct world *w)
{
	iscsi_server_destroy(w->server);
	if (w->changes != NULL)
		changes_down(w->changes);
	iscsi_config_destroy(w->config);
	scsi_view_destroy(w->view);
}

static void
down_units(void *ctx)
{
	struct world *w = ctx;
	for (unsigned i = 0; i < WORLD_LUNS; i++)
		scsi_lu_destroy(w->lus[i], on_lu_gone, w);
}

static void
down_core(struct world *w)
{
	for (unsigned i = 0; i < WORLD_LUNS; i++)
		blk_close(w->blks[i]);
	scsi_core_remove_port(w->core, 1);
	scsi_core_destroy(w->core);
}

uint64_t
world_down(struct world *w)
{
	down_frontend(w);
	loop_sim_call(w->loops[0], down_units, w);
	loop_sim_run(w->sim, UINT64_MAX, 100000);
	SIM_CHECK(w->lus_gone == WORLD_LUNS, "%u units have ended", w->lus_gone);
	down_core(w);
	loop_sim_run(w->sim, UINT64_MAX, 100000);
	SIM_CHECK(!loop_sim_step(w->sim), "something goes on after the end");
	for (unsigned i = 0; i < w->cfg.loops; i++) {
		struct bufpool *bp = loop_bufpool(w->loops[i]);
		SIM_CHECK(bufpool_free_bytes(bp) == bufpool_total_bytes(bp),
		    "loop %u: %zu of %zu bytes of buffers are free at the end", i,
		    bufpool_free_bytes(bp), bufpool_total_bytes(bp));
	}
	uint64_t hash = loop_sim_trace_hash(w->sim);
	loop_sim_destroy(w->sim);
	return hash;
}
