/* Stores and logical units: open, identity, reservations from before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/daemon.h"

static void
on_blk_event(void *ctx, enum blk_event ev)
{
	struct daemon_lun *l = ctx;
	char size[32];

	switch (ev) {
	case BLK_EVENT_SIZE:
		text_format_size(blk_get_info(l->blk)->size_bytes, size, sizeof size);
		log_info(
		    "store", "size of %s is now %s lun=%s", l->conf->store, size, l->conf->name);
		break;
	case BLK_EVENT_GONE:
		log_err("store",
		    "%s doesn't answer any more: its LUN is not ready until it is back lun=%s",
		    l->conf->store, l->conf->name);
		break;
	case BLK_EVENT_BACK:
		log_info("store", "%s is back lun=%s", l->conf->store, l->conf->name);
		break;
	case BLK_EVENT_COUNT:
		break;
	}
	if (l->lu != NULL)
		scsi_lu_blk_event(l->lu, ev);
}

bool
daemon_is_memory(const char *store)
{
	return strncmp(store, "ram:", 4) == 0 || strncmp(store, "null:", 5) == 0;
}

/* The path in "file:PATH" and "PATH". */
static const char *
store_path(const char *store)
{
	return strncmp(store, "file:", 5) == 0 ? store + 5 : store;
}

static int
open_store(struct daemon *d, struct daemon_lun *l)
{
	const struct conf_lun *c = l->conf;
	char why[768];
	struct blk_open_args args = {
	    .spec = c->store,
	    .size_bytes = c->size_bytes,
	    .flags = (c->read_only ? BLK_OPEN_READ_ONLY : 0u) |
	             (c->mode == CONF_MODE_VOLATILE ? BLK_OPEN_VOLATILE : 0u) |
	             (c->size_bytes > 0 && !c->read_only ? BLK_OPEN_CREATE : 0u) |
	             (d->options->unsafe_fs ? BLK_OPEN_UNSAFE_FS : 0u),
	    .block_bytes = c->block_size,
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	};
	bool was_there = access(store_path(c->store), F_OK) == 0;
	int rc = blk_open(&args, &l->blk, why, sizeof why);
	l->created = rc == 0 && !was_there && (args.flags & BLK_OPEN_CREATE) != 0;
	if (rc < 0) {
		if (c->pos.file != NULL)
			snprintf(d->reason, sizeof d->reason, "%s:%u: LUN %s: %s", c->pos.file,
			    c->pos.line, c->name, why);
		else
			snprintf(d->reason, sizeof d->reason, "%s", why);
		return rc;
	}
	/* Memory has no name of its own: its identity goes with the LUN's. */
	rc = daemon_is_memory(c->store) ? asprintf(&l->canonical, "%s%s", c->store, c->name)
	                                : asprintf(&l->canonical, "%s", blk_get_name(l->blk));
	if (rc < 0) {
		l->canonical = NULL;
		return -ENOMEM;
	}
	for (const struct daemon_lun *o = d->luns; o != l; o++) {
		if (strcmp(o->canonical, l->canonical) == 0) {
			snprintf(d->reason, sizeof d->reason,
			    "LUN %s and LUN %s have the same store (%s): give one of them another",
			    o->conf->name, c->name, l->canonical);
			return -EEXIST;
		}
	}
	blk_set_events(l->blk, on_blk_event, l);
	return 0;
}

int
daemon_open_stores(void *ctx)
{
	struct daemon *d = ctx;

	d->luns = calloc(d->conf->lun_count + 1, sizeof *d->luns);
	if (d->luns == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < d->conf->lun_count; i++) {
		d->luns[i].conf = &d->conf->luns[i];
		d->luns[i].daemon = d;
		int rc = open_store(d, &d->luns[i]);
		if (rc < 0) {
			daemon_close_stores(d);
			return rc;
		}
	}
	return 0;
}

void
daemon_close_stores(void *ctx)
{
	struct daemon *d = ctx;
	for (unsigned i = 0; d->luns != NULL && i < d->conf->lun_count; i++) {
		if (d->luns[i].blk != NULL)
			blk_set_events(d->luns[i].blk, NULL, NULL);
		/* A start that failed leaves nothing behind; nobody has seen the file. */
		if (d->luns[i].created && !d->served)
			(void)unlink(store_path(d->luns[i].conf->store));
		blk_close(d->luns[i].blk);
		free(d->luns[i].canonical);
	}
	free(d->luns);
	d->luns = NULL;
}

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
restore_reservations(struct daemon *d, struct daemon_lun *l, const uint8_t uuid[16])
{
	void *blob;
	size_t len;
	int rc = catalog_pr_load(d->catalog, uuid, &blob, &len);
	if (rc == -ENOENT)
		return 0;
	if (rc == 0) {
		rc = scsi_lu_restore_pr(l->lu, blob, len);
		free(blob);
	}
	if (rc < 0)
		snprintf(d->reason, sizeof d->reason,
		    "LUN %s: its persistent reservations in %s can't be read (%s); serving it "
		    "without them "
		    "could let a fenced node write: restore the state directory from a backup",
		    l->conf->name, statedir_path(d->statedir), strerror(-rc));
	return rc;
}

static int
identity(struct daemon *d, const struct daemon_lun *l, struct scsi_lu_args *args,
    struct catalog_identity *id)
{
	const struct conf_lun *c = l->conf;
	int rc = catalog_lu_identity(
	    d->catalog, l->canonical, blk_get_info(l->blk)->size_bytes, (int64_t)time(NULL), id);
	if (rc < 0) {
		snprintf(d->reason, sizeof d->reason,
		    "LUN %s: its identity can't be kept in %s: %s", c->name,
		    statedir_path(d->statedir), strerror(-rc));
		return rc;
	}
	memcpy(args->uuid, id->uuid, sizeof args->uuid);
	if (c->uuid != NULL && text_parse_uuid(c->uuid, args->uuid) < 0)
		rc = -EINVAL;
	if (c->naa != NULL && parse_hex(c->naa, args->naa, sizeof args->naa) < 0)
		rc = -EINVAL;
	if (c->eui64 != NULL && parse_hex(c->eui64, args->eui64, sizeof args->eui64) < 0)
		rc = -EINVAL;
	if (rc < 0)
		snprintf(d->reason, sizeof d->reason, "LUN %s: malformed identity", c->name);
	return rc;
}

static int
create_unit(struct daemon *d, struct daemon_lun *l)
{
	const struct conf_lun *c = l->conf;
	const struct blk_info *info = blk_get_info(l->blk);
	struct catalog_identity id;
	struct scsi_lu_args args = {
	    .name = c->name,
	    .serial = c->serial != NULL ? c->serial : id.serial,
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
	    .volatile_cache = c->mode == CONF_MODE_VOLATILE,
	    .blk = l->blk,
	};
	int rc = identity(d, l, &args, &id);
	if (rc < 0)
		return rc;
	if (info->size_bytes < c->block_size) {
		snprintf(d->reason, sizeof d->reason,
		    "LUN %s: %s is empty; give it a size, as in %s:10GiB", c->name, c->store,
		    c->store);
		return -EINVAL;
	}
	rc = scsi_lu_create(d->core, &args, &l->lu);
	if (rc == -EEXIST)
		snprintf(d->reason, sizeof d->reason,
		    "LUN %s has the uuid, naa or serial of another LUN: initiators would take them "
		    "for one; "
		    "give it its own",
		    c->name);
	else if (rc < 0)
		snprintf(d->reason, sizeof d->reason, "LUN %s: %s", c->name, strerror(-rc));
	return rc < 0 ? rc : restore_reservations(d, l, args.uuid);
}

int
daemon_create_units(void *ctx)
{
	struct daemon *d = ctx;
	for (unsigned i = 0; i < d->conf->lun_count; i++) {
		int rc = create_unit(d, &d->luns[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}
