/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend of the SRP frontend without RDMA: initiators with memory of their own, whose queues
 * complete when the test says so or, with `automatic`, by themselves. What the frontend owes to a real
 * queue is checked here at every call: no more requests than there is room, no more READs in flight
 * than agreed, segments and their number, local memory, receive buffers for every credit given.
 */
#ifndef TESTS_SRP_FAKE_H
#define TESTS_SRP_FAKE_H

#include "srp/backend.h"
#include "srp/srp.h"
#include "srp/wire.h"
#include "tests/unit/scsi/scsi_fixture.h"

#define FAKE_MEM_BYTES (1u << 20)
#define FAKE_MEM_VA 0x10000000ull
#define FAKE_KEY 7u
#define FAKE_CONNS_MAX 512u
#define FAKE_RECVS_MAX 2048u
#define FAKE_INBOX_MAX 64u

struct fake;

struct fake_chain {
	struct srp_wr wrs[SRP_WR_CHAIN_MAX];
	unsigned count;
};

struct fake_conn {
	struct srp_conn conn;
	struct fake *fake;
	struct loop *loop; /* while attached */
	bool accepted, refused, rejected, left, destroyed, abandoned;
	bool automatic;  /* completes by itself */
	bool dead;       /* nothing succeeds any more */
	bool holds_back; /* not even what is flushed comes back */
	bool posting;    /* a helper, as it were */
	struct srp_login_rsp rsp;
	uint32_t rej_reason;
	struct srp_queue_cfg cfg;
	struct fake_chain *chains;
	unsigned chain_head, chain_count, chain_max;
	unsigned sq_used, reads_out;
	uint32_t recvs[FAKE_RECVS_MAX];
	unsigned recv_head, recv_count;
	struct {
		uint32_t idx, len;
	} arrived[64]; /* told with the next fake_send() */
	unsigned arrived_count;
	uint8_t *mem; /* the initiator's */
	uint8_t inbox[FAKE_INBOX_MAX][512];
	size_t inbox_len[FAKE_INBOX_MAX];
	unsigned inbox_count; /* messages so far; the last FAKE_INBOX_MAX are kept */
	int64_t credits;      /* as the initiator counts them */
	int64_t promised;     /* with those of answers that it hasn't seen */
	unsigned probes;
	struct loop_timer timer;
	/* Called with every message that arrives at the initiator; may be NULL. */
	void (*on_message)(struct fake_conn *fc, const uint8_t *iu, size_t len);
	void *ctx;
};

struct fake {
	struct srp_backend backend;
	struct fx fx;
	struct scsi_lu *lu;
	struct blk *blk;
	struct scsi_view *view;
	struct srp_config *config;
	struct srp_server *server;
	const struct srp_backend_events *events;
	void *events_ctx;
	struct fake_conn *conns[FAKE_CONNS_MAX];
	unsigned conn_count;
	unsigned listeners;
	uint32_t queue_max, segments_max, reads_max;
	bool port_down;
	bool no_device, started, setup_fails, accept_fails, nothing_is_local;
	struct srp_limits limits;
	/* what the server told */
	unsigned logins, channels, logouts, dropped, refused, devices;
	char reason[200];
	bool stopped;
};

/* A server with one target, "iqn.2024-01.x:t", open to all, LUN 0 on a fault store over ram. */
void fake_up(struct fake *f, unsigned loops, uint64_t seed);
void fake_up_with(struct fake *f, unsigned loops, uint64_t seed, size_t buf_bytes);
void fake_serve(struct fake *f);
/* Stops the server, checks that nothing is left. */
void fake_down(struct fake *f);
void fake_run_ms(struct fake *f, uint64_t ms);
void fake_on_home(struct fake *f, void (*fn)(void *ctx), void *ctx);

/* A login request as the RDMA CM brings it; `n` makes the initiator's identifier. */
struct fake_conn *fake_request(struct fake *f, unsigned n, bool multi, uint32_t it_iu_len);
struct fake_conn *fake_request_raw(
    struct fake *f, const void *private, size_t len, bool native, const char *address);
void fake_event(struct fake_conn *fc, enum srp_conn_event ev);
/* The whole way to a channel that is live. */
struct fake_conn *fake_login(struct fake *f, unsigned n, bool multi);

/* The initiator sends; false: no receive buffer was posted. */
bool fake_send(struct fake_conn *fc, const void *iu, size_t len);
/* The same, seen in the same turn as what fake_send() brings next. */
bool fake_send_more(struct fake_conn *fc, const void *iu, size_t len);
/* Manual: the oldest chain completes. False: there was none. */
bool fake_complete(struct fake_conn *fc);
/* The message `back` before the last one, 0 the last; NULL: there is none. */
const uint8_t *fake_message(const struct fake_conn *fc, unsigned back, size_t *ret_len);

/* Units. Each returns its length. */
size_t fake_cmd(uint8_t *iu, uint64_t tag, const uint8_t *cdb, unsigned cdb_len);
size_t fake_add_direct(uint8_t *iu, size_t at, bool out, uint32_t offset, uint32_t bytes);
/* `count` descriptors over `bytes`, of uneven lengths, the first `in_iu` of them in the unit. The list
 * itself is at `table` of the initiator's memory. */
size_t fake_add_indirect(struct fake_conn *fc, uint8_t *iu, size_t at, bool out, uint32_t offset,
    uint32_t bytes, uint32_t count, uint32_t in_iu, uint32_t table);
size_t fake_add_immediate(uint8_t *iu, const void *data, uint32_t bytes);
size_t fake_tmf(uint8_t *iu, uint64_t tag, uint8_t function, uint64_t task_tag);
void fake_rw_cdb(uint8_t cdb[16], bool write, uint32_t lba, uint16_t blocks);

#endif
