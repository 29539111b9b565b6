/* SPDX-License-Identifier: BSD-2-Clause */
/* The frontend as a whole: creation, portals, per-loop parts, stop. */
#include "iscsi/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bufpool.h"

#define TASKS_PER_LOOP (128u * 1024u) /* address space; memory is touched when used */
#define OUTS_PER_LOOP (256u * 1024u)

struct listener {
	struct list link;
	struct iscsi_server *server;
	struct sock_listener *sl;
	struct sockaddr_storage addr; /* that it is bound to */
	uint16_t tag;
};

void
iscsi_limits_default(struct iscsi_limits *l)
{
	*l = (struct iscsi_limits){
	    .login_timeout_ms = 15000,
	    .half_open_max = 64,
	    .half_open_per_addr_max = 8,
	    .sessions_max = 1024,
	    .sessions_per_initiator_max = 8,
	    .sessions_per_addr_max = 64,
	    .login_keys_max = 64,
	    .login_text_max_bytes = 16384,
	    .chap_value_max_bytes = 1024,
	    .auth_failures_max = 10,
	    .nop_data_max_bytes = 4096,
	    .ahs_max_bytes = 64,
	    .immediate_max = 8,
	    .tmf_max = 16,
	    .depth_max = 128,
	    .send_queue_max_bytes = 4u << 20,
	    .send_stall_ms = 30000,
	    .nop_interval_ms = 15000,
	    .nop_timeout_ms = 15000,
	    .logout_grace_ms = 3000,
	};
}

void
iscsi_offer_default(struct iscsi_offer *o)
{
	*o = (struct iscsi_offer){
	    .header_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
	    .data_digest = ISCSI_DIGEST_NONE | ISCSI_DIGEST_CRC32C,
	    .initial_r2t = false,
	    .immediate_data = true,
	    .max_recv_bytes = 256u << 10,
	    .max_burst_bytes = 1u << 20,
	    .first_burst_bytes = 256u << 10,
	    .max_outstanding_r2t = ISCSI_R2T_MAX,
	};
}

/* ---- per loop ---------------------------------------------------------------------------------- */

/* End of a turn: everything that waits is sent, once per connection. */
static void
flush_dirty(struct loop_hook *h)
{
	struct iscsi_loop *il = container_of(h, struct iscsi_loop, hook);
	struct list now = LIST_INIT(now);

	il->busy_last_turn = il->dirty_count;
	list_splice_back(&now, &il->dirty);
	for (struct list *l; (l = list_pop_front(&now)) != NULL;) {
		struct iscsi_conn *c = container_of(l, struct iscsi_conn, dirty_link);
		c->dirty = false;
		il->dirty_count--;
		if (!iscsi_conn_alive(c))
			continue;
		iscsi_tx_flush(c);
		if (iscsi_conn_alive(c) && !iscsi_tx_empty(c))
			iscsi_tx_mark(c); /* the PDU pool was dry */
	}
}

static int
loop_part_init(struct iscsi_server *s, unsigned idx, struct loop *l)
{
	struct iscsi_loop *il = &s->il[idx];
	il->server = s;
	il->loop = l;
	il->idx = idx;
	list_init(&il->conns);
	list_init(&il->dirty);
	il->window_bytes_max = bufpool_total_bytes(loop_bufpool(l)) / 2;
	il->rx_buf = aligned_alloc(4096, ISCSI_RX_BUF_BYTES);
	if (il->rx_buf == NULL)
		return -ENOMEM;
	if (pool_init(&il->tasks, "iscsi tasks", sizeof(struct iscsi_task), TASKS_PER_LOOP) < 0)
		return -ENOMEM;
	if (pool_init(&il->outs, "iscsi pdus", sizeof(struct iscsi_out), OUTS_PER_LOOP) < 0)
		return -ENOMEM;
	il->hook.run = flush_dirty;
	list_init(&il->hook.link);
	loop_hook_add(l, &il->hook);
	return 0;
}

static void
loop_part_fini(struct iscsi_loop *il)
{
	if (il->loop == NULL)
		return;
	ASSERT(list_empty(&il->conns));
	if (il->hook.run != NULL)
		loop_hook_remove(&il->hook);
	pool_fini(&il->tasks);
	pool_fini(&il->outs);
	free(il->rx_buf);
}

/* ---- life cycle ---------------------------------------------------------------------------------- */

int
iscsi_server_create(const struct iscsi_server_args *args, struct iscsi_server **ret)
{
	struct iscsi_server *s = calloc(1, sizeof *s);
	if (s == NULL)
		return -ENOMEM;
	s->core = args->core;
	s->event = args->event;
	s->event_ctx = args->event_ctx;
	s->loop_count = args->loop_count;
	s->home = args->loops[0];
	s->next_tsih = 1;
	list_init(&s->listeners);
	list_init(&s->logins);
	iscsi_live_init(s);
	s->setup = iscsi_setup_create(s, NULL, args->config, &args->limits, false);
	s->il = calloc(args->loop_count, sizeof *s->il);
	if (s->setup == NULL || s->il == NULL || iscsi_registry_init(s) < 0)
		goto err;
	for (unsigned i = 0; i < args->loop_count; i++)
		if (loop_part_init(s, i, args->loops[i]) < 0)
			goto err;
	*ret = s;
	return 0;
err:
	iscsi_server_destroy(s);
	return -ENOMEM;
}

static void
on_accept(void *ctx, struct sock *sock)
{
	struct listener *l = ctx;
	iscsi_login_conn_accept(l->server, sock, l->tag);
}

int
iscsi_server_listen(
    struct iscsi_server *s, const struct sockaddr *addr, socklen_t addr_len, uint16_t tag)
{
	struct listener *l = calloc(1, sizeof *l);
	struct iscsi_setup *u =
	    iscsi_setup_create(s, s->setup, s->setup->config, &s->setup->limits, true);
	int rc = -ENOMEM;

	if (l == NULL || u == NULL)
		goto err;
	l->server = s;
	l->tag = tag;
	rc = sock_listen(s->home, addr, addr_len, on_accept, l, &l->sl);
	if (rc < 0)
		goto err;
	sock_listener_addr(l->sl, &l->addr);
	list_push_back(&s->listeners, &l->link);
	u->portals[u->portal_count++] = (struct iscsi_portal_addr){.addr = l->addr, .tag = tag};
	iscsi_setup_publish(s, u);
	return 0;
err:
	iscsi_setup_put(s, u);
	free(l);
	return rc;
}

/* Address and port; nothing else that a sockaddr may hold. */
static bool
same_endpoint(const struct sockaddr_storage *a, const struct sockaddr *b)
{
	if (a->ss_family != b->sa_family)
		return false;
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	}
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
		return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
		       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
	}
	return false;
}

int
iscsi_server_unlisten(struct iscsi_server *s, const struct sockaddr *addr, uint16_t tag)
{
	struct listener *li = NULL;
	LIST_FOREACH (l, &s->listeners) {
		struct listener *x = container_of(l, struct listener, link);
		if (x->tag == tag && same_endpoint(&x->addr, addr)) {
			li = x;
			break;
		}
	}
	if (li == NULL)
		return -ENOENT;
	struct iscsi_setup *u =
	    iscsi_setup_create(s, s->setup, s->setup->config, &s->setup->limits, false);
	if (u == NULL)
		return -ENOMEM;
	u->portal_count = 0;
	list_remove(&li->link);
	sock_listener_close(li->sl);
	free(li);
	LIST_FOREACH (l, &s->listeners) {
		const struct listener *x = container_of(l, struct listener, link);
		u->portals[u->portal_count++] =
		    (struct iscsi_portal_addr){.addr = x->addr, .tag = x->tag};
	}
	iscsi_setup_publish(s, u);
	return 0;
}

bool
iscsi_server_portal(const struct iscsi_server *s, unsigned i, struct sockaddr_storage *ret)
{
	if (i >= s->setup->portal_count)
		return false;
	*ret = s->setup->portals[i].addr;
	return true;
}

static void
close_listeners(struct iscsi_server *s)
{
	for (struct list *l; (l = list_pop_front(&s->listeners)) != NULL;) {
		struct listener *li = container_of(l, struct listener, link);
		sock_listener_close(li->sl);
		free(li);
	}
}

static void
kill_all(struct iscsi_server *s, bool logout_first)
{
	LIST_FOREACH (l, &s->sessions)
		iscsi_registry_kill(s, container_of(l, struct iscsi_conn, reg.link),
		    "the target stops", logout_first);
}

static void
on_stop_timer(struct loop_timer *t)
{
	struct iscsi_server *s = container_of(t, struct iscsi_server, stop_timer);
	kill_all(s, false);
	loop_timer_set(&s->stop_timer, 100 * 1000000ull);
}

void
iscsi_server_maybe_stopped(struct iscsi_server *s)
{
	if (!s->stopping || s->conn_count > 0 || s->login_count > 0 || s->stopped == NULL)
		return;
	if (!iscsi_live_idle(s))
		return; /* it calls when it is */
	loop_timer_cancel(&s->stop_timer);
	void (*stopped)(void *ctx) = s->stopped;
	s->stopped = NULL;
	stopped(s->stopped_ctx);
}

static void
on_stop_check(struct loop_msg *m)
{
	iscsi_server_maybe_stopped(container_of(m, struct iscsi_server, stop_msg));
}

void
iscsi_server_stop(struct iscsi_server *s, uint32_t grace_ms, void (*done)(void *ctx), void *ctx)
{
	ASSERT(!s->stopping);
	s->stopping = true;
	s->stopped = done;
	s->stopped_ctx = ctx;
	close_listeners(s);
	iscsi_login_conn_end_all(s);
	loop_timer_init(&s->stop_timer, s->home, on_stop_timer);
	kill_all(s, grace_ms > 0);
	loop_timer_set(&s->stop_timer, (grace_ms > 0 ? grace_ms : 1) * 1000000ull);
	s->stop_msg.run = on_stop_check;
	loop_send(s->home, &s->stop_msg);
}

void
iscsi_server_destroy(struct iscsi_server *s)
{
	if (s == NULL)
		return;
	close_listeners(s);
	for (unsigned i = 0; s->il != NULL && i < s->loop_count; i++)
		loop_part_fini(&s->il[i]);
	iscsi_registry_fini(s);
	iscsi_live_fini(s);
	free(s->il);
	free(s);
}
