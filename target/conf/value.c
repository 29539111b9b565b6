/* SPDX-License-Identifier: BSD-2-Clause */
/* Values: what a word must look like, and the form in which it is kept. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

const char *
conf_show(struct conf_shown *buf, const char *word)
{
	size_t cap = sizeof buf->text - sizeof "…", len = 0;

	for (; word[len] != '\0' && len < cap; len++)
		buf->text[len] = (unsigned char)word[len] < 0x20 ? ' ' : word[len];
	if (word[len] == '\0') {
		buf->text[len] = '\0';
		return buf->text;
	}
	/* Not in the middle of a character. */
	while (len > 0 && ((unsigned char)word[len] & 0xc0) == 0x80)
		len--;
	strcpy(buf->text + len, "…");
	return buf->text;
}

__attribute__((format(printf, 2, 3))) static int
refuse(struct conf_why *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int
keep(const char *word, char **ret)
{
	char *copy = strdup(word);
	if (copy == NULL)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

int
conf_text_ascii(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	size_t len = strlen(word);

	if (len == 0 || len > k->max)
		return refuse(
		    why, "it has 1 to %u characters, this one %zu", (unsigned)k->max, len);
	for (size_t i = 0; i < len; i++)
		if (word[i] < 0x20 || word[i] > 0x7e)
			return refuse(why, "only printable ASCII is possible here");
	if (word[0] == ' ' || word[len - 1] == ' ')
		return refuse(why, "initiators cut blanks off: remove those at its ends");
	return keep(word, ret);
}

int
conf_text_printable(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	size_t len = strlen(word);

	if (len == 0 || len > k->max)
		return refuse(why, "it has 1 to %u bytes, this one %zu", (unsigned)k->max, len);
	if (strchr(word, '\n') != NULL)
		return refuse(why, "it must be one line");
	return keep(word, ret);
}

int
conf_text_path(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	if (word[0] != '/')
		return refuse(why, "write the whole path, from /");
	if (strlen(word) >= k->max)
		return refuse(why, "at most %u bytes are possible", (unsigned)k->max - 1);
	return keep(word, ret);
}

/* They become names of folders and words of commands. */
#define NAME_MAX_BYTES 64u

int
conf_text_path_or_off(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	if (strcmp(word, "off") != 0)
		return conf_text_path(k, word, ret, why);
	*ret = strdup(word);
	return *ret != NULL ? 0 : -ENOMEM;
}

int
conf_text_name(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len = strlen(word);

	(void)k;
	if (len == 0 || len > NAME_MAX_BYTES)
		return refuse(why, "a name has 1 to %u characters", NAME_MAX_BYTES);
	if (strchr(letters, word[0]) == NULL && (word[0] < '0' || word[0] > '9'))
		return refuse(why, "a name begins with a letter or digit");
	for (size_t i = 0; i < len; i++)
		if (strchr(letters, word[i]) == NULL && strchr("0123456789-_.:@+", word[i]) == NULL)
			return refuse(why, "a name consists of letters, digits and -_.:@+");
	return keep(word, ret);
}

/* Which words are events is known to who raises them. */
int
conf_text_event(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	size_t len = strlen(word);

	(void)k;
	if (len == 0 || len > NAME_MAX_BYTES ||
	    strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != len)
		return refuse(why, "an event is a word in lower case, or all");
	return keep(word, ret);
}

/* ---- stores ------------------------------------------------------------------------------------ */

static int
check_memory(const char *word, const char *prefix, struct conf_why *why)
{
	size_t len = strlen(prefix);
	if (strncmp(word, prefix, len - 1) != 0 || (word[len - 1] != ':' && word[len - 1] != '\0'))
		return 0;
	if (word[len - 1] == '\0')
		return refuse(why, "write store %s", prefix);
	if (word[len] != '\0')
		return refuse(
		    why, "write store %s and its size apart: store %s; size SIZE", prefix, prefix);
	return 0;
}

static int
check_volume(const char *rest, struct conf_why *why)
{
	const char *slash = strchr(rest, '/');
	if (slash == NULL || slash == rest || slash[1] == '\0' || strchr(slash + 1, '/') != NULL)
		return refuse(
		    why, "write lvm:VG/LV, the volume group and the volume ('lvs' lists them)");
	return 0;
}

int
conf_text_store(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	int rc = check_memory(word, "ram:", why);

	(void)k;
	if (rc == 0)
		rc = check_memory(word, "null:", why);
	if (rc < 0)
		return rc;
	if (strcmp(word, "ram:") == 0 || strcmp(word, "null:") == 0)
		return keep(word, ret);
	if (strncmp(word, "lvm:", 4) == 0) {
		rc = check_volume(word + 4, why);
		return rc < 0 ? rc : keep(word, ret);
	}
	if (strncmp(word, "fault:", 6) == 0)
		return keep(word, ret);
	const char *path = strncmp(word, "file:", 5) == 0    ? word + 5
	                   : strncmp(word, "block:", 6) == 0 ? word + 6
	                                                     : word;
	if (path != word || strchr(word, ':') == NULL)
		return path[0] == '/' ? keep(word, ret)
		                      : refuse(why, "write the whole path, from /");
	return word[0] == '/'
	           ? keep(word, ret)
	           : refuse(
	                 why, "this version knows file: block: lvm: ram: null: and paths from /");
}

/* ---- identities -------------------------------------------------------------------------------- */

int
conf_text_uuid(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	static const uint8_t zeros[16];
	uint8_t uuid[16];
	char text[37];

	(void)k;
	if (text_parse_uuid(word, uuid) < 0)
		return refuse(why, "write it as 01234567-89ab-cdef-0123-456789abcdef ('uuidgen' "
		                   "makes one)");
	if (memcmp(uuid, zeros, sizeof uuid) == 0)
		return refuse(why, "all zeros identify nothing ('uuidgen' makes one)");
	text_format_uuid(uuid, text);
	return keep(text, ret);
}

/* Digits without a prefix ("0x", "naa.", "eui."), in lower case. 0, -EINVAL, -ENOMEM. */
static int
hex_digits(const char *word, const char *prefix, size_t count, char **ret)
{
	size_t prefix_len = strlen(prefix);

	if (strncmp(word, "0x", 2) == 0 || strncmp(word, "0X", 2) == 0)
		word += 2;
	else if (strncmp(word, prefix, prefix_len) == 0)
		word += prefix_len;
	if (strlen(word) != count || strspn(word, "0123456789abcdefABCDEF") != count)
		return -EINVAL;
	int rc = keep(word, ret);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if ((*ret)[i] >= 'A' && (*ret)[i] <= 'F')
			(*ret)[i] = (char)((*ret)[i] - 'A' + 'a');
	return rc;
}

int
conf_text_naa(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	char *digits = NULL;

	(void)k;
	if (strcmp(word, "none") == 0)
		return keep(word, ret);
	int rc = hex_digits(word, "naa.", 32, &digits);
	bool is_long = rc == 0;
	if (rc == -EINVAL)
		rc = hex_digits(word, "naa.", 16, &digits);
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0 || strchr(is_long ? "6" : "235", digits[0]) == NULL) {
		free(digits);
		return refuse(why,
		    "an NAA-6 designator has 32 hexadecimal digits, the first a 6; one of "
		    "16 begins with 2, 3 or 5; 'none' reports none");
	}
	*ret = digits;
	return 0;
}

int
conf_text_eui64(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	char *digits = NULL;
	int rc = hex_digits(word, "eui.", 16, &digits);

	(void)k;
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0 || strspn(digits, "0") == 16) {
		free(digits);
		return refuse(why, "an EUI-64 has 16 hexadecimal digits, not all 0");
	}
	*ret = digits;
	return 0;
}

/* ---- iSCSI names, RFC 7143 §4.2.7 -------------------------------------------------------------- */

#define ISCSI_NAME_MAX_BYTES 223u

static bool
all_hex(const char *s, size_t count)
{
	return strlen(s) == count && strspn(s, "0123456789abcdef") == count;
}

/* "iqn.", year and month, '.', reversed domain, then anything behind a ':'. */
static bool
is_iqn(const char *name)
{
	static const char form[] = "iqn.dddd-dd.";

	for (size_t i = 0; i < sizeof form - 1; i++) {
		bool digit = name[i] >= '0' && name[i] <= '9';
		if (form[i] == 'd' ? !digit : name[i] != form[i])
			return false;
	}
	int month = (name[9] - '0') * 10 + name[10] - '0';
	const char *domain = name + sizeof form - 1;
	return month >= 1 && month <= 12 && *domain != '\0' && *domain != ':' && *domain != '.';
}

static int
check_iscsi(const char *name, struct conf_why *why)
{
	size_t len = strlen(name);

	if (len > ISCSI_NAME_MAX_BYTES)
		return refuse(why, "an iSCSI name has at most %u bytes", ISCSI_NAME_MAX_BYTES);
	/* RFC 3722 §4; '_' is accepted because many hosts use it. */
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.:_") != len)
		return refuse(why, "an iSCSI name consists of ASCII letters, digits and -.:_");
	if (strncmp(name, "iqn.", 4) == 0 && !is_iqn(name))
		return refuse(why, "write iqn.YEAR-MONTH.DOMAIN:NAME, as in "
		                   "iqn.2026-11.com.example:storage");
	if (strncmp(name, "eui.", 4) == 0 && !all_hex(name + 4, 16))
		return refuse(why, "eui. is followed by 16 hexadecimal digits");
	if (strncmp(name, "naa.", 4) == 0 && !all_hex(name + 4, 16) && !all_hex(name + 4, 32))
		return refuse(why, "naa. is followed by 16 or 32 hexadecimal digits");
	if (strncmp(name, "iqn.", 4) != 0 && strncmp(name, "eui.", 4) != 0 &&
	    strncmp(name, "naa.", 4) != 0)
		return refuse(why, "an iSCSI name begins with iqn., eui. or naa., as in "
		                   "iqn.2026-11.com.example:storage");
	return 0;
}

int
conf_text_iscsi(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	char *lower;
	int rc = keep(word, &lower);

	(void)k;
	if (rc < 0)
		return rc;
	for (char *c = lower; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	rc = check_iscsi(lower, why);
	if (rc < 0) {
		free(lower);
		return rc;
	}
	*ret = lower;
	return 0;
}

int
conf_text_pattern(const struct conf_key *k, const char *word, char **ret, struct conf_why *why)
{
	(void)k;
	if (word[0] == '\0' || strlen(word) > ISCSI_NAME_MAX_BYTES)
		return refuse(why, "a pattern has 1 to %u bytes", ISCSI_NAME_MAX_BYTES);
	if (strpbrk(word, " \t\n") != NULL)
		return refuse(why,
		    "names have no blanks: write several patterns without quotes around them all");
	return keep(word, ret);
}
