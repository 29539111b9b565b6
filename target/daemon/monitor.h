/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is looked at every few seconds, so that conditions appear and go by themselves: stores, LUNs and
 * who uses them, the room in the state directory, the configuration on disk. Home loop; what may block
 * is a job of the loop's worker.
 */
#ifndef DAEMON_MONITOR_H
#define DAEMON_MONITOR_H

#include "conf/conf.h"
#include "daemon/logins.h"

struct daemon;
struct monitor;

#define MONITOR_TICK_MS 2000u
#define MONITOR_DISK_MS 4000u /* between two jobs */

/* Its first look is soon after the loop runs. 0, -ENOMEM. */
int monitor_create(struct daemon *d, struct monitor **ret);
/* What the worker does is awaited, then `done`, perhaps before it returns. */
void monitor_stop(struct monitor *m, void (*done)(void *ctx), void *ctx);
void monitor_destroy(struct monitor *m); /* stopped, or the loop never ran; accepts NULL */

/* Look at once (later in this turn): something is another way. Accepts NULL. */
void monitor_soon(struct monitor *m);
/*
 * Another configuration runs: hooks and what is on disk are looked at anew. Before the old one is
 * destroyed or after. Accepts NULL.
 */
void monitor_config_changed(struct monitor *m);
struct logins *monitor_logins(struct monitor *m);

/* What a LUN did lately: over the last whole interval of some seconds. */
struct monitor_rates {
	double seconds;                                /* 0: nothing is known yet */
	double reads, writes, read_bytes, write_bytes; /* a second */
	double p99_ms; /* of reads and writes; < 0: there were none */
};
void monitor_lun_rates(const struct monitor *m, const char *lun, struct monitor_rates *ret);

/* ---- monitor_disk.c: the job --------------------------------------------------------------------- */

struct monitor_disk {
	struct loop_job job;
	/* in */
	char *state_dir, *config_file; /* NULL: started without one */
	uint64_t fingerprint;          /* of the files when they were read last; 0: never */
	bool read_anyway;
	struct conf_file *runtime; /* what holds in front of conf.d */
	unsigned runtime_count;
	const char *const *events;  /* that hooks may name; static */
	const struct conf *running; /* pinned */
	/* out */
	uint64_t free_bytes, total_bytes;
	int space_error;      /* -errno of statvfs, or 0 */
	bool was_read;        /* the configuration; then the following say how it is */
	int result;           /* of reading and comparing: 0, -ENOMEM, or it has errors */
	unsigned differences; /* objects that are otherwise than in `running` */
	char sentence[1024];  /* what is wrong */
};
int monitor_disk_init(struct monitor_disk *k, const char *state_dir, const char *config_file);
/* What the job has left; before the next one, and at the end. */
void monitor_disk_forget(struct monitor_disk *k);
void monitor_disk_fini(struct monitor_disk *k);
/* True if so little room is left that the next change may not fit. */
bool monitor_is_nearly_full(uint64_t free_bytes, uint64_t total_bytes);

#endif
