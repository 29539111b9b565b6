/* SPDX-License-Identifier: BSD-2-Clause */
/* Address ranges: who may connect. Shared by the frontends; knows neither of them. */
#ifndef BASE_SUBNET_H
#define BASE_SUBNET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct subnet {
	int family; /* AF_INET, AF_INET6; AF_UNSPEC: everybody */
	uint8_t addr[16];
	uint8_t prefix_bits;
};

/*
 * "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "[2001:db8::1]", "[2001:db8::]/32", "ALL". 0 or
 * -EINVAL.
 */
int subnet_parse(const char *s, struct subnet *ret);
/* A peer of another family than IPv4 and IPv6 is only in "ALL". */
bool subnet_has(const struct subnet *s, const struct sockaddr_storage *peer);

struct subnet_list {
	struct subnet *allow, *deny;
	unsigned allow_count, deny_count;
};

/* 0; -EINVAL: *ret_bad is the word that is no range; -ENOMEM. After a failure the list is empty. */
int subnet_list_init(struct subnet_list *l, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, const char **ret_bad);
void subnet_list_fini(struct subnet_list *l);
/* deny first, allow overrides; with only `allow` given, others are refused. */
bool subnet_list_allows(const struct subnet_list *l, const struct sockaddr_storage *peer);

#endif
