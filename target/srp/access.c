/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may reach what: patterns of initiators, groups, and sessions under another configuration. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "srp/login.h"

#define PATTERN_MAX 255u

void
srp_initiator_name(const uint8_t port_id[SRP_PORT_ID_BYTES], char ret[SRP_NAME_CAP])
{
	char hex[2 * SRP_PORT_ID_BYTES + 1];
	srp_hex_format(port_id, SRP_PORT_ID_BYTES, hex);
	snprintf(ret, SRP_NAME_CAP, "srp.%s", hex);
}

/* ---- patterns ------------------------------------------------------------------------------- */

static bool
is_srp(const char *s)
{
	return strncmp(s, "srp.", 4) == 0 || strncmp(s, "!srp.", 5) == 0;
}

/* A pattern of the other frontend stays as it is: it can only match by '*'. */
int
srp_pattern_parse(const char *s, struct srp_pattern *ret)
{
	char text[PATTERN_MAX + 1];
	struct srp_pattern p = {.range = {.family = 0}};
	size_t len = strlen(s);

	if (len == 0 || len > PATTERN_MAX || strpbrk(s, " \t") != NULL)
		return -EINVAL;
	memcpy(text, s, len + 1);
	if (is_srp(s)) {
		char *pkey = strchr(text, '%');
		uint8_t bytes[2];
		if (pkey != NULL) {
			*pkey++ = '\0';
			if (srp_hex_parse(pkey, bytes, 2) < 0 || load_be16(bytes) == 0)
				return -EINVAL;
			p.pkey = load_be16(bytes);
		}
		char *range = strchr(text, '@');
		if (range != NULL) {
			*range++ = '\0';
			if (subnet_parse(range, &p.range) < 0)
				return -EINVAL;
			p.has_range = true;
		}
	}
	p.name = strdup(text);
	if (p.name == NULL)
		return -ENOMEM;
	*ret = p;
	return 0;
}

void
srp_pattern_fini(struct srp_pattern *p)
{
	free(p->name);
	*p = (struct srp_pattern){0};
}

/* The highest bit of a partition key says full or limited member: the partition is the same. */
static bool
same_partition(uint16_t a, uint16_t b)
{
	return ((a ^ b) & 0x7fff) == 0;
}

bool
srp_pattern_matches(const struct srp_pattern *p, const char *initiator, const struct srp_peer *peer)
{
	if (p->pkey != 0 && (peer->pkey == 0 || !same_partition(p->pkey, peer->pkey)))
		return false;
	if (p->has_range && !subnet_has(&p->range, &peer->addr))
		return false;
	return text_match(p->name, initiator);
}

/* ---- grants --------------------------------------------------------------------------------- */

static const struct srp_group *
find_group(const struct srp_target *t, const char *initiator, const struct srp_peer *peer)
{
	for (unsigned g = 0; g < t->group_count; g++)
		for (unsigned i = 0; i < t->groups[g].pattern_count; i++)
			if (srp_pattern_matches(&t->groups[g].patterns[i], initiator, peer))
				return &t->groups[g];
	return NULL;
}

const char *
srp_access_grant(const struct srp_config *config, const struct srp_target *t, const char *initiator,
    const struct srp_peer *peer, uint16_t tag, struct srp_grant *ret)
{
	struct srp_grant g = {.target = t, .rel_port_id = srp_target_rel_port(t, tag)};
	if (g.rel_port_id == 0)
		return "its portal does not lead to the target";
	if (!subnet_list_allows(&config->acl, &peer->addr) ||
	    !subnet_list_allows(&t->acl, &peer->addr))
		return "its address is not allowed";
	g.group = find_group(t, initiator, peer);
	if (g.group != NULL && g.group->needs_chap)
		return "its group asks for CHAP, which SRP does not have";
	if (g.group == NULL && t->open_view == NULL)
		return "its initiator is in no group of the target";
	g.view = g.group != NULL ? g.group->view : t->open_view;
	*ret = g;
	return NULL;
}

const char *
srp_access_regrant(const struct srp_config *config, const struct srp_claim *claim)
{
	struct srp_grant g;
	const struct srp_target *t = srp_config_find_name(config, claim->target);
	if (t == NULL)
		return "its target is gone";
	if (memcmp(t->port_id, claim->target_port, SRP_PORT_ID_BYTES) != 0)
		return "its target has other SRP identifiers now";
	const char *why =
	    srp_access_grant(config, t, claim->initiator, claim->peer, claim->portal_tag, &g);
	if (why != NULL)
		return why;
	if ((g.group == NULL) != (claim->group == NULL) ||
	    (g.group != NULL && strcmp(g.group->name, claim->group) != 0))
		return "its initiator belongs to another group now";
	if (g.view != claim->view)
		return "its group was replaced by another of this name";
	if (g.rel_port_id != claim->rel_port_id)
		return "its target port got another number";
	return NULL;
}
