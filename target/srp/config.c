/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration: built once, checked while it is built, never changed while a server uses it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "srp/login.h"

#define GROUP_NAME_MAX 255u

static int __attribute__((format(printf, 4, 5)))
refuse(char *reason, size_t cap, int error, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (cap > 0)
		(void)vsnprintf(reason, cap, fmt, ap);
	va_end(ap);
	return error;
}

void
srp_limits_default(struct srp_limits *l)
{
	*l = (struct srp_limits){
	    .queue_depth = 128,
	    .it_iu_max_bytes = 8448,
	    .channels_max = 1024,
	    .channels_per_session_max = 16,
	    .sessions_max = 256,
	    .sessions_per_addr_max = 64,
	    .pending_max = 64,
	    .login_timeout_ms = 15000,
	    .keepalive_ms = 15000,
	    .stall_ms = 30000,
	};
}

/* ---- identifiers ------------------------------------------------------------------------------ */

int
srp_hex_parse(const char *s, uint8_t *ret, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	for (; *s != '\0'; s++) {
		if (*s == ':')
			continue;
		char c = *s >= 'A' && *s <= 'F' ? (char)(*s - 'A' + 'a') : *s;
		const char *at = strchr(digits, c);
		if (at == NULL || n == 2 * len)
			return -EINVAL;
		unsigned v = (unsigned)(at - digits);
		unsigned both = n % 2 == 0 ? v << 4 : ret[n / 2] | v;
		ret[n / 2] = (uint8_t)(both & 0xff);
		n++;
	}
	return n == 2 * len ? 0 : -EINVAL;
}

void
srp_hex_format(const uint8_t *p, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++)
		snprintf(ret + 2 * i, 3, "%02x", p[i]);
	ret[2 * len] = '\0';
}

/* FNV-1a, 64 bits: spreads names; it need not resist anybody. */
static uint64_t
hash(const char *s, uint64_t seed)
{
	uint64_t h = 0xcbf29ce484222325ull ^ seed;
	for (; *s != '\0'; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
	h ^= h >> 29;
	return h * 0xbf58476d1ce4e5b9ull;
}

void
srp_target_id_default(const char *target_name, uint8_t ret[SRP_PORT_ID_BYTES])
{
	store_be64(ret, hash(target_name, 0));
	store_be64(ret + 8, hash(target_name, 0x746572726163650aull));
	/* EUI-64: locally administered, of one port. */
	ret[8] = (uint8_t)((ret[8] & 0xfc) | 0x02);
}

/* ---- targets ---------------------------------------------------------------------------------- */

int
srp_config_create(struct srp_config **ret)
{
	struct srp_config *c = calloc(1, sizeof *c);
	if (c == NULL)
		return -ENOMEM;
	list_init(&c->targets);
	*ret = c;
	return 0;
}

static void
target_free(struct srp_target *t)
{
	for (unsigned g = 0; t->groups != NULL && g < t->group_count; g++) {
		for (unsigned i = 0; i < t->groups[g].pattern_count; i++)
			srp_pattern_fini(&t->groups[g].patterns[i]);
		free(t->groups[g].patterns);
		free(t->groups[g].name);
	}
	subnet_list_fini(&t->acl);
	free(t->groups);
	free(t->portal_tags);
	free(t->rel_port_ids);
	free(t->name);
	free(t);
}

void
srp_config_destroy(struct srp_config *c)
{
	if (c == NULL)
		return;
	for (struct list *l; (l = list_pop_front(&c->targets)) != NULL;)
		target_free(container_of(l, struct srp_target, link));
	subnet_list_fini(&c->acl);
	free(c);
}

static int
acl_init(struct subnet_list *l, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, char *reason, size_t cap)
{
	const char *bad;
	int rc = subnet_list_init(l, allow, allow_count, deny, deny_count, &bad);
	if (rc == -EINVAL)
		return refuse(reason, cap, rc, "\"%s\" is not an address, a range or ALL.", bad);
	return rc;
}

int
srp_config_set_access(struct srp_config *c, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, char *reason, size_t reason_cap)
{
	struct subnet_list acl;
	int rc = acl_init(&acl, allow, allow_count, deny, deny_count, reason, reason_cap);
	if (rc < 0)
		return rc;
	subnet_list_fini(&c->acl);
	c->acl = acl;
	return 0;
}

static int
add_group(struct srp_target *t, const struct srp_group_args *a, char *reason, size_t cap)
{
	struct srp_group *g = &t->groups[t->group_count];
	if (a->name == NULL || a->name[0] == '\0' || strlen(a->name) > GROUP_NAME_MAX)
		return refuse(
		    reason, cap, -EINVAL, "A group of \"%s\" has no proper name.", t->name);
	if (a->view == NULL)
		return refuse(reason, cap, -EINVAL, "Group \"%s\" has no LUNs to show.", a->name);
	t->group_count++;
	*g = (struct srp_group){.view = a->view, .needs_chap = a->needs_chap};
	g->name = strdup(a->name);
	g->patterns = calloc(a->initiator_count + 1u, sizeof *g->patterns);
	if (g->name == NULL || g->patterns == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < a->initiator_count; i++) {
		int rc = srp_pattern_parse(a->initiators[i], &g->patterns[i]);
		if (rc == -EINVAL)
			return refuse(reason, cap, rc,
			    "\"%s\" of group \"%s\" is no pattern of initiators.", a->initiators[i],
			    a->name);
		if (rc < 0)
			return rc;
		g->pattern_count++;
	}
	return 0;
}

static int
fill_target(struct srp_target *t, const struct srp_target_args *args, char *reason, size_t cap)
{
	t->name = strdup(args->name);
	t->groups = calloc(args->group_count + 1u, sizeof *t->groups);
	t->portal_tags = calloc(args->portal_count + 1u, sizeof *t->portal_tags);
	t->rel_port_ids = calloc(args->portal_count + 1u, sizeof *t->rel_port_ids);
	if (t->name == NULL || t->groups == NULL || t->portal_tags == NULL ||
	    t->rel_port_ids == NULL)
		return -ENOMEM;
	memcpy(t->port_id, args->port_id, sizeof t->port_id);
	t->open_view = args->open_view;
	t->portal_count = args->portal_count;
	for (unsigned i = 0; i < args->portal_count; i++) {
		t->portal_tags[i] = args->portal_tags[i];
		t->rel_port_ids[i] = args->rel_port_ids[i];
	}
	int rc = acl_init(
	    &t->acl, args->allow, args->allow_count, args->deny, args->deny_count, reason, cap);
	for (unsigned i = 0; rc == 0 && i < args->group_count; i++)
		rc = add_group(t, &args->groups[i], reason, cap);
	return rc;
}

int
srp_config_add_target(
    struct srp_config *c, const struct srp_target_args *args, char *reason, size_t reason_cap)
{
	char hex[2 * SRP_PORT_ID_BYTES + 1];

	if (args->name == NULL || args->name[0] == '\0' || strlen(args->name) > SRP_TARGET_NAME_MAX)
		return refuse(reason, reason_cap, -EINVAL, "A target has no proper name.");
	if (srp_config_find_name(c, args->name) != NULL)
		return refuse(
		    reason, reason_cap, -EEXIST, "Target \"%s\" is there twice.", args->name);
	const struct srp_target *same = srp_config_find(c, args->port_id);
	if (same != NULL) {
		srp_hex_format(args->port_id, sizeof args->port_id, hex);
		return refuse(reason, reason_cap, -EEXIST,
		    "Targets \"%s\" and \"%s\" have the same SRP identifiers (%s).", same->name,
		    args->name, hex);
	}
	struct srp_target *t = calloc(1, sizeof *t);
	if (t == NULL)
		return -ENOMEM;
	int rc = fill_target(t, args, reason, reason_cap);
	if (rc < 0) {
		target_free(t);
		return rc;
	}
	list_push_back(&c->targets, &t->link);
	return 0;
}

const struct srp_target *
srp_config_find(const struct srp_config *c, const uint8_t port_id[SRP_PORT_ID_BYTES])
{
	LIST_FOREACH (l, &c->targets) {
		const struct srp_target *t = container_of(l, struct srp_target, link);
		if (memcmp(t->port_id, port_id, SRP_PORT_ID_BYTES) == 0)
			return t;
	}
	return NULL;
}

const struct srp_target *
srp_config_find_name(const struct srp_config *c, const char *name)
{
	LIST_FOREACH (l, &c->targets) {
		const struct srp_target *t = container_of(l, struct srp_target, link);
		if (strcmp(t->name, name) == 0)
			return t;
	}
	return NULL;
}

uint16_t
srp_target_rel_port(const struct srp_target *t, uint16_t tag)
{
	for (unsigned i = 0; i < t->portal_count; i++)
		if (t->portal_tags[i] == tag)
			return t->rel_port_ids[i];
	return 0;
}
