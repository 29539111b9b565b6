/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static const struct {
	const char *suffix;
	unsigned shift;
} units[] = {
    {"PiB", 50},
    {"TiB", 40},
    {"GiB", 30},
    {"MiB", 20},
    {"KiB", 10},
    {"B", 0},
    {"", 0},
};
#define UNIT_COUNT (sizeof units / sizeof units[0])

/* Leading decimal digits; *end is behind them. 0, -EINVAL (no digit), -ERANGE (over `max`). */
static int
parse_digits(const char *s, uint64_t max, uint64_t *ret, const char **end)
{
	uint64_t v = 0;
	bool over = false;
	const char *p = s;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
			over = true;
	}
	if (p == s)
		return -EINVAL;
	*end = p;
	*ret = v;
	return over || v > max ? -ERANGE : 0;
}

int
text_parse_size(const char *s, uint64_t *ret_bytes)
{
	uint64_t v = 0;
	const char *end;
	int r = parse_digits(s, INT64_MAX, &v, &end);
	if (r == -EINVAL)
		return r;
	for (size_t i = 0; i < UNIT_COUNT; i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		if (r < 0)
			return r;
		if (v > (uint64_t)INT64_MAX >> units[i].shift)
			return -ERANGE;
		*ret_bytes = v << units[i].shift;
		return 0;
	}
	return -EINVAL;
}

int
text_parse_range(const char *s, uint64_t *ret_from, uint64_t *ret_bytes)
{
	char first[32];
	const char *plus = strchr(s, '+');
	uint64_t from, bytes;
	if (plus == NULL || (size_t)(plus - s) >= sizeof first)
		return -EINVAL;
	memcpy(first, s, (size_t)(plus - s));
	first[plus - s] = '\0';
	int r = text_parse_size(first, &from), r2 = text_parse_size(plus + 1, &bytes);
	if (r == -EINVAL || r2 == -EINVAL)
		return -EINVAL;
	if (r < 0 || r2 < 0)
		return -ERANGE;
	if (bytes == 0)
		return -EINVAL;
	if (bytes > (uint64_t)INT64_MAX - from)
		return -ERANGE;
	*ret_from = from;
	*ret_bytes = bytes;
	return 0;
}

void
text_format_size(uint64_t bytes, char *buf, size_t cap)
{
	size_t i = 0;
	while (units[i].shift > 0 && bytes < (uint64_t)1 << units[i].shift)
		i++;
	uint64_t unit = (uint64_t)1 << units[i].shift;
	uint64_t whole = bytes / unit, rest = bytes % unit;
	if (rest == 0) {
		snprintf(buf, cap, "%" PRIu64 "%s", whole, units[i].suffix);
		return;
	}
	/* Rounded to the nearest tenth; the rest is below 2^50, so ×10 can't overflow. */
	uint64_t tenths = (rest * 10 + unit / 2) / unit;
	if (tenths == 10) {
		whole++;
		tenths = 0;
		if (whole == 1024 && i > 0) {
			whole = 1;
			i--;
		}
	}
	snprintf(buf, cap, "%" PRIu64 ".%" PRIu64 "%s", whole, tenths, units[i].suffix);
}

int
text_parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	const char *end;
	int r = parse_digits(s, max, &v, &end);
	if (r == -EINVAL || *end != '\0')
		return -EINVAL;
	if (r < 0)
		return r;
	*ret = v;
	return 0;
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
uuid_dash_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

int
text_parse_uuid(const char *s, uint8_t ret_uuid[16])
{
	uint8_t uuid[16];
	for (size_t i = 0; i < sizeof uuid; i++) {
		if (uuid_dash_before(i) && *s++ != '-')
			return -EINVAL;
		int hi = hex_digit(s[0]);
		if (hi < 0)
			return -EINVAL;
		int lo = hex_digit(s[1]);
		if (lo < 0)
			return -EINVAL;
		uuid[i] = (uint8_t)(hi << 4 | lo);
		s += 2;
	}
	if (*s != '\0')
		return -EINVAL;
	memcpy(ret_uuid, uuid, sizeof uuid);
	return 0;
}

void
text_format_uuid(const uint8_t uuid[16], char buf[37])
{
	static const char digits[] = "0123456789abcdef";
	char *p = buf;
	for (size_t i = 0; i < 16; i++) {
		if (uuid_dash_before(i))
			*p++ = '-';
		*p++ = digits[uuid[i] >> 4];
		*p++ = digits[uuid[i] & 15];
	}
	*p = '\0';
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/*
 * One candidate position is kept for the last '*': a later star makes earlier ones final, so going
 * back to the last one is enough. A '!' is final as well: once the part before it has matched up
 * to some place, the rest is matched from there and the outcome inverted.
 */
bool
text_match(const char *pattern, const char *s)
{
	const char *star = NULL;  /* pattern behind the last '*' */
	const char *retry = NULL; /* where that star's next attempt starts */
	bool result = true;

	for (;;) {
		if (*pattern == '!') {
			result = !result;
			pattern++;
			star = NULL;
		} else if (*pattern == '*') {
			star = ++pattern;
			retry = s;
			if (*pattern == '\0')
				return result;
		} else if (*s == '\0' && *pattern == '\0') {
			return result;
		} else if (*s != '\0' && (*pattern == '?' || lower(*pattern) == lower(*s))) {
			pattern++;
			s++;
		} else if (star && *retry != '\0') {
			pattern = star;
			s = ++retry;
		} else {
			return !result;
		}
	}
}

#define NEAREST_LEN_MAX 64

/* Levenshtein distance; both words are at most NEAREST_LEN_MAX long. */
static size_t
edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t row[NEAREST_LEN_MAX + 1];
	for (size_t j = 0; j <= blen; j++)
		row[j] = j;
	for (size_t i = 1; i <= alen; i++) {
		size_t diag = row[0];
		row[0] = i;
		for (size_t j = 1; j <= blen; j++) {
			size_t up = row[j];
			size_t best = diag + (lower(a[i - 1]) != lower(b[j - 1]));
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diag = up;
		}
	}
	return row[blen];
}

const char *
text_nearest(const char *word, const char *const *candidates)
{
	size_t len = strlen(word);
	if (len == 0 || len > NEAREST_LEN_MAX)
		return NULL;
	/* A third of the letters may differ, at least one. */
	size_t best = (len + 2) / 3 + 1;
	const char *nearest = NULL;
	for (; *candidates; candidates++) {
		size_t clen = strlen(*candidates);
		if (clen > NEAREST_LEN_MAX)
			continue;
		size_t d = edit_distance(word, len, *candidates, clen);
		if (d < best && d < clen) {
			best = d;
			nearest = *candidates;
		}
	}
	return nearest;
}

bool
text_equal_const_time(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t diff = 0;
	for (size_t i = 0; i < len; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}
