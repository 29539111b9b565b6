#include "daemon/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

enum {
	OPT_LUN = 256,
	OPT_NAME,
	OPT_LISTEN,
	OPT_STATE_DIR,
	OPT_STATE_DIR_MOVED,
	OPT_CONTROL,
	OPT_LOOPS,
	OPT_MODE,
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
    {"loops", required_argument, NULL, OPT_LOOPS},
    {"mode", required_argument, NULL, OPT_MODE},
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
    "Usage: terraced --lun SPEC... [options]\n"
    "       terraced --config FILE [options]\n"
    "Serves files, block devices and memory as LUNs over iSCSI.\n"
    "\n"
    "What to serve\n"
    "  --lun PATH[:SIZE]    a file or block device; a file is created when SIZE is given\n"
    "  --lun ram:SIZE       memory (contents are lost at the end)\n"
    "  --lun null:SIZE      reads zeros, forgets writes\n"
    "                       numbers are given in order, from 0; SIZE as 512MiB, 10GiB, 2TiB or "
    "bytes\n"
    "  --mode MODE          writethrough (default): a write is durable before it is answered;\n"
    "                       volatile: as a disk with a volatile write cache, flushes honoured\n"
    "  --config FILE        everything from a configuration file, see terrace.conf(5)\n"
    "  --check              only check the configuration\n"
    "\n"
    "How to serve it\n"
    "  --name NAME          iSCSI name of the target (" DAEMON_DEFAULT_NAME ")\n"
    "  --listen ADDR:PORT   where to listen (" DAEMON_DEFAULT_LISTEN "); may be repeated;\n"
    "                       IPv6 as [ADDR]:PORT\n"
    "  --user NAME:SECRET   initiators must log in with CHAP; secret of 12 to 256 bytes;\n"
    "                       \"NAME:@FILE\" reads the secret from a file\n"
    "  --open               admit every initiator on addresses other than loopback\n"
    "\n"
    "The process\n"
    "  --state-dir DIR      identities and reservations (/var/lib/terrace as root, otherwise\n"
    "                       ~/.local/state/terrace)\n"
    "  --state-dir-moved    the state directory came from another machine for good\n"
    "  --control SOCKET     control socket (control.sock in the state directory)\n"
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

struct parse {
	struct options *o;
	struct conf *conf;
	struct conf_target *target;
	struct conf_portal *portal;
	enum conf_mode mode;
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

/* "PATH[:SIZE]", "ram:SIZE", "null:SIZE". What exists under the whole string is a path. */
static int
split_spec(const char *spec, char **ret_store, uint64_t *ret_size)
{
	const char *colon = strrchr(spec, ':');

	*ret_size = 0;
	if (colon == NULL || access(spec, F_OK) == 0) {
		*ret_store = copy(spec);
		return 0;
	}
	if (text_parse_size(colon + 1, ret_size) < 0 || *ret_size == 0) {
		bool memory = strncmp(spec, "ram:", 4) == 0 || strncmp(spec, "null:", 5) == 0;
		if (!memory && strchr(colon, '/') != NULL) {
			*ret_store = copy(spec); /* the colon belongs to a folder's name */
			return 0;
		}
		return -1;
	}
	size_t len = (size_t)(colon - spec);
	bool bare =
	    (len == 3 && memcmp(spec, "ram", 3) == 0) || (len == 4 && memcmp(spec, "null", 4) == 0);
	char *store = malloc(len + 2);
	if (store == NULL)
		return -1;
	memcpy(store, spec, len);
	store[len] = '\0';
	if (bare)
		strcpy(store + len, ":");
	*ret_store = store;
	return 0;
}

static int
add_lun(struct parse *p, const char *spec)
{
	char name[32];
	char *store;
	uint64_t size;

	if (split_spec(spec, &store, &size) < 0)
		return usage(
		    "--lun %s: what follows the last colon is no size; write it as 512MiB, 10GiB, "
		    "2TiB or bytes",
		    spec);
	if (size % 512 != 0) {
		free(store);
		return usage("--lun %s: the size is no multiple of 512 bytes", spec);
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

static char *
read_secret(const char *path)
{
	char buf[300];
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return NULL;
	size_t n = fread(buf, 1, sizeof buf - 1, f);
	fclose(f);
	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
		n--;
	buf[n] = '\0';
	char *s = copy(buf);
	explicit_bzero(buf, sizeof buf);
	return s;
}

static int
add_user(struct parse *p, char *arg)
{
	char *colon = strchr(arg, ':');
	if (colon == NULL || colon == arg || colon[1] == '\0')
		return usage("--user takes NAME:SECRET or NAME:@FILE");
	p->target->chaps = grow(p->target->chaps, p->target->chap_count, sizeof *p->target->chaps);
	struct conf_chap *c = &p->target->chaps[p->target->chap_count];
	*colon = '\0';
	c->name = copy(arg);
	c->user = copy(arg);
	c->secret = colon[1] == '@' ? read_secret(colon + 2) : copy(colon + 1);
	if (colon[1] != '@')
		explicit_bzero(colon + 1, strlen(colon + 1)); /* not in ps(1) any longer */
	p->target->chap_count++;
	if (c->secret == NULL)
		return usage("--user %s: can't read the secret from %s", arg, colon + 2);
	size_t len = strlen(c->secret);
	if (len < 12 || len > 256)
		return usage(
		    "--user %s: a CHAP secret has 12 to 256 bytes, this one has %zu", arg, len);
	return -1;
}

static bool
is_loopback(const char *listen)
{
	return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
	       strncmp(listen, "localhost", 9) == 0 || strcmp(listen, "::1") == 0;
}

/* One group for the CHAP users, or the open target. */
static int
finish_direct(struct parse *p)
{
	struct conf_target *t = p->target;

	if (p->portal->listen_count == 0) {
		p->portal->listen = grow(NULL, 0, sizeof *p->portal->listen);
		p->portal->listen[p->portal->listen_count++] = copy(DAEMON_DEFAULT_LISTEN);
	}
	if (p->conf->lun_count == 0)
		return usage("nothing to serve: give --lun or --config");
	for (unsigned i = 0; i < p->conf->lun_count; i++)
		p->conf->luns[i].mode = p->mode;
	for (unsigned i = 0; i < p->portal->listen_count; i++) {
		const char *l = p->portal->listen[i];
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
	if (strcmp(arg, "writethrough") == 0)
		p->mode = CONF_MODE_WRITETHROUGH;
	else if (strcmp(arg, "volatile") == 0)
		p->mode = CONF_MODE_VOLATILE;
	else
		return usage("--mode %s: the modes are writethrough and volatile", arg);
	p->any_direct = true;
	return -1;
}

/* Options that describe what is served; they exclude --config. */
static int
direct_option(struct parse *p, int opt, char *arg)
{
	p->any_direct = true;
	switch (opt) {
	case OPT_LUN:
		return add_lun(p, arg);
	case OPT_NAME:
		free(p->target->name);
		p->target->name = copy(arg);
		p->name_given = true;
		return -1;
	case OPT_LISTEN:
		p->portal->listen =
		    grow(p->portal->listen, p->portal->listen_count, sizeof *p->portal->listen);
		p->portal->listen[p->portal->listen_count++] = copy(arg);
		return -1;
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
		if (text_parse_size(arg, &p->conf->buffer_bytes) < 0 ||
		    p->conf->buffer_bytes < (8u << 20))
			return usage("--buffers takes a size of at least 8MiB");
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
	p->conf->portals = grow(NULL, 0, sizeof *p->conf->portals);
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
	int opt, status = -1;

	memset(ret, 0, sizeof *ret);
	start_conf(&p);
	while (status < 0 && (opt = getopt_long(argc, argv, "hqV", long_options, NULL)) != -1) {
		if (opt == OPT_LUN || opt == OPT_NAME || opt == OPT_LISTEN || opt == OPT_OPEN ||
		    opt == OPT_USER)
			status = direct_option(&p, opt, optarg);
		else if (opt == OPT_MODE)
			status = set_mode(&p, optarg);
		else
			status = process_option(&p, opt, optarg);
	}
	if (status < 0 && optind < argc)
		status = usage("unexpected '%s'; stores are given with --lun", argv[optind]);
	if (status < 0 && ret->config_file != NULL && p.any_direct)
		status = usage(
		    "--config says what is served; --lun, --name, --listen, --mode, --open and "
		    "--user don't go with it");
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
