/* SPDX-License-Identifier: BSD-2-Clause */
/* lun.heatmap: where a LUN is read and written, and how much of each part its cache has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "daemon/control.h"
#include "daemon/stats.h"

#define PARTS_A_TURN 32u /* whose shares are looked up: initiators wait for the turn */

/* What the answer is made of. */
struct heat {
	struct stats_heat counts;
	bool has_shares;
	float cached[SCSI_HEAT_PARTS], dirty[SCSI_HEAT_PARTS]; /* 0 to 1 */
};

/* The cache is asked a few parts a turn; the LUN may go meanwhile. */
struct walk {
	struct daemon *daemon;
	struct ctl_call *call;
	struct loop_defer more;
	char *lun;
	struct heat *heat;
	uint32_t at;
};

/* ---- JSON: any thread --------------------------------------------------------------------------------- */

/* A tenth does. */
static json_t *
counts_json(const float *counts, uint32_t parts)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list != NULL && i < parts; i++) {
		double n = (double)counts[i];
		json_array_append_new(
		    list, json_real(n < 1e15 ? (double)(uint64_t)(n * 10 + 0.5) / 10 : n));
	}
	return list;
}

/* Three digits; what is more than nothing stays more than nothing. */
static json_t *
shares_json(const float *shares, uint32_t parts)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list != NULL && i < parts; i++) {
		unsigned n = (unsigned)((double)shares[i] * 1000 + 0.5);
		json_array_append_new(list, json_real((n == 0 && shares[i] > 0 ? 1 : n) / 1000.0));
	}
	return list;
}

static json_t *
heatmap_json(const struct picture *p)
{
	const struct heat *h = p->extra;
	const struct picture_lun *l = &p->luns[0];
	const struct stats_heat *c = &h->counts;

	if (p->lun_count == 0) /* it has gone */
		return json_object();
	json_t *o = json_pack("{s:o, s:I, s:I, s:i, s:o, s:o}", "name", ctl_string(l->conf->name),
	    "size_bytes", (json_int_t)l->size_bytes, "part_bytes",
	    (json_int_t)(c->part_blocks * l->conf->block_size), "half_life_s",
	    (int)STATS_HEAT_HALF_LIFE_S, "reads", counts_json(c->reads, c->parts), "writes",
	    counts_json(c->writes, c->parts));
	if (o != NULL && h->has_shares) {
		json_object_set_new(o, "cached", shares_json(h->cached, c->parts));
		json_object_set_new(o, "dirty", shares_json(h->dirty, c->parts));
	}
	return o;
}

/* ---- the walk: home loop ---------------------------------------------------------------------------------- */

static void
end(struct walk *w)
{
	struct daemon *d = w->daemon;
	const struct control_wish wish = {
	    .parts = PICTURE_LUNS, .lun = w->lun, .extra = w->heat, .make = heatmap_json};

	ASSERT(d->answers > 0);
	d->answers--;
	control_answer_wish(d, w->call, &wish);
	if (d->ended && d->answers == 0)
		daemon_stop_loops(d);
	free(w->lun);
	free(w);
}

/* The SSD's volume of the LUN, as long as it is the same one with the same parts. */
static const struct cache_volume *
volume_of(const struct walk *w, uint64_t *ret_part_bytes)
{
	const struct daemon *d = w->daemon;
	const struct daemon_lun *l = d->stopping ? NULL : daemon_lun_find(d, w->lun);

	if (l == NULL || l->lu == NULL || l->volume == NULL)
		return NULL;
	*ret_part_bytes = w->heat->counts.part_blocks * l->conf->block_size;
	return l->volume;
}

static void
walk_on(struct walk *w)
{
	struct heat *h = w->heat;
	uint64_t part_bytes;
	const struct cache_volume *v = volume_of(w, &part_bytes);
	uint32_t last = w->at + PARTS_A_TURN;

	if (v == NULL) {
		h->has_shares = false;
		end(w);
		return;
	}
	h->has_shares = true;
	for (; w->at < h->counts.parts && w->at < last; w->at++) {
		struct cache_share s;
		cache_volume_share(v, w->at * part_bytes, part_bytes, &s);
		h->cached[w->at] = s.looked > 0 ? (float)s.cached / (float)s.looked : 0;
		h->dirty[w->at] = s.looked > 0 ? (float)s.dirty / (float)s.looked : 0;
	}
	if (w->at < h->counts.parts)
		loop_next_turn(w->daemon->loops[0], &w->more);
	else
		end(w);
}

static void
on_more(struct loop_defer *d)
{
	walk_on(container_of(d, struct walk, more));
}

/* ---- the method --------------------------------------------------------------------------------------------- */

const struct ctl_param control_heatmap_params[] = {
    {"lun", CTL_STRING, true, "which"},
    {.name = NULL},
};

/* NULL without memory. */
static struct walk *
walk_create(
    struct daemon *d, struct ctl_call *call, const char *lun, const struct stats_heat *counts)
{
	struct walk *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	*w = (struct walk){.daemon = d, .call = call, .lun = strdup(lun)};
	w->heat = calloc(1, sizeof *w->heat);
	if (w->lun == NULL || w->heat == NULL) {
		free(w->lun);
		free(w->heat);
		free(w);
		return NULL;
	}
	w->heat->counts = *counts;
	loop_defer_init(&w->more, on_more);
	return w;
}

void
control_lun_heatmap(void *ctx, struct ctl_call *call, const json_t *params)
{
	struct daemon *d = ctx;
	struct stats_heat *counts = NULL;
	struct walk *w = NULL;
	bool ok;
	const char *lun = control_lun_of(d, call, params, &ok);

	if (!ok)
		return;
	int rc = d->stats != NULL ? stats_get_heat(d->stats, lun, &counts) : -ENOENT;
	if (rc == 0) {
		w = walk_create(d, call, lun, counts);
		free(counts);
		rc = w != NULL ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		control_fail_lun(call, lun, rc);
		return;
	}
	d->answers++;
	walk_on(w);
}
