/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the change engine share. */
#ifndef DAEMON_CHANGE_PRIV_H
#define DAEMON_CHANGE_PRIV_H

#include "daemon/change.h"
#include "daemon/plan.h"

struct change;

/* A verb: what a method does to the objects of conf.d. */
struct change_verb {
	const char *method;
	/* Makes edits from the parameters. 0, or -1 with change_fail(). NULL: reload. */
	int (*edit)(struct change *c);
};

/* One file of conf.d that the change rewrites or removes. */
struct change_edit {
	enum conf_kind kind;
	char *name;   /* of the object */
	char *before; /* its text as it runs; NULL: it comes */
	bool on_disk; /* it must be there, as it runs; else it must not */
};

struct change {
	struct change_engine *engine;
	struct daemon *daemon;
	const struct change_verb *verb;
	struct ctl_call *call; /* NULL: nobody waits */
	const json_t *params;  /* valid while `call` is */
	/* who and what, for others and for the history */
	uid_t uid;
	char *user, *command;
	int64_t since_s;
	bool dry_run, yes, runtime;

	struct conf_file *files; /* of edits, in the same order */
	struct change_edit *edits;
	unsigned edit_count;
	char *forget; /* canonical store whose identity goes: lun.delete with discard */

	struct loop_job job;
	void (*after_job)(struct change *c, int rc);
	struct conf_errors errors;
	struct conf_tree *tree; /* of a load that failed: the errors' positions */
	struct daemon_config config;
	struct conf_diff *diff;
	struct plan *plan;
	const struct plan_address *failed_address;
	int listen_error;
	bool units_made, committed;

	unsigned waits;
	void (*after_waits)(struct change *c);
	struct loop_timer retry; /* memory was short; a size isn't there yet */
	void (*after_retry)(struct change *c);
	void (*done)(struct change *c); /* of change_apply() */
	uint64_t waited_ns;             /* since when, for sizes */
	/* A LUN whose size is what the change is about (change_size.c); NULL: none. */
	char *resized;
	uint64_t resized_from, resized_to; /* bytes that initiators see */
	uint64_t look;                     /* blk_looks() of its store is to reach this */
	bool grown;                        /* by what nobody had to write anywhere */
	struct loop_timer patience;        /* of who waits for the answer */

	int code; /* enum ctl_error; 0: it goes well */
	char reason[1024];
	json_t *data;                                   /* of the error */
	json_t *changes, *sessions, *remarks, *restart; /* of the answer */
};

struct change_waiting { /* behind what the daemon does by itself */
	struct list link;
	struct ctl_call *call;
	const json_t *params;
};

struct change_engine {
	struct daemon *daemon;
	struct change *current;
	bool busy_itself; /* a store is opened again */
	struct list waiting;
	bool stopping;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
	char *base_text;           /* of a command line: conf_text() */
	struct conf_file *runtime; /* what holds until the end only */
	unsigned runtime_count;
	/* in force since the start */
	unsigned loops;
	bool normal_priority;
	uint64_t buffer_bytes;
	char *state_dir, *control, *nbd, *inspect;
	struct loop_timer reopen_timer;
	struct loop_job reopen_job;
	struct reopen_lun {
		struct daemon_lun *lun, *trial;
	} * reopen;
	unsigned reopen_count, reopen_waits;
	void (*reopen_next)(struct change_engine *e); /* when nothing is waited for */
};

/* ---- change_new.c --------------------------------------------------------------------------------- */

/* NULL: no memory at all; c->code != 0: not enough. */
struct change *change_new(
    struct change_engine *e, struct ctl_call *call, const json_t *params, const char *method);
void change_free(struct change *c);
/* The change ends with this error (the first one counts). Always -1. */
int change_fail(struct change *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int change_no_memory(struct change *c);
void change_remark(struct change *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* `work` on a worker, then `after` here. */
void change_work(
    struct change *c, int (*work)(struct loop_job *j), void (*after)(struct change *c, int rc));
/* Counts what is awaited: the last change_release() calls `after`. */
void change_hold(struct change *c);
void change_release(struct change *c);
void change_released(void *change); /* the same as a callback */

/* ---- change.c, change_load.c, change_engine.c ----------------------------------------------------- */

/* From its edits on; answers and ends it. */
void change_run(struct change *c);
/* Ends it as it is: nothing was made, or all of that was taken back or applied. */
void change_finish(struct change *c);
int change_load_work(struct loop_job *j);
/* True if the change rewrites or removes this file of conf.d. */
bool change_edits(const struct change *c, const char *file);
/* The start() of methods. */
void change_start(void *daemon, struct ctl_call *call, const json_t *params);
/* What was under way has ended: the next that waits. */
void change_engine_idle(struct change_engine *e);

/* ---- change_report.c -------------------------------------------------------------------------------- */

/* It has ended, well or not: log, health, history. */
void change_report(struct change *c);
void change_history(
    struct daemon *d, uid_t uid, const char *user, const char *command, const char *result);

/* ---- change_look.c: what it would do ------------------------------------------------------------ */

json_t *change_errors_json(const struct conf_errors *e);
int change_describe(struct change *c);      /* c->changes, c->restart from c->diff */
int change_check_foreign(struct change *c); /* files say more than what runs */
int change_impact(struct change *c);        /* c->sessions; after plan_preview() */

/* ---- change_apply.c ------------------------------------------------------------------------------- */

/* Written: adopts the plan. `done` runs when nothing of what went is left. */
void change_apply(struct change *c, void (*done)(struct change *c));

/* ---- change_size.c ---------------------------------------------------------------------------------- */

/* lun.resize: this one is looked at in the end, and what it shows is told. 0 or -1. */
int change_resizes(struct change *c, const struct daemon_lun *l);
/* `c->done` runs when what has grown shows it. */
void change_sizes(struct change *c);

/* ---- cache_online.c --------------------------------------------------------------------------------- */

/* Caches that the plan has and the daemon hasn't; c->code is set if one fails. */
void change_caches_come(struct change *c, void (*after)(struct change *c));
/* Those that the running configuration hasn't, and those that this change made and that aren't to stay. */
void change_caches_go(struct change *c, void (*after)(struct change *c));
/* Those that this change made are in the files now. */
void change_caches_stay(struct change *c);

/* ---- mode_wait.c ------------------------------------------------------------------------------------ */

/* It doesn't wait for the sessions of this LUN. */
bool change_forces(const struct change *c, const char *lun);
/* A mode that waits can take effect by it, though the configuration is the same. */
bool change_has_modes(const struct change *c);
/* Remarks about those that wait. */
void change_remark_modes(struct change *c);
/* Before the views change: who was told the stronger mode in the last moment logs in again. */
void change_drop_modes(struct change *c);
int change_edit_nothing(struct change *c);

/* ---- reopen.c --------------------------------------------------------------------------------------- */

/* Stores that couldn't be opened are tried again from time to time. */
void reopen_start(struct change_engine *e);
void reopen_stop(struct change_engine *e);

/* ---- edit.c: objects of conf.d ---------------------------------------------------------------------- */

const char *edit_text_param(const struct change *c, const char *name); /* NULL: not given */
bool edit_bool_param(const struct change *c, const char *name);
/* The words of a value of JSON: text, number, yes and no, or a list of them. -1: none of that. */
struct edit_words {
	char **list;
	unsigned count;
};
int edit_words(struct change *c, const char *what, const json_t *value, struct edit_words *ret);
void edit_words_fini(struct edit_words *w);

/*
 * An object that is to come; that is there. `target` as conf_object_find(). 0 or -1 (no such object,
 * it exists already, it is the administrator's: then `line` is what to write there).
 */
int edit_new(struct change *c, enum conf_kind kind, const char *name, struct conf_edit **ret);
int edit_open(struct change *c, enum conf_kind kind, const struct conf_head *head, const char *line,
    struct conf_edit **ret);
/* Takes the edit: a file of the change. 0 or -1. */
int edit_done(struct change *c, struct conf_edit *e);
int edit_remove(
    struct change *c, enum conf_kind kind, const struct conf_head *head, const char *line);
/* One statement; several words may be given in one text for lists. */
int edit_set(struct change *c, struct conf_edit *e, const char *key, const json_t *value);
int edit_set_text(struct change *c, struct conf_edit *e, const char *key, const char *value);
/* NAME of a KIND.set{name, key, value}. */
int edit_set_key(struct change *c, enum conf_kind kind);
/* The object of a name, or -1 with "did you mean". Groups and chap objects: of any target. */
int edit_find(struct change *c, enum conf_kind kind, const char *name, const struct conf_head **ret,
    const struct conf_target **ret_target);

/* ---- edit_lun.c, edit_group.c, edit_target.c ------------------------------------------------------------ */

int edit_lun_create(struct change *c);
int edit_lun_delete(struct change *c);
int edit_lun_set(struct change *c);
int edit_lun_resize(struct change *c);
int edit_group_create(struct change *c);
int edit_group_delete(struct change *c);
int edit_group_set(struct change *c);
int edit_group_map(struct change *c);
int edit_group_unmap(struct change *c);
int edit_portal_create(struct change *c);
int edit_portal_delete(struct change *c);
int edit_portal_set(struct change *c);
int edit_target_create(struct change *c);
int edit_target_delete(struct change *c);
int edit_target_set(struct change *c);
int edit_chap_create(struct change *c);
int edit_chap_delete(struct change *c);
int edit_chap_set(struct change *c);
int edit_cache_add(struct change *c); /* edit_cache.c */
int edit_cache_remove(struct change *c);

/*
 * Maps a LUN to a group of the configuration, or to one that is to come with this pattern. `number`
 * < 0: the next free one.
 */
int edit_map_to_group(struct change *c, const struct conf_group *g, const struct conf_target *t,
    const char *lun, json_int_t number, bool read_only);
int edit_map_to_pattern(struct change *c, const char *lun);
/* The parameter `number`: < 0 when it wasn't given. 0 or -1. */
int edit_number_param(struct change *c, json_int_t *ret);

#endif
