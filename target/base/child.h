/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A helper program of ours as a child process: it has one end of a socket, we have the other one and a
 * pidfd that tells its end. It inherits no other descriptor, no signal is blocked in it, SIGPIPE and
 * SIGXFSZ end it as they end any program, and it is in a process group of its own, so that what is typed
 * at our terminal isn't meant for it. Of what the helper does and says this module knows nothing.
 *
 * Thread rule: any thread. Starting blocks (a helper thread); the rest doesn't.
 */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHILD_FD 3 /* the child's end of the socket, beside 0, 1, 2 */

struct child {
	pid_t pid; /* to be waited for by whoever has it */
	int pidfd; /* readable when it has ended; close-on-exec */
	int fd;    /* our end: a stream, not blocking, close-on-exec */
};

struct child_args {
	const char *program; /* a path, or a name that is looked for in $PATH */
	char *const *argv;   /* ends with NULL, as all of these borrowed during the call */
	char *const *env;    /* NULL: ours */
	bool mute; /* what it writes to standard error is lost; else it is where ours is */
};

/*
 * Standard input and output of the child are /dev/null. 0, or -errno of what failed (-ENOENT: there is
 * no such program): then there is no child, and *ret is untouched.
 */
int child_start(const struct child_args *args, struct child *ret);

/* Ends a child that has just begun, waits for it and closes both descriptors. */
void child_abandon(const struct child *c);

/* Path of `name` in the folder of our own program, if something that can be run is there. */
bool child_find_beside(const char *name, char *buf, size_t cap);

#endif
