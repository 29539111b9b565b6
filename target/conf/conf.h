/*
 * The configuration: text → tree (with file, line and column on every node) → typed objects, with
 * every error reported at once. It opens no store and listens on nothing: daemon/ does.
 *
 * Blocking; used by main before the loops run, and by tools.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- tree ------------------------------------------------------------------------------------ */

struct conf_pos {
	const char *file;      /* owned by the conf_tree */
	unsigned line, column; /* from 1; column counts bytes */
};

/* A statement: words, perhaps a block. `lun 0 vmfs1 ;`  `group esx { … }` */
struct conf_node {
	struct conf_pos pos;
	char **words; /* words[0] is the key; quotes and escapes are resolved */
	struct conf_pos *word_pos;
	unsigned word_count;
	bool has_block;
	struct conf_node **children;
	unsigned child_count;
};

struct conf_tree;

/* Errors are collected; each one with its position and one sentence that says the cure. */
struct conf_error {
	struct conf_pos pos; /* pos.file is borrowed from the tree */
	char *text;          /* a remark's begins with "remark: " */
	bool remark;         /* worth knowing, wrong it isn't */
};
/* Zero-initialised. In the order of the files once parsing or building has returned. */
struct conf_errors {
	struct conf_error *list;
	unsigned count;   /* in the list: errors and remarks */
	unsigned wrong;   /* errors, also those not in the list; 0: nothing but remarks */
	unsigned dropped; /* not in the list: over CONF_ERRORS_MAX, or without memory */
};
#define CONF_ERRORS_MAX 100u
void conf_errors_fini(struct conf_errors *e);
void conf_errors_add(struct conf_errors *e, const struct conf_pos *pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void conf_errors_remark(struct conf_errors *e, const struct conf_pos *pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Parses `text` (hostile: bounded depth, size, includes). `include PATH;` reads files relative to
 * the including one; glob patterns are sorted; cycles are errors. 0, or -EINVAL with errors added;
 * *ret is set in both cases (what could be parsed) and must be destroyed. -ENOMEM: *ret is NULL.
 */
int conf_parse_text(const char *file, const char *text, size_t len, struct conf_errors *errors,
    struct conf_tree **ret);
int conf_parse_file(const char *path, struct conf_errors *errors, struct conf_tree **ret);
const struct conf_node *conf_tree_root(const struct conf_tree *t); /* children: the statements */
void conf_tree_destroy(struct conf_tree *t);                       /* accepts NULL */

/* ---- typed objects ------------------------------------------------------------------------------- */

enum conf_mode { CONF_MODE_DEFAULT, CONF_MODE_WRITETHROUGH, CONF_MODE_VOLATILE };

/*
 * Objects begin alike: where they are, the statement that says them (borrowed from the tree; NULL
 * when the object comes from a command line), the name.
 */
struct conf_lun {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	char *store;         /* blk spec: "file:PATH", "block:PATH", "lvm:VG/LV", "ram:", "null:" */
	uint64_t size_bytes; /* 0: the store's own */
	enum conf_mode mode;
	char *uuid, *naa, *eui64, *serial, *t10_id, *vendor, *product,
	    *revision;         /* NULL: default */
	uint32_t block_size;   /* 512 or 4096 */
	int physical_exponent; /* -1: the store's */
	bool read_only, removable, rotational, sanitize;
	bool rotational_set;
	int thin; /* -1: as the store can, 0, 1 */
};

enum conf_protocol { CONF_PROTOCOL_ISCSI };

struct conf_portal {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	char **listen; /* "ADDR:PORT", "[ADDR6]:PORT", ADDR alone: port 3260 */
	unsigned listen_count;
	enum conf_protocol protocol;
};

struct conf_chap {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;   /* of the object, what `user` refers to */
	char *user;   /* CHAP_N; defaults to name */
	char *secret; /* from `secret` or `secret_file`, without the line end */
	char *mutual_user, *mutual_secret;
};

struct conf_group_lun {
	struct conf_pos pos;
	unsigned number;
	char *lun; /* name of a conf_lun */
	bool read_only;
};

struct conf_group {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	char **initiators;
	unsigned initiator_count;
	char **users; /* names of conf_chap of the target */
	unsigned user_count;
	struct conf_group_lun *luns;
	unsigned lun_count;
};

struct conf_target {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name; /* in lower case (RFC 3722) */
	char *alias;
	char **portals; /* names of conf_portal */
	unsigned portal_count;
	struct conf_chap *chaps;
	unsigned chap_count;
	struct conf_group *groups;
	unsigned group_count;
	bool open;                   /* `open yes`: who matches no group gets `luns` */
	struct conf_group_lun *luns; /* the target's own, for `open` */
	unsigned lun_count;
	char **allow, **deny; /* addresses */
	unsigned allow_count, deny_count;
	bool header_digest_required, data_digest_required;
};

/* A line of `limits { … }`; the key is one of the options of object "limits". */
struct conf_limit {
	struct conf_pos pos;
	const char *key; /* static */
	uint64_t value;  /* bytes, milliseconds or a count, as the key says */
};

/* Everything that a configuration says. Lists are in order of appearance. */
struct conf {
	struct conf_lun *luns;
	unsigned lun_count;
	struct conf_portal *portals;
	unsigned portal_count;
	struct conf_target *targets;
	unsigned target_count;
	struct conf_chap *discovery_chaps; /* `discovery { chap … }` */
	unsigned discovery_chap_count;
	char **allow, **deny; /* `initiators { allow … ; deny … }` */
	unsigned allow_count, deny_count;
	unsigned loops;            /* 0: default */
	uint64_t buffer_bytes;     /* of all loops; 0: default */
	char *state_dir;           /* NULL: default */
	char *control;             /* NULL: default */
	struct conf_limit *limits; /* only those that are set */
	unsigned limit_count;
};
/* The value of a limit, if the configuration sets it. */
bool conf_get_limit(const struct conf *c, const char *key, uint64_t *ret);

/*
 * Tree → objects: unknown and duplicate keys and names, wrong values, dangling references, two LUNs
 * with one store or identity, secrets whose file others may read: all are errors with a "did you
 * mean" where something is near. 0, -EINVAL, -ENOMEM. *ret is owned by the caller (conf_destroy), is
 * untouched on failure, and borrows positions and nodes from the tree: it goes first.
 */
int conf_build(const struct conf_tree *t, struct conf_errors *errors, struct conf **ret);
void conf_destroy(struct conf *c); /* wipes secrets; accepts NULL */

/* ---- for command lines ----------------------------------------------------------------------------- */

/* Values that are checked as those of a configuration are. */
enum conf_word {
	CONF_WORD_LISTEN,      /* → "ADDR:PORT", the port always there */
	CONF_WORD_ISCSI_NAME,  /* → in lower case */
	CONF_WORD_SECRET,      /* of CHAP; no message shows it */
	CONF_WORD_SECRET_FILE, /* path → the secret in it */
};
/*
 * *ret is the value in the form that is kept, the caller's to free. 0; -EINVAL and -ENOMEM with one
 * sentence in `reason`, *ret untouched.
 */
int conf_word(enum conf_word kind, const char *word, char **ret, char *reason, size_t reason_cap);

/* The options as a table, for terrace.conf(5) and `config --effective`. */
struct conf_option {
	const char *object; /* "lun", "portal", "target", "group", … "" = top level */
	const char *key;
	const char *argument; /* "SIZE", "yes|no", … */
	const char *fallback; /* default, as text */
	const char *help;
};
const struct conf_option *conf_options(unsigned *ret_count);

#endif
