/* SPDX-License-Identifier: BSD-2-Clause */
/* One LUN: its store, its identity, what it remembers from before, its unit. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/caches.h"

/* ---- the object ----------------------------------------------------------------------------------- */

struct daemon_lun *
daemon_lun_find(const struct daemon *d, const char *name)
{
	return names_find(&d->now.lun_names, name);
}

bool
daemon_is_memory(const char *store)
{
	return strncmp(store, "ram:", 4) == 0 || strncmp(store, "null:", 5) == 0;
}

const char *
daemon_pos_text(const struct conf_pos *pos, char *buf, size_t cap)
{
	buf[0] = '\0';
	if (pos->file != NULL)
		snprintf(buf, cap, "%s:%u: ", pos->file, pos->line);
	return buf;
}

int
daemon_lun_create(struct daemon *d, const struct conf_lun *conf, struct daemon_lun **ret)
{
	struct daemon_lun *l = calloc(1, sizeof *l);
	if (l == NULL)
		return -ENOMEM;
	l->daemon = d;
	l->conf = conf;
	l->is_volatile = conf_lun_mode(conf) == CONF_MODE_VOLATILE;
	l->name = strdup(conf->name);
	if (l->name == NULL) {
		free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

static void
forget(struct daemon_lun *l)
{
	for (unsigned i = 0; i < SCSI_PERSIST_COUNT; i++)
		free(l->remembered[i].blob);
	memset(l->remembered, 0, sizeof l->remembered);
}

void
daemon_lun_destroy(struct daemon_lun *l)
{
	if (l == NULL)
		return;
	ASSERT(l->lu == NULL && l->volume == NULL && l->ram == NULL);
	daemon_lun_unwatch(l);
	blk_close(l->blk);
	daemon_marker_destroy(l->marker);
	forget(l);
	free(l->canonical);
	free(l->why);
	free(l->name);
	free(l);
}

/* ---- the store ------------------------------------------------------------------------------------- */

static void
on_blk_event(void *ctx, enum blk_event ev)
{
	struct daemon_lun *l = ctx;
	char size[32];

	switch (ev) {
	case BLK_EVENT_SIZE:
		text_format_size(blk_get_info(l->blk)->size_bytes, size, sizeof size);
		log_info("store", "size of %s is now %s lun=%s", l->canonical, size, l->name);
		break;
	case BLK_EVENT_GONE:
		log_err("store",
		    "%s doesn't answer any more: its LUN is not ready until it is back lun=%s",
		    l->canonical, l->name);
		break;
	case BLK_EVENT_BACK:
		log_info("store", "%s is back lun=%s", l->canonical, l->name);
		break;
	case BLK_EVENT_COUNT:
		break;
	}
	/* Behind a cache the LUN goes on: what the SSD has is served, what is new waits there. */
	if (l->volume != NULL && ev != BLK_EVENT_GONE)
		daemon_lun_follow_size(l);
	else if (l->volume == NULL && l->lu != NULL)
		scsi_lu_blk_event(l->lu, ev);
}

/* Of the cache: it has grown with its store. */
static void
on_front_event(void *ctx, enum blk_event ev)
{
	const struct daemon_lun *l = ctx;
	if (l->lu != NULL && ev == BLK_EVENT_SIZE)
		scsi_lu_blk_event(l->lu, ev);
}

/* Memory passes on what it hears of what is behind it. */
static void
watch(struct daemon_lun *l)
{
	struct blk *front = daemon_lun_front(l);
	if (l->volume != NULL) {
		blk_set_events(l->blk, on_blk_event, l);
		blk_set_events(front, on_front_event, l);
		daemon_lun_follow_size(l); /* it may have come before this */
	} else {
		blk_set_events(front, on_blk_event, l);
	}
}

void
daemon_lun_unwatch(struct daemon_lun *l)
{
	if (l->blk == NULL)
		return;
	blk_set_events(daemon_lun_front(l), NULL, NULL);
	if (l->volume != NULL)
		blk_set_events(l->blk, NULL, NULL);
}

const char *
daemon_lun_file(const char *store)
{
	if (strncmp(store, "file:", 5) == 0)
		return store + 5;
	return store[0] == '/' ? store : NULL;
}

/*
 * A file that is smaller than the configuration wants it: it grows if it is as large as it was when
 * it was last served. One that has become smaller has lost something.
 */
static void
grow_before(const struct daemon_lun *l)
{
	const char *path = daemon_lun_file(l->conf->store);
	struct catalog_identity id;
	struct stat st;
	char *real, *key = NULL;

	if (path == NULL || l->conf->read_only || stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size >= l->conf->size_bytes || (real = realpath(path, NULL)) == NULL)
		return;
	if (asprintf(&key, "file:%s", real) < 0)
		key = NULL;
	if (key != NULL && catalog_lu_find(l->daemon->catalog, key, &id) == 0 &&
	    (uint64_t)st.st_size >= id.size_bytes &&
	    truncate(path, (off_t)l->conf->size_bytes) == 0)
		log_info("daemon", "%s has grown as the configuration says lun=%s", path, l->name);
	free(key);
	free(real);
}

static int
open_store(struct daemon_lun *l, char *reason, size_t cap)
{
	const struct conf_lun *c = l->conf;
	const struct daemon *d = l->daemon;
	struct blk_open_args args = {
	    .spec = c->store,
	    .size_bytes = c->size_bytes,
	    .flags =
	        (c->read_only ? BLK_OPEN_READ_ONLY : 0u) |
	        (!c->has_ssd && conf_lun_mode(c) == CONF_MODE_VOLATILE ? BLK_OPEN_VOLATILE : 0u) |
	        (c->size_bytes > 0 && !c->read_only ? BLK_OPEN_CREATE : 0u) |
	        (d->options->unsafe_fs ? BLK_OPEN_UNSAFE_FS : 0u) | BLK_OPEN_WATCH_LATER,
	    .block_bytes = c->block_size,
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	};
	char why[768], pos[512];
	const char *path = daemon_lun_file(c->store);
	bool was_there = path == NULL || access(path, F_OK) == 0;
	grow_before(l);
	int rc = blk_open(&args, &l->blk, why, sizeof why);
	l->created = rc == 0 && !was_there && (args.flags & BLK_OPEN_CREATE) != 0;
	if (rc < 0 && c->pos.file != NULL)
		snprintf(reason, cap, "%sLUN %s: %s", daemon_pos_text(&c->pos, pos, sizeof pos),
		    c->name, why);
	else if (rc < 0)
		snprintf(reason, cap, "%s", why);
	return rc;
}

/* A store that opens and can't be a LUN. */
static int
check_store(const struct daemon_lun *l, char *reason, size_t cap)
{
	if (blk_get_info(l->blk)->size_bytes >= l->conf->block_size)
		return 0;
	snprintf(reason, cap, "LUN %s: %s is empty; give it a size, as in %s:10GiB", l->name,
	    l->conf->store, l->conf->store);
	return -EINVAL;
}

/* Whose newest data is in a cache isn't served without it. */
static int
check_marker(struct daemon_lun *l, char *reason, size_t cap)
{
	const struct daemon *d = l->daemon;
	struct cache_marker m;
	char uuid[37], undo[4200];
	int rc = daemon_marker_create(l->daemon, l->canonical, &l->marker);

	if (rc == 0)
		rc = daemon_marker_read(l->marker, &m);
	if (rc < 0) {
		snprintf(reason, cap,
		    "LUN %s: whether the newest data of %s is in a cache can't be told: %s",
		    l->name, l->canonical, rc == -EINVAL ? "the mark is damaged" : strerror(-rc));
		return rc;
	}
	if (!m.present || l->conf->has_ssd)
		return 0;
	text_format_uuid(m.cache_uuid, uuid);
	const char *name = uuid;
	for (unsigned i = 0; i < d->cache_count; i++)
		if (d->caches[i]->identity.is_known &&
		    memcmp(d->caches[i]->identity.uuid, m.cache_uuid, 16) == 0)
			name = d->caches[i]->name;
	daemon_marker_describe(l->marker, undo, sizeof undo);
	snprintf(reason, cap,
	    "LUN %s: %s has its newest data in cache %s, and isn't served without it: add cache "
	    "NAME "
	    "to the LUN; if the SSD is lost, this gives up what it had and the store hasn't: %s",
	    l->name, l->canonical, name, undo);
	l->lacks_cache = true;
	return -EUCLEAN;
}

int
daemon_lun_open(struct daemon_lun *l, char *reason, size_t cap)
{
	ASSERT(l->blk == NULL && l->lu == NULL);
	l->lacks_cache = false;
	int rc = open_store(l, reason, cap);
	if (rc == 0)
		rc = check_store(l, reason, cap);
	if (rc == 0) {
		/* Memory has no name of its own: its identity goes with the LUN's. */
		free(l->canonical);
		int n = daemon_is_memory(l->conf->store)
		            ? asprintf(&l->canonical, "%s%s", l->conf->store, l->name)
		            : asprintf(&l->canonical, "%s", blk_get_name(l->blk));
		if (n < 0) {
			l->canonical = NULL;
			snprintf(reason, cap, "LUN %s: out of memory", l->name);
			rc = -ENOMEM;
		}
	}
	if (rc == 0)
		rc = check_marker(l, reason, cap);
	free(l->why);
	l->why = rc < 0 ? strdup(reason) : NULL;
	if (rc < 0)
		daemon_lun_undo(l);
	return rc;
}

void
daemon_lun_take(struct daemon_lun *l, struct daemon_lun *trial)
{
	ASSERT(l->blk == NULL && l->lu == NULL && trial->lu == NULL && trial->volume == NULL);
	daemon_marker_destroy(l->marker);
	free(l->canonical);
	free(l->why);
	forget(l);
	l->blk = trial->blk;
	l->marker = trial->marker;
	trial->marker = NULL;
	l->canonical = trial->canonical;
	l->why = trial->why;
	l->lacks_cache = trial->lacks_cache;
	l->created = trial->created;
	l->is_volatile = trial->is_volatile;
	l->id = trial->id;
	memcpy(l->remembered, trial->remembered, sizeof l->remembered);
	memset(trial->remembered, 0, sizeof trial->remembered);
	trial->blk = NULL;
	trial->canonical = trial->why = NULL;
}

void
daemon_lun_fail(struct daemon_lun *l, const char *reason)
{
	ASSERT(l->lu == NULL);
	free(l->why);
	l->why = strdup(reason);
}

void
daemon_lun_undo(struct daemon_lun *l)
{
	ASSERT(l->lu == NULL && l->volume == NULL);
	blk_close(l->blk);
	l->blk = NULL;
	daemon_marker_destroy(l->marker);
	l->marker = NULL;
	if (l->created)
		(void)unlink(daemon_lun_file(l->conf->store));
	l->created = false;
}

/* ---- what is remembered ------------------------------------------------------------------------------ */

static int
recall(struct daemon *d, struct daemon_lun *l, char *reason, size_t cap)
{
	static const char *const what[SCSI_PERSIST_COUNT] = {
	    [SCSI_PERSIST_PR] = "persistent reservations",
	    [SCSI_PERSIST_SANITIZE] = "unfinished SANITIZE",
	};
	uint8_t uuid[16];
	memcpy(uuid, l->id.uuid, sizeof uuid);
	if (l->conf->uuid != NULL)
		(void)text_parse_uuid(l->conf->uuid, uuid);
	forget(l);
	for (unsigned i = 0; i < SCSI_PERSIST_COUNT; i++) {
		int rc = catalog_lu_load(d->catalog, (enum scsi_persist)i, uuid,
		    &l->remembered[i].blob, &l->remembered[i].len);
		if (rc == 0 || rc == -ENOENT)
			continue;
		snprintf(reason, cap, "LUN %s: its %s can't be read from %s: %s", l->name, what[i],
		    statedir_path(d->statedir), strerror(-rc));
		return rc;
	}
	return 0;
}

int
daemon_luns_remember(
    struct daemon *d, struct daemon_lun *const *luns, unsigned count, char *reason, size_t cap)
{
	struct catalog_identity_request *r = calloc(count + 1, sizeof *r);
	if (r == NULL) {
		snprintf(reason, cap, "out of memory");
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		r[i].key = luns[i]->canonical;
		r[i].size_bytes = blk_get_info(luns[i]->blk)->size_bytes;
	}
	unsigned failed = 0;
	int rc = catalog_lu_identities(d->catalog, r, count, (int64_t)time(NULL), &failed);
	if (rc < 0)
		snprintf(reason, cap, "LUN %s: its identity can't be kept in %s: %s",
		    count > 0 ? luns[failed]->name : "", statedir_path(d->statedir), strerror(-rc));
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		luns[i]->id = r[i].identity;
		rc = recall(d, luns[i], reason, cap);
	}
	free(r);
	return rc;
}

/* ---- the unit ------------------------------------------------------------------------------------------ */

static int
parse_hex(const char *s, uint8_t *buf, size_t len)
{
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	if (strlen(s) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned v;
		if (sscanf(s + 2 * i, "%2x", &v) != 1)
			return -EINVAL;
		buf[i] = (uint8_t)v;
	}
	return 0;
}

static int
restore(struct daemon_lun *l, char *reason, size_t cap)
{
	int rc = scsi_lu_restore_pr(
	    l->lu, l->remembered[SCSI_PERSIST_PR].blob, l->remembered[SCSI_PERSIST_PR].len);
	if (rc < 0) {
		snprintf(reason, cap,
		    "LUN %s: its persistent reservations in %s can't be read (%s); serving it "
		    "without "
		    "them could let a fenced node write: restore the state directory from a backup",
		    l->name, statedir_path(l->daemon->statedir), strerror(-rc));
		return rc;
	}
	/* A damaged record locks the unit as a sound one does. */
	(void)scsi_lu_restore_sanitize(l->lu, l->remembered[SCSI_PERSIST_SANITIZE].blob,
	    l->remembered[SCSI_PERSIST_SANITIZE].len);
	if (scsi_lu_sanitize_failed(l->lu))
		log_warn("store", "SANITIZE of %s wasn't finished: it shows nothing lun=%s",
		    l->canonical, l->name);
	forget(l);
	return 0;
}

static int
identity(const struct daemon_lun *l, struct scsi_lu_args *args, char *reason, size_t cap)
{
	const struct conf_lun *c = l->conf;
	int rc = 0;
	memcpy(args->uuid, l->id.uuid, sizeof args->uuid);
	if (c->uuid != NULL && text_parse_uuid(c->uuid, args->uuid) < 0)
		rc = -EINVAL;
	args->no_naa = c->naa != NULL && strcmp(c->naa, "none") == 0;
	if (c->naa != NULL && !args->no_naa) {
		args->naa_bytes = (uint8_t)(strlen(c->naa) / 2);
		if (args->naa_bytes > sizeof args->naa ||
		    parse_hex(c->naa, args->naa, args->naa_bytes) < 0)
			rc = -EINVAL;
	}
	if (c->eui64 != NULL && parse_hex(c->eui64, args->eui64, sizeof args->eui64) < 0)
		rc = -EINVAL;
	if (rc < 0)
		snprintf(reason, cap, "LUN %s: malformed identity", c->name);
	return rc;
}

int
daemon_lun_create_unit(struct daemon_lun *l, char *reason, size_t cap)
{
	const struct conf_lun *c = l->conf;
	if (daemon_lun_ram_open(l) < 0) {
		snprintf(reason, cap, "LUN %s: out of memory", l->name);
		return -ENOMEM;
	}
	struct blk *front = daemon_lun_front(l);
	const struct blk_info *info = blk_get_info(front);
	struct scsi_lu_args args = {
	    .name = c->name,
	    .serial = c->serial != NULL ? c->serial : l->id.serial,
	    .t10_id = c->t10_id,
	    .vendor = c->vendor,
	    .product = c->product,
	    .revision = c->revision,
	    .block_bytes = c->block_size,
	    .physical_exponent = c->physical_exponent < 0 ? 0xff : (uint8_t)c->physical_exponent,
	    .read_only = c->read_only || (info->caps & BLK_CAP_READ_ONLY) != 0,
	    .removable = c->removable,
	    .rotational =
	        c->rotational_set ? c->rotational : (info->caps & BLK_CAP_ROTATIONAL) != 0,
	    .thin = c->thin < 0 ? (info->caps & BLK_CAP_UNMAP) != 0 : c->thin > 0,
	    .sanitize = c->sanitize,
	    .volatile_cache = (info->caps & BLK_CAP_VOLATILE) != 0,
	    .blk = front,
	};
	ASSERT(l->lu == NULL && l->blk != NULL);
	int rc = identity(l, &args, reason, cap);
	if (rc < 0) {
		daemon_lun_ram_undo(l);
		return rc;
	}
	rc = scsi_lu_create(l->daemon->core, &args, &l->lu);
	if (rc == -EEXIST)
		snprintf(reason, cap,
		    "LUN %s has the uuid, naa or serial of another LUN: initiators would take them "
		    "for one; give it its own",
		    l->name);
	else if (rc < 0)
		snprintf(reason, cap, "LUN %s: %s", l->name, strerror(-rc));
	if (rc < 0) {
		daemon_lun_ram_undo(l);
		return rc;
	}
	rc = restore(l, reason, cap);
	if (rc < 0)
		return rc;
	free(l->why);
	l->why = NULL;
	watch(l);
	return 0;
}
