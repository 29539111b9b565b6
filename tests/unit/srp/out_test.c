/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests on their way to a queue pair, which is made up here: who posts them, in which order they are reported. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "srp/verbs.h"
#include "tests/cmocka_all.h"

#define SOFT_ROCE 0xffffffu
#define QUEUE 64u
#define MEMORY (512u << 10)
#define LONG MEMORY
#define SHORT 4096u
#define CHAINS_MAX 20000u

static struct loop_sim *world;
static struct loop *loop;
static struct verbs verbs;
static struct verbs_device device;
static struct verbs_conn vc;
static struct rdma_cm_id id;
static struct ibv_context context;
static struct ibv_qp qp;
static struct ibv_mr mr;
static char *memory;

/* What the queue pair has, and what was reported, by the address of each chain's last request. */
static uint64_t posted[CHAINS_MAX];
static unsigned posted_count, calls, by_helper;
static unsigned calls_left; /* until it fails, with a chain after the first one */
static unsigned reported, reported_ok;
static unsigned sent_count; /* chains given to verbs_post() */

static int
post_send(struct ibv_qp *q, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	unsigned first = posted_count;
	assert_ptr_equal(q, &qp);
	calls++;
	by_helper += loop_current() == NULL;
	for (; wr != NULL; wr = wr->next) {
		if (calls == calls_left && posted_count > first) {
			*bad = wr;
			return ENOMEM;
		}
		for (int k = 0; k < wr->num_sge; k++)
			assert_int_equal(wr->sg_list[k].lkey, 77);
		assert_true(wr->wr_id == 0 || wr->wr_id == VERBS_ID_LAST);
		assert_int_equal(
		    (wr->send_flags & IBV_SEND_SIGNALED) != 0, wr->wr_id == VERBS_ID_LAST);
		if (wr->wr_id == VERBS_ID_LAST)
			posted[posted_count++] = wr->wr.rdma.remote_addr;
	}
	return 0;
}

static void
on_sent(struct srp_conn *c, bool ok)
{
	assert_ptr_equal(c, &vc.conn);
	reported++;
	reported_ok += ok;
}

static const struct srp_backend_events events = {.sent = on_sent};

static void
up(uint32_t vendor)
{
	struct loop_sim_cfg cfg = {
	    .seed = 5, .loops = 1, .buf_bytes = 1 << 20, .op_delay_us_max = 100};
	assert_int_equal(loop_sim_create(&cfg, &world), 0);
	loop = loop_sim_loop(world, 0);
	memory = malloc(MEMORY);
	assert_non_null(memory);
	memset(&vc, 0, sizeof vc);
	verbs.events = &events;
	device.attr.vendor_id = vendor;
	context.ops.post_send = post_send;
	qp.context = &context;
	id.qp = &qp;
	mr.lkey = 77;
	vc.verbs = &verbs;
	vc.device = &device;
	vc.id = &id;
	vc.mr = &mr;
	vc.memory = memory;
	vc.memory_len = MEMORY;
	vc.loop = loop;
	vc.conn.queue_max = QUEUE;
	posted_count = calls = by_helper = calls_left = reported = reported_ok = sent_count = 0;
	assert_int_equal(verbs_out_init(&vc), 0);
}

static void
down(void)
{
	assert_false(verbs_posting(&vc.conn));
	verbs_out_fini(&vc);
	loop_sim_destroy(world);
	free(memory);
}

static int post_result;
static void
post_call(void *ctx)
{
	const uint32_t *how = ctx; /* requests, bytes of each */
	struct srp_wr wrs[SRP_WR_CHAIN_MAX] = {0};
	for (uint32_t i = 0; i < how[0]; i++) {
		wrs[i].kind = SRP_WR_WRITE;
		wrs[i].remote = sent_count;
		wrs[i].iovcnt = 1;
		wrs[i].iov[0] = (struct iovec){.iov_base = memory, .iov_len = how[1]};
	}
	post_result = verbs_post(&vc.conn, wrs, how[0]);
	if (post_result == 0)
		sent_count++;
}

static int
post(uint32_t requests, uint32_t bytes)
{
	uint32_t how[] = {requests, bytes};
	loop_sim_call(loop, post_call, how);
	return post_result;
}

static void
complete_call(void *ctx)
{
	verbs_out_completed(&vc, *(const bool *)ctx);
}

static void
complete(bool ok)
{
	loop_sim_call(loop, complete_call, &ok);
}

static void
settle(void)
{
	while (verbs_posting(&vc.conn))
		assert_true(loop_sim_step(world));
}

static void
in_order(void)
{
	for (unsigned i = 0; i < posted_count; i++)
		assert_int_equal(posted[i], i);
}

static void
test_adapter(void **state)
{
	(void)state;
	up(0x2c9);
	assert_int_equal(post(3, LONG), 0);
	assert_int_equal(post(1, SHORT), 0);
	assert_false(verbs_posting(&vc.conn));
	assert_int_equal(posted_count, 2);
	assert_int_equal(by_helper, 0);
	complete(true);
	complete(true);
	assert_int_equal(reported_ok, 2);
	down();
}

/* VO-1 */
static void
test_order(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	assert_int_equal(post(2, SHORT), 0);
	assert_false(verbs_posting(&vc.conn));
	assert_int_equal(by_helper, 0);
	assert_int_equal(post(2, LONG), 0);
	assert_true(verbs_posting(&vc.conn));
	assert_int_equal(post(1, SHORT), 0);
	assert_int_equal(post(1, SHORT), 0);
	assert_int_equal(posted_count, 2);
	settle();
	assert_int_equal(posted_count, 4);
	assert_int_equal(calls, 3);
	assert_int_equal(by_helper, 2);
	in_order();
	/* Nothing is under way: a short one needs no helper again. */
	assert_int_equal(post(1, SHORT), 0);
	assert_int_equal(by_helper, 2);
	for (unsigned i = 0; i < 5; i++)
		complete(true);
	assert_int_equal(reported_ok, 5);
	down();
}

/* A helper has other work too. */
static void
test_share(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(post(1, LONG), 0);
	settle();
	assert_int_equal(posted_count, 7);
	assert_int_equal(calls, 4); /* 1, while the others came; 2, 2, 2 */
	in_order();
	for (unsigned i = 0; i < 7; i++)
		complete(true);
	down();
}

/* VO-2 */
static void
test_held(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	assert_int_equal(post(1, LONG), 0);
	assert_int_equal(posted_count, 1);
	complete(true);
	assert_int_equal(reported, 0);
	settle();
	assert_int_equal(reported_ok, 1);

	assert_int_equal(post(1, LONG), 0);
	assert_int_equal(post(1, SHORT), 0);
	complete(false);
	assert_int_equal(reported, 2); /* another one is left */
	settle();
	complete(false);
	assert_int_equal(reported, 3);
	assert_int_equal(reported_ok, 1);
	down();
}

/* VO-3 */
static void
test_fails(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	assert_int_equal(post(1, LONG), 0);
	calls_left = 2;
	assert_int_equal(post(1, SHORT), 0);
	assert_int_equal(post(2, SHORT), 0);
	assert_int_equal(post(1, SHORT), 0);
	settle();
	assert_int_equal(posted_count, 2);
	assert_int_equal(reported, 0);
	assert_int_equal(post(1, SHORT), -EIO);
	assert_int_equal(post(1, LONG), -EIO);
	complete(true);
	assert_int_equal(reported, 1);
	complete(true);
	assert_int_equal(reported, 4);
	assert_int_equal(reported_ok, 2);
	down();
}

/* The only one, complete before the helper's call failed for what came behind it. */
static void
test_fails_held(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	assert_int_equal(post(1, LONG), 0);
	assert_int_equal(post(1, SHORT), 0);
	assert_int_equal(post(1, SHORT), 0);
	calls_left = 2;
	complete(true);
	while (calls < 2)
		assert_true(loop_sim_step(world));
	complete(true);
	assert_int_equal(reported, 2); /* of three */
	settle();
	assert_int_equal(reported, 3);
	assert_int_equal(reported_ok, 2);
	down();
}

/* As full as it gets, round and round. */
static void
test_ring(void **state)
{
	(void)state;
	static uint32_t lengths[CHAINS_MAX];
	unsigned out = 0, completed = 0, most = 0;
	up(SOFT_ROCE);
	while (sent_count < CHAINS_MAX) {
		uint64_t r = loop_sim_rand(world);
		uint32_t n = (uint32_t)(r >> 8) % SRP_WR_CHAIN_MAX + 1;
		if (r % 3 == 0) {
			(void)loop_sim_step(world);
		} else if (r % 3 == 1 && out + n <= QUEUE) {
			lengths[sent_count] = n;
			assert_int_equal(post(n, (r & 0x30) == 0 ? LONG : SHORT / n), 0);
		} else if (completed < posted_count && completed - reported == 0) {
			complete(true);
			completed++;
		}
		out = 0;
		for (unsigned i = reported; i < sent_count; i++)
			out += lengths[i];
		assert_true(reported <= completed && completed - reported <= 1);
		if (vc.out.count > most)
			most = vc.out.count;
	}
	settle();
	for (; completed < posted_count; completed++)
		complete(true);
	in_order();
	assert_int_equal(posted_count, CHAINS_MAX);
	assert_int_equal(reported_ok, CHAINS_MAX);
	assert_true(by_helper > 100 && by_helper < calls);
	assert_true(most > QUEUE && most <= 2 * QUEUE);
	down();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_adapter),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_share),
	    cmocka_unit_test(test_held),
	    cmocka_unit_test(test_fails),
	    cmocka_unit_test(test_fails_held),
	    cmocka_unit_test(test_ring),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
