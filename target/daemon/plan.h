/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way from what is served to a configuration: what comes, what goes, what changes. A start is the
 * way from nothing. The steps are in the order of the functions; everything that may fail comes
 * before plan_adopt(), and what was made until then is taken back by plan_unmake().
 *
 * Thread rule: home loop (or before the loops run); the functions that are called blocking: on a
 * worker or before the loops run, with nobody else at the plan meanwhile.
 */
#ifndef DAEMON_PLAN_H
#define DAEMON_PLAN_H

#include "daemon/daemon.h"

struct change;

struct plan_lun {
	struct daemon_lun *before; /* NULL: comes */
	struct daemon_lun *after;  /* NULL: goes; == before: stays; else another unit */
	const struct conf_lun *conf;
	struct daemon_lun *trial; /* `late`: what is opened on the worker meanwhile */
	bool late;        /* opened when what goes has gone: it has its store or its identity */
	uint64_t grow_to; /* bytes; 0: it keeps its size */
	uint64_t look;    /* blk_looks() of its store is to reach this then */
};

struct plan_view {
	struct daemon_view *before,
	    *after; /* as above, but a view that stays is changed in place */
	const struct conf_group_lun *luns;
	unsigned lun_count;
};

/* An address to be listened on: resolved on a worker, bound at home. */
struct plan_address {
	struct daemon_portal *portal;
	struct daemon_address *address;
	struct sockaddr_storage sa;
	socklen_t sa_len;
	char port[16];
	bool late; /* another portal listens there now */
};

struct plan {
	struct daemon *daemon;
	struct daemon_config config; /* to come; the plan's until it is adopted */
	struct daemon_objects next;
	struct plan_lun *luns; /* those to come in their order, then those that go */
	unsigned lun_count;
	struct plan_view *views;
	unsigned view_count;
	struct plan_address *addresses; /* only those not listened on yet */
	unsigned address_count;
	uint16_t *bases; /* of config.conf->targets */
	struct iscsi_config *iscsi;
	struct srp_config *srp;
	unsigned ports_made;
	bool live;     /* a change: a file that is made is noted first */
	bool tolerant; /* a store that can't be opened stops nothing: start with a file */
	bool adopted;
	const struct change *by; /* NULL: a start */
	struct list retired;     /* only its configuration is left, which somebody still looks at */
	char reason[1024];       /* why a step failed: one sentence */
};

/*
 * Compares. Takes over the configuration, also on failure. 0, -ENOMEM, -EINVAL (it can't be done: a
 * LUN would shrink).
 */
int plan_create(struct daemon *d, struct daemon_config config, bool tolerant,
    const struct change *by, struct plan **ret, char *reason, size_t reason_cap);
/* Nothing of it is in use: adopted, unmade, or never made. Accepts NULL. */
void plan_destroy(struct plan *p);

/* Blocking: which tags and port identifiers there will be; for good, or only to look (plan_open()). */
int plan_numbers(struct plan *p, bool keep);
/* Blocking: opens stores, looks up identities and numbers, resolves addresses. */
int plan_open(struct plan *p);
/* Blocking: takes that back. */
void plan_close(struct plan *p);
/*
 * Views without LUNs where new ones will be, and the targets: p->iscsi, to ask who would be affected.
 * Taken back by plan_unmake(), or replaced by plan_make(). After plan_numbers().
 */
int plan_preview(struct plan *p);
/* Units, views, targets. */
int plan_make(struct plan *p);
/* Binds. -EADDRINUSE: *ret_failed is the address; see portal_failed(). */
int plan_listen(struct plan *p, const struct plan_address **ret_failed);
/* Before adoption: what was bound; views and ports that were made. Not the units. */
void plan_unlisten(struct plan *p);
void plan_unmake(struct plan *p);
/* Blocking: grows the files of LUNs that grow. 0 or -errno and a sentence. */
int plan_grow(struct plan *p);

/*
 * From here on the daemon has the objects of the plan; what goes is the plan's: daemon->now becomes
 * next, and next what was. The running configuration changes places with the plan's likewise.
 */
void plan_adopt(struct plan *p);

/* After adoption: SCSI ports and addresses that the configuration doesn't have any more. */
void plan_retire(struct plan *p);

/* Entries of a view as far as its LUNs have units: *ret is the caller's to free. 0 or -ENOMEM. */
int plan_view_entries(const struct daemon_objects *o, const struct conf_group_lun *luns,
    unsigned count, struct scsi_view_entry **ret, unsigned *ret_count);

/* ---- target.c ---------------------------------------------------------------------------------- */

/* The targets of a configuration, with views by name and portal tags from the objects. */
int target_config(const struct conf *conf, const struct daemon_objects *o, const uint16_t *bases,
    struct iscsi_config **ret, char *reason, size_t cap);

/* ---- portal.c ---------------------------------------------------------------------------------- */

/* Blocking. 0 or -EINVAL with a sentence. */
int portal_resolve(const char *text, struct plan_address *ret, char *reason, size_t cap);
/* The sentence for an address that can't be bound; looks for its holder: blocking. */
void portal_failed(const struct plan_address *a, int error, char *reason, size_t cap);

#endif
