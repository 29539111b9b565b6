/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/daemon/tmpdir.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cmocka_all.h"

void
tmpdir_make(struct tmpdir *d)
{
	snprintf(d->path, sizeof(d->path), "/tmp/terrace-daemon-test-XXXXXX");
	assert_non_null(mkdtemp(d->path));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
tmpdir_remove(struct tmpdir *d)
{
	assert_int_equal(nftw(d->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *
tmpdir_file(const struct tmpdir *d, const char *name)
{
	static char buf[2][PATH_MAX];
	static unsigned turn;

	char *p = buf[turn++ % 2];
	snprintf(p, PATH_MAX, "%s/%s", d->path, name);
	return p;
}

void
tmpdir_write(const struct tmpdir *d, const char *name, const void *data, size_t len)
{
	int fd = open(tmpdir_file(d, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

size_t
tmpdir_read(const struct tmpdir *d, const char *name, void *buf, size_t cap)
{
	int fd = open(tmpdir_file(d, name), O_RDONLY);
	assert_true(fd >= 0);
	ssize_t n = read(fd, buf, cap);
	assert_true(n >= 0);
	close(fd);
	return (size_t)n;
}
