/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What LUNs did lately: rates and latencies over 1 s, 10 s and 60 s, their history over ten minutes and
 * a day, and where a LUN is hot. Once a second, in turns that hold nobody up for long, the counters of
 * every LUN are looked at; the data path knows nothing of it. A LUN that nobody uses costs a look at its
 * counters; one that is used has about 100 KiB for its history, which is bounded.
 *
 * Thread rule: home loop, but for what is said otherwise. Copies belong to who asked for them.
 */
#ifndef DAEMON_STATS_H
#define DAEMON_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "scsi/scsi.h"

struct daemon;
struct stats;

/* Looks from the first turn of the home loop on. 0, -ENOMEM. */
int stats_create(struct daemon *d, struct stats **ret);
/* Accepts NULL. */
void stats_destroy(struct stats *s);

/* ---- over some seconds --------------------------------------------------------------------------- */

/* What is counted, of a LUN or of all. All of them only grow, but for the dirty blocks. */
enum stats_counter {
	STATS_READS,
	STATS_WRITES,
	STATS_READ_BYTES,
	STATS_WRITE_BYTES,
	STATS_CHECK_CONDITIONS,
	STATS_CONFLICTS,
	STATS_ABORTS,
	STATS_STORE_ERRORS,
	STATS_RAM_HITS, /* blocks of 4 KiB, of reads */
	STATS_RAM_MISSES,
	STATS_SSD_READS, /* reads that came to it: what memory didn't have */
	STATS_SSD_HITS,
	STATS_DESTAGED, /* blocks of 4 KiB */
	STATS_COUNTER_COUNT
};

/* Of the commands of one kind. Times are ends of intervals, in microseconds: nothing took longer. */
struct stats_latency {
	uint64_t count;
	double p50_us, p95_us, p99_us, p999_us, max_us; /* 0 without commands */
};

enum stats_window { STATS_1S, STATS_10S, STATS_60S, STATS_WINDOW_COUNT };
extern const unsigned stats_window_s[STATS_WINDOW_COUNT];

struct stats_rates {
	double seconds; /* what was measured; 0: nothing is known yet */
	double per_s[STATS_COUNTER_COUNT];
	struct stats_latency reads, writes;
};
struct stats_summary {
	int64_t time_s; /* of the look, since 1970; 0: there was none yet */
	uint64_t at_ns; /* the same, of loop_now_ns() */
	struct stats_rates windows[STATS_WINDOW_COUNT];
	struct stats_latency reads, writes; /* since the start */
	uint64_t counters[STATS_COUNTER_COUNT];
	uint64_t in_flight, dirty_bytes, cached_bytes; /* now */
	bool has_ram, has_ssd;
};
/* NULL: of all LUNs together. False: it isn't known (yet), *ret is zeros. */
bool stats_get(const struct stats *s, const char *lun, struct stats_summary *ret);

/* ---- history ------------------------------------------------------------------------------------- */

/* A part of a history; STATS_UNKNOWN in `reads`: nobody looked, nothing else is valid. */
#define STATS_UNKNOWN UINT32_MAX
#define STATS_NO_RATIO UINT16_MAX
struct stats_slot {
	uint32_t reads, writes, read_kib, write_kib;
	uint32_t dirty_mib, destaged_mib;     /* at its end; during it */
	uint8_t read_p50, read_p99, read_max; /* buckets of scsi_latency, valid with commands */
	uint8_t write_p50, write_p99, write_max;
	uint16_t ram_hits, ssd_hits; /* per mille; STATS_NO_RATIO: no reads */
};

#define STATS_SECONDS 600u
#define STATS_MINUTES 1440u
struct stats_history {
	int64_t second_s, minute_s; /* since 1970: end of the last slots */
	struct stats_slot seconds[STATS_SECONDS], minutes[STATS_MINUTES]; /* the oldest first */
};
/* A copy, to be freed with free(). NULL: all LUNs. 0, -ENOENT, -ENOMEM. */
int stats_get_history(const struct stats *s, const char *lun, struct stats_history **ret);

/* ---- heat ---------------------------------------------------------------------------------------- */

#define STATS_HEAT_HALF_LIFE_S 600u
struct stats_heat {
	uint64_t part_blocks; /* logical blocks of a part */
	uint32_t parts;       /* that the LUN has */
	/* Commands that began there, each counting half as much after each half-life. */
	float reads[SCSI_HEAT_PARTS], writes[SCSI_HEAT_PARTS];
};
/* Looks now. A copy, to be freed with free(). 0, -ENOENT, -ENOMEM. */
int stats_get_heat(struct stats *s, const char *lun, struct stats_heat **ret);

#endif
