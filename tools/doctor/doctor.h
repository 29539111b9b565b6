/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is wrong with a machine for a SAN target, before it hurts: a table of checks, each of which reads
 * /sys, /proc, /dev and /etc below a root and says ok, or a remark or something bad with what to do. What
 * is served comes from the caller as facts, so that it knows no control socket and no JSON. It changes
 * nothing, and opens stores for reading only.
 *
 * One thread; everything blocks. What files say is another program's, or a disk's: it is bounded, and
 * control characters in it are '?'.
 */
#ifndef TOOLS_DOCTOR_DOCTOR_H
#define TOOLS_DOCTOR_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what is served ------------------------------------------------------------------------------ */

struct doctor_lun {
	char *name, *store; /* as blk_open() takes it */
	char *mode;         /* "nv", "writethrough", … */
	char *cache;        /* "": none */
	char *where;        /* FILE:LINE, or "" */
};
struct doctor_cache {
	char *name, *ssd; /* "": memory only */
	char *where;
};
struct doctor_address {
	char *portal, *address; /* "ADDR:PORT", "[ADDR6]:PORT", ADDR alone */
	bool srp;
};
struct doctor_target {
	char *name;
	bool has_chap;
};
/* Secrets are compared and counted, and in no finding. */
struct doctor_chap {
	char *name, *target;                 /* "": of discovery */
	char *user, *secret, *mutual_secret; /* "": none, or not known */
};
/* Who sees a LUN: a session's initiator, or a pattern of a group. */
struct doctor_viewer {
	char *lun, *initiator;
	bool writes, connected;
};
struct doctor_interface {
	char *name, *address; /* without a port */
};
struct doctor_trouble {
	char *where, *text;
	bool remark;
};

/* What isn't files. Functions of a live system by default; a test has its own. */
struct doctor_probes {
	/* SMART / Health Information of an NVMe controller (NVM Express 1.4 §5.14.1.2). 0 or -errno. */
	int (*nvme_health)(void *ctx, const char *path, uint8_t ret[512]);
	/* Of the file system that `path` is on; `ret_id` tells it from others. 0 or -errno. */
	int (*space)(void *ctx, const char *path, uint64_t *ret_id, uint64_t *ret_free_bytes);
	/*
	 * Type of the first file system of a store, "" if none is found: of the whole, or of a partition.
	 * Opens for reading only. 0 or -errno.
	 */
	int (*file_system)(void *ctx, const char *path, char *ret, size_t cap);
	void *ctx;
};

struct doctor_facts {
	const char *root;          /* "" on a live system; borrowed */
	long daemon_pid;           /* 0: none runs */
	const char *configuration; /* its file, "": there is none; borrowed */
	struct doctor_probes probes;
	struct doctor_lun *luns;
	struct doctor_cache *caches;
	struct doctor_address *addresses;
	struct doctor_target *targets;
	struct doctor_chap *chaps;
	struct doctor_viewer *viewers;
	struct doctor_interface *interfaces;
	struct doctor_trouble *troubles; /* what the configuration's reader said */
	unsigned lun_count, cache_count, address_count, target_count, chap_count, viewer_count,
	    interface_count, trouble_count;
	bool unknown; /* what is served isn't known: no daemon, and no file or a wrong one */
	bool failed;  /* something wasn't added for lack of memory */
};

/* Probes of a live system, nothing served. `root` is borrowed until doctor_facts_fini(). */
void doctor_facts_init(struct doctor_facts *f, const char *root);
/* Wipes secrets. */
void doctor_facts_fini(struct doctor_facts *f);
/* These copy; NULL is "". */
void doctor_add_lun(struct doctor_facts *f, const char *name, const char *store, const char *mode,
    const char *cache, const char *where);
void doctor_add_cache(struct doctor_facts *f, const char *name, const char *ssd, const char *where);
void doctor_add_address(struct doctor_facts *f, const char *portal, const char *address, bool srp);
void doctor_add_target(struct doctor_facts *f, const char *name, bool has_chap);
void doctor_add_chap(struct doctor_facts *f, const char *name, const char *target, const char *user,
    const char *secret, const char *mutual_secret);
void doctor_add_viewer(
    struct doctor_facts *f, const char *lun, const char *initiator, bool writes, bool connected);
void doctor_add_interface(struct doctor_facts *f, const char *name, const char *address);
void doctor_add_trouble(struct doctor_facts *f, const char *where, const char *text, bool remark);
/* Addresses of this machine (getifaddrs). */
void doctor_add_interfaces(struct doctor_facts *f);

/* ---- what is found ---------------------------------------------------------------------------------- */

enum doctor_level { DOCTOR_OK, DOCTOR_REMARK, DOCTOR_BAD };
const char *doctor_level_to_string(enum doctor_level l); /* "ok", "remark", "bad" */

struct doctor_finding {
	const char *check; /* static */
	enum doctor_level level;
	char *object; /* what it is about: a LUN, a disk, an address; "": the machine */
	char *text;
	char *action; /* "" of DOCTOR_OK */
};

struct doctor_report {
	struct doctor_finding *list; /* in the order of the table; each check has one at least */
	unsigned count;
	enum doctor_level worst;
};

/* 0, or -ENOMEM; *ret is the caller's in both cases (doctor_report_fini). */
int doctor_run(const struct doctor_facts *f, struct doctor_report *ret);
void doctor_report_fini(struct doctor_report *r);

/* Names of checks and what each looks at; NULL: no such. */
const char *doctor_check_name(unsigned i);
const char *doctor_check_help(unsigned i);

#endif
