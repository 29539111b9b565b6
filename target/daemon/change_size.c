/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes: a change by which LUNs grow, or which asks what a device has grown by, has ended when they show it.
 * The stores are looked at at once; the watch over them would do it within a second or so.
 */
#include "daemon/change_priv.h"

#include <string.h>

#include "base/text.h"
#include "daemon/caches.h"

#define RETRY_NS 20000000ull
#define WAIT_NS 10000000000ull

static void look_again(struct change *c);

static bool
shows(const struct daemon_lun *l, uint64_t look)
{
	return l == NULL || l->blk == NULL ||
	       (blk_looks(l->blk) >= look && daemon_lun_has_grown(l));
}

static bool
all_show(const struct change *c)
{
	bool all = c->resized == NULL || shows(daemon_lun_find(c->daemon, c->resized), c->look);
	for (unsigned i = 0; c->plan != NULL && i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		all = all && (pl->grow_to == 0 || shows(pl->after, pl->look));
	}
	return all;
}

/* What nobody has written anywhere is told likewise: as a change of its size. */
static void
tell(struct change *c)
{
	const struct daemon_lun *l = daemon_lun_find(c->daemon, c->resized);
	char was[32], is[32];

	if (l == NULL || l->blk == NULL)
		return;
	c->resized_to = blk_get_info(daemon_lun_front(l))->size_bytes;
	if (c->resized_to == c->resized_from || json_array_size(c->changes) > 0)
		return;
	text_format_size(c->resized_from, was, sizeof was);
	text_format_size(c->resized_to, is, sizeof is);
	json_array_append_new(c->changes,
	    json_pack("{s:s, s:s, s:o, s:[{s:s, s:s, s:s}]}", "what", "change", "kind", "lun",
	        "name", ctl_string(c->resized), "keys", "key", "size", "old", was, "new", is));
	c->grown = true;
}

static void
tell_one(struct change *c, const struct daemon_lun *l, uint64_t look)
{
	if (shows(l, look))
		return;
	if (blk_looks(l->blk) < look)
		change_remark(c,
		    "LUN %s: its store doesn't answer; its new size is seen when it does", l->name);
	else
		change_remark(c, "LUN %s hasn't grown with its store yet: %s; it is tried again",
		    l->name, daemon_lun_grow_reason(l));
}

static void
tell_late(struct change *c)
{
	if (c->resized != NULL)
		tell_one(c, daemon_lun_find(c->daemon, c->resized), c->look);
	for (unsigned i = 0; c->plan != NULL && i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		if (pl->grow_to > 0 &&
		    (c->resized == NULL || strcmp(c->resized, pl->after->name) != 0))
			tell_one(c, pl->after, pl->look);
	}
}

static void
on_retry(struct loop_timer *t)
{
	look_again(container_of(t, struct change, retry));
}

static void
look_again(struct change *c)
{
	uint64_t now = loop_now_ns(c->daemon->loops[0]);
	bool all = all_show(c);

	if (!all && now - c->waited_ns < WAIT_NS) {
		loop_timer_init(&c->retry, c->daemon->loops[0], on_retry);
		loop_timer_set(&c->retry, RETRY_NS);
		return;
	}
	if (!all)
		tell_late(c);
	if (c->resized != NULL)
		tell(c);
	c->done(c);
}

void
change_sizes(struct change *c)
{
	struct daemon_lun *l = c->resized != NULL ? daemon_lun_find(c->daemon, c->resized) : NULL;

	if (c->dry_run) {
		c->done(c);
		return;
	}
	if (l != NULL && l->blk != NULL)
		c->look = blk_look(l->blk);
	for (unsigned i = 0; c->plan != NULL && i < c->plan->lun_count; i++) {
		struct plan_lun *pl = &c->plan->luns[i];
		if (pl->grow_to > 0)
			pl->look = blk_look(pl->after->blk);
	}
	c->waited_ns = loop_now_ns(c->daemon->loops[0]);
	look_again(c);
}

int
change_resizes(struct change *c, const struct daemon_lun *l)
{
	c->resized = strdup(l->name);
	c->resized_from = blk_get_info(daemon_lun_front(l))->size_bytes;
	return c->resized != NULL ? 0 : change_no_memory(c);
}
