/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection half: what a session's connection is made of, on its loop. MaxConnections is 1, so
 * the session and its connection are one object.
 *
 * The login phase runs on the home loop (login_conn.c): half-open connections, outstanding CHAP
 * challenges, failures per address and the registry of sessions are all there, without messages.
 * At entry into the full feature phase the socket moves to the loop that will serve it.
 *
 * Who owns what: an iscsi_conn is allocated and freed on the home loop; between `start` and `gone`
 * it belongs to its own loop. Everything it needs while commands run comes from pools of its loop.
 */
#ifndef ISCSI_CONN_H
#define ISCSI_CONN_H

#include "base/pool.h"
#include "iscsi/iscsi_priv.h"
#include "loop/loop.h"
#include "scsi/scsi.h"

#define ISCSI_RX_BUF_BYTES (256u * 1024u)  /* per loop */
#define ISCSI_RX_TURN_BYTES (128u * 1024u) /* budget of a connection and turn */
#define ISCSI_RX_LAND_MAX_IOV 72u
#define ISCSI_TX_RESPONSES 16u        /* send early: this many answers … */
#define ISCSI_TX_BYTES (512u * 1024u) /* … or bytes */
#define ISCSI_TX_FEW_CONNS 2u         /* … while at most this many connections are busy */
#define ISCSI_TX_IOV 256u
#define ISCSI_OUT_QUEUE_MAX 64u          /* PDUs built ahead */
#define ISCSI_OUT_FULL 1024u             /* PDUs waiting: the connection isn't read any more */
#define ISCSI_DATA_IN_MAX (256u * 1024u) /* longest Data-In PDU: its iovecs fit one call */
#define ISCSI_HASH_BUCKETS 64u
#define ISCSI_FINISHED_RING 64u /* tags remembered for late TMFs and Data-Outs */
#define ISCSI_R2T_MAX 8u
#define ISCSI_WINDOW_MIN 8u
#define ISCSI_WINDOW_START 32u
#define ISCSI_CTL_DATA_MAX 16384u /* data of a PDU that isn't a SCSI transfer */
#define ISCSI_HDR_MAX (ISCSI_BHS_BYTES + 255u * 4u + ISCSI_DIGEST_BYTES)

struct iscsi_conn;
struct iscsi_loop;

/* ---- tasks (cmd.c) ------------------------------------------------------------------------- */

struct iscsi_r2t_state {
	uint32_t ttt, offset, len, data_sn;
};

struct iscsi_task {
	struct scsi_task scsi; /* first: container_of in the core's callbacks */
	struct iscsi_conn *conn;
	struct list link; /* conn->tasks, later conn->ready */
	struct iscsi_task *hash_next;
	uint32_t itt, cmd_sn, edtl;
	bool immediate_cmd, is_read, is_write;
	bool wants_data;         /* scsi.sg is there and waits for data */
	uint64_t data_ns;        /* when it began to wait, or data came last */
	bool unsolicited;        /* unsolicited Data-Outs may still come */
	bool done;               /* the core called done() */
	bool owed;               /* more data than came with the command is to come */
	bool data_wrong;         /* a Data-Out didn't fit: it won't end with GOOD */
	bool slot_back;          /* its place in the command window is free again */
	uint32_t landed;         /* bytes in scsi.sg, contiguous from 0 */
	uint32_t unsolicited_at; /* offset and DataSN of the next unsolicited Data-Out */
	uint32_t unsolicited_sn;
	uint32_t r2t_at, r2t_sn; /* next byte to solicit */
	uint8_t r2t_first, r2t_count;
	struct iscsi_r2t_state r2t[ISCSI_R2T_MAX];
	uint32_t built, data_sn; /* Data-In: bytes built into PDUs */
	uint32_t stat_sn;        /* of the PDU with its status */
	bool answered;
	uint8_t sense_len_buf[2 + SCSI_SENSE_MAX_BYTES]; /* SenseLength + sense, §11.4.7.2 */
};

/* A task that has been answered, or aborted: what late TMFs and Data-Outs refer to. */
struct iscsi_finished {
	uint32_t itt;     /* ISCSI_TAG_NONE: free */
	uint32_t stat_sn; /* of its response */
	uint64_t at_ns;
	bool answered; /* a response was sent; false: aborted */
};

/* ---- output (tx.c) -------------------------------------------------------------------------- */

struct iscsi_out {
	struct list link;
	uint8_t hdr[ISCSI_BHS_BYTES + ISCSI_DIGEST_BYTES];
	uint8_t hdr_len, tail_len;
	uint8_t tail[4 + ISCSI_DIGEST_BYTES];
	bool last; /* with it the task is answered */
	uint32_t data_off, data_len;
	const struct blk_sg *sg; /* data: the task's scatter list, or */
	const void *flat;        /* flat memory */
	void *flat_free;         /* to be freed when sent */
	struct iscsi_task *task;
};

/* ---- input (rx.c) ------------------------------------------------------------------------------ */

enum iscsi_rx_state { RX_HEADER, RX_DATA, RX_STALLED };
enum iscsi_rx_dest { RX_DISCARD, RX_TASK, RX_CTL };

struct iscsi_rx {
	enum iscsi_rx_state state;
	uint32_t hdr_have, hdr_need;
	uint8_t hdr[ISCSI_BHS_BYTES + 64 + ISCSI_DIGEST_BYTES + 16];
	uint32_t data_len, data_have;  /* of the segment */
	uint32_t tail_need, tail_have; /* padding and digest */
	uint8_t tail[4 + ISCSI_DIGEST_BYTES];
	uint32_t crc;
	/* what the receive buffer holds behind the header; while it is being handled, else none */
	const uint8_t *ahead;
	size_t ahead_len, ahead_used;
	uint32_t ahead_crc;
	enum iscsi_rx_dest dest;
	uint32_t dest_off; /* where byte 0 of the segment lands */
	uint32_t take;     /* bytes of the segment that land; the rest is discarded */
	struct iscsi_task *task;
	uint8_t *ctl;   /* heap, `take` bytes + NUL */
	uint8_t *stash; /* heap: bytes received behind a PDU that had to wait */
	size_t stash_len;
};

/* ---- connection ---------------------------------------------------------------------------------- */

struct iscsi_tmf_slot {
	struct scsi_tmf_req req; /* first */
	struct iscsi_conn *conn;
	struct list link; /* conn->tmf_free */
	uint32_t itt;
	bool cold_reset;
};

enum iscsi_conn_state {
	CONN_STARTING, /* its loop hasn't seen it yet */
	CONN_FULL,     /* full feature phase */
	CONN_LOGOUT,   /* answers the logout when its tasks are gone */
	CONN_CLOSING,  /* socket closed, waits for its tasks */
	CONN_GONE,
	CONN_STATE_COUNT
};

/* What the registry knows (home loop). */
struct iscsi_registration {
	struct list link;
	uint16_t tsih;
	uint8_t isid[6];
	bool discovery;
	bool started; /* sent to its loop */
	char initiator[ISCSI_NAME_MAX + 1];
	char user[256];
	/* By name: configurations come and go. */
	char target[ISCSI_NAME_MAX + 1];
	char group[256];
	bool in_group;          /* false: open view, or discovery */
	struct scsi_view *view; /* NULL: discovery */
	uint16_t rel_port_id, portal_tag;
	struct sockaddr_storage peer, local;
	bool header_digest, data_digest;
	uint64_t since_ns;
};

/*
 * What connections and logins work by. Immutable; a change makes a new one, which each loop's
 * connections get by message. Counted by the home loop: one for the server's current one, one for
 * each login, one or two for each session (what its loop uses, what is on its way to it).
 */
struct iscsi_setup {
	struct list link; /* server->setups */
	uint32_t refs;
	struct iscsi_config *config;
	struct iscsi_limits limits;
	unsigned portal_count;
	struct iscsi_portal_addr portals[];
};

/* One writer, the connection's loop; home reads them. */
struct iscsi_counts {
	uint64_t reads, writes, others, read_bytes, write_bytes;
};
#define ISCSI_COUNT(field, n) __atomic_store_n(&(field), (field) + (uint64_t)(n), __ATOMIC_RELAXED)

struct iscsi_conn {
	struct iscsi_registration reg;           /* home loop */
	bool kill_sent, gone_seen, started_seen; /* home loop */
	struct iscsi_conn *replaces;             /* home loop: starts when that one is gone */
	bool start_failed;                       /* written by its loop before `started` */
	const char *start_failure;               /* likewise: why */
	bool replaced;                           /* home loop: another one waits for its end */
	/* home loop: live.c */
	struct iscsi_setup *setup;       /* its loop's, as far as home knows */
	struct iscsi_setup *next_setup;  /* on its way to its loop; NULL: none */
	struct iscsi_setup *login_setup; /* the login's, until it started */
	struct loop_msg setup_msg;       /* moves next_setup and next_target to its loop */
	const struct iscsi_target *next_target;
	bool ending;     /* it must end, and has until end_at_ns to log out */
	bool end_forced; /* its time is over */
	uint64_t end_at_ns;
	char end_text[160]; /* why; not changed any more once `ending` is set */
	const char *unfit;  /* set before it starts: it is refused instead */
	struct iscsi_server *server;
	struct iscsi_loop *il;
	struct loop_msg msg; /* start, gone */
	struct loop_msg kill_msg, started_msg;
	const char *kill_reason; /* static text */
	bool kill_logout;        /* ask for a logout first */

	/* the connection's loop */
	struct list link; /* il->conns */
	struct sock *sock;
	struct iscsi_login *login;  /* until the final response is built */
	struct iscsi_login_env env; /* for Text requests later */
	const struct iscsi_target *target;
	struct iscsi_counts counts;
	enum iscsi_conn_state state;
	const char *end_reason;
	bool orderly;
	struct iscsi_params params;
	const struct iscsi_limits *limits;
	struct scsi_nexus *nexus; /* NULL: discovery */
	uint32_t stat_sn, exp_cmd_sn, max_cmd_sn, window, window_used;
	uint64_t window_bytes; /* reserved in il->window_bytes */
	uint32_t immediate_count;
	uint32_t owed_count;  /* tasks with `owed` */
	uint32_t awaited;     /* tasks with `wants_data` */
	uint32_t skipped[16]; /* CmdSNs that count as received, §11.6.1 */
	uint32_t skipped_count;
	uint32_t next_ttt;
	struct iscsi_rx rx;
	struct loop_defer rx_again;
	struct list tasks; /* not answered yet */
	struct iscsi_task *hash[ISCSI_HASH_BUCKETS];
	struct iscsi_finished finished[ISCSI_FINISHED_RING];
	uint32_t finished_at;
	struct iscsi_tmf_slot *tmf;
	uint32_t tmf_count; /* of them; not changed by limits later */
	struct list tmf_free;
	uint32_t tmf_busy;
	struct iscsi_text_session text;
	uint32_t logout_itt;
	uint16_t cid;
	bool rx_ignored;   /* the PDU under way is outside the window */
	bool nexus_ending; /* scsi_nexus_destroy() was called */
	/* output */
	struct list ready; /* tasks whose answer isn't (wholly) built */
	struct list out;   /* built PDUs */
	uint32_t out_count, out_responses;
	uint64_t queued_bytes; /* data waiting in ready and out */
	uint32_t out_sent;     /* bytes of the first PDU that are sent */
	bool dirty, tx_blocked;
	struct list dirty_link; /* il->dirty */
	uint64_t last_rx_ns, last_tx_ns;
	uint32_t ping_ttt; /* NOP-In under way, or ISCSI_TAG_NONE */
	uint64_t ping_ns;
	struct loop_timer timer;
	struct loop_defer close_defer;
};

struct iscsi_loop {
	struct iscsi_server *server;
	struct loop *loop;
	unsigned idx;
	uint8_t *rx_buf;
	struct pool tasks, outs;
	struct loop_hook hook;
	struct list conns, dirty;
	uint32_t dirty_count;
	uint32_t busy_last_turn; /* connections that had output in the last turn */
	uint64_t window_bytes;   /* promised to initiators as unsolicited data */
	uint64_t window_bytes_max;
	uint64_t ignored_cmds, digest_errors, rejects; /* counters */
};

struct iscsi_login_conn;

struct iscsi_server {
	struct scsi_core *core;
	void (*event)(void *ctx, const struct iscsi_event *e);
	void *event_ctx;
	unsigned loop_count;
	struct iscsi_loop *il; /* loop_count of them */
	/* home loop */
	struct loop *home;
	struct list listeners;
	struct list logins; /* half-open connections */
	uint32_t login_count;
	struct list sessions; /* iscsi_conn.reg.link */
	uint32_t session_count;
	uint32_t conn_count; /* objects: those of sessions that are gone may still be under way */
	uint16_t next_tsih;
	uint32_t per_loop[LOOP_COUNT_MAX]; /* sessions per loop */
	struct iscsi_setup *setup;         /* current */
	struct list setups;                /* all that something refers to */
	struct list retired; /* configurations that go when nothing refers to them (live.c) */
	struct loop_timer end_timer;
	struct iscsi_auth_record *auth_records;
	bool stopping;
	struct loop_timer stop_timer;
	struct loop_msg stop_msg;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

/* ---- conn.c ------------------------------------------------------------------------------------------ */

/* On the connection's loop: takes the socket, creates the nexus, answers the login. */
void iscsi_conn_start(struct loop_msg *m);
/* Ends it; `reason` is static text for the event. Safe from any callback of the connection. */
void iscsi_conn_end(struct iscsi_conn *c, const char *reason, bool orderly);
/* A connection that has ended: hands itself back when no task, TMF or nexus of it is left. */
void iscsi_conn_maybe_gone(struct iscsi_conn *c);
/* Message handler of kill_msg. */
void iscsi_conn_kill(struct loop_msg *m);
void iscsi_conn_timer(struct iscsi_conn *c);
/* A task ended without answer: if the window looks closed from outside, says that it isn't. */
void iscsi_conn_tell_window(struct iscsi_conn *c);
static inline bool
iscsi_conn_alive(const struct iscsi_conn *c)
{
	return c->state == CONN_FULL || c->state == CONN_LOGOUT;
}
/* RFC 1982 serial comparison. */
static inline bool
iscsi_sn_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}
/* MaxCmdSN for the next PDU; never moves back. */
uint32_t iscsi_conn_max_cmd_sn(struct iscsi_conn *c);

/* ---- rx.c ---------------------------------------------------------------------------------------------- */

void iscsi_rx_event(struct iscsi_conn *c);
/* The PDU that waited for buffers may go on. */
void iscsi_rx_resume(struct iscsi_conn *c);
/* The task is going away: bytes that were to land in it are discarded. */
void iscsi_rx_forget(struct iscsi_conn *c, struct iscsi_task *t);
void iscsi_rx_fini(struct iscsi_conn *c);
/* For header handlers: the data segment, if it has arrived whole and its digest is good, valid until
 * the handler returns; NULL: it comes to where the handler says, piece by piece. */
const void *iscsi_rx_segment(struct iscsi_conn *c);
/* The handler has taken what iscsi_rx_segment() returned. */
void iscsi_rx_segment_taken(struct iscsi_conn *c);

/* What a header handler (ffp.c) decides about the PDU's data. Ends the connection itself on error. */
enum iscsi_rx_go { RX_GO, RX_WAIT, RX_DEAD };

/* ---- ffp.c ---------------------------------------------------------------------------------------------- */

/* Header complete: sets c->rx.dest, take, task. */
enum iscsi_rx_go iscsi_ffp_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
/* After RX_WAIT: the task's buffers are there (or it failed). */
enum iscsi_rx_go iscsi_ffp_header_again(struct iscsi_conn *c);
/* Data complete and its digest good. */
void iscsi_ffp_data(struct iscsi_conn *c);
/* Sends a Reject that quotes the header (§11.17). */
void iscsi_reject(struct iscsi_conn *c, const void *bhs, enum iscsi_reject_reason reason);

/* ---- cmd.c ------------------------------------------------------------------------------------------------ */

/* Non-immediate requests take their CmdSN here. False: the connection is over; *ret_ignore: outside
 * the window, to be ignored silently (§4.2.2.1). */
bool iscsi_cmd_sn_ok(struct iscsi_conn *c, const struct iscsi_bhs *bhs, bool *ret_ignore);
/* A number that never arrived counts as received from now on (§11.6.1). */
void iscsi_cmd_sn_skip(struct iscsi_conn *c, uint32_t cmd_sn);
enum iscsi_rx_go iscsi_cmd_header(struct iscsi_conn *c, const struct iscsi_scsi_cmd *req);
enum iscsi_rx_go iscsi_cmd_header_again(struct iscsi_conn *c, struct iscsi_task *t);
void iscsi_cmd_data(struct iscsi_conn *c, struct iscsi_task *t);
enum iscsi_rx_go iscsi_data_out_header(struct iscsi_conn *c, const struct iscsi_data_out *req);
void iscsi_data_out_done(struct iscsi_conn *c, struct iscsi_task *t);
struct iscsi_task *iscsi_task_find(const struct iscsi_conn *c, uint32_t itt);
/* Among the last ISCSI_FINISHED_RING, or NULL. */
const struct iscsi_finished *iscsi_task_finished(const struct iscsi_conn *c, uint32_t itt);
/* Its place in the command window is free: the answer that is being built says so. */
void iscsi_task_slot_back(struct iscsi_task *t);
/* Answer sent or given up. */
void iscsi_task_free(struct iscsi_task *t);

/* ---- tmf.c ------------------------------------------------------------------------------------------------- */

void iscsi_tmf_request(struct iscsi_conn *c, const struct iscsi_tmf_req *req);

/* ---- tx.c -------------------------------------------------------------------------------------------------- */

/* A PDU of its own; SNs are filled in here where `stat_sn_advance` or not. NULL: pool dry. */
struct iscsi_out *iscsi_out_get(struct iscsi_conn *c);
/* The same with a copy of `len` bytes as its data; NULL also when memory is short. Not for the data
 * path. */
struct iscsi_out *iscsi_out_get_data(struct iscsi_conn *c, const void *data, size_t len);
/* Queues it: header (48 bytes are in out->hdr), data (out->flat, out->data_len). */
void iscsi_out_queue(struct iscsi_conn *c, struct iscsi_out *o, bool advance_stat_sn);
/* The core is done with the task: its answer is built and sent from here on. */
void iscsi_tx_task(struct iscsi_conn *c, struct iscsi_task *t);
/* Sends what there is. */
void iscsi_tx_flush(struct iscsi_conn *c);
void iscsi_tx_mark(struct iscsi_conn *c);
void iscsi_tx_fini(struct iscsi_conn *c);
bool iscsi_tx_empty(const struct iscsi_conn *c);
/* So much waits that the connection isn't read until the initiator takes some of it. */
static inline bool
iscsi_tx_full(const struct iscsi_conn *c)
{
	return c->queued_bytes >= c->limits->send_queue_max_bytes || c->out_count >= ISCSI_OUT_FULL;
}

/* ---- live.c (home loop): changes while sessions work ----------------------------------------- */

/* One reference, the caller's. NULL: out of memory. `room`: for one portal more than `from` has. */
struct iscsi_setup *iscsi_setup_create(struct iscsi_server *s, const struct iscsi_setup *from,
    struct iscsi_config *config, const struct iscsi_limits *limits, bool room);
static inline struct iscsi_setup *
iscsi_setup_get(struct iscsi_setup *u)
{
	u->refs++;
	return u;
}
/* Accepts NULL. */
void iscsi_setup_put(struct iscsi_server *s, struct iscsi_setup *u);
/* Makes it (its reference is taken) the current one; sessions follow, or end. */
void iscsi_setup_publish(struct iscsi_server *s, struct iscsi_setup *u);
/* What a connection uses; before it is sent to its loop. Takes the reference. */
void iscsi_setup_use(struct iscsi_conn *c, struct iscsi_setup *u, const struct iscsi_target *t);
/* What a session has, to be granted anew by another configuration. */
struct iscsi_claim iscsi_conn_claim(const struct iscsi_conn *c);
/* The session ends: it has limits.logout_grace_ms to log out. */
void iscsi_conn_end_soon(struct iscsi_server *s, struct iscsi_conn *c, const char *reason);
/* It was sent to its loop: what changed meanwhile follows. */
void iscsi_conn_follow(struct iscsi_server *s, struct iscsi_conn *c);
void iscsi_live_init(struct iscsi_server *s);
/* Nothing of a change is under way. */
bool iscsi_live_idle(const struct iscsi_server *s);
void iscsi_live_fini(struct iscsi_server *s);

/* ---- login_conn.c (home loop) ------------------------------------------------------------------------------- */

void iscsi_login_conn_accept(struct iscsi_server *s, struct sock *sock, uint16_t tag);
void iscsi_login_conn_end_all(struct iscsi_server *s);

/* ---- registry.c (home loop) ---------------------------------------------------------------------------------- */

/*
 * Places the session that `lg` agreed on: what it was granted, limits, reinstatement, TSIH, loop.
 * Takes sock, lg and the reference to login_setup over when it returns 0; otherwise returns the
 * status to refuse with.
 */
enum iscsi_login_status iscsi_registry_place(struct iscsi_server *s, struct iscsi_login *lg,
    const struct iscsi_login_env *env, struct iscsi_setup *login_setup, struct sock *sock,
    const char **ret_reason);
/* Is there a session with this TSIH of this initiator port? */
bool iscsi_registry_knows(
    const struct iscsi_server *s, const char *initiator, const uint8_t isid[6], uint16_t tsih);
/* Nobody refers to the connection any more: frees it, starts the one that waits for its end. */
void iscsi_registry_maybe_free(struct iscsi_conn *c);
/* The connection's last message. */
void iscsi_registry_gone(struct loop_msg *m);
/* A connection entered full feature phase: raises the event. */
void iscsi_registry_started(struct loop_msg *m);
void iscsi_registry_kill(
    struct iscsi_server *s, struct iscsi_conn *c, const char *reason, bool logout_first);
/* The kill message is back. */
void iscsi_registry_kill_ack(struct loop_msg *m);
int iscsi_registry_init(struct iscsi_server *s); /* 0 or -1: out of memory */
void iscsi_registry_fini(struct iscsi_server *s);
void iscsi_server_maybe_stopped(struct iscsi_server *s);
/* Failures of authentication per address. */
bool iscsi_auth_blocked(struct iscsi_server *s, const struct sockaddr_storage *peer);
void iscsi_auth_failure(struct iscsi_server *s, const struct sockaddr_storage *peer);
void iscsi_raise(struct iscsi_server *s, enum iscsi_event_kind kind, const char *initiator,
    const char *target, const struct sockaddr_storage *peer, const char *user, const char *reason,
    uint16_t status, uint16_t tsih);
void iscsi_format_addr(const struct sockaddr_storage *a, char *buf, size_t cap);
bool iscsi_same_addr(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

#endif
