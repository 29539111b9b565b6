/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SCSI core: logical units over block devices, I_T nexuses with their LUN maps, tasks, task
 * management, persistent reservations. It knows no transport (iSCSI and SRP give it tasks) and no
 * cache (a blk is a blk).
 *
 * Thread rule: scsi_core_*, scsi_lu_* and scsi_view_* calls on the home loop (loops[0]) or before
 * the loops run, unless said otherwise; nexus and task calls on the nexus's loop. A nexus, its
 * tasks and their completions live on one loop; what must be seen whole by all loops (reservations,
 * mode pages, resets, capacity) is changed on the home loop and copied to the others by message.
 *
 * Standards: SAM-5 r21, SPC-4 r37 (SPC-5 where named), SBC-3 r36 / SBC-4 for WRITE ATOMIC and SANITIZE.
 */
#ifndef SCSI_SCSI_H
#define SCSI_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/loop.h"
#include "store/blk.h"

struct scsi_core;
struct scsi_lu;
struct scsi_view;
struct scsi_nexus;
struct scsi_nexus_lu;
struct scsi_opcode;

#define SCSI_CDB_MAX_BYTES 32u
#define SCSI_SENSE_MAX_BYTES 96u   /* descriptor sense with information, SKS, field pointer */
#define SCSI_LUN_MAX 16383u        /* flat space addressing, SAM-5 4.7.6.4 */
#define SCSI_TRANSPORT_ID_MAX 264u /* iSCSI TransportID with ISID, SPC-4 7.6.4.6, padded */
#define SCSI_PR_REGISTRATIONS_MAX 128u
#define SCSI_XFER_MAX_BYTES BLK_IO_MAX_BYTES

/* SAM-5 5.3.1. */
enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_CONDITION_MET = 0x04,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
	SCSI_TASK_ABORTED = 0x40,
};

/* SAM-5 8.6. */
enum scsi_attr { SCSI_SIMPLE, SCSI_ORDERED, SCSI_HEAD_OF_QUEUE, SCSI_ACA };

/* ---- core -------------------------------------------------------------------------------- */

/* What a unit remembers over a restart. */
enum scsi_persist {
	SCSI_PERSIST_PR,       /* reservations with APTPL (docs/format/reservations.md) */
	SCSI_PERSIST_SANITIZE, /* a SANITIZE that hasn't succeeded (docs/format/catalog.md) */
	SCSI_PERSIST_COUNT,
};

/* Where what must survive a power loss is kept; implemented by the daemon. */
struct scsi_persist_ops {
	/*
	 * Stores `len` bytes for the unit durably (len 0: forgets). Called on the home loop; `done`
	 * runs there later, exactly once, with 0 or -errno. `blob` is borrowed until done. At most one
	 * of each kind is under way for a unit.
	 */
	void (*save)(void *ctx, enum scsi_persist what, const uint8_t lu_uuid[16], const void *blob,
	    size_t len, void (*done)(void *done_ctx, int result), void *done_ctx);
	void *ctx;
};

struct scsi_core_args {
	struct loop *const *loops; /* loops[0] is the home loop */
	unsigned loop_count;
	uint32_t tasks_per_loop; /* for the core's own pools; transports embed their tasks */
	struct scsi_persist_ops
	    persist;        /* save may be NULL: APTPL is refused, no restart survived */
	const char *vendor; /* T10 vendor id, ≤ 8 characters; NULL: "TERRACE" */
};
int scsi_core_create(const struct scsi_core_args *args, struct scsi_core **ret);
/* No LU, nexus or view left. Accepts NULL. */
void scsi_core_destroy(struct scsi_core *c);
/* Commands that came in so far, on all loops. Any loop. */
uint64_t scsi_core_tasks(const struct scsi_core *c);

/*
 * Target ports, for REPORT TARGET PORT GROUPS, VPD 83h/88h and PR's SPEC_I_PT/ALL_TG_PT. Relative
 * target port identifiers are unique in the process. `name` is the SCSI target port name (iSCSI:
 * "iqn…,t,0x0001"), `device_name` the target device name; both copied. 0, -EEXIST, -ENOMEM.
 */
int scsi_core_add_port(struct scsi_core *c, uint16_t rel_port_id, uint16_t group_id,
    const char *device_name, const char *name);
/*
 * Both also while the loops run: each loop has its own copy of the list, which follows by message. A
 * number may be added again at once. Nexuses that came through the port keep its number.
 */
void scsi_core_remove_port(struct scsi_core *c, uint16_t rel_port_id);

/* ---- logical units ----------------------------------------------------------------------- */

struct scsi_lu_args {
	const char *name;     /* the administrator's */
	uint8_t uuid[16];     /* identity: NAA-6 and the defaults below come from it */
	uint8_t naa[16];      /* all zero: NAA-6 locally assigned (3h) from uuid */
	uint8_t naa_bytes;    /* of them: 8 (NAA 2, 3, 5) or 16 (NAA 6); 0: 16 */
	bool no_naa;          /* not reported: the unit is known by its other designators */
	uint8_t eui64[8];     /* all zero: not reported */
	const char *serial;   /* VPD 80h; NULL: hex of the uuid */
	const char *t10_id;   /* vendor specific part of the T10 designator; NULL: serial */
	const char *vendor;   /* ≤ 8; NULL: the core's */
	const char *product;  /* ≤ 16; NULL: "VIRTUAL-DISK" (same for all LUNs: ESXi XCOPY) */
	const char *revision; /* ≤ 4; NULL: from TERRACE_VERSION */
	uint32_t block_bytes; /* 512 or 4096 */
	uint8_t physical_exponent; /* log2(physical / logical); 0xff: from the blk */
	bool read_only;
	bool removable;
	bool rotational;
	bool thin;           /* report LBPME and accept UNMAP where the blk can */
	bool sanitize;       /* advertise SANITIZE where the blk can */
	bool volatile_cache; /* mode `volatile`: WCE=1, V_SUP=1; the blk is volatile too */
	struct blk *blk;     /* borrowed until destroy is done */
};
/* 0, -EEXIST (uuid, naa or serial already in use), -EINVAL (sizes), -ENOMEM. */
int scsi_lu_create(struct scsi_core *c, const struct scsi_lu_args *args, struct scsi_lu **ret);
/* Restores what `save` stored, before the LU is mapped. 0, -EINVAL: damaged (nothing restored). */
int scsi_lu_restore_pr(struct scsi_lu *lu, const void *blob, size_t len);
/*
 * The same of a SANITIZE that a restart interrupted, or that had failed before: the unit answers SANITIZE
 * COMMAND FAILED until another succeeds (SBC-4 4.11). 0, -EINVAL: damaged; then, too, and EXIT FAILURE
 * MODE doesn't help.
 */
int scsi_lu_restore_sanitize(struct scsi_lu *lu, const void *blob, size_t len);
/* Must not be in any view. Tasks end first; `done` runs on the home loop. */
void scsi_lu_destroy(struct scsi_lu *lu, void (*done)(void *ctx), void *ctx);
const char *scsi_lu_name(const struct scsi_lu *lu); /* any loop */
struct blk *scsi_lu_blk(const struct scsi_lu *lu);  /* any loop */

/*
 * To be called from the blk's event callback: size changes become CAPACITY DATA HAS CHANGED on
 * every nexus, a store that is gone NOT READY, one that is back a unit attention.
 */
void scsi_lu_blk_event(struct scsi_lu *lu, enum blk_event ev);

/*
 * What can change while the unit serves. `done` (may be NULL) runs on the home loop, later, when all
 * loops act on it; `ctx` is its. Setting what is so already changes nothing and tells nobody.
 *
 * set_read_only: every nexus gets MODE PARAMETERS CHANGED (the WP bit of MODE SENSE). At done() no
 * WRITE that was admitted before is left in the store. False doesn't make a store writable that
 * isn't: 0, -ENOMEM, -EROFS.
 */
int scsi_lu_set_read_only(struct scsi_lu *lu, bool read_only, void (*done)(void *ctx), void *ctx);
bool scsi_lu_read_only(const struct scsi_lu *lu); /* home loop: as last set */
/*
 * Thin units: the space that the store uses for this one and what is left where it lies, in bytes
 * (blk_get_space()). Below a tenth of the unit, where more may be needed, every nexus is told THIN
 * PROVISIONING SOFT THRESHOLD REACHED, once. Units that aren't thin ignore it. 0 or -ENOMEM. Home loop.
 */
int scsi_lu_set_space(struct scsi_lu *lu, uint64_t used_bytes, uint64_t free_bytes);
bool scsi_lu_space_low(const struct scsi_lu *lu);
/* A SANITIZE failed, or a restart interrupted it: nothing can be read or written. Home loop. */
bool scsi_lu_sanitize_failed(const struct scsi_lu *lu);

/*
 * How long commands took, from arrival to the answer's being handed to the transport, in the time of
 * turns (loop_now_ns()). Bucket 0 is below 1 µs, the last 67 s and above; between them four to each
 * doubling.
 */
#define SCSI_LATENCY_BUCKETS 101u
struct scsi_latency {
	uint64_t buckets[SCSI_LATENCY_BUCKETS];
};
/* Where a bucket begins; 0 for the first. Any thread, like the other helpers below. */
uint64_t scsi_latency_floor_ns(unsigned bucket);
uint64_t scsi_latency_count(const struct scsi_latency *l);
/*
 * The end of the bucket below which at least `permille` of the commands are (500: the median); the
 * beginning of the last bucket when it is there; 0: none was counted.
 */
uint64_t scsi_latency_percentile_ns(const struct scsi_latency *l, unsigned permille);
/* What was counted after `earlier`, a snapshot of the same counters. */
void scsi_latency_since(
    struct scsi_latency *ret, const struct scsi_latency *now, const struct scsi_latency *earlier);

struct scsi_lu_stats {
	uint64_t reads, writes, others;
	uint64_t read_bytes, write_bytes;
	uint64_t check_conditions, reservation_conflicts, aborts, resets;
	uint64_t in_flight;
	struct scsi_latency read_latency, write_latency;
};
/* Any loop; a snapshot. */
void scsi_lu_get_stats(const struct scsi_lu *lu, struct scsi_lu_stats *ret);
/* Without the latencies, which stay as they are in *ret: a tenth of the time. */
void scsi_lu_get_counters(const struct scsi_lu *lu, struct scsi_lu_stats *ret);

/*
 * Where READ and WRITE commands that were answered GOOD began: a unit is cut into equal parts of
 * 1 << shift logical blocks each, as few as fit into the table. Counts wrap round; what lies between
 * two looks is their difference as long as the shift is the same.
 */
#define SCSI_HEAT_PARTS 1024u
struct scsi_heat {
	uint32_t shift;
	uint32_t reads[SCSI_HEAT_PARTS], writes[SCSI_HEAT_PARTS];
};
/* Any loop; a snapshot. False: the unit has just grown, and not all loops know it. */
bool scsi_lu_get_heat(const struct scsi_lu *lu, struct scsi_heat *ret);

/* ---- views: which LU has which number ------------------------------------------------------ */

struct scsi_view_entry {
	uint16_t lun;   /* 0..SCSI_LUN_MAX */
	bool read_only; /* for this view, whatever the LU allows */
	struct scsi_lu *lu;
};
/* Entries copied and sorted. 0, -EEXIST (number or LU twice), -ENOMEM. */
int scsi_view_create(struct scsi_core *c, const struct scsi_view_entry *entries, uint32_t count,
    struct scsi_view **ret);
/*
 * The view shows these entries from now on, to the nexuses that use it too. Each loop follows by
 * message; changes of a view take effect in the order of the calls.
 *
 *   gone       A unit that has this number no more: new commands get LOGICAL UNIT NOT SUPPORTED, and
 *              so do those that haven't begun; the others end with ABORTED COMMAND when the store has
 *              let go of them. SPC-2 reservations and prevention of removal of the nexus go,
 *              registrations stay.
 *   come       POWER ON OCCURRED, as for a new nexus. A number that changes its unit is both.
 *   changed    read_only: MODE PARAMETERS CHANGED.
 *   the others REPORTED LUNS DATA HAS CHANGED, if something came or went.
 *
 * `done` (may be NULL) runs on the home loop, later, exactly once: no nexus refers to a unit that has
 * gone (scsi_lu_destroy() is legal if it is in no other view), no WRITE admitted before is under way
 * on one that became read only. A unit that is gone from one view may be put into another before.
 *
 * 0, -EEXIST (number or LU twice), -ENOMEM: nothing changes. (A nexus made in the very moment of the
 * call, while memory is short, sees what came after its next login only.)
 */
int scsi_view_change(struct scsi_view *v, const struct scsi_view_entry *entries, uint32_t count,
    void (*done)(void *ctx), void *ctx);
/* No nexus uses it any more and no change is under way (asserted). Accepts NULL. */
void scsi_view_destroy(struct scsi_view *v);
uint32_t scsi_view_count(const struct scsi_view *v); /* home loop: as last changed */
/* Home loop: entry `i` < count, by number, as last changed. */
const struct scsi_view_entry *scsi_view_entry(const struct scsi_view *v, uint32_t i);

/* ---- nexuses ------------------------------------------------------------------------------- */

struct scsi_nexus_args {
	struct loop *loop; /* the current one */
	struct scsi_view *view;
	uint16_t rel_port_id;        /* of the target port */
	const uint8_t *transport_id; /* SPC-4 7.6.4: identifies the initiator port; copied */
	size_t transport_id_len;     /* 24..SCSI_TRANSPORT_ID_MAX, multiple of 4 */
	const char *initiator;       /* for messages; copied */
	/* Task management functions that this initiator can ask for, 1 << enum scsi_tmf, as REPORT
	 * SUPPORTED TASK MANAGEMENT FUNCTIONS tells it. 0: all that the core has. */
	uint32_t tmfs;
};
/*
 * Grows what the nexus needs for its view (this is not the data path). Every LU of the view gets
 * POWER ON, RESET OR BUS DEVICE RESET OCCURRED (29h/00h) as unit attention. 0 or -ENOMEM.
 */
int scsi_nexus_create(
    struct scsi_core *c, const struct scsi_nexus_args *args, struct scsi_nexus **ret);
/*
 * I_T nexus loss (SAM-5 6.3.4): aborts the nexus's tasks without response (ops->done is still called
 * for each, with task->aborted set), releases its SPC-2 reservations; registrations stay. `gone`
 * runs on the nexus's loop after the last task was released; the nexus doesn't exist any more then.
 */
void scsi_nexus_destroy(struct scsi_nexus *n, void (*gone)(void *ctx), void *ctx);
/* Tasks not yet released. */
uint32_t scsi_nexus_task_count(const struct scsi_nexus *n);

/* ---- tasks --------------------------------------------------------------------------------- */

struct scsi_task;

struct scsi_transport_ops {
	/*
	 * task->sg holds buffers for task->data_out_len bytes: fill them, then call
	 * scsi_task_data_ready(). Called only after scsi_task_submit() returned SCSI_PENDING.
	 */
	void (*want_data)(struct scsi_task *t);
	/*
	 * The task ended: task->status, sense, data_in_len (bytes in task->sg for the initiator).
	 * Send it, then scsi_task_release(). With task->aborted nothing may be sent. Exactly once,
	 * never inside scsi_task_submit() or scsi_task_data_ready().
	 */
	void (*done)(struct scsi_task *t);
};

enum scsi_task_state {
	SCSI_TASK_FREE,      /* not submitted, or released */
	SCSI_TASK_WAIT_BUF,  /* waits for buffers */
	SCSI_TASK_WAIT_DATA, /* the transport receives data-out */
	SCSI_TASK_BLOCKED,   /* ordering or a range lock holds it back */
	SCSI_TASK_RUNNING,   /* its handler runs; the blk may hold it */
	SCSI_TASK_DONE,      /* the transport sends the answer */
	SCSI_TASK_STATE_COUNT
};

/* Embedded in the transport's own task; one allocation per command, from the transport's pool. */
struct scsi_task {
	/* set by the transport before scsi_task_submit() */
	struct scsi_nexus *nexus;
	const struct scsi_transport_ops *ops;
	uint64_t tag;   /* unique among the nexus's tasks */
	uint8_t lun[8]; /* as on the wire */
	uint8_t cdb[SCSI_CDB_MAX_BYTES];
	uint8_t cdb_len; /* 6..32: bytes that are there; shorter CDBs are zero-padded to 16 */
	uint8_t attr;    /* enum scsi_attr */
	uint8_t priority;
	bool immediate; /* iSCSI I bit; no meaning here */
	/* Without buffers for its data-out the task ends with TASK SET FULL rather than waiting for
	 * some: for a transport that would have to stop receiving what other tasks wait for. */
	bool no_wait;
	uint32_t out_bytes; /* what the initiator will send (EDTL of a write) */
	uint32_t in_bytes;  /* what it can take (EDTL of a read) */
	/* All out_bytes of it, checked, in memory that lasts until scsi_task_submit() returns; or NULL:
	 * it is still to come. */
	const void *out_data;

	/* for the transport, while it owns the task */
	uint32_t data_out_len; /* want_data: bytes to receive, ≤ out_bytes */
	uint32_t data_in_len;  /* done: bytes to send from sg, ≤ in_bytes */
	uint64_t xfer_bytes;   /* done: what the command would have moved; residual = ± EDTL */
	struct blk_sg sg;
	uint8_t status; /* enum scsi_status */
	uint8_t sense_len;
	bool aborted; /* done without response */
	uint8_t sense[SCSI_SENSE_MAX_BYTES];

	/* the core's */
	uint8_t state; /* enum scsi_task_state */
	uint8_t flags;
	uint8_t tmf_pending; /* task management waits for its end */
	bool in_store;       /* a blk_io of it is submitted and not done */
	bool data_failed;
	uint32_t epoch; /* of the LU's copied state when it was checked */
	uint64_t seq;   /* order of arrival on its loop */
	const struct scsi_opcode *op;
	struct scsi_nexus_lu *nlu; /* NULL: LUN not mapped */
	struct list nexus_link;    /* all tasks of the nexus_lu, in order of arrival */
	struct list loop_link;     /* the LU's list on this loop: blocked, or running */
	struct loop_defer defer;
	struct loop_bufwait bufwait;
	uint64_t start_ns;
	uint64_t lba; /* range as parsed from the CDB, in logical blocks */
	uint64_t blocks;
	struct blk_io io;
	struct blk_sg sg2;  /* a second buffer (compare, verify, copy) */
	uint64_t sg2_bytes; /* wanted, while it waits for sg2 */
	uint64_t at;        /* progress of handlers that work in pieces */
	void *priv;         /* handler's, e.g. a range lock or a copy job */
	void (*resume)(struct scsi_task *t);
};

enum scsi_submit { SCSI_PENDING, SCSI_WANT_DATA, SCSI_TOOK_DATA };

/*
 * Hands the task to the core. SCSI_WANT_DATA: buffers are in task->sg now (the fast path: immediate
 * data is copied right away), as if want_data had been called. SCSI_PENDING: want_data (perhaps)
 * and done come later. SCSI_TOOK_DATA: what out_data named is taken, only done comes; without it such a
 * task goes on as if its data were still to come.
 */
enum scsi_submit scsi_task_submit(struct scsi_task *t);
/*
 * data_out_len bytes are in task->sg, or (result < 0) they'll never come: the command then ends
 * with ABORTED COMMAND unless it's aborted anyway. -EIO: data failed (DataSN, offset: RFC 7143).
 */
void scsi_task_data_ready(struct scsi_task *t, int result);
/* After the answer is sent or given up: returns the buffers; the task may be reused. */
void scsi_task_release(struct scsi_task *t);

/* ---- task management ------------------------------------------------------------------------- */

enum scsi_tmf {
	SCSI_TMF_ABORT_TASK,
	SCSI_TMF_ABORT_TASK_SET,
	SCSI_TMF_CLEAR_TASK_SET,
	SCSI_TMF_LU_RESET,
	SCSI_TMF_TARGET_RESET, /* all LUs that this nexus sees */
	SCSI_TMF_I_T_NEXUS_RESET,
	SCSI_TMF_QUERY_TASK,
	SCSI_TMF_QUERY_TASK_SET,
	SCSI_TMF_QUERY_ASYNC_EVENT,
	SCSI_TMF_COUNT
};

/* SAM-5 table 46 service responses. */
enum scsi_tmf_response {
	SCSI_TMF_COMPLETE,
	SCSI_TMF_SUCCEEDED, /* QUERY: it is there */
	SCSI_TMF_NOT_SUPPORTED,
	SCSI_TMF_BAD_LUN,
	SCSI_TMF_REJECTED,
};

/* The core's: waits for the end of aborted tasks. */
struct scsi_abort_wait {
	struct list link;
	const struct scsi_nexus_lu *nlu; /* NULL: of any LU or nexus of the list's owner */
	bool one_tag;
	uint64_t tag;
	uint64_t seq; /* tasks that arrived later don't count */
	uint32_t waiting;
	void (*done)(struct scsi_abort_wait *w);
};

struct scsi_tmf_req {
	struct scsi_nexus *nexus;
	enum scsi_tmf function;
	uint8_t lun[8];
	uint64_t tag; /* ABORT TASK, QUERY TASK */
	void (*done)(struct scsi_tmf_req *r);
	enum scsi_tmf_response response;
	bool task_found; /* ABORT TASK, QUERY TASK: the tag was there */
	/* the core's */
	uint32_t waiting;
	struct scsi_abort_wait wait;
	struct list gone_link; /* waits for tasks of units that the view shows no more … */
	int32_t gone_lun;      /* … under this number; -1: any */
	struct loop_defer defer;
	void *priv;
};
/*
 * `done` runs exactly once, later, when every task that it ends has ended (its ops->done was called
 * with aborted set, and no blk operation of it is left). Resets may take as long as the store does.
 */
void scsi_tmf_submit(struct scsi_tmf_req *r);

/* ---- for tools and tests --------------------------------------------------------------------- */

/* "READ(10)"; "opcode 5fh" for unknown ones (static buffer per thread). */
const char *scsi_opcode_name(const uint8_t *cdb);
/* The unit's NAA designator, from the most significant byte on: 8 or 16 bytes; 0: it has none. Any loop. */
unsigned scsi_lu_naa(const struct scsi_lu *lu, uint8_t ret[16]);
/* Nexuses that use the view now, those that are ending included. Any loop; a snapshot. */
uint32_t scsi_view_users(const struct scsi_view *v);
/* Lines of text for status: registrations and holder. Home loop. Returns bytes written. */
size_t scsi_lu_describe_pr(const struct scsi_lu *lu, char *buf, size_t cap);

#endif
