/* SPDX-License-Identifier: BSD-2-Clause */
#include "iscsi/iscsi_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEY_NAME_MAX 63u /* RFC 7143 §6.1 */

/*
 * "key-name", RFC 7143 §6.1: letters, digits, dot, minus, plus, at, underscore; a letter first, and
 * the '#' of public extension keys (§13.24). Not only capitals: RFC 7144 has iSCSIProtocolLevel.
 */
static bool
key_name_valid(const char *s, size_t len)
{
	if (len == 0 || len > KEY_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool other = (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' ||
		             c == '@' || c == '_' || c == '#';
		if (!letter && (i == 0 || !other))
			return false;
	}
	return true;
}

int
iscsi_text_next(struct iscsi_text_iter *it, char **ret_key, char **ret_value)
{
	/* A pair is followed by at least one NUL (§6.1): more of them separate nothing. */
	while (it->at < it->end && *it->at == '\0')
		it->at++;
	if (it->at >= it->end)
		return 0;

	size_t left = (size_t)(it->end - it->at);
	char *nul = memchr(it->at, '\0', left);
	if (!nul)
		return -EINVAL;
	char *equals = memchr(it->at, '=', (size_t)(nul - it->at));
	if (!equals || !key_name_valid(it->at, (size_t)(equals - it->at)))
		return -EINVAL;

	*equals = '\0';
	*ret_key = it->at;
	*ret_value = equals + 1;
	it->at = nul + 1;
	return 1;
}

void
iscsi_text_add(struct iscsi_text_out *o, const char *key, const char *value)
{
	size_t key_len = strlen(key), value_len = strlen(value);
	size_t need = key_len + 1 + value_len + 1;
	if (o->overflow || need > o->cap - o->len) {
		o->overflow = true;
		return;
	}
	char *p = o->buf + o->len;
	memcpy(p, key, key_len);
	p[key_len] = '=';
	memcpy(p + key_len + 1, value, value_len + 1);
	o->len += need;
	ASSERT(o->len <= o->cap);
}

void
iscsi_text_addf(struct iscsi_text_out *o, const char *key, const char *fmt, ...)
{
	char value[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof value) {
		o->overflow = true;
		return;
	}
	iscsi_text_add(o, key, value);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
has_prefix(const char *s, char letter)
{
	return s[0] == '0' && (s[1] | 0x20) == letter;
}

/* Digits of `base` up to the end of the string. */
static int
parse_digits(const char *s, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	if (*s == '\0')
		return -EINVAL;
	for (; *s; s++) {
		int d = hex_digit(*s);
		if (d < 0 || (unsigned)d >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return -EINVAL;
	}
	if (v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* "numerical-value", RFC 7143 §6.1: a decimal without leading zeros or a hexadecimal constant. */
int
iscsi_text_number(const char *s, uint64_t max, uint64_t *ret)
{
	if (has_prefix(s, 'x'))
		return parse_digits(s + 2, 16, max, ret);
	if (s[0] == '0' && s[1] != '\0')
		return -EINVAL;
	return parse_digits(s, 10, max, ret);
}

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static int
binary_hex(const char *s, uint8_t *buf, size_t cap, size_t *ret_len)
{
	size_t digits = strlen(s), len = (digits + 1) / 2;
	if (digits == 0 || len > cap)
		return -EINVAL;
	for (size_t i = 0; i < digits; i++)
		if (hex_digit(s[i]) < 0)
			return -EINVAL;
	/* An odd number of digits has a leading zero that isn't written. */
	size_t at = 0, i = 0;
	if (digits % 2)
		buf[at++] = (uint8_t)hex_digit(s[i++]);
	for (; i < digits; i += 2)
		buf[at++] = (uint8_t)(hex_digit(s[i]) << 4 | hex_digit(s[i + 1]));
	ASSERT(at == len);
	*ret_len = len;
	return 0;
}

/* RFC 4648 §4 with padding; bits that the padding leaves over must be zero. */
static int
binary_base64(const char *s, uint8_t *buf, size_t cap, size_t *ret_len)
{
	size_t chars = strlen(s);
	if (chars == 0 || chars % 4)
		return -EINVAL;
	size_t pad = s[chars - 1] != '=' ? 0 : s[chars - 2] != '=' ? 1 : 2;
	size_t len = chars / 4 * 3 - pad, at = 0;
	if (len > cap)
		return -EINVAL;
	uint32_t bits = 0;
	unsigned bit_count = 0;
	for (size_t i = 0; i < chars - pad; i++) {
		int d = base64_digit(s[i]);
		if (d < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)d;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			ASSERT(at < len);
			buf[at++] = (uint8_t)(bits >> bit_count);
			bits &= (1u << bit_count) - 1;
		}
	}
	if (bits != 0)
		return -EINVAL;
	ASSERT(at == len);
	*ret_len = len;
	return 0;
}

int
iscsi_text_binary(const char *s, uint8_t *buf, size_t cap, size_t *ret_len)
{
	if (has_prefix(s, 'x'))
		return binary_hex(s + 2, buf, cap, ret_len);
	if (has_prefix(s, 'b'))
		return binary_base64(s + 2, buf, cap, ret_len);
	return -EINVAL;
}
