/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

#define LINE_BYTES_MAX 2048

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[LOG_LEVEL_COUNT] = {
    [LOG_LEVEL_ERR] = {"error", 3},
    [LOG_LEVEL_WARN] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

static atomic_int log_level = LOG_LEVEL_INFO;

/* Protects the sink and keeps lines whole. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*log_sink)(enum log_level level, const char *line, void *ctx);
static void *log_sink_ctx;
static int log_journal = -1; /* connected to the journal's socket */

void
log_set_level(enum log_level level)
{
	ASSERT(level < LOG_LEVEL_COUNT);
	atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

enum log_level
log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

int
log_level_parse(const char *name, enum log_level *ret)
{
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void
log_set_sink(void (*sink)(enum log_level level, const char *line, void *ctx), void *ctx)
{
	pthread_mutex_lock(&log_lock);
	log_sink = sink;
	log_sink_ctx = ctx;
	pthread_mutex_unlock(&log_lock);
}

/* JOURNAL_STREAM names the device and inode of the stream to the journal, sd-daemon(3). */
static bool
stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	if (!env)
		return false;
	char *end;
	errno = 0;
	unsigned long long dev = strtoull(env, &end, 10);
	if (errno || *end != ':')
		return false;
	unsigned long long ino = strtoull(end + 1, &end, 10);
	if (errno || *end != '\0')
		return false;
	struct stat st;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* Peers' names appear in lines: control characters would forge lines or drive a terminal. */
static void
blank_controls(char *line)
{
	for (unsigned char *p = (unsigned char *)line; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void
write_all(const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, buf, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nowhere left to complain */
		buf += n;
		len -= (size_t)n;
	}
}

int
log_use_journal(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (path == NULL)
		path = "/run/systemd/journal/socket";
	if (!stderr_is_journal())
		return -ENOTTY;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	log_journal = fd;
	return 0;
}

/* False: it isn't there. */
static bool
send_fields(enum log_level level, const char *mod, const char *line)
{
	char fields[2 * LINE_BYTES_MAX];

	if (log_journal < 0)
		return false;
	size_t len = log_fields(level, mod, line, fields, sizeof fields);
	return send(log_journal, fields, len, MSG_NOSIGNAL) == (ssize_t)len;
}

void
log_write(enum log_level level, const char *mod, const char *fmt, ...)
{
	ASSERT(level < LOG_LEVEL_COUNT);
	if (level > log_get_level())
		return;

	int saved_errno = errno; /* %m, and the caller may still look at it */
	char text[LINE_BYTES_MAX];
	int head = snprintf(text, sizeof text, "%s %s: ", levels[level].name, mod);
	if (head < 0 || (size_t)head >= sizeof text)
		head = 0;
	va_list ap;
	va_start(ap, fmt);
	errno = saved_errno;
	(void)vsnprintf(text + head, sizeof text - (size_t)head, fmt, ap);
	va_end(ap);
	blank_controls(text);

	pthread_mutex_lock(&log_lock);
	if (log_sink) {
		log_sink(level, text, log_sink_ctx);
	} else if (!send_fields(level, mod, text)) {
		char out[LINE_BYTES_MAX + 8];
		int n = stderr_is_journal()
		            ? snprintf(out, sizeof out, "<%d>%s\n", levels[level].priority, text)
		            : snprintf(out, sizeof out, "%s\n", text);
		if (n > 0)
			write_all(out, (size_t)n);
	}
	pthread_mutex_unlock(&log_lock);
	errno = saved_errno;
}

#define LIMIT_BURST 10u
#define LIMIT_REFILL_NS 1000000000ull

bool
log_limit_ok(struct log_limit *l, uint64_t now_ns, uint32_t *ret_suppressed)
{
	/* An all-zero limit is full. `next_ns` is when the bucket gets its next token. */
	if (l->next_ns == 0) {
		l->tokens = LIMIT_BURST;
		l->next_ns = now_ns + LIMIT_REFILL_NS;
	} else if (now_ns >= l->next_ns) {
		uint64_t gained = (now_ns - l->next_ns) / LIMIT_REFILL_NS + 1;
		uint64_t tokens = l->tokens + gained;
		l->tokens = tokens < LIMIT_BURST ? (uint32_t)tokens : LIMIT_BURST;
		l->next_ns += gained * LIMIT_REFILL_NS;
	}
	if (l->tokens == 0) {
		l->suppressed++;
		return false;
	}
	l->tokens--;
	*ret_suppressed = l->suppressed;
	l->suppressed = 0;
	return true;
}
