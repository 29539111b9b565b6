/* The socket: clients, lines, bounded output. */
#include "ctl/ctl.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

struct client {
	struct list link;
	struct ctl_server *server;
	struct sock *sock;
	struct loop_defer close;
	bool over;
	size_t in_len;
	char *out;
	size_t out_len, out_at;
	char in[CTL_REQUEST_MAX_BYTES];
};

struct ctl_server {
	struct loop *loop;
	const struct ctl_method *methods;
	void *ctx;
	struct sock_listener *listener;
	struct list clients;
	unsigned client_count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void
client_destroy(struct client *c)
{
	list_remove(&c->link);
	c->server->client_count--;
	loop_defer_cancel(&c->close);
	if (c->sock != NULL)
		sock_close(c->sock);
	free(c->out);
	free(c);
}

static void
on_close(struct loop_defer *d)
{
	client_destroy(container_of(d, struct client, close));
}

static void
client_end(struct client *c)
{
	if (c->over)
		return;
	c->over = true;
	sock_close(c->sock);
	c->sock = NULL;
	loop_defer(c->server->loop, &c->close);
}

static void
flush(struct client *c)
{
	while (!c->over && c->out_at < c->out_len) {
		struct iovec iov = {c->out + c->out_at, c->out_len - c->out_at};
		ssize_t n = sock_send(c->sock, &iov, 1);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			client_end(c);
			return;
		}
		c->out_at += (size_t)n;
	}
	c->out_len = c->out_at = 0;
}

/* Appends a line to the output; a client that takes nothing is dropped. */
static void
answer(struct client *c, const char *text)
{
	size_t len = strlen(text);

	if (c->out_len - c->out_at + len + 1 > CTL_OUTPUT_MAX_BYTES) {
		client_end(c);
		return;
	}
	char *out = realloc(c->out, c->out_len + len + 1);
	if (out == NULL) {
		client_end(c);
		return;
	}
	c->out = out;
	memcpy(out + c->out_len, text, len);
	out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	flush(c);
}

static void
handle_lines(struct client *c)
{
	size_t at = 0;
	while (!c->over) {
		const char *nl = memchr(c->in + at, '\n', c->in_len - at);
		if (nl == NULL)
			break;
		size_t len = (size_t)(nl - (c->in + at));
		if (len > 0) {
			char *text =
			    ctl_handle(c->server->methods, c->server->ctx, c->in + at, len);
			if (text != NULL)
				answer(c, text);
			free(text);
		}
		at += len + 1;
	}
	if (c->over)
		return;
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	if (c->in_len == sizeof c->in)
		client_end(c); /* a line that never ends */
}

static void
on_event(void *ctx, unsigned events)
{
	struct client *c = ctx;

	if (!c->over && (events & LOOP_WRITABLE))
		flush(c);
	while (!c->over && (events & LOOP_READABLE)) {
		struct iovec iov = {c->in + c->in_len, sizeof c->in - c->in_len};
		ssize_t n = sock_recv(c->sock, &iov, 1);
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			client_end(c);
			break;
		}
		c->in_len += (size_t)n;
		handle_lines(c);
	}
	if (!c->over && (events & LOOP_HANGUP))
		client_end(c);
}

static void
on_accept(void *ctx, struct sock *sock)
{
	struct ctl_server *s = ctx;
	struct client *c = s->client_count < CTL_CLIENTS_MAX ? malloc(sizeof *c) : NULL;

	if (c == NULL) {
		sock_close(sock);
		return;
	}
	memset(c, 0, offsetof(struct client, in));
	c->server = s;
	c->sock = sock;
	loop_defer_init(&c->close, on_close);
	list_push_back(&s->clients, &c->link);
	s->client_count++;
	sock_set_callback(sock, on_event, c);
}

/*
 * The process that listens at the path; 0: nobody. A process that was killed may keep its socket open
 * for a moment, until the kernel has ended its requests: it doesn't count.
 */
static pid_t
who_listens(const struct sockaddr_un *un)
{
	struct ucred cred = {0};
	socklen_t len = sizeof cred;
	pid_t pid = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return 0;
	if (connect(fd, (const struct sockaddr *)un, sizeof *un) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	    (kill(cred.pid, 0) == 0 || errno == EPERM))
		pid = cred.pid;
	close(fd);
	return pid;
}

static int
listen_at(struct ctl_server *s, const struct sockaddr_un *un, char *reason, size_t cap)
{
	struct stat st;
	pid_t pid = who_listens(un);

	if (pid != 0) {
		snprintf(reason, cap,
		    "process %d listens on the control socket %s: stop it, or choose another with "
		    "--control",
		    (int)pid, s->path);
		return -EADDRINUSE;
	}
	if (lstat(s->path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		snprintf(reason, cap,
		    "%s exists and is no socket: choose another path with --control", s->path);
		return -EEXIST;
	}
	(void)unlink(s->path);
	mode_t old = umask(0117); /* 0660: nobody else can connect, not even for a moment */
	int rc = sock_listen(
	    s->loop, (const struct sockaddr *)un, sizeof *un, on_accept, s, &s->listener);
	umask(old);
	if (rc < 0) {
		snprintf(
		    reason, cap, "can't create the control socket %s: %s", s->path, strerror(-rc));
		return rc;
	}
	const struct group *g = getgrnam("terrace");
	if (g != NULL && geteuid() == 0)
		(void)!chown(s->path, (uid_t)-1, g->gr_gid);
	return 0;
}

int
ctl_server_create(struct loop *l, const char *path, const struct ctl_method *methods, void *ctx,
    struct ctl_server **ret, char *reason, size_t reason_cap)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof un.sun_path) {
		snprintf(reason, reason_cap,
		    "the path of the control socket is longer than %zu bytes: %s; choose another "
		    "with --control",
		    sizeof un.sun_path - 1, path);
		return -ENAMETOOLONG;
	}
	struct ctl_server *s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->loop = l;
	s->methods = methods;
	s->ctx = ctx;
	list_init(&s->clients);
	strcpy(s->path, path);
	strcpy(un.sun_path, path);
	int rc = listen_at(s, &un, reason, reason_cap);
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
		client_destroy(container_of(s->clients.next, struct client, link));
	sock_listener_close(s->listener);
	(void)unlink(s->path);
	free(s);
}
