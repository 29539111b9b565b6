/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets of ib_srpt → targets on portals of SRP. SCST names them after the GID of a port of the adapter,
 * and initiators after theirs; here a portal has an address, and an initiator is called srp. and the 32
 * digits of its port identifier, the last 16 of which are those of its GID.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/import/import_priv.h"

#define PORT_DEFAULT 5000u
#define GROUPS 8u /* of four digits in a GID */
#define GID_MAX 64u
#define DIGITS 32u

/* Attributes of a target that nothing has to be done for. */
static const char *const known[] = {"enabled", "login_info", "rel_tgt_id", "cpu_mask",
    "addr_method", "io_grouping_type", "comment", "black_hole"};

/* ---- portals ------------------------------------------------------------------------------------------ */

/* The groups of "fe80:…:f34b"; how many there are, 0: it is no GID. */
static unsigned
gid_groups(const char *name, unsigned ret[GROUPS])
{
	unsigned count = 0;

	while (count < GROUPS) {
		char *end;
		size_t digits = strspn(name, "0123456789abcdefABCDEF");
		if (digits == 0 || digits > 4)
			return 0;
		ret[count++] = (unsigned)strtoul(name, &end, 16);
		if (*end == '\0')
			return count;
		if (*end != ':')
			return 0;
		name = end + 1;
	}
	return 0;
}

/* What the target is reached by: an address of IP, if its GID is one; else InfiniBand's own logins. */
static char *
listen_of(struct import *im, const struct scst_target *t)
{
	unsigned g[GROUPS], port = PORT_DEFAULT;

	for (unsigned i = 0; i < im->scst.driver_count; i++) {
		const struct scst_driver *d = &im->scst.drivers[i];
		const char *cm = scst_attr_value(&d->attrs, "rdma_cm_port");
		unsigned long n = cm != NULL ? strtoul(cm, NULL, 0) : 0;
		if (strcmp(d->name, "ib_srpt") == 0 && n > 0 && n < 65536)
			port = (unsigned)n;
	}
	bool ip = gid_groups(t->name, g) == GROUPS && g[5] == 0xffff;
	for (unsigned i = 0; i < 5; i++)
		ip = ip && g[i] == 0;
	return ip ? import_sprintf(
	                im, "%u.%u.%u.%u:%u", g[6] >> 8, g[6] & 0xff, g[7] >> 8, g[7] & 0xff, port)
	          : import_sprintf(im, "ib:%u", port);
}

/* Two targets with one address have one portal: the number of the first of them. */
static unsigned
portal_of(struct import *im, const struct scst_target *t)
{
	char *listen = listen_of(im, t);
	unsigned n = 0;

	for (unsigned i = 0; i < im->scst.target_count && !im->no_memory; i++) {
		const struct scst_target *other = &im->scst.targets[i];
		if (strcmp(other->driver, "ib_srpt") != 0)
			continue;
		n++;
		char *is = listen_of(im, other);
		if (is != NULL && listen != NULL && strcmp(is, listen) == 0)
			break;
	}
	return n;
}

void
import_map_srp_portals(struct import *im, FILE *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < im->scst.target_count && !im->no_memory; i++) {
		const struct scst_target *t = &im->scst.targets[i];
		if (strcmp(t->driver, "ib_srpt") != 0)
			continue;
		char *listen = listen_of(im, t);
		n++;
		if (portal_of(im, t) != n || listen == NULL)
			continue;
		if (n == 1)
			fputs("\n# SRP: the address of the adapter, where it has one (IPoIB, "
			      "RoCE), is "
			      "the better choice.\n",
			    out);
		fprintf(out, "portal srp-%u { listen %s; protocol srp }\n", n, listen);
	}
}

/* ---- initiators --------------------------------------------------------------------------------------- */

static bool
is_ip(const char *p, char *range, size_t cap)
{
	unsigned a[4] = {0}, count = 0;
	char rest[8] = "";

	if (sscanf(p, "%u.%u.%u.%u%7s", &a[0], &a[1], &a[2], &a[3], rest) == 4 && rest[0] == '\0')
		count = 4;
	else
		for (unsigned n = 3; n > 0 && count == 0; n--) {
			char text[32];
			int used = n == 3
			               ? snprintf(text, sizeof text, "%u.%u.%u.*", a[0], a[1], a[2])
			           : n == 2 ? snprintf(text, sizeof text, "%u.%u.*", a[0], a[1])
			                    : snprintf(text, sizeof text, "%u.*", a[0]);
			if (used > 0 && strcmp(p, text) == 0)
				count = n;
		}
	for (unsigned i = 0; i < 4; i++) {
		if (i >= count)
			a[i] = 0;
		if (a[i] > 255)
			count = 0;
	}
	snprintf(range, cap, "%u.%u.%u.%u/%u", a[0], a[1], a[2], a[3], 8 * count);
	return count > 0;
}

/* Digits and wildcards without the colons; "" if there is anything else in it. */
static void
bare_digits(const char *p, char *ret, size_t cap)
{
	size_t n = 0;

	for (; *p != '\0' && n + 1 < cap; p++) {
		if (*p == ':')
			continue;
		if (!isxdigit((unsigned char)*p) && *p != '*' && *p != '?') {
			n = 0;
			break;
		}
		ret[n++] = (char)tolower((unsigned char)*p);
	}
	ret[*p == '\0' ? n : 0] = '\0';
}

/*
 * A pattern of SCST's names (a GID, a GUID, 0x and a port identifier, an IP address) as one of ours, in
 * `ret`. False: it can't be. *ret_wider: it may match more than it did.
 */
static bool
srp_pattern(const char *p, char *ret, size_t cap, bool *ret_wider)
{
	char digits[GID_MAX + 1], range[32];
	const char *not = strchr(p, '!') != NULL ? "!" : "";
	char bare[GID_MAX + 1];
	size_t n = 0;

	*ret_wider = false;
	for (; *p != '\0' && n < GID_MAX; p++)
		if (*p != '!')
			bare[n++] = *p;
	bare[n] = '\0';
	if (*p != '\0' || n == 0)
		return false;
	if (is_ip(bare, range, sizeof range)) {
		/* A range isn't turned round by '!'. */
		snprintf(ret, cap, "srp.*@%s", range);
		return *not == '\0';
	}
	bool id = strncasecmp(bare, "0x", 2) == 0;
	bare_digits(id ? bare + 2 : bare, digits, sizeof digits);
	size_t len = strlen(digits), fixed = strcspn(digits, "*");
	if (len == 0)
		return false;
	if (fixed == len && (len == DIGITS || len == DIGITS / 2)) {
		/* A whole identifier; of a GID or GUID the part that identifiers have. */
		snprintf(ret, cap, "%ssrp.%s%s", not, id && len == DIGITS ? "" : "*",
		    id || len < DIGITS ? digits : digits + DIGITS / 2);
		return true;
	}
	if (fixed == len)
		return false;
	if (fixed > DIGITS / 2 && !id) {
		snprintf(ret, cap, "%ssrp.????????????????%s", not, digits + DIGITS / 2);
		return true;
	}
	/* What is in front of the first wildcard is the subnet's: identifiers have other digits there. */
	*ret_wider = !id && strcmp(digits, "*") != 0;
	snprintf(ret, cap, "%ssrp.%s", not, id ? digits : digits + fixed);
	return true;
}

static void
put_group(struct import *im, FILE *out, const struct scst_group *g)
{
	char pattern[2 * GID_MAX];
	unsigned count = 0;
	bool wider;

	for (unsigned i = 0; i < g->pattern_count; i++) {
		const struct scst_pattern *p = &g->patterns[i];
		if (!srp_pattern(p->text, pattern, sizeof pattern, &wider)) {
			import_tell(im, &p->pos, IMPORT_LOST,
			    "'%s' can't be a pattern of SRP initiators here: a GID, a GUID, 0x and "
			    "a "
			    "port identifier, or addresses that begin alike can",
			    p->text);
			continue;
		}
		if (count++ == 0)
			fprintf(out, "    group %s {\n", import_name(im, g->name));
		if (wider)
			import_tell(im, &p->pos, IMPORT_REMARK,
			    "'%s' becomes '%s', which knows no colons: write the whole names, or "
			    "srp.* and a range of addresses behind @",
			    p->text, pattern);
		import_put(im, out, 2, "initiators", pattern);
	}
	if (count == 0) {
		import_tell(im, &g->pos, IMPORT_REMARK,
		    "group '%s' has no initiators: it matched nobody", g->name);
		return;
	}
	import_put_luns(im, out, 2, &g->luns);
	fputs("    }\n", out);
}

/* ---- targets ------------------------------------------------------------------------------------------- */

static void
tell_attributes(struct import *im, const struct scst_target *t)
{
	for (unsigned k = 0; k < t->attrs.count; k++) {
		const struct scst_attr *a = &t->attrs.list[k];
		bool is_known = false;
		for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
			is_known = is_known || strcasecmp(known[i], a->name) == 0;
		if (!is_known)
			import_tell(
			    im, &a->pos, IMPORT_LOST, "%s: an attribute that isn't known", a->name);
	}
}

void
import_put_srp_target(struct import *im, FILE *out, const struct scst_target *t)
{
	char name[GID_MAX + 1];
	size_t n = 0;

	for (const char *p = t->name; *p != '\0' && n < GID_MAX; p++)
		if (isalnum((unsigned char)*p))
			name[n++] = (char)tolower((unsigned char)*p);
	name[n] = '\0';
	import_tell(im, &t->pos, IMPORT_REMARK,
	    "SRP initiators log in with new strings, which 'terracectl srp login-strings' prints: "
	    "this target was SCST's '%s'",
	    t->name);
	fprintf(out, "target iqn.2026-11.example.terrace:srp-%s {\n    portals srp-%u\n", name,
	    portal_of(im, t));
	for (unsigned i = 0; i < t->group_count; i++)
		put_group(im, out, &t->groups[i]);
	import_put_everyone(im, out, &t->pos, &t->luns, NULL, 0);
	fputs("}\n", out);
	tell_attributes(im, t);
}
