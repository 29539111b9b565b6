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

enum { READS = VERBS_LANE_READS, SENDS = VERBS_LANE_SENDS };

/* What the queue pair has, by the address in each chain's last request, and what was reported. */
static uint64_t posted[VERBS_LANES][CHAINS_MAX];
static unsigned posted_count[VERBS_LANES], calls, by_helper;
static unsigned calls_left; /* until it fails, with a chain after the first one */
static unsigned reported, reported_ok;
static unsigned sent_count[VERBS_LANES]; /* chains given to verbs_post() */

static int
post_send(struct ibv_qp *q, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	unsigned lane = wr->opcode == IBV_WR_RDMA_READ ? READS : SENDS;
	uint64_t last = lane == READS ? VERBS_ID_LAST_READ : VERBS_ID_LAST;
	unsigned first = posted_count[lane];
	assert_ptr_equal(q, &qp);
	calls++;
	by_helper += loop_current() == NULL;
	for (; wr != NULL; wr = wr->next) {
		if (calls == calls_left && posted_count[lane] > first) {
			*bad = wr;
			return ENOMEM;
		}
		for (int k = 0; k < wr->num_sge; k++)
			assert_int_equal(wr->sg_list[k].lkey, 77);
		assert_true(wr->wr_id == 0 || wr->wr_id == last);
		assert_int_equal((wr->send_flags & IBV_SEND_SIGNALED) != 0, wr->wr_id == last);
		if (wr->wr_id == last)
			posted[lane][posted_count[lane]++] = wr->wr.rdma.remote_addr;
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
	calls = by_helper = calls_left = reported = reported_ok = 0;
	memset(posted_count, 0, sizeof posted_count);
	memset(sent_count, 0, sizeof sent_count);
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
	const uint32_t *how = ctx; /* lane, requests, bytes of each */
	struct srp_wr wrs[SRP_WR_CHAIN_MAX] = {0};
	for (uint32_t i = 0; i < how[1]; i++) {
		wrs[i].kind = how[0] == READS ? SRP_WR_READ : SRP_WR_WRITE;
		wrs[i].remote = sent_count[how[0]];
		wrs[i].iovcnt = 1;
		wrs[i].iov[0] = (struct iovec){.iov_base = memory, .iov_len = how[2]};
	}
	post_result = verbs_post(&vc.conn, wrs, how[1]);
	if (post_result == 0)
		sent_count[how[0]]++;
}

static int
post_in(uint32_t lane, uint32_t requests, uint32_t bytes)
{
	uint32_t how[] = {lane, requests, bytes};
	loop_sim_call(loop, post_call, how);
	return post_result;
}

static int
post(uint32_t requests, uint32_t bytes)
{
	return post_in(SENDS, requests, bytes);
}

static void
complete_call(void *ctx)
{
	const unsigned *how = ctx;
	verbs_out_completed(&vc, how[0], how[1] != 0);
}

static void
complete_in(unsigned lane, bool ok)
{
	unsigned how[] = {lane, ok};
	loop_sim_call(loop, complete_call, how);
}

static void
complete(bool ok)
{
	complete_in(SENDS, ok);
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
	for (unsigned lane = 0; lane < VERBS_LANES; lane++)
		for (unsigned i = 0; i < posted_count[lane]; i++)
			assert_int_equal(posted[lane][i], i);
}

static void
test_adapter(void **state)
{
	(void)state;
	up(0x2c9);
	assert_int_equal(post(3, LONG), 0);
	assert_int_equal(post(1, SHORT), 0);
	assert_false(verbs_posting(&vc.conn));
	assert_int_equal(posted_count[SENDS], 2);
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
	assert_int_equal(posted_count[SENDS], 2);
	settle();
	assert_int_equal(posted_count[SENDS], 4);
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
	assert_int_equal(posted_count[SENDS], 7);
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
	assert_int_equal(posted_count[SENDS], 1);
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
	assert_int_equal(posted_count[SENDS], 2);
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

/* An answer doesn't wait for a READ to be posted, but is reported behind it. */
static void
test_lanes(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	assert_int_equal(post_in(READS, 2, LONG), 0);
	assert_int_equal(post_in(READS, 1, SHORT), 0);
	assert_int_equal(post(1, SHORT), 0);
	assert_int_equal(posted_count[READS], 1);
	assert_int_equal(posted_count[SENDS], 1);
	assert_int_equal(by_helper, 1);
	complete(true);
	assert_int_equal(reported, 0);
	complete_in(READS, true);
	assert_int_equal(reported, 1);
	settle();
	assert_int_equal(posted_count[READS], 2);
	complete_in(READS, true);
	assert_int_equal(reported_ok, 3);
	in_order();
	down();
}

/* What one lane can't post ends the other one, too. */
static void
test_fails_beside(void **state)
{
	(void)state;
	up(SOFT_ROCE);
	assert_int_equal(post_in(READS, 1, LONG), 0);
	assert_int_equal(post(1, LONG), 0);
	assert_int_equal(post_in(READS, 1, SHORT), 0);
	assert_int_equal(post_in(READS, 1, SHORT), 0);
	assert_int_equal(post(1, SHORT), 0);
	calls_left = 3;
	while (calls < 3)
		assert_true(loop_sim_step(world));
	settle();
	assert_int_equal(post(1, SHORT), -EIO);
	assert_int_equal(post_in(READS, 1, SHORT), -EIO);
	unsigned done = posted_count[READS] + posted_count[SENDS];
	for (unsigned i = 0; i < posted_count[SENDS]; i++)
		complete(true);
	for (unsigned i = 0; i < posted_count[READS]; i++)
		complete_in(READS, true);
	assert_true(done >= 2 && done < 5);
	assert_int_equal(reported, 5);
	assert_int_equal(reported_ok, done);
	down();
}

/* As full as it gets, round and round: reported is what is complete from the oldest one on. */
static void
test_ring(void **state)
{
	(void)state;
	static struct {
		uint32_t requests, lane, idx;
	} all[CHAINS_MAX];
	unsigned count = 0, prefix = 0, completed[VERBS_LANES] = {0}, most = 0;
	up(SOFT_ROCE);
	while (prefix < CHAINS_MAX) {
		uint64_t r = loop_sim_rand(world);
		uint32_t n = (uint32_t)(r >> 8) % SRP_WR_CHAIN_MAX + 1, lane = r >> 16 & 1;
		uint32_t out = 0;
		for (unsigned i = reported; i < count; i++)
			out += all[i].requests;
		if (r % 3 == 0) {
			(void)loop_sim_step(world);
		} else if (r % 3 == 1 && count < CHAINS_MAX && out + n <= QUEUE) {
			all[count].requests = n;
			all[count].lane = lane;
			all[count++].idx = sent_count[lane];
			assert_int_equal(post_in(lane, n, (r & 0x30) == 0 ? LONG : SHORT / n), 0);
		} else if (completed[lane] < posted_count[lane]) {
			completed[lane]++;
			complete_in(lane, true);
		}
		while (prefix < count && all[prefix].idx < completed[all[prefix].lane])
			prefix++;
		/* VO-2: the one that was the only one is reported with what comes next. */
		bool posting = verbs_posting(&vc.conn);
		assert_true(reported == prefix || (posting && reported + 1 == prefix));
		assert_true(!posting || reported < count);
		for (lane = 0; lane < VERBS_LANES; lane++)
			most = vc.out.lanes[lane].count > most ? vc.out.lanes[lane].count : most;
	}
	settle();
	in_order();
	assert_int_equal(reported_ok, CHAINS_MAX);
	assert_true(by_helper > 100 && by_helper < calls);
	assert_true(most > QUEUE / 2 && most <= 2 * QUEUE);
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
	    cmocka_unit_test(test_lanes),
	    cmocka_unit_test(test_fails_beside),
	    cmocka_unit_test(test_ring),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
