/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Integers of a given byte order as structs of bytes: alignment 1, so that wire and disk structs
 * need no `packed`, and arithmetic on them does not compile. get/put become one load and bswap.
 */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} be16;
typedef struct {
	uint8_t b[3];
} be24;
typedef struct {
	uint8_t b[4];
} be32;
typedef struct {
	uint8_t b[6];
} be48;
typedef struct {
	uint8_t b[8];
} be64;
typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

_Static_assert(sizeof(be24) == 3 && _Alignof(be64) == 1, "endian types have no padding");

/* Raw loads and stores at any alignment. */
static inline uint16_t
load_be16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap16(v);
}

static inline uint32_t
load_be24(const void *p)
{
	const uint8_t *b = p;
	return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
}

static inline uint32_t
load_be32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap32(v);
}

static inline uint64_t
load_be48(const void *p)
{
	return (uint64_t)load_be16(p) << 32 | load_be32((const uint8_t *)p + 2);
}

static inline uint64_t
load_be64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return __builtin_bswap64(v);
}

static inline void
store_be16(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof v);
}

static inline void
store_be24(void *p, uint32_t v)
{
	uint8_t *b = p;
	b[0] = (uint8_t)(v >> 16);
	b[1] = (uint8_t)(v >> 8);
	b[2] = (uint8_t)v;
}

static inline void
store_be32(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof v);
}

static inline void
store_be48(void *p, uint64_t v)
{
	store_be16(p, (uint16_t)(v >> 32));
	store_be32((uint8_t *)p + 2, (uint32_t)v);
}

static inline void
store_be64(void *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof v);
}

/* Typed access: be32_get(pdu->field), be32_put(&pdu->field, value). */
#define BASE_ENDIAN_BE(bits, native)                                                               \
	static inline native be##bits##_get(be##bits v)                                            \
	{                                                                                          \
		return load_be##bits(v.b);                                                         \
	}                                                                                          \
	static inline void be##bits##_put(be##bits *p, native v)                                   \
	{                                                                                          \
		store_be##bits(p->b, v);                                                           \
	}
BASE_ENDIAN_BE(16, uint16_t)
BASE_ENDIAN_BE(24, uint32_t)
BASE_ENDIAN_BE(32, uint32_t)
BASE_ENDIAN_BE(48, uint64_t)
BASE_ENDIAN_BE(64, uint64_t)
#undef BASE_ENDIAN_BE

/* Little-endian: the supported machines are little-endian. */
#define BASE_ENDIAN_LE(bits, native)                                                               \
	static inline native le##bits##_get(le##bits v)                                            \
	{                                                                                          \
		native n;                                                                          \
		memcpy(&n, v.b, sizeof n);                                                         \
		return n;                                                                          \
	}                                                                                          \
	static inline void le##bits##_put(le##bits *p, native v)                                   \
	{                                                                                          \
		memcpy(p->b, &v, sizeof v);                                                        \
	}
BASE_ENDIAN_LE(16, uint16_t)
BASE_ENDIAN_LE(32, uint32_t)
BASE_ENDIAN_LE(64, uint64_t)
#undef BASE_ENDIAN_LE

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts are not supported");

#endif
