/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket: clients, lines, calls under way, bounded output. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/unix_path.h"
#include "ctl/ctl_priv.h"

/* Lines and receives of a client in a turn. */
#define STEPS_PER_TURN 32u
/* Bytes of an answer in a turn. */
#define SEND_PER_TURN ((size_t)256 * 1024)

struct ctl_client {
	struct list link;
	struct ctl_server *server;
	struct sock *sock;
	struct loop_defer again; /* destroy it if it is over, else go on serving */
	uint64_t active_ns;      /* when it last sent something */
	struct ctl_peer peer;
	struct ctl_call *call; /* under way; nothing else of this client is looked at meanwhile */
	bool over;             /* the socket is closed */
	bool last;             /* nothing more is read; it ends when the answer has been taken */
	char *out;             /* the answer that it hasn't taken yet; NULL: none */
	size_t out_len, out_at;
	size_t in_at, in_len; /* in[in_at..in_len) isn't handled yet */
	char in[CTL_REQUEST_MAX_BYTES];
};

struct ctl_server {
	struct loop *loop;
	const struct ctl_method *const *tables;
	void *ctx;
	struct peer_groups groups;
	struct sock_listener *listener;
	struct list clients;
	struct list calls; /* under way, those of clients that went too */
	unsigned call_count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* What the client asked goes on without it. */
static void
leave_call(struct ctl_client *c)
{
	if (c->call == NULL)
		return;
	c->call->gone = true;
	c->call->client = NULL;
	c->call = NULL;
}

static void
client_destroy(struct ctl_client *c)
{
	leave_call(c);
	list_remove(&c->link);
	loop_defer_cancel(&c->again);
	if (c->sock != NULL)
		sock_close(c->sock);
	free(c->out);
	free(c);
}

static void
client_end(struct ctl_client *c)
{
	if (c->over)
		return;
	c->over = true;
	leave_call(c);
	sock_close(c->sock);
	c->sock = NULL;
	loop_defer_cancel(&c->again);
	loop_defer(c->server->loop, &c->again);
}

/* True if nothing is left to send. */
static bool
flush(struct ctl_client *c)
{
	size_t sent = 0;

	while (c->out != NULL) {
		size_t left = c->out_len - c->out_at, room = SEND_PER_TURN - sent;
		struct iovec iov = {c->out + c->out_at, left < room ? left : room};
		if (room == 0) {
			if (!loop_defer_queued(&c->again))
				loop_next_turn(c->server->loop, &c->again);
			return false;
		}
		ssize_t n = sock_send(c->sock, &iov, 1);
		if (n == -EAGAIN)
			return false;
		if (n < 0) {
			client_end(c);
			return false;
		}
		sent += (size_t)n;
		c->out_at += (size_t)n;
		if (c->out_at == c->out_len) {
			free(c->out);
			c->out = NULL;
		}
	}
	return true;
}

/* Takes `text`; its NUL becomes the end of the line. */
static void
answer(struct ctl_client *c, char *text)
{
	ASSERT(c->out == NULL);
	c->out = text;
	c->out_at = 0;
	c->out_len = strlen(text);
	text[c->out_len++] = '\n';
}

/* A call under way has its answer. */
static void
on_call_answered(struct ctl_call *call, char *text)
{
	struct ctl_server *s = call->server;
	struct ctl_client *c = call->client;

	list_remove(&call->link);
	s->call_count--;
	if (c == NULL) {
		free(text);
		return;
	}
	ASSERT(c->call == call);
	c->call = NULL;
	c->active_ns = loop_now_ns(s->loop);
	if (text != NULL)
		answer(c, text);
	if (!loop_defer_queued(&c->again))
		loop_defer(s->loop, &c->again);
}

static char *
handle(struct ctl_client *c, const char *line, size_t len)
{
	struct ctl_server *s = c->server;
	const struct rpc_env env = {.tables = s->tables,
	    .ctx = s->ctx,
	    .peer = &c->peer,
	    .groups = &s->groups,
	    .full = s->call_count >= CTL_CALLS_MAX};
	struct ctl_call *call = NULL;

	char *text = rpc_handle(&env, line, len, &call);
	if (call != NULL) {
		call->server = s;
		call->client = c;
		call->deliver = on_call_answered;
		list_push_back(&s->calls, &call->link);
		s->call_count++;
		c->call = call;
	}
	return text;
}

/* Handles a line if there is a whole one. Who may nothing hears so once. */
static bool
handle_line(struct ctl_client *c)
{
	const char *line = c->in + c->in_at;
	const char *nl = memchr(line, '\n', c->in_len - c->in_at);
	if (nl == NULL)
		return false;
	size_t len = (size_t)(nl - line);
	c->in_at += len + 1;
	if (len == 0)
		return true;
	char *text = handle(c, line, len);
	if (text != NULL)
		answer(c, text);
	c->last = c->last || !c->peer.may_read;
	return true;
}

/* False: nothing more to read now. */
static bool
receive(struct ctl_client *c)
{
	memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
	c->in_len -= c->in_at;
	c->in_at = 0;
	if (c->in_len == sizeof c->in) {
		char *text = ctl_error_text(CTL_PARSE_ERROR,
		    "a request is one line of less than 64 KiB; this connection ends");
		if (text != NULL)
			answer(c, text);
		c->last = true;
		return true;
	}
	struct iovec iov = {c->in + c->in_len, sizeof c->in - c->in_len};
	ssize_t n = sock_recv(c->sock, &iov, 1);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		client_end(c);
	} else if (n == 0) {
		c->last = true; /* half a line is no request */
	} else {
		c->active_ns = loop_now_ns(c->server->loop);
		c->in_len += (size_t)n;
	}
	return true;
}

/*
 * One request at a time: the next request is looked at when the last answer has been taken, so that a
 * client that doesn't read holds one answer and no more. What exceeds a turn's share waits for the
 * next turn: this loop serves initiators as well.
 */
static void
serve(struct ctl_client *c)
{
	unsigned steps = 0;

	while (!c->over && flush(c) && c->call == NULL) {
		if (c->last) {
			client_end(c);
		} else if (steps++ == STEPS_PER_TURN) {
			if (!loop_defer_queued(&c->again))
				loop_next_turn(c->server->loop, &c->again);
			return;
		} else if (!handle_line(c) && !receive(c)) {
			return;
		}
	}
}

static void
on_again(struct loop_defer *d)
{
	struct ctl_client *c = container_of(d, struct ctl_client, again);
	if (c->over)
		client_destroy(c);
	else
		serve(c);
}

static void
on_event(void *ctx, unsigned events)
{
	struct ctl_client *c = ctx;

	serve(c);
	if (!c->over && (events & LOOP_HANGUP) && !loop_defer_queued(&c->again))
		client_end(c);
}

/*
 * One more of its kind (those who may something, those who may nothing) makes the one go that has
 * been silent longest; who waits for an answer isn't silent, unless all do.
 */
static void
make_room(struct ctl_server *s, bool stranger)
{
	unsigned count = 0;
	struct ctl_client *oldest = NULL;

	LIST_FOREACH (n, &s->clients) {
		struct ctl_client *c = container_of(n, struct ctl_client, link);
		if (c->peer.may_read == stranger)
			continue;
		count++;
		if (oldest == NULL || (oldest->call != NULL && c->call == NULL) ||
		    ((oldest->call != NULL) == (c->call != NULL) &&
		        c->active_ns < oldest->active_ns))
			oldest = c;
	}
	if (count >= (stranger ? CTL_STRANGERS_MAX : CTL_CLIENTS_MAX))
		client_destroy(oldest);
}

static void
on_accept(void *ctx, struct sock *sock)
{
	struct ctl_server *s = ctx;
	struct ctl_client *c = malloc(sizeof *c);

	if (c == NULL) {
		sock_close(sock);
		return;
	}
	memset(c, 0, offsetof(struct ctl_client, in));
	peer_identify(sock, &s->groups, &c->peer);
	make_room(s, !c->peer.may_read);
	c->server = s;
	c->sock = sock;
	c->active_ns = loop_now_ns(s->loop);
	loop_defer_init(&c->again, on_again);
	list_push_back(&s->clients, &c->link);
	sock_set_callback(sock, on_event, c);
}

static int
listen_at(struct ctl_server *s, const struct sockaddr_un *un, char *reason, size_t cap)
{
	/* From its first moment; rights of those who connect come from who they are. */
	mode_t old = umask(geteuid() == 0 ? 0111 : 0177);
	int rc = sock_listen(
	    s->loop, (const struct sockaddr *)un, sizeof *un, on_accept, s, &s->listener);
	umask(old);
	if (rc < 0) {
		snprintf(
		    reason, cap, "can't create the control socket %s: %s", s->path, strerror(-rc));
	}
	return rc;
}

int
ctl_server_create(struct loop *l, const struct ctl_server_args *args, struct ctl_server **ret,
    char *reason, size_t reason_cap)
{
	static const struct unix_path_name name = {"control socket", "--control"};
	struct sockaddr_un un;

	int rc = unix_path_take(args->path, &name, &un, reason, reason_cap);
	if (rc < 0)
		return rc;
	struct ctl_server *s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->loop = l;
	s->tables = args->tables;
	s->ctx = args->ctx;
	peer_groups_init(&s->groups, args->change_group, args->read_group);
	list_init(&s->clients);
	list_init(&s->calls);
	strcpy(s->path, args->path);
	rc = listen_at(s, &un, reason, reason_cap);
	if (rc < 0) {
		free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void
ctl_server_destroy(struct ctl_server *s)
{
	if (s == NULL)
		return;
	while (!list_empty(&s->clients))
		client_destroy(container_of(s->clients.next, struct ctl_client, link));
	while (!list_empty(&s->calls)) { /* whoever has them answers them yet */
		struct ctl_call *call = container_of(s->calls.next, struct ctl_call, link);
		list_remove(&call->link);
		call->deliver = NULL;
		call->server = NULL;
	}
	sock_listener_close(s->listener);
	(void)unlink(s->path);
	free(s);
}
