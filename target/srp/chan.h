/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the frontend: channels and sessions on their loop, the server on the home loop.
 *
 *     CONNECTING → LIVE → LEAVING → DRAINING → CLOSED     only forward
 *
 * CONNECTING: the queue is there, the peer isn't yet. LEAVING: a last message is on its way. DRAINING:
 * the queue was told to give everything back. CLOSED: it has, and no command is left.
 *
 * CH-1  A receive buffer is posted, or holds a request that waits or is served, whose credit the
 *       initiator hasn't got back: posted + held = recv_count, and posted ≥ credits + 2.
 * CH-2  A buffer is posted again before the answer is that gives its credit back.
 * CH-3  Memory of a command isn't given back while a request names it (op.in_flight > 0).
 * CH-4  A task management function is answered when no request of the commands it covers is queued or
 *       in flight, so that the initiator may reuse their memory.
 * CH-5  At most reads_max READs are in flight; others wait in a queue of their own, which answers pass.
 */
#ifndef SRP_CHAN_H
#define SRP_CHAN_H

#include "base/assert.h"
#include "base/list.h"
#include "srp/backend.h"
#include "srp/login.h"

#define SRP_SEND_STRIDE 384u /* ≥ SRP_RSP_MAX_BYTES */
_Static_assert(SRP_SEND_STRIDE >= SRP_RSP_MAX_BYTES, "an answer fits");

/* ---- operations: what goes through the send queue --------------------------------------------- */

enum srp_op_kind {
	SRP_OP_TABLE,    /* fetches a list of descriptors */
	SRP_OP_DATA_OUT, /* fetches data */
	SRP_OP_ANSWER,   /* data in, if any, then the answer */
	SRP_OP_MESSAGE,  /* a unit of our own */
	SRP_OP_PROBE,
};
struct srp_op {
	struct list link; /* in chan->sends or chan->reads while something is left to post */
	uint8_t kind;
	bool busy;          /* queued or in flight */
	bool failed;        /* not all of it happened */
	uint32_t in_flight; /* chains that have something of it */
	/* What is left to move. */
	uint64_t left;
	uint32_t desc_at; /* next descriptor … */
	uint32_t desc_off;
	uint32_t sg_at; /* … and segment */
	size_t sg_off;
};

enum srp_chan_state {
	SRP_CHAN_CONNECTING,
	SRP_CHAN_LIVE,
	SRP_CHAN_LEAVING,
	SRP_CHAN_DRAINING,
	SRP_CHAN_CLOSED,
	SRP_CHAN_STATE_COUNT
};
const char *srp_chan_state_to_string(enum srp_chan_state s);

struct srp_chan;

/* A command, or a task management function. */
struct srp_task {
	struct scsi_task scsi;
	struct scsi_tmf_req tmf;
	struct srp_chan *chan;
	struct list link; /* chan->tasks by arrival, or chan->free */
	uint32_t idx;     /* of its answer's memory */
	int32_t recv;     /* the buffer that it holds; -1: none */
	uint64_t seq;     /* by arrival in the session */
	uint8_t tag[SRP_TAG_BYTES], lun[8];
	uint8_t sol_not;
	bool is_tmf;
	bool submitted;        /* the core has it, or had it */
	bool done;             /* the core is done with it, or never had it */
	bool wants;            /* the core waits for its data */
	bool answered;         /* its answer was posted */
	bool ends_chan;        /* the channel ends behind its answer */
	int code;              /* response data; < 0: none */
	struct srp_buffer buf; /* of its direction */
	struct srp_op op;
	struct srp_direct_desc *table; /* of the loop's buffers; NULL: not fetched */
	size_t table_bytes;
	struct iovec table_iov;
	struct blk_sg bounce;
	bool bounced;
	struct loop_bufwait bufwait;
	bool waits_buf;
	/* TMF: which commands it waits for. */
	uint64_t wait_seq; /* ABORT TASK: just this one; else 0 */
	bool waits_tasks;  /* in session->tmf_waits */
	struct list wait_link;
};

/* What a chain has of one operation. */
struct srp_chain {
	struct srp_op *op;
	uint16_t count, reads; /* requests; those of them that are READs */
	bool last;             /* of its chain, which is reported by one completion */
};

struct srp_parked {
	uint32_t idx, len;
};

struct srp_session;
struct srp_server;

struct srp_chan {
	/* home's */
	struct srp_server *server;
	struct srp_conn *conn;
	struct list home_link; /* server->chans */
	struct loop_job job;
	enum srp_job {
		SRP_JOB_NONE,
		SRP_JOB_SETUP,
		SRP_JOB_ACCEPT,
		SRP_JOB_LEAVE,
		SRP_JOB_ABANDON,
		SRP_JOB_REFUSE,
		SRP_JOB_DESTROY
	} job_kind;
	bool job_busy, setup_done, begun, accepted, established, pending, parked_home;
	bool leave_wanted, left, abandon_wanted, abandon_done, gone_seen, refused;
	bool cmd_orderly; /* with SRP_TELL_END */
	bool refusing;    /* it is answered with `rej`, then destroyed */
	bool removed;     /* its device: it has to go now */
	bool must_go;     /* for the job: whoever is reached by it */
	bool cut_off;     /* its port is down: it leaves, and is destroyed, when the port is back */
	uint8_t cmd_next; /* SRP_TELL_…: to be sent */
	bool cmd_busy;
	const char *home_reason;
	uint64_t deadline_ns; /* of the login */
	struct srp_login login;
	struct srp_login_result result;
	struct srp_login_rsp rsp;
	struct srp_login_rej rej;
	char job_reason[160];
	/* messages */
	struct loop_msg start_msg, ready_msg, cmd_msg, disc_msg, gone_msg, abandon_msg;
	uint8_t cmd; /* what cmd_msg says */
	bool start_failed;

	/* its loop's */
	struct srp_session *session;
	struct loop *loop;
	const struct srp_backend_ops *ops;
	struct list link; /* session->chans */
	enum srp_chan_state state;
	const char *reason; /* static text, or session->end_text */
	bool orderly, told_disc, abandoned, abandoning;
	const char
	    *logout_reason; /* CONNECTING: it leaves as soon as it is established; NULL: no */
	enum srp_logout_reason logout_code;
	struct srp_cmd_limits cmd_limits;
	uint32_t depth;
	uint32_t recv_count, recv_bytes, recv_posted;
	uint32_t credits; /* requests that the initiator may send */
	uint32_t owed;    /* credits of requests that got no answer */
	uint32_t sq_free, reads_free;
	struct srp_chain *chains; /* ring of conn->queue_max; the parts of a chain in a row */
	uint32_t chain_head, chain_count;
	struct list sends, reads; /* ops with something to post */
	struct loop_defer pump_defer;
	unsigned gathered;         /* operations since something was posted */
	struct srp_parked *parked; /* requests that wait: ring of recv_count */
	uint32_t parked_head, parked_count;
	struct srp_task *tasks;
	uint32_t task_count;
	struct list busy, free; /* tasks */
	uint32_t busy_count;
	struct srp_op message, probe;
	uint32_t message_idx; /* of its memory */
	size_t message_len;
	enum srp_opcode message_kind;
	bool cred_req_out; /* unanswered */
	uint64_t last_ns;  /* something arrived or completed */
	uint64_t state_ns;
	struct loop_timer timer;
	struct loop_defer end_defer;
};

/* Bits of what home tells a channel. */
#define SRP_TELL_ESTABLISHED 1u
#define SRP_TELL_END 2u
#define SRP_TELL_ABANDONED 4u

struct srp_counts {
	uint64_t reads, writes, others, read_bytes, write_bytes, immediate_bytes, copied_bytes;
};
/* Written by one loop, read by any. */
#define SRP_COUNT(field, n)                                                                        \
	__atomic_store_n(                                                                          \
	    &(field), __atomic_load_n(&(field), __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED)

/* An I_T nexus with its channels. */
struct srp_session {
	/* home's */
	struct srp_server *server;
	struct list home_link; /* server->sessions */
	uint32_t id;
	uint8_t initiator_port[SRP_PORT_ID_BYTES], target_port[SRP_PORT_ID_BYTES];
	char initiator[SRP_NAME_CAP];
	char target[SRP_TARGET_NAME_MAX + 1];
	char group[256];
	bool in_group, immediate;
	struct scsi_view *view;
	uint16_t portal_tag, rel_port_id;
	struct srp_peer peer;
	struct sockaddr_storage local;
	char device[64];
	unsigned loop_idx;
	uint64_t since_ns;
	unsigned chans_home; /* not destroyed */
	unsigned chans_up;   /* established and not gone */
	bool raised;         /* its login was told */
	bool touched;        /* its loop knows it */
	bool ending, gone_seen, kill_busy;
	uint64_t born_epoch; /* of the configuration that it was granted by */
	char end_text[160];
	struct srp_session *replaces; /* starts when that one is gone */
	struct loop_msg kill_msg, gone_msg;
	bool orderly; /* with gone_msg */
	const char *end_reason;

	/* its loop's */
	struct loop *loop;
	struct scsi_nexus *nexus;
	bool nexus_ending, over; /* over: takes no channel any more */
	bool gone_sent;
	struct list chans;
	struct list tmf_waits; /* tasks whose function waits for CH-4 */
	bool tmf_checking;
	uint64_t next_seq;
	struct loop_defer nexus_defer;
	struct srp_counts counts;
};

/* ---- chan.c ------------------------------------------------------------------------------------ */

/* What it needs, by limits; called at home. NULL: no memory. */
struct srp_chan *srp_chan_create(const struct srp_limits *limits, uint32_t it_iu_len);
void srp_chan_queue_cfg(const struct srp_chan *c, struct srp_queue_cfg *ret);
void srp_chan_free(struct srp_chan *c);
/* After setup: the rest that depends on the queue. 0 or -ENOMEM. Home. */
int srp_chan_fit(struct srp_chan *c);
/* Loop. */
void srp_chan_begin(struct srp_chan *c);
void srp_chan_established(struct srp_chan *c);
/* LIVE or CONNECTING: it ends; else nothing. `reason`: static text. */
void srp_chan_end(struct srp_chan *c, const char *reason, bool orderly);
/* The same with a last message. */
void srp_chan_logout(struct srp_chan *c, enum srp_logout_reason code, const char *reason);
static inline bool
srp_chan_is_live(const struct srp_chan *c)
{
	return c->state == SRP_CHAN_LIVE;
}
/* Something of it ended: it may be closed now. */
void srp_chan_check(struct srp_chan *c);
void srp_chan_on_abandoned(struct srp_chan *c);
/* The backend's upcalls. */
void srp_chan_sent(struct srp_conn *conn, bool ok);
void srp_chan_received(struct srp_conn *conn, uint32_t idx, uint32_t len, bool ok);
static inline uint8_t *
srp_chan_recv_buf(const struct srp_chan *c, uint32_t idx)
{
	return c->conn->recv_base + (size_t)idx * c->recv_bytes;
}
/* Gives a receive buffer back to the queue. */
void srp_chan_repost(struct srp_chan *c, uint32_t idx);
/* Requests that waited for a task. */
void srp_chan_unpark(struct srp_chan *c);
/* Credits that nobody would carry are sent by themselves. */
void srp_chan_check_owed(struct srp_chan *c);

/* ---- post.c ------------------------------------------------------------------------------------- */

void srp_op_queue(struct srp_chan *c, struct srp_op *op, enum srp_op_kind kind, uint64_t bytes);
/* What isn't posted won't be. True: nothing is in flight, op.busy is false. */
bool srp_op_cancel(struct srp_chan *c, struct srp_op *op);
void srp_pump_init(struct srp_chan *c);
/* Posts what there is room for. */
void srp_pump(struct srp_chan *c);
/* The same, with what else this turn brings: at its end, or when a chain is full. */
void srp_pump_soon(struct srp_chan *c);

/* ---- cmd.c -------------------------------------------------------------------------------------- */

/* A request with its credit and a free task. */
void srp_request_start(struct srp_chan *c, uint32_t idx, uint32_t len);
void srp_task_free(struct srp_task *t);
/* Its operation is over: moved, failed, or cancelled. */
void srp_cmd_op_done(struct srp_task *t);
/* The channel ends: what it waits for won't come. */
void srp_cmd_chan_ends(struct srp_task *t);
/* Answers: nothing else happens to it. */
void srp_task_answer(struct srp_task *t);
/* The answer's bytes, with the credit it carries; right before it is posted. */
size_t srp_task_build_answer(struct srp_task *t, bool *ret_solicited);
/* Where its operation reads from or writes to, here. */
const struct iovec *srp_task_segments(const struct srp_task *t, uint32_t *ret_count);
/* …and there. */
struct srp_desc srp_task_remote(const struct srp_task *t, uint32_t i);

/* ---- tmf.c -------------------------------------------------------------------------------------- */

void srp_tmf_start(struct srp_task *t, const struct srp_tsk_mgmt *req);
/* A task of the session is gone. */
void srp_tmf_check(struct srp_session *s);

/* ---- session.c (loop) --------------------------------------------------------------------------- */

/* 0 or -errno: no nexus. */
int srp_session_join(struct srp_session *s, struct srp_chan *c);
void srp_session_chan_ending(struct srp_session *s, const char *reason, bool orderly);
void srp_session_chan_closed(struct srp_session *s, struct srp_chan *c);
void srp_session_end(struct srp_session *s, const char *reason, bool orderly);
void srp_session_check(struct srp_session *s);

/* ---- server.c, registry.c, live.c (home) ------------------------------------------------------- */

struct srp_listening {
	struct list link;
	struct srp_server *server;
	struct srp_listener *listener; /* NULL: no device has the address yet */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	uint16_t tag;
};

struct srp_server {
	struct scsi_core *core;
	struct loop *home, *const *loops;
	unsigned loop_count;
	unsigned per_loop[LOOP_COUNT_MAX];
	struct srp_backend *backend;
	const struct srp_backend_ops *ops;
	bool backend_started;
	struct srp_limits limits;
	struct srp_config *config;
	void (*event)(void *ctx, const struct srp_event *e);
	void *event_ctx;
	struct list listenings, chans, sessions, retired;
	unsigned chan_count, session_count, pending_count;
	uint32_t next_id;
	uint64_t epoch; /* of the configuration */
	struct loop_timer timer;
	bool stopping;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
	struct loop_msg stop_msg;
	bool stop_msg_busy;
};

/* registry.c */
void srp_registry_request(
    void *ctx, struct srp_listener *l, struct srp_conn *conn, const void *private, size_t len);
void srp_registry_event(struct srp_conn *conn, enum srp_conn_event ev);
/* Messages of loops. */
void srp_registry_ready(struct loop_msg *m);
void srp_registry_disc(struct loop_msg *m);
void srp_registry_gone(struct loop_msg *m);
void srp_registry_session_gone(struct loop_msg *m);
void srp_registry_abandon(struct loop_msg *m);
void srp_registry_timeouts(struct srp_server *s);
/* Channels that are cut off try to leave again. */
void srp_registry_retry(struct srp_server *s);
void srp_session_end_soon(struct srp_server *s, struct srp_session *x, const char *reason);
void srp_raise(struct srp_server *s, struct srp_event *e, const struct sockaddr_storage *peer);
void srp_format_addr(const struct sockaddr_storage *a, char *buf, size_t cap);
/* server.c, live.c */
void srp_server_maybe_stopped(struct srp_server *s);
void srp_server_tick(struct srp_server *s);
void srp_live_check(struct srp_server *s);
struct srp_claim srp_session_claim(const struct srp_session *x);

#endif
