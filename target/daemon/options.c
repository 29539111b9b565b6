/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

#define LUNS_MAX 16384u /* SAM-5 4.7.6.4: flat space addressing */
#define USER_NAME_MAX 255u
#define BUFFERS_MIN (8ull << 20)
#define BUFFERS_MAX (1ull << 40)

enum {
	OPT_LUN = 256,
	OPT_NAME,
	OPT_LISTEN,
	OPT_STATE_DIR,
	OPT_STATE_DIR_MOVED,
	OPT_CONTROL,
	OPT_NBD,
	OPT_INSPECT,
	OPT_LOOPS,
	OPT_MODE,
	OPT_SSD,
	OPT_RAM,
	OPT_PROFILE,
	OPT_OPEN,
	OPT_USER,
	OPT_CONFIG,
	OPT_CHECK,
	OPT_UNSAFE_FS,
	OPT_SPIN,
	OPT_PIN,
	OPT_LOG_LEVEL,
	OPT_BUFFERS,
};

static const struct option long_options[] = {
    {"lun", required_argument, NULL, OPT_LUN},
    {"name", required_argument, NULL, OPT_NAME},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"state-dir", required_argument, NULL, OPT_STATE_DIR},
    {"state-dir-moved", no_argument, NULL, OPT_STATE_DIR_MOVED},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"nbd", required_argument, NULL, OPT_NBD},
    {"inspect", required_argument, NULL, OPT_INSPECT},
    {"loops", required_argument, NULL, OPT_LOOPS},
    {"mode", required_argument, NULL, OPT_MODE},
    {"ssd", required_argument, NULL, OPT_SSD},
    {"ram", required_argument, NULL, OPT_RAM},
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"open", no_argument, NULL, OPT_OPEN},
    {"user", required_argument, NULL, OPT_USER},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"check", no_argument, NULL, OPT_CHECK},
    {"unsafe-fs", no_argument, NULL, OPT_UNSAFE_FS},
    {"spin-us", required_argument, NULL, OPT_SPIN},
    {"pin", no_argument, NULL, OPT_PIN},
    {"buffers", required_argument, NULL, OPT_BUFFERS},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: terraced --lun SPEC... [--ssd PATH[:SIZE]] [options]\n"
    "       terraced --config FILE [options]\n"
    "Serves files, block devices and memory as LUNs over iSCSI and SRP.\n"
    "\n"
    "What to serve\n"
    "  --lun PATH[:SIZE]    a file or block device; a file is created when SIZE is given\n"
    "  --lun ram:SIZE       memory (contents are lost at the end)\n"
    "  --lun null:SIZE      reads zeros, forgets writes\n"
    "                       numbers are given in order, from 0; SIZE as 512MiB, 10GiB, 2TiB or "
    "bytes\n"
    "  --ssd PATH[:SIZE]    a cache in front of the LUNs: an empty block device, or a file on an\n"
    "                       SSD, which is created and filled with zeros when SIZE is given\n"
    "  --ram SIZE           memory for what the LUNs read, at least 16MiB, or none (default with\n"
    "                       --ssd: an eighth of the memory; without: none)\n"
    "  --mode MODE          nv (default with --ssd; also: writeback): a write is durable on the "
    "SSD\n"
    "                       before it is answered; writethrough (default without): on the store;\n"
    "                       volatile: as a disk with a volatile write cache, flushes honoured;\n"
    "                       bypass: nothing is cached\n"
    "  --profile NAME       what uses the LUNs: vmware (default), windows, database, fileserver,\n"
    "                       archive, uncached; decides the mode where none is given\n"
    "  --config FILE        everything from a configuration file, see terrace.conf(5)\n"
    "  --check              only check the configuration\n"
    "\n"
    "How to serve it\n"
    "  --name NAME          iSCSI name of the target (" DAEMON_DEFAULT_NAME ")\n"
    "  --listen ADDR:PORT   where to listen (" DAEMON_DEFAULT_LISTEN "); may be repeated;\n"
    "                       IPv6 as [ADDR]:PORT\n"
    "  --listen srp:ADDR:PORT  the same for SRP over RDMA, beside iSCSI or instead of it\n"
    "  --user NAME:SECRET   initiators must log in with CHAP; secret of 12 to 256 bytes;\n"
    "                       \"NAME:@FILE\" reads the secret from a file\n"
    "  --open               admit every initiator on addresses other than loopback\n"
    "\n"
    "The process\n"
    "  --state-dir DIR      identities and reservations (/var/lib/terrace as root, otherwise\n"
    "                       ~/.local/state/terrace)\n"
    "  --state-dir-moved    the state directory came from another machine for good\n"
    "  --control SOCKET     control socket (/run/terrace/control.sock)\n"
    "  --nbd SOCKET|off     where LUNs can be read over NBD (/run/terrace/nbd.sock)\n"
    "  --inspect DIR        mount what is served as files at DIR, see terrace-fuse(8)\n"
    "  --loops N            threads that serve (1 per core, at most 4)\n"
    "  --buffers SIZE       I/O buffers of all loops together (1/16 of memory, 64MiB to 1GiB)\n"
    "  --spin-us N          longest busy wait before a loop sleeps (50; 0: never)\n"
    "  --pin                bind each loop to a CPU of its own\n"
    "  --unsafe-fs          allow stores on tmpfs and the like, where nothing is durable\n"
    "  --log-level LEVEL    error, warning, info or debug\n"
    "  -q, --quiet          don't print the lines that tell how to connect\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n"
    "\n"
    "Exit status: 0 ended in order, 1 failed, 2 usage. See terraced(8).\n";

#define RAM_MIN_BYTES (16ull << 20)

struct parse {
	struct options *o;
	struct conf *conf;
	struct conf_target *target;
	struct conf_portal *portal;
	enum conf_mode mode;
	enum conf_profile profile;
	bool open, name_given, any_direct;
};

__attribute__((format(printf, 1, 2))) static int
usage(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("terraced: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\nTry 'terraced --help'.\n", stderr);
	va_end(ap);
	return EXIT_USAGE;
}

static void *
grow(void *list, unsigned count, size_t size)
{
	void *p = realloc(list, (count + 1) * size);
	if (p == NULL) {
		fputs("terraced: out of memory\n", stderr);
		exit(EXIT_FAILED);
	}
	memset((char *)p + count * size, 0, size);
	return p;
}

static bool
ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), end_len = strlen(end);
	return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

static char *
copy(const char *s)
{
	char *p = strdup(s);
	if (p == NULL) {
		fputs("terraced: out of memory\n", stderr);
		exit(EXIT_FAILED);
	}
	return p;
}

static bool
is_memory(const char *spec)
{
	return strncmp(spec, "ram:", 4) == 0 || strncmp(spec, "null:", 5) == 0;
}

/* Behind "file:", "block:" and the like, which are optional: the path. */
static const char *
path_of(const char *spec)
{
	static const char *const kinds[] = {"file:", "block:", "lvm:"};

	for (size_t i = 0; access(spec, F_OK) != 0 && i < sizeof kinds / sizeof kinds[0]; i++)
		if (strncmp(spec, kinds[i], strlen(kinds[i])) == 0)
			return spec + strlen(kinds[i]);
	return spec;
}

/*
 * "PATH[:SIZE]", "ram:SIZE", "null:SIZE" → what blk_open() takes. What exists under the whole string
 * is a path, and so is what has a '/' behind the last colon.
 */
static int
split_spec(const char *option, const char *spec, char **ret_store, uint64_t *ret_size)
{
	const char *path = path_of(spec), *colon = strrchr(path, ':');

	*ret_size = 0;
	if (is_memory(spec)) {
		colon = strchr(spec, ':');
	} else if (colon == NULL || access(path, F_OK) == 0 || strchr(colon, '/') != NULL) {
		*ret_store = copy(spec);
		return -1;
	}
	int rc = text_parse_size(colon + 1, ret_size);
	if (rc == -ERANGE)
		return usage("%s %s: the size is larger than any store", option, spec);
	if (rc < 0 && is_memory(spec))
		return usage("%s %s: what follows the colon is no size; write it as in %.*s:512MiB",
		    option, spec, (int)(colon - spec), spec);
	if (rc < 0)
		return usage("%s %s: there is no such file, and what follows the last colon is "
		             "no size; write it as 512MiB, 10GiB, 2TiB or bytes",
		    option, spec);
	if (*ret_size == 0)
		return usage("%s %s: its size is to be other than 0", option, spec);
	if (*ret_size % 512 != 0)
		return usage("%s %s: the size is no multiple of 512 bytes", option, spec);
	*ret_store = copy(spec);
	(*ret_store)[colon - spec + (is_memory(spec) ? 1 : 0)] = '\0';
	return -1;
}

static int
add_lun(struct parse *p, const char *spec)
{
	char name[32];
	char *store = NULL;
	uint64_t size = 0;

	int status = split_spec("--lun", spec, &store, &size);
	if (status >= 0)
		return status;
	if (p->conf->lun_count == LUNS_MAX) {
		free(store);
		return usage("a target has at most %u LUNs", LUNS_MAX);
	}
	p->conf->luns = grow(p->conf->luns, p->conf->lun_count, sizeof *p->conf->luns);
	snprintf(name, sizeof name, "lun%u", p->conf->lun_count);
	struct conf_lun *l = &p->conf->luns[p->conf->lun_count++];
	l->name = copy(name);
	l->store = store;
	l->size_bytes = size;
	l->block_size = 512;
	l->physical_exponent = -1;
	l->thin = -1;
	p->target->luns = grow(p->target->luns, p->target->lun_count, sizeof *p->target->luns);
	struct conf_group_lun *gl = &p->target->luns[p->target->lun_count];
	gl->number = p->target->lun_count++;
	gl->lun = copy(name);
	return -1;
}

/* One cache, for all LUNs. */
static struct conf_cache *
the_cache(struct parse *p)
{
	if (p->conf->cache_count == 0) {
		p->conf->caches = grow(NULL, 0, sizeof *p->conf->caches);
		p->conf->cache_count = 1;
	}
	return &p->conf->caches[0];
}

static int
set_ssd(struct parse *p, const char *spec)
{
	char *store = NULL;
	uint64_t size = 0;

	if (p->conf->cache_count > 0 && p->conf->caches[0].ssd != NULL)
		return usage(
		    "--ssd is given twice: one cache serves all LUNs; several need --config");
	if (is_memory(spec))
		return usage(
		    "--ssd %s: a cache keeps what was acknowledged, memory doesn't; give a "
		    "device or a file on an SSD",
		    spec);
	int status = split_spec("--ssd", spec, &store, &size);
	if (status >= 0)
		return status;
	struct conf_cache *c = the_cache(p);
	c->ssd = store;
	c->size_bytes = size;
	return -1;
}

static int
set_ram(struct parse *p, const char *arg)
{
	uint64_t bytes;

	if (strcmp(arg, "none") == 0)
		bytes = CONF_RAM_NONE;
	else if (text_parse_size(arg, &bytes) < 0 || bytes < RAM_MIN_BYTES || bytes % 512 != 0)
		return usage("--ram %s: give a size as in 4GiB, at least 16MiB, or none", arg);
	if (p->conf->cache_count > 0 && p->conf->caches[0].ram_bytes > 0)
		return usage("--ram is given twice");
	the_cache(p)->ram_bytes = bytes;
	return -1;
}

static int
add_user(struct parse *p, char *arg)
{
	char *colon = strchr(arg, ':'), *secret, reason[400];
	struct conf_target *t = p->target;

	if (colon == NULL || colon == arg || colon[1] == '\0')
		return usage("--user takes NAME:SECRET or NAME:@FILE");
	*colon = '\0';
	bool from_file = colon[1] == '@';
	int rc = conf_word(from_file ? CONF_WORD_SECRET_FILE : CONF_WORD_SECRET,
	    colon + 1 + (from_file ? 1 : 0), &secret, reason, sizeof reason);
	if (!from_file)
		explicit_bzero(colon + 1, strlen(colon + 1)); /* not in ps(1) any longer */
	if (rc < 0)
		return usage("--user %s: %s", arg, reason);
	t->chaps = grow(t->chaps, t->chap_count, sizeof *t->chaps);
	struct conf_chap *c = &t->chaps[t->chap_count++];
	c->name = copy(arg);
	c->user = copy(arg);
	c->secret = secret;
	if (strlen(arg) > USER_NAME_MAX)
		return usage("--user %s: a name has at most %u bytes", arg, USER_NAME_MAX);
	for (unsigned i = 0; i + 1 < t->chap_count; i++)
		if (strcmp(t->chaps[i].name, arg) == 0)
			return usage("--user %s: this name is given twice", arg);
	return -1;
}

static int
add_listen(struct parse *p, const char *arg)
{
	struct conf_portal *portal = p->portal;
	char *listen, reason[300];
	bool srp = strncmp(arg, "srp:", 4) == 0;

	if (srp) {
		arg += 4;
		portal = &p->conf->portals[1];
	}
	if (conf_word(CONF_WORD_LISTEN, arg, &listen, reason, sizeof reason) < 0)
		return usage("--listen %s: %s", arg, reason);
	portal->listen = grow(portal->listen, portal->listen_count, sizeof *portal->listen);
	portal->listen[portal->listen_count++] = listen;
	for (unsigned i = 0; i + 1 < portal->listen_count; i++)
		if (strcmp(portal->listen[i], listen) == 0 && !ends_with(listen, ":0"))
			return usage("--listen %s is given twice", listen);
	return -1;
}

static int
set_name(struct parse *p, const char *arg)
{
	char *name, reason[300];

	if (conf_word(CONF_WORD_ISCSI_NAME, arg, &name, reason, sizeof reason) < 0)
		return usage("--name %s: %s", arg, reason);
	free(p->target->name);
	p->target->name = name;
	p->name_given = true;
	return -1;
}

/*
 * `listen` as conf_word() gives it. A host name is loopback only if it is "localhost" (RFC 6761 §6.3):
 * what others mean is known only when they are looked up.
 */
static bool
is_loopback(const char *listen)
{
	char host[256];
	struct in_addr in;
	struct in6_addr in6;
	bool bracket = listen[0] == '[';
	size_t len = bracket ? strcspn(++listen, "]") : strcspn(listen, ":");

	if (len >= sizeof host)
		return false;
	memcpy(host, listen, len);
	host[len] = '\0';
	if (!bracket && inet_pton(AF_INET, host, &in) == 1)
		return ntohl(in.s_addr) >> 24 == 127;
	if (bracket && inet_pton(AF_INET6, host, &in6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&in6) ||
		       (IN6_IS_ADDR_V4MAPPED(&in6) && in6.s6_addr[12] == 127);
	return strcasecmp(host, "localhost") == 0;
}

static void
finish_lun(const struct parse *p, struct conf_lun *l)
{
	l->mode = p->mode;
	l->profile = p->profile;
	if (p->conf->cache_count == 0)
		return;
	l->cache = copy(p->conf->caches[0].name);
	l->has_ssd = p->conf->caches[0].ssd != NULL;
}

/* All addresses, of both portals. */
static unsigned
listens(const struct parse *p)
{
	return p->conf->portals[0].listen_count + p->conf->portals[1].listen_count;
}

static const char *
listen_of(const struct parse *p, unsigned i)
{
	const struct conf_portal *first = &p->conf->portals[0];
	return i < first->listen_count ? first->listen[i]
	                               : p->conf->portals[1].listen[i - first->listen_count];
}

/* A portal for each protocol that somebody listens for. */
static void
finish_portals(struct parse *p)
{
	struct conf_portal *list = p->conf->portals;
	struct conf_target *t = p->target;
	if (list[1].listen_count == 0)
		return;
	list[1].name = copy("srp");
	list[1].protocol = CONF_PROTOCOL_SRP;
	if (list[0].listen_count == 0) { /* instead of iSCSI */
		free(list[0].name);
		list[0] = list[1];
		list[1] = (struct conf_portal){0};
		free(t->portals[0]);
		t->portals[0] = copy("srp");
		return;
	}
	p->conf->portal_count = 2;
	t->portals = grow(t->portals, t->portal_count, sizeof *t->portals);
	t->portals[t->portal_count++] = copy("srp");
}

/* One group for the CHAP users, or the open target. */
static int
finish_direct(struct parse *p)
{
	struct conf_target *t = p->target;

	finish_portals(p);
	if (p->portal->listen_count == 0) {
		p->portal->listen = grow(NULL, 0, sizeof *p->portal->listen);
		p->portal->listen[p->portal->listen_count++] = copy(DAEMON_DEFAULT_LISTEN);
	}
	if (p->conf->lun_count == 0)
		return usage("nothing to serve: give --lun or --config");
	if (p->open && t->chap_count > 0)
		return usage(
		    "--open admits everybody, --user asks for a password: give one of them");
	bool has_ssd = p->conf->cache_count > 0 && p->conf->caches[0].ssd != NULL;
	if (!has_ssd && p->conf->cache_count > 0 && p->conf->caches[0].ram_bytes == CONF_RAM_NONE)
		p->conf->cache_count = 0;
	if (p->conf->cache_count > 0)
		p->conf->caches[0].name = copy(has_ssd ? "ssd" : "ram");
	for (unsigned i = 0; i < p->conf->lun_count; i++)
		finish_lun(p, &p->conf->luns[i]);
	if (p->mode == CONF_MODE_NV && !has_ssd)
		return usage(
		    "--mode nv means durable on the SSD of a cache, and there is none: give "
		    "--ssd PATH:SIZE, or --mode writethrough");
	for (unsigned i = 0; i < listens(p); i++) {
		const char *l = listen_of(p, i);
		if (is_loopback(l))
			continue;
		if (t->chap_count == 0 && !p->open)
			return usage("--listen %s would admit everybody who reaches that address: "
			             "give --user "
			             "NAME:SECRET, or say --open",
			    l);
		if (!p->name_given)
			return usage("--listen %s: give the target a name of its own with --name, "
			             "so that no two "
			             "in a network are alike",
			    l);
	}
	if (t->chap_count == 0) {
		t->open = true;
		return -1;
	}
	t->groups = grow(NULL, 0, sizeof *t->groups);
	t->group_count = 1;
	struct conf_group *g = &t->groups[0];
	g->name = copy("users");
	g->initiators = grow(NULL, 0, sizeof *g->initiators);
	g->initiators[g->initiator_count++] = copy("*");
	for (unsigned i = 0; i < t->chap_count; i++) {
		g->users = grow(g->users, g->user_count, sizeof *g->users);
		g->users[g->user_count++] = copy(t->chaps[i].name);
	}
	g->luns = t->luns;
	g->lun_count = t->lun_count;
	t->luns = NULL;
	t->lun_count = 0;
	return -1;
}

static int
number(const char *option, const char *arg, uint64_t min, uint64_t max, unsigned *ret)
{
	uint64_t n;
	if (text_parse_u64(arg, max, &n) < 0 || n < min)
		return usage("%s takes a number from %lu to %lu", option, (unsigned long)min,
		    (unsigned long)max);
	*ret = (unsigned)n;
	return -1;
}

static int
set_mode(struct parse *p, const char *arg)
{
	p->any_direct = true;
	for (unsigned i = CONF_MODE_NV; i <= CONF_MODE_BYPASS; i++) {
		if (strcmp(arg, conf_mode_to_string((enum conf_mode)i)) != 0 &&
		    (i != CONF_MODE_NV || strcmp(arg, "writeback") != 0))
			continue;
		p->mode = (enum conf_mode)i;
		return -1;
	}
	return usage(
	    "--mode %s: the modes are nv (or writeback), writethrough, volatile and bypass", arg);
}

static int
set_profile(struct parse *p, const char *arg)
{
	p->any_direct = true;
	for (unsigned i = CONF_PROFILE_VMWARE; i <= CONF_PROFILE_UNCACHED; i++) {
		if (strcmp(arg, conf_profile_to_string((enum conf_profile)i)) != 0)
			continue;
		p->profile = (enum conf_profile)i;
		return -1;
	}
	return usage(
	    "--profile %s: the profiles are vmware, windows, database, fileserver, archive "
	    "and uncached",
	    arg);
}

/* Options that describe what is served; they exclude --config. */
static int
direct_option(struct parse *p, int opt, char *arg)
{
	p->any_direct = true;
	switch (opt) {
	case OPT_LUN:
		return add_lun(p, arg);
	case OPT_SSD:
		return set_ssd(p, arg);
	case OPT_RAM:
		return set_ram(p, arg);
	case OPT_MODE:
		return set_mode(p, arg);
	case OPT_PROFILE:
		return set_profile(p, arg);
	case OPT_NAME:
		return set_name(p, arg);
	case OPT_LISTEN:
		return add_listen(p, arg);
	case OPT_OPEN:
		p->open = true;
		return -1;
	default:
		return add_user(p, arg);
	}
}

static int
process_option(struct parse *p, int opt, char *arg)
{
	struct options *o = p->o;
	enum log_level level;

	switch (opt) {
	case OPT_STATE_DIR:
		o->state_dir = arg;
		return -1;
	case OPT_STATE_DIR_MOVED:
		o->state_dir_moved = true;
		return -1;
	case OPT_CONTROL:
		o->control = arg;
		return -1;
	case OPT_NBD:
		o->nbd = arg;
		return -1;
	case OPT_INSPECT:
		o->inspect = arg;
		return -1;
	case OPT_LOOPS:
		return number("--loops", arg, 1, 32, &o->loops);
	case OPT_CONFIG:
		o->config_file = arg;
		return -1;
	case OPT_CHECK:
		o->check_only = true;
		return -1;
	case OPT_UNSAFE_FS:
		o->unsafe_fs = true;
		return -1;
	case OPT_SPIN:
		o->spin_set = true;
		return number("--spin-us", arg, 0, 10000, &o->spin_us);
	case OPT_PIN:
		o->pin = true;
		return -1;
	case OPT_BUFFERS:
		if (text_parse_size(arg, &o->buffer_bytes) < 0 || o->buffer_bytes < BUFFERS_MIN ||
		    o->buffer_bytes > BUFFERS_MAX)
			return usage("--buffers takes a size from 8MiB to 1TiB, as 512MiB");
		return -1;
	case OPT_LOG_LEVEL:
		if (log_level_parse(arg, &level) < 0)
			return usage("--log-level takes error, warning, info or debug");
		log_set_level(level);
		return -1;
	case 'q':
		o->quiet = true;
		return -1;
	case 'h':
		fputs(help_text, stdout);
		return EXIT_DONE;
	case 'V':
		puts("terraced " TERRACE_VERSION);
		return EXIT_DONE;
	default:
		fputs("Try 'terraced --help'.\n", stderr);
		return EXIT_USAGE;
	}
}

static void
start_conf(struct parse *p)
{
	p->conf = grow(NULL, 0, sizeof *p->conf);
	p->conf->targets = grow(NULL, 0, sizeof *p->conf->targets);
	p->conf->target_count = 1;
	p->target = &p->conf->targets[0];
	p->target->name = copy(DAEMON_DEFAULT_NAME);
	p->conf->portals = grow(grow(NULL, 0, sizeof *p->conf->portals), 1,
	    sizeof *p->conf->portals); /* the second one for SRP */
	p->conf->portal_count = 1;
	p->portal = &p->conf->portals[0];
	p->portal->name = copy("default");
	p->target->portals = grow(NULL, 0, sizeof *p->target->portals);
	p->target->portals[p->target->portal_count++] = copy("default");
}

int
options_parse(int argc, char **argv, struct options *ret)
{
	struct parse p = {.o = ret};
	int opt, idx, status = -1;

	memset(ret, 0, sizeof *ret);
	start_conf(&p);
	optind = 0; /* from the start, whoever parsed before */
	while (status < 0 && (opt = getopt_long(argc, argv, "hqV", long_options, &idx)) != -1) {
		if (opt != '?' && optarg != NULL && optarg[0] == '\0')
			status = usage("--%s: its argument is empty", long_options[idx].name);
		else if (opt == OPT_LUN || opt == OPT_NAME || opt == OPT_LISTEN ||
		         opt == OPT_OPEN || opt == OPT_USER || opt == OPT_SSD || opt == OPT_RAM ||
		         opt == OPT_MODE || opt == OPT_PROFILE)
			status = direct_option(&p, opt, optarg);
		else
			status = process_option(&p, opt, optarg);
	}
	if (status < 0 && optind < argc)
		status = usage("unexpected '%s'; stores are given with --lun", argv[optind]);
	if (status < 0 && ret->config_file != NULL && p.any_direct)
		status = usage(
		    "--config says what is served; --lun, --ssd, --ram, --name, --listen, --mode, "
		    "--profile, --open and --user don't go with it");
	if (status < 0 && ret->check_only && ret->config_file == NULL)
		status = usage("--check needs --config");
	if (status < 0 && ret->config_file == NULL)
		status = finish_direct(&p);
	if (status >= 0 || ret->config_file != NULL) {
		conf_destroy(p.conf);
		return status;
	}
	ret->conf = p.conf;
	return -1;
}

void
options_fini(struct options *o)
{
	conf_destroy(o->conf);
	o->conf = NULL;
}
