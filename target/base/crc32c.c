/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/crc32c.h"

#include <isa-l/crc.h>

#define CHUNK_MAX (1u << 30) /* isa-l takes the length as an int */

/*
 * isa-l's code for wide registers returns with their upper halves in use. Until they are cleared every
 * SSE instruction, and the compiler makes no others for x86-64, also waits for what is there.
 */
static inline void
clear_upper_halves(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroupper" ::
		                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
		                 "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
		                 "xmm14", "xmm15");
#endif
}

uint32_t
crc32c_update(uint32_t crc, const void *buf, size_t len)
{
	/* isa-l neither inverts the initial value nor the result, and doesn't write to the buffer
	 * though its prototype has no const. */
	unsigned char *p = (unsigned char *)(uintptr_t)buf;
	while (len > 0) {
		size_t n = len < CHUNK_MAX ? len : CHUNK_MAX;
		crc = crc32_iscsi(p, (int)n, crc);
		p += n;
		len -= n;
	}
	clear_upper_halves();
	return crc;
}
