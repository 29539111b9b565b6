/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be asked for and ordered: one row a verb. terracectl(8) is compared with it by a test. */
#include "tools/cachectl/cachectl.h"

#define END                                                                                        \
	{                                                                                          \
		.name = NULL                                                                       \
	}
#define NAME(objects)                                                                              \
	{                                                                                          \
		"NAME", "name", ARG_TEXT, true, NULL, "its name", objects                          \
	}
#define LAST                                                                                       \
	{                                                                                          \
		"--limit", "limit", ARG_INT, false, "N", "only the last N", NULL                   \
	}
#define SET_KEY                                                                                    \
	{                                                                                          \
		"KEY", "key", ARG_TEXT, true, NULL, "key as in terrace.conf(5)", NULL              \
	}
#define SET_VALUE                                                                                  \
	{                                                                                          \
		"VALUE", "value", ARG_VALUE, true, NULL, "its value; or --default", NULL           \
	}
#define SET_DEFAULT                                                                                \
	{                                                                                          \
		"--default", "value", ARG_NULL, false, NULL, "as if the key weren't there", NULL   \
	}

/* clang-format off */

/* ---- looking --------------------------------------------------------------------------------------- */

static const struct arg explain_args[] = {
	{"CODE", "code", ARG_LOCAL, false, NULL, "a condition's code or name", "code"},
	END,
};

static const struct arg events_args[] = {
	{"--follow", "follow", ARG_FLAG, false, NULL, "go on with those that come", NULL},
	{"--since", "since", ARG_INT, false, "ID", "only those after this one", NULL},
	LAST,
	END,
};

static const struct arg history_args[] = {LAST, END};

static const struct arg iostat_args[] = {
	{"SECONDS", "seconds", ARG_INT, false, NULL, "print again every so often", NULL},
	{"COUNT", "count", ARG_INT, false, NULL, "how many times (default: until ^C)", NULL},
	END,
};

static const struct arg connect_args[] = {
	{"TARGET", "target", ARG_LOCAL, false, NULL, "only this one", "target"},
	{"--os", "os", ARG_LOCAL, false, "SYSTEM", "only for linux, windows or esxi",
	    "linux|windows|esxi"},
	END,
};

static const struct arg srp_strings_args[] = {
	{"TARGET", "target", ARG_LOCAL, false, NULL, "only this one", "target"},
	{"--systemd", "systemd", ARG_FLAG, false, NULL,
	    "a unit of systemd for the initiator, for one target", NULL},
	END,
};

/* ---- LUNs --------------------------------------------------------------------------------------------- */

static const struct arg lun_create_args[] = {
	NAME(NULL),
	{"--store", "store", ARG_TEXT, false, "STORE", "file:PATH, block:PATH, lvm:VG/LV, ram:, null:",
	    "store"},
	{"--vg", "vg", ARG_LOCAL, false, "GROUP", "or: make a volume of SIZE in this volume group of LVM",
	    NULL},
	{"--size", "size", ARG_TEXT, false, "SIZE", "like 10GiB; of a file: it is created", NULL},
	{"--mode", "mode", ARG_TEXT, false, "MODE", "writethrough or volatile",
	    "writethrough|volatile"},
	{"--set", "options", ARG_PAIR, false, "KEY=VALUE", "another key of terrace.conf(5)", NULL},
	{"--to", "to", ARG_TEXT, false, "PATTERN", "who sees it, by initiator name", NULL},
	{"--target", "target", ARG_TEXT, false, "IQN", "under which target", "target"},
	{"--group", "group", ARG_TEXT, false, "GROUP", "who sees it: a group; with --to a new one",
	    "group"},
	{"--number", "number", ARG_INT, false, "N", "at which number (default: the next)", NULL},
	{"--read-only", "read_only", ARG_FLAG, false, NULL, "nobody may write", NULL},
	END,
};

static const struct arg lun_delete_args[] = {
	NAME("lun"),
	{"--discard", "discard", ARG_FLAG, false, NULL, "forget its identity too", NULL},
	{"--with-volume", "with_volume", ARG_FLAG, false, NULL, "and remove its volume of LVM: the data is gone",
	    NULL},
	END,
};

static const struct arg lun_set_args[] = {
	NAME("lun"), SET_KEY, SET_VALUE, SET_DEFAULT, END,
};

static const struct arg lun_resize_args[] = {
	NAME("lun"),
	{"SIZE", "size", ARG_TEXT, false, NULL, "new size; without: what the device has", NULL},
	END,
};

/* ---- targets, portals ----------------------------------------------------------------------------------- */

static const struct arg target_create_args[] = {
	{"IQN", "name", ARG_TEXT, true, NULL, "its name, like iqn.2026-11.example:san", NULL},
	{"--portal", "portals", ARG_LIST, true, "PORTAL", "where it can be reached", "portal"},
	{"--alias", "alias", ARG_TEXT, false, "TEXT", "a name for people", NULL},
	{"--open", "open", ARG_FLAG, false, NULL, "admit whom no group names", NULL},
	END,
};

static const struct arg target_delete_args[] = {NAME("target"), END};
static const struct arg target_set_args[] = {
	NAME("target"), SET_KEY, SET_VALUE, SET_DEFAULT, END,
};

static const struct arg portal_create_args[] = {
	NAME(NULL),
	{"--listen", "listen", ARG_LIST, true, "ADDRESS", "address, with :PORT if not 3260", NULL},
	END,
};

static const struct arg portal_delete_args[] = {NAME("portal"), END};
static const struct arg portal_set_args[] = {
	NAME("portal"), SET_KEY, SET_VALUE, SET_DEFAULT, END,
};

/* ---- groups ------------------------------------------------------------------------------------------------ */

static const struct arg group_create_args[] = {
	NAME(NULL),
	{"--target", "target", ARG_TEXT, true, "IQN", "of which target", "target"},
	{"--initiator", "initiators", ARG_LIST, true, "PATTERN", "who: name, * and ? as in a shell",
	    NULL},
	{"--user", "users", ARG_LIST, false, "CHAP", "only with this CHAP user", "chap"},
	{"--order", "order", ARG_INT, false, "N", "place among groups: the first match counts", NULL},
	END,
};

static const struct arg group_delete_args[] = {NAME("group"), END};
static const struct arg group_set_args[] = {
	NAME("group"), SET_KEY, SET_VALUE, SET_DEFAULT, END,
};

static const struct arg group_map_args[] = {
	{"GROUP", "group", ARG_TEXT, true, NULL, "to whom", "group"},
	{"LUN", "lun", ARG_TEXT, true, NULL, "which", "lun"},
	{"--number", "number", ARG_INT, false, "N", "at which number (default: the next)", NULL},
	{"--read-only", "read_only", ARG_FLAG, false, NULL, "this group may not write", NULL},
	END,
};

static const struct arg group_unmap_args[] = {
	{"GROUP", "group", ARG_TEXT, true, NULL, "from whom", "group"},
	{"LUN", "lun", ARG_TEXT, true, NULL, "which", "lun"},
	END,
};

/* ---- secrets ------------------------------------------------------------------------------------------------- */

#define SECRET_FILE                                                                                \
	{                                                                                          \
		"--secret-file", "secret_file", ARG_LOCAL, false, "FILE",                          \
		    "the secret is its first line; -: standard input", "file"                      \
	}

static const struct arg chap_create_args[] = {
	NAME(NULL),
	{"--target", "target", ARG_TEXT, false, "IQN", "for this target", "target"},
	{"--discovery", "discovery", ARG_FLAG, false, NULL, "for discovery", NULL},
	{"--user", "user", ARG_TEXT, false, "USER", "what initiators say (default: NAME)", NULL},
	SECRET_FILE,
	{"--mutual-user", "mutual_user", ARG_TEXT, false, "USER", "the target proves itself as", NULL},
	{"--mutual-secret-file", "mutual_secret_file", ARG_LOCAL, false, "FILE",
	    "the target's secret; without: asked for", "file"},
	END,
};

static const struct arg chap_delete_args[] = {NAME("chap"), END};
static const struct arg chap_set_args[] = {
	NAME("chap"), SET_KEY,
	{"VALUE", "value", ARG_VALUE, false, NULL, "its value; of secrets: none", NULL},
	SET_DEFAULT, SECRET_FILE, END,
};

/* ---- sessions, configuration ----------------------------------------------------------------------------------- */

static const struct arg session_drop_args[] = {
	{"SESSION", "tsih", ARG_INT, true, NULL, "its number in `session list`", "session"},
	END,
};

static const struct arg power_args[] = {
	{"--limit", "limit", ARG_INT, false, "SECONDS", "wait so long at most (default: until it is done)",
	    NULL},
	END,
};

static const char power_more[] =
    "For the hook of a UPS, and before a machine is switched off. Initiators go on meanwhile. Exit\n"
    "status 0: everything that was acknowledged before is on the stores; 1: not everything, and it\n"
    "says what, and where that is.";

static const struct arg config_args[] = {
	{"--effective", "effective", ARG_FLAG, false, NULL, "each value with its origin (default)",
	    NULL},
	{"--diff", "diff", ARG_FLAG, false, NULL, "what a reload would change", NULL},
	END,
};

static const struct arg doctor_args[] = {
	{"--config", "config", ARG_LOCAL, false, "FILE",
	    "this configuration (default: the daemon's, or /etc/terrace/terrace.conf)", "file"},
	{"--root", "root", ARG_LOCAL, false, "DIR", "another machine's files, below DIR; no daemon is asked",
	    "file"},
	END,
};

static const char doctor_more[] =
    "It asks terraced if one runs, and reads the configuration's file, /sys, /proc, /dev and /etc; it\n"
    "changes nothing. Each line that isn't ok is followed by what to do. Exit status: 0 all is ok,\n"
    "3 remarks, 1 something is bad. As root it sees more: how worn an SSD is, what is on a disk.";

static const struct arg level_args[] = {
	{"LEVEL", "level", ARG_TEXT, false, NULL, "error, warning, info or debug",
	    "error|warning|info|debug"},
	END,
};

static const struct arg help_args[] = {
	{"VERB", "words", ARG_LIST, false, NULL, "which", NULL},
	END,
};

/* ---- caches ------------------------------------------------------------------------------------------------------ */

#define LUNS {"LUN", "luns", ARG_LIST, false, NULL, "which", "lun"}
#define OF_CACHE {"--cache", "cache", ARG_TEXT, false, "CACHE", "all LUNs of this cache", "cache"}

static const struct arg cache_name_args[] = {
	{"CACHE", "name", ARG_TEXT, false, NULL, "only this one", "cache"},
	END,
};
static const struct arg cache_get_args[] = {
	{"NAME", "name", ARG_TEXT, true, NULL, "a LUN or a cache", "lun"},
	{"VALUE", "key", ARG_TEXT, true, NULL, "as --json names it, like dirty_bytes; or hit_percent",
	    "mode|state|profile|dirty_bytes|cached_bytes|hit_percent"},
	END,
};
static const struct arg cache_luns_args[] = {
	LUNS, OF_CACHE,
	{"--range", "range", ARG_LOCAL, false, "FROM+BYTES", "of one LUN: only this, like 1GiB+64MiB",
	    NULL},
	{"--all", "all", ARG_FLAG, false, NULL, "all LUNs of all caches", NULL},
	END,
};
static const struct arg cache_freeze_args[] = {
	LUNS, OF_CACHE,
	{"--limit", "limit_seconds", ARG_INT, false, "SECONDS", "how long at most (default: 20)", NULL},
	END,
};
static const struct arg cache_mode_args[] = {
	NAME("lun"),
	{"MODE", "value", ARG_TEXT, false, NULL, "nv, writethrough, volatile or bypass",
	    "nv|writethrough|volatile|bypass"},
	SET_DEFAULT, END,
};
static const struct arg cache_profile_args[] = {
	NAME("lun"),
	{"PROFILE", "value", ARG_TEXT, false, NULL, "what uses it",
	    "vmware|windows|database|fileserver|archive|uncached"},
	SET_DEFAULT, END,
};

static const struct arg cache_compress_args[] = {
	NAME("lun"),
	{"VALUE", "value", ARG_TEXT, false, NULL, "whether what is read is compressed on the SSD",
	    "yes|no"},
	SET_DEFAULT, END,
};

static const struct arg import_args[] = {
	{"FILE", "files", ARG_LIST, true, NULL,
	    "scst.conf, old or new, iscsi-scstd.conf, initiators.allow, initiators.deny", "file"},
	{"--output", "output", ARG_TEXT, false, "DIR", "-o: write DIR/terrace.conf (default: standard output)",
	    "file"},
	{"--ssd", "ssd", ARG_TEXT, false, "SSD", "PATH[:SIZE] of the SSD that LUNs with NV_CACHE get",
	    "file"},
	{"--nv-cache", "nv_cache", ARG_TEXT, false, "MODE",
	    "what NV_CACHE becomes: nv (with --ssd) or writethrough", "nv|writethrough"},
	{"--target", "target", ARG_TEXT, false, "IQN",
	    "serves the LUNs of old files without iscsi-scstd.conf", NULL},
	END,
};

static const char import_more[] =
    "What initiators know a disk by is kept, and LUN numbers, groups and passwords. Comments say\n"
    "where the meaning of something changed; what can't be carried over is listed at the end, and\n"
    "the exit status is 3 then. It asks nothing, changes nothing of SCST, and needs no daemon.";

/* Parsed by tools/scstadmin/words.c. */
static const struct arg scstadmin_args[] = {
	{"WORD", "words", ARG_LIST, false, NULL, "an order of SCST's scstadmin with its options, in old or present words",
	    NULL},
	END,
};

static const char scstadmin_more[] =
    "So that a guide for SCST can be followed on the running target. Each order says which command\n"
    "of terracectl is the same. What has no counterpart is said with what to do instead, and the\n"
    "exit status is 3 then.";

#define SSD {"SSD", "ssd", ARG_TEXT, true, NULL, "block:PATH, file:PATH, lvm:VG/LV, or a path", "file"}
static const struct arg cache_add_args[] = {
	{"CACHE", "name", ARG_TEXT, true, NULL, "its name", "cache"},
	LUNS,
	{"--ssd", "ssd", ARG_TEXT, false, "SSD", "of a new one: block:PATH, file:PATH, lvm:VG/LV", "store"},
	{"--size", "size", ARG_TEXT, false, "SIZE", "of a file that is made for it", NULL},
	{"--ram", "ram", ARG_TEXT, false, "SIZE", "memory of a new one", NULL},
	END,
};
static const struct arg cache_resize_args[] = {
	{"CACHE", "name", ARG_TEXT, true, NULL, "which", "cache"},
	{"SIZE", "size", ARG_TEXT, false, NULL, "of its SSD; without: what the device has now", NULL},
	END,
};
static const struct arg cache_remove_args[] = {
	{"CACHE", "name", ARG_TEXT, true, NULL, "which", "cache"},
	{"LUN", "luns", ARG_LIST, false, NULL, "those that lose it; without: all, and the cache goes",
	    "lun"},
	END,
};
static const struct arg cache_accept_args[] = {
	{"LUN", "lun", ARG_TEXT, true, NULL, "which", "lun"},
	{"--cache", "cache", ARG_TEXT, true, "UUID", "of the cache that is given up", NULL},
	{"--confirm", "confirm", ARG_TEXT, false, "LUN", "its name again", "lun"},
	END,
};
static const struct arg cache_format_args[] = {
	SSD,
	{"--size", "size", ARG_TEXT, false, "SIZE", "of a file, which is made and filled with zeros",
	    NULL},
	{"--force", "force", ARG_FLAG, false, NULL, "whatever is on it is overwritten", NULL},
	{"--unsafe-fs", "unsafe_fs", ARG_FLAG, false, NULL, "also where it can't be durable: a test",
	    NULL},
	END,
};
static const struct arg cache_check_args[] = {
	SSD,
	{"--quick", "quick", ARG_FLAG, false, NULL, "only what is needed to find the data", NULL},
	END,
};
static const struct arg cache_dump_args[] = {
	SSD,
	{"--descriptors", "descriptors", ARG_FLAG, false, NULL, "also what is in each record", NULL},
	END,
};

static const char create_more[] =
    "With --to the LUN is mapped to whoever matches the pattern, in one step: to the group that\n"
    "has exactly this pattern, or to a new one. Terrace writes what it creates to conf.d beside\n"
    "its configuration file.\n"
    "With --vg this program calls lvcreate, with your rights, and removes the volume again if the LUN\n"
    "can't be made.";
static const char secret_more[] =
    "The secret is asked for on the terminal, without echo, unless --secret-file names a file that\n"
    "only its owner (and group) can read. It has 12 bytes at least, for Windows 16 at most.";

const struct verb verbs[] = {
	{.words = "status", .help = "health, LUNs and what they do", .method = "status",
	    .run = run_status},
	{.words = "health", .help = "one line, with the exit status monitoring expects",
	    .method = "health", .run = run_health,
	    .more = "Exit status 0 ok, 1 degraded, 2 failed, 3 unknown: terraced didn't answer."},
	{.words = "explain", .help = "what a condition means and what to do", .args = explain_args,
	    .run = run_explain},
	{.words = "events", .help = "what happened", .args = events_args, .method = "events",
	    .run = run_events},
	{.words = "history", .help = "who ordered what", .args = history_args, .method = "history",
	    .print = print_history},
	{.words = "tree", .help = "targets with groups, LUNs and sessions", .run = run_tree},
	{.words = "iostat", .help = "a line for each LUN", .args = iostat_args, .run = run_iostat},
	{.words = "connect", .help = "what to type on initiators", .args = connect_args,
	    .method = "connect", .run = run_connect},
	{.words = "srp login-strings", .help = "what SRP initiators write to add_target",
	    .args = srp_strings_args, .method = "srp.login_strings", .run = run_srp_strings},
	{.words = "refused", .help = "who was turned away, and what would admit them",
	    .method = "refused", .print = print_refused},

	{.words = "power-fail", .help = "everything that was acknowledged goes to the stores, at once",
	    .args = power_args, .method = "power-fail", .run = run_power_fail, .more = power_more},

	{.words = "lun list", .help = "LUNs", .method = "lun.list", .unprinted = "stats",
	    .print = print_luns},
	{.words = "lun create", .help = "create a LUN, and map it with --to or --group",
	    .args = lun_create_args, .method = "lun.create", .changes = true, .print = print_change,
	    .judge = judge_change, .run = run_lun_create, .more = create_more},
	{.words = "lun delete", .help = "remove a LUN; its store stays", .args = lun_delete_args,
	    .method = "lun.delete", .changes = true, .print = print_change, .judge = judge_change,
	    .run = run_lun_delete},
	{.words = "lun set", .help = "change a key of a LUN", .args = lun_set_args,
	    .method = "lun.set", .changes = true, .print = print_change, .judge = judge_change},
	{.words = "lun resize", .help = "grow a LUN, or notice that its device grew",
	    .args = lun_resize_args, .method = "lun.resize", .changes = true, .print = print_change,
	    .judge = judge_change, .run = run_lun_resize},

	{.words = "target list", .help = "targets", .method = "target.list", .print = print_targets},
	{.words = "target create", .help = "create a target", .args = target_create_args,
	    .method = "target.create", .changes = true, .print = print_change,
	    .judge = judge_change},
	{.words = "target delete", .help = "remove a target", .args = target_delete_args,
	    .method = "target.delete", .changes = true, .print = print_change,
	    .judge = judge_change},
	{.words = "target set", .help = "change a key of a target", .args = target_set_args,
	    .method = "target.set", .changes = true, .print = print_change, .judge = judge_change},

	{.words = "group list", .help = "groups of initiators and what they see",
	    .method = "group.list", .print = print_groups},
	{.words = "group create", .help = "create a group", .args = group_create_args,
	    .method = "group.create", .changes = true, .print = print_change,
	    .judge = judge_change},
	{.words = "group delete", .help = "remove a group", .args = group_delete_args,
	    .method = "group.delete", .changes = true, .print = print_change,
	    .judge = judge_change},
	{.words = "group set", .help = "change a key of a group", .args = group_set_args,
	    .method = "group.set", .changes = true, .print = print_change, .judge = judge_change},
	{.words = "group map", .help = "show a LUN to a group", .args = group_map_args,
	    .method = "group.map", .changes = true, .print = print_change, .judge = judge_change},
	{.words = "group unmap", .help = "show it no longer", .args = group_unmap_args,
	    .method = "group.unmap", .changes = true, .print = print_change, .judge = judge_change},

	{.words = "portal list", .help = "portals", .method = "portal.list", .print = print_portals},
	{.words = "portal create", .help = "create a portal", .args = portal_create_args,
	    .method = "portal.create", .changes = true, .print = print_change,
	    .judge = judge_change},
	{.words = "portal delete", .help = "remove a portal", .args = portal_delete_args,
	    .method = "portal.delete", .changes = true, .print = print_change,
	    .judge = judge_change},
	{.words = "portal set", .help = "change a key of a portal", .args = portal_set_args,
	    .method = "portal.set", .changes = true, .print = print_change, .judge = judge_change},

	{.words = "chap list", .help = "CHAP users, without their secrets", .method = "chap.list",
	    .print = print_chaps},
	{.words = "chap create", .help = "create a CHAP user", .args = chap_create_args,
	    .method = "chap.create", .changes = true, .print = print_change, .judge = judge_change,
	    .run = run_secret, .more = secret_more},
	{.words = "chap delete", .help = "remove a CHAP user", .args = chap_delete_args,
	    .method = "chap.delete", .changes = true, .print = print_change, .judge = judge_change},
	{.words = "chap set", .help = "change a key of a CHAP user", .args = chap_set_args,
	    .method = "chap.set", .changes = true, .print = print_change, .judge = judge_change,
	    .run = run_secret, .more = secret_more},

	{.words = "session list", .help = "sessions", .method = "session.list",
	    .print = print_sessions},
	{.words = "session drop", .help = "end a session; its initiator may come back",
	    .args = session_drop_args, .method = "session.drop", .changes = true, .no_runtime = true,
	    .print = print_change, .judge = judge_change},

	{.words = "check", .help = "errors of the configuration as the files are now",
	    .method = "config.check", .print = print_check, .judge = judge_check},
	{.words = "reload", .help = "apply what differs in the files", .method = "reload",
	    .changes = true, .no_runtime = true, .print = print_change, .judge = judge_change},
	{.words = "config", .help = "each value with its origin, or what a reload would change",
	    .args = config_args, .run = run_config},
	{.words = "doctor", .help = "what is wrong with this machine for a target, and what to do",
	    .args = doctor_args, .run = run_doctor, .more = doctor_more},
	{.words = "import-scst", .help = "a configuration of SCST as one of terraced",
	    .args = import_args, .run = run_import, .more = import_more},
	{.words = "scstadmin", .help = "orders in the words of SCST's scstadmin", .args = scstadmin_args,
	    .changes = true, .run = run_scstadmin, .more = scstadmin_more, .complete = scst_complete},
	{.words = "log-level", .help = "what is logged, or log something else", .args = level_args,
	    .run = run_level},
	{.words = "cache status", .help = "caches, and the LUNs behind them", .run = run_cache_status},
	{.words = "cache get", .help = "one value of a LUN or a cache, for scripts",
	    .args = cache_get_args, .run = run_cache_get},
	{.words = "cache stats", .help = "counters, and what other sizes of memory would do",
	    .args = cache_name_args, .run = run_cache_stats},
	{.words = "cache advise", .help = "whether a larger cache would help",
	    .args = cache_name_args, .run = run_cache_advise,
	    .more = "Looks for two seconds how fast the SSD fills."},
	{.words = "cache top", .help = "what LUNs do, and how much of it caches answer",
	    .args = iostat_args, .run = run_cache_top},
	{.words = "cache flush", .help = "what is acknowledged goes to the stores",
	    .args = cache_luns_args, .method = "cache.flush", .changes = true, .no_runtime = true,
	    .no_yes = true, .run = run_cache_order},
	{.words = "cache evict", .help = "the same, then caches forget these LUNs",
	    .args = cache_luns_args, .method = "cache.evict", .changes = true, .no_runtime = true,
	    .no_yes = true, .run = run_cache_order},
	{.words = "cache freeze", .help = "writes wait while a command runs, as a snapshot",
	    .args = cache_freeze_args, .method = "cache.freeze", .run = run_cache_freeze,
	    .changes = true, .no_runtime = true, .no_yes = true,
	    .takes_command = true,
	    .more = "While COMMAND runs, the stores of these LUNs are at one instant: what was\n"
	            "acknowledged is on them, and writes wait. Writes go on when COMMAND ends, at the\n"
	            "limit, or when this program ends."},
	{.words = "cache mode", .help = "what an acknowledged write of a LUN means",
	    .args = cache_mode_args, .method = "lun.set", .changes = true, .print = print_change,
	    .judge = judge_change, .run = run_cache_set},
	{.words = "cache profile", .help = "what uses a LUN: read-ahead, what is cached",
	    .args = cache_profile_args, .method = "lun.set", .changes = true,
	    .print = print_change, .judge = judge_change, .run = run_cache_set},
	{.words = "cache compress", .help = "whether what a LUN reads is compressed on the SSD",
	    .args = cache_compress_args, .method = "lun.set", .changes = true,
	    .print = print_change, .judge = judge_change, .run = run_cache_set},
	{.words = "cache add", .help = "make a cache, put LUNs behind one", .args = cache_add_args,
	    .method = "cache.add", .changes = true, .print = print_change, .judge = judge_change},
	{.words = "cache remove", .help = "take LUNs off a cache, or remove it with them",
	    .args = cache_remove_args, .method = "cache.remove", .changes = true,
	    .print = print_change, .judge = judge_change},
	{.words = "cache resize", .help = "make the SSD of a cache larger or smaller",
	    .args = cache_resize_args, .method = "cache.resize", .changes = true, .no_runtime = true,
	    .no_yes = true, .run = run_cache_resize,
	    .more = "A file becomes as large; a device is made larger before, and smaller afterwards. LUNs\n"
	            "are served all the while. Killed in between it can be given again."},
	{.words = "cache accept-loss", .help = "serve a LUN without what its lost cache had",
	    .args = cache_accept_args, .method = "cache.accept-loss", .changes = true,
	    .no_runtime = true, .run = run_cache_accept,
	    .more = "What was acknowledged and is on that cache alone is given up for good. On a terminal\n"
	            "the name of the LUN is asked for; elsewhere --confirm says it again."},
	{.words = "cache format", .help = "make an SSD, or a file on one, an empty cache",
	    .args = cache_format_args, .changes = true, .no_runtime = true, .no_yes = true,
	    .run = run_cache_format,
	    .more = "terraced does so by itself with an empty device and a new file."},
	{.words = "cache check", .help = "verify an SSD that no terraced has open",
	    .args = cache_check_args, .run = run_cache_check,
	    .more = "Reads only. Exit status: 0 nothing is wrong, 3 remarks, 1 data is or may be lost."},
	{.words = "cache dump", .help = "print what is written on such an SSD",
	    .args = cache_dump_args, .run = run_cache_dump},
	{.words = "help", .help = "what a verb does and takes", .args = help_args, .run = run_help},
	{.words = NULL},
};
/* clang-format on */
