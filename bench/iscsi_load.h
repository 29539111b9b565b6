/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace-bench-iscsi, a light iSCSI initiator that makes load: one thread, non-blocking sockets,
 * spinning in user space, data neither copied nor looked at. Shared by the program's own files only.
 *
 * Life of a run: options → sessions log in one after another (blocking, with a deadline) → each
 * waits for a ready unit and reads its capacity → engine: warm-up, measurement, drain → logout →
 * report. Sessions, tasks and buffers are made before the engine starts and live to the end.
 */
#ifndef BENCH_ISCSI_LOAD_H
#define BENCH_ISCSI_LOAD_H

#include "base/list.h"
#include "bench/histogram.h"
#include "bench/iscsi_wire.h"
#include "bench/proc_cpu.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define LOAD_SESSIONS_MAX 1024u
#define LOAD_DEPTH_MAX 1024u
#define LOAD_BLOCK_BYTES_MAX (8u << 20)
/* What we declare in login. The receive buffer holds one such segment behind what slides. */
#define LOAD_SEGMENT_BYTES (256u << 10)
#define LOAD_RX_SLIDE_BYTES (64u << 10)
#define LOAD_RX_BYTES (LOAD_SEGMENT_BYTES + 2 * LOAD_RX_SLIDE_BYTES)

enum load_mode { LOAD_MODE_LOAD, LOAD_MODE_VERIFY, LOAD_MODE_IDLE, LOAD_MODE_COUNT };
enum load_pattern {
	LOAD_PATTERN_RANDOM,
	LOAD_PATTERN_SEQUENTIAL,
	LOAD_PATTERN_ZIPF,
	LOAD_PATTERN_COUNT
};

struct load_options {
	struct sockaddr_storage portal;
	socklen_t portal_len;
	const char *target;
	const char *initiator;
	uint64_t lun;
	uint32_t sessions;
	uint32_t depth;
	uint32_t block_bytes;
	uint32_t read_percent;
	enum load_pattern pattern;
	enum load_mode mode;
	double seconds;
	double warmup_seconds;
	uint64_t region_bytes; /* 0: the whole LUN (verify: its first 64 MiB) */
	uint64_t pace_iops;    /* 0: closed loop */
	uint64_t commands;     /* 0: as many as the time allows */
	uint64_t seed;
	bool sleep; /* between packets, instead of spinning */
	bool header_digest;
	bool data_digest;
	bool json;
	pid_t target_pid; /* 0: CPU of the target isn't measured */
	int cpu;          /* -1: not pinned */
};

/* How parsing the command line ended. */
enum load_parse { LOAD_PARSE_OK, LOAD_PARSE_HELP, LOAD_PARSE_BAD };

/*
 * Strings of `ret` point into argv. With LOAD_PARSE_BAD, `err` gets one line for a person.
 * Resets getopt's state, so it may be called again.
 */
enum load_parse load_options_parse(
    int argc, char **argv, struct load_options *ret, char *err, size_t err_cap);
void load_options_usage(const char *program);

/* Session parameters after negotiation (RFC 7143 §13). */
struct load_params {
	bool header_digest;
	bool data_digest;
	bool initial_r2t;
	bool immediate_data;
	uint32_t send_segment_bytes; /* the target's MaxRecvDataSegmentLength */
	uint32_t first_burst_bytes;
	uint32_t max_burst_bytes;
};

void load_params_init(struct load_params *p);
/*
 * Applies one answer of the target. 0; -EPROTO for a value outside the key's range or one that
 * we did not offer. Unknown keys are ignored.
 */
int load_params_apply(struct load_params *p, const char *key, const char *value);

struct load_session;

/* One command slot of a session. */
struct load_task {
	struct bench_scsi_cmd cmd; /* template: only what differs is filled in for each I/O */
	struct list burst_link;    /* in load_session.bursts while data-out is to be sent */
	uint32_t idx;
	uint16_t generation; /* upper half of the tag, so that late PDUs are noticed */
	bool busy;
	bool is_write;
	uint64_t start_ns;
	uint64_t lba;
	uint32_t block_count;
	uint32_t len;      /* bytes of the whole transfer */
	uint32_t received; /* bytes of Data-In so far; DataPDUInOrder=Yes */
	uint32_t data_sn;  /* next Data-In */
	uint32_t burst_offset;
	uint32_t burst_end;
	uint32_t burst_ttt;
	uint32_t burst_data_sn;
	uint32_t stamp_generation; /* verify: of the blocks that a write leaves */
	uint8_t *data;             /* load: the engine's pattern; verify: the task's own buffer */
};

/* Bytes on their way out. Headers are copied here; data is referred to. Reset when all is sent. */
struct load_tx {
	uint8_t *headers;
	uint32_t header_bytes;
	uint32_t header_cap;
	struct iovec *iov;
	uint32_t iov_head;
	uint32_t iov_count;
	uint32_t iov_cap;
};

struct load_rx {
	uint8_t *buf;
	uint32_t start;
	uint32_t end;
	uint32_t skip_bytes; /* rest of `pdu`'s data segment, to be thrown away */
	bool pdu_open;       /* `pdu` waits for skip_bytes to become 0 */
	struct bench_bhs pdu;
	uint32_t digest_turn; /* counts data segments, for the sampled digest check */
};

/* What went wrong, by kind. The first one's text is kept for the report. */
struct load_errors {
	uint64_t status;   /* commands that ended other than GOOD, or short */
	uint64_t protocol; /* PDUs that break RFC 7143, Reject, drops */
	uint64_t data;     /* digests, and verify's miscompares */
	char first[256];
};

struct load_engine;

struct load_session {
	struct load_engine *engine;
	int fd; /* -1 once closed */
	uint32_t idx;
	uint8_t isid[6];
	struct load_params params;
	uint32_t cmd_sn;
	uint32_t max_cmd_sn;
	uint32_t exp_stat_sn;
	struct load_task *tasks;
	uint32_t *free_tasks; /* stack of indices */
	uint32_t free_count;
	struct list bursts;
	struct load_tx tx;
	struct load_rx rx;
	uint64_t tx_retry_ns; /* the socket was full: not before this */
	uint64_t seq_lba;
	struct bench_nop nop_out; /* answer to the target's ping, if nop_pending */
	bool nop_pending;
};

/* Ranks by their frequency, after Gray et al. 1994, "Quickly generating billion-record databases". */
struct load_zipf {
	uint64_t count, step;
	double theta, zeta, alpha, eta;
};

struct load_verify; /* iscsi_load_verify.c */

struct load_engine {
	const struct load_options *opt;
	struct load_session *sessions;
	int epoll_fd;
	uint32_t alive_count;
	uint32_t logical_block_bytes;
	uint64_t capacity_blocks;
	uint64_t region_blocks;
	uint32_t io_blocks;
	uint64_t now_ns;
	uint64_t random_state;
	uint8_t *pattern;            /* block_bytes of random bytes, sent by every write */
	uint32_t pattern_crc_len[2]; /* lengths whose digest of the pattern is known */
	uint32_t pattern_crc[2];
	bool issuing;
	bool measuring;
	uint64_t measure_start_ns; /* latency of commands begun before it doesn't count */
	uint64_t pace_interval_ns;
	uint64_t pace_due_ns;
	uint64_t begun; /* commands, warm-up included */
	struct load_zipf zipf;
	uint64_t busy_count; /* commands in flight */
	/* Results of the measured time. */
	uint64_t reads;
	uint64_t writes;
	uint64_t bytes;
	uint64_t measured_ns;
	struct histogram latency;
	struct load_errors errors;
	bool has_cpu;
	struct proc_cpu cpu_before;
	struct proc_cpu cpu_after; /* deltas, once the run is over */
	uint64_t cpu_ns;
	struct load_verify *verify;
};

/* iscsi_load_session.c. load_engine_fini() takes what a failed load_engine_init() left. */
int load_engine_init(struct load_engine *e, const struct load_options *o);
void load_engine_fini(struct load_engine *e);
/* Logs all sessions in and learns the unit's size. 0, -EIO (errors has the reason) or -ENOMEM. */
int load_engine_connect(struct load_engine *e);
uint64_t load_now_ns(void);
uint64_t load_random(struct load_engine *e);
__attribute__((format(printf, 3, 4))) void load_error(
    struct load_engine *e, uint64_t *counter, const char *fmt, ...);

/* iscsi_load_zipf.c: pure. Rank 0 is the most frequent of `count` ≥ 2. */
void load_zipf_init(struct load_zipf *z, uint64_t count, double theta);
/* `random`: of all 64 bits. */
uint64_t load_zipf_rank(const struct load_zipf *z, uint64_t random);
/* A place below `count` for a rank: each has its own, neighbours in rank aren't neighbours. */
uint64_t load_zipf_place(const struct load_zipf *z, uint64_t rank);

/* iscsi_load_pdu.c: pure, but for the socket in load_tx_flush(). */
void load_pdu_cdb(uint8_t cdb[16], bool is_write, uint64_t lba, uint32_t block_count);
void load_pdu_lun(uint8_t field[8], uint64_t lun);
int load_tx_init(struct load_tx *tx, uint32_t depth);
void load_tx_fini(struct load_tx *tx);
/* Whether one more PDU fits; if not, wait until what is queued was sent. */
bool load_tx_has_room(const struct load_tx *tx);
bool load_tx_empty(const struct load_tx *tx);
/*
 * Queues a PDU: sets the header's DataSegmentLength, adds digests (`data_crc` is used as the data's
 * digest) and padding. `data` is borrowed until sent.
 */
void load_tx_add(struct load_tx *tx, const struct load_params *p, void *header, const void *data,
    uint32_t len, uint32_t data_crc);
/* Sends what fits. 0: all sent; -EAGAIN: the socket is full; other -errno: the connection is lost. */
int load_tx_flush(struct load_tx *tx, int fd);

/* iscsi_load_login.c: blocking, each call bounded by `deadline_ns`. */
int load_session_login(struct load_session *s, uint64_t deadline_ns);
/* TEST UNIT READY until GOOD, then READ CAPACITY(16) into the engine. */
int load_session_prepare(struct load_session *s, uint64_t deadline_ns);
void load_session_logout(struct load_session *s);

/* iscsi_load_engine.c. 0, or -EIO if the run broke off (errors has the reason), or -errno. */
int load_engine_run(struct load_engine *e);
/* Ends the connection; its commands in flight are lost. */
void load_session_fail(struct load_session *s);
void load_task_put(struct load_session *s, struct load_task *t);

/* iscsi_load_rx.c: takes what the socket has. False if the session failed. */
bool load_rx_pump(struct load_session *s);

/* iscsi_load_tx.c: queues answers, data-out and new commands as far as there is room. */
void load_tx_fill(struct load_session *s);

/* iscsi_load_verify.c */
int load_verify_create(struct load_engine *e);
void load_verify_destroy(struct load_engine *e);
/* Chooses the task's next transfer and prepares its data. False: nothing to do now. */
bool load_verify_next(struct load_session *s, struct load_task *t);
/* A command ended with GOOD (or not): checks read data, settles what the blocks hold. */
void load_verify_done(struct load_session *s, struct load_task *t, bool good);
/* Ends the random part and starts the final reading of everything; true once all was read. */
bool load_verify_finish(struct load_engine *e);
uint64_t load_verify_checked_blocks(const struct load_engine *e);
void load_verify_fill(
    uint8_t *block, uint32_t block_bytes, uint64_t lba, uint32_t generation, uint64_t seed);
/* Offset of the first wrong byte, or block_bytes if all are right. */
uint32_t load_verify_check(
    const uint8_t *block, uint32_t block_bytes, uint64_t lba, uint32_t generation, uint64_t seed);

/* iscsi_load_report.c */
void load_report(const struct load_engine *e);

#endif
