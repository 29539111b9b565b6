/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets and watches: the calls, checked and passed on to the backend. */
#include <errno.h>

#include "loop/loop_priv.h"

void
sock_set_callback(struct sock *s, sock_event_fn *event, void *ctx)
{
	ASSERT(s->loop);
	loop_assert_owner(s->loop);
	s->event = event;
	s->ctx = ctx;
	s->ops->set_callback(s);
}

ssize_t
sock_recv(struct sock *s, const struct iovec *iov, unsigned iovcnt)
{
	ASSERT(s->loop);
	loop_assert_owner(s->loop);
	return s->ops->recv(s, iov, iovcnt);
}

bool
sock_short_is_empty(const struct sock *s)
{
	/* The end of the stream came with data and raises no event of its own. */
	return s->ops->short_is_empty && !s->peer_closed;
}

ssize_t
sock_send(struct sock *s, const struct iovec *iov, unsigned iovcnt)
{
	ASSERT(s->loop);
	loop_assert_owner(s->loop);
	return s->ops->send(s, iov, iovcnt);
}

static void
close_sock(struct sock *s, bool abort)
{
	if (s->loop)
		loop_assert_owner(s->loop);
	s->event = NULL;
	s->ops->close(s, abort);
}

void
sock_close(struct sock *s)
{
	close_sock(s, false);
}

void
sock_close_abort(struct sock *s)
{
	close_sock(s, true);
}

void
sock_peer_addr(const struct sock *s, struct sockaddr_storage *ret)
{
	s->ops->addr(s, true, ret);
}

void
sock_local_addr(const struct sock *s, struct sockaddr_storage *ret)
{
	s->ops->addr(s, false, ret);
}

int
sock_peer_process(const struct sock *s, struct sock_process *ret)
{
	return s->ops->peer_process != NULL ? s->ops->peer_process(s, ret) : -EOPNOTSUPP;
}

bool
sock_peer_in_group(const struct sock *s, gid_t gid)
{
	return s->ops->peer_in_group != NULL && s->ops->peer_in_group(s, gid);
}

void
sock_set_buffers(struct sock *s, int snd_bytes, int rcv_bytes)
{
	s->ops->set_buffers(s, snd_bytes, rcv_bytes);
}

void
sock_detach(struct sock *s)
{
	ASSERT(s->loop);
	loop_assert_owner(s->loop);
	s->event = NULL;
	s->ops->detach(s);
	s->loop = NULL;
}

void
sock_attach(struct sock *s, struct loop *l)
{
	ASSERT(!s->loop);
	ASSERT(s->ops == l->ops->net);
	loop_assert_owner(l);
	s->loop = l;
	s->ops->attach(s);
}

int
sock_error(struct sock *s)
{
	ASSERT(s->loop);
	loop_assert_owner(s->loop);
	return s->ops->error(s);
}

int
sock_listen(struct loop *l, const struct sockaddr *addr, socklen_t addr_len,
    sock_accept_fn *accepted, void *ctx, struct sock_listener **ret)
{
	loop_assert_owner(l);
	ASSERT(accepted);
	return l->ops->net->listen(l, addr, addr_len, accepted, ctx, ret);
}

void
sock_listener_addr(const struct sock_listener *sl, struct sockaddr_storage *ret)
{
	sl->ops->listener_addr(sl, ret);
}

void
sock_listener_close(struct sock_listener *sl)
{
	if (!sl)
		return;
	loop_assert_owner(sl->loop);
	sl->ops->listener_close(sl);
}

int
sock_from_fd(struct loop *l, int fd, struct sock **ret)
{
	loop_assert_owner(l);
	return l->ops->net->from_fd(l, fd, ret);
}

int
sock_connect(struct loop *l, const struct sockaddr *addr, socklen_t addr_len, struct sock **ret)
{
	loop_assert_owner(l);
	return l->ops->net->connect(l, addr, addr_len, ret);
}

int
loop_watch_start(
    struct loop *l, struct loop_watch *w, int fd, void (*readable)(struct loop_watch *w))
{
	loop_assert_owner(l);
	ASSERT(readable);
	*w = (struct loop_watch){.loop = l, .fd = fd, .readable = readable};
	return l->ops->net->watch_start(w);
}

void
loop_watch_stop(struct loop_watch *w)
{
	if (!w->priv)
		return;
	loop_assert_owner(w->loop);
	w->loop->ops->net->watch_stop(w);
}
