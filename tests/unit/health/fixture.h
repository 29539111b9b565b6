/* SPDX-License-Identifier: BSD-2-Clause */
/* A health on a simulated loop, with a state directory of its own. */
#ifndef TESTS_HEALTH_FIXTURE_H
#define TESTS_HEALTH_FIXTURE_H

#include "health/health.h"
#include "tests/cmocka_all.h"

struct fixture {
	struct loop_sim *world;
	struct loop *loop;
	struct health *health;
	char dir[64];
};

/* For cmocka: *state is a struct fixture with a health of `events_max` 100. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Runs `fn` on the loop and then everything that follows, for `seconds` of its time. */
void fixture_call(struct fixture *f, void (*fn)(struct fixture *f), unsigned seconds);
/* Ends the health in order; the next open reads what it left. */
void fixture_close(struct fixture *f);
void fixture_open(struct fixture *f);
/* As after kill -9: the health is gone without a word; the files are as they are. */
void fixture_kill(struct fixture *f);

const char *fixture_path(const struct fixture *f, const char *name);
/* A whole file, to be freed; NULL: there is none. */
char *fixture_read(const struct fixture *f, const char *name, size_t *ret_len);
void fixture_write(const struct fixture *f, const char *name, const void *data, size_t len);

#endif
