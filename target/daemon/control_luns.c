/* SPDX-License-Identifier: BSD-2-Clause */
/* lun.list: LUNs with their stores, states, counters. Any thread. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "daemon/control.h"

/* [[end of a bucket in µs, how many], …] without those that are empty. */
static json_t *
buckets_json(const struct scsi_latency *l)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < SCSI_LATENCY_BUCKETS; i++) {
		/* the last one has no end: twice its beginning */
		uint64_t end = i + 1 < SCSI_LATENCY_BUCKETS ? scsi_latency_floor_ns(i + 1)
		                                            : 2 * scsi_latency_floor_ns(i);
		if (l->buckets[i] > 0)
			json_array_append_new(list,
			    json_pack("[f, I]", (double)end / 1000, (json_int_t)l->buckets[i]));
	}
	return list;
}

static json_t *
stats_json(const struct scsi_lu_stats *st, bool latency)
{
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "reads",
	    (json_int_t)st->reads, "writes", (json_int_t)st->writes, "others",
	    (json_int_t)st->others, "read_bytes", (json_int_t)st->read_bytes, "write_bytes",
	    (json_int_t)st->write_bytes, "check_conditions", (json_int_t)st->check_conditions,
	    "reservation_conflicts", (json_int_t)st->reservation_conflicts, "aborts",
	    (json_int_t)st->aborts, "resets", (json_int_t)st->resets, "in_flight",
	    (json_int_t)st->in_flight);
	if (o != NULL && latency) {
		json_object_set_new(o, "read_latency_us", buckets_json(&st->read_latency));
		json_object_set_new(o, "write_latency_us", buckets_json(&st->write_latency));
	}
	return o;
}

static json_t *
rates_json(const struct monitor_rates *r)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:o}", "seconds", r->seconds, "reads_per_s",
	    r->reads, "writes_per_s", r->writes, "read_bytes_per_s", r->read_bytes,
	    "write_bytes_per_s", r->write_bytes, "p99_ms",
	    r->p99_ms < 0 ? json_null() : json_real(r->p99_ms));
}

json_t *
control_uuid(const struct picture_lun *l)
{
	char uuid[37] = "";

	if (l->conf->uuid != NULL)
		return json_string(l->conf->uuid);
	if (l->has_ids)
		text_format_uuid(l->uuid, uuid);
	return json_string(uuid);
}

static json_t *
naa_json(const struct picture_lun *l)
{
	char naa[2 * sizeof l->naa + 1] = "";

	for (unsigned i = 0; i < l->naa_len; i++)
		snprintf(naa + 2u * i, 3, "%02x", l->naa[i]);
	return json_string(naa);
}

static json_t *
lun_json(const struct picture *p, unsigned i, unsigned sessions)
{
	const struct picture_lun *l = &p->luns[i];
	json_t *o = json_pack("{s:o, s:o, s:I, s:i, s:s, s:s, s:b, s:o, s:o, s:i}", "name",
	    ctl_string(l->conf->name), "store", ctl_string(l->store), "size_bytes",
	    (json_int_t)l->size_bytes, "block_bytes", (int)l->conf->block_size, "mode", l->mode,
	    "state", l->state, "read_only", l->conf->read_only, "uuid", control_uuid(l), "why",
	    ctl_string(l->why), "sessions", (int)sessions);

	if (o != NULL) {
		json_object_set_new(o, "naa", naa_json(l));
		json_object_set_new(o, "nbd", json_string(conf_nbd_to_string(l->conf->nbd)));
		json_object_set_new(o, "nbd_writable", json_boolean(l->nbd_writable));
		control_add_volume(o, l);
	}
	if (o != NULL && l->has_stats) {
		json_object_set_new(
		    o, "stats", stats_json(&p->stats[i], (p->parts & PICTURE_LATENCY) != 0));
		json_object_set_new(o, "rates", rates_json(&l->rates));
	}
	return control_add_head(o, (const struct conf_head *)(const void *)l->conf);
}

/* ---- who sees them ---------------------------------------------------------------------------------- */

static void
add_users(const struct conf_group_lun *luns, unsigned count, unsigned sessions,
    const struct names *places)
{
	for (unsigned i = 0; sessions > 0 && i < count; i++) {
		unsigned *place = names_find(places, luns[i].lun);
		if (place != NULL)
			*place += sessions;
	}
}

/* Sessions that see each LUN, in the order of p->luns; NULL without memory. */
static unsigned *
sessions_of_luns(const struct picture *p)
{
	unsigned *users = calloc(p->lun_count + 1u, sizeof *users);
	struct names places = {0};

	if (users == NULL || names_reserve(&places, p->lun_count) < 0) {
		free(users);
		return NULL;
	}
	for (unsigned i = 0; i < p->lun_count; i++)
		(void)names_add(&places, p->luns[i].conf->name, &users[i]);
	for (unsigned t = 0; p->session_count > 0 && t < p->conf->target_count; t++) {
		const struct conf_target *target = &p->conf->targets[t];
		add_users(target->luns, target->lun_count,
		    control_count_sessions(p, target->name, ""), &places);
		for (unsigned g = 0; g < target->group_count; g++)
			add_users(target->groups[g].luns, target->groups[g].lun_count,
			    control_count_sessions(p, target->name, target->groups[g].name),
			    &places);
	}
	names_fini(&places);
	return users;
}

json_t *
control_luns(const struct picture *p)
{
	json_t *list = json_array();
	unsigned *users = sessions_of_luns(p);

	if (users == NULL) {
		json_decref(list);
		return NULL;
	}
	for (unsigned i = 0; list != NULL && i < p->lun_count; i++)
		json_array_append_new(list, lun_json(p, i, users[i]));
	free(users);
	return list;
}
