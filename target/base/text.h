/* SPDX-License-Identifier: BSD-2-Clause */
/* Small text helpers shared by configuration, command line and iSCSI: sizes, UUIDs, patterns. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * "512MiB", "10GiB", "2TiB", "64KiB", "1PiB" and bare bytes; no sign, no fraction, no blanks.
 * 0, -EINVAL (not a size), -ERANGE (over 2^63-1).
 */
int text_parse_size(const char *s, uint64_t *ret_bytes);
/* "1GiB+64MiB": where it begins, and its size, which isn't 0. 0, -EINVAL, -ERANGE (ends over 2^63-1). */
int text_parse_range(const char *s, uint64_t *ret_from, uint64_t *ret_bytes);
/* "10GiB", "1.5TiB", "513B": exact where a whole unit fits, else one decimal. */
void text_format_size(uint64_t bytes, char *buf, size_t cap);

/* Unsigned decimal, whole string. 0, -EINVAL, -ERANGE. */
int text_parse_u64(const char *s, uint64_t max, uint64_t *ret);

/* Canonical 8-4-4-4-12 form. 0 or -EINVAL. */
int text_parse_uuid(const char *s, uint8_t ret_uuid[16]);
void text_format_uuid(const uint8_t uuid[16], char buf[37]);

/*
 * SCST's pattern: '*' and '?' as in a shell, a '!' anywhere inverts the match of the rest
 * (reference: scst_targ.c wildcmp). ASCII letters compare without case. Linear time in
 * strlen(pattern) × strlen(s); no recursion.
 */
bool text_match(const char *pattern, const char *s);

/* Distance for "did you mean"; candidates is NULL-terminated. NULL if nothing is near. */
const char *text_nearest(const char *word, const char *const *candidates);

/* Constant-time comparison of secrets of known lengths. */
bool text_equal_const_time(const void *a, const void *b, size_t len);

#endif
