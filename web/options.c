/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "web/web.h"

#define CONNECTIONS 64u
#define CONNECTIONS_MAX 1024u

static const char help[] =
    "Usage: terrace-web [options]\n"
    "Shows a running terraced to browsers and collectors. It only asks, and changes nothing.\n"
    "\n"
    "  --listen ADDR:PORT   where (" WEB_DEFAULT_LISTEN "); IPv6 as [ADDR]:PORT; port 0: any.\n"
    "                       Whoever reaches another address than loopback's may look: there is\n"
    "                       no password and no encryption\n"
    "  --host NAME          requests may name this host, beside addresses and localhost;\n"
    "                       may be repeated\n"
    "  --control SOCKET     the control socket of terraced (" WEB_CONTROL ")\n"
    "  --user NAME          whom to become when root starts it (" WEB_USER ")\n"
    "  --connections N      at most so many at a time (64)\n"
    "  --help, --version\n"
    "\n"
    "It answers /, /metrics (OpenMetrics), /healthz and /stats.json; see terrace-web(8).\n";

int
options_parse_address(const char *text, struct sockaddr_storage *ret)
{
	char host[64];
	uint64_t port;
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : 0;
	struct sockaddr_in *v4 = (void *)ret;
	struct sockaddr_in6 *v6 = (void *)ret;

	memset(ret, 0, sizeof *ret);
	if (colon == NULL || len >= sizeof host || text_parse_u64(colon + 1, 65535, &port) < 0)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static int
wrong(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "terrace-web: --%s \"%.200s\": %s\n", option, value, expected);
	return 2;
}

/* -1 or an exit status. */
static int
take(int key, const char *value, struct options *o)
{
	uint64_t n;

	switch (key) {
	case 'l':
		if (options_parse_address(value, &o->listen) < 0)
			return wrong("listen", value,
			    "an address and a port, as 127.0.0.1:9260 or "
			    "[::1]:9260, is expected");
		return -1;
	case 'o':
		if (value[0] == '\0' || strlen(value) > 253 || strpbrk(value, ":/ @") != NULL)
			return wrong("host", value, "a name without port is expected");
		if (o->host_count == WEB_HOSTS_MAX)
			return wrong("host", value, "there are 16 already");
		o->hosts[o->host_count++] = value;
		return -1;
	case 'c':
		o->control = value;
		return -1;
	case 'u':
		o->user = value;
		return -1;
	case 'n':
		if (text_parse_u64(value, CONNECTIONS_MAX, &n) < 0 || n == 0)
			return wrong("connections", value, "a number from 1 to 1024 is expected");
		o->connections = (unsigned)n;
		return -1;
	case 'h':
		fputs(help, stdout);
		return 0;
	case 'V':
		puts("terrace-web " TERRACE_VERSION);
		return 0;
	default: /* getopt has told */
		fputs("terrace-web --help lists the options\n", stderr);
		return 2;
	}
}

int
options_parse(int argc, char **argv, struct options *ret)
{
	static const struct option table[] = {
	    {"listen", required_argument, NULL, 'l'},
	    {"host", required_argument, NULL, 'o'},
	    {"control", required_argument, NULL, 'c'},
	    {"user", required_argument, NULL, 'u'},
	    {"connections", required_argument, NULL, 'n'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int key;

	*ret = (struct options){.control = WEB_CONTROL, .connections = CONNECTIONS};
	(void)options_parse_address(WEB_DEFAULT_LISTEN, &ret->listen);
	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		int status = take(key, optarg, ret);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		fprintf(stderr,
		    "terrace-web: \"%.200s\" isn't an option; terrace-web --help lists them\n",
		    argv[optind]);
		return 2;
	}
	return -1;
}
