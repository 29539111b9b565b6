/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the checks and what they share: findings, files below a root, disks under stores. */
#ifndef TOOLS_DOCTOR_DOCTOR_PRIV_H
#define TOOLS_DOCTOR_DOCTOR_PRIV_H

#include "tools/doctor/doctor.h"

#define DOCTOR_FINDINGS_MAX 64u /* of one check: more are counted */
#define DOCTOR_NAME_BYTES 64u   /* of a disk or an interface */

struct doctor {
	const struct doctor_facts *facts;
	struct doctor_report *report;
	const char *check; /* that runs */
	unsigned begin;    /* of its findings */
	unsigned dropped;
	bool failed; /* no memory */
};

/* A finding; doctor_act() follows and says what to do. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *object, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void doctor_act(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Instead of the table's sentence for "nothing is wrong"; with findings it is left out. */
void doctor_fine(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- files below the root (tree.c) ------------------------------------------------------------------ */

/* Root and path. False: too long. */
bool tree_path(const struct doctor *d, char *buf, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The first line without blanks at its end; control characters are '?'. False: no file, or empty. */
bool tree_line(const struct doctor *d, char *buf, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A number that is the line, or begins it ("8.0 GT/s": 8); false: there is none. */
bool tree_number(const struct doctor *d, double *ret, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The line is exactly this. */
bool tree_says(const struct doctor *d, const char *word, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool tree_exists(const struct doctor *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* At most TREE_TEXT_BYTES, a NUL in it is a blank. To be freed; NULL: none. */
#define TREE_TEXT_BYTES (256u << 10)
char *tree_text(const struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Where links lead, without the root. False: nowhere, or out of it. */
bool tree_real(const struct doctor *d, char *buf, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Entries of a folder, sorted, without those that begin with a dot; at most TREE_NAMES_MAX. */
#define TREE_NAMES_MAX 8192u
struct tree_names {
	char **list;
	unsigned count;
};
void tree_list(const struct doctor *d, struct tree_names *ret, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tree_names_fini(struct tree_names *n);

/* The n-th blank-separated word of a line into buf; false: there are fewer, or it doesn't fit. */
bool tree_word(const char *line, unsigned n, char *buf, size_t cap);

/* ---- disks (disks.c) ------------------------------------------------------------------------------------ */

/* The path of a spec ("block:/dev/x", "lvm:VG/LV", "/srv/x.img"), or NULL: it has none ("ram:"). */
const char *disk_path(const char *spec, char *buf, size_t cap, bool *ret_is_file);
/*
 * Name in /sys/class/block of the device that a spec names, or that its file is on. False: none is found
 * (memory, a network file system, a path that isn't there).
 */
bool disk_of_store(const struct doctor *d, const char *spec, char name[DOCTOR_NAME_BYTES]);

/* Devices under stores: what a name leads to by partitions and /sys/class/block/X/slaves. */
#define DISKS_MAX 512u
struct disks {
	struct disk {
		char name[DOCTOR_NAME_BYTES];
		const char *user; /* of the first store that led here; borrowed */
		bool leaf;        /* nothing below it */
		bool top;         /* what a store names itself */
		bool cached;      /* all stores that lead here are behind a cache, mode nv */
	} list[DISKS_MAX];
	unsigned count;
};
/* Of all LUNs; to be freed. NULL: no memory. */
struct disks *disks_of_luns(const struct doctor *d);
/* Of all caches' SSDs. */
struct disks *disks_of_caches(const struct doctor *d);

/* ---- the checks ---------------------------------------------------------------------------------------------- */

void check_configuration(struct doctor *d); /* check_config.c */
void check_names(struct doctor *d);
void check_chap(struct doctor *d);
void check_space(struct doctor *d);
void check_file_systems(struct doctor *d);
void check_pcie(struct doctor *d); /* check_machine.c */
void check_updates(struct doctor *d);
void check_io_uring(struct doctor *d);
void check_fuse(struct doctor *d);
void check_rdma(struct doctor *d);
void check_targets(struct doctor *d); /* check_targets.c */
void check_raid(struct doctor *d);    /* check_disks.c */
void check_ssd(struct doctor *d);
void check_write_cache(struct doctor *d);
void check_timeouts(struct doctor *d);
void check_network(struct doctor *d); /* check_network.c */

/* "ADDR:PORT", "[ADDR6]:PORT", ADDR → its parts; the port is `port_default` where none is written. */
bool doctor_split_address(const char *text, char *addr, size_t cap, unsigned *ret_port);
/* 0.0.0.0 or [::]. */
bool doctor_is_wildcard(const char *addr);
bool doctor_is_loopback(const char *addr);

/* probes.c */
extern const struct doctor_probes doctor_live_probes;

#endif
