/* What the files of conf/ share: sources and their order, the lexer, the schema, value checks. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H

#include "conf/conf.h"

#include <sys/types.h>

/* ---- bounds; what is over them is an error, not a crash -------------------------------------- */

#define CONF_DEPTH_MAX 16u /* blocks in blocks */
#define CONF_FILE_MAX_BYTES (1024u * 1024u)
#define CONF_TOTAL_MAX_BYTES (16u * 1024u * 1024u)
#define CONF_SOURCES_MAX 1024u /* files, each inclusion counts */
#define CONF_INCLUDE_DEPTH_MAX 8u
#define CONF_NODES_MAX 65536u
#define CONF_WORDS_MAX 262144u
#define CONF_WORD_MAX_BYTES 4096u

/* ---- tree and sources ------------------------------------------------------------------------ */

/* One reading of one file. A file that is included twice is two of them. */
struct conf_source {
	char *path;                 /* what conf_pos.file points to: identifies the source */
	struct conf_source *parent; /* NULL: the first one */
	struct conf_pos include_pos;
	unsigned depth; /* of inclusion */
	char *text;     /* own copy, while it is parsed; wiped afterwards */
	size_t text_len;
	bool is_file; /* dev, ino and mode are known */
	dev_t dev;
	ino_t ino;
	mode_t mode;
};

struct conf_tree {
	struct conf_node root; /* no words; its children are the statements */
	struct conf_source **sources;
	unsigned source_count;
	size_t total_bytes;
	unsigned node_count, word_count;
};

/* NULL: the position is of no source of the tree. */
const struct conf_source *conf_tree_source(const struct conf_tree *t, const struct conf_pos *pos);
/* Orders the errors as a reader meets them: an included file's stand where it is included. */
void conf_errors_sort(struct conf_errors *e, const struct conf_tree *t);

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
/* Reports bytes that no configuration has (control characters, broken UTF-8) and blanks them. */
void conf_source_check_bytes(struct conf_source *s, struct conf_errors *errors);
/* Text may hold secrets: overwritten before it is freed. */
void conf_source_drop_text(struct conf_source *s);
/* `path`, seen from the folder of `from`. NULL: no memory. */
char *conf_path_from(const char *from, const char *path);
/* Overwrites, then frees; accepts NULL. */
void conf_wipe(char *s);

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

/* Why a value is refused: a sentence that says the cure. */
struct conf_why {
	char text[256];
};

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
conf_text_fn conf_text_name;      /* of a LUN, portal, group, CHAP object */
conf_text_fn conf_text_iscsi;     /* RFC 7143 §4.2.7: iqn., eui., naa.; lower case */
conf_text_fn conf_text_pattern;   /* of initiator names */
conf_text_fn conf_text_listen;    /* "ADDR:PORT", the port always there */
conf_text_fn conf_text_access;    /* address, range, ALL */

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
	CONF_TYPE_SIZE,        /* → uint64_t, min..max */
	CONF_TYPE_CHOICE,      /* one of `choices` → `size` bytes */
	CONF_TYPE_TEXT,        /* `text` → char * */
	CONF_TYPE_LIST,        /* `text` → char ** and the count at `aux`; may be repeated */
	CONF_TYPE_SECRET,      /* → char * */
	CONF_TYPE_SECRET_FILE, /* path of a file → char * with what it holds */
	CONF_TYPE_LIMIT,       /* number → struct conf_limit */
	CONF_TYPE_LIMIT_BYTES, /* size → struct conf_limit */
	CONF_TYPE_LUN_LINE,    /* N NAME [read_only] → struct conf_group_lun, count at `aux` */
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
	size_t offset, aux, size;
	uint64_t min, max;
	const struct conf_choice *choices;
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

extern const struct conf_object conf_schema; /* the top level */
const struct conf_key *conf_schema_find(const struct conf_object *o, const char *key);

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
	struct conf_entries luns, portals;
	bool *lun_used, *portal_used;
	bool no_memory;
};

/* What holds between values and objects. 0 or -ENOMEM. */
int conf_check(const struct conf *c, struct conf_errors *errors);
void conf_check_target(struct conf_checker *c, const struct conf_target *t);
void conf_check_chaps(struct conf_checker *c, const struct conf_chap *chaps, unsigned count);

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
