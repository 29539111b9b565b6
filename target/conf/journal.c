/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The journal of a change of several files:
 *
 *   terrace-pending 1 COUNT
 *   write MODE LENGTH NAME      LENGTH bytes and a line end follow
 *   remove NAME
 *   end CRC32C                  of everything before this line
 *
 * It appears whole, by rename(); what isn't whole was damaged, or is somebody else's.
 */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/text.h"

#define MAGIC "terrace-pending 1 "
#define FILES_MAX CONF_SOURCES_MAX
#define LINE_MAX_BYTES 320u /* the longest: a name of 255 bytes, a mode and a length */

void
conf_files_destroy(struct conf_file *files, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(files[i].name);
		conf_wipe(files[i].text);
	}
	free(files);
}

void
conf_journal_fini(struct conf_journal *j)
{
	conf_files_destroy(j->files, j->count);
	free(j->modes);
	*j = (struct conf_journal){0};
}

/* ---- printing -------------------------------------------------------------------------------- */

int
conf_journal_print(
    const struct conf_file *files, const mode_t *modes, unsigned count, char **ret, size_t *ret_len)
{
	struct conf_out o = {0};
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof line, MAGIC "%u\n", count);
	conf_out(&o, line);
	for (unsigned i = 0; i < count; i++) {
		const struct conf_file *f = &files[i];
		if (f->text == NULL) {
			snprintf(line, sizeof line, "remove %s\n", f->name);
			conf_out(&o, line);
			continue;
		}
		snprintf(line, sizeof line, "write %04o %zu %s\n", (unsigned)modes[i],
		    strlen(f->text), f->name);
		conf_out(&o, line);
		conf_out(&o, f->text);
		conf_out(&o, "\n");
	}
	if (!o.failed) {
		snprintf(line, sizeof line, "end %08x\n", crc32c(o.text, o.len));
		conf_out(&o, line);
	}
	*ret_len = o.len;
	char *text = conf_out_take(&o);
	if (text == NULL)
		return -ENOMEM;
	*ret = text;
	return 0;
}

/* ---- parsing --------------------------------------------------------------------------------- */

struct reader {
	const char *at, *end;
	struct conf_why *why;
};

__attribute__((format(printf, 2, 3))) static int
refuse(struct conf_why *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The next line without its end. -EINVAL: none, or too long. */
static int
next_line(struct reader *r, char line[LINE_MAX_BYTES])
{
	size_t left = (size_t)(r->end - r->at);
	const char *end = memchr(r->at, '\n', left < LINE_MAX_BYTES ? left : LINE_MAX_BYTES);

	if (end == NULL || memchr(r->at, '\0', (size_t)(end - r->at)) != NULL)
		return refuse(r->why, "it is cut off or damaged");
	memcpy(line, r->at, (size_t)(end - r->at));
	line[end - r->at] = '\0';
	r->at = end + 1;
	return 0;
}

/* "0640": what conf_commit() gives, and nothing wider. */
static bool
parse_mode(const char *word, mode_t *ret)
{
	if (strlen(word) != 4 || strspn(word, "01234567") != 4)
		return false;
	*ret = (mode_t)strtoul(word, NULL, 8);
	return (*ret & 0600u) == 0600u && (*ret & ~0644u) == 0;
}

static char *
cut_word(char **line)
{
	return strsep(line, " ");
}

static int
parse_write(struct reader *r, char *line, struct conf_file *f, mode_t *mode)
{
	char *mode_word = cut_word(&line), *length = cut_word(&line), *name = line;
	uint64_t len;

	if (length == NULL || name == NULL || !parse_mode(mode_word, mode) ||
	    text_parse_u64(length, CONF_FILE_MAX_BYTES, &len) < 0 || !conf_file_name_ok(name))
		return refuse(r->why, "a file in it has no name, mode or length that we give");
	if ((uint64_t)(r->end - r->at) < len + 1 || r->at[len] != '\n' ||
	    memchr(r->at, '\0', len) != NULL)
		return refuse(r->why, "it is cut off or damaged");
	f->name = strdup(name);
	f->text = malloc(len + 1);
	if (f->name == NULL || f->text == NULL)
		return -ENOMEM;
	memcpy(f->text, r->at, len);
	f->text[len] = '\0';
	r->at += len + 1;
	return 0;
}

static int
parse_file(struct reader *r, struct conf_file *f, mode_t *mode)
{
	char line[LINE_MAX_BYTES];
	int rc = next_line(r, line);

	if (rc < 0)
		return rc;
	if (strncmp(line, "write ", 6) == 0)
		return parse_write(r, line + 6, f, mode);
	if (strncmp(line, "remove ", 7) != 0 || !conf_file_name_ok(line + 7))
		return refuse(r->why, "a line in it is none of ours");
	f->name = strdup(line + 7);
	return f->name != NULL ? 0 : -ENOMEM;
}

static int
parse_end(struct reader *r, const char *data)
{
	char line[LINE_MAX_BYTES], expected[LINE_MAX_BYTES];

	snprintf(expected, sizeof expected, "end %08x", crc32c(data, (size_t)(r->at - data)));
	int rc = next_line(r, line);
	if (rc < 0)
		return rc;
	if (strcmp(line, expected) != 0 || r->at != r->end)
		return refuse(r->why, "its checksum is wrong");
	return 0;
}

int
conf_journal_parse(const char *data, size_t len, struct conf_journal *ret, struct conf_why *why)
{
	struct reader r = {.at = data, .end = data + len, .why = why};
	struct conf_journal j = {0};
	char line[LINE_MAX_BYTES];
	uint64_t count = 0;

	int rc = next_line(&r, line);
	if (rc == 0 && (strncmp(line, MAGIC, strlen(MAGIC)) != 0 ||
	                   text_parse_u64(line + strlen(MAGIC), FILES_MAX, &count) < 0))
		rc = refuse(why, "it is no journal of this version");
	/* Each file takes a line: what is promised isn't believed further than that. */
	if (rc == 0 && count > len / 8)
		rc = refuse(why, "it is cut off or damaged");
	if (rc == 0) {
		j.files = calloc(count + 1, sizeof *j.files);
		j.modes = calloc(count + 1, sizeof *j.modes);
		rc = j.files == NULL || j.modes == NULL ? -ENOMEM : 0;
	}
	while (rc == 0 && j.count < count) {
		rc = parse_file(&r, &j.files[j.count], &j.modes[j.count]);
		j.count++;
	}
	if (rc == 0)
		rc = parse_end(&r, data);
	if (rc < 0)
		conf_journal_fini(&j);
	else
		*ret = j;
	return rc;
}

int
conf_journal_read(int dir, struct conf_journal *ret, struct conf_why *why)
{
	struct stat st;
	char *data = NULL;
	size_t len = 0;
	int fd = openat(
	    dir, CONF_JOURNAL_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	int rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	if (rc < 0)
		refuse(why, "can't read it: %s", strerror(-rc));
	if (rc == 0 && !S_ISREG(st.st_mode))
		rc = refuse(why, "it is no regular file");
	if (rc == 0) {
		rc = conf_read_all(fd, st.st_size > 0 ? (size_t)st.st_size : 0,
		    CONF_JOURNAL_MAX_BYTES, &data, &len);
		if (rc < 0)
			refuse(why, "can't read it: %s", strerror(-rc));
	}
	if (rc == 0)
		rc = conf_journal_parse(data, len, ret, why);
	if (fd >= 0)
		close(fd);
	if (data != NULL)
		explicit_bzero(data, len);
	free(data);
	return rc;
}
