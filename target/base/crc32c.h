/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC32C (Castagnoli, RFC 7143 §13.1 and RFC 3385), by isa-l at memory speed. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define CRC32C_INIT 0xffffffffu

/*
 * Running form: start with CRC32C_INIT, feed any number of pieces, finish with crc32c_final().
 * crc32c("123456789") is 0xe3069283.
 */
uint32_t crc32c_update(uint32_t crc, const void *buf, size_t len);

static inline uint32_t
crc32c_final(uint32_t crc)
{
	return ~crc;
}

/* One shot. */
static inline uint32_t
crc32c(const void *buf, size_t len)
{
	return crc32c_final(crc32c_update(CRC32C_INIT, buf, len));
}

#endif
