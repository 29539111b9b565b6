/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Assertions for our own bugs, on in every build. Bytes from outside (network, disk, configuration,
 * sockets) are never asserted: they are parsed.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

/* Prints the failed condition to stderr, runs the hook, aborts. Never returns. */
_Noreturn void assert_fail(const char *cond, const char *file, int line, const char *func);

/* `hook` is run once, before abort(), by whichever thread fails first. */
void assert_set_hook(void (*hook)(void));

#define ASSERT(cond)                                                                               \
	(__builtin_expect(!!(cond), 1) ? (void)0 : assert_fail(#cond, __FILE__, __LINE__, __func__))

/* For checks that cost more than O(1); compiled out of release builds. */
#ifdef NDEBUG
#define DEBUG_ASSERT(cond) ((void)sizeof(!!(cond)))
#else
#define DEBUG_ASSERT(cond) ASSERT(cond)
#endif

#endif
