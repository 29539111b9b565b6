/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands with any CDB, lengths and data, and task management, against the SCSI core over ram
 * stores, from two nexuses on two simulated loops. Input: records of
 *
 *	0      bits 0-1 unit, 2 nexus, 3 run to rest before, 4 task management, 5 32-byte CDB,
 *	       6-7 attribute
 *	1      task management: function; else what the data-out is filled with
 *	2-3    bytes of data-out, big-endian    4-5  bytes of data-in
 *	6-     CDB, 16 or 32 bytes; then up to 32 bytes that start the data-out
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/world.h"

#define RECORDS_MAX 64u
#define DATA_HEAD 32u
#define STEPS_MAX 2000000u

struct command {
	struct scsi_task task;
	struct command *next;
	bool started, done;
	uint8_t fill;
	uint8_t head[DATA_HEAD];
};

struct tmf {
	struct scsi_tmf_req req;
	struct tmf *next;
	bool done;
};

struct nexus {
	struct world *w;
	struct loop *loop;
	struct scsi_nexus *n;
	bool gone;
};

static struct world world;
static struct nexus nexuses[2];
static struct command *commands;
static struct tmf *tmfs;
static uint64_t tags;

/* ---- transport --------------------------------------------------------------------------------- */

static void
give_data(struct scsi_task *t)
{
	struct command *c = container_of(t, struct command, task);
	SIM_CHECK(t->data_out_len > 0 && t->data_out_len <= t->out_bytes &&
	              t->sg.len_bytes >= t->data_out_len,
	    "data-out of %u bytes of %u, room for %llu", t->data_out_len, t->out_bytes,
	    (unsigned long long)t->sg.len_bytes);
	blk_sg_fill(&t->sg, 0, c->fill, t->data_out_len);
	size_t head = t->data_out_len < DATA_HEAD ? t->data_out_len : DATA_HEAD;
	blk_sg_copy_in(&t->sg, 0, c->head, head);
	scsi_task_data_ready(t, 0);
}

static void
on_done(struct scsi_task *t)
{
	static uint8_t sink[65536];
	struct command *c = container_of(t, struct command, task);

	SIM_CHECK(!c->done, "a command ends twice");
	c->done = true;
	SIM_CHECK(t->data_in_len <= t->in_bytes, "more data-in than expected");
	SIM_CHECK(t->sense_len <= SCSI_SENSE_MAX_BYTES, "sense of %u bytes", t->sense_len);
	SIM_CHECK(t->aborted || t->status != SCSI_CHECK_CONDITION || t->sense_len >= 8,
	    "CHECK CONDITION without sense");
	if (!t->aborted && t->data_in_len > 0)
		blk_sg_copy_out(&t->sg, 0, sink, t->data_in_len); /* it can be read */
	scsi_task_release(t);
}

static const struct scsi_transport_ops ops = {.want_data = give_data, .done = on_done};

static void
on_tmf_done(struct scsi_tmf_req *r)
{
	struct tmf *t = container_of(r, struct tmf, req);
	SIM_CHECK(!t->done, "task management ends twice");
	t->done = true;
}

/* ---- nexuses ----------------------------------------------------------------------------------- */

static void
nexus_up(void *ctx)
{
	struct nexus *n = ctx;
	uint8_t id[24] = {0x05, 0, 0, 20, 'i', 'q', 'n', '.', (uint8_t)('a' + (n - nexuses))};
	struct scsi_nexus_args args = {
	    .loop = n->loop,
	    .view = n->w->view,
	    .rel_port_id = 1,
	    .transport_id = id,
	    .transport_id_len = sizeof id,
	    .initiator = "fuzz",
	};
	n->gone = false;
	SIM_CHECK(scsi_nexus_create(n->w->core, &args, &n->n) == 0, "scsi_nexus_create");
}

static void
on_gone(void *ctx)
{
	struct nexus *n = ctx;
	n->gone = true;
}

static void
nexus_down(void *ctx)
{
	struct nexus *n = ctx;
	scsi_nexus_destroy(n->n, on_gone, n);
}

static void
start_command(void *ctx)
{
	struct command *c = ctx;
	uint8_t passing[DATA_HEAD];
	/* Every second command brings its data with it, in memory that doesn't last. */
	if (c->task.out_bytes > 0 && c->task.out_bytes <= DATA_HEAD && c->task.tag % 2 == 0) {
		memcpy(passing, c->head, sizeof passing);
		c->task.out_data = passing;
	}
	if (scsi_task_submit(&c->task) == SCSI_WANT_DATA)
		give_data(&c->task);
	memset(passing, 0xee, sizeof passing);
}

static void
start_tmf(void *ctx)
{
	struct tmf *t = ctx;
	scsi_tmf_submit(&t->req);
}

static void
rest(void)
{
	SIM_CHECK(loop_sim_run(world.sim, UINT64_MAX, STEPS_MAX) < STEPS_MAX,
	    "the units don't come to rest");
}

/* ---- records ----------------------------------------------------------------------------------- */

static void *
zeroed(size_t bytes)
{
	void *p = calloc(1, bytes);
	SIM_CHECK(p != NULL, "out of memory");
	return p;
}

static void
do_tmf(const uint8_t *p, struct nexus *n)
{
	struct tmf *t = zeroed(sizeof *t);
	t->next = tmfs;
	tmfs = t;
	t->req.nexus = n->n;
	t->req.function = (enum scsi_tmf)(p[1] % SCSI_TMF_COUNT);
	t->req.lun[1] = p[0] & 3;
	t->req.tag = tags - p[5] % 8u;
	t->req.done = on_tmf_done;
	loop_sim_call(n->loop, start_tmf, t);
}

/* Returns the bytes used, 0: no whole record. */
static size_t
do_record(const uint8_t *p, size_t size)
{
	size_t cdb_len = size > 0 && (p[0] & 32) ? 32 : 16;
	if (size < 6 + cdb_len)
		return 0;
	struct nexus *n = &nexuses[p[0] >> 2 & 1];
	if (p[0] & 8)
		rest();
	if (p[0] & 16) {
		do_tmf(p, n);
		return 6;
	}
	struct command *c = zeroed(sizeof *c);
	size_t used = 6 + cdb_len, head = size - used < DATA_HEAD ? size - used : DATA_HEAD;
	c->next = commands;
	commands = c;
	c->fill = p[1];
	struct scsi_task *t = &c->task;
	t->nexus = n->n;
	t->ops = &ops;
	t->tag = ++tags;
	t->lun[1] = p[0] & 3;
	memcpy(t->cdb, p + 6, cdb_len);
	t->cdb_len = (uint8_t)cdb_len;
	t->attr = p[0] >> 6;
	t->out_bytes = load_be16(p + 2);
	t->in_bytes = load_be16(p + 4);
	if (t->out_bytes > 0)
		t->in_bytes = 0; /* no bidirectional commands */
	if (t->out_bytes > 0) {
		memcpy(c->head, p + used, head);
		used += head;
	}
	loop_sim_call(n->loop, start_command, c);
	return used;
}

static void
check_and_free(void)
{
	for (struct command *c = commands, *next; c != NULL; c = next) {
		next = c->next;
		SIM_CHECK(c->done, "a command (opcode %02xh) never ends", c->task.cdb[0]);
		free(c);
	}
	for (struct tmf *t = tmfs, *next; t != NULL; t = next) {
		next = t->next;
		SIM_CHECK(t->done, "task management %d never ends", (int)t->req.function);
		free(t);
	}
	commands = NULL;
	tmfs = NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world_cfg cfg = {
	    .seed = size,
	    .loops = 2,
	    .store_delay_us = 5,
	    .buf_bytes = 8u << 20,
	    .depth = 32,
	    .sanitize = true,
	};

	iscsi_offer_default(&cfg.offer);
	world_up(&world, &cfg);
	for (unsigned i = 0; i < 2; i++) {
		nexuses[i] = (struct nexus){.w = &world, .loop = world.loops[i]};
		loop_sim_call(nexuses[i].loop, nexus_up, &nexuses[i]);
	}
	size_t at = 0, used;
	tags = 0;
	for (unsigned i = 0; i < RECORDS_MAX; i++) {
		used = do_record(data + at, size - at);
		if (used == 0)
			break;
		at += used;
	}
	rest();
	for (unsigned i = 0; i < 2; i++)
		loop_sim_call(nexuses[i].loop, nexus_down, &nexuses[i]);
	rest();
	SIM_CHECK(nexuses[0].gone && nexuses[1].gone, "a nexus never goes");
	check_and_free();
	world_stop_server(&world, 0);
	rest();
	SIM_CHECK(world.stopped, "the target doesn't stop");
	(void)world_down(&world);
	return 0;
}
