/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much the connections of a loop move: so many bytes in a turn, and while initiators work fewer, and only
 * so many in a second. What is moved has to be copied by the reader as well, in the kernel, where nothing
 * pushes it aside: only what isn't handed out doesn't take processors from those who work.
 */
#include "nbd/nbd_priv.h"

#define S_NS 1000000000ull

/*
 * Not by this loop's own commands: what its connections move keeps processors busy that other loops
 * need.
 */
static bool
initiators_work(struct nbd_loop *nl)
{
	const struct nbd_server *s = nl->server;
	uint64_t now_ns = loop_now_ns(nl->loop);

	if (s->ops->served == NULL)
		return false;
	if (now_ns >= nl->look_ns) {
		uint64_t served = s->ops->served(s->ctx);
		if (served != nl->served)
			nl->alone_ns = now_ns + NBD_ALONE_NS;
		nl->served = served;
		nl->look_ns = now_ns + NBD_LOOK_NS;
	}
	return now_ns < nl->alone_ns;
}

/* This loop's part of the rate, never 0 where there is one. */
static uint64_t
share(const struct nbd_server *s)
{
	uint64_t rate = __atomic_load_n(&s->rate_bytes_s, __ATOMIC_RELAXED);
	unsigned busy = __atomic_load_n(&s->busy_loops, __ATOMIC_RELAXED);

	if (rate == 0 || busy < 2)
		return rate;
	return rate > busy ? rate / busy : 1;
}

static void
begin_turn(struct nbd_loop *nl)
{
	bool shared = initiators_work(nl);

	nl->turn_bytes = 0;
	nl->turn_max_bytes = shared ? NBD_TURN_SHARED_BYTES : NBD_TURN_BYTES;
	nl->rate = shared ? share(nl->server) : 0;
	if (nl->rate == 0 || loop_now_ns(nl->loop) >= nl->paid_ns)
		nl->pausing = false;
}

uint64_t
nbd_turn_left(const struct nbd_conn *c)
{
	struct nbd_loop *nl = c->nl;
	uint64_t turn = loop_turn(nl->loop);

	if (nl->turn != turn) {
		nl->turn = turn;
		begin_turn(nl);
	}
	if (nl->pausing && c->rx != NBD_RX_OVER)
		return 0;
	return nl->turn_bytes < nl->turn_max_bytes ? nl->turn_max_bytes - nl->turn_bytes : 0;
}

/* Bursts, not a steady trickle: each wakes the reader, and the initiators' threads share with him then. */
void
nbd_moved(struct nbd_loop *nl, uint64_t bytes)
{
	uint64_t now_ns = loop_now_ns(nl->loop);

	nl->turn_bytes += bytes;
	__atomic_store_n(&nl->moved_bytes, nl->moved_bytes + bytes, __ATOMIC_RELAXED);
	if (nl->rate == 0)
		return;
	if (nl->paid_ns < now_ns)
		nl->paid_ns = now_ns;
	/* A receive or a send of less than 1 GiB: no overflow. */
	nl->paid_ns += bytes * S_NS / nl->rate;
	if (nl->paid_ns - now_ns >= NBD_BURST_BYTES * S_NS / nl->rate)
		nl->pausing = true;
}

uint64_t
nbd_pause_ns(const struct nbd_loop *nl)
{
	uint64_t now_ns = loop_now_ns(nl->loop);
	uint64_t left_ns = nl->paid_ns > now_ns ? nl->paid_ns - now_ns : 0;
	return left_ns < NBD_ALONE_NS ? left_ns : NBD_ALONE_NS;
}
