/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A LUN whose store has grown behind a cache: the volume grows, then its unit. What makes that impossible for a
 * while (an eviction, a freeze, an SSD that has gone) passes: it is looked at again when that has ended, and every
 * few seconds.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/cache_orders.h"
#include "daemon/caches.h"

static void
grown(void *ctx, int result)
{
	struct daemon_lun *l = ctx;
	char size[32], store[32];
	int before = l->grow_error;

	l->grow_error = result == -EBUSY || result == -ESHUTDOWN ? 0 : result;
	text_format_size(blk_get_info(cache_volume_blk(l->volume))->size_bytes, size, sizeof size);
	text_format_size(blk_get_info(l->blk)->size_bytes, store, sizeof store);
	if (result == 0)
		log_info("cache", "LUN %s has %s now lun=%s", l->name, size, l->name);
	else if (l->grow_error != 0 && l->grow_error != before)
		log_err("cache",
		    "LUN %s stays as large as it is (%s, its store has %s): %s; it is tried again "
		    "lun=%s",
		    l->name, size, store, daemon_lun_grow_reason(l), l->name);
	daemon_lun_end(l);
}

const char *
daemon_lun_grow_reason(const struct daemon_lun *l)
{
	switch (l->grow_error) {
	case 0:
		return "something else of it is under way (an eviction, a change of mode, a "
		       "freeze)";
	case -EFBIG:
		return "a cache holds no larger ones";
	default:
		return l->cache != NULL && l->cache->cache == NULL
		           ? "its cache isn't in use"
		           : "its store or the SSD of its cache has failed (terracectl health)";
	}
}

bool
daemon_lun_has_grown(const struct daemon_lun *l)
{
	return l->volume == NULL ||
	       blk_get_info(daemon_lun_front(l))->size_bytes >= blk_get_info(l->blk)->size_bytes;
}

void
daemon_lun_follow_size(struct daemon_lun *l)
{
	if (l->volume == NULL || blk_get_state(l->blk) != BLK_OK ||
	    blk_get_info(cache_volume_blk(l->volume))->size_bytes >=
	        blk_get_info(l->blk)->size_bytes ||
	    !daemon_lun_begin(l))
		return;
	cache_volume_grow(l->volume, grown, l);
}
