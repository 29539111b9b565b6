/* SPDX-License-Identifier: BSD-2-Clause */
/* The function that libFuzzer and replay_main.c call. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
