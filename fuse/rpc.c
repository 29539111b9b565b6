/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket from the client's side: lines out, lines in, answered in order. Connects when it
 * is needed and again when the connection ends. What was sent when it ended isn't sent again: it
 * fails; what wasn't sent waits for the next connection, DOWN_PATIENCE_MS from when it went down.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuse/terrace_fuse.h"

#define IN_MIN_BYTES 65536u
#define READ_MAX_BYTES (1024u * 1024u) /* in a turn */

struct rpc {
	struct events *ev;
	char *path;
	struct watch watch; /* fd -1: not connected */
	struct list calls;  /* in order: those that are sent, then the others */
	struct timer timer;
	json_int_t id;
	bool is_down;
	bool is_silent; /* the last answer didn't come */
	uint64_t down_since_ms;
	char *in;
	size_t in_len, in_cap, looked;
};

static void pump(struct rpc *r);

/* ---- calls ----------------------------------------------------------------------------------------- */

static void
finish(struct rpc_call *c, int err, json_t *result, const char *message)
{
	list_remove(&c->link);
	free(c->line);
	c->line = NULL;
	c->err = err;
	c->result = result;
	c->message = message;
	if (c->cancelled)
		free(c);
	else
		c->done(c);
}

static bool
is_sent(const struct rpc_call *c)
{
	return c->line == NULL || c->sent > 0;
}

/* All of `from`; what done() submits anew is in another list. */
static void
fail_all(struct rpc *r, bool only_sent, int err)
{
	struct list failed;

	list_init(&failed);
	LIST_FOREACH_SAFE (n, &r->calls) {
		struct rpc_call *c = container_of(n, struct rpc_call, link);
		if (only_sent && !is_sent(c))
			continue;
		list_remove(&c->link);
		list_push_back(&failed, &c->link);
	}
	while (!list_empty(&failed))
		finish(container_of(failed.next, struct rpc_call, link), err, NULL, "");
}

/* The next time that something has to be looked at. */
static void
set_timer(struct rpc *r)
{
	uint64_t at = UINT64_MAX;

	LIST_FOREACH (n, &r->calls) {
		const struct rpc_call *c = container_of(n, struct rpc_call, link);
		if (c->deadline_ms < at)
			at = c->deadline_ms;
	}
	if (r->watch.fd < 0 && !list_empty(&r->calls) && r->ev->now_ms + RETRY_MS < at)
		at = r->ev->now_ms + RETRY_MS;
	if (at == UINT64_MAX)
		timer_cancel(&r->timer);
	else
		timer_set(r->ev, &r->timer, at > r->ev->now_ms ? at - r->ev->now_ms : 0);
}

static void
disconnect(struct rpc *r, int err)
{
	if (r->watch.fd >= 0) {
		(void)events_watch(r->ev, &r->watch, 0);
		close(r->watch.fd);
	}
	r->watch.fd = -1;
	r->in_len = r->looked = 0;
	if (!r->is_down) {
		r->is_down = true;
		r->down_since_ms = r->ev->now_ms;
	}
	fail_all(r, true, err);
	set_timer(r);
}

/* ---- connecting -------------------------------------------------------------------------------------- */

static void on_socket(struct watch *w, uint32_t events);

static bool
try_connect(struct rpc *r)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, r->path, strlen(r->path)); /* rpc_create() has looked at the length */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)&un, sizeof un) < 0) {
		close(fd);
		return false;
	}
	r->watch = (struct watch){.fd = fd, .fire = on_socket};
	if (events_watch(r->ev, &r->watch, EPOLLIN) < 0) {
		close(fd);
		r->watch.fd = -1;
		return false;
	}
	return true;
}

/* True: connected. */
static bool
be_connected(struct rpc *r)
{
	if (r->watch.fd >= 0)
		return true;
	if (try_connect(r))
		return true;
	if (!r->is_down) {
		r->is_down = true;
		r->down_since_ms = r->ev->now_ms;
	}
	if (r->ev->now_ms - r->down_since_ms >= DOWN_PATIENCE_MS)
		fail_all(r, false, -EHOSTDOWN);
	return false;
}

/* ---- out ------------------------------------------------------------------------------------------------ */

/* False: the connection is over. */
static bool
send_calls(struct rpc *r)
{
	bool blocked = false;

	for (struct list *n = r->calls.next; n != &r->calls && !blocked; n = n->next) {
		struct rpc_call *c = container_of(n, struct rpc_call, link);
		size_t len = c->line != NULL ? strlen(c->line) : 0;
		while (c->line != NULL && !blocked) {
			ssize_t sent = send(r->watch.fd, c->line + c->sent, len - c->sent,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
			if (sent < 0 && errno != EAGAIN && errno != EINTR)
				return false;
			blocked = sent < 0 && errno == EAGAIN;
			c->sent += sent > 0 ? (size_t)sent : 0;
			if (c->sent == len) {
				free(c->line);
				c->line = NULL;
			}
		}
	}
	return events_watch(r->ev, &r->watch, EPOLLIN | (blocked ? EPOLLOUT : 0)) == 0;
}

static void
pump(struct rpc *r)
{
	if (list_empty(&r->calls)) {
		set_timer(r);
		return;
	}
	if (be_connected(r) && !send_calls(r))
		disconnect(r, -EHOSTDOWN);
	else
		set_timer(r);
}

static void
on_timer(struct timer *t)
{
	struct rpc *r = container_of(t, struct rpc, timer);
	bool late = false;

	LIST_FOREACH (n, &r->calls)
		late |= container_of(n, struct rpc_call, link)->deadline_ms <= r->ev->now_ms;
	/* Answers come in order: behind one that doesn't come there is none. */
	if (late && r->watch.fd >= 0) {
		r->is_silent = true;
		fail_all(r, false, -ETIMEDOUT);
		disconnect(r, -ETIMEDOUT);
		return;
	}
	LIST_FOREACH_SAFE (n, &r->calls) {
		struct rpc_call *c = container_of(n, struct rpc_call, link);
		if (c->deadline_ms <= r->ev->now_ms) {
			finish(c, -EHOSTDOWN, NULL, "");
			break; /* the list may be another one: the timer comes again */
		}
	}
	pump(r);
}

/* ---- in --------------------------------------------------------------------------------------------------- */

static int
errno_of(json_int_t code)
{
	switch (code) {
	case -32601:
		return -EOPNOTSUPP;
	case -32602:
		return -EINVAL;
	case -32603:
		return -ENOMEM;
	case -32001:
	case -32002:
		return -EBUSY;
	case -32003:
		return -EACCES;
	case -32004:
		return -ENOENT;
	default:
		return -EIO;
	}
}

/* One line: false if it is nothing that makes sense. */
static bool
take_line(struct rpc *r, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *result = json_object_get(o, "result"), *error = json_object_get(o, "error");
	struct rpc_call *c = NULL;

	if (!list_empty(&r->calls))
		c = container_of(r->calls.next, struct rpc_call, link);
	if (c == NULL || c->line != NULL || (result == NULL) == (error == NULL) ||
	    json_number(o, "id", -1) != c->id) {
		/* A stranger gets one answer without an id. */
		bool refused = error != NULL && json_number(error, "code", 0) == -32003;
		json_decref(o);
		disconnect(r, refused ? -EACCES : -EPROTO);
		return false;
	}
	r->is_down = r->is_silent = false;
	if (error != NULL)
		finish(
		    c, errno_of(json_number(error, "code", 0)), NULL, json_text(error, "message"));
	else
		finish(c, 0, result, "");
	json_decref(o);
	return true;
}

static bool
grow(struct rpc *r)
{
	size_t cap = r->in_cap > 0 ? 2 * r->in_cap : IN_MIN_BYTES;
	char *in = cap <= ANSWER_MAX_BYTES ? realloc(r->in, cap) : NULL;
	if (in == NULL)
		return false;
	r->in = in;
	r->in_cap = cap;
	return true;
}

static void
take_lines(struct rpc *r)
{
	size_t from = 0;
	char *end;

	while ((end = memchr(r->in + r->looked, '\n', r->in_len - r->looked)) != NULL) {
		size_t next = (size_t)(end - r->in) + 1;
		int fd = r->watch.fd;
		if (!take_line(r, r->in + from, next - from - 1) || r->watch.fd != fd)
			return;
		from = r->looked = next;
		if (r->looked == r->in_len)
			break;
	}
	memmove(r->in, r->in + from, r->in_len - from);
	r->in_len -= from;
	r->looked = r->in_len;
}

static void
on_socket(struct watch *w, uint32_t events)
{
	struct rpc *r = container_of(w, struct rpc, watch);
	size_t taken = 0;
	(void)events;

	while (taken < READ_MAX_BYTES) {
		if (r->in_len == r->in_cap && !grow(r)) {
			disconnect(r, -ENOMEM);
			return;
		}
		ssize_t n = recv(w->fd, r->in + r->in_len, r->in_cap - r->in_len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			disconnect(r, -EHOSTDOWN);
			return;
		}
		r->in_len += (size_t)n;
		taken += (size_t)n;
	}
	if (taken > 0)
		take_lines(r);
	if (r->watch.fd >= 0)
		pump(r);
}

/* ---- for users ---------------------------------------------------------------------------------------------- */

int
rpc_create(struct events *ev, const char *path, struct rpc **ret)
{
	struct rpc *r = calloc(1, sizeof *r);

	if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
		free(r);
		return -ENAMETOOLONG;
	}
	if (r == NULL || (r->path = strdup(path)) == NULL) {
		free(r);
		return -ENOMEM;
	}
	r->ev = ev;
	r->watch.fd = -1;
	list_init(&r->calls);
	timer_init(&r->timer, on_timer);
	*ret = r;
	return 0;
}

void
rpc_destroy(struct rpc *r)
{
	struct list *n;

	if (r == NULL)
		return;
	while ((n = list_pop_front(&r->calls)) != NULL) {
		struct rpc_call *c = container_of(n, struct rpc_call, link);
		free(c->line);
		c->line = NULL;
		if (c->cancelled)
			free(c);
	}
	timer_cancel(&r->timer);
	if (r->watch.fd >= 0) {
		(void)events_watch(r->ev, &r->watch, 0);
		close(r->watch.fd);
	}
	free(r->in);
	free(r->path);
	free(r);
}

/* "LINE\n"; NULL without memory. Takes `params`. */
static char *
request_line(json_int_t id, const char *method, json_t *params)
{
	json_t *o = json_pack("{s:s, s:s, s:I}", "jsonrpc", "2.0", "method", method, "id", id);
	if (o == NULL) {
		json_decref(params);
		return NULL;
	}
	if (params != NULL)
		json_object_set_new(o, "params", params);
	char *line = json_dumps(o, JSON_COMPACT), *whole = NULL;
	json_decref(o);
	if (line != NULL)
		whole = realloc(line, strlen(line) + 2);
	if (whole == NULL)
		free(line);
	else
		strcat(whole, "\n");
	return whole;
}

void
rpc_submit(
    struct rpc *r, struct rpc_call *c, const char *method, json_t *params, unsigned timeout_ms)
{
	list_init(&c->link);
	c->cancelled = false;
	c->sent = 0;
	c->id = ++r->id;
	c->line = request_line(c->id, method, params);
	if (r->is_silent && timeout_ms > SILENT_TIMEOUT_MS)
		timeout_ms = SILENT_TIMEOUT_MS;
	/* Never answered before this returns: without memory the timer does it. */
	c->deadline_ms = timeout_ms > 0 ? r->ev->now_ms + timeout_ms : UINT64_MAX;
	if (c->line == NULL)
		c->deadline_ms = r->ev->now_ms;
	list_push_back(&r->calls, &c->link);
	timer_set(r->ev, &r->timer, 0);
}

void
rpc_cancel(struct rpc *r, struct rpc_call *c)
{
	ASSERT(!c->cancelled);
	if (c->line != NULL && c->sent == 0) {
		list_remove(&c->link);
		free(c->line);
		c->line = NULL;
		return;
	}
	/* Its answer is still to come: something else takes its place in the list. */
	struct rpc_call *place = calloc(1, sizeof *place);
	if (place == NULL) {
		list_remove(&c->link);
		free(c->line);
		c->line = NULL;
		disconnect(r, -ENOMEM);
		return;
	}
	*place = *c;
	place->cancelled = true;
	list_init(&place->link);
	list_insert_after(&c->link, &place->link);
	list_remove(&c->link);
	c->line = NULL;
}
