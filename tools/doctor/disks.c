/* SPDX-License-Identifier: BSD-2-Clause */
/* Which disks a store ends on. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tools/doctor/doctor_priv.h"

#define DEPTH_MAX 16u /* of devices on devices */

/* ---- from a spec to a device -------------------------------------------------------------------------- */

const char *
disk_path(const char *spec, char *buf, size_t cap, bool *ret_is_file)
{
	*ret_is_file = false;
	if (strncmp(spec, "lvm:", 4) == 0) {
		int n = snprintf(buf, cap, "/dev/%s", spec + 4);
		return n > 0 && (size_t)n < cap ? buf : NULL;
	}
	if (strncmp(spec, "block:", 6) == 0)
		spec += 6;
	else if (strncmp(spec, "file:", 5) == 0)
		*ret_is_file = true, spec += 5;
	if (spec[0] != '/')
		return NULL; /* "ram:", "null:", a relative path of nobody knows where */
	if (strncmp(spec, "/dev/", 5) != 0)
		*ret_is_file = true;
	return spec;
}

/* The last part of a path that a device has in /sys; false: it has none. */
static bool
known(const struct doctor *d, const char *path, char name[DOCTOR_NAME_BYTES])
{
	const char *base = strrchr(path, '/');

	base = base != NULL ? base + 1 : path;
	if (base[0] == '\0' || strlen(base) >= DOCTOR_NAME_BYTES || strcmp(base, ".") == 0 ||
	    strcmp(base, "..") == 0 || !tree_exists(d, "/sys/class/block/%s", base))
		return false;
	snprintf(name, DOCTOR_NAME_BYTES, "%s", base);
	return true;
}

static bool
by_number(const struct doctor *d, unsigned major, unsigned minor, char name[DOCTOR_NAME_BYTES])
{
	char real[PATH_MAX];
	return tree_real(d, real, sizeof real, "/sys/dev/block/%u:%u", major, minor) &&
	       known(d, real, name);
}

static bool
by_path(const struct doctor *d, const char *path, char name[DOCTOR_NAME_BYTES])
{
	char real[PATH_MAX], full[PATH_MAX];
	struct stat st;

	if (tree_path(d, full, sizeof full, "%s", path) && stat(full, &st) == 0 &&
	    S_ISBLK(st.st_mode) && by_number(d, major(st.st_rdev), minor(st.st_rdev), name))
		return true;
	return tree_real(d, real, sizeof real, "%s", path) && strncmp(real, "/dev/", 5) == 0 &&
	       known(d, real, name);
}

/* Undoes the octal escapes (\040) of the tables in /proc. */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* How much of `path` a mount point covers; 0: it doesn't. */
static size_t
covers(const char *mount, const char *path)
{
	size_t n = strlen(mount);

	if (strcmp(mount, "/") == 0)
		return path[0] == '/';
	return n > 0 && strncmp(mount, path, n) == 0 && (path[n] == '/' || path[n] == '\0') ? n : 0;
}

/* "36 35 98:0 /root /mount rw,noatime shared:1 - ext4 /dev/root rw": proc(5), mountinfo. */
static bool
by_mount(const struct doctor *d, const char *path, char name[DOCTOR_NAME_BYTES])
{
	char *table = tree_text(d, "/proc/self/mountinfo"), mount[PATH_MAX], number[32],
	     source[PATH_MAX] = "";
	unsigned major = 0, minor = 0;
	size_t best = 0;

	for (char *line = table, *end; line != NULL && *line != '\0'; line = end) {
		end = line + strcspn(line, "\n");
		if (*end != '\0')
			*end++ = '\0';
		const char *dash = strstr(line, " - ");
		if (dash == NULL || !tree_word(line, 4, mount, sizeof mount) ||
		    !tree_word(line, 2, number, sizeof number))
			continue;
		unescape(mount);
		size_t n = covers(mount, path);
		/* of two mounts at one place the later one is on top */
		if (n < best || n == 0 || sscanf(number, "%u:%u", &major, &minor) != 2)
			continue;
		best = n;
		if (!tree_word(dash + 3, 1, source, sizeof source))
			source[0] = '\0';
		if (!by_number(d, major, minor, name))
			name[0] = '\0';
	}
	free(table);
	unescape(source);
	if (best == 0)
		return false;
	/* File systems over several devices have a number of their own and name one of them. */
	return name[0] != '\0' || (strncmp(source, "/dev/", 5) == 0 && by_path(d, source, name));
}

bool
disk_of_store(const struct doctor *d, const char *spec, char name[DOCTOR_NAME_BYTES])
{
	char buf[PATH_MAX], real[PATH_MAX];
	bool is_file;
	const char *path = disk_path(spec, buf, sizeof buf, &is_file);

	name[0] = '\0';
	if (path == NULL)
		return false;
	if (by_path(d, path, name))
		return true;
	if (!is_file)
		return false;
	return by_mount(d, tree_real(d, real, sizeof real, "%s", path) ? real : path, name);
}

/* ---- what is below ---------------------------------------------------------------------------------------- */

static struct disk *
find(struct disks *s, const char *name)
{
	for (unsigned i = 0; i < s->count; i++)
		if (strcmp(s->list[i].name, name) == 0)
			return &s->list[i];
	return NULL;
}

/* The disk that a partition is on: its folder is in the disk's. */
static bool
whole_of(const struct doctor *d, const char *name, char whole[DOCTOR_NAME_BYTES])
{
	char real[PATH_MAX];

	if (!tree_exists(d, "/sys/class/block/%s/partition", name) ||
	    !tree_real(d, real, sizeof real, "/sys/class/block/%s", name))
		return false;
	char *slash = strrchr(real, '/');
	*slash = '\0';
	return known(d, real, whole);
}

static void
add(const struct doctor *d, struct disks *s, const char *name, const char *user, bool cached,
    unsigned depth)
{
	struct disk *x = find(s, name);
	char whole[DOCTOR_NAME_BYTES];
	struct tree_names slaves;

	if (x != NULL) {
		x->cached &= cached;
		x->top |= depth == 0;
		if (x->cached == cached)
			return; /* what is below it is as well */
	} else if (s->count == DISKS_MAX) {
		return;
	} else {
		x = &s->list[s->count++];
		*x = (struct disk){.user = user, .cached = cached, .top = depth == 0};
		snprintf(x->name, sizeof x->name, "%s", name);
	}
	if (depth == DEPTH_MAX)
		return;
	if (whole_of(d, name, whole)) {
		add(d, s, whole, user, cached, depth + 1);
		return;
	}
	tree_list(d, &slaves, "/sys/class/block/%s/slaves", name);
	x->leaf = slaves.count == 0;
	for (unsigned i = 0; i < slaves.count; i++)
		if (strlen(slaves.list[i]) < DOCTOR_NAME_BYTES)
			add(d, s, slaves.list[i], user, cached, depth + 1);
	tree_names_fini(&slaves);
}

struct disks *
disks_of_luns(const struct doctor *d)
{
	struct disks *s = calloc(1, sizeof *s);

	for (unsigned i = 0; s != NULL && i < d->facts->lun_count; i++) {
		const struct doctor_lun *l = &d->facts->luns[i];
		char name[DOCTOR_NAME_BYTES];
		bool cached = l->cache[0] != '\0' && strcmp(l->mode, "nv") == 0;
		if (disk_of_store(d, l->store, name))
			add(d, s, name, l->name, cached, 0);
	}
	return s;
}

struct disks *
disks_of_caches(const struct doctor *d)
{
	struct disks *s = calloc(1, sizeof *s);

	for (unsigned i = 0; s != NULL && i < d->facts->cache_count; i++) {
		const struct doctor_cache *c = &d->facts->caches[i];
		char name[DOCTOR_NAME_BYTES];
		if (c->ssd[0] != '\0' && disk_of_store(d, c->ssd, name))
			add(d, s, name, c->name, false, 0);
	}
	return s;
}
