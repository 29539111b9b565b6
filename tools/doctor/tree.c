/* SPDX-License-Identifier: BSD-2-Clause */
/* Files below the root, with bounds: whatever they hold, a check gets a line, a number, or nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/doctor/doctor_priv.h"

static bool __attribute__((format(printf, 4, 0)))
build(const struct doctor *d, char *buf, size_t cap, const char *fmt, va_list ap)
{
	int n = snprintf(buf, cap, "%s", d->facts->root);
	if (n < 0 || (size_t)n >= cap)
		return false;
	int m = vsnprintf(buf + n, cap - (size_t)n, fmt, ap);
	return m >= 0 && (size_t)m < cap - (size_t)n;
}

/* The path that a format and what follows it make, into `path`; false: it is too long. */
#define BUILD(path)                                                                                \
	({                                                                                         \
		va_list ap;                                                                        \
		va_start(ap, fmt);                                                                 \
		bool ok = build(d, path, sizeof path, fmt, ap);                                    \
		va_end(ap);                                                                        \
		ok;                                                                                \
	})

bool
tree_path(const struct doctor *d, char *buf, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	bool ok = build(d, buf, cap, fmt, ap);
	va_end(ap);
	return ok;
}

/* Bytes read, or -1: what isn't a file, or can't be read. A FIFO doesn't hold us up. */
static ssize_t
read_some(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	size_t at = 0;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -1;
	}
	while (at < len) {
		ssize_t n = read(fd, buf + at, len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	close(fd);
	return (ssize_t)at;
}

static bool
line_of(const char *path, char *buf, size_t cap)
{
	ssize_t n = read_some(path, buf, cap - 1);
	size_t len = 0;

	if (n <= 0)
		return false;
	while (len < (size_t)n && buf[len] != '\n' && buf[len] != '\0') {
		if ((unsigned char)buf[len] < 0x20 || buf[len] == 0x7f)
			buf[len] = '?';
		len++;
	}
	while (len > 0 && buf[len - 1] == ' ')
		len--;
	buf[len] = '\0';
	return len > 0;
}

bool
tree_line(const struct doctor *d, char *buf, size_t cap, const char *fmt, ...)
{
	char path[PATH_MAX];
	return BUILD(path) && line_of(path, buf, cap);
}

bool
tree_number(const struct doctor *d, double *ret, const char *fmt, ...)
{
	char path[PATH_MAX], line[128], *end;

	if (!BUILD(path) || !line_of(path, line, sizeof line))
		return false;
	double x = strtod(line, &end);
	if (end == line || !isfinite(x))
		return false;
	*ret = x;
	return true;
}

bool
tree_says(const struct doctor *d, const char *word, const char *fmt, ...)
{
	char path[PATH_MAX], line[256];
	return BUILD(path) && line_of(path, line, sizeof line) && strcmp(line, word) == 0;
}

bool
tree_exists(const struct doctor *d, const char *fmt, ...)
{
	char path[PATH_MAX];
	struct stat st;
	return BUILD(path) && lstat(path, &st) == 0;
}

char *
tree_text(const struct doctor *d, const char *fmt, ...)
{
	char path[PATH_MAX];

	if (!BUILD(path))
		return NULL;
	char *text = malloc(TREE_TEXT_BYTES + 1u);
	ssize_t n = text != NULL ? read_some(path, text, TREE_TEXT_BYTES) : -1;
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	for (char *p; (p = memchr(text, '\0', (size_t)n)) != NULL;)
		*p = ' ';
	return text;
}

bool
tree_real(const struct doctor *d, char *buf, size_t cap, const char *fmt, ...)
{
	char path[PATH_MAX], real[PATH_MAX], root[PATH_MAX] = "";

	if (!BUILD(path) || realpath(path, real) == NULL)
		return false;
	if (d->facts->root[0] != '\0' && realpath(d->facts->root, root) == NULL)
		return false;
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(real, root, n) != 0 || real[n] != '/')
		return false;
	return snprintf(buf, cap, "%s", real + n) < (int)cap;
}

/* ---- folders ---------------------------------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void
tree_list(const struct doctor *d, struct tree_names *ret, const char *fmt, ...)
{
	char path[PATH_MAX];
	unsigned cap = 0;

	*ret = (struct tree_names){.list = NULL};
	DIR *dir = BUILD(path) ? opendir(path) : NULL;
	for (const struct dirent *e;
	     dir != NULL && ret->count < TREE_NAMES_MAX && (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		if (ret->count == cap) {
			char **list =
			    realloc(ret->list, (cap = cap == 0 ? 32 : 2 * cap) * sizeof *list);
			if (list == NULL)
				break;
			ret->list = list;
		}
		if ((ret->list[ret->count] = strdup(e->d_name)) == NULL)
			break;
		ret->count++;
	}
	if (dir != NULL)
		closedir(dir);
	if (ret->count > 1)
		qsort(ret->list, ret->count, sizeof *ret->list, by_name);
}

void
tree_names_fini(struct tree_names *n)
{
	for (unsigned i = 0; i < n->count; i++)
		free(n->list[i]);
	free(n->list);
	*n = (struct tree_names){.list = NULL};
}

bool
tree_word(const char *line, unsigned n, char *buf, size_t cap)
{
	for (;; n--) {
		line += strspn(line, " \t");
		size_t len = strcspn(line, " \t\n");
		if (len == 0)
			return false;
		if (n == 0) {
			if (len >= cap)
				return false;
			memcpy(buf, line, len);
			buf[len] = '\0';
			return true;
		}
		line += len;
	}
}
