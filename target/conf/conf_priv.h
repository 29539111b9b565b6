/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of conf/ share: sources and their order, the lexer, the schema, value checks. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H

#include "conf/conf.h"

#include <sys/types.h>

/* ---- bounds; what is over them is an error, not a crash -------------------------------------- */

#define CONF_DEPTH_MAX 16u /* blocks in blocks */
#define CONF_FILE_MAX_BYTES (1024u * 1024u)
#define CONF_TOTAL_MAX_BYTES (16u * 1024u * 1024u)
#define CONF_SOURCES_MAX 8192u /* files, each inclusion counts */
#define CONF_INCLUDE_DEPTH_MAX 8u
#define CONF_NODES_MAX 65536u
#define CONF_WORDS_MAX 262144u
#define CONF_WORD_MAX_BYTES 4096u

/* Why a value is refused: a sentence that says the cure. */
struct conf_why {
	char text[256];
};

/* ---- tree and sources ------------------------------------------------------------------------ */

/* One reading of one file. A file that is included twice is two of them. */
struct conf_source {
	char *path;                 /* what conf_pos.file points to: identifies the source */
	unsigned idx;               /* in conf_tree.sources */
	struct conf_source *parent; /* NULL: not included */
	struct conf_pos include_pos;
	unsigned depth; /* of inclusion */
	/* What it holds, for who owns it. */
	enum conf_owner owner;
	unsigned top_count;               /* statements at the top level */
	const struct conf_node *top_last; /* the last one of them */
	bool has_include;
	char *text; /* own copy, while it is parsed; wiped afterwards */
	size_t text_len;
	bool is_file; /* dev, ino and mode are known */
	dev_t dev;
	ino_t ino;
	mode_t mode;
};

/* A file of conf.d, as it is or as it is to be. */
struct conf_dir_file {
	char *name;
	bool exists; /* dev and ino are known */
	bool plain;  /* and it is no link */
	dev_t dev;
	ino_t ino;
	const struct conf_file *instead; /* NULL: it is read. Its text NULL: it isn't there */
	struct conf_source *source;      /* once it was read */
};

struct conf_dir {
	char *path;                 /* "…/conf.d" */
	struct conf_dir_file *list; /* sorted by name */
	unsigned count;
	struct conf_dir_file **by_inode; /* those that exist, sorted */
	unsigned by_inode_count;
};
/* NULL: it isn't of this folder. */
struct conf_dir_file *conf_dir_find(const struct conf_dir *d, dev_t dev, ino_t ino);

struct conf_tree {
	struct conf_dir *dir;      /* while it is read; NULL: none */
	const char *const *events; /* while it is built: as conf_load_args.events */
	struct conf_node root;     /* no words; its children are the statements */
	struct conf_source **sources;
	unsigned source_count;
	size_t total_bytes;
	unsigned node_count, word_count;
};

/* NULL: the position is of no source of the tree. */
const struct conf_source *conf_tree_source(const struct conf_tree *t, const struct conf_pos *pos);
/* Of the object at `pos`. *hint is the index of the source asked for last: objects come in order. */
enum conf_owner conf_tree_owner(
    const struct conf_tree *t, const struct conf_pos *pos, unsigned *hint);
/* Orders the errors as a reader meets them: an included file's stand where it is included. */
void conf_errors_sort(struct conf_errors *e, const struct conf_tree *t);
/* Forgets what was added since `mark` was a copy of it; nothing was sorted meanwhile. */
void conf_errors_cut(struct conf_errors *e, const struct conf_errors *mark);

/* ---- source.c -------------------------------------------------------------------------------- */

/* New source with a copy of the text; owned by the tree. 0, -ENOMEM. */
int conf_source_add(
    struct conf_tree *t, const char *path, const char *text, size_t len, struct conf_source **ret);
/*
 * Reads a regular file. 0, -ENOMEM, or -EINVAL with an error at `at` (the include statement; NULL:
 * the file itself, a source without text is added then, so that the position has a name).
 */
int conf_source_read(struct conf_tree *t, const char *path, const struct conf_pos *at,
    struct conf_errors *errors, struct conf_source **ret);
/* Adds what a file of conf.d is to be. 0, -ENOMEM. */
int conf_source_instead(
    struct conf_tree *t, const char *path, struct conf_dir_file *f, struct conf_source **ret);
/* Reads the whole of fd, `expected` bytes or more. 0, -EFBIG (over max), -ENOMEM, -errno. */
int conf_read_all(int fd, size_t expected, size_t max, char **ret, size_t *ret_len);
/* Reports bytes that no configuration has (control characters, broken UTF-8) and blanks them. */
void conf_source_check_bytes(struct conf_source *s, struct conf_errors *errors);
/* Text may hold secrets: overwritten before it is freed. */
void conf_source_drop_text(struct conf_source *s);
/* `path`, seen from the folder of `from`. NULL: no memory. */
char *conf_path_from(const char *from, const char *path);
/* False: a configuration can't hold such a byte (conf_source_check_bytes would blank it). */
bool conf_bytes_ok(const char *s, size_t len);
/* Overwrites, then frees; accepts NULL. */
void conf_wipe(char *s);

/* ---- parse.c --------------------------------------------------------------------------------- */

/* Statements of a source, at the top level. *stopped: a bound was passed. 0, -ENOMEM. */
int conf_parse_source(
    struct conf_tree *t, struct conf_errors *errors, struct conf_source *s, bool *stopped);

/* ---- dir.c, journal.c: conf.d ---------------------------------------------------------------------- */

#define CONF_JOURNAL_NAME ".pending"
#define CONF_LOCK_NAME ".lock" /* of writers; its size grows with each change, modulo 2^30 */
#define CONF_JOURNAL_MAX_BYTES (CONF_TOTAL_MAX_BYTES + 4u * 1024u * 1024u)

/* Of a file that commands write: KIND-NAME.conf, nothing that leads elsewhere. */
bool conf_file_name_ok(const char *name);
/* "…/conf.d" beside a configuration. NULL: no memory. */
char *conf_dir_path(const char *conf_path);
/*
 * What the folder holds, with `overlay` over `pending` over it, whose files must stay. 0, -ENOMEM,
 * -EINVAL with an error at `at`. A folder that isn't there is empty.
 */
int conf_dir_read(const char *path, const struct conf_file *pending, unsigned pending_count,
    const struct conf_file *overlay, unsigned overlay_count, const struct conf_pos *at,
    struct conf_errors *errors, struct conf_dir *ret);
void conf_dir_fini(struct conf_dir *d);

/* A change of several files, complete in one file, until all of them are written. */
struct conf_journal {
	struct conf_file *files;
	mode_t *modes; /* 0600, perhaps with 0040 and 0004 */
	unsigned count;
};
/* The journal's text, the caller's to wipe and free. 0, -ENOMEM. */
int conf_journal_print(const struct conf_file *files, const mode_t *modes, unsigned count,
    char **ret, size_t *ret_len);
/* Hostile. 0; -EINVAL with a reason; -ENOMEM. */
int conf_journal_parse(
    const char *data, size_t len, struct conf_journal *ret, struct conf_why *why);
/* Of the folder. 0; -ENOENT: there is none; -EINVAL, -ENOMEM, -errno with a reason. */
int conf_journal_read(int dir, struct conf_journal *ret, struct conf_why *why);
void conf_journal_fini(struct conf_journal *j);

/* ---- out.c ------------------------------------------------------------------------------------------ */

/* Text that grows; it may hold secrets. Zero-initialised. */
struct conf_out {
	char *text; /* NUL-terminated, once something was written */
	size_t len, cap;
	bool failed; /* no memory */
};
void conf_out_bytes(struct conf_out *o, const void *bytes, size_t len);
void conf_out(struct conf_out *o, const char *text);
/* A word as the lexer reads it: in quotes where it must be. */
void conf_out_word(struct conf_out *o, const char *word);
/* `depth` tabs, the words, no end. */
void conf_out_line(
    struct conf_out *o, unsigned depth, const char *key, const char *const *words, unsigned count);
/* Takes the text. NULL: no memory. */
char *conf_out_take(struct conf_out *o);
void conf_out_fini(struct conf_out *o);

/* ---- lex.c ------------------------------------------------------------------------------------ */

enum conf_token_kind {
	CONF_TOKEN_WORD,
	CONF_TOKEN_OPEN,
	CONF_TOKEN_CLOSE,
	CONF_TOKEN_SEMICOLON,
	CONF_TOKEN_LINE_END,
	CONF_TOKEN_END,
};

struct conf_token {
	enum conf_token_kind kind;
	struct conf_pos pos;
	char *word; /* WORD: the caller's to free */
};

struct conf_lexer {
	struct conf_errors *errors;
	const char *file, *at, *end;
	unsigned line, column;
};

void conf_lexer_init(struct conf_lexer *l, const struct conf_source *s, struct conf_errors *errors);
/* 0 or -ENOMEM. */
int conf_lex(struct conf_lexer *l, struct conf_token *ret);

/* ---- values (value.c, address.c) -------------------------------------------------------------- */

/* A word as messages show it: one line, not too long. Never a secret. */
struct conf_shown {
	char text[80];
};
const char *conf_show(struct conf_shown *buf, const char *word);
#define CONF_SHOW(word) conf_show(&(struct conf_shown){0}, (word))

struct conf_key;
/*
 * Checks a word and returns it in the form that is kept (the caller's to free): 0, -EINVAL (*why is
 * filled), -ENOMEM.
 */
typedef int conf_text_fn(
    const struct conf_key *k, const char *word, char **ret, struct conf_why *why);
conf_text_fn conf_text_store;     /* blk spec */
conf_text_fn conf_text_uuid;      /* lower case */
conf_text_fn conf_text_naa;       /* NAA-6: 32 hex digits, lower case */
conf_text_fn conf_text_eui64;     /* 16 hex digits, lower case */
conf_text_fn conf_text_ascii;     /* SPC-4 4.4.1: 0x20..0x7e, 1..k->max */
conf_text_fn conf_text_printable; /* 1..k->max bytes of UTF-8 */
conf_text_fn conf_text_path;      /* absolute, < k->max bytes */
conf_text_fn conf_text_path_or_off;
conf_text_fn conf_text_name;    /* of a LUN, portal, group, CHAP object */
conf_text_fn conf_text_iscsi;   /* RFC 7143 §4.2.7: iqn., eui., naa.; lower case */
conf_text_fn conf_text_pattern; /* of initiator names */
conf_text_fn conf_text_listen;  /* "ADDR:PORT", the port always there */
conf_text_fn conf_text_access;  /* address, range, ALL */
conf_text_fn conf_text_event;   /* of a hook */

/* ---- secret.c --------------------------------------------------------------------------------- */

#define CONF_SECRET_MIN 12u /* RFC 7143 §9.2.1: 96 bits */
#define CONF_SECRET_MAX 256u
#define CONF_SECRET_WINDOWS_MAX 16u

/* 0, -EINVAL. */
int conf_secret_check(const char *secret, struct conf_why *why);
/* Reads a file of one line that only its owner, root or a group may read. As conf_text_fn. */
int conf_secret_read(const char *path, char **ret, struct conf_why *why);

/* ---- schema.c --------------------------------------------------------------------------------- */

enum conf_type {
	CONF_TYPE_BOOL, /* yes|no → bool; another bool at `aux`, if any, says that it was set */
	CONF_TYPE_TRISTATE,    /* yes|no → int 1, 0 */
	CONF_TYPE_NUMBER,      /* → 4 bytes, min..max */
	CONF_TYPE_SIZE,        /* → uint64_t, min..max, or a word of `choices`, if any */
	CONF_TYPE_CHOICE,      /* one of `choices` → `size` bytes */
	CONF_TYPE_TEXT,        /* `text` → char * */
	CONF_TYPE_LIST,        /* `text` → char ** and the count at `aux`; may be repeated */
	CONF_TYPE_SECRET,      /* → char * */
	CONF_TYPE_SECRET_FILE, /* path of a file → char * with what it holds */
	CONF_TYPE_LIMIT,       /* number → struct conf_limit */
	CONF_TYPE_LIMIT_BYTES, /* size → struct conf_limit */
	CONF_TYPE_LUN_LINE,    /* N NAME [read_only] → struct conf_group_lun, count at `aux` */
	CONF_TYPE_HOOK_LINE,   /* EVENT PATH → struct conf_hook, count at `aux` */
	CONF_TYPE_OBJECTS,     /* NAME { … } → array of `object`, count at `aux` */
	CONF_TYPE_BLOCK,       /* { … } → the same structure, at `offset` */
	CONF_TYPE_COUNT
};

struct conf_choice {
	const char *word; /* NULL: end */
	unsigned value;
};

struct conf_object;

struct conf_key {
	const char *key, *argument, *fallback, *help;
	enum conf_type type;
	bool required;
	bool literal; /* TEXT: `fallback` is the value, no description of it */
	size_t offset, aux, size;
	uint64_t min, max;
	const struct conf_choice *choices;
	/* CHOICE: what holds in an object where nothing is written; `fallback` describes it. */
	unsigned (*implied)(const void *object);
	conf_text_fn *text;
	const struct conf_object *object;
};

struct conf_object {
	const char *name;  /* "" = top level */
	const char *title; /* in messages: "a lun", "the top level" */
	const struct conf_key *keys;
	unsigned key_count;
	size_t size;             /* of the structure, where there are several */
	conf_text_fn *name_text; /* NULL: has no name */
	void (*defaults)(void *object);
};

/* Groups and chap objects: so many keys at first are of those at the top level only. */
#define CONF_TOP_ONLY 2u
extern const struct conf_object conf_schema; /* the top level */
/* Of a kind; groups and chap objects as they are at the top level. */
const struct conf_object *conf_schema_object(enum conf_kind kind);
const struct conf_key *conf_schema_find(const struct conf_object *o, const char *key);

/* ---- items.c: objects as keys and words ------------------------------------------------------------ */

/* A key of an object with what holds: words, borrowed from the configuration. */
struct conf_item {
	uint64_t rank; /* place in the schema: the same for the same key, but for hooks */
	const struct conf_key *key, *block; /* block NULL: in no block */
	unsigned word_count;
	const char *const *list; /* the words; NULL: `first` and `second` */
	const char *first;       /* NULL: `number_text` */
	const char *second;
	char number_text[32]; /* made here */
	const char **made;    /* `list`, when it was made here */
	bool is_default;      /* the value is the schema's, said or not */
	bool secret;
	bool is_line;        /* of several of its key: number or event says which */
	unsigned number;     /* of a lun line */
	const char *event;   /* of a hook */
	struct conf_pos pos; /* of a line; file NULL: to be looked for */
};
struct conf_items {
	struct conf_item *list; /* sorted by rank, then event */
	unsigned count, cap;
};
/* An object; of CONF_KIND_SETTINGS the configuration. 0, -ENOMEM. Fini always. */
int conf_items_init(struct conf_items *items, enum conf_kind kind, const void *object);
void conf_items_fini(struct conf_items *items);
const char *conf_item_word(const struct conf_item *item, unsigned idx);
/* As in conf_key_change.key. */
struct conf_item_name {
	char text[192];
};
const char *conf_item_name(struct conf_item_name *buf, const struct conf_item *item);
/* The words with blanks between, or "(secret)". NULL: no memory. */
char *conf_item_value(const struct conf_item *item);
/* Order of keys, whatever their values. */
int conf_item_compare(const struct conf_item *a, const struct conf_item *b);
bool conf_item_equal(const struct conf_item *a, const struct conf_item *b);

/* An object in its place. */
struct conf_ref {
	enum conf_kind kind;
	const char *name, *target;    /* target NULL: none */
	const struct conf_head *head; /* NULL: the settings */
	const void *object;
};
/* All of them, by kind and in order of appearance; settings first. 0, -ENOMEM. */
int conf_refs(const struct conf *c, struct conf_ref **ret, unsigned *ret_count);

/* ---- attach.c ----------------------------------------------------------------------------------- */

/*
 * Moves groups and chap objects of the top level to their targets and to discovery; those without a
 * target that is there stay, with an error. 0, -ENOMEM.
 */
int conf_attach(struct conf *c, struct conf_errors *errors);

/* ---- check.c, check_target.c -------------------------------------------------------------------- */

/* Something that must be there once, or is referred to: where it stands is found when reported. */
struct conf_entry {
	const char *text;
	const struct conf_node *node; /* block of the object */
	const char *key;              /* its statement; NULL: the object's name */
	unsigned n;                   /* value of the statements of that key */
	unsigned order;               /* index among the objects */
};

struct conf_entries {
	struct conf_entry *list; /* sorted by text, then order */
	unsigned count;
};

struct conf_checker {
	const struct conf *conf;
	struct conf_errors *errors;
	struct conf_entries caches, luns, portals;
	bool *cache_used, *lun_used, *portal_used;
	bool no_memory;
};

/* What holds between values and objects. 0 or -ENOMEM. */
int conf_check(const struct conf *c, struct conf_errors *errors);
void conf_check_target(struct conf_checker *c, const struct conf_target *t);
void conf_check_chaps(struct conf_checker *c, const struct conf_chap *chaps, unsigned count);
void conf_check_group_luns(struct conf_checker *c, const struct conf_group *g);

/* Room for `cap` entries. False: no memory, remembered. */
bool conf_entries_init(struct conf_checker *c, struct conf_entries *e, unsigned cap);
/* "" and NULL are left out: their mistake is told already. */
void conf_entries_add(struct conf_entries *e, struct conf_entry x);
/* After the last one is added. */
void conf_entries_sort(struct conf_entries *e);
/* Sorts; each text that is there again is an error: "WHAT 'x' is there already (line 3)". */
void conf_entries_once(struct conf_checker *c, struct conf_entries *e, const char *what);
/* In a sorted list. NULL: not there. */
const struct conf_entry *conf_entries_find(const struct conf_entries *e, const char *text);
/* The error of a reference that leads nowhere: "there is no WHAT 'x'; did you mean 'y'?" */
void conf_entries_missing(struct conf_checker *c, const struct conf_entries *e, const char *text,
    const struct conf_pos *pos, const char *what);
void conf_entries_fini(struct conf_entries *e);

/* Statement of a block by key; NULL: none. */
const struct conf_node *conf_find(const struct conf_node *block, const char *key);
/* Position of the n-th value over all statements of a key; else of the block. */
struct conf_pos conf_value_pos(const struct conf_node *block, const char *key, unsigned n);
struct conf_pos conf_name_pos(const struct conf_node *block);
/* "line 3", or "FILE:3" seen from another file. */
struct conf_place {
	char text[160];
};
const char *conf_show_place(
    struct conf_place *buf, const struct conf_pos *pos, const struct conf_pos *from);

#endif
