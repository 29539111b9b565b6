/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration: text → tree (with file, line and column on every node) → typed objects, with
 * every error reported at once; and back: objects as text, written atomically into conf.d. It opens
 * no store and listens on nothing: daemon/ does.
 *
 * Blocking; called by main before the loops run, by workers afterwards, and by tools. Nothing here
 * is shared between calls: each thread may work on configurations of its own; one that is built is
 * only read, from any thread.
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

/* Whose an object is: who may change it. */
enum conf_owner {
	CONF_OWNER_COMMAND_LINE, /* or a text that stands for it (conf_load_args.text) */
	CONF_OWNER_ADMIN,    /* of terrace.conf, what it includes, or a file that isn't as below */
	CONF_OWNER_COMMANDS, /* alone in conf.d/KIND-NAME.conf: rewritten by commands */
	CONF_OWNER_RUNTIME,  /* the same, of an overlay that is never written */
	CONF_OWNER_COUNT
};
const char *conf_owner_to_string(enum conf_owner o); /* "command line", "administrator", … */

enum conf_mode {
	CONF_MODE_DEFAULT, /* as the profile and the cache say: conf_lun_mode() */
	CONF_MODE_NV,
	CONF_MODE_WRITETHROUGH,
	CONF_MODE_VOLATILE,
	CONF_MODE_BYPASS,
};
const char *conf_mode_to_string(enum conf_mode m); /* "nv", … */

enum conf_profile {
	CONF_PROFILE_VMWARE, /* the default */
	CONF_PROFILE_WINDOWS,
	CONF_PROFILE_DATABASE,
	CONF_PROFILE_FILESERVER,
	CONF_PROFILE_ARCHIVE,
	CONF_PROFILE_UNCACHED,
};
const char *conf_profile_to_string(enum conf_profile p);

/* What may be done with a LUN over NBD, and with its image in the tree of terrace-fuse. */
enum conf_nbd {
	CONF_NBD_READ_ONLY, /* the default */
	CONF_NBD_RW,        /* written to while no session sees it */
	CONF_NBD_FORCE,     /* at any time */
};
const char *conf_nbd_to_string(enum conf_nbd n); /* "read_only", "rw", "force" */

/*
 * Objects begin alike: where they are, the statement that says them (borrowed from the tree; NULL
 * when the object comes from a command line), the name, the owner.
 */
struct conf_head {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	enum conf_owner owner;
};

#define CONF_RAM_NONE 1u /* less than any size */
/* Less than any rate. */
#define CONF_RATE_AUTO 1u
#define CONF_RATE_UNLIMITED 2u

/* An SSD, or a file on one, and memory, that any number of LUNs use. */
struct conf_cache {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	enum conf_owner owner;
	char *ssd;           /* blk spec of a file or a block device; NULL: memory only */
	uint64_t size_bytes; /* 0: its own; a file that doesn't exist is created with it */
	uint64_t
	    ram_bytes; /* memory for what is read; CONF_RAM_NONE; 0: a share of what there is */
	uint64_t index_bytes; /* most memory for knowing what is where on the SSD; 0: no bound */
};

struct conf_lun {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	enum conf_owner owner;
	char *store;         /* blk spec: "file:PATH", "block:PATH", "lvm:VG/LV", "ram:", "null:" */
	uint64_t size_bytes; /* 0: the store's own */
	char *cache;         /* name of a conf_cache; NULL: none */
	bool has_ssd;        /* that cache has one */
	enum conf_profile profile;
	enum conf_mode mode; /* as written: conf_lun_mode() is what holds */
	/* naa "none": not reported */
	char *uuid, *naa, *eui64, *serial, *t10_id, *vendor, *product,
	    *revision;         /* NULL: default */
	uint32_t block_size;   /* 512 or 4096 */
	int physical_exponent; /* -1: the store's */
	enum conf_nbd nbd;
	bool read_only, removable, rotational, sanitize;
	bool rotational_set;
	int thin;     /* -1: as the store can, 0, 1 */
	int compress; /* -1: as the profile says, conf_lun_compress(); 0, 1 */
};

/* What holds where no mode is written: the profile's, with an SSD or without. Never _DEFAULT. */
enum conf_mode conf_lun_mode(const struct conf_lun *l);
/* Whether what its reads bring to the SSD is compressed, as written or by the profile. */
bool conf_lun_compress(const struct conf_lun *l);

enum conf_protocol { CONF_PROTOCOL_ISCSI, CONF_PROTOCOL_SRP };
const char *conf_protocol_to_string(enum conf_protocol p);

struct conf_portal {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	enum conf_owner owner;
	char **listen; /* "ADDR:PORT", "[ADDR6]:PORT", ADDR alone: port 3260 */
	unsigned listen_count;
	enum conf_protocol protocol;
};

/* Written in its target or `discovery`, or at the top level, naming where it belongs. */
struct conf_chap {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name; /* of the object, what `user` refers to */
	enum conf_owner owner;
	bool top_level; /* written at the top level */
	char *target;   /* of one at the top level: its target; NULL with `discovery yes` */
	bool discovery; /* of one at the top level */
	char *user;     /* CHAP_N; defaults to name */
	char *secret;   /* from `secret` or `secret_file`, without the line end */
	char *mutual_user, *mutual_secret;
};

struct conf_group_lun {
	struct conf_pos pos;
	unsigned number;
	char *lun; /* name of a conf_lun */
	bool read_only;
};

/* Written in its target, or at the top level, naming it. */
struct conf_group {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name;
	enum conf_owner owner;
	bool top_level; /* written at the top level */
	char *target;   /* of one at the top level: its target */
	uint32_t order; /* among those of the top level; those of the target itself come first */
	char **initiators;
	unsigned initiator_count;
	char **users; /* names of conf_chap of the target */
	unsigned user_count;
	struct conf_group_lun *luns;
	unsigned lun_count;
};

#define CONF_GROUP_ORDER_DEFAULT 1000u
#define CONF_GROUP_ORDER_MAX 1000000u

struct conf_target {
	struct conf_pos pos;
	const struct conf_node *node;
	char *name; /* in lower case (RFC 3722) */
	enum conf_owner owner;
	char *alias;
	char **portals; /* names of conf_portal */
	unsigned portal_count;
	struct conf_chap *chaps;
	unsigned chap_count;
	struct conf_group *groups; /* in the order in which they are tried */
	unsigned group_count;
	bool open;                   /* `open yes`: who matches no group gets `luns` */
	struct conf_group_lun *luns; /* the target's own, for `open` */
	unsigned lun_count;
	char **allow, **deny; /* addresses */
	unsigned allow_count, deny_count;
	bool header_digest_required, data_digest_required;
	char *srp_id_ext, *srp_ioc_guid; /* 16 hex digits; NULL: made from the name */
};

/* A line of `limits { … }`; the key is one of the options of object "limits". */
struct conf_limit {
	struct conf_pos pos;
	const char *key; /* static */
	uint64_t value;  /* bytes, milliseconds or a count, as the key says */
};

/* A line of `hooks { on EVENT PATH ; }`. */
struct conf_hook {
	struct conf_pos pos;
	char *event; /* a name of an event, or "all" */
	char *path;  /* absolute */
};

/*
 * Everything that a configuration says. Lists are in order of appearance: terrace.conf with what it
 * includes, then conf.d.
 */
struct conf {
	const struct conf_node *root; /* borrowed from the tree; NULL: of a command line */
	struct conf_cache *caches;
	unsigned cache_count;
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
	/*
	 * Groups and chap objects of the top level whilst a configuration is built; afterwards they are
	 * among those of their targets, and of discovery, and these lists are empty.
	 */
	struct conf_group *groups;
	unsigned group_count;
	struct conf_chap *chaps;
	unsigned chap_count;
	struct conf_hook *hooks;
	unsigned hook_count;
	unsigned events_max;   /* 0: default */
	unsigned loops;        /* 0: default */
	bool normal_priority;  /* the loops': otherwise before other programs */
	uint64_t buffer_bytes; /* of all loops; 0: default */
	char *state_dir;       /* NULL: default */
	char *control;         /* NULL: default */
	char *nbd;             /* path of the NBD socket, or "off"; NULL: default */
	char *inspect;         /* where terrace-fuse mounts the tree; NULL: nowhere */
	uint64_t inspect_rate; /* bytes a second, or CONF_RATE_…; 0: default, which is automatic */
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

/* ---- whole configurations ------------------------------------------------------------------------ */

/*
 * `terrace.conf` is the administrator's and no program writes it. The files of conf.d beside it whose
 * names end in .conf are read after it, in the order of their names, without being named by an
 * include (what an include has read isn't read again). What commands create is a file each:
 * conf.d/KIND-NAME.conf.
 */

/* A file of conf.d: what it is to hold. */
struct conf_file {
	char *name;   /* conf_file_name() */
	char *text;   /* NULL: removed */
	bool runtime; /* of an overlay: never to be written; its object is CONF_OWNER_RUNTIME */
};
void conf_files_destroy(struct conf_file *files, unsigned count); /* wipes; frees the array too */

struct conf_load_args {
	const char *path; /* terrace.conf; NULL: there is none, and no conf.d */
	/*
	 * Without a path: what the command line says as text (conf_text()), and its name in
	 * messages. Its objects are CONF_OWNER_COMMAND_LINE. NULL: nothing.
	 */
	const char *text, *text_name;
	/* Files of conf.d as they are to be; of the same name twice the later one holds. */
	const struct conf_file *overlay;
	unsigned overlay_count;
	const char *const
	    *events; /* names that `on` of hooks may have, NULL-terminated; NULL: any */
};

/*
 * Reads, parses and builds; changes nothing. A journal that a killed process left is taken into
 * account as if it had been carried out. 0; -EINVAL with errors, all of them; -ENOMEM.
 * *ret_tree is set unless it is -ENOMEM (then NULL), since the errors' positions are borrowed from it;
 * *ret only with 0 (else NULL). Both are the caller's: conf_destroy(), then conf_tree_destroy().
 */
int conf_load(const struct conf_load_args *args, struct conf_errors *errors,
    struct conf_tree **ret_tree, struct conf **ret);

/*
 * Writes files of conf.d as one change: after a kill or a power cut at any instant all of them are
 * there, or none. Creates conf.d if it isn't there. A file that holds a secret gets mode 0600, others
 * may be read by whom terrace.conf may. 0: it is durable; a `reason` that isn't empty is a remark then
 * (the journal holds the change, the files couldn't be written yet: the next call, or
 * conf_recover(), does). Negative errno with one sentence in `reason`: nothing was changed, but for a
 * disk that fails after it was written to (-EIO). -EINVAL: a name or a text that no configuration
 * has; -EBUSY: another process is writing; -EUCLEAN: a journal that isn't ours lies there; else of
 * the system.
 */
int conf_commit(const char *conf_path, const struct conf_file *files, unsigned count, char *reason,
    size_t reason_cap);
/*
 * Carries out what a killed process had committed, removes what it had only begun. For the owner of
 * the configuration, at start. 0: nothing is left to do; negative errno with `reason`, as above.
 */
int conf_recover(const char *conf_path, char *reason, size_t reason_cap);

/* ---- objects by kind --------------------------------------------------------------------------------- */

enum conf_kind {
	CONF_KIND_SETTINGS, /* what isn't in an object: loops, limits, hooks, … */
	CONF_KIND_PORTAL,
	CONF_KIND_CACHE,
	CONF_KIND_LUN,
	CONF_KIND_TARGET,
	CONF_KIND_CHAP,
	CONF_KIND_GROUP,
	CONF_KIND_COUNT
};
const char *conf_kind_to_string(enum conf_kind k); /* "settings", "portal", "lun", … */
/* 0, or -EINVAL; never CONF_KIND_SETTINGS. */
int conf_kind_from_string(const char *word, enum conf_kind *ret);

/*
 * An object by name. `target` is the target of a group or of a chap object (NULL: of discovery), and
 * isn't looked at otherwise. NULL: there is none. Linear in the objects of the kind.
 */
const struct conf_head *conf_object_find(
    const struct conf *c, enum conf_kind kind, const char *target, const char *name);

/* "lun-vmfs1.conf", the caller's to free; NULL: no memory. The name is one that conf_edit_new() took. */
char *conf_file_name(enum conf_kind kind, const char *name);

/* ---- objects as text ----------------------------------------------------------------------------------- */

/*
 * An object as statements that can be changed and printed, for conf_commit(). What conf_edit_text()
 * prints is parsed to the same words again, whatever they are.
 */
struct conf_edit;

/*
 * `name` is checked by the rules of the kind and kept in its form (a target's in lower case). 0;
 * -EINVAL with `reason`; -ENOMEM.
 */
int conf_edit_new(
    enum conf_kind kind, const char *name, struct conf_edit **ret, char *reason, size_t reason_cap);
/* A copy of an object's statement, of a lun, portal, target, group or chap. 0, -EINVAL, -ENOMEM. */
int conf_edit_from(const struct conf_node *node, struct conf_edit **ret);
void conf_edit_destroy(struct conf_edit *e); /* wipes secrets; accepts NULL */

/*
 * Statements `KEY WORD...`. -EINVAL: a word that no configuration can hold (control characters, broken
 * UTF-8, too long), a key that begins no statement of an object (empty, "include"), no words at all;
 * -ENOMEM. On failure nothing is changed. Whether the key is known and the value right is for
 * conf_load() to say.
 */
/* Instead of all statements of that key; without one at the end. */
int conf_edit_set(struct conf_edit *e, const char *key, const char *const *words, unsigned count);
int conf_edit_set1(struct conf_edit *e, const char *key, const char *word);
/* Beside those of that key: behind the last one of them, else at the end. */
int conf_edit_add(struct conf_edit *e, const char *key, const char *const *words, unsigned count);
/* Removes all statements of a key, blocks too. How many there were. */
unsigned conf_edit_unset(struct conf_edit *e, const char *key);
/* Removes statements of a key whose words begin with these: ("lun", {"3"}). How many there were. */
unsigned conf_edit_remove(
    struct conf_edit *e, const char *key, const char *const *words, unsigned count);
/* The n-th statement of a key, from 0: its words without the key, borrowed. False: there is none. */
bool conf_edit_get(const struct conf_edit *e, const char *key, unsigned n,
    const char *const **ret_words, unsigned *ret_count);
enum conf_kind conf_edit_kind(const struct conf_edit *e);
const char *conf_edit_name(const struct conf_edit *e);

/* The object's text, the caller's to free with conf_text_destroy(). NULL: no memory. */
char *conf_edit_text(const struct conf_edit *e);
/* One statement as it is written, "lun 0 vmfs1", for messages. Likewise; NULL: no memory. */
char *conf_line_text(const char *key, const char *const *words, unsigned count);
/*
 * A whole configuration as text, secrets included, that conf_load() makes an equal one of (as
 * conf_diff() sees it). Likewise; NULL: no memory.
 */
char *conf_text(const struct conf *c);
void conf_text_destroy(char *text); /* wipes; accepts NULL */

/* ---- differences ----------------------------------------------------------------------------------------- */

enum conf_what { CONF_ADD, CONF_REMOVE, CONF_CHANGE };
const char *conf_what_to_string(enum conf_what w); /* "add", "remove", "change" */

/*
 * Keys in blocks and lines by number are written with a dot: "limits.depth_max", "initiators.allow",
 * "lun.3". Values are text as in a configuration; several are separated by blanks. Secrets are
 * "(secret)" on both sides.
 */
struct conf_key_change {
	char *key;
	char *
	    before; /* NULL: CONF_ADD, or a line that wasn't there. Else the value or its default */
	char *after; /* NULL: CONF_REMOVE, or a line that isn't there any more */
};

struct conf_change {
	enum conf_kind kind;
	enum conf_what what;
	char *name;   /* "" of CONF_KIND_SETTINGS */
	char *target; /* of groups and chap objects; NULL: of others, and of discovery */
	/* Borrowed from the configurations: NULL where it isn't there. */
	const struct conf_head *before, *after;
	struct conf_key_change *keys; /* of CONF_ADD and CONF_REMOVE: what isn't default */
	unsigned key_count;
};

/* By kind (in the order of the enum), target and name. */
struct conf_diff {
	struct conf_change *list;
	unsigned count;
};

/*
 * What `after` says otherwise than `before`: a comparison of values, so that order, place, comments,
 * and defaults that are written out are no difference. The order in which groups of a target are
 * tried is one: key "groups" of the target. 0, -ENOMEM. O(n log n).
 */
int conf_diff(const struct conf *before, const struct conf *after, struct conf_diff **ret);
void conf_diff_destroy(struct conf_diff *d); /* accepts NULL */
/* Whether a change touches a key; false for NULL. */
bool conf_change_has(const struct conf_change *c, const char *key);

/* ---- what holds -------------------------------------------------------------------------------------------- */

struct conf_value {
	enum conf_kind kind;
	const char *name;   /* "" of CONF_KIND_SETTINGS */
	const char *target; /* as in conf_change */
	const char *key;    /* as in conf_key_change */
	const char *value;  /* "(secret)" for a secret */
	bool is_default; /* nobody said it: the value is the schema's word, "generated", "15000" */
	const char *origin; /* "FILE:LINE", "default", "command line" */
	enum conf_owner owner;
};
/* Every object, every key. The value is borrowed for the call. Stops at the first result that isn't 0. */
typedef int conf_value_fn(void *ctx, const struct conf_value *value);
/* 0, what `fn` returned, or -ENOMEM. */
int conf_effective(const struct conf *c, conf_value_fn *fn, void *ctx);

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
