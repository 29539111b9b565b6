/* SPDX-License-Identifier: BSD-2-Clause */
/* What /proc tells of other processes. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <sys/types.h>

/*
 * The letter of proc(5), /proc/PID/stat, below `root` ("": the machine's own). 'Z' and 'X': it has ended,
 * and is only not waited for; the kernel may still keep what it had open. '?' where it isn't told; 0 where
 * there is no such process, or it isn't ours to see.
 */
char process_state(const char *root, pid_t pid);

#endif
