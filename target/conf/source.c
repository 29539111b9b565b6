/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources: reading files, and refusing bytes that no configuration has. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
conf_wipe(char *s)
{
	if (s == NULL)
		return;
	explicit_bzero(s, strlen(s));
	free(s);
}

void
conf_source_drop_text(struct conf_source *s)
{
	if (s->text != NULL)
		explicit_bzero(s->text, s->text_len);
	free(s->text);
	s->text = NULL;
	s->text_len = 0;
}

char *
conf_path_from(const char *from, const char *path)
{
	const char *slash = strrchr(from, '/');
	char *ret;

	if (path[0] == '/' || slash == NULL)
		return strdup(path);
	if (asprintf(&ret, "%.*s%s", (int)(slash + 1 - from), from, path) < 0)
		return NULL;
	return ret;
}

int
conf_source_add(
    struct conf_tree *t, const char *path, const char *text, size_t len, struct conf_source **ret)
{
	struct conf_source *s = calloc(1, sizeof *s);
	struct conf_source **list = t->sources;
	unsigned count = t->source_count;

	if ((count & (count - 1)) == 0) /* room grows at powers of two */
		list =
		    reallocarray(list, count == 0 ? 1 : count * 2u, sizeof(struct conf_source *));
	if (list != NULL)
		t->sources = list;
	if (s == NULL || list == NULL)
		goto err_free;
	s->path = strdup(path);
	s->text = malloc(len + 1);
	if (s->path == NULL || s->text == NULL)
		goto err_free;
	if (len > 0)
		memcpy(s->text, text, len);
	s->text[len] = '\0';
	s->text_len = len;
	s->owner = CONF_OWNER_ADMIN;
	s->idx = t->source_count;
	list[t->source_count++] = s;
	*ret = s;
	return 0;
err_free:
	if (s != NULL) {
		free(s->path);
		free(s->text);
	}
	free(s);
	return -ENOMEM;
}

/* ---- files ----------------------------------------------------------------------------------- */

int
conf_read_all(int fd, size_t expected, size_t max, char **ret, size_t *ret_len)
{
	size_t cap = (expected < max ? expected : max) + 1, len = 0;
	char *buf = malloc(cap);
	int rc = buf == NULL ? -ENOMEM : 0;

	if (rc < 0)
		return rc;
	for (;;) {
		if (len == cap && len <= max) { /* it has grown since it was looked at */
			cap = max + 1;
			char *grown = malloc(cap);
			if (grown != NULL)
				memcpy(grown, buf, len);
			explicit_bzero(buf, len);
			free(buf);
			if (grown == NULL)
				return -ENOMEM;
			buf = grown;
		}
		ssize_t n = len < cap ? read(fd, buf + len, cap - len) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = -errno;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (rc == 0 && len > max)
		rc = -EFBIG;
	if (rc < 0) {
		explicit_bzero(buf, len);
		free(buf);
		return rc;
	}
	*ret = buf;
	*ret_len = len;
	return 0;
}

static int
check_type(const struct stat *st)
{
	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	return S_ISREG(st->st_mode) ? 0 : -ENOTSUP;
}

/* Opens and reads a regular file, never a FIFO or a device. 0, -ENOTSUP, as conf_read_all(). */
static int
load(const char *path, struct stat *st, char **ret, size_t *ret_len)
{
	/* Looked at before as well: to open some devices is to do something. */
	int rc = stat(path, st) < 0 ? -errno : check_type(st);
	if (rc < 0)
		return rc;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	rc = fstat(fd, st) < 0 ? -errno : check_type(st);
	if (rc == 0)
		rc = conf_read_all(fd, st->st_size > 0 ? (size_t)st->st_size : 0,
		    CONF_FILE_MAX_BYTES, ret, ret_len);
	close(fd);
	return rc;
}

static void
report(struct conf_errors *errors, const struct conf_pos *at, const char *path, int rc)
{
	switch (rc) {
	case -EISDIR:
		conf_errors_add(
		    errors, at, "%s is a folder: name its files, as in %s/*.conf", path, path);
		break;
	case -ENOTSUP:
		conf_errors_add(
		    errors, at, "%s is no regular file: a configuration is read from files", path);
		break;
	case -EFBIG:
		conf_errors_add(errors, at, "%s is over %u KiB: divide it with include", path,
		    CONF_FILE_MAX_BYTES / 1024);
		break;
	default:
		conf_errors_add(errors, at, "can't read %s: %s", path, strerror(-rc));
		break;
	}
}

int
conf_source_read(struct conf_tree *t, const char *path, const struct conf_pos *at,
    struct conf_errors *errors, struct conf_source **ret)
{
	struct stat st;
	char *text = NULL;
	size_t len = 0;
	int rc = load(path, &st, &text, &len);

	if (rc == -ENOMEM)
		return rc;
	struct conf_dir_file *f =
	    rc == 0 && t->dir != NULL ? conf_dir_find(t->dir, st.st_dev, st.st_ino) : NULL;
	if (f != NULL && f->instead != NULL) {
		explicit_bzero(text, len);
		free(text);
		return conf_source_instead(t, path, f, ret);
	}
	if (rc < 0 && at != NULL) {
		report(errors, at, path, rc);
		return -EINVAL;
	}
	int added = conf_source_add(t, path, text, len, ret);
	if (text != NULL)
		explicit_bzero(text, len);
	free(text);
	if (added < 0)
		return added;
	if (rc < 0) {
		struct conf_pos top = {.file = (*ret)->path, .line = 1, .column = 1};
		report(errors, &top, path, rc);
		return -EINVAL;
	}
	(*ret)->is_file = true;
	(*ret)->dev = st.st_dev;
	(*ret)->ino = st.st_ino;
	(*ret)->mode = st.st_mode;
	if (f != NULL && f->source == NULL)
		f->source = *ret;
	return 0;
}

int
conf_source_instead(
    struct conf_tree *t, const char *path, struct conf_dir_file *f, struct conf_source **ret)
{
	const char *text = f->instead->text != NULL ? f->instead->text : "";
	int rc = conf_source_add(t, path, text, strlen(text), ret);

	if (rc == 0 && f->source == NULL)
		f->source = *ret;
	return rc;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at s (RFC 3629 §4), 0 when it is none. */
static size_t
utf8_length(const unsigned char *s, size_t left)
{
	size_t len = s[0] < 0x80                   ? 1
	             : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
	             : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
	             : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
	                                           : 0;

	if (len == 0 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	           (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
	return bad ? 0 : len;
}

/* C0 but for tab and line ends, DEL, C1 (U+0080 to U+009F). */
static bool
is_control(const unsigned char *s, size_t left)
{
	if (s[0] == '\r')
		return left < 2 || s[1] != '\n';
	if (s[0] < 0x20)
		return s[0] != '\t' && s[0] != '\n';
	return s[0] == 0x7f || (s[0] == 0xc2 && left > 1 && s[1] >= 0x80 && s[1] < 0xa0);
}

bool
conf_bytes_ok(const char *s, size_t len)
{
	const unsigned char *text = (const unsigned char *)s;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_length(text + i, len - i);
		if (n == 0 || is_control(text + i, len - i))
			return false;
	}
	return true;
}

/* A binary file given by mistake shall not fill the list. */
#define BAD_BYTES_MAX 8u

void
conf_source_check_bytes(struct conf_source *s, struct conf_errors *errors)
{
	unsigned char *text = (unsigned char *)s->text;
	struct conf_pos pos = {.file = s->path, .line = 1, .column = 1};
	unsigned bad = 0;

	for (size_t i = 0, len; i < s->text_len; i += len) {
		size_t left = s->text_len - i, sequence = utf8_length(text + i, left);
		bool broken = sequence == 0, control = is_control(text + i, left);

		len = broken ? 1 : sequence;
		if (bad < BAD_BYTES_MAX && broken)
			conf_errors_add(errors, &pos,
			    "byte 0x%02x is no UTF-8: save the file as UTF-8", text[i]);
		else if (bad < BAD_BYTES_MAX && control)
			conf_errors_add(errors, &pos,
			    "control character 0x%02x: a configuration is text, remove it",
			    text[i + len - 1]);
		bad += broken || control;
		pos.column += (unsigned)len;
		if (text[i] == '\n') {
			pos.line++;
			pos.column = 1;
		}
		/* A line end's carriage return is blanked as well: nobody later needs to know. */
		if (broken || control || text[i] == '\r')
			memset(text + i, ' ', len);
	}
}
