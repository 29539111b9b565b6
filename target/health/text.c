/* SPDX-License-Identifier: BSD-2-Clause */
#include "health/health_priv.h"

#include <string.h>

/* Bytes of the character that begins at `s`, 0 if it is none (RFC 3629). */
static size_t
utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		unsigned long least;
	} kinds[] = {
	    {0x80, 0x00, 0x00}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (size_t k = 0; k < 4; k++) {
		if ((s[0] & kinds[k].mask) != kinds[k].lead)
			continue;
		unsigned long c = k == 0 ? s[0] : s[0] & (unsigned char)~kinds[k].mask;
		for (size_t i = 1; i <= k; i++) {
			if ((s[i] & 0xc0) != 0x80) /* also at the end of the string */
				return 0;
			c = c << 6 | (s[i] & 0x3f);
		}
		if (c < kinds[k].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return 0;
		return k + 1;
	}
	return 0;
}

void
health_text(char *dst, size_t cap, const char *src)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t at = 0;

	while (*s != '\0') {
		size_t len = utf8_length(s);
		bool bad = len == 0 || (len == 1 && (*s < 0x20 || *s == 0x7f)) ||
		           (len == 2 && s[0] == 0xc2 && s[1] < 0xa0); /* C1 controls */
		size_t take = bad ? 1 : len;
		if (at + take >= cap)
			break;
		if (bad)
			dst[at] = '?';
		else
			memcpy(dst + at, s, len);
		at += take;
		s += len == 0 ? 1 : len;
	}
	dst[at] = '\0';
}
