/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket from a reader's side: one connection, a question at a time, answers kept shortly. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "web/web.h"

#define ANSWER_MAX_BYTES ((size_t)64 << 20)
#define PATIENCE_MS 3000u /* for one answer */
#define DOWN_MS 500u      /* so long nobody tries again: the others needn't wait too */
#define KEPT_MAX 8u       /* answers */
#define NO_SUCH_OBJECT (-32004)

struct kept {
	char *request; /* the key: without its id; NULL: free */
	json_t *answer;
	uint64_t ms;
};

struct source {
	pthread_mutex_t refs; /* of the reference counts of answers; taken last, for a moment */
	pthread_mutex_t lock; /* of everything below; held while terraced is asked */
	char *path;
	int fd; /* -1: not connected */
	json_int_t id;
	char *in;
	size_t in_len, in_cap;
	uint64_t down_ms; /* when it failed last; 0: it didn't */
	char down[256];
	struct kept kept[KEPT_MAX];
};

static uint64_t
now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + 1;
}

/* ---- the connection -------------------------------------------------------------------------------------- */

static void
disconnect(struct source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	free(s->in);
	s->in = NULL;
	s->in_len = s->in_cap = 0;
}

static int
be_connected(struct source *s)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (s->fd >= 0)
		return 0;
	memcpy(un.sun_path, s->path, strlen(s->path)); /* source_create() looked at its length */
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	if (connect(s->fd, (const struct sockaddr *)&un, sizeof un) == 0)
		return 0;
	int err = -errno;
	disconnect(s);
	return err;
}

static int
wait_for(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = now_ms();
		struct pollfd p = {.fd = fd, .events = events};
		if (now >= deadline_ms)
			return -ETIMEDOUT;
		int n = poll(&p, 1, (int)(deadline_ms - now));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int
send_all(struct source *s, const char *text, size_t len, uint64_t deadline_ms)
{
	while (len > 0) {
		ssize_t n = send(s->fd, text, len, MSG_NOSIGNAL);
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			int rc = wait_for(s->fd, POLLOUT, deadline_ms);
			if (rc < 0)
				return rc;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int
grow(struct source *s)
{
	size_t cap = s->in_cap > 0 ? 2 * s->in_cap : 65536;
	if (s->in_len < s->in_cap)
		return 0;
	if (cap > ANSWER_MAX_BYTES)
		return -EMSGSIZE;
	char *in = realloc(s->in, cap);
	if (in == NULL)
		return -ENOMEM;
	s->in = in;
	s->in_cap = cap;
	return 0;
}

/* The length of the line at the beginning of `in`, or -errno. */
static ssize_t
receive_line(struct source *s, uint64_t deadline_ms)
{
	size_t looked = 0;

	for (;;) {
		char *nl =
		    s->in_len > looked ? memchr(s->in + looked, '\n', s->in_len - looked) : NULL;
		if (nl != NULL)
			return nl - s->in;
		looked = s->in_len;
		int rc = grow(s);
		if (rc == 0)
			rc = wait_for(s->fd, POLLIN, deadline_ms);
		if (rc < 0)
			return rc;
		ssize_t n = recv(s->fd, s->in + s->in_len, s->in_cap - s->in_len, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		s->in_len += n > 0 ? (size_t)n : 0;
	}
}

/* ---- a question ------------------------------------------------------------------------------------------- */

static json_t *
request_of(const char *method, const char *lun)
{
	json_t *params = json_object();

	if (params != NULL && lun != NULL &&
	    json_object_set_new(params, "lun", json_string(lun)) < 0) {
		json_decref(params); /* it isn't UTF-8: no LUN of ours */
		return NULL;
	}
	return json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params);
}

/* The line that answers, parsed; NULL with *ret_err. */
static json_t *
exchange(struct source *s, json_t *request, int *ret_err)
{
	uint64_t deadline_ms = now_ms() + PATIENCE_MS;
	json_error_t error;
	json_t *line;

	(void)json_object_set_new(request, "id", json_integer(++s->id));
	char *text = json_dumps(request, JSON_COMPACT);
	if (text == NULL) {
		*ret_err = -ENOMEM;
		return NULL;
	}
	*ret_err = be_connected(s);
	if (*ret_err == 0)
		*ret_err = send_all(s, text, strlen(text), deadline_ms);
	if (*ret_err == 0)
		*ret_err = send_all(s, "\n", 1, deadline_ms);
	free(text);
	/* Who isn't permitted to ask hears so even if the rest couldn't be sent. */
	ssize_t len = *ret_err == 0 || *ret_err == -EPIPE ? receive_line(s, deadline_ms) : *ret_err;
	if (len < 0) {
		*ret_err = (int)len;
		return NULL;
	}
	line = json_loadb(s->in, (size_t)len, 0, &error);
	s->in_len -= (size_t)len + 1;
	memmove(s->in, s->in + len + 1, s->in_len);
	*ret_err = line != NULL ? 0 : -EPROTO;
	return line;
}

static void
explain(const struct source *s, int err, char *reason, size_t cap)
{
	if (err == -ENOENT || err == -ECONNREFUSED)
		snprintf(reason, cap, "terraced doesn't run: nobody listens at %.150s", s->path);
	else if (err == -EACCES || err == -EPERM)
		snprintf(reason, cap, "%.150s may not be opened by this user", s->path);
	else if (err == -ETIMEDOUT)
		snprintf(reason, cap, "terraced doesn't answer");
	else
		snprintf(reason, cap, "no answer from terraced: %s", strerror(-err));
}

/* Takes `line`. */
static enum source_result
read_line(struct source *s, json_t *line, json_t **ret_answer, char *reason, size_t cap)
{
	const json_t *error = json_object_get(line, "error"), *id = json_object_get(line, "id");
	const char *message = json_string_value(json_object_get(error, "message"));
	json_t *result = json_object_get(line, "result");
	enum source_result r = SOURCE_FAILED;

	if (result != NULL && json_is_integer(id) && json_integer_value(id) == s->id) {
		*ret_answer = json_incref(result);
		r = SOURCE_OK;
	} else if (error != NULL) {
		snprintf(reason, cap, "%s", message != NULL ? message : "terraced has no answer");
		if (json_integer_value(json_object_get(error, "code")) == NO_SUCH_OBJECT)
			r = SOURCE_NONE;
	} else { /* another question's: nothing of this connection can be trusted */
		snprintf(reason, cap, "the answer isn't one to what was asked");
		disconnect(s);
	}
	json_decref(line);
	return r;
}

static enum source_result
ask(struct source *s, json_t *request, json_t **ret_answer, char *reason, size_t cap)
{
	bool was_connected = s->fd >= 0;
	int err;

	if (s->down_ms != 0 && now_ms() - s->down_ms < DOWN_MS) {
		snprintf(reason, cap, "%s", s->down);
		return SOURCE_DOWN;
	}
	json_t *line = exchange(s, request, &err);
	if (line == NULL && was_connected && err != -ETIMEDOUT && err != -ENOMEM) {
		disconnect(s); /* it was restarted, or had too many clients: once more */
		line = exchange(s, request, &err);
	}
	if (line != NULL) {
		s->down_ms = 0;
		return read_line(s, line, ret_answer, reason, cap);
	}
	disconnect(s);
	explain(s, err, reason, cap);
	snprintf(s->down, sizeof s->down, "%s", reason);
	s->down_ms = now_ms();
	return SOURCE_DOWN;
}

/* ---- answers that are kept ---------------------------------------------------------------------------------- */

/* jansson's own counting isn't enough: it looks at a count without being atomic about it. */
static json_t *
share(struct source *s, json_t *answer)
{
	pthread_mutex_lock(&s->refs);
	json_incref(answer);
	pthread_mutex_unlock(&s->refs);
	return answer;
}

void
source_release(struct source *s, json_t *answer)
{
	pthread_mutex_lock(&s->refs);
	json_decref(answer);
	pthread_mutex_unlock(&s->refs);
}

static void
forget(struct source *s, struct kept *k)
{
	free(k->request);
	source_release(s, k->answer);
	*k = (struct kept){.request = NULL};
}

static json_t *
find(struct source *s, const char *key)
{
	for (unsigned i = 0; i < KEPT_MAX; i++) {
		struct kept *k = &s->kept[i];
		if (k->request != NULL && now_ms() - k->ms >= SOURCE_FRESH_MS)
			forget(s, k);
		else if (k->request != NULL && strcmp(k->request, key) == 0)
			return share(s, k->answer);
	}
	return NULL;
}

/* Takes `key`. */
static void
keep(struct source *s, char *key, json_t *answer)
{
	struct kept *oldest = &s->kept[0];

	for (unsigned i = 0; i < KEPT_MAX; i++)
		if (s->kept[i].ms < oldest->ms)
			oldest = &s->kept[i];
	forget(s, oldest);
	*oldest = (struct kept){.request = key, .answer = share(s, answer), .ms = now_ms()};
}

enum source_result
source_ask(struct source *s, const char *method, const char *lun, json_t **ret_answer, char *reason,
    size_t cap)
{
	json_t *request = request_of(method, lun);
	char *key = request != NULL ? json_dumps(request, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	enum source_result r = SOURCE_OK;

	if (key == NULL) {
		json_decref(request);
		snprintf(reason, cap, "there is no such LUN");
		return SOURCE_NONE;
	}
	pthread_mutex_lock(&s->lock);
	*ret_answer = find(s, key);
	if (*ret_answer == NULL)
		r = ask(s, request, ret_answer, reason, cap);
	else {
		free(key);
		key = NULL;
	}
	if (r == SOURCE_OK && key != NULL) {
		keep(s, key, *ret_answer);
		key = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	free(key);
	json_decref(request);
	return r;
}

/* ---- life cycle ------------------------------------------------------------------------------------------------ */

int
source_create(const char *path, struct source **ret)
{
	struct source *s;

	if (path[0] == '\0' || strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		return -ENAMETOOLONG;
	s = calloc(1, sizeof *s);
	if (s == NULL || (s->path = strdup(path)) == NULL) {
		free(s);
		return -ENOMEM;
	}
	s->fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->refs, NULL);
	*ret = s;
	return 0;
}

void
source_destroy(struct source *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < KEPT_MAX; i++)
		forget(s, &s->kept[i]);
	disconnect(s);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->refs);
	free(s->path);
	free(s);
}
