/* SPDX-License-Identifier: BSD-2-Clause */
/* The one table of what a configuration may say. conf_build() walks it, conf_options() shows it. */
#include "conf/conf_priv.h"

#include <string.h>

#include "base/assert.h"

/* Every object's structure begins as struct conf_head. */
#define HEAD_IS(type)                                                                              \
	_Static_assert(offsetof(struct type, pos) == offsetof(struct conf_head, pos) &&            \
	                   offsetof(struct type, node) == offsetof(struct conf_head, node) &&      \
	                   offsetof(struct type, name) == offsetof(struct conf_head, name) &&      \
	                   offsetof(struct type, owner) == offsetof(struct conf_head, owner),      \
	    #type " begins as conf_head")
HEAD_IS(conf_cache);
HEAD_IS(conf_lun);
HEAD_IS(conf_portal);
HEAD_IS(conf_chap);
HEAD_IS(conf_group);
HEAD_IS(conf_target);

#define COUNT(table) (unsigned)(sizeof(table) / sizeof(table)[0])
#define KiB 1024ull
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)
#define SIZE_MAX_BYTES (1ull << 62)

/* The first word of a value is the one that is shown. */
static const struct conf_choice modes[] = {{"nv", CONF_MODE_NV}, {"writeback", CONF_MODE_NV},
    {"writethrough", CONF_MODE_WRITETHROUGH}, {"volatile", CONF_MODE_VOLATILE},
    {"bypass", CONF_MODE_BYPASS}, {NULL, 0}};
static const struct conf_choice profiles[] = {{"vmware", CONF_PROFILE_VMWARE},
    {"windows", CONF_PROFILE_WINDOWS}, {"database", CONF_PROFILE_DATABASE},
    {"fileserver", CONF_PROFILE_FILESERVER}, {"archive", CONF_PROFILE_ARCHIVE},
    {"uncached", CONF_PROFILE_UNCACHED}, {NULL, 0}};
static const struct conf_choice nbd_rights[] = {
    {"read_only", CONF_NBD_READ_ONLY}, {"rw", CONF_NBD_RW}, {"force", CONF_NBD_FORCE}, {NULL, 0}};
static const struct conf_choice block_sizes[] = {{"512", 512}, {"4096", 4096}, {NULL, 0}};
static const struct conf_choice protocols[] = {
    {"iscsi", CONF_PROTOCOL_ISCSI}, {"srp", CONF_PROTOCOL_SRP}, {NULL, 0}};
static const struct conf_choice no_size[] = {{"none", CONF_RAM_NONE}, {NULL, 0}};
static const struct conf_choice rates[] = {
    {"auto", CONF_RATE_AUTO}, {"unlimited", CONF_RATE_UNLIMITED}, {NULL, 0}};
static const struct conf_choice priorities[] = {{"high", false}, {"normal", true}, {NULL, 0}};
static const struct conf_choice digests[] = {{"offered", false}, {"required", true}, {NULL, 0}};

/* clang-format off */
#define FIELD(type, field) .offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define ARRAY(type, field, count) .offset = offsetof(struct type, field), .aux = offsetof(struct type, count)

/* ---- cache ----------------------------------------------------------------------------------- */

static const struct conf_key cache_keys[] = {
    {"ssd", "STORE", "none: memory only", "the SSD: block:PATH, file:PATH, lvm:VG/LV, or a path",
	CONF_TYPE_TEXT, FIELD(conf_cache, ssd), .text = conf_text_store},
    {"size", "SIZE", "the SSD's", "size; a file that doesn't exist is created with it and filled with zeros",
	CONF_TYPE_SIZE, FIELD(conf_cache, size_bytes), .min = MiB, .max = SIZE_MAX_BYTES},
    {"ram", "SIZE|none", "a share of an eighth of the memory", "memory for what is read",
	CONF_TYPE_SIZE, FIELD(conf_cache, ram_bytes), .min = 16 * MiB, .max = SIZE_MAX_BYTES, .choices = no_size},
    {"index", "SIZE", "no bound", "most memory for knowing what is where on the SSD",
	CONF_TYPE_SIZE, FIELD(conf_cache, index_bytes), .min = MiB, .max = SIZE_MAX_BYTES},
};
static const struct conf_object cache_object = {
    "cache", "a cache", cache_keys, COUNT(cache_keys), sizeof(struct conf_cache), conf_text_name, NULL};

/* ---- lun ------------------------------------------------------------------------------------- */

static unsigned
implied_mode(const void *object)
{
	struct conf_lun l = *(const struct conf_lun *)object;
	l.mode = CONF_MODE_DEFAULT;
	return conf_lun_mode(&l);
}

static const struct conf_key lun_keys[] = {
    {"store", "STORE", NULL, "where the bytes live: file:PATH, block:PATH, lvm:VG/LV, ram:, null:, or a path",
	CONF_TYPE_TEXT, .required = true, FIELD(conf_lun, store), .text = conf_text_store},
    {"size", "SIZE", "the store's", "size; a file that doesn't exist is created with it",
	CONF_TYPE_SIZE, FIELD(conf_lun, size_bytes), .min = 512, .max = SIZE_MAX_BYTES},
    {"cache", "NAME", "none", "cache that stands in front of the store",
	CONF_TYPE_TEXT, FIELD(conf_lun, cache), .text = conf_text_name},
    {"profile", "vmware|windows|database|fileserver|archive|uncached", "vmware", "what uses the LUN: decides the mode where none is given",
	CONF_TYPE_CHOICE, FIELD(conf_lun, profile), .choices = profiles},
    {"mode", "nv|writethrough|volatile|bypass", "nv with an SSD, else writethrough", "what an acknowledged write means",
	CONF_TYPE_CHOICE, FIELD(conf_lun, mode), .choices = modes, .implied = implied_mode},
    {"compress", "yes|no", "as the profile says", "what reads bring to the SSD is compressed there",
	CONF_TYPE_TRISTATE, FIELD(conf_lun, compress)},
    {"uuid", "UUID", "generated", "identity, from which the others come",
	CONF_TYPE_TEXT, FIELD(conf_lun, uuid), .text = conf_text_uuid},
    {"naa", "HEX|none", "from uuid", "NAA designator, 32 hexadecimal digits (NAA-6) or 16; none: hosts know the LUN by another",
	CONF_TYPE_TEXT, FIELD(conf_lun, naa), .text = conf_text_naa},
    {"eui64", "HEX", "none", "EUI-64 designator, 16 hexadecimal digits",
	CONF_TYPE_TEXT, FIELD(conf_lun, eui64), .text = conf_text_eui64},
    {"serial", "TEXT", "from uuid", "unit serial number, 1 to 64 characters",
	CONF_TYPE_TEXT, FIELD(conf_lun, serial), .text = conf_text_ascii, .max = 64},
    {"t10_id", "TEXT", "serial", "vendor specific part of the T10 designator, 1 to 64 characters",
	CONF_TYPE_TEXT, FIELD(conf_lun, t10_id), .text = conf_text_ascii, .max = 64},
    {"vendor", "TEXT", "TERRACE", "vendor identification, 1 to 8 characters",
	CONF_TYPE_TEXT, .literal = true, FIELD(conf_lun, vendor), .text = conf_text_ascii, .max = 8},
    {"product", "TEXT", "VIRTUAL-DISK", "product identification, 1 to 16 characters",
	CONF_TYPE_TEXT, .literal = true, FIELD(conf_lun, product), .text = conf_text_ascii, .max = 16},
    {"revision", "TEXT", "the version", "product revision level, 1 to 4 characters",
	CONF_TYPE_TEXT, FIELD(conf_lun, revision), .text = conf_text_ascii, .max = 4},
    {"block_size", "512|4096", "512", "logical block size in bytes",
	CONF_TYPE_CHOICE, FIELD(conf_lun, block_size), .choices = block_sizes},
    {"physical_exponent", "N", "the store's", "a physical block is 2^N logical ones",
	CONF_TYPE_NUMBER, FIELD(conf_lun, physical_exponent), .min = 0, .max = 15},
    {"read_only", "yes|no", "no", "write protected for everybody",
	CONF_TYPE_BOOL, FIELD(conf_lun, read_only)},
    {"nbd", "read_only|rw|force", "read_only", "what this machine's tools may do over NBD; rw: write while no session sees it; force: at any time",
	CONF_TYPE_CHOICE, FIELD(conf_lun, nbd), .choices = nbd_rights},
    {"removable", "yes|no", "no", "reported as a removable medium",
	CONF_TYPE_BOOL, FIELD(conf_lun, removable)},
    {"rotational", "yes|no", "the store's", "reported as a disk that rotates",
	CONF_TYPE_BOOL, FIELD(conf_lun, rotational), .aux = offsetof(struct conf_lun, rotational_set)},
    {"thin", "yes|no", "as the store can", "thin provisioned: UNMAP is accepted",
	CONF_TYPE_TRISTATE, FIELD(conf_lun, thin)},
    {"sanitize", "yes|no", "no", "the SANITIZE command is accepted where the store can",
	CONF_TYPE_BOOL, FIELD(conf_lun, sanitize)},
};

static void
lun_defaults(void *object)
{
	struct conf_lun *l = object;
	l->block_size = 512;
	l->physical_exponent = -1;
	l->thin = -1;
	l->compress = -1;
}

static const struct conf_object lun_object = {
    "lun", "a lun", lun_keys, COUNT(lun_keys), sizeof(struct conf_lun), conf_text_name, lun_defaults};

/* ---- portal ------------------------------------------------------------------------------------ */

static const struct conf_key portal_keys[] = {
    {"listen", "ADDRESS[:PORT] ...", NULL, "addresses to listen on; port 3260 where none is given",
	CONF_TYPE_LIST, .required = true, ARRAY(conf_portal, listen, listen_count), .text = conf_text_listen},
    {"protocol", "iscsi|srp", "iscsi", "what is spoken there",
	CONF_TYPE_CHOICE, FIELD(conf_portal, protocol), .choices = protocols},
};
static const struct conf_object portal_object = {
    "portal", "a portal", portal_keys, COUNT(portal_keys), sizeof(struct conf_portal), conf_text_name, NULL};

/* ---- chap, of targets, of discovery, and of the top level ------------------------------------- */

static const struct conf_key chap_keys[] = {
    {"target", "NAME", "none", "at the top level: the target whose groups may name it",
	CONF_TYPE_TEXT, FIELD(conf_chap, target), .text = conf_text_iscsi},
    {"discovery", "yes|no", "no", "at the top level: it is for discovery, no target's",
	CONF_TYPE_BOOL, FIELD(conf_chap, discovery)},
    {"user", "TEXT", "the object's name", "name that the initiator gives (CHAP_N)",
	CONF_TYPE_TEXT, FIELD(conf_chap, user), .text = conf_text_printable, .max = 255},
    {"secret", "TEXT", NULL, "its secret, 12 to 256 bytes; this or secret_file",
	CONF_TYPE_SECRET, FIELD(conf_chap, secret)},
    {"secret_file", "PATH", NULL, "file with its secret",
	CONF_TYPE_SECRET_FILE, FIELD(conf_chap, secret)},
    {"mutual_user", "TEXT", "none", "name that the target gives when the initiator asks back",
	CONF_TYPE_TEXT, FIELD(conf_chap, mutual_user), .text = conf_text_printable, .max = 255},
    {"mutual_secret", "TEXT", "none", "the target's secret; this or mutual_secret_file",
	CONF_TYPE_SECRET, FIELD(conf_chap, mutual_secret)},
    {"mutual_secret_file", "PATH", "none", "file with the target's secret",
	CONF_TYPE_SECRET_FILE, FIELD(conf_chap, mutual_secret)},
};
static const struct conf_object chap_object = {
    "chap", "a chap", chap_keys + CONF_TOP_ONLY, COUNT(chap_keys) - CONF_TOP_ONLY, sizeof(struct conf_chap), conf_text_name, NULL};

static void
top_chap_defaults(void *object)
{
	struct conf_chap *c = object;
	c->top_level = true;
}

static const struct conf_object top_chap_object = {
    "chap", "a chap", chap_keys, COUNT(chap_keys), sizeof(struct conf_chap), conf_text_name, top_chap_defaults};

/* ---- group ------------------------------------------------------------------------------------- */

static const struct conf_key group_keys[] = {
    {"target", "NAME", NULL, "at the top level: the target whose group it is",
	CONF_TYPE_TEXT, .required = true, FIELD(conf_group, target), .text = conf_text_iscsi},
    {"order", "N", "1000", "at the top level: its place among the groups of the target; those written in the target come first",
	CONF_TYPE_NUMBER, FIELD(conf_group, order), .min = 0, .max = CONF_GROUP_ORDER_MAX},
    {"initiators", "PATTERN ...", NULL, "names of the initiators it is for: * ? !; the first group that matches counts",
	CONF_TYPE_LIST, .required = true, ARRAY(conf_group, initiators, initiator_count), .text = conf_text_pattern},
    {"user", "NAME ...", "none: no CHAP", "chap objects of the target, one of which must log in",
	CONF_TYPE_LIST, ARRAY(conf_group, users, user_count), .text = conf_text_name},
    {"lun", "N NAME [read_only]", "none", "shows LUN NAME under number N",
	CONF_TYPE_LUN_LINE, ARRAY(conf_group, luns, lun_count)},
};
static const struct conf_object group_object = {
    "group", "a group", group_keys + CONF_TOP_ONLY, COUNT(group_keys) - CONF_TOP_ONLY, sizeof(struct conf_group), conf_text_name, NULL};

static void
top_group_defaults(void *object)
{
	struct conf_group *g = object;
	g->top_level = true;
	g->order = CONF_GROUP_ORDER_DEFAULT;
}

static const struct conf_object top_group_object = {
    "group", "a group", group_keys, COUNT(group_keys), sizeof(struct conf_group), conf_text_name, top_group_defaults};

/* ---- initiators, of the top level and of targets ---------------------------------------------- */

/* Where the lists lie, seen from `allow`; alike in both structures. */
struct access_lists {
	char **allow, **deny;
	unsigned allow_count, deny_count;
};
#define ACCESS_IS(type)                                                                             \
	_Static_assert(offsetof(struct type, deny) - offsetof(struct type, allow) ==                 \
	                  offsetof(struct access_lists, deny) &&                                    \
	              offsetof(struct type, allow_count) - offsetof(struct type, allow) ==          \
	                  offsetof(struct access_lists, allow_count) &&                             \
	              offsetof(struct type, deny_count) - offsetof(struct type, allow) ==           \
	                  offsetof(struct access_lists, deny_count), "lists of " #type)
ACCESS_IS(conf);
ACCESS_IS(conf_target);

static const struct conf_key access_keys[] = {
    {"allow", "ADDRESS ...", "everybody", "addresses that are admitted, whatever deny says: 192.0.2.1, 192.0.2.0/24, 2001:db8::/32, ALL",
	CONF_TYPE_LIST, ARRAY(access_lists, allow, allow_count), .text = conf_text_access},
    {"deny", "ADDRESS ...", "nobody", "addresses that are turned away",
	CONF_TYPE_LIST, ARRAY(access_lists, deny, deny_count), .text = conf_text_access},
};
static const struct conf_object access_object = {
    "initiators", "initiators", access_keys, COUNT(access_keys), 0, NULL, NULL};

/* ---- target ------------------------------------------------------------------------------------ */

static const struct conf_key target_keys[] = {
    {"alias", "TEXT", "none", "name for people, shown by initiators",
	CONF_TYPE_TEXT, FIELD(conf_target, alias), .text = conf_text_printable, .max = 255},
    {"portals", "NAME ...", NULL, "portals on which it is found",
	CONF_TYPE_LIST, .required = true, ARRAY(conf_target, portals, portal_count), .text = conf_text_name},
    {"open", "yes|no", "no", "who matches no group is admitted, without CHAP, and sees the target's own lun lines",
	CONF_TYPE_BOOL, FIELD(conf_target, open)},
    {"lun", "N NAME [read_only]", "none", "shows LUN NAME under number N to whom open yes admits",
	CONF_TYPE_LUN_LINE, ARRAY(conf_target, luns, lun_count)},
    {"initiators", "{ ... }", "everybody", "addresses that may reach this target",
	CONF_TYPE_BLOCK, .offset = offsetof(struct conf_target, allow), .object = &access_object},
    {"header_digest", "required|offered", "offered", "CRC32C over the headers",
	CONF_TYPE_CHOICE, FIELD(conf_target, header_digest_required), .choices = digests},
    {"data_digest", "required|offered", "offered", "CRC32C over the data",
	CONF_TYPE_CHOICE, FIELD(conf_target, data_digest_required), .choices = digests},
    {"srp_id_ext", "HEX", "from the name", "identifier extension of the SRP target port, 16 hexadecimal digits",
	CONF_TYPE_TEXT, FIELD(conf_target, srp_id_ext), .text = conf_text_eui64},
    {"srp_ioc_guid", "HEX", "from the name", "GUID of the SRP target port, 16 hexadecimal digits",
	CONF_TYPE_TEXT, FIELD(conf_target, srp_ioc_guid), .text = conf_text_eui64},
    {"chap", "NAME { ... }", "none", "a user with a secret, named by groups",
	CONF_TYPE_OBJECTS, ARRAY(conf_target, chaps, chap_count), .object = &chap_object},
    {"group", "NAME { ... }", "none", "which initiators see which LUNs",
	CONF_TYPE_OBJECTS, ARRAY(conf_target, groups, group_count), .object = &group_object},
};
static const struct conf_object target_object = {
    "target", "a target", target_keys, COUNT(target_keys), sizeof(struct conf_target), conf_text_iscsi, NULL};

/* ---- discovery ----------------------------------------------------------------------------------- */

static const struct conf_key discovery_keys[] = {
    {"chap", "NAME { ... }", "none: no CHAP", "who may ask for the list of targets",
	CONF_TYPE_OBJECTS, ARRAY(conf, discovery_chaps, discovery_chap_count), .object = &chap_object},
};
static const struct conf_object discovery_object = {
    "discovery", "discovery", discovery_keys, COUNT(discovery_keys), 0, NULL, NULL};

/* ---- hooks ---------------------------------------------------------------------------------------- */

static const struct conf_key hook_keys[] = {
    {"on", "EVENT PATH", "none", "program that is run when EVENT happens (all: any of them); it reads the event as JSON from its standard input",
	CONF_TYPE_HOOK_LINE, ARRAY(conf, hooks, hook_count)},
};
static const struct conf_object hooks_object = {
    "hooks", "hooks", hook_keys, COUNT(hook_keys), 0, NULL, NULL};

/* ---- limits ---------------------------------------------------------------------------------------- */

#define LIMITS ARRAY(conf, limits, limit_count)
static const struct conf_key limit_keys[] = {
    {"login_timeout_ms", "N", "15000", "milliseconds from accepting a connection to the end of its login",
	CONF_TYPE_LIMIT, LIMITS, .min = 100, .max = 600000},
    {"half_open_max", "N", "64", "connections whose login isn't finished",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 65536},
    {"half_open_per_addr_max", "N", "8", "of them from one address",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 65536},
    {"sessions_max", "N", "1024", "sessions",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 65535},
    {"sessions_per_initiator_max", "N", "8", "of them by initiators of one name",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 65535},
    {"sessions_per_addr_max", "N", "64", "of them from one address",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 65535},
    {"login_keys_max", "N", "64", "keys in a login or text negotiation",
	CONF_TYPE_LIMIT, LIMITS, .min = 32, .max = 1024},
    {"login_text_max_bytes", "SIZE", "16KiB", "text of a login or text negotiation",
	CONF_TYPE_LIMIT_BYTES, LIMITS, .min = 8 * KiB, .max = MiB},
    {"chap_value_max_bytes", "SIZE", "1KiB", "a challenge or response of CHAP",
	CONF_TYPE_LIMIT_BYTES, LIMITS, .min = 64, .max = KiB},
    {"auth_failures_max", "N", "10", "failed logins of an address in a minute, then it is refused for a minute",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 1000000},
    {"nop_data_max_bytes", "SIZE", "4KiB", "ping data",
	CONF_TYPE_LIMIT_BYTES, LIMITS, .min = 0, .max = 256 * KiB},
    {"ahs_max_bytes", "SIZE", "64", "additional header segments of a PDU",
	CONF_TYPE_LIMIT_BYTES, LIMITS, .min = 0, .max = 64},
    {"immediate_max", "N", "8", "immediate commands of a session outside its window",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 256},
    {"tmf_max", "N", "16", "task management functions under way in a session",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 256},
    {"depth_max", "N", "128", "commands of a session at once",
	CONF_TYPE_LIMIT, LIMITS, .min = 1, .max = 1024},
    {"send_queue_max_bytes", "SIZE", "4MiB", "answers that wait for a slow connection",
	CONF_TYPE_LIMIT_BYTES, LIMITS, .min = 256 * KiB, .max = GiB},
    {"send_stall_ms", "N", "30000", "milliseconds without a byte of them or of data asked for, then the connection ends",
	CONF_TYPE_LIMIT, LIMITS, .min = 1000, .max = 3600000},
    {"nop_interval_ms", "N", "15000", "milliseconds of silence before a ping; 0: none",
	CONF_TYPE_LIMIT, LIMITS, .min = 0, .max = 3600000},
    {"nop_timeout_ms", "N", "15000", "milliseconds to wait for its answer, then the connection ends",
	CONF_TYPE_LIMIT, LIMITS, .min = 100, .max = 3600000},
    {"logout_grace_ms", "N", "3000", "milliseconds that a session which a change ends has to log out",
	CONF_TYPE_LIMIT, LIMITS, .min = 0, .max = 600000},
};
static const struct conf_object limits_object = {
    "limits", "limits", limit_keys, COUNT(limit_keys), 0, NULL, NULL};

/* ---- top level --------------------------------------------------------------------------------------- */

static const struct conf_key top_keys[] = {
    {"cache", "NAME { ... }", "none", "an SSD, memory, or both in front of LUNs",
	CONF_TYPE_OBJECTS, ARRAY(conf, caches, cache_count), .object = &cache_object},
    {"lun", "NAME { ... }", "none", "a logical unit",
	CONF_TYPE_OBJECTS, ARRAY(conf, luns, lun_count), .object = &lun_object},
    {"portal", "NAME { ... }", "none", "addresses to listen on",
	CONF_TYPE_OBJECTS, ARRAY(conf, portals, portal_count), .object = &portal_object},
    {"target", "NAME { ... }", "none", "an iSCSI target",
	CONF_TYPE_OBJECTS, ARRAY(conf, targets, target_count), .object = &target_object},
    {"group", "NAME { ... }", "none", "a group of the target that it names",
	CONF_TYPE_OBJECTS, ARRAY(conf, groups, group_count), .object = &top_group_object},
    {"chap", "NAME { ... }", "none", "a chap object of the target that it names, or of discovery",
	CONF_TYPE_OBJECTS, ARRAY(conf, chaps, chap_count), .object = &top_chap_object},
    {"initiators", "{ ... }", "everybody", "addresses that may reach any target, or discover",
	CONF_TYPE_BLOCK, .offset = offsetof(struct conf, allow), .object = &access_object},
    {"discovery", "{ ... }", "no CHAP", "passwords for discovery",
	CONF_TYPE_BLOCK, .object = &discovery_object},
    {"loops", "N", "1 per core, at most 4", "threads that serve",
	CONF_TYPE_NUMBER, FIELD(conf, loops), .min = 1, .max = 32},
    {"priority", "high|normal", "high", "whether the threads that serve run before other programs, where terraced may",
	CONF_TYPE_CHOICE, FIELD(conf, normal_priority), .choices = priorities},
    {"buffers", "SIZE", "1/16 of memory, 64MiB to 1GiB", "I/O buffers of all loops together",
	CONF_TYPE_SIZE, FIELD(conf, buffer_bytes), .min = 8 * MiB, .max = 1024 * GiB},
    {"state_dir", "PATH", "/var/lib/terrace as root, else ~/.local/state/terrace", "identities and reservations",
	CONF_TYPE_TEXT, FIELD(conf, state_dir), .text = conf_text_path, .max = 4096},
    {"control", "PATH", "/run/terrace/control.sock as root, else control.sock in the state directory", "control socket",
	CONF_TYPE_TEXT, FIELD(conf, control), .text = conf_text_path, .max = 108 /* sun_path */},
    {"nbd", "PATH|off", "nbd.sock beside the control socket", "where LUNs can be read over NBD",
	CONF_TYPE_TEXT, FIELD(conf, nbd), .text = conf_text_path_or_off, .max = 108 /* sun_path */},
    {"inspect", "PATH", "nowhere", "folder where what is served is mounted as files",
	CONF_TYPE_TEXT, FIELD(conf, inspect), .text = conf_text_path, .max = 4096},
    {"inspect_rate", "SIZE|auto|unlimited", "auto", "bytes that tools may move in a second while initiators work",
	CONF_TYPE_SIZE, FIELD(conf, inspect_rate), .min = MiB, .max = 1024 * GiB, .choices = rates},
    {"hooks", "{ ... }", "none", "programs that are run when something happens",
	CONF_TYPE_BLOCK, .object = &hooks_object},
    {"events_max", "N", "10000", "events that are kept",
	CONF_TYPE_NUMBER, FIELD(conf, events_max), .min = 100, .max = 1000000},
    {"limits", "{ ... }", "see there", "bounds on what initiators can make the target do",
	CONF_TYPE_BLOCK, .object = &limits_object},
};
const struct conf_object conf_schema = {
    "", "the top level", top_keys, COUNT(top_keys), sizeof(struct conf), NULL, NULL};
/* clang-format on */

const struct conf_key *
conf_schema_find(const struct conf_object *o, const char *key)
{
	for (unsigned i = 0; i < o->key_count; i++)
		if (strcmp(o->keys[i].key, key) == 0)
			return &o->keys[i];
	return NULL;
}

const struct conf_object *
conf_schema_object(enum conf_kind kind)
{
	static const struct conf_object *const objects[CONF_KIND_COUNT] = {
	    [CONF_KIND_SETTINGS] = &conf_schema,
	    [CONF_KIND_PORTAL] = &portal_object,
	    [CONF_KIND_CACHE] = &cache_object,
	    [CONF_KIND_LUN] = &lun_object,
	    [CONF_KIND_TARGET] = &target_object,
	    [CONF_KIND_CHAP] = &top_chap_object,
	    [CONF_KIND_GROUP] = &top_group_object,
	};
	ASSERT((unsigned)kind < CONF_KIND_COUNT);
	return objects[kind];
}

/* ---- for people ----------------------------------------------------------------------------------------- */

#define OPTIONS_MAX 128u

const struct conf_option *
conf_options(unsigned *ret_count)
{
	static const struct conf_object *const objects[] = {&conf_schema, &cache_object,
	    &lun_object, &portal_object, &target_object, &top_group_object, &top_chap_object,
	    &access_object, &discovery_object, &hooks_object, &limits_object};
	static struct conf_option options[OPTIONS_MAX];
	unsigned count = 0;

	for (unsigned o = 0; o < COUNT(objects); o++) {
		for (unsigned i = 0; i < objects[o]->key_count; i++) {
			const struct conf_key *k = &objects[o]->keys[i];
			ASSERT(count < OPTIONS_MAX);
			options[count++] = (struct conf_option){.object = objects[o]->name,
			    .key = k->key,
			    .argument = k->argument,
			    .fallback = k->fallback,
			    .help = k->help};
		}
	}
	*ret_count = count;
	return options;
}
