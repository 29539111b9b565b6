/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/scsi/scsi_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

#define STEPS_MAX 5000000u

/* ---- world ----------------------------------------------------------------------------------- */

struct fx_save {
	struct loop_defer defer;
	void (*done)(void *ctx, int result);
	void *done_ctx;
	int result;
};

static void
fx_save_run(struct loop_defer *d)
{
	struct fx_save *s = container_of(d, struct fx_save, defer);
	void (*done)(void *ctx, int result) = s->done;
	void *ctx = s->done_ctx;
	int result = s->result;
	free(s);
	done(ctx, result);
}

static void
persist_save(void *ctx, enum scsi_persist what, const uint8_t lu_uuid[16], const void *blob,
    size_t len, void (*done)(void *done_ctx, int result), void *done_ctx)
{
	struct fx *f = ctx;
	(void)lu_uuid;
	f->saved_what = what;
	assert_true(len <= sizeof f->saved);
	if (len > 0)
		memcpy(f->saved, blob, len);
	f->saved_len = len;
	f->save_count++;
	/* The store's answer comes later, as it must. */
	struct fx_save *s = calloc(1, sizeof *s);
	assert_non_null(s);
	s->done = done;
	s->done_ctx = done_ctx;
	s->result = f->save_result;
	loop_defer_init(&s->defer, fx_save_run);
	loop_next_turn(f->loops[0], &s->defer);
}

void
fx_on_loop(struct fx *f, unsigned loop, void (*fn)(void *ctx), void *ctx)
{
	assert_true(loop < f->loop_count);
	loop_sim_call(f->loops[loop], fn, ctx);
}

void
fx_run_steps(struct fx *f, uint64_t steps_max)
{
	loop_sim_run(f->world, UINT64_MAX, steps_max);
}

void
fx_run(struct fx *f)
{
	fx_run_steps(f, STEPS_MAX);
	assert_false(loop_sim_step(f->world)); /* it came to rest */
}

static void
add_port(void *ctx)
{
	struct fx *f = ctx;
	assert_int_equal(
	    scsi_core_add_port(f->core, 1, 1, "iqn.test:target", "iqn.test:target,t,0x0001"), 0);
}

void
fx_up(struct fx *f, unsigned loops, uint64_t seed)
{
	fx_up_with(f, loops, seed, 32u << 20);
}

void
fx_up_with(struct fx *f, unsigned loops, uint64_t seed, size_t buf_bytes)
{
	memset(f, 0, sizeof *f);
	list_init(&f->cmds);
	struct loop_sim_cfg cfg = {
	    .seed = seed,
	    .loops = loops,
	    .buf_bytes = buf_bytes,
	    .net_delay_us_max = 50,
	    .op_delay_us_max = 50,
	};
	assert_int_equal(loop_sim_create(&cfg, &f->world), 0);
	f->loop_count = loops;
	for (unsigned i = 0; i < loops; i++)
		f->loops[i] = loop_sim_loop(f->world, i);
	struct scsi_core_args args = {
	    .loops = f->loops,
	    .loop_count = loops,
	    .tasks_per_loop = 256,
	    .persist = {.save = persist_save, .ctx = f},
	};
	assert_int_equal(scsi_core_create(&args, &f->core), 0);
	fx_on_loop(f, 0, add_port, f);
	fx_run(f);
}

/* ---- units ----------------------------------------------------------------------------------- */

struct add_lu {
	struct fx *f;
	struct scsi_lu_args args;
	struct scsi_lu *lu;
	int err;
};

static void
blk_event(void *ctx, enum blk_event ev)
{
	scsi_lu_blk_event(ctx, ev);
}

static void
add_lu(void *ctx)
{
	struct add_lu *a = ctx;
	a->err = scsi_lu_create(a->f->core, &a->args, &a->lu);
	if (a->err == 0)
		blk_set_events(a->args.blk, blk_event, a->lu);
}

static bool
is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

struct scsi_lu *
fx_add_lu_size(struct fx *f, const char *spec, const struct scsi_lu_args *args, uint64_t size_bytes)
{
	assert_true(f->lu_count < FX_LUS_MAX);
	struct add_lu a = {.f = f};
	if (args != NULL)
		a.args = *args;
	else
		a.args.physical_exponent = 0xff;
	if (a.args.block_bytes == 0)
		a.args.block_bytes = 512;
	struct blk_open_args open = {
	    .spec = spec,
	    .size_bytes = size_bytes,
	    .block_bytes = a.args.block_bytes,
	    .loops = f->loops,
	    .loop_count = f->loop_count,
	};
	char reason[256] = "";
	struct blk *blk = NULL;
	int err = blk_open(&open, &blk, reason, sizeof reason);
	if (err < 0)
		fail_msg("blk_open %s: %d %s", spec, err, reason);
	char name[16];
	snprintf(name, sizeof name, "lu%u", f->lu_count);
	if (a.args.name == NULL)
		a.args.name = name;
	if (is_zero(a.args.uuid, 16)) {
		memcpy(a.args.uuid, "\x4f\x1c\x77\x10\xab\xcd\x4e\xf0\x81\x02\x03\x04\x05\x06", 14);
		a.args.uuid[15] = (uint8_t)(f->lu_count + 1);
	}
	a.args.blk = blk;
	fx_on_loop(f, 0, add_lu, &a);
	assert_int_equal(a.err, 0);
	f->blks[f->lu_count] = blk;
	f->lus[f->lu_count++] = a.lu;
	return a.lu;
}

struct scsi_lu *
fx_add_lu(struct fx *f, const char *spec, const struct scsi_lu_args *args)
{
	return fx_add_lu_size(f, spec, args, FX_LU_BYTES);
}

/* ---- nexuses --------------------------------------------------------------------------------- */

size_t
fx_iscsi_transport_id(const char *name, uint8_t buf[SCSI_TRANSPORT_ID_MAX])
{
	memset(buf, 0, SCSI_TRANSPORT_ID_MAX);
	size_t len = (strlen(name) + 1 + 3) & ~(size_t)3;
	if (len < 20)
		len = 20;
	assert_true(4 + len <= SCSI_TRANSPORT_ID_MAX);
	buf[0] = 0x05; /* format 00b, protocol iSCSI */
	store_be16(buf + 2, (uint16_t)len);
	memcpy(buf + 4, name, strlen(name));
	return 4 + len;
}

struct login {
	struct fx_nexus *n;
	const struct scsi_view_entry *entries;
	uint32_t count;
};

static void
login_view(void *ctx)
{
	struct login *l = ctx;
	assert_int_equal(scsi_view_create(l->n->f->core, l->entries, l->count, &l->n->view), 0);
}

static void
login_nexus(void *ctx)
{
	struct fx_nexus *n = ctx;
	struct scsi_nexus_args args = {
	    .loop = n->f->loops[n->loop],
	    .view = n->view,
	    .rel_port_id = n->rel_port_id,
	    .transport_id = n->transport_id,
	    .transport_id_len = n->transport_id_len,
	    .initiator = n->initiator,
	};
	assert_int_equal(scsi_nexus_create(n->f->core, &args, &n->n), 0);
}

static struct fx_nexus *
new_nexus(struct fx *f, unsigned loop, const char *initiator, uint16_t port)
{
	assert_true(f->nexus_count < FX_NEXUSES_MAX);
	struct fx_nexus *n = &f->nexuses[f->nexus_count++];
	memset(n, 0, sizeof *n);
	n->f = f;
	n->loop = loop;
	n->rel_port_id = port;
	snprintf(n->initiator, sizeof n->initiator, "%s", initiator);
	n->transport_id_len = fx_iscsi_transport_id(initiator, n->transport_id);
	return n;
}

static struct fx_nexus *
login(struct fx *f, unsigned loop, const char *initiator, uint16_t port,
    const struct scsi_view_entry *entries, uint32_t count)
{
	struct fx_nexus *n = new_nexus(f, loop, initiator, port);
	n->own_view = true;
	struct login l = {.n = n, .entries = entries, .count = count};
	fx_on_loop(f, 0, login_view, &l);
	fx_on_loop(f, loop, login_nexus, n);
	return n;
}

static struct fx_nexus *
login_all(struct fx *f, unsigned loop, const char *initiator, uint16_t port)
{
	struct scsi_view_entry e[FX_LUS_MAX];
	for (unsigned i = 0; i < f->lu_count; i++)
		e[i] = (struct scsi_view_entry){.lun = (uint16_t)i, .lu = f->lus[i]};
	return login(f, loop, initiator, port, e, f->lu_count);
}

struct fx_nexus *
fx_login_port(
    struct fx *f, unsigned loop, const char *initiator, uint16_t rel_port_id, bool keep_ua)
{
	struct fx_nexus *n = login_all(f, loop, initiator, rel_port_id);
	for (unsigned i = 0; !keep_ua && i < f->lu_count; i++) {
		struct fx_cmd *c = fx_tur(n, (uint16_t)i);
		fx_assert_sense(c, 0x6, 0x29, 0x00);
		fx_cmd_free(c);
	}
	return n;
}

struct fx_nexus *
fx_login(struct fx *f, unsigned loop, const char *initiator)
{
	return fx_login_port(f, loop, initiator, 1, false);
}

struct fx_nexus *
fx_login_view(struct fx *f, unsigned loop, const char *initiator,
    const struct scsi_view_entry *entries, uint32_t count)
{
	return login(f, loop, initiator, 1, entries, count);
}

struct fx_nexus *
fx_login_shared(struct fx *f, unsigned loop, const char *initiator, struct scsi_view *view)
{
	struct fx_nexus *n = new_nexus(f, loop, initiator, 1);
	n->view = view;
	fx_on_loop(f, loop, login_nexus, n);
	return n;
}

static void
view_destroy(void *ctx)
{
	scsi_view_destroy(ctx);
}

static void
nexus_gone(void *ctx)
{
	struct fx_nexus *n = ctx;
	assert_int_equal(n->in_flight, 0);
	assert_false(n->gone);
	n->gone = true;
	n->n = NULL;
}

static void
nexus_destroy(void *ctx)
{
	struct fx_nexus *n = ctx;
	scsi_nexus_destroy(n->n, nexus_gone, n);
	n->n = NULL;
}

void
fx_logout_start(struct fx_nexus *n)
{
	assert_non_null(n->n);
	fx_on_loop(n->f, n->loop, nexus_destroy, n);
}

void
fx_logout(struct fx_nexus *n)
{
	fx_logout_start(n);
	fx_run(n->f);
	assert_true(n->gone);
}

static void
lu_destroyed(void *ctx)
{
	*(bool *)ctx = true;
}

struct lu_end {
	struct scsi_lu *lu;
	struct blk *blk;
	bool done;
};

static void
lu_destroy(void *ctx)
{
	struct lu_end *e = ctx;
	blk_set_events(e->blk, NULL, NULL);
	scsi_lu_destroy(e->lu, lu_destroyed, &e->done);
}

void
fx_end_lu(struct fx *f, unsigned i)
{
	if (f->lus[i] == NULL)
		return;
	struct lu_end e = {.lu = f->lus[i], .blk = f->blks[i]};
	struct scsi_lu_stats st;
	scsi_lu_get_stats(e.lu, &st);
	assert_int_equal(st.in_flight, 0);
	fx_on_loop(f, 0, lu_destroy, &e);
	fx_run(f);
	assert_true(e.done);
	blk_close(f->blks[i]);
	f->lus[i] = NULL;
	f->blks[i] = NULL;
}

void
fx_down(struct fx *f)
{
	for (unsigned i = 0; i < f->nexus_count; i++) {
		struct fx_nexus *n = &f->nexuses[i];
		LIST_FOREACH_SAFE (l, &f->cmds) {
			struct fx_cmd *c = container_of(l, struct fx_cmd, link);
			c->hold_release = false;
			if (c->nexus == n && c->done && !c->released)
				fx_release(c);
		}
		if (n->n != NULL)
			fx_logout(n);
	}
	fx_run(f);
	while (!list_empty(&f->cmds))
		fx_cmd_free(container_of(f->cmds.next, struct fx_cmd, link));
	for (unsigned i = 0; i < f->nexus_count; i++) {
		assert_true(f->nexuses[i].gone);
		if (f->nexuses[i].own_view)
			fx_on_loop(f, 0, view_destroy, f->nexuses[i].view);
	}
	for (unsigned i = 0; i < f->lu_count; i++)
		fx_end_lu(f, i);
	scsi_core_destroy(f->core);
	loop_sim_destroy(f->world);
}

/* ---- commands -------------------------------------------------------------------------------- */

struct fx_cmd *
fx_cmd(struct fx_nexus *n, uint16_t lun, const void *cdb, size_t cdb_len, const void *out,
    size_t out_len, size_t in_cap)
{
	static uint64_t tag;
	assert_true(cdb_len >= 6 && cdb_len <= SCSI_CDB_MAX_BYTES);
	struct fx_cmd *c = calloc(1, sizeof *c);
	assert_non_null(c);
	/* What the transport doesn't set has any value. */
	memset(&c->task, 0xa5, sizeof c->task);
	c->nexus = n;
	c->out = out;
	c->out_len = out_len;
	c->in = malloc(in_cap > 0 ? in_cap : 1);
	assert_non_null(c->in);
	c->task.tag = ++tag;
	memset(c->task.lun, 0, 8);
	store_be16(c->task.lun, lun <= 255 ? lun : (uint16_t)(0x4000u | lun));
	memset(c->task.cdb, 0, sizeof c->task.cdb);
	memcpy(c->task.cdb, cdb, cdb_len);
	/* Transports carry 16 bytes at least. */
	c->task.cdb_len = (uint8_t)(cdb_len < 16 ? 16 : cdb_len);
	c->task.attr = SCSI_SIMPLE;
	c->task.priority = 0;
	c->task.immediate = false;
	c->task.no_wait = false;
	c->task.out_bytes = (uint32_t)out_len;
	c->task.out_data = NULL;
	c->task.in_bytes = (uint32_t)in_cap;
	list_push_back(&n->f->cmds, &c->link);
	return c;
}

static void
give_data(void *ctx)
{
	struct fx_cmd *c = ctx;
	assert_true(c->wanted && !c->done);
	assert_true(c->task.data_out_len <= c->out_len);
	blk_sg_copy_in(&c->task.sg, 0, c->out, c->task.data_out_len);
	scsi_task_data_ready(&c->task, c->data_result);
}

void
fx_give_data(struct fx_cmd *c)
{
	fx_on_loop(c->nexus->f, c->nexus->loop, give_data, c);
}

static void
want_data(struct scsi_task *t)
{
	struct fx_cmd *c = container_of(t, struct fx_cmd, task);
	assert_false(c->wanted || c->taken);
	c->wanted = true;
	assert_true(t->data_out_len > 0 && t->data_out_len <= t->out_bytes);
	if (!c->hold_data)
		give_data(c);
}

static void
release(void *ctx)
{
	struct fx_cmd *c = ctx;
	assert_true(c->done && !c->released);
	c->released = true;
	scsi_task_release(&c->task);
}

void
fx_release(struct fx_cmd *c)
{
	fx_on_loop(c->nexus->f, c->nexus->loop, release, c);
}

static __thread bool in_submit;

static void
task_done(struct scsi_task *t)
{
	struct fx_cmd *c = container_of(t, struct fx_cmd, task);
	struct fx *f = c->nexus->f;
	assert_true(c->started && !c->done); /* once */
	assert_false(in_submit);             /* never inside */
	assert_true(loop_is_current(f->loops[c->nexus->loop]));
	c->done = true;
	c->nexus->in_flight--;
	c->aborted = t->aborted;
	c->status = t->status;
	c->sense_len = t->sense_len;
	memcpy(c->sense, t->sense, t->sense_len);
	c->xfer_bytes = t->xfer_bytes;
	c->data_out_len = t->data_out_len;
	assert_true(t->data_in_len <= t->in_bytes);
	if (t->data_in_len > 0 && !t->aborted)
		blk_sg_copy_out(&t->sg, 0, c->in, t->data_in_len);
	c->in_len = t->data_in_len;
	c->done_at_step = ++f->done_count;
	if (!c->hold_release)
		release(c);
	if (c->on_done != NULL)
		c->on_done(c);
}

static const struct scsi_transport_ops transport = {.want_data = want_data, .done = task_done};

static void
start(void *ctx)
{
	struct fx_cmd *c = ctx;
	assert_false(c->started);
	assert_non_null(c->nexus->n);
	c->started = true;
	c->nexus->in_flight++;
	c->task.nexus = c->nexus->n;
	c->task.ops = &transport;
	uint8_t *passing = NULL;
	if (c->with_command) {
		passing = malloc(c->out_len);
		assert_non_null(passing);
		memcpy(passing, c->out, c->out_len);
		c->task.out_data = passing;
	}
	bool was = in_submit;
	in_submit = true;
	enum scsi_submit r = scsi_task_submit(&c->task);
	if (c->with_command) {
		memset(passing, 0xee, c->out_len);
		free(passing);
		assert_true(r != SCSI_WANT_DATA);
	}
	c->taken = r == SCSI_TOOK_DATA;
	if (r == SCSI_WANT_DATA)
		want_data(&c->task);
	in_submit = was;
}

void
fx_start(struct fx_cmd *c)
{
	fx_on_loop(c->nexus->f, c->nexus->loop, start, c);
}

void
fx_start_here(struct fx_cmd *c)
{
	start(c);
}

struct fx_cmd *
fx_exec(struct fx_nexus *n, uint16_t lun, const void *cdb, size_t cdb_len, const void *out,
    size_t out_len, size_t in_cap)
{
	struct fx_cmd *c = fx_cmd(n, lun, cdb, cdb_len, out, out_len, in_cap);
	fx_start(c);
	fx_run(n->f);
	assert_true(c->done);
	return c;
}

void
fx_cmd_free(struct fx_cmd *c)
{
	if (c->done && !c->released)
		fx_release(c);
	assert_true(!c->started || c->released);
	list_remove(&c->link);
	free(c->in);
	free(c);
}

/* ---- task management ------------------------------------------------------------------------- */

static void
tmf_done(struct scsi_tmf_req *r)
{
	struct fx_tmf *t = container_of(r, struct fx_tmf, req);
	assert_false(t->done || in_submit);
	t->done = true;
	t->done_at_step = ++t->nexus->f->done_count;
}

static void
tmf_start(void *ctx)
{
	struct fx_tmf *t = ctx;
	in_submit = true;
	scsi_tmf_submit(&t->req);
	in_submit = false;
}

void
fx_tmf_start(
    struct fx_tmf *t, struct fx_nexus *n, enum scsi_tmf function, uint16_t lun, uint64_t tag)
{
	memset(t, 0, sizeof *t);
	t->nexus = n;
	t->req.nexus = n->n;
	t->req.function = function;
	store_be16(t->req.lun, lun <= 255 ? lun : (uint16_t)(0x4000u | lun));
	t->req.tag = tag;
	t->req.done = tmf_done;
	fx_on_loop(n->f, n->loop, tmf_start, t);
}

enum scsi_tmf_response
fx_tmf(struct fx_nexus *n, enum scsi_tmf function, uint16_t lun, uint64_t tag, bool *ret_found)
{
	struct fx_tmf t;
	fx_tmf_start(&t, n, function, lun, tag);
	fx_run(n->f);
	assert_true(t.done);
	if (ret_found != NULL)
		*ret_found = t.req.task_found;
	return t.req.response;
}

/* ---- sense ----------------------------------------------------------------------------------- */

int
fx_sense(const struct fx_cmd *c)
{
	const uint8_t *s = c->sense;
	if (c->status != SCSI_CHECK_CONDITION || c->sense_len < 8)
		return -1;
	switch (s[0] & 0x7f) {
	case 0x70:
		assert_true(c->sense_len >= 14 && s[7] == c->sense_len - 8);
		return FX_SENSE(s[2] & 0xf, s[12], s[13]);
	case 0x72:
		assert_int_equal(s[7], c->sense_len - 8);
		return FX_SENSE(s[1] & 0xf, s[2], s[3]);
	default:
		return -1;
	}
}

/* The descriptor of a type, or NULL. */
static const uint8_t *
descriptor(const struct fx_cmd *c, uint8_t type)
{
	for (size_t at = 8; at + 2 <= c->sense_len; at += 2u + c->sense[at + 1]) {
		if (c->sense[at] == type)
			return c->sense + at;
	}
	return NULL;
}

int
fx_sense_field(const struct fx_cmd *c, int *ret_bit)
{
	const uint8_t *sks = NULL;
	*ret_bit = -1;
	if (c->sense_len >= 18 && (c->sense[0] & 0x7f) == 0x70) {
		sks = c->sense + 15;
	} else if (c->sense_len > 8 && (c->sense[0] & 0x7f) == 0x72) {
		const uint8_t *d = descriptor(c, 2);
		sks = d != NULL ? d + 4 : NULL;
	}
	if (sks == NULL || (sks[0] & 0x80) == 0)
		return -1;
	if ((sks[0] & 0x08) != 0)
		*ret_bit = sks[0] & 7;
	return load_be16(sks + 1);
}

bool
fx_sense_info(const struct fx_cmd *c, uint64_t *ret)
{
	if (c->sense_len >= 18 && c->sense[0] == 0xf0) {
		*ret = load_be32(c->sense + 3);
		return true;
	}
	if (c->sense_len > 8 && (c->sense[0] & 0x7f) == 0x72) {
		const uint8_t *d = descriptor(c, 0);
		if (d != NULL && (d[2] & 0x80) != 0) {
			*ret = load_be64(d + 4);
			return true;
		}
	}
	return false;
}

/* ---- commands that nearly every test needs ----------------------------------------------------- */

struct fx_cmd *
fx_tur(struct fx_nexus *n, uint16_t lun)
{
	static const uint8_t cdb[6] = {0};
	return fx_exec(n, lun, cdb, 6, NULL, 0, 0);
}

struct fx_cmd *
fx_rw16_cmd(
    struct fx_nexus *n, uint16_t lun, bool write, uint64_t lba, uint32_t blocks, const void *data)
{
	size_t len = (size_t)blocks << 9;
	if (lun < n->f->lu_count && blk_get_info(n->f->blks[lun])->block_bytes == 4096)
		len = (size_t)blocks << 12;
	uint8_t cdb[16] = {write ? 0x8a : 0x88};
	store_be64(cdb + 2, lba);
	store_be32(cdb + 10, blocks);
	return fx_cmd(n, lun, cdb, 16, data, write ? len : 0, write ? 0 : len);
}

struct fx_cmd *
fx_read16(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks)
{
	struct fx_cmd *c = fx_rw16_cmd(n, lun, false, lba, blocks, NULL);
	fx_start(c);
	fx_run(n->f);
	assert_true(c->done);
	return c;
}

struct fx_cmd *
fx_write16(struct fx_nexus *n, uint16_t lun, uint64_t lba, uint32_t blocks, const void *data)
{
	struct fx_cmd *c = fx_rw16_cmd(n, lun, true, lba, blocks, data);
	fx_start(c);
	fx_run(n->f);
	assert_true(c->done);
	return c;
}
