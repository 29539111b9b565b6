/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Simulated sockets. Bytes of one direction arrive in order, each piece after a delay of its own;
 * what was sent and not yet read is bounded by a window, so senders meet -EAGAIN as with a kernel.
 * Callbacks come with arrivals only (edges): whoever stops early hears nothing more by itself.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "loop/sim_priv.h"

#define WINDOW_BYTES_DEFAULT ((size_t)256 * 1024)
#define WINDOW_BYTES_MIN ((size_t)4096)

struct sim_conn;

/* One end of a connection: what the loop's user holds as a struct sock. */
struct sim_end {
	struct sock sock; /* first */
	struct sim_conn *conn;
	struct sockaddr_storage addr;
	bool open; /* its owner hasn't closed it */
	bool connected;
	bool eof;                 /* the peer's end of data has arrived */
	bool blocked;             /* a send met a full window: tell when there is room */
	int error;                /* -errno, or 0 */
	size_t unread;            /* bytes sent from here that the peer hasn't read */
	size_t window;            /* bound of `unread` */
	uint64_t last_arrival_ns; /* of what was sent from here */
	uint8_t *in;              /* arrived bytes: in[in_head .. in_head + in_len) */
	size_t in_head, in_len, in_cap;
};

struct sim_conn {
	struct list link; /* in world->conns */
	struct loop_sim *world;
	struct sim_end end[2]; /* who connected, who accepted */
	unsigned refs;         /* open ends and events underway */
};

struct sim_listener {
	struct sock_listener sl; /* first */
	struct list link;
	struct sockaddr_storage addr;
};

/* An event at one end. */
struct net_event {
	struct sim_event ev; /* first */
	struct sim_conn *conn;
	struct sim_end *to;
	size_t len;
	uint8_t bytes[];
};

static struct sim_end *
end_of(struct sock *s)
{
	struct sim_end *e = (struct sim_end *)s;
	ASSERT(e->open); /* use after close */
	return e;
}

static struct sim_end *
peer_of(struct sim_end *e)
{
	return e == &e->conn->end[0] ? &e->conn->end[1] : &e->conn->end[0];
}

static void
conn_put(struct sim_conn *c)
{
	ASSERT(c->refs > 0);
	if (--c->refs > 0)
		return;
	list_remove(&c->link);
	free(c->end[0].in);
	free(c->end[1].in);
	free(c);
}

static void
net_event_free(struct net_event *ne)
{
	struct sim_conn *c = ne->conn;
	free(ne);
	conn_put(c);
}

static void
net_event_drop(struct sim_event *e)
{
	net_event_free((struct net_event *)e);
}

static struct net_event *
net_event(struct sim_end *to, enum sim_kind kind, void (*run)(struct sim_event *e), size_t len)
{
	struct net_event *ne = sim_alloc(sizeof *ne + len);
	ne->ev.kind = kind;
	ne->ev.run = run;
	ne->ev.drop = net_event_drop;
	ne->conn = to->conn;
	ne->to = to;
	ne->len = len;
	to->conn->refs++;
	return ne;
}

/* Arrives at the peer of `from` behind everything sent before. */
static void
send_in_order(struct sim_end *from, struct net_event *ne)
{
	struct loop_sim *w = from->conn->world;
	uint64_t at = sim_later(w, w->cfg.net_delay_us_max);
	if (at < from->last_arrival_ns)
		at = from->last_arrival_ns;
	from->last_arrival_ns = at;
	sim_schedule(w, &ne->ev, at);
}

/* Calls the owner back, if it listens. */
static void
notify(struct sim_end *e, unsigned events)
{
	if (!e->open || !e->sock.loop || !e->sock.event || events == 0)
		return;
	struct loop *l = e->sock.loop;
	sim_enter(l);
	e->sock.event(e->sock.ctx, events);
	sim_leave(l);
}

static void
trace_end(const struct net_event *ne)
{
	const struct sim_end *to = ne->to;
	sim_trace(ne->conn->world, ne->ev.kind, to == &ne->conn->end[1],
	    (uint64_t)ne->len << 8 | (to->sock.loop ? to->sock.loop->id : 0xff));
}

/* ---- events ---- */

static void
on_notify(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	struct sim_end *e = ne->to;
	trace_end(ne);
	unsigned events = 0;
	if (e->in_len > 0 || e->eof || e->error)
		events |= LOOP_READABLE;
	if (e->error || (e->connected && e->unread < e->window))
		events |= LOOP_WRITABLE;
	if (e->error)
		events |= LOOP_HANGUP;
	notify(e, events);
	net_event_free(ne);
}

static void
on_space(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	trace_end(ne);
	notify(ne->to, LOOP_WRITABLE);
	net_event_free(ne);
}

static void
on_reset(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	struct sim_end *e = ne->to;
	trace_end(ne);
	if (!e->error) {
		e->error = -ECONNRESET;
		notify(e, LOOP_READABLE | LOOP_WRITABLE | LOOP_HANGUP);
	}
	net_event_free(ne);
}

static void
send_reset(struct sim_end *to, uint64_t at_ns)
{
	sim_schedule(to->conn->world, &net_event(to, SIM_RESET, on_reset, 0)->ev, at_ns);
}

static void
on_end(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	trace_end(ne);
	if (!ne->to->error) {
		ne->to->eof = true;
		notify(ne->to, LOOP_READABLE);
	}
	net_event_free(ne);
}

static void
in_append(struct sim_end *e, const uint8_t *bytes, size_t len)
{
	if (e->in_head + e->in_len + len > e->in_cap) {
		if (e->in_head > 0)
			memmove(e->in, e->in + e->in_head, e->in_len);
		e->in_head = 0;
		if (e->in_len + len > e->in_cap) {
			e->in_cap = (e->in_len + len) * 2;
			e->in = realloc(e->in, e->in_cap);
			ASSERT(e->in);
		}
	}
	memcpy(e->in + e->in_head + e->in_len, bytes, len);
	e->in_len += len;
}

static void
on_data(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	struct sim_end *e = ne->to;
	trace_end(ne);
	if (!e->open) {
		/* Nobody reads it any more: TCP answers with a reset. */
		struct loop_sim *w = ne->conn->world;
		if (peer_of(e)->open)
			send_reset(peer_of(e), sim_later(w, w->cfg.net_delay_us_max));
	} else if (!e->error) {
		in_append(e, ne->bytes, ne->len);
		notify(e, LOOP_READABLE);
	}
	net_event_free(ne);
}

static void
on_connected(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	trace_end(ne);
	if (!ne->to->error) {
		ne->to->connected = true;
		notify(ne->to, LOOP_WRITABLE);
	}
	net_event_free(ne);
}

/* ---- addresses ---- */

/* The address as we keep it: unused bytes zero. 0 or -errno. */
static int
copy_addr(const struct sockaddr *addr, socklen_t len, struct sockaddr_storage *ret)
{
	size_t need;
	switch (addr->sa_family) {
	case AF_INET:
		need = sizeof(struct sockaddr_in);
		break;
	case AF_INET6:
		need = sizeof(struct sockaddr_in6);
		break;
	case AF_UNIX:
		need = offsetof(struct sockaddr_un, sun_path) + 1;
		break;
	default:
		return -EAFNOSUPPORT;
	}
	if (len < need || len > sizeof *ret)
		return -EINVAL;
	memset(ret, 0, sizeof *ret);
	memcpy(ret, addr, len);
	if (addr->sa_family == AF_INET)
		memset(((struct sockaddr_in *)ret)->sin_zero, 0,
		    sizeof((struct sockaddr_in *)ret)->sin_zero);
	return 0;
}

static in_port_t *
port_of(struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return &((struct sockaddr_in *)a)->sin_port;
	if (a->ss_family == AF_INET6)
		return &((struct sockaddr_in6 *)a)->sin6_port;
	return NULL;
}

/* `own` is what someone listens at, perhaps at all addresses of the machine. */
static bool
addr_accepts(const struct sockaddr_storage *own, const struct sockaddr_storage *to)
{
	if (own->ss_family != to->ss_family)
		return false;
	if (own->ss_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)own, *b = (const void *)to;
		return a->sin_port == b->sin_port && (a->sin_addr.s_addr == b->sin_addr.s_addr ||
		                                         a->sin_addr.s_addr == htonl(INADDR_ANY));
	}
	if (own->ss_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)own, *b = (const void *)to;
		return a->sin6_port == b->sin6_port &&
		       (IN6_ARE_ADDR_EQUAL(&a->sin6_addr, &b->sin6_addr) ||
		           IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr));
	}
	return memcmp(own, to, sizeof *own) == 0;
}

static struct sim_listener *
find_listener(struct loop_sim *w, const struct sockaddr_storage *to)
{
	LIST_FOREACH (pos, &w->listeners) {
		struct sim_listener *sl = container_of(pos, struct sim_listener, link);
		if (addr_accepts(&sl->addr, to))
			return sl;
	}
	return NULL;
}

/* ---- listening and connecting ---- */

static int
sim_listen(struct loop *l, const struct sockaddr *addr, socklen_t addr_len,
    sock_accept_fn *accepted, void *ctx, struct sock_listener **ret)
{
	struct loop_sim *w = sim_world(l);
	struct sockaddr_storage a;
	int r = copy_addr(addr, addr_len, &a);
	if (r < 0)
		return r;
	in_port_t *port = port_of(&a);
	if (port && *port == 0)
		*port = htons(w->next_port++);
	if (find_listener(w, &a))
		return -EADDRINUSE;
	struct sim_listener *sl = sim_alloc(sizeof *sl);
	*sl = (struct sim_listener){
	    .sl = {.loop = l, .ops = &loop_sim_net_ops, .accepted = accepted, .ctx = ctx},
	    .addr = a,
	};
	list_push_back(&w->listeners, &sl->link);
	*ret = &sl->sl;
	return 0;
}

static void
sim_listener_addr(const struct sock_listener *sl, struct sockaddr_storage *ret)
{
	*ret = ((const struct sim_listener *)sl)->addr;
}

static void
sim_listener_close(struct sock_listener *psl)
{
	struct sim_listener *sl = (struct sim_listener *)psl;
	list_remove(&sl->link);
	free(sl);
}

static void
end_init(struct sim_conn *c, struct sim_end *e)
{
	e->sock.ops = &loop_sim_net_ops;
	e->conn = c;
	e->window = WINDOW_BYTES_DEFAULT;
}

/* The connection request arrives where it was meant for. */
static void
on_connect(struct sim_event *ev)
{
	struct net_event *ne = (struct net_event *)ev;
	struct sim_conn *c = ne->conn;
	struct sim_end *client = &c->end[0], *server = &c->end[1];
	trace_end(ne);
	const struct sim_listener *sl = find_listener(c->world, &server->addr);
	if (!client->open) {
		/* closed meanwhile */
	} else if (!sl) {
		client->error = -ECONNREFUSED;
		notify(client, LOOP_READABLE | LOOP_WRITABLE | LOOP_HANGUP);
	} else {
		server->sock.loop = sl->sl.loop;
		server->open = server->connected = true;
		c->refs++;
		send_in_order(server, net_event(client, SIM_CONNECT, on_connected, 0));
		/* The callback may close the listener. */
		struct loop *l = sl->sl.loop;
		sim_enter(l);
		sl->sl.accepted(sl->sl.ctx, &server->sock);
		sim_leave(l);
	}
	net_event_free(ne);
}

static int
sim_connect(struct loop *l, const struct sockaddr *addr, socklen_t addr_len, struct sock **ret)
{
	struct loop_sim *w = sim_world(l);
	struct sockaddr_storage to;
	int r = copy_addr(addr, addr_len, &to);
	if (r < 0)
		return r;
	struct sim_conn *c = sim_alloc(sizeof *c);
	c->world = w;
	list_push_back(&w->conns, &c->link);
	end_init(c, &c->end[0]);
	end_init(c, &c->end[1]);
	c->end[0].sock.loop = l;
	c->end[0].open = true;
	c->refs = 1;
	c->end[1].addr = to;
	/* Our own address: the peer's machine, a port of our own. */
	c->end[0].addr = to;
	in_port_t *port = port_of(&c->end[0].addr);
	if (port)
		*port = htons(w->next_port++);
	else
		memset(((struct sockaddr_un *)&c->end[0].addr)->sun_path, 0,
		    sizeof((struct sockaddr_un *)&c->end[0].addr)->sun_path);
	send_in_order(&c->end[0], net_event(&c->end[1], SIM_CONNECT, on_connect, 0));
	*ret = &c->end[0].sock;
	return 0;
}

/* ---- one socket ---- */

static void
sim_set_callback(struct sock *s)
{
	struct sim_end *e = end_of(s);
	if (!s->event)
		return;
	struct loop_sim *w = e->conn->world;
	sim_schedule(w, &net_event(e, SIM_NOTIFY, on_notify, 0)->ev, sim_later(w, 1));
}

static size_t
iov_total(const struct iovec *iov, unsigned iovcnt)
{
	size_t n = 0;
	for (unsigned i = 0; i < iovcnt; i++)
		n += iov[i].iov_len;
	return n;
}

/* At most `n`, and what the world lets pass in one call. */
static size_t
limit_chunk(struct loop_sim *w, size_t n)
{
	if (w->cfg.net_chunk_max_bytes == 0 || n == 0)
		return n;
	size_t chunk = 1 + (size_t)sim_below(w, w->cfg.net_chunk_max_bytes);
	return n < chunk ? n : chunk;
}

static ssize_t
sim_recv(struct sock *s, const struct iovec *iov, unsigned iovcnt)
{
	struct sim_end *e = end_of(s), *peer = peer_of(e);
	struct loop_sim *w = e->conn->world;
	if (e->in_len == 0)
		return e->error ? e->error : e->eof ? 0 : -EAGAIN;
	size_t n = iov_total(iov, iovcnt);
	n = limit_chunk(w, n < e->in_len ? n : e->in_len);
	size_t done = 0;
	for (unsigned i = 0; done < n; i++) {
		size_t part = iov[i].iov_len < n - done ? iov[i].iov_len : n - done;
		memcpy(iov[i].iov_base, e->in + e->in_head + done, part);
		done += part;
	}
	e->in_head += n;
	e->in_len -= n;
	ASSERT(peer->unread >= n);
	peer->unread -= n;
	if (peer->blocked && peer->open) {
		peer->blocked = false;
		sim_schedule(w, &net_event(peer, SIM_SPACE, on_space, 0)->ev,
		    sim_later(w, w->cfg.net_delay_us_max));
	}
	return (ssize_t)n;
}

static ssize_t
sim_send_bytes(struct sock *s, const struct iovec *iov, unsigned iovcnt)
{
	struct sim_end *e = end_of(s);
	if (e->error)
		return e->error == -ECONNRESET ? -EPIPE : e->error;
	size_t room = e->connected && e->unread < e->window ? e->window - e->unread : 0;
	if (room == 0) {
		e->blocked = true;
		return -EAGAIN;
	}
	size_t n = iov_total(iov, iovcnt);
	n = limit_chunk(e->conn->world, n < room ? n : room);
	if (n == 0)
		return 0;
	struct net_event *ne = net_event(peer_of(e), SIM_DATA, on_data, n);
	size_t done = 0;
	for (unsigned i = 0; done < n; i++) {
		size_t part = iov[i].iov_len < n - done ? iov[i].iov_len : n - done;
		memcpy(ne->bytes + done, iov[i].iov_base, part);
		done += part;
	}
	e->unread += n;
	send_in_order(e, ne);
	return (ssize_t)n;
}

static void
sim_close(struct sock *s, bool abort)
{
	struct sim_end *e = end_of(s), *peer = peer_of(e);
	struct sim_conn *c = e->conn;
	e->open = false;
	if (peer->open && !e->error) {
		if (abort) /* may overtake what is underway */
			send_reset(peer, sim_later(c->world, c->world->cfg.net_delay_us_max));
		else if (e->in_len > 0) /* data nobody read: TCP resets */
			send_in_order(e, net_event(peer, SIM_RESET, on_reset, 0));
		else
			send_in_order(e, net_event(peer, SIM_END, on_end, 0));
	}
	conn_put(c);
}

static void
sim_addr(const struct sock *s, bool peer, struct sockaddr_storage *ret)
{
	const struct sim_end *e = (const struct sim_end *)s;
	const struct sim_conn *c = e->conn;
	*ret = (e == &c->end[0]) != peer ? c->end[0].addr : c->end[1].addr;
}

static void
sim_set_buffers(struct sock *s, int snd_bytes, int rcv_bytes)
{
	/* One window stands for both buffers of a direction. */
	(void)rcv_bytes;
	if (snd_bytes > 0) {
		size_t n = (size_t)snd_bytes;
		end_of(s)->window = n > WINDOW_BYTES_MIN ? n : WINDOW_BYTES_MIN;
	}
}

static void
sim_detach(struct sock *s)
{
	(void)end_of(s);
}

static void
sim_attach(struct sock *s)
{
	(void)end_of(s);
}

static int
sim_error(struct sock *s)
{
	return end_of(s)->error;
}

void
loop_sim_sock_reset(struct sock *s)
{
	struct sim_end *e = end_of(s), *peer = peer_of(e);
	uint64_t at = e->conn->world->now_ns + 1;
	send_reset(e, at);
	if (peer->open)
		send_reset(peer, at);
}

/* Descriptors of the kernel have no place in a world where only the seed decides. */
static int
sim_from_fd(struct loop *l, int fd, struct sock **ret)
{
	(void)l;
	(void)fd;
	(void)ret;
	return -EOPNOTSUPP;
}

static int
sim_watch_start(struct loop_watch *w)
{
	(void)w;
	return -EOPNOTSUPP;
}

static void
sim_watch_stop(struct loop_watch *w)
{
	ASSERT(!w->priv);
}

void
sim_net_fini(struct loop_sim *w)
{
	for (struct list *n; (n = list_pop_front(&w->listeners));)
		free(container_of(n, struct sim_listener, link));
	LIST_FOREACH_SAFE (pos, &w->conns) {
		struct sim_conn *c = container_of(pos, struct sim_conn, link);
		c->refs = 1;
		conn_put(c);
	}
}

const struct loop_net_ops loop_sim_net_ops = {
    .listen = sim_listen,
    .listener_addr = sim_listener_addr,
    .listener_close = sim_listener_close,
    .from_fd = sim_from_fd,
    .connect = sim_connect,
    .watch_start = sim_watch_start,
    .watch_stop = sim_watch_stop,
    .set_callback = sim_set_callback,
    .recv = sim_recv,
    .send = sim_send_bytes,
    .close = sim_close,
    .addr = sim_addr,
    .set_buffers = sim_set_buffers,
    .detach = sim_detach,
    .attach = sim_attach,
    .error = sim_error,
};
