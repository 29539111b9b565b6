/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	*state = f;
	return f == NULL;
}

static void
forget(struct fixture *f)
{
	conf_destroy(f->conf);
	conf_tree_destroy(f->tree);
	conf_errors_fini(&f->errors);
	free(f->messages);
	f->conf = NULL;
	f->tree = NULL;
	f->messages = NULL;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int
fixture_teardown(void **state)
{
	struct fixture *f = *state;
	forget(f);
	if (f->dir[0] != '\0')
		nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* Messages name the folder nowhere but in front: cut there, so that texts can be compared. */
static void
collect(struct fixture *f)
{
	size_t size;
	FILE *out = open_memstream(&f->messages, &size);
	assert_non_null(out);
	for (unsigned i = 0; i < f->errors.count; i++) {
		const struct conf_error *e = &f->errors.list[i];
		const char *file = e->pos.file;
		size_t dir_len = strlen(f->dir);
		if (dir_len > 0 && strncmp(file, f->dir, dir_len) == 0)
			file += dir_len + 1;
		if (strcmp(file, "t") != 0)
			fprintf(out, "%s:", file);
		fprintf(out, "%u:%u: %s\n", e->pos.line, e->pos.column, e->text);
	}
	fclose(out);
}

static void
build(struct fixture *f)
{
	assert_non_null(f->tree);
	f->built = conf_build(f->tree, &f->errors, &f->conf);
	collect(f);
	/* A result and no error, or errors and no result. */
	assert_true((f->built == 0) == (f->conf != NULL));
	assert_true((f->parsed < 0 || f->built < 0) == (f->errors.wrong > 0));
}

void
fixture_bytes(struct fixture *f, const char *text, size_t len)
{
	forget(f);
	f->parsed = conf_parse_text("t", text, len, &f->errors, &f->tree);
	build(f);
}

void
fixture_text(struct fixture *f, const char *text)
{
	fixture_bytes(f, text, strlen(text));
}

const char *
fixture_file_path(struct fixture *f, const char *name)
{
	static char path[256];
	if (f->dir[0] == '\0') {
		strcpy(f->dir, "/tmp/conf-test-XXXXXX");
		assert_non_null(mkdtemp(f->dir));
	}
	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	return path;
}

void
fixture_path(struct fixture *f, const char *name)
{
	forget(f);
	f->parsed = conf_parse_file(fixture_file_path(f, name), &f->errors, &f->tree);
	build(f);
}

void
fixture_load_args(struct fixture *f, const struct conf_load_args *args)
{
	forget(f);
	f->parsed = 0;
	f->built = conf_load(args, &f->errors, &f->tree, &f->conf);
	assert_non_null(f->tree);
	collect(f);
	assert_true((f->built == 0) == (f->conf != NULL));
	assert_true((f->built < 0) == (f->errors.wrong > 0));
}

void
fixture_load(struct fixture *f, const char *name, const struct conf_file *overlay, unsigned count)
{
	const struct conf_load_args args = {
	    .path = fixture_file_path(f, name), .overlay = overlay, .overlay_count = count};
	fixture_load_args(f, &args);
}

const char *
fixture_dir_file(struct fixture *f, const char *name, const char *text, unsigned mode)
{
	assert_true(mkdir(fixture_file_path(f, "conf.d"), 0755) == 0 || errno == EEXIST);
	return fixture_file(f, name, text, mode);
}

const char *
fixture_file(struct fixture *f, const char *name, const char *text, unsigned mode)
{
	const char *path = fixture_file_path(f, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

void
expect_messages(struct fixture *f, const char *text, const char *messages)
{
	fixture_text(f, text);
	assert_string_equal(f->messages, messages);
}

void
expect_only(struct fixture *f, const char *text, const char *begin)
{
	fixture_text(f, text);
	if (strncmp(f->messages, begin, strlen(begin)) != 0)
		fail_msg("'%s' said '%s', not '%s'", text, f->messages, begin);
	assert_int_equal(f->errors.count, 1);
}
