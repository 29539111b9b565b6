/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SRP information units as on the wire (SRP r16a clause 6; immediate data: SRP-2). No logic. All
 * fields are big endian but for tags, which are eight bytes without meaning to us.
 */
#ifndef SRP_WIRE_H
#define SRP_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"
#include "srp/srp.h"

#define SRP_TAG_BYTES 8u

enum srp_opcode {
	SRP_LOGIN_REQ = 0x00,
	SRP_TSK_MGMT = 0x01,
	SRP_CMD = 0x02,
	SRP_I_LOGOUT = 0x03,
	SRP_CRED_RSP = 0x41,
	SRP_AER_RSP = 0x42,
	SRP_T_LOGOUT = 0x80,
	SRP_CRED_REQ = 0x81,
	SRP_LOGIN_RSP = 0xc0,
	SRP_RSP = 0xc1,
	SRP_LOGIN_REJ = 0xc2,
};

/* Bits of formats in logins; numbers of formats in the nibbles of a command. */
#define SRP_FMT_BIT_DIRECT (1u << 1)
#define SRP_FMT_BIT_INDIRECT (1u << 2)
enum srp_format {
	SRP_FMT_NONE = 0,
	SRP_FMT_DIRECT = 1,
	SRP_FMT_INDIRECT = 2,
	SRP_FMT_IMMEDIATE = 3, /* data out only */
};

#define SRP_LOGIN_MULTI_MASK 0x03u /* 0: end other channels, 1: keep them */
#define SRP_LOGIN_MULTI 0x01u
#define SRP_LOGIN_IMMEDIATE 0x80u

/* As private data of the IB CM's REQ. */
struct srp_login_req {
	uint8_t opcode;                            /*  0 */
	uint8_t reserved1[7];                      /*  1 */
	uint8_t tag[SRP_TAG_BYTES];                /*  8 */
	be32 it_iu_len;                            /* 16  longest unit the initiator will send */
	uint8_t reserved20[4];                     /* 20 */
	be16 formats;                              /* 24 */
	uint8_t flags;                             /* 26 */
	uint8_t reserved27;                        /* 27 */
	be16 imm_data_offset;                      /* 28 */
	uint8_t reserved30[2];                     /* 30 */
	uint8_t initiator_port[SRP_PORT_ID_BYTES]; /* 32 */
	uint8_t target_port[SRP_PORT_ID_BYTES];    /* 48 */
};
_Static_assert(sizeof(struct srp_login_req) == 64, "SRP r16a table 10");

/* As private data of the RDMA CM, which takes 36 of the 92 bytes for itself. */
struct srp_login_req_rdma {
	uint8_t tag[SRP_TAG_BYTES];                /*  0 */
	be16 formats;                              /*  8 */
	uint8_t flags;                             /* 10 */
	uint8_t opcode;                            /* 11 */
	be32 it_iu_len;                            /* 12 */
	uint8_t initiator_port[SRP_PORT_ID_BYTES]; /* 16 */
	uint8_t target_port[SRP_PORT_ID_BYTES];    /* 32 */
	be16 imm_data_offset;                      /* 48 */
	uint8_t reserved50[6];                     /* 50 */
};
_Static_assert(sizeof(struct srp_login_req_rdma) == 56, "92 - 36");

/* MULTI-CHANNEL RESULT in flags. */
#define SRP_LOGIN_RSP_NONE 0x00u
#define SRP_LOGIN_RSP_TERMINATED 0x01u
#define SRP_LOGIN_RSP_MAINTAINED 0x02u
struct srp_login_rsp {
	uint8_t opcode;             /*  0 */
	uint8_t reserved1[3];       /*  1 */
	be32 req_lim_delta;         /*  4  first credit */
	uint8_t tag[SRP_TAG_BYTES]; /*  8 */
	be32 max_it_iu_len;         /* 16 */
	be32 max_ti_iu_len;         /* 20 */
	be16 formats;               /* 24 */
	uint8_t flags;              /* 26 */
	uint8_t reserved27[25];     /* 27 */
};
_Static_assert(sizeof(struct srp_login_rsp) == 52, "SRP r16a table 13");

enum srp_login_reason {
	SRP_REJ_UNSPECIFIED = 0x00010000,
	SRP_REJ_RESOURCES = 0x00010001,
	SRP_REJ_IU_LEN = 0x00010002,
	SRP_REJ_NEXUS = 0x00010003,
	SRP_REJ_FORMATS = 0x00010004,
	SRP_REJ_MULTI = 0x00010005,
	SRP_REJ_CHANNELS = 0x00010006,
};
struct srp_login_rej {
	uint8_t opcode;             /*  0 */
	uint8_t reserved1[3];       /*  1 */
	be32 reason;                /*  4 */
	uint8_t tag[SRP_TAG_BYTES]; /*  8 */
	uint8_t reserved16[8];      /* 16 */
	be16 formats;               /* 24 */
	uint8_t reserved26[6];      /* 26 */
};
_Static_assert(sizeof(struct srp_login_rej) == 32, "SRP r16a table 15");

struct srp_direct_desc {
	be64 va;  /*  0 */
	be32 key; /*  8 */
	be32 len; /* 12 */
};
_Static_assert(sizeof(struct srp_direct_desc) == 16, "SRP r16a table 4");

/* Before `desc_cnt` direct descriptors. */
struct srp_indirect_head {
	struct srp_direct_desc table; /*  0  where the whole list is in the initiator's memory */
	be32 len;                     /* 16  of the data */
};
_Static_assert(sizeof(struct srp_indirect_head) == 20, "SRP r16a table 5");

#define SRP_SOL_GOOD 0x02u /* sol_not: a solicited event for a good answer, … */
#define SRP_SOL_BAD 0x04u  /* … for another one */
#define SRP_SOL_TMF 0x02u
#define SRP_ATTR_MASK 0x07u
#define SRP_ADD_CDB_MASK 0xfcu /* words of 4 bytes in bits 7..2: bytes */
struct srp_cmd {
	uint8_t opcode;             /*  0 */
	uint8_t sol_not;            /*  1 */
	uint8_t reserved2[3];       /*  2 */
	uint8_t formats;            /*  5  out: high nibble, in: low */
	uint8_t out_desc_count;     /*  6 */
	uint8_t in_desc_count;      /*  7 */
	uint8_t tag[SRP_TAG_BYTES]; /*  8 */
	uint8_t reserved16[4];      /* 16 */
	uint8_t lun[8];             /* 20 */
	uint8_t reserved28;         /* 28 */
	uint8_t attr;               /* 29 */
	uint8_t reserved30;         /* 30 */
	uint8_t add_cdb_len;        /* 31 */
	uint8_t cdb[16];            /* 32 */
};
_Static_assert(sizeof(struct srp_cmd) == 48, "SRP r16a table 18");
_Static_assert(offsetof(struct srp_cmd, lun) == 20, "SRP r16a table 18");

enum srp_tsk_function {
	SRP_TSK_ABORT_TASK = 0x01,
	SRP_TSK_ABORT_TASK_SET = 0x02,
	SRP_TSK_CLEAR_TASK_SET = 0x04,
	SRP_TSK_LUN_RESET = 0x08,
	SRP_TSK_CLEAR_ACA = 0x40,
};
struct srp_tsk_mgmt {
	uint8_t opcode;                  /*  0 */
	uint8_t sol_not;                 /*  1 */
	uint8_t reserved2[6];            /*  2 */
	uint8_t tag[SRP_TAG_BYTES];      /*  8 */
	uint8_t reserved16[4];           /* 16 */
	uint8_t lun[8];                  /* 20 */
	uint8_t reserved28[2];           /* 28 */
	uint8_t function;                /* 30 */
	uint8_t reserved31;              /* 31 */
	uint8_t task_tag[SRP_TAG_BYTES]; /* 32 */
	uint8_t reserved40[8];           /* 40 */
};
_Static_assert(sizeof(struct srp_tsk_mgmt) == 48, "SRP r16a table 16");
_Static_assert(offsetof(struct srp_tsk_mgmt, task_tag) == 32, "SRP r16a table 16");

/* Of an answer: response data and sense follow, in this order. */
#define SRP_RSP_SOLICITED 0x01u /* sol_not */
#define SRP_RSP_RSPVALID 0x01u
#define SRP_RSP_SNSVALID 0x02u
#define SRP_RSP_DOOVER 0x04u
#define SRP_RSP_DOUNDER 0x08u
#define SRP_RSP_DIOVER 0x10u
#define SRP_RSP_DIUNDER 0x20u
struct srp_rsp {
	uint8_t opcode;             /*  0 */
	uint8_t sol_not;            /*  1 */
	uint8_t reserved2[2];       /*  2 */
	be32 req_lim_delta;         /*  4 */
	uint8_t tag[SRP_TAG_BYTES]; /*  8 */
	uint8_t reserved16[2];      /* 16 */
	uint8_t flags;              /* 18 */
	uint8_t status;             /* 19 */
	be32 out_residual;          /* 20 */
	be32 in_residual;           /* 24 */
	be32 sense_len;             /* 28 */
	be32 data_len;              /* 32 */
};
_Static_assert(sizeof(struct srp_rsp) == 36, "SRP r16a table 22");

/* The last of the four bytes of response data. */
enum srp_rsp_code {
	SRP_RSP_COMPLETE = 0x00,
	SRP_RSP_INVALID_FIELDS = 0x02,
	SRP_RSP_TMF_UNSUPPORTED = 0x04,
	SRP_RSP_TMF_FAILED = 0x05,
};

/* I_LOGOUT, CRED_RSP, AER_RSP; T_LOGOUT (word: reason), CRED_REQ (word: delta). */
struct srp_short {
	uint8_t opcode;             /*  0 */
	uint8_t sol_not;            /*  1 */
	uint8_t reserved2[2];       /*  2 */
	be32 word;                  /*  4 */
	uint8_t tag[SRP_TAG_BYTES]; /*  8 */
};
_Static_assert(sizeof(struct srp_short) == 16, "SRP r16a tables 27 to 33");

enum srp_logout_reason {
	SRP_LOGOUT_NONE = 0,
	SRP_LOGOUT_INACTIVE = 1,
	SRP_LOGOUT_BAD_IU = 2,
	SRP_LOGOUT_UNASKED_RSP = 3,
	SRP_LOGOUT_MULTI = 4,
	SRP_LOGOUT_OUT_FORMAT = 6,
	SRP_LOGOUT_IN_FORMAT = 7,
	SRP_LOGOUT_OUT_COUNT = 8,
	SRP_LOGOUT_IN_COUNT = 9,
};

#endif
