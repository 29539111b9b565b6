/* SPDX-License-Identifier: BSD-2-Clause */
/* What the configuration says, against what there is: names, space, file systems, secrets. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "tools/doctor/doctor_priv.h"

/* ---- configuration ------------------------------------------------------------------------------------- */

void
check_configuration(struct doctor *d)
{
	const struct doctor_facts *f = d->facts;

	for (unsigned i = 0; i < f->trouble_count; i++) {
		const struct doctor_trouble *t = &f->troubles[i];
		doctor_say(d, t->remark ? DOCTOR_REMARK : DOCTOR_BAD, t->where, "%s: %s", t->where,
		    t->text);
		doctor_act(d, "terraced --check --config %s",
		    f->configuration[0] != '\0' ? f->configuration : "FILE");
	}
	if (f->configuration[0] == '\0' && f->daemon_pid == 0) {
		doctor_say(d, DOCTOR_REMARK, "",
		    "no configuration is found and no terraced runs: only the "
		    "machine is looked at");
		doctor_act(d, "name it: terracectl doctor --config FILE");
	} else if (f->configuration[0] != '\0') {
		doctor_fine(d, "%s has no errors", f->configuration);
	} else {
		doctor_fine(d, "terraced was started without a file");
	}
}

/* ---- names ----------------------------------------------------------------------------------------------- */

/* Which a boot gives in the order in which it finds disks; `weight` of a finding. */
static const struct {
	const char *prefix;
	enum doctor_level level;
} fleeting[] = {
    {"/dev/sd", DOCTOR_BAD},
    {"/dev/hd", DOCTOR_BAD},
    {"/dev/vd", DOCTOR_BAD},
    {"/dev/xvd", DOCTOR_BAD},
    {"/dev/nvme", DOCTOR_BAD},
    {"/dev/mmcblk", DOCTOR_BAD},
    {"/dev/dm-", DOCTOR_REMARK},
    {"/dev/md12", DOCTOR_REMARK},
    {"/dev/loop", DOCTOR_REMARK},
};

/* A name in `folder` that leads to the same device. */
static bool
better_name(const struct doctor *d, const char *folder, const char *real, char *buf, size_t cap)
{
	static const char *const liked[] = {
	    "wwn-", "nvme-eui.", "nvme-uuid.", "md-uuid-", "dm-uuid-"};
	struct tree_names names;
	char where[PATH_MAX];
	unsigned best = UINT32_MAX;

	tree_list(d, &names, "%s", folder);
	for (unsigned i = 0; i < names.count; i++) {
		unsigned rank = 0;
		while (rank < 5 && strncmp(names.list[i], liked[rank], strlen(liked[rank])) != 0)
			rank++;
		if (rank >= best ||
		    !tree_real(d, where, sizeof where, "%s/%s", folder, names.list[i]) ||
		    strcmp(where, real) != 0)
			continue;
		best = rank;
		snprintf(buf, cap, "%s/%s", folder, names.list[i]);
	}
	tree_names_fini(&names);
	return best != UINT32_MAX;
}

static void
look_at_name(
    struct doctor *d, const char *kind, const char *name, const char *spec, const char *where)
{
	char buf[PATH_MAX], real[PATH_MAX], better[PATH_MAX];
	bool is_file;
	const char *path = disk_path(spec, buf, sizeof buf, &is_file);

	for (unsigned i = 0; path != NULL && i < sizeof fleeting / sizeof fleeting[0]; i++) {
		if (strncmp(path, fleeting[i].prefix, strlen(fleeting[i].prefix)) != 0)
			continue;
		doctor_say(d, fleeting[i].level, name,
		    "%s %s has %s%s%s%s: after the next boot this may be another disk", kind, name,
		    path, where[0] != '\0' ? " (" : "", where, where[0] != '\0' ? ")" : "");
		if (tree_real(d, real, sizeof real, "%s", path) &&
		    (better_name(d, "/dev/disk/by-id", real, better, sizeof better) ||
		        better_name(d, "/dev/mapper", real, better, sizeof better)))
			doctor_act(d, "write block:%s there", better);
		else
			doctor_act(
			    d, "write its name of /dev/disk/by-id there: ls -l /dev/disk/by-id");
		return;
	}
}

void
check_names(struct doctor *d)
{
	const struct doctor_facts *f = d->facts;

	for (unsigned i = 0; i < f->lun_count; i++)
		look_at_name(d, "lun", f->luns[i].name, f->luns[i].store, f->luns[i].where);
	for (unsigned i = 0; i < f->cache_count; i++)
		look_at_name(d, "cache", f->caches[i].name, f->caches[i].ssd, f->caches[i].where);
	if (f->lun_count + f->cache_count == 0)
		doctor_fine(d, "no LUN and no cache");
}

/* ---- space ------------------------------------------------------------------------------------------------- */

struct volume {
	uint64_t id, free_bytes, wanted_bytes;
	char example[PATH_MAX]; /* a file on it */
	unsigned files;
};

static struct volume *
volume_of(struct volume *list, unsigned *count, unsigned cap, uint64_t id)
{
	for (unsigned i = 0; i < *count; i++)
		if (list[i].id == id)
			return &list[i];
	if (*count == cap)
		return NULL;
	list[*count] = (struct volume){.id = id};
	return &list[(*count)++];
}

static void
look_at_file(struct doctor *d, const char *spec, struct volume *list, unsigned *count, unsigned cap)
{
	char buf[PATH_MAX], full[PATH_MAX];
	const struct doctor_probes *p = &d->facts->probes;
	uint64_t id, free_bytes;
	struct stat st;
	bool is_file;
	const char *path = disk_path(spec, buf, sizeof buf, &is_file);

	if (path == NULL || !is_file || !tree_path(d, full, sizeof full, "%s", path) ||
	    stat(full, &st) < 0 || !S_ISREG(st.st_mode) ||
	    p->space(p->ctx, full, &id, &free_bytes) < 0)
		return;
	uint64_t size = (uint64_t)st.st_size, has = 512ull * (uint64_t)st.st_blocks;
	struct volume *v = volume_of(list, count, cap, id);
	if (v == NULL)
		return;
	if (v->files++ == 0)
		snprintf(v->example, sizeof v->example, "%s", path);
	v->free_bytes = free_bytes;
	v->wanted_bytes += size > has ? size - has : 0;
}

void
check_space(struct doctor *d)
{
	const struct doctor_facts *f = d->facts;
	unsigned count = 0;
	enum { VOLUMES = 64 };
	struct volume *list = calloc(VOLUMES, sizeof *list);

	d->failed |= list == NULL;
	for (unsigned i = 0; list != NULL && i < f->lun_count; i++)
		look_at_file(d, f->luns[i].store, list, &count, VOLUMES);
	for (unsigned i = 0; i < count; i++) {
		const struct volume *v = &list[i];
		char wanted[32], left[32];
		if (v->wanted_bytes <= v->free_bytes)
			continue;
		text_format_size(v->wanted_bytes, wanted, sizeof wanted);
		text_format_size(v->free_bytes, left, sizeof left);
		/* A twentieth of what was promised isn't long. */
		bool soon = v->free_bytes < v->wanted_bytes / 20;
		doctor_say(d, soon ? DOCTOR_BAD : DOCTOR_REMARK, v->example,
		    "%u file%s on the file system of %s may grow by %s, and it has %s left",
		    v->files, v->files > 1 ? "s" : "", v->example, wanted, left);
		doctor_act(d,
		    "watch it (df, condition of terracectl status), or reserve what a LUN may "
		    "need: "
		    "fallocate -n -l SIZE %s",
		    v->example);
	}
	free(list);
	if (count == 0)
		doctor_fine(d, "no LUN is a file");
}

/* ---- file systems -------------------------------------------------------------------------------------------- */

/* What several hosts may write at once, by libblkid's names. */
static const char *const made_for_it[] = {
    "VMFS", "VMFS_volume_member", "gfs2", "gfs", "ocfs2", "ocfs", "lustre", "ceph_bluestore"};
/* Where it depends: on a cluster above it that decides who writes. */
static const char *const with_cluster[] = {
    "LVM2_member", "ntfs", "ReFS", "drbd", "linux_raid_member"};

static bool
among(const char *const *list, unsigned count, const char *word)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(list[i], word) == 0)
			return true;
	return false;
}

/* Who writes a LUN: an initiator or a pattern, and another one; `second` NULL: one at most. */
struct writers {
	const char *first, *second;
};

static struct writers
writers(const struct doctor_facts *f, const char *lun, bool connected)
{
	struct writers w = {NULL, NULL};

	for (unsigned i = 0; w.second == NULL && i < f->viewer_count; i++) {
		const struct doctor_viewer *v = &f->viewers[i];
		if (strcmp(v->lun, lun) != 0 || !v->writes || v->connected != connected)
			continue;
		if (w.first == NULL)
			w.first = v->initiator;
		else if (strcmp(w.first, v->initiator) != 0)
			w.second = v->initiator;
	}
	/* A pattern may be several. */
	if (!connected && w.second == NULL && w.first != NULL && strpbrk(w.first, "*?!") != NULL)
		w.second = "others like it";
	return w;
}

static void
look_at_lun(struct doctor *d, const struct doctor_lun *l)
{
	const struct doctor_probes *p = &d->facts->probes;
	char type[64] = "", buf[PATH_MAX], full[PATH_MAX];
	bool is_file;
	const char *path = disk_path(l->store, buf, sizeof buf, &is_file);
	struct writers w = writers(d->facts, l->name, true);
	bool now = w.second != NULL;

	if (!now)
		w = writers(d->facts, l->name, false);
	if (w.second == NULL || path == NULL || !tree_path(d, full, sizeof full, "%s", path) ||
	    p->file_system(p->ctx, full, type, sizeof type) < 0 || type[0] == '\0' ||
	    among(made_for_it, sizeof made_for_it / sizeof made_for_it[0], type))
		return;
	bool depends = among(with_cluster, sizeof with_cluster / sizeof with_cluster[0], type);
	doctor_say(d, now && !depends ? DOCTOR_BAD : DOCTOR_REMARK, l->name,
	    "%s has %s on it, for one host at a time%s, and %s and %s %s", l->name, type,
	    depends ? " unless a cluster decides who writes" : "", w.first, w.second,
	    now ? "are connected and may write" : "may log in and write");
	doctor_act(d,
	    "a LUN for each host, or a file system for clusters (GFS2, OCFS2, VMFS, CSV); who sees "
	    "it: "
	    "terracectl tree; take one away: terracectl group unmap GROUP %s",
	    l->name);
}

void
check_file_systems(struct doctor *d)
{
	for (unsigned i = 0; i < d->facts->lun_count; i++)
		look_at_lun(d, &d->facts->luns[i]);
}

/* ---- chap ------------------------------------------------------------------------------------------------------ */

#define SECRET_LEAST 12u /* bytes: RFC 7143 §9.2.1 wants 96 bits */

static void
look_at_secret(struct doctor *d, const struct doctor_chap *c, const char *secret, const char *which)
{
	size_t n = strlen(secret), different = 0;
	bool seen[256] = {false};

	if (n == 0)
		return;
	if (n < SECRET_LEAST) {
		doctor_say(d, DOCTOR_BAD, c->name,
		    "the %s of %s has %zu bytes; RFC 7143 wants %u at least", which, c->name, n,
		    SECRET_LEAST);
		doctor_act(d,
		    "a new one, of 12 to 16: head -c 12 /dev/urandom | base64; then terracectl "
		    "chap "
		    "set %s secret",
		    c->name);
		return;
	}
	for (const char *p = secret; *p != '\0'; p++) {
		different += !seen[(unsigned char)*p];
		seen[(unsigned char)*p] = true;
	}
	if (different < 6 || strcasecmp(secret, c->user) == 0) {
		doctor_say(
		    d, DOCTOR_REMARK, c->name, "the %s of %s is easily guessed", which, c->name);
		doctor_act(d, "one from head -c 12 /dev/urandom | base64: who records a login can "
		              "try billions a "
		              "second");
	}
}

/* RFC 7143 §9.2.1: a secret proves one side to the other, and serves for nothing else. */
static void
look_at_pairs(struct doctor *d)
{
	const struct doctor_facts *f = d->facts;

	for (unsigned i = 0; i < f->chap_count; i++) {
		const struct doctor_chap *a = &f->chaps[i];
		for (unsigned k = 0; k < f->chap_count; k++) {
			const struct doctor_chap *b = &f->chaps[k];
			if (a->mutual_secret[0] != '\0' &&
			    strcmp(a->mutual_secret, b->secret) == 0) {
				doctor_say(d, DOCTOR_BAD, a->name,
				    "the secret by which the target proves itself to %s is also "
				    "that of %s: who has "
				    "one can be the other",
				    a->name, b->name);
				doctor_act(d, "terracectl chap set %s mutual_secret", a->name);
			}
			if (k > i && a->secret[0] != '\0' && strcmp(a->secret, b->secret) == 0 &&
			    strcmp(a->user, b->user) != 0) {
				doctor_say(d, DOCTOR_REMARK, a->name,
				    "%s and %s have the same secret", a->name, b->name);
				doctor_act(d, "terracectl chap set %s secret", b->name);
			}
		}
	}
}

void
check_chap(struct doctor *d)
{
	const struct doctor_facts *f = d->facts;
	bool reachable = false;
	char addr[128];
	unsigned port;

	for (unsigned i = 0; i < f->address_count; i++)
		reachable |=
		    !f->addresses[i].srp &&
		    doctor_split_address(f->addresses[i].address, addr, sizeof addr, &port) &&
		    !doctor_is_loopback(addr);
	for (unsigned i = 0; i < f->chap_count; i++) {
		look_at_secret(d, &f->chaps[i], f->chaps[i].secret, "secret");
		look_at_secret(d, &f->chaps[i], f->chaps[i].mutual_secret, "mutual secret");
	}
	look_at_pairs(d);
	for (unsigned i = 0; reachable && i < f->target_count; i++) {
		if (f->targets[i].has_chap)
			continue;
		doctor_say(d, DOCTOR_REMARK, f->targets[i].name,
		    "%s admits by name alone, and names can be said by anybody on this network",
		    f->targets[i].name);
		doctor_act(d,
		    "terracectl chap create NAME --target %s, or a network that only initiators "
		    "are "
		    "on (docs/security.md)",
		    f->targets[i].name);
	}
	if (!reachable && f->chap_count == 0)
		doctor_fine(d, "no target can be reached from elsewhere");
}
