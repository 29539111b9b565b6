#include "base/crc32c.h"

#include <isa-l/crc.h>

#define CHUNK_MAX (1u << 30) /* isa-l takes the length as an int */

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
	return crc;
}
