/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets of the kernel: plain non-blocking calls, readiness from loop_poll.
 *
 * A poll holds a reference to its socket until the kernel has forgotten it, which is after close():
 * so a socket is shut down (or reset) before it is closed, for the peer to hear of it at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop/loop_priv.h"

#define BACKLOG 1024
#define ACCEPTS_PER_EVENT_MAX 64u
#define ACCEPT_PAUSE_NS 100000000ull

/* A peer that vanished is noticed within 30 + 3 × 10 s. */
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_COUNT 3

struct ksock {
	struct sock sock; /* first */
	int fd;
	struct loop_poll *poll; /* from the first callback on */
};

struct klistener {
	struct sock_listener sl; /* first */
	int fd;
	struct loop_poll *poll;
	struct loop_timer pause; /* after running out of descriptors */
	struct loop_defer go_on; /* more connections wait than one event takes */
	bool accepting, closed;  /* closed within `accepted`: freed when that returns */
};

/* A public type is the first member of ours. */
_Static_assert(offsetof(struct ksock, sock) == 0, "cast");
_Static_assert(offsetof(struct klistener, sl) == 0, "cast");

static const struct ksock *
ksock_of_const(const struct sock *s)
{
	return (const struct ksock *)s;
}

static struct ksock *
ksock_of(struct sock *s)
{
	return (struct ksock *)s;
}

static void
set_int(int fd, int level, int opt, int value)
{
	/* Only improvements, and not all are known to AF_UNIX. */
	(void)setsockopt(fd, level, opt, &value, sizeof value);
}

/* Takes `fd`, which is non-blocking. 0 or -ENOMEM, then fd is the caller's. */
static int
ksock_create(struct loop *l, int fd, struct sock **ret)
{
	struct ksock *k = malloc(sizeof *k);
	if (!k)
		return -ENOMEM;
	*k = (struct ksock){.sock = {.loop = l, .ops = &loop_kernel_net_ops}, .fd = fd};
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
	*ret = &k->sock;
	return 0;
}

/* ---- one socket ---- */

#define SOCK_MASK (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

static void
on_sock_poll(struct loop_poll *p, uint32_t events)
{
	struct ksock *k = p->ctx;
	if (!k->sock.event)
		return;
	unsigned ev = 0;
	if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP))
		k->sock.peer_closed = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
		ev |= LOOP_READABLE;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		ev |= LOOP_WRITABLE;
	if (events & (EPOLLERR | EPOLLHUP))
		ev |= LOOP_HANGUP;
	k->sock.event(k->sock.ctx, ev);
}

static void
ksock_set_callback(struct sock *s)
{
	struct ksock *k = ksock_of(s);
	if (!s->event)
		return;
	if (k->poll) {
		/* Edges may have gone by without a callback. */
		uint32_t now = loop_poll_now(k->fd, SOCK_MASK);
		if (now)
			loop_poll_event(k->poll, now);
		return;
	}
	/* Arming reports what is ready already. When there is no memory for a watch the connection
	 * is lost: the owner gets an error from the socket in due course. */
	int r = loop_poll_start(s->loop, k->fd, SOCK_MASK, on_sock_poll, k, &k->poll);
	if (r < 0)
		shutdown(k->fd, SHUT_RDWR);
}

static ssize_t
ksock_recv(struct sock *s, const struct iovec *iov, unsigned iovcnt)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = iovcnt};
	ssize_t n;
	do
		n = recvmsg(ksock_of(s)->fd, &m, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t
ksock_send(struct sock *s, const struct iovec *iov, unsigned iovcnt)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = iovcnt};
	ssize_t n;
	do
		n = sendmsg(ksock_of(s)->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void
stop_poll(struct ksock *k)
{
	if (k->poll)
		loop_poll_stop(k->poll);
	k->poll = NULL;
}

static void
ksock_close(struct sock *s, bool abort)
{
	struct ksock *k = ksock_of(s);
	stop_poll(k);
	if (abort) {
		/* Disconnecting an established TCP socket sends the reset now. */
		const struct linger lg = {.l_onoff = 1, .l_linger = 0};
		(void)setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
		const struct sockaddr none = {.sa_family = AF_UNSPEC};
		(void)connect(k->fd, &none, sizeof none);
	}
	(void)shutdown(k->fd, SHUT_RDWR);
	close(k->fd);
	free(k);
}

static void
ksock_addr(const struct sock *s, bool peer, struct sockaddr_storage *ret)
{
	socklen_t len = sizeof *ret;
	memset(ret, 0, sizeof *ret);
	int fd = ksock_of_const(s)->fd;
	int r = peer ? getpeername(fd, (struct sockaddr *)ret, &len)
	             : getsockname(fd, (struct sockaddr *)ret, &len);
	/* A connection that is gone has no peer any more: AF_UNSPEC. */
	if (r < 0)
		memset(ret, 0, sizeof *ret);
}

static int
ksock_peer_process(const struct sock *s, struct sock_process *ret)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	if (getsockopt(ksock_of_const(s)->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	if (cred.pid == 0 && cred.uid == (uid_t)-1) /* what other families answer */
		return -EOPNOTSUPP;
	*ret = (struct sock_process){cred.uid, cred.gid, cred.pid};
	return 0;
}

static bool
ksock_peer_in_group(const struct sock *s, gid_t gid)
{
	struct sock_process process;
	socklen_t len = 0;
	gid_t *groups = NULL;
	bool found = false;

	if (ksock_peer_process(s, &process) < 0)
		return false;
	if (process.gid == gid)
		return true;
	/* Asked with no room the kernel says how much it needs. */
	int fd = ksock_of_const(s)->fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) < 0 && errno == ERANGE)
		groups = malloc(len);
	if (groups != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0)
		for (size_t i = 0; i < len / sizeof *groups; i++)
			found |= groups[i] == gid;
	free(groups);
	return found;
}

static void
ksock_set_buffers(struct sock *s, int snd_bytes, int rcv_bytes)
{
	if (snd_bytes > 0)
		set_int(ksock_of(s)->fd, SOL_SOCKET, SO_SNDBUF, snd_bytes);
	if (rcv_bytes > 0)
		set_int(ksock_of(s)->fd, SOL_SOCKET, SO_RCVBUF, rcv_bytes);
}

static void
ksock_detach(struct sock *s)
{
	stop_poll(ksock_of(s));
}

static void
ksock_attach(struct sock *s)
{
	(void)s; /* the first callback arms */
}

static int
ksock_error(struct sock *s)
{
	int err = 0;
	socklen_t len = sizeof err;
	if (getsockopt(ksock_of(s)->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

static int
ksock_from_fd(struct loop *l, int fd, struct sock **ret)
{
	int fl = fcntl(fd, F_GETFL);
	if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0)
		return -errno;
	return ksock_create(l, fd, ret);
}

static int
ksock_connect(struct loop *l, const struct sockaddr *addr, socklen_t addr_len, struct sock **ret)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = 0;
	if (connect(fd, addr, addr_len) < 0 && errno != EINPROGRESS)
		r = -errno;
	if (r == 0)
		r = ksock_create(l, fd, ret);
	if (r < 0)
		close(fd);
	return r;
}

/* ---- listening ---- */

/* What the new connection's peer or the network did: no concern of the others. */
static bool
is_peer_error(int err)
{
	switch (err) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case EPERM: /* a firewall rule */
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

static void
accept_one(struct klistener *k, int fd)
{
	struct sock *s;
	if (ksock_create(k->sl.loop, fd, &s) < 0) {
		close(fd);
		return;
	}
	k->sl.accepted(k->sl.ctx, s);
}

static void
accept_all(struct klistener *k)
{
	k->accepting = true;
	unsigned n = 0;
	while (!k->closed && n < ACCEPTS_PER_EVENT_MAX) {
		n++;
		int fd = accept4(k->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			accept_one(k, fd);
			continue;
		}
		if (errno == EAGAIN)
			break;
		if (is_peer_error(errno))
			continue;
		/* EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the backlog. */
		loop_timer_set(&k->pause, ACCEPT_PAUSE_NS);
		break;
	}
	k->accepting = false;
	if (k->closed)
		free(k);
	else if (n == ACCEPTS_PER_EVENT_MAX && !loop_timer_armed(&k->pause) &&
	         !loop_defer_queued(&k->go_on))
		loop_next_turn(k->sl.loop, &k->go_on);
}

static void
on_listener_poll(struct loop_poll *p, uint32_t events)
{
	(void)events;
	struct klistener *k = p->ctx;
	if (!loop_timer_armed(&k->pause))
		accept_all(k);
}

static void
on_pause_end(struct loop_timer *t)
{
	accept_all(container_of(t, struct klistener, pause));
}

static void
on_go_on(struct loop_defer *d)
{
	accept_all(container_of(d, struct klistener, go_on));
}

/* A bound, listening socket in *ret_fd. 0 or -errno. */
static int
listening_fd(const struct sockaddr *addr, socklen_t addr_len, int *ret_fd)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (addr->sa_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, addr, addr_len) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int
klistener_create(struct loop *l, const struct sockaddr *addr, socklen_t addr_len,
    sock_accept_fn *accepted, void *ctx, struct sock_listener **ret)
{
	struct klistener *k = malloc(sizeof *k);
	if (!k)
		return -ENOMEM;
	*k = (struct klistener){
	    .sl = {.loop = l, .ops = &loop_kernel_net_ops, .accepted = accepted, .ctx = ctx},
	    .fd = -1,
	};
	loop_timer_init(&k->pause, l, on_pause_end);
	loop_defer_init(&k->go_on, on_go_on);
	int r = listening_fd(addr, addr_len, &k->fd);
	if (r < 0)
		goto err_free;
	r = loop_poll_start(l, k->fd, EPOLLIN, on_listener_poll, k, &k->poll);
	if (r < 0)
		goto err_close;
	*ret = &k->sl;
	return 0;

err_close:
	close(k->fd);
err_free:
	free(k);
	return r;
}

static void
klistener_addr(const struct sock_listener *sl, struct sockaddr_storage *ret)
{
	const struct klistener *k = (const struct klistener *)sl;
	socklen_t len = sizeof *ret;
	memset(ret, 0, sizeof *ret);
	int r = getsockname(k->fd, (struct sockaddr *)ret, &len);
	ASSERT(r == 0);
}

static void
klistener_close(struct sock_listener *sl)
{
	struct klistener *k = (struct klistener *)sl;
	ASSERT(!k->closed);
	loop_timer_cancel(&k->pause);
	loop_defer_cancel(&k->go_on);
	loop_poll_stop(k->poll);
	(void)shutdown(k->fd, SHUT_RDWR); /* the port is free at once */
	close(k->fd);
	k->closed = true;
	if (!k->accepting)
		free(k);
}

/* ---- other descriptors ---- */

static void
on_watch_poll(struct loop_poll *p, uint32_t events)
{
	(void)events;
	struct loop_watch *w = p->ctx;
	/* An edge may be stale by now, and the descriptor may be a blocking one. */
	if (!loop_poll_now(p->fd, EPOLLIN))
		return;
	w->readable(w);
	/* `w` may be gone; `p` isn't before the end of the turn. Level-like: look again. */
	if (!p->stopped && loop_poll_now(p->fd, EPOLLIN))
		loop_poll_event(p, EPOLLIN);
}

static int
kwatch_start(struct loop_watch *w)
{
	struct loop_poll *p;
	int r = loop_poll_start(w->loop, w->fd, EPOLLIN, on_watch_poll, w, &p);
	if (r == 0)
		w->priv = p;
	return r;
}

static void
kwatch_stop(struct loop_watch *w)
{
	loop_poll_stop(w->priv);
	w->priv = NULL;
}

const struct loop_net_ops loop_kernel_net_ops = {
    .short_is_empty = true,
    .listen = klistener_create,
    .listener_addr = klistener_addr,
    .listener_close = klistener_close,
    .from_fd = ksock_from_fd,
    .connect = ksock_connect,
    .watch_start = kwatch_start,
    .watch_stop = kwatch_stop,
    .set_callback = ksock_set_callback,
    .recv = ksock_recv,
    .send = ksock_send,
    .close = ksock_close,
    .addr = ksock_addr,
    .set_buffers = ksock_set_buffers,
    .detach = ksock_detach,
    .attach = ksock_attach,
    .error = ksock_error,
    .peer_process = ksock_peer_process,
    .peer_in_group = ksock_peer_in_group,
};
