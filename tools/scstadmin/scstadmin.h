/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `terracectl scstadmin`: orders in the words of SCST's scstadmin, old (-adddev, -assigndev) and new
 * (-open_dev, -add_lun), carried out on the running target with the methods that terracectl's own verbs
 * have. Each says which command of terracectl is the same.
 *
 *	words ─▶ words.c: struct scst_order ─▶ device.c, place.c, user.c, whole.c: what it means here
 *	      ─▶ act.c: a method, its command line, its answer
 *
 * Nothing is kept between two calls. What SCST calls a device is a LUN here, its LUNs are lines of groups,
 * and the LUNs and groups of an order that names no target (the old form) are those of all targets.
 * Names and texts are the administrator's or the daemon's: printed by out_text() only.
 */
#ifndef SCSTADMIN_SCSTADMIN_H
#define SCSTADMIN_SCSTADMIN_H

#include "tools/terracectl/terracectl.h"

enum scst_option {
	OPT_HANDLER,
	OPT_PATH,
	OPT_OPTIONS,
	OPT_BLOCKSIZE,
	OPT_ATTRIBUTES,
	OPT_DRIVER,
	OPT_TARGET,
	OPT_GROUP,
	OPT_LUN,
	OPT_DEVICE,
	OPT_TO,
	OPT_DGRP, /* of device groups, which there are none of */
	OPT_TGRP,
	OPT_COUNT,
};

struct scst_verb;

struct scst_order {
	const struct scst_verb *verb;
	const char *typed;            /* the verb as it was typed, without dashes */
	const char *name;             /* its value; NULL: none */
	const char *value[OPT_COUNT]; /* NULL: not given */
	bool sure;                    /* -force, -noprompt */
	bool goes_on;                 /* -cont_on_err */
};

struct admin {
	struct tool *tool;
	struct scst_order order;
	json_t *lists;    /* method → its answer, until something changes */
	json_t *commands; /* what was done, for --json */
	json_t *remarks;
	unsigned acts; /* methods that changed something, or would have */
	bool failed;   /* and that was said */
};

enum scst_name { NAME_NONE, NAME_NEEDED, NAME_OPTIONAL };

struct scst_verb {
	const char *names; /* "opendev adddev": lower case, without "_" */
	const char *shown; /* "-open_dev NAME" */
	enum scst_name name;
	unsigned needs;              /* options, as 1u << OPT_… */
	int (*run)(struct admin *a); /* a status of enum tool_exit */
	const char *text;            /* for its function */
};

/* ---- words.c ------------------------------------------------------------------------------------ */

/* Ends with a row without names. */
extern const struct scst_verb scst_verbs[];

/* False: wrong, and stderr says what. `ret` borrows from the words. */
bool scst_parse(struct tool *t, char *const *words, int count, struct scst_order *ret);
void scst_print_help(void);
/* What can follow: `words` with the last one typed so far. */
void scst_complete(char *const *words, int count);

/* ---- act.c ---------------------------------------------------------------------------------------- */

/*
 * Calls a method that changes something; takes `params`. Prints the verb of terracectl that is the same,
 * and what was done. A person is asked where sessions would lose something. TOOL_…
 */
int act(struct admin *a, const char *method, json_t *params);
/* Runs a verb of terracectl that looks. */
int act_look(struct admin *a, const char *words);
/* The answer of a method that only reads: borrowed, until the next act(). NULL: failed, which was said. */
const json_t *act_list(struct admin *a, const char *method);

/* Something is to be known; the status becomes TOOL_REMARKS. */
__attribute__((format(printf, 2, 3))) void act_remark(struct admin *a, const char *fmt, ...);
/* Nothing was done, since there is no counterpart: `fmt` is the cure. TOOL_REMARKS. */
__attribute__((format(printf, 2, 3))) int act_none(struct admin *a, const char *fmt, ...);
/* An error. TOOL_FAILED. */
__attribute__((format(printf, 2, 3))) int act_fail(struct admin *a, const char *fmt, ...);
/* Nothing needs to be done. TOOL_DONE. */
__attribute__((format(printf, 2, 3))) int act_nothing(struct admin *a, const char *fmt, ...);
/* True: sessions may lose what they have, nobody is to be asked. */
bool act_is_sure(const struct admin *a);

/* "a=b,c=d" → an object of texts, new; NULL: wrong, which was said. */
json_t *act_attributes(struct admin *a, const char *text);
bool act_is_on(const char *value);

/* It was done, perhaps with remarks. */
static inline bool
act_good(int status)
{
	return status == TOOL_DONE || status == TOOL_REMARKS;
}

/* ---- what orders mean ------------------------------------------------------------------------------- */

int scst_open_dev(struct admin *a); /* device.c */
int scst_close_dev(struct admin *a);
int scst_resync_dev(struct admin *a);
int scst_set_dev_attr(struct admin *a);
int scst_set_t10_id(struct admin *a);

int scst_add_target(struct admin *a); /* place.c */
int scst_rem_target(struct admin *a);
int scst_enable(struct admin *a);
int scst_disable(struct admin *a);
int scst_add_group(struct admin *a);
int scst_rem_group(struct admin *a);
int scst_add_init(struct admin *a);
int scst_rem_init(struct admin *a);
int scst_move_init(struct admin *a);
int scst_clear_inits(struct admin *a);
int scst_add_lun(struct admin *a); /* lun.c */
int scst_assign_dev(struct admin *a);
int scst_rem_lun(struct admin *a);
int scst_release_dev(struct admin *a);
int scst_replace_lun(struct admin *a);
int scst_clear_luns(struct admin *a);
int scst_set_lun_attr(struct admin *a);

int scst_add_tgt_attr(struct admin *a); /* user.c */
int scst_rem_tgt_attr(struct admin *a);
int scst_add_drv_attr(struct admin *a);
int scst_rem_drv_attr(struct admin *a);

int scst_clear_config(struct admin *a); /* whole.c */
int scst_write_config(struct admin *a);
int scst_check_config(struct admin *a);
int scst_config(struct admin *a);
int scst_look(struct admin *a);        /* `text`: words of the verb */
int scst_say_none(struct admin *a);    /* `text`: the cure */
int scst_say_nothing(struct admin *a); /* `text`: why */

/* ---- targets and groups (place.c) --------------------------------------------------------------------- */

#define NOBODY "!*" /* a pattern that matches no initiator: of groups that have none */

/* The targets that an order is for: a new list of names; NULL: none, which was said (*ret). */
json_t *place_targets(struct admin *a, int *ret);
typedef int (*target_order)(struct admin *a, const char *target);
/* `order` for each of them; ends at the first that fails, unless -cont_on_err. */
int place_each(struct admin *a, target_order order);
/* The object of a target, or NULL. */
const json_t *place_target(struct admin *a, const char *target);
/* A target's group of this name, which has a number behind it where there are several. NULL: none. */
const json_t *place_group(struct admin *a, const char *target, const char *name);
/* The group's object; NULL: there is none, which was said. */
const json_t *place_group_needed(struct admin *a, const char *target, const char *name);
/* True: those whom no group names are meant. */
bool place_is_default(const char *group);
/* Names of all chap objects of a target: a new list. */
json_t *place_users(struct admin *a, const char *target);
/* Creates a group of a target, for `patterns` (taken), behind those it has. Its name in `ret`. */
int place_create_group(
    struct admin *a, const char *target, const char *name, json_t *patterns, char *ret, size_t cap);
/*
 * Who shows LUNs to those whom no group names: the target itself, opened, or a group for everybody where
 * the target has CHAP users. False: failed, which was said.
 */
bool place_everyone(struct admin *a, const char *target, char *ret, size_t cap);

int run_scstadmin(struct tool *t, const struct verb *v, json_t *params);

#endif
