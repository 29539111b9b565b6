/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terracectl: words of a command line → a request on the control socket → an answer for people, or
 * as JSON. Verbs are rows of a table (verbs.c): what they are called, what they take, which method
 * they call, who prints the answer. It includes nothing of the daemon; of the modules only the table
 * of conditions, which `explain` knows without a daemon.
 *
 * One thread; everything blocks. Text that comes from the daemon may come from initiators: it is
 * printed through out_text() or a table, which leave no control character.
 */
#ifndef TERRACECTL_TERRACECTL_H
#define TERRACECTL_TERRACECTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum tool_exit {
	TOOL_DONE,
	TOOL_FAILED,
	TOOL_USAGE,
	TOOL_REMARKS,     /* done; something is to be known */
	TOOL_UNREACHABLE, /* no daemon */
	TOOL_REFUSED,     /* needs --yes */
};

/* Versions of what --json prints; fields are only ever added. */
#define TOOL_SCHEMA 1

/* ---- the command line (args.c) ------------------------------------------------------------------ */

enum arg_kind {
	ARG_TEXT,
	ARG_INT,   /* 0 … 2^32-1 */
	ARG_FLAG,  /* true */
	ARG_LIST,  /* may be given several times */
	ARG_PAIR,  /* KEY=VALUE into an object; may be given several times */
	ARG_VALUE, /* all words that are left: one as text, several as a list */
	ARG_NULL,  /* a flag: null */
	ARG_LOCAL, /* text for the verb itself, in `local`, not for the method */
};

struct arg {
	const char *name;  /* "--store"; without dashes: by position, then shown as it is */
	const char *param; /* of the method, or its place in `local` */
	enum arg_kind kind;
	bool required;
	const char *value;   /* what is shown for the value: "STORE" */
	const char *help;    /* one line */
	const char *objects; /* for completion: "lun", "file", "on|off"… (complete.c); NULL: none */
};

struct tool {
	const char *control; /* --control */
	bool json, dry_run, yes, runtime, help;
	json_t *local; /* arguments of kind ARG_LOCAL */
	struct client *client;
	char *const *command; /* after "--"; or all words, of a verb with words of its own */
	int command_count;
};

struct verb {
	const char *words;      /* "lun create" */
	const char *help;       /* one line */
	const struct arg *args; /* ends with a row without name; NULL: none */
	bool changes;           /* takes --dry-run, --yes, --runtime */
	bool no_runtime;        /* but not the last of them */
	bool no_yes;            /* only the first */
	const char *method;
	const char *unprinted; /* a parameter that is false without --json: people don't see that */
	void (*print)(const json_t *result); /* the answer for people */
	int (*judge)(const json_t *result);  /* its exit status; NULL: TOOL_DONE */
	/* Instead of calling `method` and printing. `params` borrowed. */
	int (*run)(struct tool *t, const struct verb *v, json_t *params);
	const char *more; /* paragraphs of --help */
	bool hidden;
	bool takes_command; /* what follows "--" is a command line */
	/* What follows is words of its own, all of them in t->command; what can follow them. */
	void (*complete)(char *const *words, int count);
};

/* Called as cachectl every verb is one of this group, whose name isn't said then. */
#define CACHE_GROUP "cache"
bool tool_is_cachectl(void);
const char *tool_name(void);
/* The verb's words as they are typed. */
const char *verb_shown(const struct verb *v);

extern const struct verb verbs[]; /* ends with a row without words */
extern const struct arg global_args[];
/* --dry-run and so on, as far as it has them; NULL: none. */
const struct arg *verb_change_args(const struct verb *v);

/*
 * The verb that the words begin with, how many words that are in *ret_count, or NULL: then *ret_count
 * is how many words are those of some verb.
 */
const struct verb *verb_find(char *const *words, int count, int *ret_count);
/* True if some verb begins with this word and has another. */
bool verb_is_group(const char *word);
/* "terracectl lun create NAME --store STORE [--size SIZE]". */
void verb_print_usage(const struct verb *v, FILE *f);
void verb_print_help(const struct verb *v);
void verb_print_group(const char *word);
void verb_print_all(void);

/*
 * The words after the verb's → params of the method, a new object, and the tool's own options. NULL:
 * wrong, and stderr says what.
 */
json_t *args_parse(struct tool *t, const struct verb *v, char *const *words, int count);
/* An option that every verb has, with its value if it has one: words taken (0: it is none, -1: wrong). */
int args_global(struct tool *t, char *const *words, int count);

/* ---- the daemon (client.c) ------------------------------------------------------------------------ */

struct client;

/* From JSON-RPC and target/ctl: what this program acts upon. */
enum client_code {
	CODE_METHOD_NOT_FOUND = -32601,
	CODE_INVALID_PARAMS = -32602,
	CODE_NEEDS_YES = -32001,
	CODE_CONFIG_ERRORS = -32006,
	CODE_LOST = 1, /* the daemon didn't answer */
};

struct answer {
	json_t *result; /* NULL: an error */
	int code;
	char *message;
	json_t *data; /* may be NULL */
};
void answer_fini(struct answer *a);

/*
 * Connects to `control`, $TERRACE_CONTROL, or where terraced listens by default, whichever is given
 * first. NULL: `reason` says what to do.
 */
struct client *client_open(const char *control, char *reason, size_t cap);
void client_close(struct client *c); /* accepts NULL */
/* Takes `params`, NULL: none. Always fills *ret. timeout_ms 0: waits as long as it takes. */
void client_call(
    struct client *c, const char *method, json_t *params, unsigned timeout_ms, struct answer *ret);

/* The two halves of it. False: the request couldn't be sent, *ret says why. Takes `params`. */
bool client_send(struct client *c, const char *method, json_t *params, struct answer *ret);
/* False: no answer yet. `timeout_ms` > 0. */
bool client_wait(struct client *c, unsigned timeout_ms, struct answer *ret);

/* ---- running verbs (run.c) ----------------------------------------------------------------------- */

#define ANSWER_TIMEOUT_MS 30000u /* of what only reads */

/* Connects if need be; says what is wrong on stderr (or as JSON). */
int tool_connect(struct tool *t);
/* The result (a new reference) or NULL, then *ret_exit is to be the exit status. */
json_t *tool_call(struct tool *t, const char *method, json_t *params, int *ret_exit);
/* The error for people, or as JSON; the exit status that goes with it. */
int tool_fail(const struct tool *t, const struct answer *a);
int tool_status_of(int code); /* of an error */
/* An error of our own. */
int tool_error(const struct tool *t, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* {"schema":1,"result":…} */
void tool_print_json(const json_t *result, bool one_line);
/* Calls the verb's method and prints: what rows without run() do. */
int tool_run(struct tool *t, const struct verb *v, json_t *params);

/* ---- terminal (term.c) ------------------------------------------------------------------------------ */

enum term_style { STYLE_NONE, STYLE_BOLD, STYLE_DIM, STYLE_OK, STYLE_WARN, STYLE_BAD };

/* Colours on stdout: a terminal, and NO_COLOR isn't set. */
bool term_colour(void);
/* Questions can be asked: stdin and stderr are terminals. */
bool term_asks(void);
unsigned term_columns(void); /* of stdout; 80 if it is none */
unsigned term_rows(void);
void term_begin(enum term_style s); /* nothing without colours */
void term_end(enum term_style s);
/* "… [y/N]"; false without a terminal. */
bool term_confirm(const char *question);
/* A line typed blind, to be freed; NULL: no terminal, or the end. */
char *term_secret(const char *prompt);

/* ---- output (out.c) ----------------------------------------------------------------------------------- */

/* Text of others: what could control a terminal is printed as '?'. */
void out_text(FILE *f, const char *s);
void out_styled(enum term_style s, const char *text);
/* As out_text() into a buffer; columns it takes. */
unsigned text_columns(const char *s);

/* "12 d", "3 h 20 min", "40 s". */
void text_duration(uint64_t seconds, char *buf, size_t cap);
/* "8.1k", "312", "0.4"; per second. */
void text_rate(double per_s, char *buf, size_t cap);
/* "2026-11-22 10:42:17", local time. */
void text_time(double s, char *buf, size_t cap);
/* "esx1" of "iqn.1998-01.com.vmware:esx1". */
const char *text_short_name(const char *iscsi_name);

/* Getters that never fail: "" and 0 for what isn't there or of another type. */
const char *get_text(const json_t *object, const char *key);
json_int_t get_int(const json_t *object, const char *key);
double get_number(const json_t *object, const char *key);
bool get_bool(const json_t *object, const char *key);

/* A table: cells are added row by row, columns are as wide as their widest cell. */
struct table;
struct column {
	const char *title;
	bool right;    /* aligned */
	bool optional; /* isn't shown if no row has anything there */
};
struct table *table_create(const struct column *columns, unsigned count);
void table_add(struct table *t, const char *text); /* the next cell; copied */
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_style(struct table *t, enum term_style s); /* of the cell added last */
void table_print(const struct table *t, bool header);
unsigned table_rows(const struct table *t);
void table_destroy(struct table *t);

/* ---- printers --------------------------------------------------------------------------------------------- */

void print_change(const json_t *result); /* print_change.c */
int judge_change(const json_t *result);  /* TOOL_REMARKS if there are any */
void print_check(const json_t *result);
int judge_check(const json_t *result); /* TOOL_FAILED, TOOL_REMARKS */

void print_config_errors(FILE *f, const json_t *errors);
void print_sessions_affected(FILE *f, const json_t *data);

void print_luns(const json_t *result); /* print_tables.c */
void print_targets(const json_t *result);
void print_portals(const json_t *result);
void print_groups(const json_t *result);
void print_chaps(const json_t *result);
void print_sessions(const json_t *result);
void print_history(const json_t *result);
void print_refused(const json_t *result);
void print_level(const json_t *result);
void print_config(const json_t *result);

int run_status(struct tool *t, const struct verb *v, json_t *params);  /* print_status.c */
int run_health(struct tool *t, const struct verb *v, json_t *params);  /* print_status.c */
int run_doctor(struct tool *t, const struct verb *v, json_t *params);  /* doctor.c */
int run_explain(struct tool *t, const struct verb *v, json_t *params); /* explain.c */
int run_events(struct tool *t, const struct verb *v, json_t *params);  /* print_events.c */
int run_iostat(struct tool *t, const struct verb *v, json_t *params);  /* print_iostat.c */
int run_tree(struct tool *t, const struct verb *v, json_t *params);    /* print_tree.c */
int run_connect(struct tool *t, const struct verb *v, json_t *params); /* print_connect.c */
/* Addresses of portals, those of this machine in place of wildcards: a new list. */
json_t *tool_reachable(const json_t *addresses);
int run_srp_strings(struct tool *t, const struct verb *v, json_t *params); /* print_srp.c */
/* power_fail.c */
int run_power_fail(struct tool *t, const struct verb *v, json_t *params);
int run_secret(struct tool *t, const struct verb *v, json_t *params); /* secret.c */
int run_help(struct tool *t, const struct verb *v, json_t *params);   /* main.c */
int run_config(struct tool *t, const struct verb *v, json_t *params); /* run.c */
int run_level(struct tool *t, const struct verb *v, json_t *params);  /* run.c */
int run_import(struct tool *t, const struct verb *v, json_t *params); /* import.c */
/* lvm.c */
int run_lun_create(struct tool *t, const struct verb *v, json_t *params);
int run_lun_resize(struct tool *t, const struct verb *v, json_t *params);
int run_lun_delete(struct tool *t, const struct verb *v, json_t *params);
/* tools/scstadmin */
int run_scstadmin(struct tool *t, const struct verb *v, json_t *params);
void scst_complete(char *const *words, int count);

/* The element of a list whose "name" this is, or NULL. */
const json_t *find_named(const json_t *list, const char *name);

/* ---- completion (complete.c) ------------------------------------------------------------------------------ */

void complete_words(struct tool *t, char *const *words, int count);
void complete_cache_words(struct tool *t, char *const *words, int count); /* of cachectl */

#endif
