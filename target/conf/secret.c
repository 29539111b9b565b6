/* SPDX-License-Identifier: BSD-2-Clause */
/* Secrets of CHAP. No message shows one. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static int
refuse(struct conf_why *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int
conf_secret_check(const char *secret, struct conf_why *why)
{
	size_t len = strlen(secret);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)secret[i] < 0x20 || secret[i] == 0x7f)
			return refuse(why, "a secret is one line without control characters");
	if (len < CONF_SECRET_MIN)
		return refuse(why, "a secret has %u to %u bytes, this one %zu", CONF_SECRET_MIN,
		    CONF_SECRET_MAX, len);
	if (len > CONF_SECRET_MAX)
		return refuse(why, "a secret has %u to %u bytes, this one has more",
		    CONF_SECRET_MIN, CONF_SECRET_MAX);
	return 0;
}

/* Nobody but the owner (root or we) and a group may read it, nobody but the owner write it. */
static int
check_mode(const struct stat *st, const char *path, struct conf_why *why)
{
	struct conf_shown s;

	if (!S_ISREG(st->st_mode))
		return refuse(why, "%s is no regular file", conf_show(&s, path));
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return refuse(why, "%s belongs to user %u: chown it to root", conf_show(&s, path),
		    (unsigned)st->st_uid);
	if ((st->st_mode & (S_IXUSR | S_IWGRP | S_IXGRP | S_IRWXO | S_ISUID | S_ISGID)) != 0)
		return refuse(why,
		    "others may read or change %s (mode %04o): chmod 0600 or 0640 it",
		    conf_show(&s, path), (unsigned)st->st_mode & 07777u);
	return 0;
}

int
conf_secret_read(const char *path, char **ret, struct conf_why *why)
{
	/* A longest secret, "\r\n", and one more to notice that there is more. */
	char buf[CONF_SECRET_MAX + 4];
	struct conf_shown s;
	struct stat st;
	ssize_t n = 0;
	size_t len = 0;

	/* Looked at before as well: to open some devices is to do something. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return refuse(why, "%s is no regular file", conf_show(&s, path));
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return refuse(why, "can't read %s: %s", conf_show(&s, path), strerror(errno));
	int rc = fstat(fd, &st) < 0
	             ? refuse(why, "can't read %s: %s", conf_show(&s, path), strerror(errno))
	             : check_mode(&st, path, why);
	while (rc == 0 && len < sizeof buf - 1) {
		n = read(fd, buf + len, sizeof buf - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (rc == 0 && n < 0)
		rc = refuse(why, "can't read %s: %s", conf_show(&s, path), strerror(errno));
	close(fd);
	if (rc == 0 && memchr(buf, '\0', len) != NULL)
		rc = refuse(
		    why, "%s holds a NUL byte: a secret is one line of text", conf_show(&s, path));
	if (rc == 0) {
		len -= len > 0 && buf[len - 1] == '\n';
		len -= len > 0 && buf[len - 1] == '\r';
		buf[len] = '\0';
		*ret = strdup(buf);
		rc = *ret == NULL ? -ENOMEM : 0;
	}
	explicit_bzero(buf, sizeof buf);
	return rc;
}
