/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Channels of the SRP frontend under initiators that do anything in any order, over the fake backend,
 * which checks what is owed to a queue at every call. The input is a list of actions: {what, which
 * connection, how}, and the bytes that some of them take. At the end nothing may be left.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "srp/iu.h"
#include "store/fault.h"
#include "tests/unit/srp/fake.h"

#define ACTIONS_MAX 200u
#define LOGINS_MAX 24u

enum what {
	LOGIN,
	ESTABLISH,
	COMMAND,
	COMMAND_LYING,
	TMF,
	RAW,
	COMPLETE,
	MODE,
	GONE,
	HOLD,
	RUN,
	CREDIT,
	DROP,
	WHAT_COUNT
};

struct input {
	const uint8_t *p;
	size_t len;
};

static uint8_t
next(struct input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->p++;
}

static struct fake f;
static uint8_t iu[12288];

static bool
usable(const struct fake_conn *fc)
{
	return fc != NULL && fc->accepted && !fc->destroyed && fc->loop != NULL && fc->mem != NULL;
}

static size_t
command(struct fake_conn *fc, uint8_t how, uint8_t tag)
{
	static const uint32_t sizes[] = {512, 4096, 8192, 65536};
	uint8_t cdb[16] = {0};
	bool write = (how & 1) != 0;
	uint32_t bytes = sizes[how >> 1 & 3];
	if ((how & 0xe0) == 0xe0)
		return fake_cmd(iu, tag, cdb, 6); /* TEST UNIT READY */
	fake_rw_cdb(cdb, write, tag % 64, (uint16_t)(bytes / 512));
	size_t at = fake_cmd(iu, tag, cdb, 16);
	iu[29] = how >> 3 & 7;
	switch (how >> 5 & 3) {
	case 0:
		return fake_add_direct(iu, at, write, 65536, bytes);
	case 1:
		return fake_add_indirect(fc, iu, at, write, 65536, bytes, 5, 5, 0);
	case 2:
		return fake_add_indirect(fc, iu, at, write, 65536, bytes, 40, 2, 4096);
	default:
		if (write && bytes <= 8192)
			return fake_add_immediate(iu, fc->mem, bytes);
		return fake_add_direct(iu, at, write, 131072, bytes);
	}
}

static void
drop(void *ctx)
{
	struct srp_session_info info;
	(void)ctx;
	if (srp_server_sessions(f.server, &info, 1) == 1)
		(void)srp_server_drop(f.server, info.id, "told to");
}

static void
send_raw(struct fake_conn *fc, struct input *in, uint8_t how)
{
	size_t len = how < in->len ? how : in->len;
	memcpy(iu, in->p, len);
	in->p += len;
	in->len -= len;
	(void)fake_send(fc, iu, len);
}

static void
act_on(struct fake_conn *fc, enum what what, uint8_t how, struct input *in)
{
	static uint8_t tag;
	size_t len;
	switch (what) {
	case COMMAND:
		(void)fake_send(fc, iu, command(fc, how, ++tag));
		break;
	case COMMAND_LYING:
		len = command(fc, how, ++tag);
		iu[48 + next(in) % 24u] ^= next(in);
		fc->mem[4096 + next(in) * 3u] ^= next(in);
		(void)fake_send(fc, iu, len);
		break;
	case TMF:
		tag++;
		len = fake_tmf(iu, tag, (uint8_t)(1u << (how & 7)), (uint8_t)(tag - (how >> 4)));
		iu[21] = (uint8_t)(how >> 3 & 1);
		(void)fake_send(fc, iu, len);
		break;
	case RAW:
		send_raw(fc, in, how);
		break;
	case COMPLETE:
		for (unsigned i = 0; i <= how % 8u; i++)
			if (usable(fc))
				(void)fake_complete(fc);
		break;
	case MODE:
		fc->automatic = (how & 1) != 0;
		fc->holds_back = (how & 6) == 6;
		break;
	case CREDIT:
		memset(iu, 0, 16);
		iu[0] = how & 1 ? SRP_CRED_RSP : SRP_I_LOGOUT;
		(void)fake_send(fc, iu, 16);
		break;
	default:
		break;
	}
}

static void
act(struct input *in)
{
	enum what what = (enum what)(next(in) % WHAT_COUNT);
	uint8_t which = next(in), how = next(in);
	struct fake_conn *fc = f.conn_count > 0 ? f.conns[which % f.conn_count] : NULL;
	switch (what) {
	case LOGIN:
		if (f.conn_count < LOGINS_MAX)
			fc = fake_request(&f, how % 3u, (how & 8) != 0, how & 16 ? 276 : 8260);
		fake_run_ms(&f, how >> 6);
		break;
	case ESTABLISH:
		if (fc != NULL && fc->accepted)
			fake_event(fc, SRP_CONN_ESTABLISHED);
		break;
	case GONE:
		if (fc != NULL && fc->accepted)
			fake_event(fc, how & 1 ? SRP_CONN_REMOVED : SRP_CONN_DISCONNECTED);
		break;
	case HOLD:
		fault_hold(f.blk, how & 6u);
		break;
	case RUN:
		fake_run_ms(&f, how < 240 ? how / 8u : 12000u);
		break;
	case DROP:
		if (how > 200)
			fake_on_home(&f, drop, NULL);
		break;
	default:
		if (usable(fc))
			act_on(fc, what, how, in);
		break;
	}
	if (which & 0x80)
		fake_run_ms(&f, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned loops = 1 + next(&in) % 2u;
	uint64_t seed = next(&in);
	uint8_t shape = next(&in);
	/* Little memory: it may run out, and setting it up takes less of the time. */
	fake_up_with(&f, loops, seed, shape & 32 ? 4u << 20 : 1u << 20);
	f.queue_max = shape & 1 ? 3 : 64;
	f.segments_max = shape & 2 ? 1 : 4;
	f.reads_max = shape & 4 ? 1 : 4;
	f.nothing_is_local = (shape & 8) != 0;
	f.limits.queue_depth = shape & 16 ? 4 : 16;
	fake_serve(&f);
	for (unsigned i = 0; i < ACTIONS_MAX && in.len > 0; i++)
		act(&in);
	fake_down(&f);
	return 0;
}
