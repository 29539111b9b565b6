/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection after negotiation: its life on its loop, and what it may hold there. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "nbd/nbd_priv.h"

static_assert(NBD_IN_BYTES >= sizeof((struct negotiation *)0)->in, "the rest of a negotiation");
static_assert(NBD_PIECES_MAX > NBD_DEPTH_MAX, "each request has at least one");

/* ---- what it may hold ---------------------------------------------------------------------------- */

static uint64_t
beyond_share(const struct nbd_conn *c, uint64_t held)
{
	return held > c->nl->share_bytes ? held - c->nl->share_bytes : 0;
}

/* Its share is always there; what is beyond it comes from what the loop's connections have together. */
static bool
charge(struct nbd_conn *c, uint64_t bytes)
{
	uint64_t more = beyond_share(c, c->held_bytes + bytes) - beyond_share(c, c->held_bytes);
	if (more > c->nl->surplus_bytes)
		return false;
	c->nl->surplus_bytes -= more;
	c->held_bytes += bytes;
	return true;
}

static void
uncharge(struct nbd_conn *c, uint64_t bytes)
{
	ASSERT(bytes <= c->held_bytes);
	c->nl->surplus_bytes +=
	    beyond_share(c, c->held_bytes) - beyond_share(c, c->held_bytes - bytes);
	c->held_bytes -= bytes;
}

struct nbd_piece *
nbd_piece_get(struct nbd_conn *c, uint64_t bytes)
{
	/* With nothing held it is always granted: whoever waits has something that comes back. */
	ASSERT(bytes <= c->nl->share_bytes);
	if (list_empty(&c->free_pieces) || !charge(c, bytes))
		return NULL;
	struct nbd_piece *p = container_of(list_pop_front(&c->free_pieces), struct nbd_piece, link);
	ASSERT(p->conn == c && p->buf == NULL && p->sg.iovcnt == 0);
	p->charged = bytes;
	p->req = NULL;
	p->ready = false;
	p->filled = p->head_len = 0;
	p->data_at = p->data_len = p->sent = 0;
	return p;
}

void
nbd_piece_put(struct nbd_piece *p)
{
	struct nbd_conn *c = p->conn;
	ASSERT(list_empty(&p->link));
	blk_sg_put(&p->sg);
	if (p->buf != NULL)
		loop_buf_put(c->loop, p->buf, BUFPOOL_FRAME_BYTES);
	p->buf = NULL;
	uncharge(c, p->charged);
	p->charged = 0;
	list_push_front(&c->free_pieces, &p->link);
}

/* ---- its end --------------------------------------------------------------------------------------- */

static bool
is_over(const struct nbd_conn *c)
{
	return c->rx == NBD_RX_OVER && c->in_flight == 0 && list_empty(&c->out);
}

/* False: it was the last one of its loop. What belongs to the server may be gone already. */
static bool
finish(struct nbd_conn *c)
{
	bool others = --c->nl->alive > 0;

	ASSERT(!c->gone_sent && c->held_bytes == 0);
	ASSERT(c->fill == NULL && !c->waits_for_buffers);
	if (c->sock != NULL)
		sock_close(c->sock);
	c->sock = NULL;
	loop_timer_cancel(&c->linger);
	loop_defer_cancel(&c->again);
	list_remove(&c->wait_link);
	if (list_empty(&c->nl->waiting)) { /* the last one takes the server with it */
		loop_defer_cancel(&c->nl->resume);
		loop_timer_cancel(&c->nl->pause);
	}
	c->gone_sent = true;
	c->gone.run = nbd_server_on_gone;
	loop_send(c->server->home, &c->gone);
	return others;
}

/* ---- turns ----------------------------------------------------------------------------------------- */

/*
 * Somebody waits: the next turn, or the end of the pause. A connection that ends doesn't wait for that:
 * a client has but a second to take what is left.
 */
static void
schedule(struct nbd_loop *nl)
{
	bool soon = !nl->pausing;

	if (list_empty(&nl->waiting) || loop_defer_queued(&nl->resume))
		return;
	LIST_FOREACH (n, &nl->waiting)
		soon |= container_of(n, struct nbd_conn, wait_link)->rx == NBD_RX_OVER;
	if (soon) {
		loop_next_turn(nl->loop, &nl->resume);
	} else if (!loop_timer_armed(&nl->pause)) {
		nl->pause_begin_ns = loop_now_ns(nl->loop);
		loop_timer_set(&nl->pause, nbd_pause_ns(nl));
	}
}

/* Behind those that wait already: what one moves in a turn, another waits for. */
static void
wait_for_turn(struct nbd_conn *c)
{
	if (list_empty(&c->wait_link))
		list_push_back(&c->nl->waiting, &c->wait_link);
	schedule(c->nl);
}

/* Answers before requests: who doesn't take what it asked for isn't listened to. False: see finish(). */
static bool
work(struct nbd_conn *c)
{
	for (unsigned steps = 0; !c->gone_sent; steps++) {
		bool sent = c->sock != NULL && nbd_tx_step(c);
		bool read = c->sock != NULL && nbd_rx_step(c);
		if (is_over(c))
			return finish(c);
		if (!sent && !read)
			return true;
		if (nbd_turn_left(c) == 0 || steps == NBD_TURN_STEPS) {
			wait_for_turn(c);
			return true;
		}
	}
	return true;
}

static void
serve(struct nbd_conn *c)
{
	if (nbd_turn_left(c) == 0 || !list_empty(&c->wait_link))
		wait_for_turn(c);
	else
		(void)work(c);
}

/* Each that waits now once, as long as there is something left to move. */
static void
resume(struct nbd_loop *nl)
{
	struct list now, later, *n;

	list_init(&now);
	list_init(&later);
	list_splice_back(&now, &nl->waiting);
	while ((n = list_pop_front(&now)) != NULL) {
		struct nbd_conn *c = container_of(n, struct nbd_conn, wait_link);
		if (nbd_turn_left(c) == 0)
			list_push_back(&later, n);
		else if (!work(c))
			return;
	}
	/* They go on before those that had something. */
	list_splice_back(&later, &nl->waiting);
	list_splice_back(&nl->waiting, &later);
	schedule(nl);
}

static void
on_resume(struct loop_defer *d)
{
	resume(container_of(d, struct nbd_loop, resume));
}

static void
on_pause_end(struct loop_timer *t)
{
	struct nbd_loop *nl = container_of(t, struct nbd_loop, pause);
	uint64_t waited_ns = loop_now_ns(nl->loop) - nl->pause_begin_ns;

	__atomic_store_n(&nl->paused_ns, nl->paused_ns + waited_ns, __ATOMIC_RELAXED);
	resume(nl);
}

void
nbd_loop_init_turns(struct nbd_loop *nl)
{
	list_init(&nl->waiting);
	loop_defer_init(&nl->resume, on_resume);
	loop_timer_init(&nl->pause, nl->loop, on_pause_end);
}

/* ---- what makes it go on ----------------------------------------------------------------------------- */

static void
on_again(struct loop_defer *d)
{
	serve(container_of(d, struct nbd_conn, again));
}

/* A peer that is gone shows in recv and send: what it sent before is still done. */
static void
on_event(void *ctx, unsigned events)
{
	(void)events;
	serve(ctx);
}

static void
on_buffers(struct loop_bufwait *w)
{
	struct nbd_conn *c = container_of(w, struct nbd_conn, bufwait);
	c->waits_for_buffers = false;
	serve(c);
}

void
nbd_conn_wait_for_buffers(struct nbd_conn *c)
{
	ASSERT(!c->waits_for_buffers);
	c->waits_for_buffers = true;
	loop_bufwait_queue(c->loop, &c->bufwait);
}

void
nbd_conn_kick(struct nbd_conn *c)
{
	if (!c->gone_sent && !loop_defer_queued(&c->again))
		loop_defer(c->loop, &c->again);
}

/* ---- beginning and end -------------------------------------------------------------------------------- */

static void
stop_reading(struct nbd_conn *c)
{
	nbd_rx_stop(c);
	c->rx = NBD_RX_OVER;
	if (c->waits_for_buffers)
		loop_bufwait_cancel(&c->bufwait);
	c->waits_for_buffers = false;
}

static void
on_linger(struct loop_timer *t)
{
	struct nbd_conn *c = container_of(t, struct nbd_conn, linger);
	if (c->in_flight > 0)
		loop_timer_set(&c->linger, NBD_LINGER_NS);
	else
		nbd_conn_drop(c);
}

void
nbd_conn_close(struct nbd_conn *c)
{
	if (c->rx == NBD_RX_OVER)
		return;
	stop_reading(c);
	loop_timer_set(&c->linger, NBD_LINGER_NS);
	nbd_conn_kick(c);
}

void
nbd_conn_drop(struct nbd_conn *c)
{
	if (c->rx != NBD_RX_OVER)
		stop_reading(c);
	loop_timer_cancel(&c->linger);
	if (c->sock != NULL)
		sock_close_abort(c->sock);
	c->sock = NULL;
	/* Those that aren't ready are in the blk: they go when they come back. */
	LIST_FOREACH_SAFE (n, &c->out) {
		struct nbd_piece *p = container_of(n, struct nbd_piece, link);
		if (!p->ready)
			continue;
		list_remove(&p->link);
		nbd_piece_put(p);
	}
	nbd_conn_kick(c);
}

void
nbd_conn_start(struct loop_msg *m)
{
	struct nbd_conn *c = container_of(m, struct nbd_conn, start);

	ASSERT(loop_is_current(c->loop));
	loop_defer_init(&c->again, on_again);
	loop_bufwait_init(&c->bufwait, on_buffers);
	loop_timer_init(&c->linger, c->loop, on_linger);
	list_init(&c->free_pieces);
	list_init(&c->free_reqs);
	list_init(&c->out);
	list_init(&c->wait_link);
	c->nl->alive++;
	for (unsigned i = 0; i < NBD_DEPTH_MAX; i++)
		list_push_back(&c->free_reqs, &c->reqs[i].link);
	for (unsigned i = 0; i < NBD_PIECES_MAX; i++) {
		c->pieces[i].conn = c;
		blk_sg_init(&c->pieces[i].sg);
		list_push_back(&c->free_pieces, &c->pieces[i].link);
	}
	c->rx = NBD_RX_REQUEST;
	sock_attach(c->sock, c->loop);
	sock_set_callback(c->sock, on_event, c);
	nbd_conn_kick(c); /* the client may have sent something with its last option */
}

void
nbd_conn_end(struct loop_msg *m)
{
	struct nbd_conn *c = container_of(m, struct nbd_conn, end);
	if (c->gone_sent) { /* they crossed */
		c->end.run = nbd_server_on_end_seen;
		loop_send(c->server->home, &c->end);
		return;
	}
	c->end_seen = true;
	nbd_conn_close(c);
}
