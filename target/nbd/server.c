/* SPDX-License-Identifier: BSD-2-Clause */
/* The home loop's part: who connects, negotiation, which loop a connection moves to, how all ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "nbd/nbd_priv.h"

#define NEGOTIATE_STEPS_PER_TURN 32u
#define SHARE_MIN_BYTES 16384u

static void try_ends(struct nbd_server *s);

/* ---- negotiation ------------------------------------------------------------------------------------ */

static void
half_open_leave(struct nbd_conn *c)
{
	struct nbd_server *s = c->server;
	ASSERT(s->half_open_count > 0);
	list_remove(&c->link);
	s->half_open_count--;
	loop_timer_cancel(&c->patience);
	loop_defer_cancel(&c->again);
}

/* The rate is shared among the loops that have connections. */
static void
count_busy(struct nbd_server *s)
{
	unsigned busy = 0;
	for (unsigned i = 0; i < s->loop_count; i++)
		busy += s->loops[i].conns > 0;
	__atomic_store_n(&s->busy_loops, busy, __ATOMIC_RELAXED);
}

/* It ends here; the object is gone. */
static void
half_open_end(struct nbd_conn *c)
{
	half_open_leave(c);
	sock_close(c->sock);
	if (c->nl != NULL)
		c->nl->conns--;
	count_busy(c->server);
	negotiation_fini(c->neg);
	free(c->neg);
	free(c);
}

static void
on_patience(struct loop_timer *t)
{
	half_open_end(container_of(t, struct nbd_conn, patience));
}

/* The loop with the fewest connections; NULL: all are full. */
static struct nbd_loop *
pick_loop(struct nbd_server *s)
{
	struct nbd_loop *best = NULL;
	for (unsigned i = 0; i < s->loop_count; i++)
		if (s->loops[i].conns < NBD_CONNS_PER_LOOP_MAX &&
		    (best == NULL || s->loops[i].conns < best->conns))
			best = &s->loops[i];
	return best;
}

/* To its loop, with what the client has sent since it chose. */
static void
move(struct nbd_conn *c)
{
	struct nbd_server *s = c->server;
	struct negotiation *n = c->neg;

	half_open_leave(c);
	sock_set_callback(c->sock, NULL, NULL);
	sock_detach(c->sock);
	c->in_len = n->in_len - n->in_at;
	memcpy(c->in, n->in + n->in_at, c->in_len);
	negotiation_fini(n);
	free(n);
	c->neg = NULL;
	c->moved = true;
	list_push_back(&s->conns, &c->link);
	s->conn_count++;
	c->start.run = nbd_conn_start;
	loop_send(c->loop, &c->start);
}

/* False: wait for the socket. */
static bool
flush(struct nbd_conn *c, bool *ret_dead)
{
	struct negotiation *n = c->neg;
	while (c->neg_sent < n->out_len) {
		struct iovec iov = {n->out + c->neg_sent, n->out_len - c->neg_sent};
		ssize_t sent = sock_send(c->sock, &iov, 1);
		*ret_dead = sent < 0 && sent != -EAGAIN;
		if (sent < 0)
			return false;
		c->neg_sent += (size_t)sent;
	}
	n->out_len = c->neg_sent = 0;
	return true;
}

/* False: nothing more now, or *ret_dead. */
static bool
receive(struct nbd_conn *c, bool *ret_dead)
{
	struct iovec iov;
	iov.iov_base = negotiation_room(c->neg, &iov.iov_len);
	ASSERT(iov.iov_len > 0);
	ssize_t n = sock_recv(c->sock, &iov, 1);
	*ret_dead = n <= 0 && n != -EAGAIN;
	if (n <= 0)
		return false;
	c->neg->in_len += (size_t)n;
	return true;
}

/* An export was chosen: from now on its blk is used, and the place on a loop taken. */
static void
on_chosen(struct nbd_conn *c)
{
	struct nbd_loop *nl = pick_loop(c->server);
	ASSERT(nl != NULL); /* open_export() has looked */
	nl->conns++;
	count_busy(c->server);
	c->nl = nl;
	c->loop = nl->loop;
	c->chosen = c->neg->chosen;
	c->blk = c->chosen.blk;
	c->may_write = c->chosen.writable;
}

static void
negotiate(struct nbd_conn *c)
{
	bool dead = false;

	for (unsigned steps = 0; steps < NEGOTIATE_STEPS_PER_TURN; steps++) {
		if (c->neg->state == NEGOTIATE_BROKEN) {
			half_open_end(c);
			return;
		}
		if (!flush(c, &dead)) {
			if (dead)
				half_open_end(c);
			return;
		}
		if (c->neg->state == NEGOTIATE_CHOSEN) {
			move(c);
			return;
		}
		if (c->neg->state == NEGOTIATE_ENDED) {
			half_open_end(c);
			return;
		}
		if (!negotiation_step(c->neg) && !receive(c, &dead)) {
			if (dead)
				half_open_end(c);
			return;
		}
		if (c->neg->state == NEGOTIATE_CHOSEN)
			on_chosen(c);
	}
	if (!loop_defer_queued(&c->again))
		loop_next_turn(c->server->home, &c->again);
}

static void
on_again(struct loop_defer *d)
{
	negotiate(container_of(d, struct nbd_conn, again));
}

static void
on_event(void *ctx, unsigned events)
{
	(void)events; /* one that is gone shows in recv */
	negotiate(ctx);
}

/* ---- exports, as negotiation asks for them -------------------------------------------------------------- */

static void
list_exports(void *ctx, bool (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	struct nbd_server *s = ctx;
	s->ops->list(s->ctx, each, each_ctx);
}

static int
open_export(void *ctx, const char *name, struct nbd_export *ret)
{
	struct nbd_server *s = ctx;
	int rc = s->ops->open(s->ctx, name, ret);
	if (rc == 0 && pick_loop(s) == NULL)
		return -EUSERS;
	return rc;
}

static const struct nbd_ops checked_ops = {.list = list_exports, .open = open_export};

/* ---- connections ------------------------------------------------------------------------------------------ */

void
nbd_server_accept(struct nbd_server *s, struct sock *sock)
{
	struct nbd_conn *c = s->stopping ? NULL : calloc(1, sizeof *c);
	struct negotiation *n = c == NULL ? NULL : malloc(sizeof *n);

	if (n == NULL) {
		free(c);
		sock_close(sock);
		return;
	}
	if (s->half_open_count == NBD_HALF_OPEN_MAX)
		half_open_end(container_of(s->half_open.next, struct nbd_conn, link));
	negotiation_init(n, &checked_ops, s);
	c->server = s;
	c->neg = n;
	c->sock = sock;
	c->loop = s->home;
	loop_defer_init(&c->again, on_again);
	loop_timer_init(&c->patience, s->home, on_patience);
	loop_timer_set(&c->patience, NBD_NEGOTIATE_NS);
	list_push_back(&s->half_open, &c->link);
	s->half_open_count++;
	sock_set_callback(sock, on_event, c);
	loop_defer(s->home, &c->again); /* the greeting */
}

static void
on_accept(void *ctx, struct sock *sock)
{
	nbd_server_accept(ctx, sock);
}

static void
end_conn(struct nbd_conn *c)
{
	if (c->end_sent)
		return;
	c->end_sent = true;
	c->end.run = nbd_conn_end;
	loop_send(c->loop, &c->end);
}

void
nbd_server_on_gone(struct loop_msg *m)
{
	struct nbd_conn *c = container_of(m, struct nbd_conn, gone);
	struct nbd_server *s = c->server;

	ASSERT(c->blk != NULL && s->conn_count > 0 && c->nl->conns > 0);
	c->nl->conns--;
	count_busy(s);
	c->blk = NULL;
	if (c->end_sent && !c->end_seen) {
		c->is_gone = true; /* `end` is on its way */
		return;
	}
	list_remove(&c->link);
	s->conn_count--;
	free(c);
	try_ends(s);
}

void
nbd_server_on_end_seen(struct loop_msg *m)
{
	struct nbd_conn *c = container_of(m, struct nbd_conn, end);
	struct nbd_server *s = c->server;

	ASSERT(c->is_gone);
	list_remove(&c->link);
	s->conn_count--;
	free(c);
	try_ends(s);
}

/* ---- ends -------------------------------------------------------------------------------------------------- */

static bool
is_used(const struct nbd_server *s, const struct blk *blk)
{
	LIST_FOREACH (n, &s->conns)
		if (container_of(n, struct nbd_conn, link)->blk == blk)
			return true;
	return false;
}

static void
on_released(struct loop_defer *d)
{
	struct nbd_release *r = container_of(d, struct nbd_release, defer);
	r->done(r->ctx);
}

static void
on_stopped(struct loop_defer *d)
{
	struct nbd_server *s = container_of(d, struct nbd_server, stop_defer);
	void (*stopped)(void *ctx) = s->stopped;
	s->stopped = NULL; /* a blk may be released after it: that is no second end */
	stopped(s->stopped_ctx);
}

/* What waited for connections that are gone. */
static void
try_ends(struct nbd_server *s)
{
	LIST_FOREACH_SAFE (n, &s->releases) {
		struct nbd_release *r = container_of(n, struct nbd_release, link);
		if (is_used(s, r->blk))
			continue;
		list_remove(&r->link);
		loop_defer(s->home, &r->defer);
	}
	if (s->stopping && s->stopped != NULL && s->conn_count == 0 &&
	    !loop_defer_queued(&s->stop_defer)) {
		ASSERT(s->half_open_count == 0);
		loop_defer(s->home, &s->stop_defer);
	}
}

void
nbd_server_release(struct nbd_server *s, const struct blk *blk, struct nbd_release *r,
    void (*done)(void *ctx), void *ctx)
{
	ASSERT(loop_is_current(s->home) && blk != NULL);
	*r = (struct nbd_release){.blk = blk, .done = done, .ctx = ctx};
	loop_defer_init(&r->defer, on_released);
	list_push_back(&s->releases, &r->link);
	LIST_FOREACH_SAFE (n, &s->half_open) {
		struct nbd_conn *c = container_of(n, struct nbd_conn, link);
		if (c->blk == blk)
			half_open_end(c);
	}
	LIST_FOREACH (n, &s->conns) {
		struct nbd_conn *c = container_of(n, struct nbd_conn, link);
		if (c->blk == blk)
			end_conn(c);
	}
	try_ends(s);
}

void
nbd_server_end_writers(struct nbd_server *s, const struct blk *blk)
{
	ASSERT(loop_is_current(s->home));
	LIST_FOREACH_SAFE (n, &s->half_open) {
		struct nbd_conn *c = container_of(n, struct nbd_conn, link);
		if (c->blk != NULL && c->neg->chosen.writable && (blk == NULL || c->blk == blk))
			half_open_end(c);
	}
	LIST_FOREACH (n, &s->conns) {
		struct nbd_conn *c = container_of(n, struct nbd_conn, link);
		if (c->may_write && c->blk != NULL && (blk == NULL || c->blk == blk))
			end_conn(c);
	}
}

unsigned
nbd_server_writer_count(const struct nbd_server *s)
{
	unsigned count = 0;
	LIST_FOREACH (n, &s->half_open) {
		const struct nbd_conn *c = container_of(n, struct nbd_conn, link);
		count += c->blk != NULL && c->neg->chosen.writable;
	}
	LIST_FOREACH (n, &s->conns) {
		const struct nbd_conn *c = container_of(n, struct nbd_conn, link);
		count += c->may_write && c->blk != NULL && !c->end_sent;
	}
	return count;
}

static void
stop_listening(struct nbd_server *s)
{
	sock_listener_close(s->listener);
	s->listener = NULL;
	if (s->path != NULL)
		(void)unlink(s->path);
	free(s->path);
	s->path = NULL;
}

void
nbd_server_stop(struct nbd_server *s, void (*done)(void *ctx), void *ctx)
{
	ASSERT(loop_is_current(s->home) && !s->stopping);
	s->stopping = true;
	s->stopped = done;
	s->stopped_ctx = ctx;
	stop_listening(s);
	while (!list_empty(&s->half_open))
		half_open_end(container_of(s->half_open.next, struct nbd_conn, link));
	LIST_FOREACH (n, &s->conns)
		end_conn(container_of(n, struct nbd_conn, link));
	try_ends(s);
}

/* ---- create, destroy ------------------------------------------------------------------------------------- */

/*
 * A quarter of a loop's buffers, half of it as shares that are always there. A client may hold its share
 * for as long as it likes.
 */
static void
init_loop(const struct nbd_server *s, struct nbd_loop *nl, struct loop *l)
{
	uint64_t half = bufpool_total_bytes(loop_bufpool(l)) / 8;
	uint64_t share = half / NBD_CONNS_PER_LOOP_MAX;
	if (share < SHARE_MIN_BYTES)
		share = SHARE_MIN_BYTES;
	*nl =
	    (struct nbd_loop){.loop = l, .share_bytes = share, .surplus_bytes = half, .server = s};
	nbd_loop_init_turns(nl);
	for (nl->piece_bytes = NBD_PIECE_MAX_BYTES; nl->piece_bytes > share;)
		nl->piece_bytes /= 2;
}

int
nbd_server_create(
    const struct nbd_server_args *args, struct nbd_server **ret, char *reason, size_t reason_cap)
{
	ASSERT(args->loop_count > 0 && args->loop_count <= LOOP_COUNT_MAX);
	struct nbd_server *s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->home = args->loops[0];
	s->ops = args->ops;
	s->ctx = args->ctx;
	s->loop_count = args->loop_count;
	for (unsigned i = 0; i < args->loop_count; i++)
		init_loop(s, &s->loops[i], args->loops[i]);
	list_init(&s->half_open);
	list_init(&s->conns);
	list_init(&s->releases);
	loop_defer_init(&s->stop_defer, on_stopped);
	if (args->path == NULL) {
		*ret = s;
		return 0;
	}
	int rc = -ENOMEM;
	s->path = strdup(args->path);
	if (s->path != NULL)
		rc = nbd_listen(s->home, args->path, args->group, on_accept, s, &s->listener,
		    reason, reason_cap);
	if (rc < 0) {
		free(s->path);
		free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void
nbd_server_destroy(struct nbd_server *s)
{
	if (s == NULL)
		return;
	ASSERT(s->conn_count == 0 && list_empty(&s->releases));
	stop_listening(s);
	free(s);
}

void
nbd_server_set_rate(struct nbd_server *s, uint64_t bytes_s)
{
	__atomic_store_n(&s->rate_bytes_s, bytes_s, __ATOMIC_RELAXED);
}

uint64_t
nbd_server_rate(const struct nbd_server *s)
{
	return __atomic_load_n(&s->rate_bytes_s, __ATOMIC_RELAXED);
}

void
nbd_server_get_stats(const struct nbd_server *s, unsigned loop, struct nbd_stats *ret)
{
	const struct nbd_loop *nl = &s->loops[loop];

	ASSERT(loop < s->loop_count);
	ret->moved_bytes = __atomic_load_n(&nl->moved_bytes, __ATOMIC_RELAXED);
	ret->paused_ns = __atomic_load_n(&nl->paused_ns, __ATOMIC_RELAXED);
}

unsigned
nbd_server_conn_count(const struct nbd_server *s)
{
	return s->conn_count;
}

unsigned
nbd_server_half_open_count(const struct nbd_server *s)
{
	return s->half_open_count;
}
