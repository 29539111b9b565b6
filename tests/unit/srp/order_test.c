/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every state of a channel, and every order of three things that may happen to it, over the fake
 * backend, which checks at each call what is owed to a queue. Afterwards the channel has to end, and
 * nothing may be left.
 */
#include <string.h>

#include "srp/iu.h"
#include "store/fault.h"
#include "tests/cmocka_all.h"
#include "tests/unit/srp/fake.h"

#define STEPS 3u
#define WORLD 400u /* connections before a new server */

enum start {
	CONNECTING,
	LIVE_IDLE,
	LIVE_MOVING,   /* a read and a write, requests of theirs in flight */
	LIVE_IN_STORE, /* …and the store holds them */
	LEAVING,       /* its last message is in flight, commands are too */
	DRAINING,      /* told to give everything back, and doesn't */
	STARTS
};
enum what {
	DONE,     /* the oldest chain completes */
	ALL_DONE, /* all do */
	DIES,     /* nothing succeeds any more, and comes back */
	COMMAND,
	ABORT, /* of the read */
	MALFORMED,
	ESTABLISHED,
	GONE,
	REMOVED,
	STORE, /* has what it held */
	TIME,  /* longer than any patience but the initiator's */
	WHATS
};

static struct fake f;
static uint8_t iu[512];

/* Is there anybody to do it to? */
static bool
there(const struct fake_conn *fc)
{
	return fc->accepted && !fc->destroyed && fc->loop != NULL;
}

static void
rw(struct fake_conn *fc, uint64_t tag, bool write)
{
	uint8_t cdb[16];
	fake_rw_cdb(cdb, write, (uint32_t)tag * 64, 64);
	size_t len = fake_cmd(iu, tag, cdb, 10);
	(void)fake_send(fc, iu, fake_add_direct(iu, len, write, 65536 * (uint32_t)tag, 32768));
}

static void
malformed(struct fake_conn *fc)
{
	memset(iu, 0x55, 64);
	(void)fake_send(fc, iu, 64);
}

/* Unit attentions of the login out of the way: commands are served. */
static void
become_ready(struct fake_conn *fc)
{
	static const uint8_t test_unit_ready[6];
	for (uint64_t tag = 100; tag < 103; tag++) {
		(void)fake_send(fc, iu, fake_cmd(iu, tag, test_unit_ready, 6));
		fake_run_ms(&f, 5);
	}
}

static struct fake_conn *
enter(enum start s)
{
	struct fake_conn *fc = fake_request(&f, 1, false, 8260);
	fake_run_ms(&f, 100);
	assert_true(fc->accepted);
	if (s == CONNECTING) {
		fc->automatic = false;
		return fc;
	}
	fake_event(fc, SRP_CONN_ESTABLISHED);
	fake_run_ms(&f, 10);
	become_ready(fc);
	fc->automatic = false;
	if (s == LIVE_IDLE)
		return fc;
	fault_hold(f.blk, s == LIVE_IN_STORE ? 1u << BLK_READ | 1u << BLK_WRITE : 0);
	rw(fc, 1, false);
	rw(fc, 2, true);
	fake_run_ms(&f, 5);
	if (s == LEAVING)
		malformed(fc);
	fc->holds_back = s == DRAINING;
	if (s == DRAINING)
		fake_event(fc, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 5);
	return fc;
}

static void
to_conn(struct fake_conn *fc, enum what w)
{
	static const uint8_t test_unit_ready[6];
	switch (w) {
	case DONE:
		(void)fake_complete(fc);
		break;
	case ALL_DONE:
		for (unsigned i = 0; i < 64 && there(fc) && fake_complete(fc); i++)
			fake_run_ms(&f, 1);
		break;
	case DIES:
		fc->dead = true;
		(void)fake_complete(fc);
		break;
	case COMMAND:
		(void)fake_send(fc, iu, fake_cmd(iu, 50, test_unit_ready, 6));
		break;
	case ABORT:
		(void)fake_send(fc, iu, fake_tmf(iu, 60, SRP_TSK_ABORT_TASK, 1));
		break;
	case MALFORMED:
		malformed(fc);
		break;
	default:
		break;
	}
}

static void
happen(struct fake_conn *fc, enum what w)
{
	switch (w) {
	case ESTABLISHED:
		fake_event(fc, SRP_CONN_ESTABLISHED);
		break;
	case GONE:
		fake_event(fc, SRP_CONN_DISCONNECTED);
		break;
	case REMOVED:
		fake_event(fc, SRP_CONN_REMOVED);
		break;
	case STORE:
		fault_hold(f.blk, 0);
		break;
	case TIME:
		fake_run_ms(&f, 12000);
		break;
	default:
		if (there(fc))
			to_conn(fc, w);
		break;
	}
	fake_run_ms(&f, 2);
}

static void
try_order(enum start s, unsigned order)
{
	struct fake_conn *fc = enter(s);
	for (unsigned i = 0, rest = order; i < STEPS; i++, rest /= WHATS)
		happen(fc, (enum what)(rest % WHATS));
	fault_hold(f.blk, 0);
	fc->holds_back = false;
	fake_event(fc, SRP_CONN_DISCONNECTED);
	fake_run_ms(&f, 30000);
	if (!fc->destroyed || srp_server_session_count(f.server) != 0 || fault_held(f.blk) != 0)
		fail_msg("start %u, order %u: something is left", (unsigned)s, order);
}

static void
test_every_order(void **state)
{
	(void)state;
	unsigned orders = 1;
	for (unsigned i = 0; i < STEPS; i++)
		orders *= WHATS;
	for (unsigned n = 0; n < STARTS * orders; n++) {
		if (n % WORLD == 0) {
			if (n > 0)
				fake_down(&f);
			fake_up(&f, 1, n);
			f.queue_max = 6;
			f.segments_max = 2;
			f.reads_max = 2;
			fake_serve(&f);
		}
		try_order((enum start)(n / orders), n % orders);
	}
	fake_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_order)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
