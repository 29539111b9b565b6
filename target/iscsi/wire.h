/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iSCSI PDUs as on the wire, RFC 7143 §11. No logic. Offsets are within the 48-byte basic header
 * segment; additional header segments, header digest, data, padding and data digest follow it.
 */
#ifndef ISCSI_WIRE_H
#define ISCSI_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/endian.h"

#define ISCSI_BHS_BYTES 48u
#define ISCSI_DIGEST_BYTES 4u
#define ISCSI_TAG_NONE 0xffffffffu /* §11.2.1.8, §11.7.3: reserved task and transfer tag */
#define ISCSI_OPCODE_MASK 0x3fu
#define ISCSI_OPCODE_IMMEDIATE 0x40u
#define ISCSI_FLAG_FINAL 0x80u

/* §11.2.1.2. */
enum iscsi_opcode {
	ISCSI_OP_NOP_OUT = 0x00,
	ISCSI_OP_SCSI_CMD = 0x01,
	ISCSI_OP_TMF_REQ = 0x02,
	ISCSI_OP_LOGIN_REQ = 0x03,
	ISCSI_OP_TEXT_REQ = 0x04,
	ISCSI_OP_DATA_OUT = 0x05,
	ISCSI_OP_LOGOUT_REQ = 0x06,
	ISCSI_OP_SNACK_REQ = 0x10,
	ISCSI_OP_NOP_IN = 0x20,
	ISCSI_OP_SCSI_RSP = 0x21,
	ISCSI_OP_TMF_RSP = 0x22,
	ISCSI_OP_LOGIN_RSP = 0x23,
	ISCSI_OP_TEXT_RSP = 0x24,
	ISCSI_OP_DATA_IN = 0x25,
	ISCSI_OP_LOGOUT_RSP = 0x26,
	ISCSI_OP_R2T = 0x31,
	ISCSI_OP_ASYNC = 0x32,
	ISCSI_OP_REJECT = 0x3f,
};

/* Common to all, §11.2.1. */
struct iscsi_bhs {
	uint8_t opcode;         /*  0  I bit and opcode */
	uint8_t flags;          /*  1  F bit and opcode-specific */
	uint8_t specific2[2];   /*  2 */
	uint8_t total_ahs_len;  /*  4  in words of 4 bytes */
	be24 data_len;          /*  5  without padding */
	uint8_t lun[8];         /*  8  or opcode-specific */
	be32 itt;               /* 16  initiator task tag */
	uint8_t specific20[28]; /* 20 */
};

/* §11.3. */
#define ISCSI_CMD_READ 0x40u
#define ISCSI_CMD_WRITE 0x20u
#define ISCSI_CMD_ATTR_MASK 0x07u
struct iscsi_scsi_cmd {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2;
	uint8_t priority; /*  3  RFC 7144 §8: low 4 bits */
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 edtl;        /* 20  expected data transfer length */
	be32 cmd_sn;      /* 24 */
	be32 exp_stat_sn; /* 28 */
	uint8_t cdb[16];  /* 32 */
};

/* §11.4. */
#define ISCSI_RSP_BIDI_OVERFLOW 0x10u
#define ISCSI_RSP_BIDI_UNDERFLOW 0x08u
#define ISCSI_RSP_OVERFLOW 0x04u
#define ISCSI_RSP_UNDERFLOW 0x02u
struct iscsi_scsi_rsp {
	uint8_t opcode;
	uint8_t flags;
	uint8_t response; /*  2  0: completed at target, 1: target failure */
	uint8_t status;   /*  3 */
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t reserved8[8]; /*  8  status qualifier in bytes 2–3 of it, RFC 7144 */
	be32 itt;
	be32 snack_tag;     /* 20 */
	be32 stat_sn;       /* 24 */
	be32 exp_cmd_sn;    /* 28 */
	be32 max_cmd_sn;    /* 32 */
	be32 exp_data_sn;   /* 36 */
	be32 bidi_residual; /* 40 */
	be32 residual;      /* 44 */
};

/* §11.5. */
enum iscsi_tmf_function {
	ISCSI_TMF_ABORT_TASK = 1,
	ISCSI_TMF_ABORT_TASK_SET = 2,
	ISCSI_TMF_CLEAR_ACA = 3,
	ISCSI_TMF_CLEAR_TASK_SET = 4,
	ISCSI_TMF_LU_RESET = 5,
	ISCSI_TMF_TARGET_WARM_RESET = 6,
	ISCSI_TMF_TARGET_COLD_RESET = 7,
	ISCSI_TMF_TASK_REASSIGN = 8,
	ISCSI_TMF_QUERY_TASK = 9, /* RFC 7144 §4 */
	ISCSI_TMF_QUERY_TASK_SET = 10,
	ISCSI_TMF_I_T_NEXUS_RESET = 11,
	ISCSI_TMF_QUERY_ASYNC_EVENT = 12,
};
struct iscsi_tmf_req {
	uint8_t opcode;
	uint8_t function; /*  1  0x80 | function */
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ref_task_tag; /* 20 */
	be32 cmd_sn;       /* 24 */
	be32 exp_stat_sn;  /* 28 */
	be32 ref_cmd_sn;   /* 32 */
	be32 exp_data_sn;  /* 36 */
	uint8_t reserved40[8];
};

/* §11.6.1. */
enum iscsi_tmf_response {
	ISCSI_TMF_RSP_COMPLETE = 0,
	ISCSI_TMF_RSP_NO_TASK = 1,
	ISCSI_TMF_RSP_NO_LUN = 2,
	ISCSI_TMF_RSP_STILL_ALLEGIANT = 3,
	ISCSI_TMF_RSP_NO_REASSIGN = 4,
	ISCSI_TMF_RSP_NOT_SUPPORTED = 5,
	ISCSI_TMF_RSP_AUTH_FAILED = 6,
	ISCSI_TMF_RSP_SUCCEEDED = 7, /* RFC 7144 §4.2 */
	ISCSI_TMF_RSP_REJECTED = 255,
};
struct iscsi_tmf_rsp {
	uint8_t opcode;
	uint8_t flags;
	uint8_t response; /*  2 */
	uint8_t reserved3;
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t reserved8[8]; /*  8  RFC 7144: additional response information in 9..11 */
	be32 itt;
	uint8_t reserved20[4];
	be32 stat_sn;    /* 24 */
	be32 exp_cmd_sn; /* 28 */
	be32 max_cmd_sn; /* 32 */
	uint8_t reserved36[12];
};

/* §11.7. */
struct iscsi_data_out {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt; /* 20  target transfer tag */
	uint8_t reserved24[4];
	be32 exp_stat_sn; /* 28 */
	uint8_t reserved32[4];
	be32 data_sn;       /* 36 */
	be32 buffer_offset; /* 40 */
	uint8_t reserved44[4];
};
#define ISCSI_DATA_IN_ACK 0x40u
#define ISCSI_DATA_IN_STATUS 0x01u
struct iscsi_data_in {
	uint8_t opcode;
	uint8_t flags; /*  1  F A 0 0 0 O U S */
	uint8_t reserved2;
	uint8_t status; /*  3  with S */
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt;           /* 20 */
	be32 stat_sn;       /* 24  with S */
	be32 exp_cmd_sn;    /* 28 */
	be32 max_cmd_sn;    /* 32 */
	be32 data_sn;       /* 36 */
	be32 buffer_offset; /* 40 */
	be32 residual;      /* 44  with S */
};

/* §11.8. */
struct iscsi_r2t {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt;           /* 20 */
	be32 stat_sn;       /* 24  next StatSN, not advanced */
	be32 exp_cmd_sn;    /* 28 */
	be32 max_cmd_sn;    /* 32 */
	be32 r2t_sn;        /* 36 */
	be32 buffer_offset; /* 40 */
	be32 desired_len;   /* 44 */
};

/* §11.9. */
enum iscsi_async_event {
	ISCSI_ASYNC_SCSI = 0,
	ISCSI_ASYNC_LOGOUT_REQUEST = 1,
	ISCSI_ASYNC_DROP_CONNECTION = 2,
	ISCSI_ASYNC_DROP_SESSION = 3,
	ISCSI_ASYNC_RENEGOTIATE = 4,
	ISCSI_ASYNC_TASKS_TERMINATED = 5, /* RFC 7144 §6 */
};
struct iscsi_async {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt; /* 16  0xffffffff */
	uint8_t reserved20[4];
	be32 stat_sn;        /* 24 */
	be32 exp_cmd_sn;     /* 28 */
	be32 max_cmd_sn;     /* 32 */
	uint8_t event;       /* 36 */
	uint8_t vendor_code; /* 37 */
	be16 parameter1;     /* 38 */
	be16 parameter2;     /* 40 */
	be16 parameter3;     /* 42 */
	uint8_t reserved44[4];
};

/* §11.10, §11.11. */
#define ISCSI_TEXT_CONTINUE 0x40u
struct iscsi_text_req {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt;         /* 20 */
	be32 cmd_sn;      /* 24 */
	be32 exp_stat_sn; /* 28 */
	uint8_t reserved32[16];
};
struct iscsi_text_rsp {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt;        /* 20 */
	be32 stat_sn;    /* 24 */
	be32 exp_cmd_sn; /* 28 */
	be32 max_cmd_sn; /* 32 */
	uint8_t reserved36[12];
};

/* §11.12, §11.13. */
#define ISCSI_LOGIN_TRANSIT 0x80u
#define ISCSI_LOGIN_CONTINUE 0x40u
#define ISCSI_LOGIN_CSG(flags) (((flags) >> 2) & 3u)
#define ISCSI_LOGIN_NSG(flags) ((flags)&3u)
enum iscsi_stage { ISCSI_STAGE_SECURITY = 0, ISCSI_STAGE_OPERATIONAL = 1, ISCSI_STAGE_FULL = 3 };
struct iscsi_login_req {
	uint8_t opcode;
	uint8_t flags; /*  1  T C 0 0 CSG NSG */
	uint8_t version_max;
	uint8_t version_min;
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t isid[6]; /*  8 */
	be16 tsih;       /* 14 */
	be32 itt;
	be16 cid; /* 20 */
	uint8_t reserved22[2];
	be32 cmd_sn;      /* 24 */
	be32 exp_stat_sn; /* 28 */
	uint8_t reserved32[16];
};
struct iscsi_login_rsp {
	uint8_t opcode;
	uint8_t flags;
	uint8_t version_max;
	uint8_t version_active;
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t isid[6]; /*  8 */
	be16 tsih;       /* 14 */
	be32 itt;
	uint8_t reserved20[4];
	be32 stat_sn;          /* 24 */
	be32 exp_cmd_sn;       /* 28 */
	be32 max_cmd_sn;       /* 32 */
	uint8_t status_class;  /* 36 */
	uint8_t status_detail; /* 37 */
	uint8_t reserved38[10];
};
/* §11.13.5, class << 8 | detail. */
enum iscsi_login_status {
	ISCSI_LOGIN_SUCCESS = 0x0000,
	ISCSI_LOGIN_MOVED_TEMP = 0x0101,
	ISCSI_LOGIN_MOVED_PERM = 0x0102,
	ISCSI_LOGIN_INITIATOR_ERROR = 0x0200,
	ISCSI_LOGIN_AUTH_FAILED = 0x0201,
	ISCSI_LOGIN_FORBIDDEN = 0x0202,
	ISCSI_LOGIN_NOT_FOUND = 0x0203,
	ISCSI_LOGIN_REMOVED = 0x0204,
	ISCSI_LOGIN_BAD_VERSION = 0x0205,
	ISCSI_LOGIN_TOO_MANY_CONNS = 0x0206,
	ISCSI_LOGIN_MISSING_PARAM = 0x0207,
	ISCSI_LOGIN_CANT_INCLUDE = 0x0208,
	ISCSI_LOGIN_BAD_SESSION_TYPE = 0x0209,
	ISCSI_LOGIN_NO_SESSION = 0x020a,
	ISCSI_LOGIN_BAD_DURING_LOGIN = 0x020b,
	ISCSI_LOGIN_TARGET_ERROR = 0x0300,
	ISCSI_LOGIN_UNAVAILABLE = 0x0301,
	ISCSI_LOGIN_OUT_OF_RESOURCES = 0x0302,
};

/* §11.14, §11.15. */
enum iscsi_logout_reason {
	ISCSI_LOGOUT_SESSION = 0,
	ISCSI_LOGOUT_CONNECTION = 1,
	ISCSI_LOGOUT_RECOVERY = 2,
};
struct iscsi_logout_req {
	uint8_t opcode;
	uint8_t reason; /*  1  0x80 | reason */
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t reserved8[8];
	be32 itt;
	be16 cid; /* 20 */
	uint8_t reserved22[2];
	be32 cmd_sn;      /* 24 */
	be32 exp_stat_sn; /* 28 */
	uint8_t reserved32[16];
};
struct iscsi_logout_rsp {
	uint8_t opcode;
	uint8_t flags;
	uint8_t response; /*  2  0 closed, 1 CID not found, 2 no recovery, 3 cleanup failed */
	uint8_t reserved3;
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t reserved8[8];
	be32 itt;
	uint8_t reserved20[4];
	be32 stat_sn;    /* 24 */
	be32 exp_cmd_sn; /* 28 */
	be32 max_cmd_sn; /* 32 */
	uint8_t reserved36[4];
	be16 time2wait;   /* 40  seconds */
	be16 time2retain; /* 42 */
	uint8_t reserved44[4];
};

/* §11.17.1. */
enum iscsi_reject_reason {
	ISCSI_REJECT_DATA_DIGEST = 0x02,
	ISCSI_REJECT_SNACK = 0x03,
	ISCSI_REJECT_PROTOCOL = 0x04,
	ISCSI_REJECT_NOT_SUPPORTED = 0x05,
	ISCSI_REJECT_IMMEDIATE = 0x06,
	ISCSI_REJECT_TASK_IN_PROGRESS = 0x07,
	ISCSI_REJECT_INVALID_DATA_ACK = 0x08,
	ISCSI_REJECT_INVALID_FIELD = 0x09,
	ISCSI_REJECT_LONG_OPERATION = 0x0a,
	ISCSI_REJECT_WAIT_LOGOUT = 0x0c,
};
struct iscsi_reject {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reason; /*  2 */
	uint8_t reserved3;
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t reserved8[8];
	be32 itt; /* 16  0xffffffff */
	uint8_t reserved20[4];
	be32 stat_sn;    /* 24 */
	be32 exp_cmd_sn; /* 28 */
	be32 max_cmd_sn; /* 32 */
	be32 data_sn;    /* 36 */
	uint8_t reserved40[8];
};

/* §11.18, §11.19. */
struct iscsi_nop_out {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt;         /* 20 */
	be32 cmd_sn;      /* 24 */
	be32 exp_stat_sn; /* 28 */
	uint8_t reserved32[16];
};
struct iscsi_nop_in {
	uint8_t opcode;
	uint8_t flags;
	uint8_t reserved2[2];
	uint8_t total_ahs_len;
	be24 data_len;
	uint8_t lun[8];
	be32 itt;
	be32 ttt;        /* 20 */
	be32 stat_sn;    /* 24 */
	be32 exp_cmd_sn; /* 28 */
	be32 max_cmd_sn; /* 32 */
	uint8_t reserved36[12];
};

/* Additional header segment, §11.2.2. */
#define ISCSI_AHS_EXTENDED_CDB 1u
#define ISCSI_AHS_BIDI_LENGTH 2u
struct iscsi_ahs {
	be16 len;         /*  0  bytes after `type`, without padding */
	uint8_t type;     /*  2 */
	uint8_t specific; /*  3  first byte of the type's own */
};

#define ISCSI_WIRE_BHS(type) _Static_assert(sizeof(struct type) == ISCSI_BHS_BYTES, #type)
ISCSI_WIRE_BHS(iscsi_bhs);
ISCSI_WIRE_BHS(iscsi_scsi_cmd);
ISCSI_WIRE_BHS(iscsi_scsi_rsp);
ISCSI_WIRE_BHS(iscsi_tmf_req);
ISCSI_WIRE_BHS(iscsi_tmf_rsp);
ISCSI_WIRE_BHS(iscsi_data_out);
ISCSI_WIRE_BHS(iscsi_data_in);
ISCSI_WIRE_BHS(iscsi_r2t);
ISCSI_WIRE_BHS(iscsi_async);
ISCSI_WIRE_BHS(iscsi_text_req);
ISCSI_WIRE_BHS(iscsi_text_rsp);
ISCSI_WIRE_BHS(iscsi_login_req);
ISCSI_WIRE_BHS(iscsi_login_rsp);
ISCSI_WIRE_BHS(iscsi_logout_req);
ISCSI_WIRE_BHS(iscsi_logout_rsp);
ISCSI_WIRE_BHS(iscsi_reject);
ISCSI_WIRE_BHS(iscsi_nop_out);
ISCSI_WIRE_BHS(iscsi_nop_in);
_Static_assert(
    offsetof(struct iscsi_bhs, lun) == 8 && offsetof(struct iscsi_bhs, itt) == 16, "bhs");
_Static_assert(offsetof(struct iscsi_scsi_cmd, edtl) == 20, "scsi_cmd");
_Static_assert(offsetof(struct iscsi_scsi_cmd, cdb) == 32, "scsi_cmd");
_Static_assert(offsetof(struct iscsi_data_in, residual) == 44, "data_in");
_Static_assert(offsetof(struct iscsi_r2t, desired_len) == 44, "r2t");
_Static_assert(offsetof(struct iscsi_login_rsp, status_class) == 36, "login_rsp");
_Static_assert(offsetof(struct iscsi_async, event) == 36, "async");
_Static_assert(offsetof(struct iscsi_logout_rsp, time2wait) == 40, "logout_rsp");

#endif
