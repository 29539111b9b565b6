/*
 * Who may reach what: address lists and groups.
 *
 * Addresses: "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "[2001:db8::1]", "[2001:db8::]/32",
 * "ALL". Bits behind the prefix must be zero, so that a range is what it looks like. An IPv6 peer
 * whose address maps an IPv4 one (::ffff:192.0.2.1) counts as IPv4, here and in the lists.
 */
#include "iscsi/iscsi_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "iscsi/login.h"

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
iscsi_acl_parse(const char *s, struct iscsi_acl *ret)
{
	struct iscsi_acl acl = {.family = AF_UNSPEC};
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

static bool
list_has(const struct iscsi_acl *list, unsigned count, int family, const uint8_t *addr)
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
iscsi_acl_allows(const struct iscsi_acl_list *l, const struct sockaddr_storage *peer)
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

const struct iscsi_group *
iscsi_access_group(const struct iscsi_target *t, const char *initiator)
{
	for (unsigned g = 0; g < t->group_count; g++)
		for (unsigned i = 0; i < t->groups[g].initiator_count; i++)
			if (text_match(t->groups[g].initiators[i], initiator))
				return &t->groups[g];
	return NULL;
}

bool
iscsi_access_admits(const struct iscsi_login_env *env, const struct iscsi_target *t,
    const char *initiator, const struct iscsi_group **ret_group)
{
	const struct iscsi_group *g = iscsi_access_group(t, initiator);
	if (!iscsi_target_on_tag(t, env->portal_tag) ||
	    !iscsi_acl_allows(&env->config->acl, &env->peer) ||
	    !iscsi_acl_allows(&t->acl, &env->peer) || (!g && !t->open_view))
		return false;
	*ret_group = g;
	return true;
}

bool
iscsi_group_has_user(const struct iscsi_group *g, const char *user)
{
	for (unsigned i = 0; i < g->user_count; i++)
		if (strcmp(g->users[i]->name, user) == 0)
			return true;
	return false;
}

/* ---- sessions under another configuration --------------------------------------------------------- */

static bool
discovery_user_known(const struct iscsi_config *c, const char *user)
{
	for (unsigned i = 0; i < c->discovery_user_count; i++)
		if (strcmp(c->discovery_users[i].name, user) == 0)
			return true;
	return c->discovery_user_count == 0;
}

static bool
same_group(const struct iscsi_group *g, const char *name)
{
	return g != NULL && name != NULL ? strcmp(g->name, name) == 0 : g == NULL && name == NULL;
}

static const char *
regrant_user(const struct iscsi_group *g, const char *user)
{
	if (!g || g->user_count == 0 || iscsi_group_has_user(g, user))
		return NULL;
	return user[0] == '\0' ? "its group asks for CHAP now"
	                       : "its CHAP user may not log in any more";
}

const char *
iscsi_access_regrant(
    const struct iscsi_config *config, const struct iscsi_claim *claim, struct iscsi_grant *ret)
{
	struct iscsi_grant g = {0};
	if (!iscsi_acl_allows(&config->acl, claim->peer))
		return "its address is not allowed any more";
	if (claim->discovery) {
		if (!discovery_user_known(config, claim->user))
			return "its CHAP user may not discover any more";
		*ret = g;
		return NULL;
	}
	g.target = iscsi_config_find(config, claim->target);
	if (!g.target)
		return "its target is gone";
	if (!iscsi_target_on_tag(g.target, claim->portal_tag))
		return "its portal does not lead to the target any more";
	if (!iscsi_acl_allows(&g.target->acl, claim->peer))
		return "its address is not allowed any more";
	g.group = iscsi_access_group(g.target, claim->initiator);
	if (!g.group && !g.target->open_view)
		return "its initiator is in no group of the target any more";
	if (!same_group(g.group, claim->group))
		return "its initiator belongs to another group now";
	const char *reason = regrant_user(g.group, claim->user);
	if (reason)
		return reason;
	g.view = g.group ? g.group->view : g.target->open_view;
	if (claim->view && claim->view != g.view)
		return "its group was replaced by another of this name";
	g.rel_port_id = iscsi_target_rel_port(g.target, claim->portal_tag);
	if (claim->rel_port_id != 0 && claim->rel_port_id != g.rel_port_id)
		return "its target port got another number";
	*ret = g;
	return NULL;
}
