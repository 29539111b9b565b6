/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/assert.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static _Atomic(void (*)(void)) assert_hook;

void
assert_set_hook(void (*hook)(void))
{
	atomic_store(&assert_hook, hook);
}

_Noreturn void
assert_fail(const char *cond, const char *file, int line, const char *func)
{
	fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, func, cond);
	/* Taken out before it runs: a hook that fails itself must not run again. */
	void (*hook)(void) = atomic_exchange(&assert_hook, NULL);
	if (hook)
		hook();
	abort();
}
