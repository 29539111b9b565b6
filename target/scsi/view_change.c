/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of a view, while nexuses use it.
 *
 *	home: get all memory ─▶ every loop: each nexus follows, units that go end their tasks
 *	─▶ home: all have ended ─▶ WRITEs to what became read only are over ─▶ done
 *
 * VC-1  A loop applies the changes of a view in the order in which home made them. A nexus that is
 *       created meanwhile has the map of its loop, and follows with the others.
 * VC-2  A unit that is gone stays in the unit's list of its loop until no task and no copy of the
 *       nexus refers to it: changes of the unit still see it. What the nexus sent to home about the
 *       unit was sent before the loop acknowledges, so that a scsi_lu_destroy() after done() is
 *       behind it.
 * VC-3  Changes are done in the order in which they were made: a unit that a later one took away
 *       lives as long as an earlier one may speak of it.
 */
#include "scsi/scsi_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What one nexus needs, got by home. */
struct nexus_set {
	struct nexus_set *next;
	struct scsi_nexus_lu **nlus; /* of the new map's size */
	uint32_t fresh_count;
	struct scsi_nexus_lu *fresh[];
};

struct view_change;
struct scsi_view_part {
	struct loop_msg msg;
	struct view_change *change;
	struct nexus_set *sets; /* one for each nexus that home counted */
	uint32_t left;          /* units that haven't ended, and the one who applies */
};

struct view_change {
	struct list link; /* view->changes */
	struct scsi_view *view;
	struct scsi_view_map *map, *old;
	uint32_t waiting; /* parts */
	bool finished, told;
	uint32_t drain_at; /* entry of the map that is looked at */
	struct scsi_change drain;
	struct loop_msg msg;
	void (*done)(void *ctx);
	void *ctx;
	struct scsi_view_part parts[LOOP_COUNT_MAX];
};

static void part_apply(struct loop_msg *m);
static void part_ended(struct loop_msg *m);
static void drain_next(struct view_change *vc);
static void drain_done(struct scsi_change *c);
static void finish(struct view_change *vc);
static void change_done(struct loop_msg *m);

/* ---- memory ---------------------------------------------------------------------------------- */

static void
set_free(struct nexus_set *s)
{
	while (s->fresh_count > 0)
		free(s->fresh[--s->fresh_count]);
	free(s->nlus);
	free(s);
}

static struct nexus_set *
set_create(uint32_t count, uint32_t fresh)
{
	struct nexus_set *s = calloc(1, sizeof *s + fresh * sizeof s->fresh[0]);
	if (s == NULL)
		return NULL;
	s->nlus = calloc(count > 0 ? count : 1, sizeof(struct scsi_nexus_lu *));
	for (; s->nlus != NULL && s->fresh_count < fresh; s->fresh_count++) {
		s->fresh[s->fresh_count] = scsi_nexus_lu_alloc();
		if (s->fresh[s->fresh_count] == NULL)
			break;
	}
	if (s->nlus == NULL || s->fresh_count < fresh) {
		set_free(s);
		return NULL;
	}
	return s;
}

static void
change_free(struct view_change *vc)
{
	for (unsigned i = 0; i < vc->view->core->loop_count; i++) {
		for (struct nexus_set *s; (s = vc->parts[i].sets) != NULL;) {
			vc->parts[i].sets = s->next;
			set_free(s);
		}
	}
	free(vc);
}

static bool
same_unit(const struct scsi_view_entry *a, const struct scsi_view_entry *b)
{
	return a != NULL && b != NULL && a->lu == b->lu;
}

static bool
change_get_sets(struct view_change *vc)
{
	struct scsi_view *v = vc->view;
	uint32_t fresh = 0;
	for (uint32_t i = 0; i < vc->map->count; i++) {
		const struct scsi_view_entry *e = &vc->map->entries[i];
		fresh += !same_unit(e, scsi_view_map_find(v->map, e->lun));
	}
	for (unsigned i = 0; i < v->core->loop_count; i++) {
		uint32_t users = __atomic_load_n(&v->per_loop[i].users, __ATOMIC_RELAXED);
		for (; users > 0; users--) {
			struct nexus_set *s = set_create(vc->map->count, fresh);
			if (s == NULL)
				return false;
			s->next = vc->parts[i].sets;
			vc->parts[i].sets = s;
		}
	}
	return true;
}

/* ---- home: start ----------------------------------------------------------------------------- */

int
scsi_view_change(struct scsi_view *v, const struct scsi_view_entry *entries, uint32_t count,
    void (*done)(void *ctx), void *ctx)
{
	struct scsi_core *c = v->core;
	struct scsi_view_map *map;
	int err = scsi_view_map_create(c, entries, count, &map);
	if (err < 0)
		return err;
	struct view_change *vc = calloc(1, sizeof *vc);
	if (vc == NULL) {
		free(map);
		return -ENOMEM;
	}
	vc->view = v;
	vc->map = map;
	vc->old = v->map;
	vc->done = done;
	vc->ctx = ctx;
	if (!change_get_sets(vc)) {
		change_free(vc);
		free(map);
		return -ENOMEM;
	}
	v->map = map;
	list_push_back(&v->changes, &vc->link);
	vc->waiting = c->loop_count;
	for (unsigned i = 0; i < c->loop_count; i++) {
		struct scsi_view_part *p = &vc->parts[i];
		p->change = vc;
		p->msg.run = part_apply;
		loop_send(c->loops[i], &p->msg);
	}
	return 0;
}

/* ---- every loop ------------------------------------------------------------------------------ */

/* The set for one nexus; one that home didn't know of yet gets its memory here. NULL: there is none. */
static struct nexus_set *
part_take_set(struct scsi_view_part *p)
{
	struct nexus_set *s = p->sets;
	if (s == NULL)
		return set_create(p->change->map->count, 0);
	p->sets = s->next;
	return s;
}

static struct scsi_nexus_lu *
set_take_lu(struct nexus_set *s)
{
	if (s == NULL)
		return NULL; /* no room in the table */
	return s->fresh_count > 0 ? s->fresh[--s->fresh_count] : scsi_nexus_lu_alloc();
}

static void
follow_read_only(struct scsi_nexus_lu *nlu, bool read_only)
{
	if (nlu->read_only == read_only)
		return;
	nlu->read_only = read_only;
	scsi_ua_raise(nlu, UA_MODE_CHANGED);
	/* Commands that were let in and don't run yet are looked at again (INV-2). */
	nlu->ll->epoch++;
	scsi_unblock(nlu->ll);
}

/* Does the nexus have just these units already? */
static bool
nexus_shows(const struct scsi_nexus *n, const struct scsi_view_map *map)
{
	bool same = n->nlu_count == map->count;
	for (uint32_t i = 0; same && i < map->count; i++)
		same =
		    n->nlus[i]->lun == map->entries[i].lun && n->nlus[i]->lu == map->entries[i].lu;
	return same;
}

static void
leave(struct scsi_view_part *p, struct scsi_nexus_lu *nlu)
{
	p->left++;
	scsi_nexus_lu_leave(nlu, p);
}

/*
 * One nexus gets the units of the map. Without memory for the table the old one is used again, which
 * has room for those that stay: they are at or before the place where they were.
 */
static void
nexus_follow(struct scsi_nexus *n, struct scsi_view_part *p)
{
	const struct scsi_view_map *map = p->change->map;
	struct nexus_set *set = part_take_set(p);
	struct scsi_nexus_lu **old = n->nlus, **new = set != NULL ? set->nlus : old;
	uint32_t at = 0, count = 0;
	bool changed = !nexus_shows(n, map);

	for (uint32_t i = 0; i < map->count; i++) {
		const struct scsi_view_entry *e = &map->entries[i];
		while (at < n->nlu_count && old[at]->lun < e->lun)
			leave(p, old[at++]);
		if (at < n->nlu_count && old[at]->lun == e->lun && old[at]->lu != e->lu)
			leave(p, old[at++]);
		struct scsi_nexus_lu *nlu;
		if (at < n->nlu_count && old[at]->lun == e->lun) {
			nlu = old[at++];
			follow_read_only(nlu, e->read_only);
			if (changed) /* SPC-4 6.33 */
				scsi_ua_raise(nlu, UA_LUNS_CHANGED);
		} else {
			nlu = set_take_lu(set);
			if (nlu == NULL)
				continue;
			scsi_nexus_lu_init(n, nlu, e);
		}
		new[count++] = nlu;
	}
	while (at < n->nlu_count)
		leave(p, old[at++]);
	n->nlus = new;
	n->nlu_count = count;
	if (set != NULL) {
		set->nlus = old;
		set_free(set);
	}
}

static void
part_apply(struct loop_msg *m)
{
	struct scsi_view_part *p = container_of(m, struct scsi_view_part, msg);
	struct view_change *vc = p->change;
	struct scsi_view_loop *vl = &vc->view->per_loop[scsi_loop_index(vc->view->core)];
	p->left = 1;
	vl->map = vc->map;
	LIST_FOREACH (l, &vl->nexuses)
		nexus_follow(container_of(l, struct scsi_nexus, view_link), p);
	scsi_view_part_put(p);
}

void
scsi_view_part_put(struct scsi_view_part *p)
{
	ASSERT(p->left > 0);
	if (--p->left > 0)
		return;
	p->msg.run = part_ended;
	loop_send(p->change->view->core->loops[0], &p->msg);
}

/* ---- home: end ------------------------------------------------------------------------------- */

static void
part_ended(struct loop_msg *m)
{
	struct view_change *vc = container_of(m, struct scsi_view_part, msg)->change;
	ASSERT(vc->waiting > 0);
	if (--vc->waiting == 0)
		drain_next(vc);
}

static void
drain_apply(struct scsi_change *c, struct scsi_lu_loop *ll)
{
	(void)c;
	(void)ll;
}

/* One unit after the other that became read only. */
static void
drain_next(struct view_change *vc)
{
	while (vc->drain_at < vc->map->count) {
		const struct scsi_view_entry *e = &vc->map->entries[vc->drain_at++];
		const struct scsi_view_entry *was = scsi_view_map_find(vc->old, e->lun);
		if (!e->read_only || !same_unit(e, was) || was->read_only)
			continue;
		vc->drain = (struct scsi_change){
		    .lu = e->lu, .apply = drain_apply, .done = drain_done, .drain = true};
		scsi_change_submit(&vc->drain);
		return;
	}
	vc->finished = true;
	finish(vc);
}

static void
drain_done(struct scsi_change *c)
{
	drain_next(container_of(c, struct view_change, drain));
}

/* VC-3. */
static void
finish(struct view_change *vc)
{
	struct scsi_view *v = vc->view;
	LIST_FOREACH (l, &v->changes) {
		struct view_change *first = container_of(l, struct view_change, link);
		if (!first->finished)
			return;
		if (first->told)
			continue;
		first->told = true;
		first->msg.run = change_done;
		loop_send(v->core->loops[0], &first->msg);
	}
}

static void
change_done(struct loop_msg *m)
{
	struct view_change *vc = container_of(m, struct view_change, msg);
	void (*done)(void *ctx) = vc->done;
	void *ctx = vc->ctx;
	list_remove(&vc->link);
	free(vc->old);
	change_free(vc);
	if (done != NULL)
		done(ctx);
}
