/* SPDX-License-Identifier: BSD-2-Clause */
/* What a sector says of itself: by which request of which volume it was written. */
#ifndef TESTS_CACHESIM_STAMP_H
#define TESTS_CACHESIM_STAMP_H

#include <stdint.h>

void stamp_fill(unsigned vol, uint64_t number, uint64_t sector, uint8_t *p);
/* The number of the request, 0 for zeros, UINT64_MAX for what nobody wrote there. */
uint64_t stamp_read(unsigned vol, uint64_t sector, const uint8_t *p);

#endif
