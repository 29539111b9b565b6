/* SPDX-License-Identifier: BSD-2-Clause */
/* A directory of one's own under /tmp, and files in it. */
#ifndef TESTS_DAEMON_TMPDIR_H
#define TESTS_DAEMON_TMPDIR_H

#include <limits.h>
#include <stddef.h>

struct tmpdir {
	char path[64];
};
void tmpdir_make(struct tmpdir *d);
/* With everything in it. */
void tmpdir_remove(struct tmpdir *d);
/* "DIR/name" in a static buffer (two of them in turn). */
const char *tmpdir_file(const struct tmpdir *d, const char *name);
void tmpdir_write(const struct tmpdir *d, const char *name, const void *data, size_t len);
size_t tmpdir_read(const struct tmpdir *d, const char *name, void *buf, size_t cap);

#endif
