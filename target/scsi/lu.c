/* SPDX-License-Identifier: BSD-2-Clause */
/* Logical units: identity, the copies that the loops have, events of the store, the end. */
#include "scsi/scsi_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t zeros[16];

/* The revision: major.minor of the version, at most four characters. */
static const char *
default_revision(char buf[5])
{
	snprintf(buf, 5, "%.4s", TERRACE_VERSION);
	if (buf[3] == '.')
		buf[3] = '\0';
	return buf;
}

/*
 * NAA IEEE Registered Extended (6h) with a locally administered company id (02-54-45, the U/L bit
 * set), then 100 bits of the uuid: its first 28 bits are folded into the last ones.
 */
static void
naa_from_uuid(const uint8_t uuid[16], uint8_t naa[16])
{
	memcpy(naa, uuid, 16);
	for (unsigned i = 0; i < 4; i++)
		naa[12 + i] ^= uuid[i];
	naa[0] = 0x60;
	naa[1] = 0x25;
	naa[2] = 0x44;
	naa[3] = (uint8_t)(0x50 | (uuid[3] & 0x0f));
}

static int
own_strings(struct scsi_lu *lu, const struct scsi_lu_args *a)
{
	char hex[33], rev[5];
	for (unsigned i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", a->uuid[i]);
	const char *serial = a->serial != NULL ? a->serial : hex;
	lu->id.name = strdup(a->name != NULL ? a->name : hex);
	lu->id.serial = strdup(serial);
	lu->id.t10_id = strdup(a->t10_id != NULL ? a->t10_id : serial);
	lu->id.vendor = strdup(a->vendor != NULL ? a->vendor : lu->core->vendor);
	lu->id.product = strdup(a->product != NULL ? a->product : "VIRTUAL-DISK");
	lu->id.revision = strdup(a->revision != NULL ? a->revision : default_revision(rev));
	if (lu->id.name == NULL || lu->id.serial == NULL || lu->id.t10_id == NULL ||
	    lu->id.vendor == NULL || lu->id.product == NULL || lu->id.revision == NULL)
		return -ENOMEM;
	return 0;
}

static void
free_string(const char *s)
{
	free((void *)(uintptr_t)s);
}

static void
lu_free(struct scsi_lu *lu)
{
	for (unsigned i = 0; lu->ll != NULL && i < lu->core->loop_count; i++) {
		if (lu->ll[i].pr != NULL)
			scsi_pr_destroy(lu->ll[i].pr);
		free(lu->ll[i].heat);
	}
	if (lu->pr_master != NULL)
		scsi_pr_destroy(lu->pr_master);
	free_string(lu->id.name);
	free_string(lu->id.serial);
	free_string(lu->id.t10_id);
	free_string(lu->id.vendor);
	free_string(lu->id.product);
	free_string(lu->id.revision);
	free(lu->events);
	free(lu->ll);
	free(lu);
}

static bool
identity_taken(const struct scsi_core *c, const struct scsi_lu *lu)
{
	LIST_FOREACH (l, &c->lus) {
		const struct scsi_lu *o = container_of(l, struct scsi_lu, link);
		if (memcmp(o->id.uuid, lu->id.uuid, 16) == 0 ||
		    (lu->id.naa_bytes > 0 && o->id.naa_bytes == lu->id.naa_bytes &&
		        memcmp(o->id.naa, lu->id.naa, lu->id.naa_bytes) == 0) ||
		    strcmp(o->id.serial, lu->id.serial) == 0)
			return true;
		if (memcmp(lu->id.eui64, zeros, 8) != 0 &&
		    memcmp(o->id.eui64, lu->id.eui64, 8) == 0)
			return true;
	}
	return false;
}

static bool
args_fit(const struct scsi_lu_args *a)
{
	const struct blk_info *bi = blk_get_info(a->blk);
	if ((a->block_bytes != 512 && a->block_bytes != 4096) || a->block_bytes < bi->block_bytes)
		return false;
	if (bi->size_bytes < a->block_bytes)
		return false;
	if (a->physical_exponent > 15 && a->physical_exponent != 0xff)
		return false;
	if (a->naa_bytes != 0 && a->naa_bytes != 8 && a->naa_bytes != 16)
		return false;
	return (a->vendor == NULL || strlen(a->vendor) <= 8) &&
	       (a->product == NULL || strlen(a->product) <= 16) &&
	       (a->revision == NULL || strlen(a->revision) <= 4);
}

struct scsi_mode
scsi_lu_default_mode(const struct scsi_lu *lu)
{
	return (struct scsi_mode){.wce = lu->id.volatile_cache};
}

void
scsi_lu_refresh(struct scsi_lu_loop *ll)
{
	const struct scsi_lu_state *st = &ll->st;
	ll->special = st->gone || st->stopped || st->ejected || st->formatting || st->sanitizing ||
	              st->sanitize_failed || st->mode.swp;
}

static void
unblock_run(struct loop_defer *d)
{
	scsi_unblock_now(container_of(d, struct scsi_lu_loop, unblock));
}

static int
loops_init(struct scsi_lu *lu)
{
	struct scsi_core *c = lu->core;
	/* Each loop's part on its own cache lines. */
	lu->ll = aligned_alloc(64, c->loop_count * sizeof *lu->ll);
	if (lu->ll == NULL)
		return -ENOMEM;
	memset(lu->ll, 0, c->loop_count * sizeof *lu->ll);
	for (unsigned i = 0; i < c->loop_count; i++) {
		struct scsi_lu_loop *ll = &lu->ll[i];
		ll->lu = lu;
		ll->loop = c->loops[i];
		ll->st.blocks = blk_get_info(lu->blk)->size_bytes >> lu->block_shift;
		ll->st.gone = blk_get_state(lu->blk) == BLK_GONE;
		ll->st.mode = scsi_lu_default_mode(lu);
		ll->st.read_only = lu->read_only_set;
		list_init(&ll->running);
		list_init(&ll->blocked);
		list_init(&ll->locks);
		list_init(&ll->nexus_lus);
		list_init(&ll->abort_waits);
		list_init(&ll->guests);
		loop_defer_init(&ll->unblock, unblock_run);
		scsi_lu_refresh(ll);
		ll->pr = scsi_pr_create();
		ll->heat = calloc(1, sizeof *ll->heat);
		if (ll->pr == NULL || ll->heat == NULL)
			return -ENOMEM;
		ll->heat->shift = scsi_heat_shift(ll->st.blocks);
	}
	return 0;
}

static void
capabilities(struct scsi_lu *lu, const struct scsi_lu_args *a)
{
	const struct blk_info *bi = blk_get_info(a->blk);
	lu->block_shift = (uint32_t)__builtin_ctz(a->block_bytes);
	lu->caps = bi->caps;
	lu->thin = a->thin && (bi->caps & BLK_CAP_UNMAP) != 0;
	lu->sanitize = a->sanitize && (bi->caps & BLK_CAP_SANITIZE) != 0;
	lu->read_only_set = a->read_only || (bi->caps & BLK_CAP_READ_ONLY) != 0;
	lu->physical_exponent = a->physical_exponent;
	if (a->physical_exponent == 0xff) {
		uint32_t phys =
		    bi->physical_bytes > a->block_bytes ? bi->physical_bytes : a->block_bytes;
		lu->physical_exponent = (uint8_t)(31 - __builtin_clz(phys) - (int)lu->block_shift);
	}
}

static int events_init(struct scsi_lu *lu);

int
scsi_lu_create(struct scsi_core *c, const struct scsi_lu_args *args, struct scsi_lu **ret)
{
	ASSERT(scsi_loop_index(c) == 0 && args->blk != NULL);
	if (!args_fit(args))
		return -EINVAL;
	struct scsi_lu *lu = calloc(1, sizeof *lu);
	if (lu == NULL)
		return -ENOMEM;
	lu->core = c;
	lu->blk = args->blk;
	lu->id = *args;
	list_init(&lu->link);
	list_init(&lu->changes);
	capabilities(lu, args);
	if (lu->id.naa_bytes == 0)
		lu->id.naa_bytes = sizeof lu->id.naa;
	if (lu->id.no_naa)
		lu->id.naa_bytes = 0;
	else if (memcmp(lu->id.naa, zeros, 16) == 0)
		naa_from_uuid(lu->id.uuid, lu->id.naa);
	int err = own_strings(lu, args);
	if (err == 0)
		err = identity_taken(c, lu) ? -EEXIST : loops_init(lu);
	if (err == 0) {
		lu->pr_master = scsi_pr_create();
		err = lu->pr_master == NULL ? -ENOMEM : events_init(lu);
	}
	if (err < 0) {
		lu_free(lu);
		return err;
	}
	list_push_back(&c->lus, &lu->link);
	*ret = lu;
	return 0;
}

unsigned
scsi_lu_naa(const struct scsi_lu *lu, uint8_t ret[16])
{
	memcpy(ret, lu->id.naa, lu->id.naa_bytes);
	return lu->id.naa_bytes;
}

const char *
scsi_lu_name(const struct scsi_lu *lu)
{
	return lu->id.name;
}

struct blk *
scsi_lu_blk(const struct scsi_lu *lu)
{
	return lu->blk;
}

/* ---- events of the store: the state is looked up again, so that events may be merged ---------- */

/* Allocated with the unit, so that neither an event nor the end can fail. */
struct scsi_lu_events {
	struct scsi_lu *lu;
	struct scsi_change change;
	uint64_t blocks; /* as home saw them when the change was decided */
	bool gone;
	bool busy, again;
	struct scsi_change end;
};

static int
events_init(struct scsi_lu *lu)
{
	lu->events = calloc(1, sizeof *lu->events);
	if (lu->events == NULL)
		return -ENOMEM;
	lu->events->lu = lu;
	return 0;
}

static void event_submit(struct scsi_lu_events *e);

static enum scsi_decision
event_decide(struct scsi_change *c)
{
	struct scsi_lu_events *e = container_of(c, struct scsi_lu_events, change);
	e->blocks = blk_get_info(e->lu->blk)->size_bytes >> e->lu->block_shift;
	e->gone = blk_get_state(e->lu->blk) == BLK_GONE;
	return CHANGE_GO;
}

static void
event_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	struct scsi_lu_events *e = container_of(c, struct scsi_lu_events, change);
	if (e->blocks != ll->st.blocks)
		scsi_ua_raise_loop(ll, UA_CAPACITY_CHANGED, NULL);
	/* SPC-4 annex F: NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED. */
	if (ll->st.gone && !e->gone)
		scsi_ua_raise_loop(ll, UA_MEDIUM_CHANGED, NULL);
	ll->st.blocks = e->blocks;
	ll->st.gone = e->gone;
	scsi_heat_follow(ll);
}

static void
event_done(struct scsi_change *c)
{
	struct scsi_lu_events *e = container_of(c, struct scsi_lu_events, change);
	e->busy = false;
	if (e->again && !e->lu->destroying)
		event_submit(e);
}

static void
event_submit(struct scsi_lu_events *e)
{
	e->busy = true;
	e->again = false;
	e->change = (struct scsi_change){
	    .lu = e->lu, .decide = event_decide, .apply = event_apply, .done = event_done};
	scsi_change_submit(&e->change);
}

void
scsi_lu_blk_event(struct scsi_lu *lu, enum blk_event ev)
{
	ASSERT(ev < BLK_EVENT_COUNT);
	ASSERT(loop_is_current(lu->core->loops[0]));
	if (lu->destroying)
		return;
	if (lu->events->busy)
		lu->events->again = true;
	else
		event_submit(lu->events);
}

/* ---- the end ------------------------------------------------------------------------------------ */

/*
 * A last change: behind all others in the queue, and on every loop behind the messages that home
 * sent there before. It also waits until the locks of tasks that are gone have come back.
 */
static void
end_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	(void)c;
	/* In no view, so no nexus and no task. */
	ASSERT(list_empty(&ll->nexus_lus) && list_empty(&ll->running) && list_empty(&ll->blocked));
	loop_defer_cancel(&ll->unblock);
}

static void
end_done(struct scsi_change *c)
{
	struct scsi_lu *lu = container_of(c, struct scsi_lu_events, end)->lu;
	void (*done)(void *ctx) = lu->destroyed;
	void *ctx = lu->destroyed_ctx;
	ASSERT(list_empty(&lu->changes));
	list_remove(&lu->link);
	lu_free(lu);
	if (done != NULL)
		done(ctx);
}

static void
end_submit(struct scsi_lu *lu)
{
	lu->events->end = (struct scsi_change){
	    .lu = lu, .apply = end_apply, .done = end_done, .drain = true, .wait_locks = true};
	scsi_change_submit(&lu->events->end);
}

void
scsi_lu_destroy(struct scsi_lu *lu, void (*done)(void *ctx), void *ctx)
{
	ASSERT(loop_is_current(lu->core->loops[0]) && !lu->destroying);
	lu->destroying = true;
	lu->destroyed = done;
	lu->destroyed_ctx = ctx;
	if (lu->sanitize_job == NULL)
		end_submit(lu);
}

void
scsi_lu_job_ended(struct scsi_lu *lu)
{
	ASSERT(loop_is_current(lu->core->loops[0]) && lu->sanitize_job == NULL);
	if (lu->destroying)
		end_submit(lu);
}

/* ---- what can change -------------------------------------------------------------------------------- */

bool
scsi_lu_read_only(const struct scsi_lu *lu)
{
	ASSERT(scsi_loop_index(lu->core) == 0);
	return lu->read_only_set;
}

struct read_only_change {
	struct scsi_change change;
	bool read_only;
	void (*done)(void *ctx);
	void *ctx;
};

static void
read_only_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	bool read_only = container_of(c, struct read_only_change, change)->read_only;
	if (read_only != ll->st.read_only)
		scsi_ua_raise_loop(ll, UA_MODE_CHANGED, NULL);
	ll->st.read_only = read_only;
}

static void
read_only_done(struct scsi_change *c)
{
	struct read_only_change *rc = container_of(c, struct read_only_change, change);
	void (*done)(void *ctx) = rc->done;
	void *ctx = rc->ctx;
	free(rc);
	if (done != NULL)
		done(ctx);
}

int
scsi_lu_set_read_only(struct scsi_lu *lu, bool read_only, void (*done)(void *ctx), void *ctx)
{
	ASSERT(loop_is_current(lu->core->loops[0]) && !lu->destroying);
	if (!read_only && (lu->caps & BLK_CAP_READ_ONLY) != 0)
		return -EROFS;
	struct read_only_change *rc = calloc(1, sizeof *rc);
	if (rc == NULL)
		return -ENOMEM;
	*rc = (struct read_only_change){
	    /* Drains: a WRITE that was let in before doesn't land after done(). */
	    .change = {.lu = lu, .apply = read_only_apply, .done = read_only_done, .drain = true},
	    .read_only = read_only,
	    .done = done,
	    .ctx = ctx,
	};
	lu->read_only_set = read_only;
	scsi_change_submit(&rc->change);
	return 0;
}

/* ---- counters --------------------------------------------------------------------------------------- */

#define SUM(field) ret->field += __atomic_load_n(&s->field, __ATOMIC_RELAXED)

void
scsi_lu_get_counters(const struct scsi_lu *lu, struct scsi_lu_stats *ret)
{
	memset(ret, 0, offsetof(struct scsi_lu_stats, read_latency));
	for (unsigned i = 0; i < lu->core->loop_count; i++) {
		const struct scsi_lu_stats *s = &lu->ll[i].stats;
		SUM(reads);
		SUM(writes);
		SUM(others);
		SUM(read_bytes);
		SUM(write_bytes);
		SUM(check_conditions);
		SUM(reservation_conflicts);
		SUM(aborts);
		SUM(resets);
		SUM(in_flight);
	}
}

void
scsi_lu_get_stats(const struct scsi_lu *lu, struct scsi_lu_stats *ret)
{
	scsi_lu_get_counters(lu, ret);
	memset(&ret->read_latency, 0, sizeof ret->read_latency);
	memset(&ret->write_latency, 0, sizeof ret->write_latency);
	for (unsigned i = 0; i < lu->core->loop_count; i++) {
		const struct scsi_lu_stats *s = &lu->ll[i].stats;
		for (unsigned b = 0; b < SCSI_LATENCY_BUCKETS; b++) {
			SUM(read_latency.buckets[b]);
			SUM(write_latency.buckets[b]);
		}
	}
}

#undef SUM
