/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of stats.c share: entries, snapshots, heat. */
#ifndef DAEMON_STATS_PRIV_H
#define DAEMON_STATS_PRIV_H

#include "daemon/stats.h"

#define STATS_TICK_NS 1000000000ull
#define STATS_FINE 11u   /* snapshots a second apart: ten seconds */
#define STATS_COARSE 13u /* … five seconds apart: a minute */
#define STATS_COARSE_TICKS 5u
#define STATS_HOUR_SLOTS 60u
#define STATS_HOURS (STATS_MINUTES / STATS_HOUR_SLOTS)

/* What is known of a LUN at one time. */
struct stats_sample {
	uint64_t counters[STATS_COUNTER_COUNT];
	uint64_t others; /* commands that are neither reads nor writes */
	uint64_t in_flight, dirty_bytes, cached_bytes;
	bool has_ram, has_ssd;
	struct scsi_latency reads, writes;
};

/* The same, small: differences of two are right as long as 2^32 commands don't lie between them. */
struct stats_snap {
	uint64_t ns;
	uint64_t counters[STATS_COUNTER_COUNT];
	uint32_t reads[SCSI_LATENCY_BUCKETS], writes[SCSI_LATENCY_BUCKETS];
};

/* Of a LUN that was ever used. Rings: the newest at `…_at`, the oldest behind it. */
struct stats_active {
	uint64_t begin_tick; /* slots before it are zeros */
	struct stats_snap fine[STATS_FINE], coarse[STATS_COARSE];
	unsigned fine_at, coarse_at;
	struct stats_snap minute;                 /* at the end of the last minute */
	struct stats_slot seconds[STATS_SECONDS]; /* by tick */
	struct stats_slot *hours[STATS_HOURS];    /* by minute; NULL: zeros */
};

struct stats_hot {
	struct scsi_heat last;
	uint64_t ns; /* of the last look */
	float reads[SCSI_HEAT_PARTS], writes[SCSI_HEAT_PARTS];
};

struct stats_entry {
	char *name;
	const struct scsi_lu *lu; /* whose counters `last` has; only compared */
	bool there;               /* in this round */
	uint64_t first_ns, first_tick, tick;
	unsigned quiet_ticks; /* without any change */
	struct stats_sample last;
	struct stats_summary summary;
	struct stats_active *active; /* NULL: never used */
	struct stats_hot *hot;       /* NULL: never used */
};

/* ---- stats_track.c: pure --------------------------------------------------------------------------- */

/* The entry is `now` at `ns`, which is the tick's look. */
void stats_track(struct stats_entry *e, const struct stats_sample *now, uint64_t ns, uint64_t tick);
/* Before another unit's counters come. */
void stats_track_anew(struct stats_entry *e);
void stats_track_fini(struct stats_entry *e);
/* Slots up to that tick. */
void stats_track_history(const struct stats_entry *e, uint64_t tick, struct stats_history *ret);

/* ---- stats_heat.c: pure ------------------------------------------------------------------------------ */

/* Another unit's counts come: those of the old one stay in the picture. */
void stats_hot_anew(struct stats_hot *h);
void stats_hot_look(struct stats_hot *h, const struct scsi_heat *now, uint64_t ns);

#endif
