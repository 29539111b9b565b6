/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of a plan that blocks: stores, identities, numbers, addresses. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "daemon/plan.h"

/* ---- stores --------------------------------------------------------------------------------------- */

/* Another LUN with the same store, among those that stay or come: `canonical` is its name. */
static const struct daemon_lun *
find_double(const struct plan *p, struct names *seen, struct daemon_lun *l)
{
	(void)p;
	struct daemon_lun *other = names_find(seen, l->canonical);
	if (other == NULL && names_add(seen, l->canonical, l) < 0)
		return l; /* no memory; told apart by the caller */
	return other;
}

static int
check_double(struct plan *p, struct names *seen, struct daemon_lun *l)
{
	const struct daemon_lun *o = find_double(p, seen, l);
	if (o == NULL)
		return 0;
	if (o == l) {
		snprintf(p->reason, sizeof p->reason, "out of memory");
		return -ENOMEM;
	}
	snprintf(p->reason, sizeof p->reason,
	    "LUN %s and LUN %s have the same store (%s): give one of them another", o->name,
	    l->name, l->canonical);
	return -EEXIST;
}

/*
 * The file that the LUN is going to make is noted before: killed before the change is written, nobody
 * would know any more whose it is.
 */
static int
note_creation(struct plan *p, const struct daemon_lun *l)
{
	struct catalog_intent i = {.kind = CATALOG_CREATE, .size_bytes = l->conf->size_bytes};
	const char *path = daemon_lun_file(l->conf->store);
	if (path == NULL || l->conf->size_bytes == 0 || l->conf->read_only ||
	    access(path, F_OK) == 0)
		return 0;
	if (strlen(path) >= sizeof i.path)
		return 0; /* the store will refuse it */
	snprintf(i.path, sizeof i.path, "%s", path);
	int rc = catalog_intent_put(p->daemon->catalog, &i);
	if (rc < 0)
		snprintf(p->reason, sizeof p->reason, "LUN %s: nothing can be noted in %s: %s",
		    l->name, statedir_path(p->daemon->statedir), strerror(-rc));
	return rc;
}

/* The file or device behind a store. False: it has none, or it isn't there. */
static bool
stat_store(const char *store, struct stat *ret)
{
	char path[4096];
	const char *colon = strchr(store, ':');
	if (strncmp(store, "lvm:", 4) == 0)
		snprintf(path, sizeof path, "/dev/%s", store + 4);
	else if (strncmp(store, "file:", 5) == 0 || strncmp(store, "block:", 6) == 0)
		snprintf(path, sizeof path, "%s", colon + 1);
	else if (store[0] == '/')
		snprintf(path, sizeof path, "%s", store);
	else
		return false;
	return stat(path, ret) == 0;
}

/*
 * A store that can't be opened because another LUN has it under another name: a mistake, never a
 * matter of time.
 */
static const struct daemon_lun *
find_same_store(const struct plan *p, const struct daemon_lun *l)
{
	struct stat a, b;
	if (!stat_store(l->conf->store, &a))
		return NULL;
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct daemon_lun *o = p->luns[i].after;
		if (o == NULL || o == l || o->blk == NULL || !stat_store(o->conf->store, &b))
			continue;
		if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode)
		        ? a.st_rdev == b.st_rdev
		        : a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return o;
	}
	return NULL;
}

static int
open_one(struct plan *p, struct names *seen, struct daemon_lun *l)
{
	int rc = p->live ? note_creation(p, l) : 0;
	if (rc < 0)
		return rc;
	rc = daemon_lun_open(l, p->reason, sizeof p->reason);
	if (rc == 0)
		return check_double(p, seen, l);
	const struct daemon_lun *o = find_same_store(p, l);
	if (o != NULL) {
		snprintf(p->reason, sizeof p->reason,
		    "LUN %s and LUN %s have the same store (%s): give one of them another", o->name,
		    l->name, l->conf->store);
		return -EEXIST;
	}
	return p->tolerant && l->why != NULL ? 0 : rc;
}

static int
open_stores(struct plan *p)
{
	struct names seen = {0};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < p->lun_count; i++) {
		struct daemon_lun *l = p->luns[i].after;
		if (l != NULL && l == p->luns[i].before && l->canonical != NULL && l->blk != NULL)
			rc = check_double(p, &seen, l);
	}
	for (unsigned i = 0; rc == 0 && i < p->lun_count; i++) {
		const struct plan_lun *pl = &p->luns[i];
		if (pl->after != NULL && pl->after != pl->before && !pl->late)
			rc = open_one(p, &seen, pl->after);
	}
	names_fini(&seen);
	return rc;
}

/*
 * A start where nothing at all could be opened is one that failed. But for a LUN that was on its way out of a
 * cache when the power went: it is a command that gives it back, and somebody has to take that.
 */
static int
check_any(struct plan *p)
{
	unsigned open = 0;
	for (unsigned i = 0; i < p->lun_count; i++)
		open +=
		    p->luns[i].after != NULL && (p->luns[i].late || p->luns[i].after->blk != NULL ||
		                                    p->luns[i].after->lacks_cache);
	if (open > 0 || p->lun_count == 0)
		return 0;
	for (unsigned i = 0; i < p->lun_count; i++) {
		if (p->luns[i].after == NULL)
			continue;
		snprintf(p->reason, sizeof p->reason, "%s", p->luns[i].after->why);
		return -ENODEV;
	}
	return 0;
}

static int
remember(struct plan *p)
{
	struct daemon_lun **list = calloc(p->lun_count + 1, sizeof(struct daemon_lun *));
	unsigned count = 0;
	if (list == NULL) {
		snprintf(p->reason, sizeof p->reason, "out of memory");
		return -ENOMEM;
	}
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct plan_lun *pl = &p->luns[i];
		if (pl->after != NULL && pl->after != pl->before && pl->after->blk != NULL)
			list[count++] = pl->after;
	}
	int rc = count > 0
	             ? daemon_luns_remember(p->daemon, list, count, p->reason, sizeof p->reason)
	             : 0;
	free(list);
	return rc;
}

/* ---- numbers ---------------------------------------------------------------------------------------- */

static int
numbers_failed(struct plan *p, const struct catalog_number_request *r, int rc)
{
	if (rc == -ERANGE)
		snprintf(p->reason, sizeof p->reason, "%s %s is one too many: at most %u",
		    r->kind == CATALOG_PORTAL ? "portal" : "target", r->name,
		    r->kind == CATALOG_PORTAL ? CATALOG_PORTALS_MAX : CATALOG_TARGETS_MAX);
	else
		snprintf(p->reason, sizeof p->reason, "the number of %s %s can't be kept in %s: %s",
		    r->kind == CATALOG_PORTAL ? "portal" : "target", r->name,
		    statedir_path(p->daemon->statedir), strerror(-rc));
	return rc;
}

int
plan_numbers(struct plan *p, bool keep)
{
	const struct conf *conf = p->config.conf;
	unsigned count = conf->portal_count + conf->target_count, failed;
	struct catalog_number_request *r = calloc(count + 1, sizeof *r);

	if (p->bases == NULL)
		p->bases = calloc(conf->target_count + 1, sizeof *p->bases);
	if (r == NULL || p->bases == NULL) {
		free(r);
		snprintf(p->reason, sizeof p->reason, "out of memory");
		return -ENOMEM;
	}
	for (unsigned i = 0; i < conf->portal_count; i++)
		r[i] = (struct catalog_number_request){CATALOG_PORTAL, conf->portals[i].name, 0};
	for (unsigned i = 0; i < conf->target_count; i++)
		r[conf->portal_count + i] =
		    (struct catalog_number_request){CATALOG_TARGET, conf->targets[i].name, 0};
	int rc = catalog_numbers(p->daemon->catalog, r, count, keep, &failed);
	if (rc < 0)
		rc = numbers_failed(p, &r[failed], rc);
	for (unsigned i = 0; rc == 0 && i < conf->portal_count; i++)
		p->next.portals[i]->tag = r[i].number;
	for (unsigned i = 0; rc == 0 && i < conf->target_count; i++)
		p->bases[i] = r[conf->portal_count + i].number;
	free(r);
	return rc;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

int
plan_open(struct plan *p)
{
	int rc = open_stores(p);
	if (rc == 0 && p->tolerant)
		rc = check_any(p);
	if (rc == 0)
		rc = remember(p);
	if (rc == 0)
		rc = plan_numbers(p, true);
	for (unsigned i = 0; rc == 0 && i < p->address_count; i++) {
		struct plan_address *a = &p->addresses[i];
		rc = portal_resolve(a->address->text, a, p->reason, sizeof p->reason);
	}
	return rc;
}

void
plan_close(struct plan *p)
{
	ASSERT(!p->adopted);
	for (unsigned i = 0; i < p->lun_count; i++) {
		struct daemon_lun *l = p->luns[i].after;
		if (l == NULL || l == p->luns[i].before)
			continue;
		bool fresh = l->created && l->id.fresh;
		daemon_lun_undo(l);
		if (fresh)
			(void)catalog_lu_forget(p->daemon->catalog, l->canonical);
	}
}

/* ---- growth ------------------------------------------------------------------------------------------ */

static int
grow_file(const char *path, uint64_t size_bytes)
{
	struct stat st;
	int rc = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	else if ((uint64_t)st.st_size < size_bytes &&
	         (ftruncate(fd, (off_t)size_bytes) < 0 || fsync(fd) < 0))
		rc = -errno;
	close(fd);
	return rc;
}

int
plan_grow(struct plan *p)
{
	for (unsigned i = 0; i < p->lun_count; i++) {
		const struct plan_lun *pl = &p->luns[i];
		struct catalog_identity id;
		if (pl->grow_to == 0)
			continue;
		int rc = grow_file(daemon_lun_file(pl->conf->store), pl->grow_to);
		if (rc == 0)
			rc = catalog_lu_identity(p->daemon->catalog, pl->before->canonical,
			    pl->grow_to, (int64_t)time(NULL), &id);
		if (rc < 0) {
			snprintf(p->reason, sizeof p->reason, "LUN %s: %s can't grow: %s",
			    pl->conf->name, pl->conf->store, strerror(-rc));
			return rc;
		}
	}
	return 0;
}
