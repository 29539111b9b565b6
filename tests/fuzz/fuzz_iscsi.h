/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration and an environment for the fuzzers of the iSCSI login half. */
#ifndef TESTS_FUZZ_ISCSI_H
#define TESTS_FUZZ_ISCSI_H

#include "iscsi/login.h"

#define FUZZ_SECRET "a secret of alice"

/* Built at the first call, never freed. */
const struct iscsi_login_env *fuzz_env(void);
/* Bytes from env->random start again from here. */
void fuzz_random_reset(void);
/* Fails loudly: what we say must be what an initiator can parse. */
void fuzz_check_text(const char *text, size_t len);

#endif
