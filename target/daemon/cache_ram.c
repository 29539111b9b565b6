/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory of a cache, and of the LUNs behind it. It stands in front of everything else a LUN has, from
 * the making of its unit to the end of that, while the loops run: nothing in it is ever missed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/caches.h"

#define MIB (1ull << 20)
#define RAM_MIN_BYTES (16 * MIB)
#define SHARE 8u /* of the memory: where the configuration doesn't say, one in so many parts */
#define FRAMES_MIN 64u /* per loop: what the least configurable size has with the most loops */

/* What is read ahead, and how long a stream is one that isn't read again (0: any). */
static const struct {
	uint32_t ahead_bytes;
	uint64_t cutoff_bytes;
	bool ram_only; /* what is read doesn't go to the SSD */
} profiles[] = {
    [CONF_PROFILE_VMWARE] = {512u << 10, 4u << 20, false},
    [CONF_PROFILE_WINDOWS] = {1u << 20, 4u << 20, false},
    [CONF_PROFILE_DATABASE] = {0, 0, false},
    [CONF_PROFILE_FILESERVER] = {4u << 20, 4u << 20, false},
    [CONF_PROFILE_ARCHIVE] = {8u << 20, 256u << 10, true},
    [CONF_PROFILE_UNCACHED] = {0, 0, false},
};

static struct ram_volume_cfg
cfg_of(const struct conf_lun *l)
{
	ASSERT((unsigned)l->profile < sizeof profiles / sizeof profiles[0]);
	return (struct ram_volume_cfg){
	    .enabled = l->profile != CONF_PROFILE_UNCACHED && conf_lun_mode(l) != CONF_MODE_BYPASS,
	    .ahead_bytes = profiles[l->profile].ahead_bytes,
	    .cutoff_bytes = profiles[l->profile].cutoff_bytes,
	    .lower_keeps_none = profiles[l->profile].ram_only,
	};
}

/* ---- how much -------------------------------------------------------------------------------------------- */

/* The bound of a control group and of those around it: memory.max of cgroup v2. */
static uint64_t
group_bytes(void)
{
	char path[4096], file[4200], word[32];
	uint64_t least = UINT64_MAX;

	FILE *f = fopen("/proc/self/cgroup", "re");
	bool found = false;
	while (f != NULL && !found && fgets(path, sizeof path, f) != NULL)
		found = strncmp(path, "0::/", 4) == 0;
	if (f != NULL)
		fclose(f);
	if (!found)
		return least;
	path[strcspn(path, "\n")] = '\0';
	for (char *end = path + strlen(path); end != NULL; end = strrchr(path + 3, '/')) {
		uint64_t v;
		*end = '\0';
		snprintf(file, sizeof file, "/sys/fs/cgroup%s/memory.max", path + 3);
		f = fopen(file, "re");
		if (f == NULL)
			continue;
		/* "max" is no number: no bound here. */
		if (fscanf(f, "%31s", word) == 1 && text_parse_u64(word, UINT64_MAX, &v) == 0)
			least = v < least ? v : least;
		fclose(f);
	}
	return least;
}

static uint64_t
memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t group = group_bytes();
	uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
	return machine < group ? machine : group;
}

uint64_t
daemon_ram_bytes(const struct conf *conf, const struct conf_cache *x)
{
	if (x->ram_bytes == CONF_RAM_NONE)
		return 0;
	if (x->ram_bytes != 0)
		return x->ram_bytes;
	unsigned sharers = 0;
	for (unsigned i = 0; i < conf->cache_count; i++)
		sharers += conf->caches[i].ram_bytes == 0;
	ASSERT(sharers > 0);
	uint64_t share = memory_bytes() / SHARE / sharers / MIB * MIB;
	return share < RAM_MIN_BYTES ? RAM_MIN_BYTES : share;
}

/* ---- the tier -------------------------------------------------------------------------------------------- */

int
daemon_ram_create(struct daemon_cache *c, uint64_t bytes)
{
	struct ram_tier_args args = {
	    .loops = c->daemon->loops,
	    .loop_count = c->daemon->loop_count,
	    .size_bytes = bytes,
	    .frames_min = FRAMES_MIN,
	};
	c->ram_bytes = bytes;
	if (bytes == 0)
		return 0;
	int rc = ram_tier_create(&args, &c->ram);
	if (rc == -ENOMEM) {
		/* Where address space is counted as memory, there is none for larger sizes to come. */
		args.size_max_bytes = bytes;
		rc = ram_tier_create(&args, &c->ram);
	}
	return rc;
}

static void
resized(void *ctx, int result)
{
	struct daemon_cache *c = ctx;
	char size[32];

	c->ram_resizes = false;
	text_format_size(c->ram_bytes, size, sizeof size);
	if (result == 0)
		log_info("cache", "cache %s has %s of memory", c->name, size);
	else
		log_err("cache", "the memory of cache %s can't become %s: %s", c->name, size,
		    strerror(-result));
	daemon_ram_follow(c->daemon);
}

void
daemon_ram_follow(struct daemon *d)
{
	for (unsigned i = 0; i < d->conf->cache_count; i++) {
		const struct conf_cache *x = &d->conf->caches[i];
		struct daemon_cache *c = daemon_cache_find(d, x->name);
		uint64_t bytes = daemon_ram_bytes(d->conf, x);
		if (c == NULL || c->ram == NULL || bytes == 0 || c->ram_resizes ||
		    c->ram_bytes == bytes)
			continue;
		c->ram_resizes = true;
		c->ram_bytes = bytes;
		ram_tier_resize(c->ram, bytes, resized, c);
	}
}

/* ---- of a LUN ------------------------------------------------------------------------------------------ */

int
daemon_lun_ram_open(struct daemon_lun *l)
{
	ASSERT(l->ram == NULL && l->lu == NULL);
	const struct daemon_cache *c =
	    l->conf->cache != NULL ? daemon_cache_find(l->daemon, l->conf->cache) : NULL;
	if (c == NULL || c->ram == NULL)
		return 0;
	struct ram_volume_cfg cfg = cfg_of(l->conf);
	return ram_volume_open(c->ram, daemon_lun_front(l), &cfg, &l->ram);
}

void
daemon_lun_ram_undo(struct daemon_lun *l)
{
	ram_volume_discard(l->ram);
	l->ram = NULL;
}

struct ram_close {
	void (*done)(void *ctx);
	void *ctx;
};

static void
closed(void *ctx, int result)
{
	struct ram_close x = *(struct ram_close *)ctx;
	ASSERT(result == 0);
	free(ctx);
	x.done(x.ctx);
}

void
daemon_lun_ram_close(struct daemon_lun *l, void (*done)(void *ctx), void *ctx)
{
	if (l->ram == NULL) {
		done(ctx);
		return;
	}
	struct ram_close *x = calloc(1, sizeof *x);
	ASSERT(x != NULL);
	*x = (struct ram_close){done, ctx};
	struct ram_volume *v = l->ram;
	l->ram = NULL;
	ram_volume_close(v, closed, x);
}

void
daemon_lun_ram_follow(struct daemon_lun *l)
{
	if (l->ram == NULL || l->lu == NULL)
		return;
	struct ram_volume_cfg cfg = cfg_of(l->conf);
	ram_volume_set(l->ram, &cfg);
	ram_volume_follow(l->ram);
}

bool
daemon_lun_ram_stats(const struct daemon_lun *l, struct ram_volume_stats *ret)
{
	*ret = (struct ram_volume_stats){0};
	if (l->ram != NULL)
		ram_volume_get_stats(l->ram, ret);
	return l->ram != NULL;
}
