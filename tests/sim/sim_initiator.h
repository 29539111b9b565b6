/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An initiator on a simulated loop, with an encoder and decoder of its own: one session of one
 * connection. It holds the target to RFC 7143: order of StatSN, DataSN, R2TSN and offsets, lengths
 * against what was negotiated, the command window, residuals, one answer to each request. What the
 * target breaks fails the run.
 */
#ifndef TESTS_SIM_INITIATOR_H
#define TESTS_SIM_INITIATOR_H

#include "base/list.h"
#include "iscsi/wire.h"
#include "loop/loop.h"
#include "tests/sim/sim.h"

struct ini_params {
	bool header_digest, data_digest, initial_r2t, immediate_data;
	uint32_t max_recv_bytes; /* declared: the longest PDU we take */
	uint32_t max_burst_bytes, first_burst_bytes;
	uint32_t max_r2t, protocol_level;
	/* how we behave */
	uint32_t pdu_max_bytes; /* longest data segment that we send */
	uint32_t read_pause_us; /* > 0: bytes are taken slowly */
	bool deaf;              /* doesn't answer pings */
};

enum ini_end {
	INI_ANSWERED,
	INI_ABORTED, /* task management of ours ended it, and said so */
	INI_LOST,    /* the session ended */
};

struct ini;

#define INI_JOBS_MAX 64u
struct ini_job {
	uint32_t ttt, offset, len, data_sn;
};

struct ini_cmd {
	/* set by the caller; out and in are borrowed until done */
	uint8_t lun;
	uint8_t cdb[16];
	uint8_t attr; /* as on the wire: 1 simple, 2 ordered, 3 head of queue */
	const uint8_t *out;
	uint32_t out_len;
	uint8_t *in;
	uint32_t in_cap;
	void (*done)(struct ini_cmd *c, enum ini_end end); /* the command is the caller's again */
	void *ctx;
	/* the outcome */
	uint8_t status;
	uint8_t key, asc, ascq;
	uint32_t in_have;
	/* the initiator's */
	struct ini *ini;
	struct list link; /* ini->waiting or ini->sent */
	struct list data_link;
	bool on_wire;
	bool maybe_aborted; /* somebody else's reset may have ended it without a word */
	uint64_t order;     /* of sending */
	uint64_t started_ns;
	uint32_t itt, cmd_sn, data_in_sn, burst, r2t_sn, solicit_at;
	uint32_t unsolicited_at, unsolicited_sn, unsolicited_end;
	uint32_t job_first, job_count;
	struct ini_job jobs[INI_JOBS_MAX];
};

struct ini_tmf {
	/* set by the caller */
	uint8_t function; /* enum iscsi_tmf_function */
	uint8_t lun;
	struct ini_cmd *cmd; /* ABORT TASK, QUERY TASK: on the wire */
	bool immediate;
	void (*done)(struct ini_tmf *t, bool lost);
	void *ctx;
	uint8_t response;
	bool cmd_found; /* the command was still ours when the answer came */
	/* the initiator's */
	struct list link;
	uint32_t itt, ref_itt;
	uint64_t order;
};

struct ini_ops {
	void (*logged_in)(struct ini *i);
	/* The login was refused (status) or the connection didn't live until then (0). `i` is over. */
	void (*refused)(struct ini *i, uint16_t status);
	/* The session is over; every command was given back before. `i` is freed afterwards. */
	void (*ended)(struct ini *i);
	/* The target asks for a logout. */
	void (*logout_wanted)(struct ini *i);
};

enum ini_state { INI_CONNECTING, INI_LOGIN, INI_FULL, INI_LOGOUT, INI_OVER };

struct ini_bytes {
	uint8_t *p;
	size_t at, len, cap;
};

struct ini {
	struct loop *loop;
	struct sock *sock;
	const struct ini_ops *ops;
	void *ctx;
	struct sim_rng *rng;
	enum ini_state state;
	bool was_full; /* it got to the full feature phase */
	uint16_t refused_status;
	struct ini_params want, agreed;
	uint32_t target_recv_bytes;
	char name[64];
	const char *target;
	uint8_t isid[6];
	uint32_t cmd_sn, exp_cmd_sn, max_cmd_sn, exp_stat_sn, next_itt;
	uint64_t orders;
	struct list waiting, sent, tmfs;
	struct list unsolicited, solicited; /* commands with data to send */
	uint32_t in_flight;
	uint32_t nop_itt, logout_itt;
	uint8_t nop_data[64];
	uint32_t nop_len;
	struct ini_bytes in, outb;
	struct loop_timer pause;
	struct loop_defer over;
	struct loop_defer pump;
};

/* Starts to connect and log in. `ini` is freed after refused() or ended(). */
struct ini *ini_start(struct loop *l, const struct sockaddr_storage *to, const char *name,
    const uint8_t isid[6], const char *target, const struct ini_params *want, struct sim_rng *rng,
    const struct ini_ops *ops, void *ctx);
/* In INI_FULL only. Waits for the command window by itself. */
void ini_submit(struct ini *i, struct ini_cmd *c);
void ini_manage(struct ini *i, struct ini_tmf *t);
void ini_nop(struct ini *i); /* one at a time; ignored while one is under way */
void ini_logout(struct ini *i);
/* Ends it from here: in order (FIN) or by a reset. ended() comes later. */
void ini_close(struct ini *i, bool reset);

/* sim_pdu.c: the received PDU of the full feature phase. */
void ini_receive_pdu(struct ini *i, const uint8_t *bhs, const uint8_t *data, uint32_t len);
/* The rest of what sim_pdu.c needs. */
void ini_put_pdu(struct ini *i, const void *bhs, const void *data, uint32_t len);
void ini_pump(struct ini *i);
void ini_cmd_finish(struct ini_cmd *c, enum ini_end end);
struct ini_cmd *ini_find(struct ini *i, uint32_t itt);

#endif
