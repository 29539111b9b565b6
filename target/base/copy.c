/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/copy.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define STREAM_MIN_BYTES 2048u
#define LINE_BYTES 64u

static void
copy_line(char *dst, const char *src)
{
	__m128i a = _mm_loadu_si128((const __m128i *)(const void *)src);
	__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(src + 16));
	__m128i c = _mm_loadu_si128((const __m128i *)(const void *)(src + 32));
	__m128i d = _mm_loadu_si128((const __m128i *)(const void *)(src + 48));
	_mm_stream_si128((__m128i *)(void *)dst, a);
	_mm_stream_si128((__m128i *)(void *)(dst + 16), b);
	_mm_stream_si128((__m128i *)(void *)(dst + 32), c);
	_mm_stream_si128((__m128i *)(void *)(dst + 48), d);
}

void
copy_streaming(void *dst, const void *src, size_t len)
{
	char *to = dst;
	const char *from = src;

	if (len >= STREAM_MIN_BYTES) {
		size_t head = (LINE_BYTES - ((uintptr_t)to & (LINE_BYTES - 1))) & (LINE_BYTES - 1);
		memcpy(to, from, head);
		to += head;
		from += head;
		len -= head;
		for (; len >= LINE_BYTES; len -= LINE_BYTES) {
			copy_line(to, from);
			to += LINE_BYTES;
			from += LINE_BYTES;
		}
		_mm_sfence(); /* streaming stores are weakly ordered */
	}
	memcpy(to, from, len);
}

#else

void
copy_streaming(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

#endif
