/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the SCSI core. One section per source file.
 *
 * Life of a task (task.c):
 *   submit → LUN → opcode row → CDB mask → unit attention → reservation → state of the unit →
 *   row->prepare() (lengths, range) → buffers → data-out → admission (order.c, lock.c) →
 *   row->execute() → scsi_task_good()/…_fail() → ops->done → release.
 *
 * INV-1  A task's handler runs only while no older task of its task set forbids it (order table)
 *        and no range lock of another task overlaps its range, on any loop.
 * INV-2  A task that was checked against an older state of the unit (epoch) is checked again right
 *        before it executes; a change that fences drains what was in the store before it answers.
 * INV-3  ops->done runs exactly once per submitted task, from a deferred call.
 * INV-4  Only the home loop decides a change of the unit; every loop only applies it, in order.
 * INV-5  A task with in_store set is never completed before its blk_io is done.
 */
#ifndef SCSI_SCSI_PRIV_H
#define SCSI_SCSI_PRIV_H

#include "base/assert.h"
#include "base/endian.h"
#include "base/list.h"
#include "base/pool.h"
#include "scsi/scsi.h"

struct scsi_lu_loop;
struct scsi_lock;
struct scsi_view_part;

#define SCSI_PARAM_IN_MAX (256u * 1024u) /* longest parameter data that any handler returns */
#define SCSI_PARAM_OUT_MAX (64u * 1024u) /* longest parameter list that is accepted */

/* ---- sense.c: sense by meaning ------------------------------------------------------------ */

/* Key/ASC/ASCQ live in one table in sense.c; names as in SPC-4 annex F. */
enum scsi_sense {
	SENSE_NONE,
	SENSE_NOT_READY_BECOMING,              /* 2/04/01 */
	SENSE_NOT_READY_INITIALIZING_REQUIRED, /* 2/04/02 stopped */
	SENSE_NOT_READY_MANUAL,                /* 2/04/03 the store is gone */
	SENSE_NOT_READY_FORMAT,                /* 2/04/04 */
	SENSE_NOT_READY_SANITIZE,              /* 2/04/1b */
	SENSE_MEDIUM_NOT_PRESENT,              /* 2/3a/00 */
	SENSE_MEDIUM_NOT_PRESENT_TRAY_OPEN,    /* 2/3a/02 */
	SENSE_UNRECOVERED_READ,                /* 3/11/00 */
	SENSE_WRITE_ERROR,                     /* 3/0c/00 */
	SENSE_SANITIZE_FAILED,                 /* 3/31/03 */
	SENSE_INTERNAL_FAILURE,                /* 4/44/00 */
	SENSE_OPERATION_IN_PROGRESS,           /* 5/00/16 */
	SENSE_PARAM_LIST_LENGTH,               /* 5/1a/00 */
	SENSE_INVALID_OPCODE,                  /* 5/20/00 */
	SENSE_LBA_OUT_OF_RANGE,                /* 5/21/00 */
	SENSE_INVALID_FIELD_CDB,               /* 5/24/00 */
	SENSE_LUN_NOT_SUPPORTED,               /* 5/25/00 */
	SENSE_INVALID_FIELD_PARAM,             /* 5/26/00 */
	SENSE_INVALID_RELEASE,                 /* 5/26/04 */
	SENSE_UNSUPPORTED_TARGET_DESC,         /* 5/26/07 */
	SENSE_UNSUPPORTED_SEGMENT_DESC,        /* 5/26/09 */
	SENSE_TOO_MANY_TARGET_DESCS,           /* 5/26/06 */
	SENSE_TOO_MANY_SEGMENT_DESCS,          /* 5/26/08 */
	SENSE_INLINE_DATA_LENGTH,              /* 5/26/0b */
	SENSE_SAVING_NOT_SUPPORTED,            /* 5/39/00 */
	SENSE_MEDIUM_REMOVAL_PREVENTED,        /* 5/53/02 */
	SENSE_INSUFFICIENT_REG_RESOURCES,      /* 5/55/04 */
	SENSE_INSUFFICIENT_RESOURCES,          /* 5/55/03 */
	SENSE_WRITE_PROTECTED,                 /* 7/27/00 */
	SENSE_WRITE_PROTECTED_SOFTWARE,        /* 7/27/02 */
	SENSE_SPACE_ALLOC_FAILED,              /* 7/27/07 */
	SENSE_COPY_ABORTED,                    /* a/00/00 */
	SENSE_COPY_TARGET_UNREACHABLE,         /* a/0d/02 */
	SENSE_COPY_TARGET_FAILED,              /* a/0d/01 third party device failure */
	SENSE_DATA_PHASE_ERROR,                /* b/4b/00 */
	SENSE_NOT_ENOUGH_UNSOLICITED,          /* b/0c/0d */
	SENSE_PROTOCOL_CRC_ERROR,              /* b/47/05 */
	SENSE_UNEXPECTED_UNSOLICITED,          /* b/0c/0c */
	SENSE_COMMAND_ABORTED,                 /* b/00/00 */
	SENSE_OVERLAPPED_COMMANDS,             /* b/4e/00 */
	SENSE_MISCOMPARE,                      /* e/1d/00 */
	SENSE_COUNT
};

/* Each sets CHECK CONDITION and the sense data on the task (fixed or descriptor format by D_SENSE)
 * and returns false, so that a prepare() can `return scsi_sense(t, …);`. It doesn't complete it. */
bool scsi_sense(struct scsi_task *t, enum scsi_sense s);
/* 5/24/00 with field pointer; bit < 0: whole byte (BPV=0). */
bool scsi_sense_cdb(struct scsi_task *t, unsigned byte, int bit);
/* 5/26/00 with field pointer into the parameter list. */
bool scsi_sense_param(struct scsi_task *t, unsigned byte, int bit);
/* With VALID and INFORMATION; fixed format leaves it out when it doesn't fit 32 bits. */
bool scsi_sense_info(struct scsi_task *t, enum scsi_sense s, uint64_t information);
/* With a progress indication (0..65535) in the sense key specific bytes. */
bool scsi_sense_progress(struct scsi_task *t, enum scsi_sense s, uint16_t progress);
/* The one place where a blk's -errno becomes sense. lba: of the failed range. */
bool scsi_sense_errno(struct scsi_task *t, int err, enum blk_op op, uint64_t lba);
/* Plain sense data for REQUEST SENSE; returns its length. */
size_t scsi_sense_build(enum scsi_sense s, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES]);
size_t scsi_sense_build_progress(
    enum scsi_sense s, uint16_t progress, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES]);
/* Codes that aren't in enum scsi_sense (unit attentions). */
size_t scsi_sense_build_code(
    uint8_t key, uint8_t asc, uint8_t ascq, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES]);

/* ---- ua.c: unit attentions ------------------------------------------------------------------ */

/* Bits of scsi_nexus_lu.ua; the lowest is reported first. SAM-5 5.14, SPC-4 annex F. */
enum scsi_ua {
	UA_POWER_ON,         /* 29/00 */
	UA_BUS_RESET,        /* 29/02 */
	UA_DEVICE_RESET,     /* 29/03 */
	UA_NEXUS_LOSS,       /* 29/07 */
	UA_MEDIUM_CHANGED,   /* 28/00 */
	UA_COMMANDS_CLEARED, /* 2f/00 by another initiator */
	UA_MODE_CHANGED,     /* 2a/01 */
	UA_LOG_CHANGED,      /* 2a/02 */
	UA_RES_PREEMPTED,    /* 2a/03 */
	UA_RES_RELEASED,     /* 2a/04 */
	UA_REG_PREEMPTED,    /* 2a/05 */
	UA_ALUA_CHANGED,     /* 2a/06 */
	UA_CAPACITY_CHANGED, /* 2a/09 */
	UA_INQUIRY_CHANGED,  /* 3f/03 */
	UA_LUNS_CHANGED,     /* 3f/0e */
	UA_THIN_THRESHOLD,   /* 38/07 */
	UA_COUNT
};
void scsi_ua_raise(struct scsi_nexus_lu *nlu, enum scsi_ua ua);
/* All LUs of one nexus: REPORT LUNS clears 3F/0E everywhere (SPC-4 6.33). */
void scsi_ua_clear(struct scsi_nexus *n, enum scsi_ua ua);
/* All nexuses of this loop's part of the unit but `except` (may be NULL). */
void scsi_ua_raise_loop(struct scsi_lu_loop *ll, enum scsi_ua ua, const struct scsi_nexus *except);
/* Takes the highest pending one and puts it into the task as CHECK CONDITION. False: none pending. */
bool scsi_ua_take(struct scsi_nexus_lu *nlu, struct scsi_task *t);
/* For REQUEST SENSE: takes it as sense data; 0: none pending. */
size_t scsi_ua_take_sense(
    struct scsi_nexus_lu *nlu, bool descriptor, uint8_t buf[SCSI_SENSE_MAX_BYTES]);

/* Rows and columns of the ordering matrix (order_table.c). */
enum scsi_order {
	ORD_NONE, /* INQUIRY…: never waits, nobody waits for it */
	ORD_READ,
	ORD_WRITE,  /* also UNMAP, WRITE SAME: waits only for range locks */
	ORD_ATOMIC, /* holds a range lock: COMPARE AND WRITE, ORWRITE, WRITE ATOMIC… */
	ORD_FLUSH,
	ORD_CONFIG,    /* MODE SELECT, PR OUT, START STOP…: through change.c */
	ORD_EXCLUSIVE, /* FORMAT UNIT, SANITIZE: alone */
	ORD_COUNT
};

/* ---- lu.c: the unit and its copies ------------------------------------------------------------ */

/* Mode parameters that an initiator can change (MODE SELECT); all else is constant. */
struct scsi_mode {
	bool swp;     /* control page: software write protect */
	bool d_sense; /* descriptor sense */
	bool tas;     /* task aborted status */
	bool wce;     /* caching page; changeable only in mode `volatile` */
};

/* What every loop has a copy of; changed only through change.c. */
struct scsi_lu_state {
	uint64_t blocks; /* capacity in logical blocks */
	struct scsi_mode mode;
	bool read_only; /* the administrator's, or the store's */
	bool gone;      /* the store doesn't answer */
	bool stopped;   /* START STOP UNIT */
	bool ejected;   /* removable medium is out */
	bool formatting;
	bool sanitizing;
	bool sanitize_failed;
	bool sanitize_restricted;    /* …with AUSE=0: EXIT FAILURE MODE doesn't end it */
	uint16_t progress;           /* of formatting/sanitizing, /65536 */
	uint32_t prevent_count;      /* nexuses that prevent medium removal */
	bool space_known, space_low; /* thin: of the store (sbc_space.c) */
	uint32_t space_used_sets, space_free_sets;
};

struct scsi_pr; /* pr.c: registrations and reservation; also SPC-2's */

struct scsi_lu_loop {
	struct scsi_lu *lu;
	struct loop *loop;
	struct scsi_lu_state st;
	struct scsi_pr *pr;  /* this loop's copy; never NULL */
	bool special;        /* st says something that most commands care about (lu.c) */
	uint32_t epoch;      /* raised by each change */
	struct list running; /* tasks RUNNING here */
	uint32_t running_count[ORD_COUNT];
	struct list blocked;   /* tasks BLOCKED here, in order of arrival */
	uint32_t excl_blocked; /* ORD_EXCLUSIVE ones among them */
	struct loop_defer unblock;
	struct list locks; /* range locks in force or wanted, of all loops (lock.c) */
	uint32_t lock_count;
	uint32_t own_locks;                /* locks got on this loop and not yet back in its pool */
	struct list nexus_lus;             /* scsi_nexus_lu.lu_link */
	uint32_t drain_left;               /* tasks that a change waits for */
	struct scsi_change_part *draining; /* whose; at most one change is in force */
	struct list abort_waits;           /* scsi_abort_wait.link: resets (tmf.c) */
	struct list guests;                /* scsi_guest.link: copies' I/O in the store (copy.c) */
	struct scsi_heat *heat;            /* of this loop; never NULL */
	struct scsi_lu_stats stats;
} __attribute__((aligned(64)));

struct scsi_lu_events;
struct scsi_lu {
	struct scsi_core *core;
	struct list link;
	struct scsi_lu_args id; /* strings owned; naa, serial etc. filled in; read_only: see st */
	struct blk *blk;
	uint32_t block_shift; /* log2(block_bytes) */
	uint8_t physical_exponent;
	bool thin, sanitize; /* after looking at the blk's capabilities */
	uint32_t caps;       /* the blk's */
	bool read_only_set;  /* home loop: as last asked for; in force: st.read_only */
	struct list changes; /* home loop: waiting, first one in force */
	bool change_active;
	struct scsi_pr *pr_master; /* home loop */
	struct scsi_lu_loop *ll;   /* core->loop_count of them, by loop index */
	void *sanitize_job;        /* sbc_sanitize.c, home loop */
	bool destroying;           /* a job stops at its next step and calls scsi_lu_job_ended() */
	void (*destroyed)(void *ctx);
	void *destroyed_ctx;
	struct scsi_lu_events *events; /* lu.c */
};

/* The current loop's copy of the unit's state changed: recomputes ll->special. */
void scsi_lu_refresh(struct scsi_lu_loop *ll);
/* Mode pages as they are after power on or a reset. */
struct scsi_mode scsi_lu_default_mode(const struct scsi_lu *lu);
/* Home loop: sanitize_job has become NULL. Lets a waiting scsi_lu_destroy() go on. */
void scsi_lu_job_ended(struct scsi_lu *lu);

struct scsi_port {
	struct list link;
	uint16_t rel_port_id, group_id;
	char *device_name, *name;
};

/* What each loop has for itself. */
struct scsi_core_loop {
	struct list ports; /* struct scsi_port: this loop's copies */
	struct pool locks; /* struct scsi_lock */
	uint64_t task_seq; /* order of arrival of all tasks here; other loops look at it */
	uint64_t nexus_seq;
	uint32_t nexus_count;
	uint32_t sg2_waiters; /* tasks that hold buffers and wait for more: at most one */
} __attribute__((aligned(64)));

struct scsi_core {
	struct loop *loops[LOOP_COUNT_MAX];
	unsigned loop_count;
	uint8_t index_by_id[LOOP_COUNT_MAX]; /* loop_id() → index in loops; 0xff: not ours */
	struct list lus;
	struct list port_sets; /* core.c */
	struct scsi_persist_ops persist;
	char vendor[9];
	struct scsi_core_loop per_loop[LOOP_COUNT_MAX];
};

/* Index of the current loop in core->loops (asserts that it is one of them); 0 before they run. */
unsigned scsi_loop_index(const struct scsi_core *c);
/* The target ports, struct scsi_port: this loop's copy of the list. */
const struct list *scsi_core_ports(const struct scsi_core *c);
/* Runs the message at once if `dst` is the current loop, else sends it. */
void scsi_deliver(struct loop *dst, struct loop_msg *m);
/* Counters have one writer; others may read them at any time. */
#define SCSI_STAT_ADD(field, n)                                                                    \
	__atomic_store_n(&(field), (field) + (uint64_t)(n), __ATOMIC_RELAXED)
/* latency.c: the bucket of scsi_latency for a time. */
unsigned scsi_latency_bucket(uint64_t ns);
/* heat.c: the size of parts for a unit of so many blocks. */
uint32_t scsi_heat_shift(uint64_t blocks);
/* ll->st.blocks changed. */
void scsi_heat_follow(struct scsi_lu_loop *ll);
static inline void
scsi_heat_count(uint32_t *counts, uint32_t shift, uint64_t lba)
{
	uint64_t part = lba >> shift;
	if (part < SCSI_HEAT_PARTS)
		__atomic_store_n(&counts[part], counts[part] + 1, __ATOMIC_RELAXED);
}
static inline struct scsi_lu_loop *
scsi_lu_here(const struct scsi_lu *lu)
{
	return &lu->ll[scsi_loop_index(lu->core)];
}

/* ---- nexus.c ---------------------------------------------------------------------------------- */

struct scsi_nexus_lu {
	struct scsi_nexus *nexus;
	struct scsi_lu *lu;
	struct scsi_lu_loop *ll;
	uint16_t lun;
	bool read_only;
	uint32_t ua;      /* pending unit attentions, 1 << enum scsi_ua */
	uint32_t pr_deny; /* 1 << enum scsi_pr_class: what the reservations refuse to us now */
	bool prevents_removal;
	bool gone;              /* the view shows it no more; it ends after its last task */
	struct list tasks;      /* scsi_task.nexus_link, in order of arrival */
	uint32_t ordered_count; /* ORDERED and HEAD OF QUEUE tasks in the set */
	uint32_t copies; /* times that copies of the nexus mean it as source or destination */
	struct list lu_link;
	/* gone */
	struct list gone_link; /* nexus->gone_lus */
	struct loop_defer end;
	struct scsi_view_part *part; /* the change that waits for its end */
};

/*
 * I/O on a unit by a copy that was addressed to another one: in no task set of the unit, but a change
 * with `drain` waits for it as for the unit's own tasks.
 */
struct scsi_guest {
	struct list link; /* ll->guests while in the store */
	bool drain;       /* counted in ll->drain_left */
};

#define SCSI_COPIES_MAX 8u
enum scsi_copy_state { SCSI_COPY_FREE, SCSI_COPY_ACTIVE, SCSI_COPY_ENDED };

/* One EXTENDED COPY of a nexus: while it works, and what RECEIVE COPY RESULTS tells of it later. */
struct scsi_copy {
	uint8_t state; /* enum scsi_copy_state */
	uint8_t list_id;
	bool has_list_id;
	bool keep;                /* the results stay when it ends */
	const struct scsi_lu *lu; /* to which it was addressed */
	uint64_t serial;          /* order of start */
	uint32_t segments_done;
	uint64_t bytes_done;
	uint8_t status, sense_len; /* ended */
	uint8_t sense[SCSI_SENSE_MAX_BYTES];
	/* the segment that it is in, in blocks */
	struct scsi_task *task;
	struct scsi_nexus_lu *src, *dst;
	uint64_t src_lba, dst_lba;
	uint32_t blocks, done, piece;
	bool backward;          /* overlapping: from the end */
	struct scsi_lock *lock; /* of the piece; NULL between pieces */
	struct scsi_guest guest;
	struct loop_defer yield;
};

struct scsi_nexus {
	struct scsi_core *core;
	struct loop *loop;
	struct scsi_view *view;
	struct list view_link; /* the view's list of this loop */
	uint16_t rel_port_id;
	uint64_t id; /* unique in the process, for SPC-2 reservations */
	uint8_t transport_id[SCSI_TRANSPORT_ID_MAX];
	uint16_t transport_id_len;
	char *initiator;
	uint32_t tmfs; /* 1 << enum scsi_tmf that its transport carries */
	struct scsi_core_loop *cl;
	uint32_t task_count;
	uint32_t tmf_count;        /* task management functions not done */
	struct list lunless_tasks; /* tasks to LUNs that aren't mapped */
	struct list abort_waits;   /* scsi_abort_wait.link: functions within this nexus (tmf.c) */
	struct loop_defer gone_defer;
	bool dying;
	bool watched; /* dying, or some unit is gone: the end of a task matters */
	uint32_t nlu_count;
	struct scsi_nexus_lu **nlus; /* sorted by lun; binary search, [lun] direct when dense */
	struct list gone_lus;        /* scsi_nexus_lu.gone_link */
	struct list gone_waits;      /* scsi_tmf_req.gone_link */
	struct scsi_copy copies[SCSI_COPIES_MAX];
	uint64_t copy_serial;
	void (*gone)(void *ctx);
	void *gone_ctx;
};

/* Immutable; a change makes a new one, and frees the old one when all loops have left it. */
struct scsi_view_map {
	uint32_t count;
	struct scsi_view_entry entries[];
};

struct scsi_view_loop {
	const struct scsi_view_map *map; /* what new nexuses of this loop get */
	struct list nexuses;             /* scsi_nexus.view_link */
	uint32_t users;                  /* their number; home looks at it too */
} __attribute__((aligned(64)));

struct scsi_view {
	struct scsi_core *core;
	struct scsi_view_map *map; /* home loop: as last changed */
	struct list changes;       /* home loop: under way, oldest first (view_change.c) */
	struct scsi_view_loop per_loop[LOOP_COUNT_MAX];
};
/* view.c: 0, -EEXIST, -ENOMEM. Freed with free(). */
int scsi_view_map_create(const struct scsi_core *c, const struct scsi_view_entry *entries,
    uint32_t count, struct scsi_view_map **ret);
/* The entry with this number, or NULL. */
const struct scsi_view_entry *scsi_view_map_find(const struct scsi_view_map *m, uint16_t lun);
/* view_change.c: a unit of a nexus that the change took away has ended. */
void scsi_view_part_put(struct scsi_view_part *p);

/* Decodes peripheral and flat addressing (SAM-5 4.7.6). False: another method, or a 2nd level. */
bool scsi_lun_decode(const uint8_t lun[8], uint16_t *ret);
/* Flat space addressing above 255, peripheral below (as initiators expect). */
void scsi_lun_encode(uint16_t lun, uint8_t ret[8]);
/* REPORT LUNS well known logical unit C1 01. */
bool scsi_lun_is_report_luns(const uint8_t lun[8]);
struct scsi_nexus_lu *scsi_nexus_find(const struct scsi_nexus *n, uint16_t lun);

/* nexus.c: memory for a unit of some nexus (on cache lines of its own), freed with free(). */
struct scsi_nexus_lu *scsi_nexus_lu_alloc(void);
/* Begins its life in the nexus; nlu is uninitialised memory from the above. */
void scsi_nexus_lu_init(
    struct scsi_nexus *n, struct scsi_nexus_lu *nlu, const struct scsi_view_entry *e);
/* The view shows it no more: ends its tasks, and itself after them. It isn't in n->nlus any more. */
void scsi_nexus_lu_leave(struct scsi_nexus_lu *nlu, struct scsi_view_part *part);
/* A task or copy let go of a unit that is gone: was it the last? */
void scsi_nexus_lu_check(struct scsi_nexus_lu *nlu);

/* ---- opcode tables: one per family, indexed by opcode.c ---------------------------------------- */

enum scsi_dir {
	SCSI_DIR_NONE,
	SCSI_DIR_IN,    /* parameter data: plain buffers of min(xfer_bytes, SCSI_PARAM_IN_MAX) */
	SCSI_DIR_OUT,   /* parameter list of xfer_bytes ≤ SCSI_PARAM_OUT_MAX, else 5/1a/00 */
	SCSI_DIR_READ,  /* blocks: buffers by blk_sg_get(READ, lba, xfer_bytes) */
	SCSI_DIR_WRITE, /* blocks: buffers by blk_sg_get(WRITE, lba, xfer_bytes) */
	SCSI_DIR_OUT_PLAIN, /* blocks that don't go to lba as they are (verify, compare, write same) */
};

/*
 * Reservation conflict columns, SPC-4 table 51 (5.12.1), SBC-3 table 13: what a reservation held by
 * somebody else does to the command.
 */
enum scsi_pr_class {
	PRC_ALWAYS,       /* never conflicts (INQUIRY, REPORT LUNS, PR IN…) */
	PRC_READ,         /* conflicts with exclusive access only */
	PRC_WRITE,        /* conflicts with write exclusive too */
	PRC_PR_OUT,       /* decided by pr.c */
	PRC_RELEASE,      /* RELEASE: never conflicts, does nothing for others */
	PRC_SPC2_ALLOWED, /* allowed under PR; conflicts only with a SPC-2 reservation */
	PRC_COUNT
};

#define OPF_NO_LUN (1u << 0) /* works on an unmapped LUN too: INQUIRY, REPORT LUNS, REQUEST SENSE */
#define OPF_NO_UA (1u << 1)  /* doesn't report (and keeps) a pending unit attention */
#define OPF_NOT_READY_OK (1u << 2) /* works while stopped, ejected, gone */
#define OPF_WRITES (1u << 3)       /* refused on write protected units */
#define OPF_BUSY_OK (1u << 4)      /* works during FORMAT UNIT and SANITIZE */
#define OPF_GONE_FAILS (1u << 5)   /* with NOT_READY_OK: still needs the store */
#define OPF_WLUN (1u << 6) /* works on the REPORT LUNS well known unit too (nlu NULL), SPC-4 8.2 */
#define OPF_ONE_WRITE (1u << 7) /* execute() submits its data in one WRITE and needs it no more */

struct scsi_opcode {
	uint8_t opcode;
	bool has_sa;
	uint16_t sa; /* service action: byte 1 bits 4..0, or bytes 8–9 of a 32 byte CDB */
	uint8_t cdb_len;
	uint8_t dir;        /* enum scsi_dir */
	uint8_t pr;         /* enum scsi_pr_class */
	uint8_t order;      /* enum scsi_order */
	uint8_t flags;      /* OPF_* */
	uint16_t timeout_s; /* recommended, for RSOC */
	const char *name;
	const char *section;
	/* CDB usage data, SPC-4 6.35: a set bit is looked at; a set bit in the CDB outside is refused
	 * with 5/24/00 and a field pointer. Byte 0 is the opcode; SA bits are set in byte 1. */
	uint8_t usage[SCSI_CDB_MAX_BYTES];
	/* Parses the CDB: xfer_bytes, lba, blocks. False: sense is set. May be NULL. No side effects. */
	bool (*prepare)(struct scsi_task *t);
	/* Does it; ends in exactly one scsi_task_good/…_status/…_fail, at once or later. */
	void (*execute)(struct scsi_task *t);
	/* Frees what t->priv holds; called once after every end, also aborted ones. May be NULL. */
	void (*cleanup)(struct scsi_task *t);
	/* NULL: always. False: 5/20/00 and absent from RSOC. */
	bool (*supported)(const struct scsi_lu *lu);
};

/* Ends with a row whose name is NULL. */
extern const struct scsi_opcode scsi_ops_block[]; /* sbc_table.c: reads, writes, unmap, sanitize… */
extern const struct scsi_opcode scsi_ops_primary[]; /* spc_table.c: inquiry, mode, log, rsoc… */
extern const struct scsi_opcode scsi_ops_reserve[]; /* pr_table.c: PR IN/OUT, RESERVE, RELEASE */
extern const struct scsi_opcode
    scsi_ops_copy[]; /* copy_table.c: EXTENDED COPY, RECEIVE COPY RESULTS */
extern const struct scsi_opcode *const scsi_op_families[]; /* NULL-terminated; families.c */

/*
 * The row for a CDB. NULL with *ret_bad_sa: false → 5/20/00; true → the opcode exists, the service
 * action doesn't: 5/24/00 pointing at it.
 */
const struct scsi_opcode *scsi_opcode_find(const uint8_t *cdb, unsigned cdb_len, bool *ret_bad_sa);
/* SPC-4 6.35: is it supported by this unit (lu may be NULL). */
bool scsi_opcode_supported(const struct scsi_opcode *op, const struct scsi_lu *lu);
/* Sorts and checks the families' rows; scsi_core_create() does it first of all. */
void scsi_opcode_build(void);

/* ---- task.c: what handlers call ------------------------------------------------------------------ */

/* Exactly one of these ends a task (deferred; INV-3). */
void scsi_task_good(struct scsi_task *t);                            /* data_in_len as it is */
void scsi_task_status(struct scsi_task *t, enum scsi_status status); /* no data */
void scsi_task_fail(struct scsi_task *t);                            /* sense is set; no data-in */

/*
 * Parameter data: copies `len` bytes into t->sg, truncated to the allocation length (xfer_bytes as
 * prepare() set it) and to in_bytes, sets xfer_bytes and data_in_len, ends with GOOD.
 */
void scsi_task_reply(struct scsi_task *t, const void *data, size_t len);
/* The parameter list as flat memory (t->sg's first segment: SCSI_PARAM_OUT_MAX is one buffer). */
const uint8_t *scsi_task_params(const struct scsi_task *t, size_t *ret_len);

/*
 * One block operation of the handler: `next(t)` runs when it is done with t->io.result set, unless
 * the task was aborted meanwhile (then the task ends and next isn't called).
 */
void scsi_task_blk(struct scsi_task *t, enum blk_op op, uint32_t flags, uint64_t lba,
    uint64_t blocks, struct blk_sg *sg, void (*next)(struct scsi_task *t));
/*
 * Waits for something else (a lock, a change, a job of the handler's): state stays RUNNING. The
 * handler calls scsi_task_continue() when it is there; it returns false when the task was aborted
 * meanwhile: it has ended (or ends in cleanup), and the handler must touch it no more.
 */
void scsi_task_suspend(struct scsi_task *t);
bool scsi_task_continue(struct scsi_task *t);
/* Gets buffers for sg2 (waits when dry), then next(t). */
void scsi_task_get_sg2(struct scsi_task *t, uint64_t len_bytes, void (*next)(struct scsi_task *t));

/* Range check for block commands: sets 5/21/00 (with INFORMATION) when lba + blocks is past the end. */
bool scsi_check_range(struct scsi_task *t, uint64_t lba, uint64_t blocks);

/*
 * For handlers that work for long without ending in scsi_task_blk(): true when the task was aborted
 * and waits for scsi_task_continue() (which will return false).
 */
bool scsi_task_is_aborted(const struct scsi_task *t);

/*
 * Aborts: ends at once, or when the handler comes back from what it waits for. A task that is DONE
 * stays as it is. Used by tmf.c, pr.c, nexus.c. Unit attentions are the caller's.
 */
void scsi_task_abort(struct scsi_task *t, bool send_task_aborted_status);

/* Lets blocked tasks of this unit on this loop try again (after a task ended, a lock went). */
void scsi_unblock(struct scsi_lu_loop *ll);
void scsi_unblock_now(struct scsi_lu_loop *ll); /* what it defers */

static inline struct scsi_lu *
scsi_task_lu(const struct scsi_task *t)
{
	return t->nlu->lu;
}

/* ---- change.c: what the whole unit must see --------------------------------------------------------- */

enum scsi_decision { CHANGE_GO, CHANGE_REFUSED, CHANGE_PENDING };

struct scsi_change;
struct scsi_change_part {
	struct loop_msg msg;
	struct scsi_change *change;
	struct scsi_lu_loop *ll;
};

/*
 * One change of a unit: decided on the home loop (one at a time per unit), applied on every loop in
 * the same order, answered on the loop it came from when all have applied it (and, with `drain`,
 * when every task that was in a store under the older state is done).
 * Control path: allocated by whoever starts it, freed in or after done().
 */
struct scsi_change {
	struct scsi_lu *lu;
	enum scsi_decision (*decide)(struct scsi_change *c);           /* home; NULL: go */
	void (*apply)(struct scsi_change *c, struct scsi_lu_loop *ll); /* every loop */
	void (*done)(struct scsi_change *c);                           /* origin loop */
	bool drain;
	bool wait_locks; /* and until no lock got on any loop is left (destroy) */
	bool refused;    /* out: decide said CHANGE_REFUSED */
	void *ctx;       /* the starter's */
	/* change.c's */
	struct loop *origin;
	struct loop_msg msg;
	struct list link;
	uint32_t waiting;
	struct scsi_change_part parts[LOOP_COUNT_MAX];
};
/* Any loop of the core. */
void scsi_change_submit(struct scsi_change *c);
/* After CHANGE_PENDING, on the home loop. */
void scsi_change_decided(struct scsi_change *c, enum scsi_decision d);
/* Called by task.c when the last of ll->drain_left tasks ended, by lock.c when own_locks is 0. */
void scsi_change_drained(struct scsi_lu_loop *ll);

/* Ready-made: raises a unit attention on every nexus but one; sets fields of the state by `edit`. */
int scsi_change_state(struct scsi_lu *lu, void (*edit)(struct scsi_lu_state *st, void *arg),
    uint64_t arg, int ua /* enum scsi_ua or -1 */, uint64_t except_nexus_id,
    void (*done)(void *ctx), void *done_ctx); /* 0 or -ENOMEM; edit gets (void *)(uintptr_t)arg */

/* ---- lock.c: ranges that one task has for itself, over all loops ---------------------------------------- */

struct scsi_lock_part {
	struct loop_msg msg;
	struct scsi_lock *lock;
	struct list link; /* in ll->locks */
	bool acked;
};
struct scsi_lock {
	struct scsi_lu *lu;
	struct scsi_task *owner;
	uint64_t lba, blocks;
	void (*granted)(struct scsi_lock *k); /* origin loop; deferred */
	struct loop *origin;
	struct loop_msg msg;
	struct loop_defer defer;
	struct list link;
	uint32_t waiting;
	bool held;
	bool released;
	struct scsi_lock_part parts[LOOP_COUNT_MAX];
};
/*
 * Gets a lock from the loop's pool for the task's range and waits until every overlapping running
 * task on every loop is done; new ones are blocked meanwhile. Locks that overlap are granted in the
 * order in which the home loop saw them. Several ranges: in ascending order of (lu, lba).
 * NULL when the pool is dry (the task then ends with BUSY).
 */
struct scsi_lock *scsi_lock_acquire(struct scsi_task *t, struct scsi_lu *lu, uint64_t lba,
    uint64_t blocks, void (*granted)(struct scsi_lock *k));
/* Held or still waiting; the object goes back to the pool when all loops let go. */
void scsi_lock_release(struct scsi_lock *k);
/* True if a lock of another task overlaps the range here. */
bool scsi_lock_blocks(const struct scsi_lu_loop *ll, const struct scsi_task *t);
/* A task with a range ended its store work: locks that waited for it go on. */
void scsi_lock_task_done(struct scsi_lu_loop *ll, const struct scsi_task *t);

/* ---- order.c ------------------------------------------------------------------------------------------------ */

/* May the task execute now, given the older tasks of its task set (TST=001b: one per nexus)? */
bool scsi_order_admits(const struct scsi_task *t);

/* What a new task of one class does about a running one of another (order_table.c). */
enum scsi_order_cell {
	ORDER_PASS,  /* may run beside it */
	ORDER_RANGE, /* the range locks decide (lock.c) */
	ORDER_BLOCK, /* waits until it has ended */
};
extern const uint8_t scsi_order_table[ORD_COUNT][ORD_COUNT]; /* [new][running] */

/* ---- task.c: scsi_task.flags --------------------------------------------------------------------------------------- */

enum {
	TASK_PREPARED = 1 << 0, /* prepare() was called: cleanup() is due */
	TASK_ABORTED = 1 << 1,
	TASK_ABORT_STATUS = 1 << 2, /* …and ends with TASK ABORTED status */
	TASK_IN_NEXT = 1 << 3,      /* a step of the handler runs; its end is completed after it */
	TASK_DONE_CALLED = 1 << 4,
	TASK_DRAIN = 1 << 5, /* counted in ll->drain_left */
	TASK_LOCKS = 1 << 6, /* has asked for range locks */
	TASK_WAITS_SG2 = 1 << 7,
};

/* What may be sent to a nexus whose task is aborted; tmf.c. Ends the waits for it. */
void scsi_abort_waits_task_done(
    struct list *waits, const struct scsi_nexus_lu *nlu, uint64_t tag, uint64_t seq);
/* A task of a unit that is gone ended: functions that waited for the last such go on. */
void scsi_gone_waits_check(struct scsi_nexus *n);
/* nexus.c: a task or function ended; frees a dying nexus after the last one. */
void scsi_nexus_check_gone(struct scsi_nexus *n);
void scsi_nexus_abort_all(struct scsi_nexus *n);
/* A task of a watched nexus was released; nlu may be NULL. */
void scsi_nexus_task_gone(struct scsi_nexus *n, struct scsi_nexus_lu *nlu);
/* What a nexus loss does to the units: SPC-2 reservations and prevention of removal go. */
void scsi_nexus_lose_lus(struct scsi_nexus *n);
/* TASK ABORTED status is wanted for tasks of other nexuses. */
static inline bool
scsi_lu_tas(const struct scsi_lu_loop *ll)
{
	return ll->st.mode.tas;
}

/* ---- copy.c: EXTENDED COPY ------------------------------------------------------------------------ */

/* The nexus's copies that have ended forget a unit that leaves it. */
void scsi_copies_forget(struct scsi_nexus *n, const struct scsi_lu *lu);
void scsi_guest_enter(struct scsi_lu_loop *ll, struct scsi_guest *g);
/* Lets a change that drains go on when it was the last. */
void scsi_guest_leave(struct scsi_lu_loop *ll, struct scsi_guest *g);

/* ---- pr.c: persistent reservations and RESERVE/RELEASE ---------------------------------------------------------- */

/* Never NULL on success; empty. */
struct scsi_pr *scsi_pr_create(void);
void scsi_pr_destroy(struct scsi_pr *pr);
/* Recomputes nlu->pr_deny from this loop's copy: after each change, and for each new nexus_lu. */
void scsi_pr_refresh(struct scsi_nexus_lu *nlu);
/* I_T nexus loss, LU reset: SPC-2 reservations go (a change; registrations stay). */
void scsi_pr_nexus_lost(struct scsi_lu *lu, uint64_t nexus_id);
/* Within the apply() of a reset. */
void scsi_pr_reset_spc2(struct scsi_lu_loop *ll);
/* True if the unit has a SPC-2 or persistent reservation (VPD, log, stats). */
bool scsi_pr_reserved(const struct scsi_lu_loop *ll);

#endif
