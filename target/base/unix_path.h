/* SPDX-License-Identifier: BSD-2-Clause */
/* The path of a socket in the file system: whether a server may have it. */
#ifndef BASE_UNIX_PATH_H
#define BASE_UNIX_PATH_H

#include <stddef.h>
#include <sys/un.h>

/* How messages name it: "control socket", and the option that chooses another path: "--control". */
struct unix_path_name {
	const char *what, *option;
};

/*
 * Frees `path` for a bind(2): a socket that nobody listens on any more is removed. Who is killed
 * may keep its socket open for a moment, until the kernel has ended its requests: it doesn't count.
 * 0 and *ret: the path is short enough and there is nothing at it. Otherwise nothing is changed and
 * `reason` holds one sentence: -EINVAL (empty, which would be an abstract socket without
 * permissions), -ENAMETOOLONG, -EEXIST (something that is no socket), -EADDRINUSE (a process
 * listens there), or what removing it said.
 */
int unix_path_take(const char *path, const struct unix_path_name *name, struct sockaddr_un *ret,
    char *reason, size_t reason_cap);

#endif
