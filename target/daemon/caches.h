/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The caches of a configuration: their SSDs, and the volumes of LUNs in them. A cache is attached at the
 * start and detached at the end; LUNs come to it and leave it at any time between.
 *
 * Thread rule: home loop; where it says blocking, on a worker or before the loops run.
 */
#ifndef DAEMON_CACHES_H
#define DAEMON_CACHES_H

#include <jansson.h>

#include "cache/cache.h"
#include "cache/ram/ram_tier.h"
#include "daemon/daemon.h"

struct daemon_cache {
	struct daemon *daemon;
	char *name;
	char *spec;               /* of the SSD; NULL: memory only */
	uint64_t size_bytes;      /* as configured; 0: its own */
	uint64_t index_bytes_max; /* as configured; 0: no bound */
	struct blk *ssd;          /* NULL: it couldn't be opened */
	struct cache *cache;      /* NULL: not attached */
	char *why;                /* it isn't attached: one sentence */
	bool created;             /* its file was made by this start */
	bool is_new;              /* it has to be formatted */
	struct ram_tier *ram;     /* NULL: none configured */
	uint64_t ram_bytes;       /* as configured, or as it is to become */
	bool ram_resizes;
	bool curve_asked;                /* of `ram` */
	struct cache_resizing *resizing; /* cache_resize.c; NULL: its SSD isn't being resized */
	bool busy;                       /* its SSD is being opened or attached */
	bool pending;                    /* a change makes it, and isn't written yet */
	bool leaving;                    /* it goes */
	bool accept_loss; /* somebody has accepted what its SSD lost: the next attach goes on */
	json_t *losses;   /* what the last attach found lost; NULL: nothing */
	bool lied;        /* recovery found that acknowledged writes may be missing */
	char *details[CACHE_COND_COUNT]; /* of conditions that hold; else NULL */
	struct {
		bool is_known;
		uint8_t uuid[16];
	} identity;
};

/*
 * Steps of the start. The home loop runs for them, alone: caches are attached, volumes opened. A cache
 * that can't be attached, or a LUN that can't have its volume, stops a start from the command line; with
 * a configuration file it isn't served, and says why.
 */
int daemon_open_caches(void *daemon);
void daemon_close_caches(void *daemon);

/* NULL: there was none of the name at the start. */
struct daemon_cache *daemon_cache_find(const struct daemon *d, const char *name);

/*
 * Home loop. One more in the table, with its memory, not attached. 0, -EINVAL (so much memory can't be had),
 * -ENOMEM.
 */
int daemon_cache_create(struct daemon *d, const struct conf *conf, const struct conf_cache *x,
    struct daemon_cache **ret);
/* Not attached, used by nobody: it leaves the table. */
void daemon_cache_remove(struct daemon_cache *c);
/* Formats the open SSD if it is new, and attaches it. On failure c->why tells. */
void daemon_cache_attach(struct daemon_cache *c, void (*done)(void *ctx, int result), void *ctx);

/* ---- cache_online.c: caches that come and go --------------------------------------------------- */

/* Opens and attaches one that isn't; `done` may be called at once. With `create` its file may be made. */
void daemon_cache_start(
    struct daemon_cache *c, bool create, void (*done)(void *ctx, int result), void *ctx);
/* Tries those again that couldn't be attached; *waits is raised by one for each `done` to come. */
void daemon_caches_retry(
    struct daemon *d, void (*done)(void *ctx, int result), void *ctx, unsigned *waits);

/* ---- cache_resize.c: an SSD that becomes larger or smaller ----------------------------------------- */

/* Its SSD has another size: where there is more, the cache takes it. */
void daemon_cache_sized(struct daemon_cache *c);
/* None is under way any more, and none begins; `done` may be called at once. */
void daemon_caches_stop_resizing(struct daemon *d, void (*done)(void *ctx), void *ctx);
/* The same of this one, which leaves; it isn't waited for. */
void daemon_cache_stop_resizing(struct daemon_cache *c);
/* For cache.list; NULL: it isn't being resized. */
json_t *daemon_cache_resize_json(const struct daemon_cache *c);

/* ---- cache_ram.c: the memory of caches ----------------------------------------------------------- */

/* What the cache has by this configuration; 0: none. Where it doesn't say: an eighth of the memory that
 * this process may have, shared by all of which that is so. */
uint64_t daemon_ram_bytes(const struct conf *conf, const struct conf_cache *x);
/* Before the loops run. Makes c->ram if it is to have any. 0, -EINVAL (too little or too much), -ENOMEM. */
int daemon_ram_create(struct daemon_cache *c, uint64_t bytes);
/* Sizes become what the configuration says, in their own time. Memory that comes or goes altogether does
 * so at the next start. */
void daemon_ram_follow(struct daemon *d);
/* Puts memory in front of what the LUN has, if its cache has any; l->ram from then on. 0 or -ENOMEM. */
int daemon_lun_ram_open(struct daemon_lun *l);
/* Takes it away again: the unit couldn't be made. */
void daemon_lun_ram_undo(struct daemon_lun *l);
/* The loops run, the unit is gone. `done` may be called at once. */
void daemon_lun_ram_close(struct daemon_lun *l, void (*done)(void *ctx), void *ctx);
/* Profile or mode have changed. */
void daemon_lun_ram_follow(struct daemon_lun *l);
/* Since its unit was made. False: it has no memory in front, *ret is zero. Of all LUNs together, also
 * those that went: ram_tier_get_stats() of the cache's `ram`. */
bool daemon_lun_ram_stats(const struct daemon_lun *l, struct ram_volume_stats *ret);

/* It is told when its SSD goes and comes; until false, before it is detached. */
void daemon_cache_watch(struct daemon_cache *c, bool on);

/* ---- cache_ssd.c ----------------------------------------------------------------------------------- */

/*
 * Blocking. Opens the SSD: c->ssd, c->created, c->is_new. A file is made and filled with zeros, with
 * progress. 0 or -errno with a sentence: what is there is no cache and isn't empty, can't be durable,
 * has holes, is in use, …; -EINTR: a signal to end came while it was filled. Nothing that was there is
 * overwritten.
 */
int daemon_ssd_open(struct daemon_cache *c, char *reason, size_t cap);
/* Blocking. Closes it; a file that this start made, and that has no cache yet, is removed. */
void daemon_ssd_close(struct daemon_cache *c, bool undo);

/* ---- cache_marker.c: which cache has a store's newest data ------------------------------------------ */

/* Owned by whoever made it; outlives the volume that uses it. */
struct daemon_marker;

/* Blocking. Of the store of this canonical name. 0 or -ENOMEM. */
int daemon_marker_create(struct daemon *d, const char *store, struct daemon_marker **ret);
void daemon_marker_destroy(struct daemon_marker *m); /* no call under way; accepts NULL */
extern const struct cache_marker_ops daemon_marker_ops;
/* Blocking. 0 (m->present tells whether there is one), -EINVAL: damaged; -errno. */
int daemon_marker_read(const struct daemon_marker *m, struct cache_marker *ret);
/* Blocking. There is none from then on, durably. 0 or -errno. */
int daemon_marker_clear(const struct daemon_marker *m);
/* How a person takes it away, giving up what the store lacks. */
void daemon_marker_describe(const struct daemon_marker *m, char *buf, size_t cap);
/* True if it isn't with the store but in the state directory: another host doesn't see it. */
bool daemon_marker_is_local(const struct daemon_marker *m);

/* ---- cache_lun.c: the volume of a LUN ------------------------------------------------------------------ */

/*
 * Opens the volume of a LUN whose store is open and that has a cache; l->volume from then on. `done` may
 * be called at once. 0 or -errno, with a sentence that is l->why.
 */
void daemon_lun_attach(struct daemon_lun *l, void (*done)(void *ctx, int result), void *ctx);
/*
 * The LUN has no unit. Without a volume nothing happens. `remove`: all of its data goes to the store
 * and the cache forgets it; when that fails it stays in the cache, and result and l->why tell.
 */
void daemon_lun_detach(
    struct daemon_lun *l, bool remove, void (*done)(void *ctx, int result), void *ctx);
/* What the unit uses: memory, the volume, or the store. */
struct blk *daemon_lun_front(const struct daemon_lun *l);
/* What holds: of the volume, or of the configuration. "nv", … */
const char *daemon_lun_mode(const struct daemon_lun *l);
enum cache_mode daemon_cache_mode(enum conf_mode m);
/* The volume has another mode than the configuration says: it is changed, in its own time. */
void daemon_lun_follow_mode(struct daemon_lun *l);

/* ---- cache_grow.c ---------------------------------------------------------------------------------- */

/* The store has grown and the volume hasn't: it does, in its own time. */
void daemon_lun_follow_size(struct daemon_lun *l);
/* What is shown is as large as the store is. */
bool daemon_lun_has_grown(const struct daemon_lun *l);
/* Why it isn't so; after a colon. */
const char *daemon_lun_grow_reason(const struct daemon_lun *l);

/* ---- mode_wait.c ---------------------------------------------------------------------------------- */

/* Its configured mode is weaker than what its unit is, and waits for the sessions that see it. */
bool daemon_lun_mode_waits(const struct daemon_lun *l);
/* Sessions that see its unit; who they are, cut to whole names (cap 0: not wanted). */
unsigned daemon_lun_users(const struct daemon_lun *l, char *buf, size_t cap);

#endif
