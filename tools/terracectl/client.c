/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket from the client's side: a line out, a line in. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/terracectl/terracectl.h"

/* What an answer may have: a thousand LUNs are under 1 MiB. */
#define ANSWER_MAX_BYTES ((size_t)256 << 20)

struct client {
	int fd;
	json_int_t id;
	char *in;
	size_t in_len, in_cap;
};

void
answer_fini(struct answer *a)
{
	json_decref(a->result);
	json_decref(a->data);
	free(a->message);
	*a = (struct answer){0};
}

static void __attribute__((format(printf, 3, 4)))
answer_error(struct answer *a, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&a->message, fmt, ap) < 0)
		a->message = NULL;
	va_end(ap);
	a->code = code;
}

/* ---- connecting ---------------------------------------------------------------------------------- */

/* A connected descriptor or -errno. */
static int
connect_to(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (path[0] == '\0' || strlen(path) >= sizeof un.sun_path)
		return -ENAMETOOLONG;
	strcpy(un.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

static void
explain_path(const char *path, int err, char *reason, size_t cap)
{
	if (err == -EACCES || err == -EPERM)
		snprintf(reason, cap,
		    "%s may not be opened by this user: be root, or the user that started terraced",
		    path);
	else if (err == -ECONNREFUSED)
		snprintf(reason, cap,
		    "nobody listens at %s: terraced has ended; start it (systemctl start terraced)",
		    path);
	else if (err == -ENAMETOOLONG)
		snprintf(reason, cap, "\"%s\" can't be the path of a socket (1 to %zu bytes)", path,
		    sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	else if (err == -ENOENT)
		snprintf(reason, cap,
		    "there is no %s: start terraced (systemctl start terraced), or name its socket "
		    "with --control",
		    path);
	else
		snprintf(reason, cap, "can't connect to %s: %s", path, strerror(-err));
}

/* Where terraced listens if nothing says otherwise, by the likelier first; true if there is one. */
static bool
default_path(unsigned i, char *buf, size_t cap)
{
	const char *state_home = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (i == 0)
		snprintf(buf, cap, "/run/terrace/control.sock");
	else if (i == 1 && geteuid() == 0)
		snprintf(buf, cap, "/var/lib/terrace/control.sock");
	else if (i == 1 && state_home != NULL && state_home[0] == '/')
		snprintf(buf, cap, "%s/terrace/control.sock", state_home);
	else if (i == 1 && home != NULL && home[0] == '/')
		snprintf(buf, cap, "%s/.local/state/terrace/control.sock", home);
	else
		return false;
	return true;
}

/* As connect_to(). */
static int
connect_default(char *reason, size_t cap)
{
	char path[2][4096];
	unsigned count = 0;

	for (; count < 2 && default_path(count, path[count], sizeof path[count]); count++) {
		int fd = connect_to(path[count]);
		if (fd >= 0)
			return fd;
		if (fd != -ENOENT) { /* it is there: this is what is to be mended */
			explain_path(path[count], fd, reason, cap);
			return fd;
		}
	}
	snprintf(reason, cap,
	    "terraced doesn't run: there is no %.200s%s%.200s. Start it (systemctl start "
	    "terraced), "
	    "or name its socket with --control or TERRACE_CONTROL",
	    path[0], count > 1 ? " nor " : "", count > 1 ? path[1] : "");
	return -ENOENT;
}

struct client *
client_open(const char *control, char *reason, size_t cap)
{
	const char *env = getenv("TERRACE_CONTROL");
	int fd;

	if (control == NULL && env != NULL && env[0] != '\0')
		control = env;
	if (control != NULL) {
		fd = connect_to(control);
		if (fd < 0)
			explain_path(control, fd, reason, cap);
	} else {
		fd = connect_default(reason, cap);
	}
	struct client *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;
	if (c == NULL) {
		if (fd >= 0) {
			close(fd);
			snprintf(reason, cap, "out of memory");
		}
		return NULL;
	}
	c->fd = fd;
	return c;
}

void
client_close(struct client *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	free(c->in);
	free(c);
}

/* ---- a call ------------------------------------------------------------------------------------------ */

static uint64_t
now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* 0 or -errno; -ETIMEDOUT at the deadline (0: none). */
static int
wait_for(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = now_ms();
		int left = -1;
		if (deadline_ms != 0) {
			if (now >= deadline_ms)
				return -ETIMEDOUT;
			left = (int)(deadline_ms - now);
		}
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int
send_line(struct client *c, const char *text, uint64_t deadline_ms)
{
	size_t len = strlen(text), at = 0;

	while (at < len + 1) {
		const char *from = at < len ? text + at : "\n";
		ssize_t n = send(c->fd, from, at < len ? len - at : 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			at += (size_t)n;
		else if (errno == EAGAIN) {
			int rc = wait_for(c->fd, POLLOUT, deadline_ms);
			if (rc < 0)
				return rc;
		} else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int
grow(struct client *c)
{
	size_t cap = c->in_cap > 0 ? 2 * c->in_cap : 65536;
	if (cap > ANSWER_MAX_BYTES)
		return -EMSGSIZE;
	char *in = realloc(c->in, cap);
	if (in == NULL)
		return -ENOMEM;
	c->in = in;
	c->in_cap = cap;
	return 0;
}

/* The length of a line at the beginning of `in`, or -errno. */
static ssize_t
receive_line(struct client *c, uint64_t deadline_ms)
{
	size_t looked = 0;

	for (;;) {
		char *nl =
		    c->in_len > looked ? memchr(c->in + looked, '\n', c->in_len - looked) : NULL;
		if (nl != NULL)
			return nl - c->in;
		looked = c->in_len;
		if (c->in_len == c->in_cap) {
			int rc = grow(c);
			if (rc < 0)
				return rc;
		}
		int rc = wait_for(c->fd, POLLIN, deadline_ms);
		if (rc < 0)
			return rc;
		ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			c->in_len += (size_t)n;
	}
}

/* Takes `line`. */
static void
read_answer(const struct client *c, json_t *line, struct answer *ret)
{
	const json_t *error = json_object_get(line, "error");
	const json_t *id = json_object_get(line, "id");
	json_t *result = json_object_get(line, "result");

	if (error != NULL) {
		answer_error(ret, (int)get_int(error, "code"), "%s", get_text(error, "message"));
		ret->data = json_incref(json_object_get(error, "data"));
		if (ret->code == 0)
			ret->code = CODE_LOST;
	} else if (result != NULL && json_is_integer(id) && json_integer_value(id) == c->id) {
		ret->result = json_incref(result);
	} else {
		answer_error(ret, CODE_LOST, "the answer isn't one to what was asked");
	}
	json_decref(line);
}

static void
lost(struct answer *ret, int err)
{
	if (err == -ETIMEDOUT)
		answer_error(ret, CODE_LOST, "terraced doesn't answer: it hangs, or is very busy");
	else if (err == -ECONNRESET || err == -EPIPE)
		answer_error(ret, CODE_LOST,
		    "terraced has closed the connection: it is ending, or serves too many others");
	else
		answer_error(ret, CODE_LOST, "no answer from terraced: %s", strerror(-err));
}

static int
send_request(
    struct client *c, const char *method, json_t *params, uint64_t deadline_ms, struct answer *ret)
{
	*ret = (struct answer){0};
	json_t *request = json_pack("{s:s, s:s, s:I, s:o}", "jsonrpc", "2.0", "method", method,
	    "id", ++c->id, "params", params != NULL ? params : json_object());
	char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (text == NULL) {
		answer_error(ret, CODE_INVALID_PARAMS, "the request can't be written as JSON");
		return 1;
	}
	int rc = send_line(c, text, deadline_ms);
	free(text);
	return rc;
}

static void
take_line(struct client *c, size_t len, struct answer *ret)
{
	json_error_t error;
	json_t *line = json_loadb(c->in, len, 0, &error);

	c->in_len -= len + 1;
	memmove(c->in, c->in + len + 1, c->in_len);
	if (line == NULL)
		answer_error(ret, CODE_LOST, "the answer isn't JSON: %s", error.text);
	else
		read_answer(c, line, ret);
}

void
client_call(
    struct client *c, const char *method, json_t *params, unsigned timeout_ms, struct answer *ret)
{
	uint64_t deadline_ms = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
	int rc = send_request(c, method, params, deadline_ms, ret);

	if (rc > 0)
		return;
	/* Who is refused hears so even if it couldn't send all. */
	ssize_t len = rc == 0 || rc == -EPIPE ? receive_line(c, deadline_ms) : rc;
	if (len < 0)
		lost(ret, (int)len);
	else
		take_line(c, (size_t)len, ret);
}

bool
client_send(struct client *c, const char *method, json_t *params, struct answer *ret)
{
	int rc = send_request(c, method, params, 0, ret);
	if (rc < 0 && rc != -EPIPE)
		lost(ret, rc);
	return rc == 0 || rc == -EPIPE;
}

bool
client_wait(struct client *c, unsigned timeout_ms, struct answer *ret)
{
	*ret = (struct answer){0};
	ssize_t len = receive_line(c, now_ms() + timeout_ms);
	if (len == -ETIMEDOUT)
		return false;
	if (len < 0)
		lost(ret, (int)len);
	else
		take_line(c, (size_t)len, ret);
	return true;
}
