/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses to listen on, and address lists. Syntax only: nothing is looked up. */
#include "conf/conf_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define ISCSI_PORT "3260"

static int
refuse(struct conf_why *why, const char *text)
{
	snprintf(why->text, sizeof why->text, "%s", text);
	return -EINVAL;
}

static bool
is_ipv4(const char *s)
{
	struct in_addr a;
	return inet_pton(AF_INET, s, &a) == 1;
}

/* Perhaps with a zone: fe80::1%eth0. */
static bool
is_ipv6(const char *s)
{
	struct in6_addr a;
	char plain[INET6_ADDRSTRLEN];
	const char *zone = strchr(s, '%');
	size_t len = zone != NULL ? (size_t)(zone - s) : strlen(s);

	if (len >= sizeof plain ||
	    (zone != NULL && (zone[1] == '\0' || strlen(zone) > IF_NAMESIZE)))
		return false;
	memcpy(plain, s, len);
	plain[len] = '\0';
	return inet_pton(AF_INET6, plain, &a) == 1;
}

/* RFC 1123 §2.1. What is all digits and dots is an address or nothing. */
static bool
is_host_name(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > 253 || s[strspn(s, "0123456789.")] == '\0' || s[0] == '-' ||
	    s[0] == '.')
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == len;
}

/* Divides "[HOST]:PORT", "HOST:PORT", "HOST". False: a bracket is missing, or it is too long. */
static bool
divide(const char *word, char *host, size_t cap, const char **ret_port)
{
	const char *from = word, *end;

	if (word[0] == '[') {
		from = word + 1;
		end = strchr(word, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		*ret_port = end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(word, ':');
		*ret_port = end != NULL ? end + 1 : NULL;
		if (end == NULL)
			end = word + strlen(word);
	}
	size_t len = (size_t)(end - from);
	if (len >= cap)
		return false;
	memcpy(host, from, len);
	host[len] = '\0';
	return true;
}

int
conf_text_listen(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	char host[256];
	const char *port;
	uint64_t number = 0;

	(void)k;
	if (is_ipv6(word))
		return refuse(why, "write an IPv6 address in brackets: [2001:db8::10]:3260");
	if (word[0] == '*')
		return refuse(
		    why, "write 0.0.0.0:3260 for all IPv4, [::]:3260 for all IPv6 addresses");
	if (!divide(word, host, sizeof host, &port))
		return refuse(why, "write 192.0.2.10:3260 or [2001:db8::10]:3260");
	if (host[0] == '\0')
		return refuse(why, "say which address: 0.0.0.0:3260 for all of IPv4");
	bool bracket = word[0] == '[';
	if (bracket ? !is_ipv6(host) : !is_ipv4(host) && !is_host_name(host))
		return refuse(why, "write 192.0.2.10:3260 or [2001:db8::10]:3260");
	if (port != NULL && text_parse_u64(port, 65535, &number) < 0)
		return refuse(why, "a port is a number from 1 to 65535 (0: any free one)");
	int rc = asprintf(ret, "%s%s%s:%s", bracket ? "[" : "", host, bracket ? "]" : "",
	    port != NULL ? port : ISCSI_PORT);
	return rc < 0 ? -ENOMEM : 0;
}

/* ---- address lists --------------------------------------------------------------------------------- */

static bool
zero_behind(const uint8_t *a, unsigned bits, unsigned total)
{
	for (unsigned i = bits; i < total; i++)
		if ((a[i / 8] & (0x80u >> i % 8)) != 0)
			return false;
	return true;
}

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "[2001:db8::1]", "ALL". */
int
conf_text_access(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	static const char form[] = "write 192.0.2.1, 192.0.2.0/24, 2001:db8::/32 or ALL";
	char host[INET6_ADDRSTRLEN];
	uint8_t addr[16];
	uint64_t bits;

	(void)k;
	if (strcasecmp(word, "ALL") != 0) {
		bool bracket = word[0] == '[';
		const char *from = bracket ? word + 1 : word;
		size_t len = strcspn(from, bracket ? "]" : "/");
		const char *rest = from + len;
		if (len >= sizeof host || (bracket && *rest++ != ']'))
			return refuse(why, form);
		memcpy(host, from, len);
		host[len] = '\0';
		bool v4 = !bracket && inet_pton(AF_INET, host, addr) == 1;
		if (!v4 && inet_pton(AF_INET6, host, addr) != 1)
			return refuse(why, form);
		unsigned total = v4 ? 32 : 128;
		bits = total;
		if (*rest == '/' ? text_parse_u64(rest + 1, total, &bits) < 0 : *rest != '\0')
			return refuse(why, form);
		if (!zero_behind(addr, (unsigned)bits, total))
			return refuse(why,
			    "bits behind the prefix aren't 0: write the range's first "
			    "address, as in 192.0.2.0/24");
	}
	char *copy = strdup(word);
	if (copy == NULL)
		return -ENOMEM;
	*ret = copy;
	return 0;
}
