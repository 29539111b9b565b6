/* SPDX-License-Identifier: BSD-2-Clause */
/* conf.d: the names in it, and what is to be there instead. */
#include "conf/conf_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

/* ---- names ----------------------------------------------------------------------------------- */

static const char *const kinds[CONF_KIND_COUNT] = {
    [CONF_KIND_SETTINGS] = "settings",
    [CONF_KIND_PORTAL] = "portal",
    [CONF_KIND_CACHE] = "cache",
    [CONF_KIND_LUN] = "lun",
    [CONF_KIND_TARGET] = "target",
    [CONF_KIND_CHAP] = "chap",
    [CONF_KIND_GROUP] = "group",
};

const char *
conf_kind_to_string(enum conf_kind k)
{
	ASSERT((unsigned)k < CONF_KIND_COUNT);
	return kinds[k];
}

int
conf_kind_from_string(const char *word, enum conf_kind *ret)
{
	for (unsigned k = CONF_KIND_SETTINGS + 1; k < CONF_KIND_COUNT; k++) {
		if (strcmp(kinds[k], word) == 0) {
			*ret = (enum conf_kind)k;
			return 0;
		}
	}
	return -EINVAL;
}

char *
conf_file_name(enum conf_kind kind, const char *name)
{
	char *ret;
	return asprintf(&ret, "%s-%s.conf", conf_kind_to_string(kind), name) < 0 ? NULL : ret;
}

static bool
is_conf(const char *name)
{
	size_t len = strlen(name);
	return name[0] != '.' && len > 5 && strcmp(name + len - 5, ".conf") == 0;
}

bool
conf_file_name_ok(const char *name)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@+";
	size_t len = strlen(name), dash = strcspn(name, "-");
	enum conf_kind kind;
	char word[16];

	if (len > NAME_MAX || !is_conf(name) || strspn(name, letters) != len ||
	    dash >= sizeof word || len < dash + sizeof "-x.conf" - 1)
		return false;
	memcpy(word, name, dash);
	word[dash] = '\0';
	return conf_kind_from_string(word, &kind) == 0;
}

char *
conf_dir_path(const char *conf_path)
{
	return conf_path_from(conf_path, "conf.d");
}

/* ---- the folder ------------------------------------------------------------------------------ */

struct listing {
	struct conf_dir_file *list;
	unsigned count, cap;
};

/* Takes the name, also on failure; NULL: no memory. */
static int
add(struct listing *l, char *name, const struct conf_file *instead)
{
	if (name != NULL && l->count == l->cap) {
		unsigned cap = l->cap == 0 ? 64 : l->cap * 2;
		struct conf_dir_file *list = reallocarray(l->list, cap, sizeof *list);
		if (list == NULL) {
			free(name);
			return -ENOMEM;
		}
		l->list = list;
		l->cap = cap;
	}
	if (name == NULL)
		return -ENOMEM;
	l->list[l->count++] = (struct conf_dir_file){.name = name, .instead = instead};
	return 0;
}

static int
add_files(struct listing *l, const struct conf_file *files, unsigned count)
{
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		ASSERT(conf_file_name_ok(files[i].name));
		rc = add(l, strdup(files[i].name), &files[i]);
	}
	return rc;
}

static int
add_listing(struct listing *l, DIR *dir)
{
	int rc = 0;

	while (rc == 0) {
		errno = 0;
		struct dirent *e = readdir(dir);
		if (e == NULL)
			return -errno;
		/* One more is taken, so that the bound is noticed where all files are counted. */
		if (is_conf(e->d_name) && l->count <= CONF_SOURCES_MAX)
			rc = add(l, strdup(e->d_name), NULL);
	}
	return rc;
}

/* What is there, then what was pending, then the overlay: later ones hold. */
static int
compare_files(const void *a, const void *b)
{
	const struct conf_dir_file *x = a, *y = b;
	return strcmp(x->name, y->name);
}

/* Merge sort, as it is stable: glibc's qsort() is that only when it has memory. */
static int
sort_files(struct conf_dir_file *list, unsigned count)
{
	struct conf_dir_file *other = calloc(count + 1u, sizeof *other), *from = list, *to = other;

	if (other == NULL)
		return -ENOMEM;
	for (unsigned width = 1; width < count; width *= 2) {
		for (unsigned i = 0; i < count; i += 2 * width) {
			unsigned a = i, a_end = i + width < count ? i + width : count, b = a_end,
			         b_end = i + 2 * width < count ? i + 2 * width : count;
			for (unsigned k = i; k < b_end; k++) {
				bool first = a < a_end &&
				             (b == b_end || compare_files(&from[a], &from[b]) <= 0);
				to[k] = first ? from[a++] : from[b++];
			}
		}
		struct conf_dir_file *swap = from;
		from = to;
		to = swap;
	}
	if (from != list)
		memcpy(list, from, count * sizeof *list);
	free(other);
	return 0;
}

/* Of the same name the last one that replaces stays. */
static void
merge(struct listing *l)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		struct conf_dir_file *last = kept > 0 ? &l->list[kept - 1] : NULL;
		if (last == NULL || strcmp(last->name, l->list[i].name) != 0) {
			l->list[kept++] = l->list[i];
			continue;
		}
		if (l->list[i].instead != NULL)
			last->instead = l->list[i].instead;
		free(l->list[i].name);
	}
	l->count = kept;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int
compare_inodes(const void *a, const void *b)
{
	const struct conf_dir_file *x = *(const struct conf_dir_file *const *)a,
	                           *y = *(const struct conf_dir_file *const *)b;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

struct conf_dir_file *
conf_dir_find(const struct conf_dir *d, dev_t dev, ino_t ino)
{
	const struct conf_dir_file wanted = {.dev = dev, .ino = ino}, *key = &wanted;
	if (d->by_inode_count == 0)
		return NULL;
	struct conf_dir_file **f = bsearch(
	    &key, d->by_inode, d->by_inode_count, sizeof(struct conf_dir_file *), compare_inodes);
	return f != NULL ? *f : NULL;
}

static int
look(struct conf_dir *d, int fd)
{
	struct stat st;

	d->by_inode = calloc(d->count + 1u, sizeof(struct conf_dir_file *));
	if (d->by_inode == NULL)
		return -ENOMEM;
	for (unsigned i = 0; fd >= 0 && i < d->count; i++) {
		struct conf_dir_file *f = &d->list[i];
		if (fstatat(fd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		f->plain = S_ISREG(st.st_mode);
		if (S_ISLNK(st.st_mode) && fstatat(fd, f->name, &st, 0) < 0)
			continue;
		f->exists = true;
		f->dev = st.st_dev;
		f->ino = st.st_ino;
		d->by_inode[d->by_inode_count++] = f;
	}
	if (d->by_inode_count > 0)
		qsort(
		    d->by_inode, d->by_inode_count, sizeof(struct conf_dir_file *), compare_inodes);
	return 0;
}

int
conf_dir_read(const char *path, const struct conf_file *pending, unsigned pending_count,
    const struct conf_file *overlay, unsigned overlay_count, const struct conf_pos *at,
    struct conf_errors *errors, struct conf_dir *ret)
{
	struct listing l = {0};
	DIR *dir = path != NULL ? opendir(path) : NULL;
	int failed = path != NULL && dir == NULL && errno != ENOENT ? -errno : 0, rc = 0;

	if (dir != NULL)
		failed = add_listing(&l, dir);
	if (failed == -ENOMEM)
		rc = failed;
	else if (failed < 0) {
		conf_errors_add(errors, at, "can't read %s: %s", path, strerror(-failed));
		rc = -EINVAL;
	}
	if (rc == 0)
		rc = add_files(&l, pending, pending_count);
	if (rc == 0)
		rc = add_files(&l, overlay, overlay_count);
	if (rc == 0)
		rc = sort_files(l.list, l.count);
	if (rc == 0)
		merge(&l);
	struct conf_dir d = {.list = l.list, .count = l.count};
	if (rc == 0)
		rc = look(&d, dir != NULL ? dirfd(dir) : -1);
	if (rc == 0 && path != NULL && (d.path = strdup(path)) == NULL)
		rc = -ENOMEM;
	if (dir != NULL)
		closedir(dir);
	if (rc < 0)
		conf_dir_fini(&d);
	else
		*ret = d;
	return rc;
}

void
conf_dir_fini(struct conf_dir *d)
{
	for (unsigned i = 0; i < d->count; i++)
		free(d->list[i].name);
	free(d->list);
	free(d->by_inode);
	free(d->path);
	*d = (struct conf_dir){0};
}
