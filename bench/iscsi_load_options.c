/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/iscsi_load.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_id {
	OPT_PORTAL = 256,
	OPT_TARGET,
	OPT_LUN,
	OPT_INITIATOR,
	OPT_SESSIONS,
	OPT_DEPTH,
	OPT_BLOCK,
	OPT_MIX,
	OPT_PATTERN,
	OPT_MODE,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_REGION,
	OPT_PACE,
	OPT_SEED,
	OPT_DIGESTS,
	OPT_TARGET_PID,
	OPT_CPU,
	OPT_SLEEP,
	OPT_COMMANDS,
	OPT_JSON,
	OPT_HELP,
};

static const struct option long_options[] = {
    {"portal", required_argument, NULL, OPT_PORTAL},
    {"target", required_argument, NULL, OPT_TARGET},
    {"lun", required_argument, NULL, OPT_LUN},
    {"initiator-name", required_argument, NULL, OPT_INITIATOR},
    {"sessions", required_argument, NULL, OPT_SESSIONS},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"block", required_argument, NULL, OPT_BLOCK},
    {"mix", required_argument, NULL, OPT_MIX},
    {"pattern", required_argument, NULL, OPT_PATTERN},
    {"mode", required_argument, NULL, OPT_MODE},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"region", required_argument, NULL, OPT_REGION},
    {"pace", required_argument, NULL, OPT_PACE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"digests", required_argument, NULL, OPT_DIGESTS},
    {"target-pid", required_argument, NULL, OPT_TARGET_PID},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"sleep", no_argument, NULL, OPT_SLEEP},
    {"commands", required_argument, NULL, OPT_COMMANDS},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

void
load_options_usage(const char *program)
{
	printf(
	    "usage: %s --portal ADDR:PORT --target IQN [option]...\n"
	    "  --lun N               logical unit (0)\n"
	    "  --initiator-name IQN  each session adds :N to it\n"
	    "  --sessions N          sessions, one connection each (1)\n"
	    "  --depth N             commands in flight per session (32)\n"
	    "  --block SIZE          bytes per command (4KiB)\n"
	    "  --mix PERCENT         share of reads (100; verify: 50)\n"
	    "  --pattern rand|seq|zipf\n"
	    "                        (rand); zipf: of parameter 0.99, scattered over the region\n"
	    "  --mode load|verify|idle\n"
	    "                        verify: random stamped writes, read back and checked;\n"
	    "                        idle: log in, then only answer pings\n"
	    "  --seconds S           measured time (5)\n"
	    "  --warmup S            unmeasured time before it (0.5)\n"
	    "  --region SIZE         use only the first SIZE bytes of the unit\n"
	    "  --pace IOPS           open loop: commands are due at fixed times, and latency\n"
	    "                        counts from then, whether or not there was a free slot\n"
	    "  --commands N          ends when so many were begun, if that is before --seconds\n"
	    "  --seed N              of addresses and stamps (1)\n"
	    "  --digests LIST        of header, data; none (none)\n"
	    "  --target-pid PID      measure the CPU time of this local process\n"
	    "  --cpu N               pin the generator to a core\n"
	    "  --sleep               give the core away while there is nothing to do: where the "
	    "target's\n"
	    "                        kernel threads run on it too\n"
	    "  --json                one JSON object instead of text\n"
	    "Sizes: bytes, or with KiB, MiB, GiB. Exit: 0 fine, 1 errors in the run, 2 usage.\n",
	    program);
}

/* Where a complaint goes: one line, the first wins. */
struct complaint {
	char *text;
	size_t cap;
	bool raised;
};

__attribute__((format(printf, 2, 3))) static void
complain(struct complaint *c, const char *fmt, ...)
{
	if (c->raised)
		return;
	c->raised = true;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->text, c->cap, fmt, ap);
	va_end(ap);
}

static uint64_t
number(struct complaint *c, const char *name, const char *text, uint64_t min, uint64_t max)
{
	uint64_t v;
	if (text_parse_u64(text, max, &v) || v < min) {
		complain(c, "--%s: '%s' is not a number from %llu to %llu", name, text,
		    (unsigned long long)min, (unsigned long long)max);
		return min;
	}
	return v;
}

static uint64_t
size(struct complaint *c, const char *name, const char *text)
{
	uint64_t v;
	if (text_parse_size(text, &v) || v == 0) {
		complain(c, "--%s: '%s' is not a size", name, text);
		return 0;
	}
	return v;
}

static double
seconds(struct complaint *c, const char *name, const char *text)
{
	char *end;
	double v = strtod(text, &end);
	if (end == text || *end || !(v >= 0) || v > 86400) {
		complain(c, "--%s: '%s' is not a number of seconds up to 86400", name, text);
		return 0;
	}
	return v;
}

/* Index of `text` in `names`, or a complaint that lists them. */
static int
choice(struct complaint *c, const char *name, const char *text, const char *const *names, int count)
{
	char all[128] = "";
	for (int i = 0; i < count; i++) {
		if (strcmp(text, names[i]) == 0)
			return i;
		size_t n = strlen(all);
		snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", names[i]);
	}
	complain(c, "--%s: '%s' is none of %s", name, text, all);
	return 0;
}

/* ADDR:PORT or [ADDR6]:PORT, addresses only: a benchmark doesn't wait for a resolver. */
static void
portal(struct complaint *c, const char *text, struct load_options *o)
{
	char host[128];
	const char *colon = strrchr(text, ':');
	size_t host_len = colon ? (size_t)(colon - text) : 0;
	if (!colon || host_len == 0 || host_len >= sizeof host) {
		complain(c, "--portal: '%s' is not ADDR:PORT", text);
		return;
	}
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	char *h = host;
	if (h[0] == '[' && h[host_len - 1] == ']') {
		h[host_len - 1] = '\0';
		h++;
	}
	struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	};
	struct addrinfo *found;
	int r = getaddrinfo(h, colon + 1, &hints, &found);
	if (r) {
		complain(c, "--portal: '%s': %s", text, gai_strerror(r));
		return;
	}
	memcpy(&o->portal, found->ai_addr, found->ai_addrlen);
	o->portal_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static void
digests(struct complaint *c, const char *text, struct load_options *o)
{
	o->header_digest = o->data_digest = false;
	if (strcmp(text, "none") == 0)
		return;
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, ",");
		if (n == 6 && memcmp(p, "header", n) == 0)
			o->header_digest = true;
		else if (n == 4 && memcmp(p, "data", n) == 0)
			o->data_digest = true;
		else
			complain(c, "--digests: '%s' is not none, or a list of header, data", text);
		p += n;
		if (*p == ',')
			p++;
	}
}

static void
take_target_option(struct complaint *c, int id, const char *arg, struct load_options *o)
{
	switch (id) {
	case OPT_PORTAL:
		portal(c, arg, o);
		break;
	case OPT_TARGET:
		o->target = arg;
		break;
	case OPT_LUN:
		o->lun = number(c, "lun", arg, 0, 16383);
		break;
	case OPT_INITIATOR:
		o->initiator = arg;
		break;
	case OPT_DIGESTS:
		digests(c, arg, o);
		break;
	case OPT_TARGET_PID:
		o->target_pid = (pid_t)number(c, "target-pid", arg, 1, INT32_MAX);
		break;
	default:
		break;
	}
}

static void
take_load_option(struct complaint *c, int id, const char *arg, struct load_options *o)
{
	static const char *const patterns[] = {"rand", "seq", "zipf"};
	static const char *const modes[] = {"load", "verify", "idle"};
	switch (id) {
	case OPT_SESSIONS:
		o->sessions = (uint32_t)number(c, "sessions", arg, 1, LOAD_SESSIONS_MAX);
		break;
	case OPT_DEPTH:
		o->depth = (uint32_t)number(c, "depth", arg, 1, LOAD_DEPTH_MAX);
		break;
	case OPT_BLOCK: {
		uint64_t v = size(c, "block", arg);
		if (v % 512 || v > LOAD_BLOCK_BYTES_MAX)
			complain(c, "--block: '%s' is not a multiple of 512 up to 8MiB", arg);
		else
			o->block_bytes = (uint32_t)v;
		break;
	}
	case OPT_MIX:
		o->read_percent = (uint32_t)number(c, "mix", arg, 0, 100);
		break;
	case OPT_PATTERN:
		o->pattern =
		    (enum load_pattern)choice(c, "pattern", arg, patterns, LOAD_PATTERN_COUNT);
		break;
	case OPT_MODE:
		o->mode = (enum load_mode)choice(c, "mode", arg, modes, LOAD_MODE_COUNT);
		break;
	case OPT_SECONDS:
		o->seconds = seconds(c, "seconds", arg);
		break;
	case OPT_WARMUP:
		o->warmup_seconds = seconds(c, "warmup", arg);
		break;
	case OPT_REGION:
		o->region_bytes = size(c, "region", arg);
		break;
	case OPT_PACE:
		o->pace_iops = number(c, "pace", arg, 1, 100000000);
		break;
	case OPT_SEED:
		o->seed = number(c, "seed", arg, 1, UINT64_MAX);
		break;
	case OPT_CPU:
		o->cpu = (int)number(c, "cpu", arg, 0, 1023);
		break;
	case OPT_SLEEP:
		o->sleep = true;
		break;
	case OPT_COMMANDS:
		o->commands = number(c, "commands", arg, 1, UINT64_MAX);
		break;
	case OPT_JSON:
		o->json = true;
		break;
	default:
		take_target_option(c, id, arg, o);
	}
}

enum load_parse
load_options_parse(int argc, char **argv, struct load_options *ret, char *err, size_t err_cap)
{
	struct complaint c = {.text = err, .cap = err_cap};
	struct load_options o = {
	    .initiator = "iqn.2026-11.example.terrace:bench",
	    .sessions = 1,
	    .depth = 32,
	    .block_bytes = 4096,
	    .read_percent = UINT32_MAX, /* Depends on the mode. */
	    .seconds = 5,
	    .warmup_seconds = 0.5,
	    .seed = 1,
	    .cpu = -1,
	};
	optind = 0; /* glibc: start again, also when called a second time. */
	opterr = 0;
	for (int id; (id = getopt_long(argc, argv, "+:", long_options, NULL)) != -1;) {
		if (id == OPT_HELP)
			return LOAD_PARSE_HELP;
		if (id == '?')
			complain(&c, "unknown option '%s'", argv[optind - 1]);
		else if (id == ':')
			complain(&c, "option '%s' needs a value", argv[optind - 1]);
		else
			take_load_option(&c, id, optarg, &o);
	}
	if (optind < argc)
		complain(&c, "unexpected argument '%s'", argv[optind]);
	if (!o.portal_len)
		complain(&c, "--portal is missing");
	if (!o.target)
		complain(&c, "--target is missing");
	/* An iSCSI name has at most 223 bytes (RFC 7143 §4.2.7.1); :N takes up to five of them. */
	if (strlen(o.initiator) > 217 || (o.target && strlen(o.target) > 223))
		complain(&c, "the name is too long for an iSCSI name");
	if (o.region_bytes && o.region_bytes < o.block_bytes)
		complain(&c, "--region is smaller than --block");
	if (o.read_percent == UINT32_MAX)
		o.read_percent = o.mode == LOAD_MODE_VERIFY ? 50 : 100;
	if (c.raised)
		return LOAD_PARSE_BAD;
	*ret = o;
	return LOAD_PARSE_OK;
}
