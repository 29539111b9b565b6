/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations inside the SCSI core: registrations, the persistent reservation, SPC-2's RESERVE.
 *
 * A unit's reservations are a struct pr_state whose content never changes once it is in place: a
 * change computes a new one from the old one (pr_rules.c, pure) and every loop puts its own copy in
 * the place of the one it had (pr_out.c). The master is on the home loop.
 *
 * PR-1  Masters follow each other in the order of the home loop's decisions; every loop's copy goes
 *       through the same sequence.
 * PR-2  A registration belongs to (initiator port, relative target port), never to a session: it
 *       outlives the session, and a new session of the same port has it at once.
 * PR-3  With APTPL in force the stored form is durable before a change of it is visible anywhere.
 */
#ifndef SCSI_PR_H
#define SCSI_PR_H

#include "scsi/scsi_priv.h"

/* SPC-4 6.15.3.4. */
enum pr_type {
	PR_NONE = 0,
	PR_WRITE_EXCLUSIVE = 1,
	PR_EXCLUSIVE_ACCESS = 3,
	PR_WRITE_EXCLUSIVE_RO = 5,
	PR_EXCLUSIVE_ACCESS_RO = 6,
	PR_WRITE_EXCLUSIVE_AR = 7,
	PR_EXCLUSIVE_ACCESS_AR = 8,
};
/* A type that this unit implements (not PR_NONE). */
bool pr_type_valid(unsigned type);
static inline bool
pr_type_all_registrants(unsigned type)
{
	return type == PR_WRITE_EXCLUSIVE_AR || type == PR_EXCLUSIVE_ACCESS_AR;
}
/* Registrants only or all registrants: every registered nexus has access. */
static inline bool
pr_type_registrants(unsigned type)
{
	return type >= PR_WRITE_EXCLUSIVE_RO && type <= PR_EXCLUSIVE_ACCESS_AR;
}
static inline bool
pr_type_write_exclusive(unsigned type)
{
	return type == PR_WRITE_EXCLUSIVE || type == PR_WRITE_EXCLUSIVE_RO ||
	       type == PR_WRITE_EXCLUSIVE_AR;
}

/* PERSISTENT RESERVE OUT service actions, SPC-4 6.16.2. */
enum pr_out_sa {
	PR_OUT_REGISTER,
	PR_OUT_RESERVE,
	PR_OUT_RELEASE,
	PR_OUT_CLEAR,
	PR_OUT_PREEMPT,
	PR_OUT_PREEMPT_AND_ABORT,
	PR_OUT_REGISTER_AND_IGNORE,
	PR_OUT_REGISTER_AND_MOVE,
	PR_OUT_REPLACE_LOST,
	PR_SPC2_RESERVE, /* RESERVE(6), RESERVE(10) */
	PR_SPC2_RELEASE,
	PR_SPC2_LOST, /* the nexus is gone */
};

/* ---- pr_tid.c: TransportIDs -------------------------------------------------------------------- */

/*
 * An initiator port's TransportID (SPC-4 7.6.4) in the one form in which it is compared: names in
 * lower case, iSCSI session identifiers of 12 digits, zero padding to a multiple of 4, reserved
 * bytes zero.
 */
struct pr_tid {
	uint16_t len; /* 24..SCSI_TRANSPORT_ID_MAX, multiple of 4 */
	uint8_t b[SCSI_TRANSPORT_ID_MAX];
};

/*
 * Parses one TransportID at the start of `p`. Returns the bytes it takes there, or 0: malformed, or
 * it doesn't name an initiator port (iSCSI's format 00b names a whole device).
 */
size_t pr_tid_parse(const uint8_t *p, size_t avail, struct pr_tid *ret);
/* Of a nexus; an identifier of no known form is kept byte by byte. */
void pr_tid_of_nexus(const struct scsi_nexus *n, struct pr_tid *ret);
static inline bool
pr_tid_equal(const struct pr_tid *a, const struct pr_tid *b)
{
	return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}
static inline unsigned
pr_tid_protocol(const struct pr_tid *t)
{
	return t->b[0] & 0x0f;
}

/* ---- pr.c: state -------------------------------------------------------------------------------- */

#define PR_NO_HOLDER UINT32_MAX

struct pr_reg {
	uint64_t key; /* never 0; 0 while a change is computed: removed */
	uint16_t rel_port;
	struct pr_tid tid;
};

struct pr_state {
	uint32_t generation; /* PRgeneration; starts at 0 after each start of the target */
	uint8_t type;        /* enum pr_type */
	bool aptpl;
	bool lost;           /* what was stored couldn't be read: everybody is kept out */
	uint32_t holder;     /* index of the registration, PR_NO_HOLDER: none, or all registrants */
	uint64_t spc2_nexus; /* scsi_nexus.id of the holder of a SPC-2 reservation, 0: none */
	uint32_t count;
	struct pr_reg regs[];
};

struct scsi_pr {
	struct pr_state *st; /* never NULL; replaced, not edited (but see scsi_pr_reset_spc2) */
};

/* Zeroed, with room for `cap` registrations. NULL: no memory. */
struct pr_state *pr_state_alloc(uint32_t cap);
struct pr_state *pr_state_copy(const struct pr_state *st);
/* Index of the registration, or -1. */
int pr_state_find(const struct pr_state *st, const struct pr_tid *tid, uint16_t rel_port);
/* Is the registration `idx` (-1: none) a holder of the persistent reservation? */
bool pr_state_is_holder(const struct pr_state *st, int idx);
/* Bits 1 << enum scsi_pr_class of what is refused to a nexus with registration `idx` (-1: none). */
uint32_t pr_state_deny(const struct pr_state *st, int idx, uint64_t nexus_id);
const char *pr_type_name(unsigned type);

/* ---- pr_rules.c: what a service action does, without side effects -------------------------------- */

struct pr_request {
	uint8_t sa;          /* enum pr_out_sa */
	uint8_t scope, type; /* of the CDB */
	uint64_t nexus_id;
	struct pr_tid tid; /* of the nexus */
	uint16_t rel_port;
	uint64_t key, sa_key;
	bool aptpl, all_tg_pt, spec_i_pt, unreg;
	bool aptpl_capable;
	const uint16_t *ports; /* relative identifiers of all target ports */
	uint32_t port_count;
	const uint8_t *list; /* the whole parameter list, for the TransportIDs in it */
	size_t list_len;
};

/* What became of it. `ua` and `preempted` are indexed by the registrations of the old state. */
struct pr_verdict {
	uint8_t status; /* enum scsi_status; CHECK CONDITION: see sense */
	enum scsi_sense sense;
	int cdb_byte, param_byte, bit;         /* field pointer; -1: none; bit -1: the whole byte */
	bool changed;                          /* `next` is set */
	bool fences;                           /* somebody has less access than before */
	struct pr_state *next;                 /* the caller's to free */
	uint8_t ua[SCSI_PR_REGISTRATIONS_MAX]; /* enum scsi_ua + 1, 0: none */
	bool preempted[SCSI_PR_REGISTRATIONS_MAX]; /* PREEMPT AND ABORT: its tasks end */
};
void pr_verdict_init(struct pr_verdict *v); /* GOOD, nothing changed */
void pr_evaluate(const struct pr_state *old, const struct pr_request *req, struct pr_verdict *v);

/* ---- pr_params.c -------------------------------------------------------------------------------- */

#define PR_BASIC_LIST_BYTES 24u /* 6.16.3 */
#define PR_TID_LIST_AT 28u      /* of SPEC_I_PT's TransportIDs in the parameter list */

/* Fills in what the list says; req->sa and aptpl_capable are set. False: v says why not. */
bool pr_request_parse(
    struct pr_request *req, const uint8_t *list, size_t len, struct pr_verdict *v);

/* ---- pr_blob.c: the stored form, docs/format/reservations.md ---------------------------------------- */

size_t pr_blob_bytes(const struct pr_state *st);
/* `buf` has pr_blob_bytes(). */
void pr_blob_encode(const struct pr_state *st, const uint8_t lu_uuid[16], uint8_t *buf);
/* 0, -EINVAL (damaged, another unit's, unknown version), -ENOMEM. */
int pr_blob_decode(const void *blob, size_t len, const uint8_t lu_uuid[16], struct pr_state **ret);

/* ---- pr_out.c ------------------------------------------------------------------------------------------ */

bool pr_out_prepare(struct scsi_task *t);
void pr_out_execute(struct scsi_task *t);
/* RESERVE and RELEASE of SPC-2: spc2.c asks, the same way decides. */
void pr_change_submit(struct scsi_task *t, struct pr_request *req);
/* A change that no task waits for; done when `nexus_id` holds no SPC-2 reservation any more. */
void pr_change_nexus_lost(struct scsi_lu *lu, uint64_t nexus_id);

/* ---- pr_in.c, spc2.c --------------------------------------------------------------------------------------- */

bool pr_in_prepare(struct scsi_task *t);
void pr_in_read_keys(struct scsi_task *t);
void pr_in_read_reservation(struct scsi_task *t);
void pr_in_report_capabilities(struct scsi_task *t);
void pr_in_read_full_status(struct scsi_task *t);
void spc2_reserve(struct scsi_task *t);
void spc2_release(struct scsi_task *t);

#endif
