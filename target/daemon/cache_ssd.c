/* SPDX-License-Identifier: BSD-2-Clause */
/* The SSD of a configured cache: what ssd/ says of it, and the block device. */
#include <stdio.h>
#include <unistd.h>

#include "daemon/caches.h"
#include "ssd/ssd.h"

int
daemon_ssd_open(struct daemon_cache *c, char *reason, size_t cap)
{
	const struct daemon *d = c->daemon;
	const struct ssd_args look = {
	    .spec = c->spec,
	    .name = c->name,
	    .size_bytes = c->size_bytes,
	    .unsafe_fs = d->options->unsafe_fs,
	};
	struct blk_open_args args = {
	    .spec = c->spec,
	    .size_bytes = c->size_bytes,
	    .flags =
	        (d->options->unsafe_fs ? BLK_OPEN_UNSAFE_FS : 0u) |
	        (d->served ? BLK_OPEN_WATCH_LATER : 0u), /* then it is a worker that opens it */
	    .loops = d->loops,
	    .loop_count = d->loop_count,
	};
	struct ssd_found found;
	char why[768];
	int rc = ssd_examine(&look, &found, reason, cap);

	if (rc == 0) {
		c->created = found.created;
		c->is_new = found.is_new;
		/* One that is there may have been resized since; the superblocks say how large it has to be. */
		if (!found.is_new)
			args.size_bytes = 0;
		rc = blk_open(&args, &c->ssd, why, sizeof why);
		if (rc < 0)
			snprintf(reason, cap, "cache %s: %s", c->name, why);
	}
	if (rc < 0)
		daemon_ssd_close(c, true);
	return rc;
}

void
daemon_ssd_close(struct daemon_cache *c, bool undo)
{
	char buf[4096];
	const char *path = ssd_path(c->spec, buf, sizeof buf);
	blk_close(c->ssd);
	c->ssd = NULL;
	if (undo && c->created && path != NULL)
		(void)unlink(path);
	c->created = c->created && !undo;
}
