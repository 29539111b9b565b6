/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bits behind the prefix must be zero, so that a range is what it looks like. An IPv6 address that
 * maps an IPv4 one (::ffff:192.0.2.1) counts as IPv4, in peers and in ranges.
 */
#include "base/subnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Do the first `bits` of both agree? */
static bool
prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

static bool
zero_behind(const uint8_t *a, unsigned bits, unsigned total)
{
	for (unsigned i = bits; i < total; i++)
		if (a[i / 8] & (0x80u >> i % 8))
			return false;
	return true;
}

/* The part before '/' without brackets. */
static int
address_part(const char *s, char *buf, size_t cap, const char **ret_rest)
{
	const char *from = s, *end;
	if (*s == '[') {
		from = s + 1;
		end = strchr(s, ']');
		if (!end || !memchr(from, ':', (size_t)(end - from)))
			return -EINVAL;
		*ret_rest = end + 1;
	} else {
		end = s + strcspn(s, "/");
		*ret_rest = end;
	}
	size_t len = (size_t)(end - from);
	if (len == 0 || len >= cap)
		return -EINVAL;
	memcpy(buf, from, len);
	buf[len] = '\0';
	return 0;
}

int
subnet_parse(const char *s, struct subnet *ret)
{
	struct subnet acl = {.family = AF_UNSPEC};
	if (strcasecmp(s, "ALL") == 0) {
		*ret = acl;
		return 0;
	}
	char addr[INET6_ADDRSTRLEN];
	const char *rest;
	if (address_part(s, addr, sizeof addr, &rest) < 0)
		return -EINVAL;
	unsigned total;
	if (inet_pton(AF_INET, addr, acl.addr) == 1 && *s != '[') {
		acl.family = AF_INET;
		total = 32;
	} else if (inet_pton(AF_INET6, addr, acl.addr) == 1) {
		acl.family = AF_INET6;
		total = 128;
	} else {
		return -EINVAL;
	}
	uint64_t bits = total;
	if (*rest == '/' ? text_parse_u64(rest + 1, total, &bits) < 0 : *rest != '\0')
		return -EINVAL;
	if (!zero_behind(acl.addr, (unsigned)bits, total))
		return -EINVAL;
	if (acl.family == AF_INET6 && bits >= 96 && memcmp(acl.addr, v4_mapped, 12) == 0) {
		acl.family = AF_INET;
		memmove(acl.addr, acl.addr + 12, 4);
		memset(acl.addr + 4, 0, 12);
		bits -= 96;
	}
	acl.prefix_bits = (uint8_t)bits;
	*ret = acl;
	return 0;
}

/* Family and bytes of a peer, IPv4 where it is mapped. False: neither IPv4 nor IPv6. */
static bool
peer_bytes(const struct sockaddr_storage *peer, int *ret_family, uint8_t ret[16])
{
	memset(ret, 0, 16);
	if (peer->ss_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, peer, sizeof in);
		memcpy(ret, &in.sin_addr, 4);
		*ret_family = AF_INET;
		return true;
	}
	if (peer->ss_family != AF_INET6)
		return false;
	struct sockaddr_in6 in6;
	memcpy(&in6, peer, sizeof in6);
	if (memcmp(in6.sin6_addr.s6_addr, v4_mapped, 12) == 0) {
		memcpy(ret, in6.sin6_addr.s6_addr + 12, 4);
		*ret_family = AF_INET;
		return true;
	}
	memcpy(ret, in6.sin6_addr.s6_addr, 16);
	*ret_family = AF_INET6;
	return true;
}

bool
subnet_has(const struct subnet *s, const struct sockaddr_storage *peer)
{
	int family = -1;
	uint8_t addr[16];
	bool known = peer_bytes(peer, &family, addr);
	if (s->family == AF_UNSPEC)
		return true;
	return known && s->family == family && prefix_equal(s->addr, addr, s->prefix_bits);
}

static bool
list_has(const struct subnet *list, unsigned count, int family, const uint8_t *addr)
{
	for (unsigned i = 0; i < count; i++) {
		if (list[i].family == AF_UNSPEC)
			return true;
		if (list[i].family == family &&
		    prefix_equal(list[i].addr, addr, list[i].prefix_bits))
			return true;
	}
	return false;
}

bool
subnet_list_allows(const struct subnet_list *l, const struct sockaddr_storage *peer)
{
	int family = AF_UNSPEC;
	uint8_t addr[16];
	/* A peer of another family (a local socket) is only in "ALL". */
	if (!peer_bytes(peer, &family, addr))
		family = -1;
	bool named = list_has(l->allow, l->allow_count, family, addr);
	if (l->deny_count == 0)
		return named || l->allow_count == 0;
	return named || !list_has(l->deny, l->deny_count, family, addr);
}

/* ---- lists ---------------------------------------------------------------------------------- */

static int
side(struct subnet **ret, const char *const *from, unsigned count, const char **ret_bad)
{
	*ret = NULL;
	if (count == 0)
		return 0;
	struct subnet *list = calloc(count, sizeof *list);
	if (!list)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		if (subnet_parse(from[i], &list[i]) < 0) {
			*ret_bad = from[i];
			free(list);
			return -EINVAL;
		}
	}
	*ret = list;
	return 0;
}

int
subnet_list_init(struct subnet_list *l, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, const char **ret_bad)
{
	*l = (struct subnet_list){0};
	int r = side(&l->allow, allow, allow_count, ret_bad);
	if (r < 0)
		return r;
	l->allow_count = allow_count;
	r = side(&l->deny, deny, deny_count, ret_bad);
	if (r < 0) {
		subnet_list_fini(l);
		return r;
	}
	l->deny_count = deny_count;
	return 0;
}

void
subnet_list_fini(struct subnet_list *l)
{
	free(l->allow);
	free(l->deny);
	*l = (struct subnet_list){0};
}
