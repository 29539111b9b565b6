/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace-fuse: what terraced serves, as a tree of files. A process of its own: statistics come from
 * the control socket, terrace-control(7), the bytes of LUNs from the NBD socket. It knows nothing of the
 * daemon but those two.
 *
 * Thread rule: one thread, one loop over epoll; nothing blocks. A request of the kernel that needs
 * an answer of the daemon is answered when that is there, within ANSWER_TIMEOUT_MS whatever the
 * daemon does; a verb of a control file takes as long as it takes, and can be interrupted.
 *
 * Answers of the daemon are those of another program: every field may be missing or of another type.
 */
#ifndef FUSE_TERRACE_FUSE_H
#define FUSE_TERRACE_FUSE_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

/* Exit statuses of all programs of the project. */
enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define CACHED_MS 100u          /* an answer is given again for so long after it came */
#define ANSWER_TIMEOUT_MS 3500u /* for an answer of a daemon that is there */
#define SILENT_TIMEOUT_MS 500u  /* … when the last one didn't come either */
#define DOWN_PATIENCE_MS 3000u  /* for one that isn't: a restart goes unnoticed */
#define RETRY_MS 100u           /* between attempts to connect */
#define ANSWER_MAX_BYTES ((size_t)256 << 20)

/* ---- events.c: descriptors and timers ---------------------------------------------------------------- */

struct watch {
	int fd;
	uint32_t mask; /* EPOLLIN and EPOLLOUT as asked for; 0: not watched */
	void (*fire)(struct watch *w, uint32_t events);
};
struct timer {
	struct list link; /* by time; to itself: not set */
	uint64_t at_ms;
	void (*fire)(struct timer *t);
};
#define EVENTS_BATCH 32
struct events {
	int epfd;
	bool stop;
	uint64_t now_ms; /* CLOCK_MONOTONIC, of this turn */
	struct list timers;
	struct watch *batch[EVENTS_BATCH]; /* of this turn; NULL: unwatched meanwhile */
};
/* 0 or -errno. */
int events_init(struct events *ev);
void events_fini(struct events *ev);
/* now_ms is that of this moment: after something that took long. */
void events_look_at_clock(struct events *ev);
/* Sets what is watched for; 0 ends it. `w` stays until then. 0 or -errno. */
int events_watch(struct events *ev, struct watch *w, uint32_t mask);
void timer_init(struct timer *t, void (*fire)(struct timer *t));
void timer_set(struct events *ev, struct timer *t, uint64_t delay_ms);
void timer_cancel(struct timer *t);
/* Until ev->stop. 0, or -errno of epoll. */
int events_run(struct events *ev);

/* ---- rpc.c: a connection to the control socket -------------------------------------------------------- */

struct rpc;

/* Embedded in its user; borrowed from submit to done or cancel. */
struct rpc_call {
	struct list link;
	json_int_t id;
	uint64_t deadline_ms; /* UINT64_MAX: none */
	char *line;           /* until it is sent */
	size_t sent;
	bool cancelled;
	void (*done)(struct rpc_call *c);
	/* in done: 0 with `result` (borrowed), or -errno; `message` is one sentence, "" without one */
	int err;
	json_t *result;
	const char *message;
};
/* Connects when it is needed. 0 or -ENOMEM. */
int rpc_create(struct events *ev, const char *path, struct rpc **ret);
/* Calls under way are forgotten without done. Accepts NULL. */
void rpc_destroy(struct rpc *r);
/*
 * `params` is taken, NULL: none. `done` exactly once, not before this returns, unless it is cancelled:
 * -EHOSTDOWN: nobody listens; -ETIMEDOUT: no answer in time (timeout_ms 0: waits on); -EACCES: this user
 * may not; -ENOENT: no such object; -EOPNOTSUPP: no such method; -EINVAL: wrong parameters; -EBUSY;
 * -EPROTO: no answer that makes sense; -EIO: it was tried and failed; -ENOMEM.
 */
void rpc_submit(
    struct rpc *r, struct rpc_call *c, const char *method, json_t *params, unsigned timeout_ms);
/* No done. The daemon may do all the same what it was asked. */
void rpc_cancel(struct rpc *r, struct rpc_call *c);

/* ---- source.c: answers, kept for CACHED_MS --------------------------------------------------------------- */

struct source;

/* One answer that is wanted. Embedded; borrowed until done or source_forget(). */
struct wish {
	struct list link;
	/* `answer` is borrowed for the call; NULL with err != 0, as of rpc_submit(). */
	void (*done)(struct wish *w, int err, json_t *answer);
};
/* 0 or -ENOMEM. */
int source_create(struct events *ev, struct rpc *rpc, struct source **ret);
void source_destroy(struct source *s); /* wishes are forgotten; accepts NULL */
struct gather_need;
/*
 * `params` is taken. `done` may run before this returns. What follows a blank in `method` is skipped.
 * Pages of lists (a parameter "from") aren't kept: there may be many of them.
 */
void source_get(struct source *s, struct wish *w, const struct gather_need *need);
void source_forget(struct wish *w);
/* What was asked before now isn't given any more. */
void source_expire(struct source *s);

#define GATHER_MAX 3u
/* Up to three answers at once. Embedded; borrowed until done. */
struct gather {
	struct part {
		struct wish wish;
		struct gather *gather;
		json_t *answer;
	} parts[GATHER_MAX];
	unsigned count, left;
	int err; /* the first */
	/* Once; the answers are g->parts[].answer, dropped after it. */
	void (*done)(struct gather *g);
};
void gather_init(struct gather *g, void (*done)(struct gather *g));
/* Before gather_start(). `params` is taken; NULL: none. */
struct gather_need {
	const char *method;
	json_t *params;
	unsigned max_age_ms; /* how long ago it may have come, if that is more than CACHED_MS */
};
/* done may run before this returns. */
void gather_start(
    struct gather *g, struct source *s, const struct gather_need *needs, unsigned count);
/* No done any more. */
void gather_cancel(struct gather *g);

/* ---- json.c: fields that may be missing --------------------------------------------------------------------- */

const char *json_text(const json_t *o, const char *key); /* "" */
json_int_t json_number(const json_t *o, const char *key, json_int_t fallback);
/*
 * The first object of a list whose text `key` is `value`; NULL: none. Borrowed. A long list may be held, and must
 * not be changed any more, until another one is looked through or json_forget_list().
 */
json_t *json_find(json_t *list, const char *key, const char *value);
void json_forget_list(void);

/* Text that grows; without memory it is `failed`. */
struct text {
	char *p; /* the caller's to free; ended by '\0' where there is any */
	size_t len, cap;
	bool failed;
};
void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *t, const char *p, size_t len);

/* ---- tree.c: what there is ------------------------------------------------------------------------------------ */

enum node_type { NODE_DIR, NODE_TEXT, NODE_LINK, NODE_IMAGE, NODE_CONTROL };

struct node;

/* LUNs without what is counted: names, sizes, states. */
#define LUN_LIST "lun.list -"
/* The parameter that names a LUN. */
#define LUN_KEY "lun"
#define LUN_STATS "lun.stats " LUN_KEY

/* How a text is made: of which answers, and by what. */
struct recipe {
	/*
	 * NULL: no more. "METHOD KEY" has the name of the object as parameter KEY; "METHOD -" has
	 * "stats": false.
	 */
	const char *methods[GATHER_MAX];
	/* The text, to be freed; NULL: no memory, or *ret_err says more. */
	char *(*render)(
	    const struct node *n, json_t *const *answers, size_t *ret_len, int *ret_err);
	/*
	 * The list of the only answer that comes in pages: "next" is the parameter "from" of the following
	 * one. render() is called for each page, with an object that has this list, and "first".
	 */
	const char *paged;
	/* Instead of an error: `err` of the answers. NULL: the error it is. */
	char *(*render_down)(const struct node *n, int err, size_t *ret_len);
};

struct listing;

/* A row of the tree: a file, or a folder with rows of its own, or one with objects in it. */
struct entry {
	const char *name; /* NULL: an object of the folder above, named after it */
	enum node_type type;
	mode_t mode; /* permissions */
	const struct entry *rows;
	unsigned row_count;
	/* Objects: made of answers, all of the kind `object`. */
	const char *methods[GATHER_MAX];
	void (*list)(const struct node *dir, json_t *const *answers, struct listing *ret);
	const struct entry *object;
	const struct recipe *recipe;
};
extern const struct entry tree_root;

/* What the kernel knows of: a place in the tree. */
struct node {
	struct list link; /* of its hash */
	struct node *parent;
	const struct entry *entry;
	char *name;       /* of an object, as the daemon says it; else the row's */
	char *target;     /* of a link */
	uint64_t ino;     /* same path, same number */
	uint64_t lookups; /* of the kernel */
	unsigned users;   /* children, open files, requests under way */
	uint64_t size;    /* of a text: of its last reading */
};

struct listing {
	struct list_item {
		char *name;   /* as a file name */
		char *real;   /* as the daemon says it */
		char *target; /* of a link, else NULL */
	} * items;
	unsigned count, cap;
	bool failed;
	const char *only; /* the file name that is looked for; NULL: all are wanted */
};
void listing_add(struct listing *l, const char *name, const char *target_fmt, ...)
    __attribute__((format(printf, 3, 4)));
const struct list_item *listing_find(const struct listing *l, const char *name);
void listing_fini(struct listing *l);

/*
 * A name as a file name: '/' and '%', control characters, and a dot in front are written as %XX.
 * The caller's to free; NULL: no memory.
 */
char *file_name_of(const char *name);

/* The object that a node is in or is: the name of the nearest one. "": none. */
const char *node_object(const struct node *n);

struct tree;
int tree_create(struct tree **ret); /* 0 or -ENOMEM */
void tree_destroy(struct tree *t);
struct node *tree_top(struct tree *t);
/* The one that is there, or a new one. `item`: of an object. NULL: no memory. */
struct node *tree_node(
    struct tree *t, struct node *parent, const struct entry *e, const struct list_item *item);
/* Gives back what nobody uses any more. */
void tree_put(struct tree *t, struct node *n);
unsigned tree_count(const struct tree *t);

/* ---- readme.c: what the file README says ------------------------------------------------------------------ */

extern const char readme_text[];

/* ---- recipes.c ------------------------------------------------------------------------------------------------------ */

extern const struct recipe recipe_readme, recipe_health, recipe_version, recipe_stats_json,
    recipe_metrics, recipe_events, recipe_target_portals, recipe_group_initiators,
    recipe_session_initiator, recipe_session_address, recipe_session_parameters,
    recipe_session_stats, recipe_cache_state, recipe_cache_status, recipe_cache_stats_json,
    recipe_cache_segments, recipe_lun_stats, recipe_lun_stats_json, recipe_lun_size,
    recipe_lun_uuid, recipe_lun_naa, recipe_lun_mode, recipe_lun_profile, recipe_lun_state,
    recipe_lun_store, recipe_lun_dirty_bytes, recipe_lun_latency, recipe_lun_heatmap,
    recipe_lun_config, recipe_lun_cache, recipe_lun_reservations, recipe_lun_dirty;

/* ---- verbs.c: what is written to a control file ------------------------------------------------------------------- */

/* A verb with its method and parameters. */
struct verb {
	const char *method;
	json_t *params; /* the caller's */
};
/*
 * One line, with or without its end, for the LUN or the cache that the file is in. 0; -EINVAL with a
 * sentence in `reason`; -ENOMEM.
 */
int verb_parse(const char *line, size_t len, bool is_cache, const char *object, struct verb *ret,
    char *reason, size_t cap);
/* What a control file says before a verb was written. */
const char *verb_help(bool is_cache);
/* A verb's answer for people; to be freed. NULL: no memory. */
char *verb_result(const json_t *answer);

/* ---- disk.c: the bytes of LUNs, over NBD ---------------------------------------------------------------------------- */

struct disks;
struct disk; /* a LUN as it was when it was opened: another one of its name is another disk */

#define DISK_IO_MAX_BYTES (1024u * 1024u)

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_SEEK_DATA, DISK_SEEK_HOLE };

struct disk_io {
	/* the caller's */
	enum disk_op op;
	uint64_t offset;
	uint32_t len;  /* READ, WRITE: a READ up to DISK_IO_MAX_BYTES, a WRITE of whole blocks */
	uint8_t *data; /* WRITE: borrowed until done. READ: the disks', in done */
	/*
	 * err: 0 or -errno. -ENODEV: the LUN is no more; -EHOSTDOWN: no daemon; -ETIMEDOUT: it doesn't
	 * answer; -ENXIO: SEEK_ beyond the end; -EROFS; what the daemon said.
	 */
	void (*done)(struct disk_io *io);
	int err;
	uint64_t at; /* READ, WRITE: bytes done; SEEK_: what was found */
	/* private */
	struct list link;
	struct disk *disk;
	uint64_t deadline_ms, since_ms;
	unsigned pieces;
	bool refreshed, is_issued;
	uint64_t scan_at;
};

/* `path` NULL: there is no NBD socket (-EOPNOTSUPP); borrowed. 0 or -ENOMEM. */
int disks_create(struct events *ev, struct source *source, struct rpc *rpc, struct disks **ret);
void disks_destroy(struct disks *d); /* no disk is open; accepts NULL */
/* Where the daemon serves NBD: NULL or "" is nowhere. 0 or -ENOMEM. */
int disks_set_path(struct disks *d, const char *path);
/* An object of lun.list. 0, -ENOMEM. */
int disk_open(struct disks *d, const json_t *lun, struct disk **ret);
/* No I/O of this user is under way. */
void disk_close(struct disk *k);
/* Done later, or before this returns. */
void disk_submit(struct disk *k, struct disk_io *io);
/* All that is under way ends with this error, before it returns. */
void disks_break(struct disks *d, int err);
/* What lun.list says now: sizes that changed, LUNs that went. */
void disks_note(struct disks *d, json_t *luns);

/* ---- mount.c ---------------------------------------------------------------------------------------------------- */

/*
 * Looks whether something can be mounted at `dir`, makes its last component if it isn't there, unmounts
 * what a dead process left. *ret_made: it was made; ret_path is absolute. Blocking, before anything runs.
 * 0 or -errno with one sentence in `reason`.
 */
int mount_prepare(
    const char *dir, char ret_path[PATH_MAX], bool *ret_made, char *reason, size_t cap);

/* ---- ops.c: the kernel's requests ---------------------------------------------------------------------------------- */

struct server {
	struct events ev;
	struct rpc *rpc;
	struct source *source;
	struct tree *tree;
	struct disks *disks;
	struct fuse_session *session;
	const char *control; /* path of the control socket */
	const char *nbd;     /* of the command line; NULL: as the daemon says */
	uid_t uid;
	gid_t gid;
	unsigned verbs; /* under way */
	uint64_t stats_since_ms;
	unsigned stats_asked; /* lun.stats since then */
	bool stats_many;      /* … before, more than STATS_MANY */
	/* struct file, struct request, struct job of ops.c */
	struct list opens, requests, jobs;
};
extern const struct fuse_lowlevel_ops server_ops;
/* Everything under way ends with errors, everything open is closed. Before the session goes. */
void server_end(struct server *s);

#endif
