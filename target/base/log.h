/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines for people: "level module: sentence key=value …" to stderr (with sd-daemon priority
 * prefixes when stderr is the journal). Library code logs at debug level only; the daemon logs.
 * Thread-safe. Not for the data path.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_COUNT };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* 0, or -EINVAL with *ret untouched. Accepts "error" "warning" "info" "debug". */
int log_level_parse(const char *name, enum log_level *ret);

/*
 * From now on lines go to the journal with their parts as fields (systemd.journal-fields(7)), if stderr is the
 * journal's: PRIORITY, TERRACE_MODULE, and what a line says as key=value as TERRACE_KEY; of a condition also
 * TERRACE_CODE and MESSAGE_ID. A line that it doesn't take goes to stderr. `path` is its socket; NULL: the
 * system's. 0; -ENOTTY: stderr is something else; or what socket() or connect() say. Once, before threads.
 */
int log_use_journal(const char *path);
/* Such a line as a datagram, cut to `cap`: bytes of it. */
size_t log_fields(enum log_level level, const char *mod, const char *line, char *buf, size_t cap);

/* Where lines go instead of stderr (tests, the event history); NULL restores stderr. */
void log_set_sink(void (*sink)(enum log_level level, const char *line, void *ctx), void *ctx);

void log_write(enum log_level level, const char *mod, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Token bucket for lines that a peer can cause: 10 at once, then one a second. */
struct log_limit {
	uint64_t next_ns;
	uint32_t tokens;
	uint32_t suppressed;
};

/*
 * True if a line may be written at `now_ns`. *ret_suppressed gets how many were dropped since the
 * last one that was written.
 */
bool log_limit_ok(struct log_limit *l, uint64_t now_ns, uint32_t *ret_suppressed);

#define log_err(mod, ...) log_write(LOG_LEVEL_ERR, mod, __VA_ARGS__)
#define log_warn(mod, ...) log_write(LOG_LEVEL_WARN, mod, __VA_ARGS__)
#define log_info(mod, ...) log_write(LOG_LEVEL_INFO, mod, __VA_ARGS__)
#define log_debug(mod, ...)                                                                        \
	do {                                                                                       \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                                            \
			log_write(LOG_LEVEL_DEBUG, mod, __VA_ARGS__);                              \
	} while (0)

#endif
