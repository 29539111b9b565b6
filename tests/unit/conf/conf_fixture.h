/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of conf/ share: messages as one text, files in a temporary folder. */
#ifndef TESTS_CONF_FIXTURE_H
#define TESTS_CONF_FIXTURE_H

#include "tests/cmocka_all.h"

#include "conf/conf.h"

struct fixture {
	struct conf_errors errors;
	struct conf_tree *tree;
	struct conf *conf;
	int parsed, built;
	char
	    *messages; /* "3:9: text\n" of file "t", else "FILE:3:9: text\n" (the folder cut off) */
	char dir[64];  /* made by fixture_file() */
};

/* Parses and builds; frees what an earlier call made. */
void fixture_text(struct fixture *f, const char *text);
void fixture_bytes(struct fixture *f, const char *text, size_t len);
void fixture_path(struct fixture *f, const char *name);
/* The same with conf.d, and what is to be there instead. */
void fixture_load(
    struct fixture *f, const char *name, const struct conf_file *overlay, unsigned count);
void fixture_load_args(struct fixture *f, const struct conf_load_args *args);
/* Writes a file into the folder, or into conf.d of it (made when needed): "conf.d/x.conf". Else as
 * below. */
const char *fixture_dir_file(struct fixture *f, const char *name, const char *text, unsigned mode);
/* Writes a file into the folder; its path is valid until the next call. */
const char *fixture_file(struct fixture *f, const char *name, const char *text, unsigned mode);

const char *fixture_file_path(struct fixture *f, const char *name);

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The whole of the messages, in order. */
void expect_messages(struct fixture *f, const char *text, const char *messages);
/* One message that begins with this, and no other. */
void expect_only(struct fixture *f, const char *text, const char *begin);

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
