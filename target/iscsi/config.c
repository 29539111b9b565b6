/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration: built once, checked while it is built, never changed while a server uses it. */
#include "iscsi/iscsi_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "iscsi/login.h"

#define ALIAS_MAX 255u /* RFC 7143 §6.1: text values */
#define USER_NAME_MAX 255u
#define SECRET_MIN 12u /* RFC 7143 §9.2.1: 96 bits */
#define SECRET_MAX 256u
#define PATTERN_MAX 255u
#define LENGTH_MIN 512u /* §13.12–13.14 */
#define LENGTH_MAX 0xffffffu

static int __attribute__((format(printf, 4, 5)))
refuse(char *reason, size_t cap, int error, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (cap > 0)
		(void)vsnprintf(reason, cap, fmt, ap);
	va_end(ap);
	ASSERT(error < 0);
	return error;
}

/* ---- names, RFC 7143 §4.2.7 ------------------------------------------------------------------ */

static bool
all_hex(const char *s, size_t count)
{
	return strspn(s, "0123456789abcdef") == count && s[count] == '\0';
}

/* "iqn.", year and month, '.', reversed domain, then anything behind a ':'. */
static bool
iqn_valid(const char *name)
{
	static const char form[] = "iqn.dddd-dd.";
	for (size_t i = 0; i < sizeof form - 1; i++) {
		bool digit = name[i] >= '0' && name[i] <= '9';
		if (form[i] == 'd' ? !digit : name[i] != form[i])
			return false;
	}
	int month = (name[9] - '0') * 10 + name[10] - '0';
	const char *domain = name + sizeof form - 1;
	return month >= 1 && month <= 12 && *domain != '\0' && *domain != ':' && *domain != '.';
}

bool
iscsi_name_normalise(const char *name, bool strict, char ret[ISCSI_NAME_MAX + 1])
{
	size_t len = strlen(name);
	if (len <= 4 || len > ISCSI_NAME_MAX)
		return false;
	char lower[ISCSI_NAME_MAX + 1];
	/*
	 * RFC 3722 §4: letters in lower case, digits, '-', '.', ':'. Deviation: '_' is accepted
	 * because many hosts use it, characters outside ASCII are not.
	 */
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		bool ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		          c == '.' || c == ':' || c == '_';
		if (!ok)
			return false;
		lower[i] = c;
	}
	lower[len] = '\0';
	bool iqn = memcmp(lower, "iqn.", 4) == 0, eui = memcmp(lower, "eui.", 4) == 0;
	bool naa = memcmp(lower, "naa.", 4) == 0;
	if (!iqn && !eui && !naa)
		return false;
	if (strict && iqn && !iqn_valid(lower))
		return false;
	if (strict && eui && !all_hex(lower + 4, 16))
		return false;
	if (strict && naa && !all_hex(lower + 4, 16) && !all_hex(lower + 4, 32))
		return false;
	memcpy(ret, lower, len + 1);
	return true;
}

/* Printable, no control characters; bytes of UTF-8 are let through. */
static bool
text_printable(const char *s, size_t max)
{
	size_t len = strlen(s);
	if (len == 0 || len > max)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return true;
}

/* ---- users -------------------------------------------------------------------------------------- */

static void
user_fini(struct iscsi_user *u)
{
	if (u->secret)
		explicit_bzero(u->secret, u->secret_len);
	if (u->mutual_secret)
		explicit_bzero(u->mutual_secret, u->mutual_secret_len);
	free(u->name);
	free(u->mutual_name);
	free(u->secret);
	free(u->mutual_secret);
	*u = (struct iscsi_user){0};
}

static bool
secrets_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && text_equal_const_time(a, b, a_len);
}

static int
check_user(const struct iscsi_chap_user *u, char *reason, size_t cap)
{
	if (!u->name || !text_printable(u->name, USER_NAME_MAX))
		return refuse(reason, cap, -EINVAL,
		    "A CHAP user's name has 1 to %u printable characters.", USER_NAME_MAX);
	if (!u->secret || u->secret_len < SECRET_MIN || u->secret_len > SECRET_MAX)
		return refuse(reason, cap, -EINVAL,
		    "The CHAP secret of \"%s\" must have %u to %u bytes.", u->name, SECRET_MIN,
		    SECRET_MAX);
	if (!u->mutual_name != !u->mutual_secret)
		return refuse(reason, cap, -EINVAL,
		    "Mutual CHAP of \"%s\" needs both a name and a secret.", u->name);
	if (!u->mutual_name)
		return 0;
	if (!text_printable(u->mutual_name, USER_NAME_MAX))
		return refuse(reason, cap, -EINVAL,
		    "The mutual CHAP name of \"%s\" has 1 to %u printable characters.", u->name,
		    USER_NAME_MAX);
	if (u->mutual_secret_len < SECRET_MIN || u->mutual_secret_len > SECRET_MAX)
		return refuse(reason, cap, -EINVAL,
		    "The mutual CHAP secret of \"%s\" must have %u to %u bytes.", u->name,
		    SECRET_MIN, SECRET_MAX);
	return 0;
}

static int
user_init(struct iscsi_user *ret, const struct iscsi_chap_user *u)
{
	*ret = (struct iscsi_user){.secret_len = u->secret_len};
	ret->name = strdup(u->name);
	ret->secret = malloc(u->secret_len);
	if (!ret->name || !ret->secret)
		goto err_free;
	memcpy(ret->secret, u->secret, u->secret_len);
	if (u->mutual_name) {
		ret->mutual_name = strdup(u->mutual_name);
		ret->mutual_secret = malloc(u->mutual_secret_len);
		if (!ret->mutual_name || !ret->mutual_secret)
			goto err_free;
		ret->mutual_secret_len = u->mutual_secret_len;
		memcpy(ret->mutual_secret, u->mutual_secret, u->mutual_secret_len);
	}
	return 0;
err_free:
	ret->secret_len = ret->secret ? ret->secret_len : 0;
	user_fini(ret);
	return -ENOMEM;
}

/*
 * RFC 7143 §9.2.1: a secret of one direction must not serve the other, with nobody of those that
 * may log in at the same place: a reflected challenge could be answered with it.
 */
static int
check_user_against(const struct iscsi_user *others, unsigned count, const struct iscsi_chap_user *u,
    char *reason, size_t cap)
{
	if (u->mutual_secret &&
	    secrets_equal(u->secret, u->secret_len, u->mutual_secret, u->mutual_secret_len))
		return refuse(
		    reason, cap, -EINVAL, "The two CHAP secrets of \"%s\" must differ.", u->name);
	for (unsigned i = 0; i < count; i++) {
		const struct iscsi_user *o = &others[i];
		if (strcmp(o->name, u->name) == 0)
			return refuse(
			    reason, cap, -EEXIST, "CHAP user \"%s\" is there twice.", u->name);
		bool same = o->mutual_secret && secrets_equal(u->secret, u->secret_len,
		                                    o->mutual_secret, o->mutual_secret_len);
		if (u->mutual_secret)
			same |= secrets_equal(
			    o->secret, o->secret_len, u->mutual_secret, u->mutual_secret_len);
		if (same)
			return refuse(reason, cap, -EINVAL,
			    "CHAP users \"%s\" and \"%s\" share a secret in opposite directions.",
			    o->name, u->name);
	}
	return 0;
}

/* ---- address lists ------------------------------------------------------------------------------- */

static int
acl_init(struct subnet_list *l, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, char *reason, size_t cap)
{
	const char *bad;
	int r = subnet_list_init(l, allow, allow_count, deny, deny_count, &bad);
	if (r == -EINVAL)
		return refuse(reason, cap, r, "\"%s\" is not an address, a range or ALL.", bad);
	return r < 0 ? refuse(reason, cap, r, "Out of memory.") : 0;
}

/* ---- groups ---------------------------------------------------------------------------------------- */

static void
group_fini(struct iscsi_group *g)
{
	for (unsigned i = 0; i < g->initiator_count; i++)
		free(g->initiators[i]);
	free(g->initiators);
	free(g->users);
	free(g->name);
	*g = (struct iscsi_group){0};
}

static const struct iscsi_user *
find_user(const struct iscsi_target *t, const char *name)
{
	for (unsigned i = 0; i < t->user_count; i++)
		if (strcmp(t->users[i].name, name) == 0)
			return &t->users[i];
	return NULL;
}

static int
check_group(
    const struct iscsi_target *t, const struct iscsi_group_args *a, char *reason, size_t cap)
{
	if (!a->name || !text_printable(a->name, USER_NAME_MAX))
		return refuse(
		    reason, cap, -EINVAL, "A group of \"%s\" has no proper name.", t->name);
	for (unsigned i = 0; i < t->group_count; i++)
		if (strcmp(t->groups[i].name, a->name) == 0)
			return refuse(
			    reason, cap, -EEXIST, "Group \"%s\" is there twice.", a->name);
	if (!a->view)
		return refuse(reason, cap, -EINVAL, "Group \"%s\" has no LUNs to show.", a->name);
	for (unsigned i = 0; i < a->initiator_count; i++)
		if (!text_printable(a->initiators[i], PATTERN_MAX) ||
		    strpbrk(a->initiators[i], " \t"))
			return refuse(reason, cap, -EINVAL,
			    "Group \"%s\": \"%s\" is not a pattern of initiator names.", a->name,
			    a->initiators[i]);
	for (unsigned i = 0; i < a->user_count; i++)
		if (!find_user(t, a->users[i]))
			return refuse(reason, cap, -EINVAL,
			    "Group \"%s\": target has no CHAP user \"%s\".", a->name, a->users[i]);
	return 0;
}

/* `ret` is in the target's array already: group_fini() will see it whatever happens. */
static int
group_init(struct iscsi_group *ret, const struct iscsi_target *t, const struct iscsi_group_args *a)
{
	ret->view = a->view;
	ret->name = strdup(a->name);
	ret->initiators = calloc(a->initiator_count + 1u, sizeof *ret->initiators);
	ret->users = calloc(a->user_count + 1u, sizeof *ret->users);
	if (!ret->name || !ret->initiators || !ret->users)
		return -ENOMEM;
	for (unsigned i = 0; i < a->initiator_count; i++) {
		ret->initiators[i] = strdup(a->initiators[i]);
		if (!ret->initiators[i])
			return -ENOMEM;
		ret->initiator_count++;
	}
	for (unsigned i = 0; i < a->user_count; i++)
		ret->users[i] = find_user(t, a->users[i]);
	ret->user_count = a->user_count;
	return 0;
}

/* ---- targets ----------------------------------------------------------------------------------------- */

static void
target_destroy(struct iscsi_target *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->group_count; i++)
		group_fini(&t->groups[i]);
	for (unsigned i = 0; i < t->user_count; i++)
		user_fini(&t->users[i]);
	subnet_list_fini(&t->acl);
	free(t->groups);
	free(t->users);
	free(t->portal_tags);
	free(t->rel_port_ids);
	free(t->alias);
	free(t->name);
	free(t);
}

static int
check_offer(const struct iscsi_offer *o, char *reason, size_t cap)
{
	const uint8_t both = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C;
	if (!(o->header_digest & both) || (o->header_digest & ~both) || !(o->data_digest & both) ||
	    (o->data_digest & ~both))
		return refuse(reason, cap, -EINVAL, "Digests are none, CRC32C or either.");
	if (o->max_recv_bytes < LENGTH_MIN || o->max_recv_bytes > LENGTH_MAX ||
	    o->max_burst_bytes < LENGTH_MIN || o->max_burst_bytes > LENGTH_MAX ||
	    o->first_burst_bytes < LENGTH_MIN || o->first_burst_bytes > LENGTH_MAX)
		return refuse(reason, cap, -EINVAL, "Segments and bursts have %u to %u bytes.",
		    LENGTH_MIN, LENGTH_MAX);
	if (o->first_burst_bytes > o->max_burst_bytes)
		return refuse(reason, cap, -EINVAL, "The first burst can't exceed the burst.");
	if (o->max_outstanding_r2t < 1 || o->max_outstanding_r2t > 65535)
		return refuse(reason, cap, -EINVAL, "Outstanding R2Ts are 1 to 65535.");
	return 0;
}

static int
target_users(struct iscsi_target *t, const struct iscsi_target_args *args, char *reason, size_t cap)
{
	t->users = calloc(args->user_count + 1u, sizeof *t->users);
	if (!t->users)
		return -ENOMEM;
	for (unsigned i = 0; i < args->user_count; i++) {
		int r = check_user(&args->users[i], reason, cap);
		if (r == 0)
			r = check_user_against(
			    t->users, t->user_count, &args->users[i], reason, cap);
		if (r == 0)
			r = user_init(&t->users[i], &args->users[i]);
		if (r < 0)
			return r;
		t->user_count++;
	}
	return 0;
}

static int
target_groups(
    struct iscsi_target *t, const struct iscsi_target_args *args, char *reason, size_t cap)
{
	t->groups = calloc(args->group_count + 1u, sizeof *t->groups);
	if (!t->groups)
		return -ENOMEM;
	for (unsigned i = 0; i < args->group_count; i++) {
		int r = check_group(t, &args->groups[i], reason, cap);
		if (r < 0)
			return r;
		t->group_count++;
		r = group_init(&t->groups[i], t, &args->groups[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
target_tags(struct iscsi_target *t, const struct iscsi_target_args *args, char *reason, size_t cap)
{
	unsigned count = args->portal_tag_count;
	t->portal_tags = calloc(count ? count : 1u, sizeof *t->portal_tags);
	t->rel_port_ids = calloc(count ? count : 1u, sizeof *t->rel_port_ids);
	if (!t->portal_tags || !t->rel_port_ids)
		return -ENOMEM;
	t->rel_port_ids[0] = args->rel_port_base;
	for (unsigned i = 0; i < count; i++) {
		if (args->portal_tags[i] == 0)
			return refuse(reason, cap, -EINVAL, "Portal group tags start at 1.");
		t->portal_tags[i] = args->portal_tags[i];
		t->rel_port_ids[i] = args->rel_port_ids != NULL
		                         ? args->rel_port_ids[i]
		                         : (uint16_t)(args->rel_port_base + i);
	}
	if (count == 0)
		t->portal_tags[0] = 1;
	t->portal_tag_count = count ? count : 1u;
	return 0;
}

static int
target_fill(struct iscsi_target *t, const struct iscsi_target_args *args, char *reason, size_t cap)
{
	if (args->alias) {
		if (!text_printable(args->alias, ALIAS_MAX))
			return refuse(reason, cap, -EINVAL,
			    "An alias has 1 to %u printable characters.", ALIAS_MAX);
		t->alias = strdup(args->alias);
		if (!t->alias)
			return -ENOMEM;
	}
	int r = check_offer(&args->offer, reason, cap);
	if (r == 0)
		r = target_users(t, args, reason, cap);
	if (r == 0)
		r = target_groups(t, args, reason, cap);
	if (r == 0)
		r = target_tags(t, args, reason, cap);
	if (r == 0)
		r = acl_init(&t->acl, args->allow, args->allow_count, args->deny, args->deny_count,
		    reason, cap);
	t->offer = args->offer;
	t->open_view = args->open_view;
	return r;
}

int
iscsi_config_add_target(
    struct iscsi_config *c, const struct iscsi_target_args *args, char *reason, size_t reason_cap)
{
	char name[ISCSI_NAME_MAX + 1];
	if (!args->name || !iscsi_name_normalise(args->name, true, name))
		return refuse(reason, reason_cap, -EINVAL,
		    "\"%s\" is not an iSCSI name (iqn.2024-01.com.example:name, eui. or naa.).",
		    args->name ? args->name : "");
	if (iscsi_config_find(c, name))
		return refuse(reason, reason_cap, -EEXIST, "Target \"%s\" is there twice.", name);

	struct iscsi_target *t = calloc(1, sizeof *t);
	if (!t)
		return refuse(reason, reason_cap, -ENOMEM, "Out of memory.");
	list_init(&t->link);
	t->name = strdup(name);
	int r = t->name ? target_fill(t, args, reason, reason_cap) : -ENOMEM;
	if (r == -ENOMEM)
		(void)refuse(reason, reason_cap, r, "Out of memory.");
	if (r < 0) {
		target_destroy(t);
		return r;
	}
	list_push_back(&c->targets, &t->link);
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

int
iscsi_config_create(struct iscsi_config **ret)
{
	struct iscsi_config *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	list_init(&c->targets);
	*ret = c;
	return 0;
}

void
iscsi_config_destroy(struct iscsi_config *c)
{
	if (!c)
		return;
	struct list *l;
	while ((l = list_pop_front(&c->targets)) != NULL)
		target_destroy(container_of(l, struct iscsi_target, link));
	for (unsigned i = 0; i < c->discovery_user_count; i++)
		user_fini(&c->discovery_users[i]);
	free(c->discovery_users);
	subnet_list_fini(&c->acl);
	free(c);
}

int
iscsi_config_add_discovery_user(
    struct iscsi_config *c, const struct iscsi_chap_user *u, char *reason, size_t reason_cap)
{
	int r = check_user(u, reason, reason_cap);
	if (r == 0)
		r = check_user_against(
		    c->discovery_users, c->discovery_user_count, u, reason, reason_cap);
	if (r < 0)
		return r;
	unsigned count = c->discovery_user_count;
	struct iscsi_user *users = reallocarray(c->discovery_users, count + 1u, sizeof *users);
	if (!users)
		return refuse(reason, reason_cap, -ENOMEM, "Out of memory.");
	c->discovery_users = users;
	if (user_init(&users[count], u) < 0)
		return refuse(reason, reason_cap, -ENOMEM, "Out of memory.");
	c->discovery_user_count = count + 1;
	return 0;
}

int
iscsi_config_set_access(struct iscsi_config *c, const char *const *allow, unsigned allow_count,
    const char *const *deny, unsigned deny_count, char *reason, size_t reason_cap)
{
	struct subnet_list acl;
	int r = acl_init(&acl, allow, allow_count, deny, deny_count, reason, reason_cap);
	if (r < 0)
		return r;
	subnet_list_fini(&c->acl);
	c->acl = acl;
	return 0;
}

struct iscsi_target *
iscsi_config_find(const struct iscsi_config *c, const char *name)
{
	LIST_FOREACH (l, &c->targets) {
		struct iscsi_target *t = container_of(l, struct iscsi_target, link);
		if (strcmp(t->name, name) == 0)
			return t;
	}
	return NULL;
}

bool
iscsi_target_on_tag(const struct iscsi_target *t, uint16_t tag)
{
	for (unsigned i = 0; i < t->portal_tag_count; i++)
		if (t->portal_tags[i] == tag)
			return true;
	return false;
}

uint16_t
iscsi_target_rel_port(const struct iscsi_target *t, uint16_t tag)
{
	for (unsigned i = 0; i < t->portal_tag_count; i++)
		if (t->portal_tags[i] == tag)
			return t->rel_port_ids[i];
	return 0;
}
