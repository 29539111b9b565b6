/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec: bytes of information units to checked values, and back. No RDMA, no allocation, no
 * clock. What is parsed points into the unit, which the caller keeps.
 */
#ifndef SRP_IU_H
#define SRP_IU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "srp/wire.h"

#define SRP_IU_MIN_BYTES 64u    /* r16a §5.3: what every target takes */
#define SRP_IMM_OFFSET_MAX 512u /* where immediate data may begin, at most */
#define SRP_TABLE_MAX 2048u     /* descriptors of a command: Linux's SG_MAX_SEGMENTS */
#define SRP_CDB_MAX_BYTES 32u
#define SRP_SENSE_MAX_BYTES 252u
#define SRP_RSP_MAX_BYTES (sizeof(struct srp_rsp) + 4u + SRP_SENSE_MAX_BYTES)

/* ---- logins ------------------------------------------------------------------------------ */

struct srp_login {
	uint8_t tag[SRP_TAG_BYTES];
	uint32_t it_iu_len;
	uint16_t formats; /* SRP_FMT_BIT_… */
	uint8_t flags;    /* SRP_LOGIN_… */
	uint16_t imm_data_offset;
	uint8_t initiator_port[SRP_PORT_ID_BYTES];
	uint8_t target_port[SRP_PORT_ID_BYTES];
};
/*
 * Private data of a connection request: of the RDMA CM (`rdma`) or of the IB CM. 0; -EINVAL: too
 * short, or no login. What is behind it is padding.
 */
int srp_login_parse(const void *p, size_t len, bool rdma, struct srp_login *ret);
void srp_login_rsp_build(struct srp_login_rsp *ret, const struct srp_login *req, uint32_t credit,
    uint32_t max_it_iu_len, uint32_t max_ti_iu_len, uint8_t flags);
void srp_login_rej_build(
    struct srp_login_rej *ret, const struct srp_login *req, enum srp_login_reason reason);

/* ---- requests ---------------------------------------------------------------------------- */

struct srp_desc {
	uint64_t va;
	uint32_t key;
	uint32_t len; /* > 0, and va + len doesn't wrap */
};

/* One direction of a command. */
struct srp_buffer {
	enum srp_format format;
	uint32_t bytes; /* of the data */
	/* Descriptors in the unit; count 0 with SRP_FMT_NONE, SRP_FMT_IMMEDIATE. */
	const struct srp_direct_desc *descs;
	uint32_t desc_count;
	/* SRP_FMT_INDIRECT: entries of the whole list, which is at `table` if there are more than
	 * desc_count. */
	uint32_t table_count;
	struct srp_desc table;
	const uint8_t *data; /* SRP_FMT_IMMEDIATE: `bytes` of it */
};
static inline bool
srp_buffer_is_external(const struct srp_buffer *b)
{
	return b->table_count > b->desc_count;
}

struct srp_request {
	uint8_t tag[SRP_TAG_BYTES];
	uint8_t lun[8];
	uint8_t attr; /* 0 simple, 1 head of queue, 2 ordered, 4 ACA */
	uint8_t sol_not;
	const uint8_t *cdb;
	uint8_t cdb_len;           /* 16..32 */
	struct srp_buffer out, in; /* one of them at most */
};

enum srp_verdict {
	SRP_GO_ON,
	SRP_REFUSE, /* answered with SRP_RSP_INVALID_FIELDS; the tag is known */
	SRP_END,    /* the framing is broken: SRP_T_LOGOUT, and the channel ends */
};

struct srp_cmd_limits {
	uint16_t imm_data_offset; /* 0: no immediate data was granted */
	uint32_t xfer_max_bytes;
};
/* *ret_reason with SRP_END. `len` is what was received. */
enum srp_verdict srp_cmd_parse(const void *iu, size_t len, const struct srp_cmd_limits *limits,
    struct srp_request *ret, enum srp_logout_reason *ret_reason);
/*
 * Descriptor `i` of a list that srp_cmd_parse() or srp_table_check() found right.
 */
struct srp_desc srp_desc_get(const struct srp_direct_desc *list, uint32_t i);
/* Of a list that was fetched from the initiator: does it describe exactly `bytes`? */
bool srp_table_check(const struct srp_direct_desc *list, uint32_t count, uint32_t bytes);

/* ---- answers ----------------------------------------------------------------------------- */

struct srp_answer {
	const uint8_t *tag;
	uint32_t req_lim_delta;
	bool solicited;
	uint8_t status;
	int code; /* enum srp_rsp_code; < 0: no response data */
	/* Expected and moved: residuals come of them. */
	uint32_t out_bytes, in_bytes;
	uint64_t xfer_bytes; /* what the command would have moved, in its direction */
	const uint8_t *sense;
	uint8_t sense_len;
};
/* Into SRP_RSP_MAX_BYTES; the length. Every byte of it is written. */
size_t srp_rsp_build(void *buf, const struct srp_answer *a);
void srp_short_build(struct srp_short *ret, enum srp_opcode opcode, uint32_t word, uint64_t tag);

#endif
