/* SPDX-License-Identifier: BSD-2-Clause */
/* Single operations: their CDBs, and what may come of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/workload.h"

#define ANSWER_NS_MAX (5ull * 1000000000) /* simulated; the delays are microseconds */
#define WINDOW_NS_MAX (60ull * 1000000000)
#define WRITE_EXCLUSIVE_REGISTRANTS 5
#define OTHER_IN_MAX 512u

static uint64_t
now(const struct actor *a)
{
	return loop_sim_now_ns(a->run->world->sim);
}

/* ---- resets that end commands of others without a word ------------------------------------------ */

static void
mark_all(struct sim_run *r, uint8_t lun)
{
	for (unsigned i = 0; i < r->cfg.actors; i++)
		LIST_FOREACH (l, &r->actors[i].busy) {
			struct op *o = container_of(l, struct op, link);
			if (o->cmd.lun == lun)
				o->cmd.maybe_aborted = true;
		}
}

static void
reset_begin(struct sim_run *r, uint8_t lun)
{
	r->resets[lun]++;
	mark_all(r, lun);
}

static void
reset_end(struct actor *a, uint8_t lun, bool lost)
{
	if (lost) {
		a->resets_lost[lun]++; /* it may happen until the session is gone */
		return;
	}
	mark_all(a->run, lun);
	a->run->resets[lun]--;
}

/* The actor's earlier sessions are gone: nothing of theirs takes effect any more. */
void
op_settle_orphans(struct actor *a)
{
	struct sim_run *r = a->run;

	for (struct list *l; (l = list_pop_front(&a->orphans)) != NULL;) {
		struct orphan *o = container_of(l, struct orphan, link);
		hist_write_end(r->hist, o->write, HIST_MAYBE);
		free(o);
	}
	LIST_FOREACH (l, &a->busy) {
		struct op *o = container_of(l, struct op, link);
		if (o->cmd.ini != a->ini && o->write != NULL)
			hist_write_fence(r->hist, o->write);
	}
	for (uint8_t lun = 0; lun < WORLD_NUMBERS; lun++)
		for (; a->resets_lost[lun] > 0; a->resets_lost[lun]--)
			reset_end(a, lun, false);
	a->registers_lost = 0;
}

/* ---- the end of an operation -------------------------------------------------------------------- */

static void on_done(struct ini_cmd *c, enum ini_end end);

static void
submit(struct op *o)
{
	struct actor *a = o->actor;
	struct ini_cmd *c = &o->cmd;

	c->done = on_done;
	c->ctx = o;
	c->maybe_aborted = a->run->resets[c->lun] > 0;
	o->aborting = false;
	o->fence = a->fence;
	if (o->reading)
		hist_read_begin(a->run->hist, &o->read);
	list_remove(&o->link);
	list_push_back(&a->busy, &o->link);
	sim_say(now(a), "%s: op %d unit %u %u+%u starts%s%" PRIu64, a->label, (int)o->kind, c->lun,
	    o->lba, o->count, o->write != NULL ? ", stamp " : ", number ",
	    o->write != NULL ? o->write->stamp : a->run->stats.ended);
	ini_submit(a->ini, c);
}

static void
finish(struct op *o)
{
	struct actor *a = o->actor;
	free(o->buf);
	o->buf = NULL;
	list_remove(&o->link);
	list_push_back(&a->idle, &o->link);
	a->run->stats.ended++;
	actor_fill(a);
}

/* Did an answer other than GOOD say that nothing was done? */
static bool
refused(const struct ini_cmd *c)
{
	if (c->status != SCSI_CHECK_CONDITION)
		return true; /* RESERVATION CONFLICT, BUSY, TASK SET FULL */
	/* UNIT ATTENTION, ILLEGAL REQUEST, DATA PROTECT, MISCOMPARE */
	return c->key == 6 || c->key == 5 || c->key == 7 || c->key == 0xe;
}

static void
count(struct sim_run *r, const struct ini_cmd *c, enum ini_end end)
{
	struct workload_stats *s = &r->stats;
	if (end == INI_ABORTED)
		s->aborted++;
	else if (end == INI_LOST)
		s->lost++;
	else if (c->status == SCSI_GOOD)
		s->good++;
	else if (c->status == SCSI_RESERVATION_CONFLICT)
		s->conflicts++;
	else if (c->status == SCSI_CHECK_CONDITION)
		s->checks++;
	else
		s->busy++;
}

static void
end_write(struct op *o, enum ini_end end)
{
	struct actor *a = o->actor;
	struct hist *h = a->run->hist;
	struct hist_write *w = o->write;
	const struct ini_cmd *c = &o->cmd;

	o->write = NULL;
	if (end == INI_LOST && !(a->ready && c->ini != a->ini)) {
		struct orphan * or = malloc(sizeof * or);
		SIM_CHECK(or != NULL, "out of memory");
		or->write = w;
		list_push_back(&a->orphans, & or->link);
		return;
	}
	if (end != INI_ANSWERED) {
		hist_write_end(h, w, HIST_MAYBE);
		return;
	}
	if (c->lun == 1 && c->status == SCSI_GOOD)
		SIM_CHECK(o->fence == 0 || o->fence != a->fence,
		    "%s was preempted, but its write %" PRIu64 " was answered with GOOD", a->label,
		    w->stamp);
	hist_write_end(h, w,
	    c->status == SCSI_GOOD ? HIST_DONE
	    : refused(c)           ? HIST_NEVER
	                           : HIST_MAYBE);
}

static void
end_count_up(struct op *o, enum ini_end end)
{
	struct sim_run *r = o->actor->run;
	const struct ini_cmd *c = &o->cmd;
	uint32_t i = WORLD_SECTORS - 1 - o->lba;

	if (end == INI_ANSWERED && c->status == SCSI_GOOD) {
		r->count_good[i]++;
		hist_replaced(r->hist, c->lun, o->lba, o->base_stamp);
	} else if (end != INI_ANSWERED || !refused(c)) {
		r->count_maybe[i]++;
	} else if (c->status == SCSI_CHECK_CONDITION && c->key == 0xe) {
		r->stats.misses++;
	}
	end_write(o, end);
}

static void
end_register(struct op *o, enum ini_end end)
{
	struct actor *a = o->actor;

	a->registers_busy--;
	if (end == INI_LOST && !(a->ready && o->cmd.ini != a->ini))
		a->registers_lost++;
	if (end == INI_ANSWERED && o->cmd.status == SCSI_GOOD) {
		/* Only the last one counts: they may have been under way together. */
		a->key = load_be64(o->buf + 8);
	} else {
		a->wants_register = true;
	}
}

/* The victim's registration is gone: what it has under way can't land any more. */
static void
fence(struct actor *v)
{
	struct hist *h = v->run->hist;

	v->fence = ++v->fences;
	v->key = 0;
	v->run->stats.fences++;
	LIST_FOREACH (l, &v->busy) {
		struct op *o = container_of(l, struct op, link);
		if (o->write != NULL && o->cmd.lun == 1)
			hist_write_fence(h, o->write);
	}
	LIST_FOREACH (l, &v->orphans) {
		struct orphan *o = container_of(l, struct orphan, link);
		if (o->write->lun == 1)
			hist_write_fence(h, o->write);
	}
}

static void
end_preempt(struct op *o, enum ini_end end)
{
	struct actor *a = o->actor, *v = o->victim;

	if (o->resets)
		reset_end(a, 1, end == INI_LOST && !(a->ready && o->cmd.ini != a->ini));
	o->resets = false;
	if (end != INI_ANSWERED || o->cmd.status != SCSI_GOOD)
		return;
	a->run->stats.preempts++;
	if (o->victim_registers == v->registers)
		fence(v);
}

/* Continues with COMPARE AND WRITE. False: there is nothing to continue. */
static bool
count_up(struct op *o)
{
	struct actor *a = o->actor;
	struct hist *h = a->run->hist;
	uint64_t number, stamp = hist_new_stamp(h);

	if (!a->ready || a->ini->state != INI_FULL)
		return false;
	o->base_stamp = hist_parse(o->buf, &number);
	o->kind = OP_COUNT_UP;
	o->reading = false;
	struct ini_cmd *c = &o->cmd;
	uint8_t lun = c->lun;
	memset(c, 0, sizeof *c);
	c->lun = lun;
	c->attr = 1;
	c->cdb[0] = 0x89;
	store_be64(c->cdb + 2, o->lba);
	c->cdb[13] = 1;
	hist_fill(o->buf + SECTOR_BYTES, 1, stamp, number + 1);
	c->out = o->buf;
	c->out_len = 2 * SECTOR_BYTES;
	o->write = hist_write_begin(h, a->idx, lun, o->lba, 1, stamp);
	submit(o);
	return true;
}

static void
end_verify(struct op *o, bool good)
{
	struct actor *a = o->actor;
	struct sim_run *r = a->run;
	uint64_t number;

	if (!good) {
		SIM_CHECK(a->verify_tries++ < 100000, "what was written can't be read");
		return;
	}
	a->verify_at++;
	if (o->cmd.lun != 0 || o->lba < WORLD_SECTORS - COUNTERS)
		return;
	uint32_t i = WORLD_SECTORS - 1 - o->lba;
	(void)hist_parse(o->buf, &number);
	SIM_CHECK(number >= r->count_good[i] && number <= r->count_good[i] + r->count_maybe[i],
	    "counter %u is %" PRIu64 " after %" PRIu64 " increments and %" PRIu64 " perhaps", i,
	    number, r->count_good[i], r->count_maybe[i]);
}

static void
on_done(struct ini_cmd *c, enum ini_end end)
{
	struct op *o = c->ctx;
	struct actor *a = o->actor;
	struct sim_run *r = a->run;
	bool good = end == INI_ANSWERED && c->status == SCSI_GOOD;

	count(r, c, end);
	sim_say(now(a), "%s: tag %u op %d unit %u %u+%u ends %d status %02x %x/%02x/%02x", a->label,
	    c->itt, (int)o->kind, c->lun, o->lba, o->count, (int)end, c->status, c->key, c->asc,
	    c->ascq);
	if (o->reading) {
		bool whole = good && c->in_have == o->count * SECTOR_BYTES;
		hist_read_end(r->hist, &o->read, c->lun, o->lba, o->count, whole ? o->buf : NULL);
	}
	if (c->lun == 1 && end == INI_ANSWERED && c->status == SCSI_RESERVATION_CONFLICT)
		a->wants_register = true;
	switch (o->kind) {
	case OP_READ:
		if (r->verifying)
			end_verify(o, good);
		break;
	case OP_WRITE:
		end_write(o, end);
		break;
	case OP_COUNT_READ:
		if (good && count_up(o))
			return;
		break;
	case OP_COUNT_UP:
		end_count_up(o, end);
		break;
	case OP_REGISTER:
		end_register(o, end);
		break;
	case OP_RESERVE:
		r->reserved |= good;
		break;
	case OP_PREEMPT:
		end_preempt(o, end);
		break;
	case OP_OTHER:
		break;
	}
	finish(o);
}

/* ---- the start of an operation ------------------------------------------------------------------ */

static struct op *
op_take(struct actor *a, enum op_kind kind, uint8_t lun, uint32_t buf_bytes)
{
	struct op *o = container_of(list_pop_front(&a->idle), struct op, link);
	static const uint8_t attrs[] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 2, 1, 1, 1, 3};

	memset(&o->cmd, 0, sizeof o->cmd);
	o->kind = kind;
	o->write = NULL;
	o->reading = false;
	o->lba = o->count = 0;
	o->cmd.lun = lun;
	o->cmd.attr = attrs[sim_pick(&a->run->rng, sizeof attrs)];
	o->buf = calloc(1, buf_bytes + 1);
	SIM_CHECK(o->buf != NULL, "out of memory");
	return o;
}

static void
put_range(struct op *o, uint8_t op10, uint8_t op16, bool wide)
{
	uint8_t *cdb = o->cmd.cdb;
	if (wide) {
		cdb[0] = op16;
		store_be64(cdb + 2, o->lba);
		store_be32(cdb + 10, o->count);
	} else {
		cdb[0] = op10;
		store_be32(cdb + 2, o->lba);
		store_be16(cdb + 7, (uint16_t)o->count);
	}
}

static void
pick_range(struct sim_run *r, struct op *o, uint32_t *ret_bytes)
{
	uint32_t max = sim_chance(&r->rng, 75) ? 8 : r->cfg.io_sectors_max;
	o->count = 1 + sim_pick(&r->rng, max);
	o->lba = sim_pick(&r->rng, r->cfg.hot_sectors);
	if (o->lba + o->count > WORLD_SECTORS - COUNTERS)
		o->count = WORLD_SECTORS - COUNTERS - o->lba;
	*ret_bytes = o->count * SECTOR_BYTES;
}

static void
start_read(struct actor *a, uint8_t lun)
{
	struct sim_run *r = a->run;
	struct op *o = op_take(a, OP_READ, lun, r->cfg.io_sectors_max * SECTOR_BYTES + 4096);
	uint32_t bytes;

	pick_range(r, o, &bytes);
	put_range(o, 0x28, 0x88, sim_chance(&r->rng, 50));
	o->cmd.in = o->buf;
	o->cmd.in_cap = bytes;
	if (sim_chance(&r->rng, 3)) /* it takes less than it asks for */
		o->cmd.in_cap = 1 + sim_pick(&r->rng, bytes);
	o->reading = true;
	submit(o);
}

static void
start_write(struct actor *a, uint8_t lun)
{
	struct sim_run *r = a->run;
	struct op *o = op_take(a, OP_WRITE, lun, r->cfg.io_sectors_max * SECTOR_BYTES + 4096);
	uint64_t stamp = hist_new_stamp(r->hist);
	uint32_t bytes;

	pick_range(r, o, &bytes);
	if (sim_chance(&r->rng, 6)) { /* WRITE SAME */
		put_range(o, 0x41, 0x93, sim_chance(&r->rng, 50));
		bytes = SECTOR_BYTES;
	} else {
		put_range(o, 0x2a, 0x8a, sim_chance(&r->rng, 50));
		if (sim_chance(&r->rng, 20))
			o->cmd.cdb[1] |= 0x08; /* FUA */
	}
	hist_fill(o->buf, bytes / SECTOR_BYTES, stamp, 0);
	o->cmd.out = o->buf;
	o->cmd.out_len = bytes;
	o->write = hist_write_begin(r->hist, a->idx, lun, o->lba, o->count, stamp);
	submit(o);
}

static void
start_count(struct actor *a)
{
	struct op *o = op_take(a, OP_COUNT_READ, 0, 2 * SECTOR_BYTES);
	o->count = 1;
	o->lba = WORLD_SECTORS - 1 - sim_pick(&a->run->rng, COUNTERS);
	put_range(o, 0x28, 0x88, true);
	o->cmd.in = o->buf;
	o->cmd.in_cap = SECTOR_BYTES;
	o->reading = true;
	submit(o);
}

static struct op *
take_pr_out(struct actor *a, enum op_kind kind, uint8_t action, uint64_t key, uint64_t action_key)
{
	struct op *o = op_take(a, kind, 1, 24);
	o->cmd.cdb[0] = 0x5f;
	o->cmd.cdb[1] = action;
	o->cmd.cdb[2] = WRITE_EXCLUSIVE_REGISTRANTS;
	o->cmd.cdb[8] = 24;
	store_be64(o->buf, key);
	store_be64(o->buf + 8, action_key);
	o->cmd.out = o->buf;
	o->cmd.out_len = 24;
	return o;
}

static void
start_register(struct actor *a)
{
	uint64_t key = (uint64_t)(a->idx + 1) << 32 | ++a->keys;

	/* A command that PREEMPT kept from running may run once its initiator is registered again. */
	LIST_FOREACH (l, &a->busy) {
		struct op *o = container_of(l, struct op, link);
		if (a->fence != 0 && o->write != NULL && o->cmd.lun == 1 && o->cmd.ini == a->ini)
			hist_write_reopen(a->run->hist, o->write);
	}
	a->wants_register = false;
	a->fence = 0;
	a->registers++;
	a->registers_busy++;
	submit(take_pr_out(a, OP_REGISTER, 0x06, 0, key)); /* REGISTER AND IGNORE EXISTING KEY */
}

/* False: nobody to preempt. */
static bool
start_preempt(struct actor *a)
{
	struct sim_run *r = a->run;
	struct actor *v = &r->actors[sim_pick(&r->rng, r->cfg.actors)];
	bool and_abort = sim_chance(&r->rng, 40);

	if (!r->reserved || a->key == 0 || v == a || v->key == 0)
		return false;
	struct op *o = take_pr_out(a, OP_PREEMPT, and_abort ? 0x05 : 0x04, a->key, v->key);
	o->victim = v;
	/* With a registration of the victim's under way nobody can tell which came first. */
	o->victim_registers =
	    v->registers_busy + v->registers_lost == 0 ? v->registers : UINT64_MAX;
	o->resets = and_abort;
	if (and_abort)
		reset_begin(r, 1);
	submit(o);
	return true;
}

static void
start_other(struct actor *a)
{
	static const uint8_t cdbs[][16] = {
	    {0x00},                                            /* TEST UNIT READY */
	    {0x12, 0, 0, 0, 255},                              /* INQUIRY */
	    {0x12, 1, 0x83, 0, 255},                           /* device identification */
	    {0xa0, 0, 0, 0, 0, 0, 0, 0, 2, 0},                 /* REPORT LUNS */
	    {0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0},                 /* MODE SENSE(10) */
	    {0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, /* READ CAPACITY(16) */
	    {0x35},                                            /* SYNCHRONIZE CACHE */
	    {0x5e, 0, 0, 0, 0, 0, 0, 2, 0},                    /* READ KEYS */
	    {0x03, 0, 0, 0, 252},                              /* REQUEST SENSE */
	    {0xff},                                            /* no such command */
	};
	struct op *o =
	    op_take(a, OP_OTHER, (uint8_t)sim_pick(&a->run->rng, WORLD_LUNS), OTHER_IN_MAX);
	uint32_t i = sim_pick(&a->run->rng, sizeof cdbs / sizeof cdbs[0]);

	memcpy(o->cmd.cdb, cdbs[i], 16);
	o->cmd.in = o->buf;
	o->cmd.in_cap = i == 0 || i == 6 ? 0 : 1 + sim_pick(&a->run->rng, OTHER_IN_MAX);
	submit(o);
}

/* On the unit that comes and goes: what is there is nobody's, that it is answered is enough. */
static void
start_spare(struct actor *a)
{
	struct sim_run *r = a->run;
	struct op *o =
	    op_take(a, OP_OTHER, WORLD_SPARE, r->cfg.io_sectors_max * SECTOR_BYTES + 4096);
	uint32_t bytes;

	pick_range(r, o, &bytes);
	o->lba %= 512;
	bool write = sim_chance(&r->rng, 50);
	put_range(o, write ? 0x2a : 0x28, write ? 0x8a : 0x88, sim_chance(&r->rng, 50));
	if (write) {
		o->cmd.out = o->buf;
		o->cmd.out_len = bytes;
	} else {
		o->cmd.in = o->buf;
		o->cmd.in_cap = bytes;
	}
	submit(o);
}

void
op_start(struct actor *a)
{
	struct sim_run *r = a->run;
	if (r->cfg.change_us > 0 && sim_chance(&r->rng, 8)) {
		start_spare(a);
		return;
	}
	uint32_t p = sim_pick(&r->rng, 100);

	if (a->wants_register && a->registers_busy == 0 && sim_chance(&r->rng, 30))
		start_register(a);
	else if (a->idx == 0 && !r->reserved && a->key != 0 && sim_chance(&r->rng, 50))
		submit(take_pr_out(a, OP_RESERVE, 0x01, a->key, 0));
	else if (p < 36)
		start_write(a, 0);
	else if (p < 64)
		start_read(a, 0);
	else if (p < 72)
		start_count(a);
	else if (p < 82)
		start_write(a, 1);
	else if (p < 90)
		start_read(a, 1);
	else if (p >= 93 || !start_preempt(a))
		start_other(a);
}

/* Reads what the others left: both units twice, and the counters. */
void
op_start_verify(struct actor *a)
{
	struct sim_run *r = a->run;
	const uint32_t chunk = 8, area = r->cfg.hot_sectors + r->cfg.io_sectors_max;
	uint32_t chunks = (area + chunk - 1) / chunk, at = a->verify_at;

	struct op *o = op_take(a, OP_READ, 0, chunk * SECTOR_BYTES);
	if (at < 4 * chunks) {
		o->cmd.lun = (uint8_t)(at / chunks % WORLD_LUNS);
		o->lba = at % chunks * chunk;
		o->count = chunk;
	} else if (at < 4 * chunks + COUNTERS) {
		o->lba = WORLD_SECTORS - 1 - (at - 4 * chunks);
		o->count = 1;
	} else {
		free(o->buf);
		o->buf = NULL;
		list_push_back(&a->idle, &o->link);
		r->finished = true;
		return;
	}
	put_range(o, 0x28, 0x88, false);
	o->cmd.in = o->buf;
	o->cmd.in_cap = o->count * SECTOR_BYTES;
	o->reading = true;
	submit(o);
}

/* ---- task management ---------------------------------------------------------------------------- */

static bool
managing(const struct actor *a)
{
	for (unsigned i = 0; i < sizeof a->tmfs / sizeof a->tmfs[0]; i++)
		if (a->tmfs[i].busy && a->tmfs[i].tmf.function != ISCSI_TMF_QUERY_TASK)
			return true;
	return false;
}

static void
on_tmf_done(struct ini_tmf *m, bool lost)
{
	struct tmf_op *t = m->ctx;
	struct actor *a = t->actor;
	bool rejected = m->response == ISCSI_TMF_RSP_REJECTED;
	bool no_unit = a->run->cfg.change_us > 0 && m->response == ISCSI_TMF_RSP_NO_LUN;

	sim_say(now(a), "%s: function %u tag %u ends, response %u%s", a->label, m->function, m->itt,
	    m->response, lost ? ", lost" : "");
	t->busy = false;
	if (t->resets) {
		bool all = m->function == ISCSI_TMF_TARGET_WARM_RESET;
		for (uint8_t lun = 0; lun < WORLD_NUMBERS; lun++)
			if (all || lun == m->lun)
				reset_end(a, lun, lost && !a->ready);
	}
	if (lost) {
		actor_fill(a);
		return;
	}
	struct ini_cmd *c = m->cmd_found ? m->cmd : NULL;
	bool gone = m->function == ISCSI_TMF_ABORT_TASK ? m->response == ISCSI_TMF_RSP_NO_TASK
	                                                : m->response == ISCSI_TMF_RSP_COMPLETE;
	switch (m->function) {
	case ISCSI_TMF_ABORT_TASK:
		SIM_CHECK(gone || rejected || no_unit || m->response == ISCSI_TMF_RSP_COMPLETE,
		    "%s: ABORT TASK answered with %u", a->label, m->response);
		if (c != NULL && gone) {
			SIM_CHECK(c->maybe_aborted, "%s: tag %u was lost by the target", a->label,
			    c->itt);
			ini_cmd_finish(c, INI_ABORTED);
		}
		if (c != NULL && (rejected || no_unit))
			t->op->aborting = false;
		break;
	case ISCSI_TMF_QUERY_TASK:
		if (t->level < 2) {
			SIM_CHECK(rejected || m->response == ISCSI_TMF_RSP_NOT_SUPPORTED,
			    "%s: QUERY TASK answered with %u", a->label, m->response);
			break;
		}
		/* …unless another function is ending it at the moment. */
		SIM_CHECK(c == NULL || !gone || c->maybe_aborted || managing(a),
		    "%s: tag %u isn't there, says QUERY TASK", a->label, m->ref_itt);
		break;
	default:
		SIM_CHECK(rejected || no_unit || m->response == ISCSI_TMF_RSP_COMPLETE,
		    "%s: function %u answered with %u", a->label, m->function, m->response);
		break;
	}
	actor_fill(a);
}

static void
manage(struct actor *a, uint8_t function, uint8_t lun, struct op *o)
{
	struct sim_run *r = a->run;
	struct tmf_op *t = NULL;

	for (unsigned i = 0; i < sizeof a->tmfs / sizeof a->tmfs[0]; i++)
		if (!a->tmfs[i].busy)
			t = &a->tmfs[i];
	if (t == NULL)
		return;
	memset(t, 0, sizeof *t);
	t->actor = a;
	t->op = o;
	t->busy = true;
	t->started_ns = now(a);
	t->level = a->ini->agreed.protocol_level;
	t->tmf = (struct ini_tmf){
	    .function = function,
	    .lun = lun,
	    .cmd = o != NULL ? &o->cmd : NULL,
	    .immediate = sim_chance(&r->rng, 80),
	    .done = on_tmf_done,
	    .ctx = t,
	};
	t->resets = function == ISCSI_TMF_LU_RESET || function == ISCSI_TMF_TARGET_WARM_RESET;
	if (t->resets)
		for (uint8_t u = 0; u < WORLD_NUMBERS; u++)
			if (u == lun || function == ISCSI_TMF_TARGET_WARM_RESET)
				reset_begin(r, u);
	if (o != NULL && function == ISCSI_TMF_ABORT_TASK)
		o->aborting = true;
	r->stats.tmfs++;
	ini_manage(a->ini, &t->tmf);
	sim_say(now(a), "%s: function %u unit %u tag %u, for tag %u", a->label, function, lun,
	    t->tmf.itt, o != NULL ? o->cmd.itt : 0);
}

static struct op *
pick_busy(struct actor *a)
{
	uint32_t n = 0;
	LIST_FOREACH (l, &a->busy)
		n++;
	n = n > 0 ? sim_pick(&a->run->rng, n) : 0;
	LIST_FOREACH (l, &a->busy) {
		struct op *o = container_of(l, struct op, link);
		if (n-- == 0 && o->cmd.on_wire && o->cmd.ini == a->ini && !o->aborting)
			return o;
	}
	return NULL;
}

void
op_trouble(struct actor *a)
{
	struct sim_run *r = a->run;
	struct op *o = pick_busy(a);
	uint8_t lun = (uint8_t)sim_pick(&r->rng, WORLD_LUNS);
	uint32_t p = sim_pick(&r->rng, 100);

	if (p < 40) {
		if (o != NULL)
			manage(a, ISCSI_TMF_ABORT_TASK, o->cmd.lun, o);
	} else if (p < 46) {
		if (o != NULL)
			manage(a, ISCSI_TMF_QUERY_TASK, o->cmd.lun, o);
	} else if (p < 56) {
		manage(a, ISCSI_TMF_ABORT_TASK_SET, lun, NULL);
	} else if (p < 61) {
		manage(a, ISCSI_TMF_CLEAR_TASK_SET, lun, NULL);
	} else if (p < 71) {
		manage(a, ISCSI_TMF_LU_RESET, lun, NULL);
	} else if (p < 74) {
		manage(a, ISCSI_TMF_TARGET_WARM_RESET, 0, NULL);
	} else if (p < 82) {
		ini_nop(a->ini);
	} else if (p < 86) {
		loop_sim_sock_reset(a->ini->sock);
	} else if (p < 90) {
		ini_close(a->ini, sim_chance(&r->rng, 50));
	} else if (p < 95) {
		ini_logout(a->ini);
	} else {
		actor_reconnect(a); /* while the old session lives: it is reinstated */
	}
}

/* Nothing may stay unanswered, but for what somebody else's reset ended: that is aborted. */
void
op_check_times(struct actor *a)
{
	uint64_t t = now(a);

	LIST_FOREACH_SAFE (l, &a->busy) {
		struct op *o = container_of(l, struct op, link);
		uint64_t age = t - o->cmd.started_ns;
		SIM_CHECK(age < WINDOW_NS_MAX,
		    "%s: tag %u (sent: %d) isn't answered for %" PRIu64 " s", a->label, o->cmd.itt,
		    o->cmd.on_wire, age / 1000000000);
		if (age < ANSWER_NS_MAX || !o->cmd.on_wire || o->aborting || !a->ready ||
		    o->cmd.ini != a->ini)
			continue;
		SIM_CHECK(o->cmd.maybe_aborted, "%s: tag %u, op %d, unit %u, is never answered",
		    a->label, o->cmd.itt, (int)o->kind, o->cmd.lun);
		manage(a, ISCSI_TMF_ABORT_TASK, o->cmd.lun, o);
	}
	for (unsigned i = 0; i < sizeof a->tmfs / sizeof a->tmfs[0]; i++)
		SIM_CHECK(!a->tmfs[i].busy || t - a->tmfs[i].started_ns < ANSWER_NS_MAX,
		    "%s: function %u (tag %u) is never answered", a->label, a->tmfs[i].tmf.function,
		    a->tmfs[i].tmf.itt);
}
