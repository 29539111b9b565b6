/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iSCSI PDU headers as the load generator sees them (RFC 7143 §11). The generator is a second,
 * independent reading of the standard: it shares no definition with the target that it measures.
 */
#ifndef BENCH_ISCSI_WIRE_H
#define BENCH_ISCSI_WIRE_H

#include "base/endian.h"

#include <stddef.h>
#include <stdint.h>

#define BENCH_BHS_BYTES 48u
#define BENCH_DIGEST_BYTES 4u
#define BENCH_TAG_NONE 0xffffffffu

enum bench_opcode {
	BENCH_OP_NOP_OUT = 0x00,
	BENCH_OP_SCSI_CMD = 0x01,
	BENCH_OP_LOGIN_REQ = 0x03,
	BENCH_OP_DATA_OUT = 0x05,
	BENCH_OP_LOGOUT_REQ = 0x06,
	BENCH_OP_NOP_IN = 0x20,
	BENCH_OP_SCSI_RSP = 0x21,
	BENCH_OP_LOGIN_RSP = 0x23,
	BENCH_OP_DATA_IN = 0x25,
	BENCH_OP_LOGOUT_RSP = 0x26,
	BENCH_OP_R2T = 0x31,
	BENCH_OP_ASYNC = 0x32,
	BENCH_OP_REJECT = 0x3f,
};

#define BENCH_OPCODE_MASK 0x3fu
#define BENCH_IMMEDIATE 0x40u /* byte 0: the command does not consume a CmdSN. */
#define BENCH_FINAL 0x80u     /* byte 1. */

#define BENCH_CMD_READ 0x40u /* byte 1 of a SCSI command, RFC 7143 §11.3.1. */
#define BENCH_CMD_WRITE 0x20u
#define BENCH_ATTR_SIMPLE 0x01u

#define BENCH_DATA_IN_STATUS 0x01u /* byte 1 of Data-In, S bit, RFC 7143 §11.7.3. */
#define BENCH_RESIDUAL_UNDER 0x02u
#define BENCH_RESIDUAL_OVER 0x04u

#define BENCH_LOGIN_TRANSIT 0x80u /* byte 1 of login, RFC 7143 §11.12. */
#define BENCH_LOGIN_CONTINUE 0x40u
#define BENCH_STAGE_OPERATIONAL 1u
#define BENCH_STAGE_FULL_FEATURE 3u

/* Any header: what is common to all of them. */
struct bench_bhs {
	uint8_t opcode;        /*  0 */
	uint8_t flags;         /*  1 */
	uint8_t specific1[2];  /*  2 */
	uint8_t ahs_words;     /*  4 */
	be24 data_len;         /*  5 */
	uint8_t lun[8];        /*  8 */
	be32 itt;              /* 16 */
	uint8_t specific2[28]; /* 20 */
};
_Static_assert(sizeof(struct bench_bhs) == BENCH_BHS_BYTES, "BHS size");
_Static_assert(offsetof(struct bench_bhs, itt) == 16, "ITT offset");

struct bench_scsi_cmd {      /* RFC 7143 §11.3 */
	uint8_t opcode;      /*  0 */
	uint8_t flags;       /*  1: F, R, W, ATTR */
	uint8_t reserved[2]; /*  2 */
	uint8_t ahs_words;   /*  4 */
	be24 data_len;       /*  5 */
	uint8_t lun[8];      /*  8 */
	be32 itt;            /* 16 */
	be32 expected_len;   /* 20 */
	be32 cmd_sn;         /* 24 */
	be32 exp_stat_sn;    /* 28 */
	uint8_t cdb[16];     /* 32 */
};
_Static_assert(sizeof(struct bench_scsi_cmd) == BENCH_BHS_BYTES, "SCSI command size");

struct bench_scsi_rsp {      /* RFC 7143 §11.4 */
	uint8_t opcode;      /*  0 */
	uint8_t flags;       /*  1: o u O U */
	uint8_t response;    /*  2 */
	uint8_t status;      /*  3 */
	uint8_t ahs_words;   /*  4 */
	be24 data_len;       /*  5 */
	uint8_t reserved[8]; /*  8 */
	be32 itt;            /* 16 */
	be32 snack_tag;      /* 20 */
	be32 stat_sn;        /* 24 */
	be32 exp_cmd_sn;     /* 28 */
	be32 max_cmd_sn;     /* 32 */
	be32 exp_data_sn;    /* 36 */
	be32 bidi_residual;  /* 40 */
	be32 residual;       /* 44 */
};
_Static_assert(sizeof(struct bench_scsi_rsp) == BENCH_BHS_BYTES, "SCSI response size");

struct bench_data_in {     /* RFC 7143 §11.7 */
	uint8_t opcode;    /*  0 */
	uint8_t flags;     /*  1: F A O U S */
	uint8_t reserved;  /*  2 */
	uint8_t status;    /*  3: valid with S */
	uint8_t ahs_words; /*  4 */
	be24 data_len;     /*  5 */
	uint8_t lun[8];    /*  8 */
	be32 itt;          /* 16 */
	be32 ttt;          /* 20 */
	be32 stat_sn;      /* 24: valid with S */
	be32 exp_cmd_sn;   /* 28 */
	be32 max_cmd_sn;   /* 32 */
	be32 data_sn;      /* 36 */
	be32 offset;       /* 40 */
	be32 residual;     /* 44 */
};
_Static_assert(sizeof(struct bench_data_in) == BENCH_BHS_BYTES, "Data-In size");

struct bench_data_out {       /* RFC 7143 §11.7 */
	uint8_t opcode;       /*  0 */
	uint8_t flags;        /*  1: F */
	uint8_t reserved1[2]; /*  2 */
	uint8_t ahs_words;    /*  4 */
	be24 data_len;        /*  5 */
	uint8_t lun[8];       /*  8 */
	be32 itt;             /* 16 */
	be32 ttt;             /* 20 */
	uint8_t reserved2[4]; /* 24 */
	be32 exp_stat_sn;     /* 28 */
	uint8_t reserved3[4]; /* 32 */
	be32 data_sn;         /* 36 */
	be32 offset;          /* 40 */
	uint8_t reserved4[4]; /* 44 */
};
_Static_assert(sizeof(struct bench_data_out) == BENCH_BHS_BYTES, "Data-Out size");

struct bench_r2t {           /* RFC 7143 §11.8 */
	uint8_t opcode;      /*  0 */
	uint8_t flags;       /*  1 */
	uint8_t reserved[2]; /*  2 */
	uint8_t ahs_words;   /*  4 */
	be24 data_len;       /*  5 */
	uint8_t lun[8];      /*  8 */
	be32 itt;            /* 16 */
	be32 ttt;            /* 20 */
	be32 stat_sn;        /* 24: the next one, not consumed */
	be32 exp_cmd_sn;     /* 28 */
	be32 max_cmd_sn;     /* 32 */
	be32 r2t_sn;         /* 36 */
	be32 offset;         /* 40 */
	be32 desired_len;    /* 44 */
};
_Static_assert(sizeof(struct bench_r2t) == BENCH_BHS_BYTES, "R2T size");

/* NOP-In and NOP-Out (RFC 7143 §11.18, §11.19). */
struct bench_nop {
	uint8_t opcode;        /*  0 */
	uint8_t flags;         /*  1 */
	uint8_t reserved1[2];  /*  2 */
	uint8_t ahs_words;     /*  4 */
	be24 data_len;         /*  5 */
	uint8_t lun[8];        /*  8 */
	be32 itt;              /* 16 */
	be32 ttt;              /* 20 */
	be32 sn0;              /* 24: out: CmdSN;     in: StatSN */
	be32 sn1;              /* 28: out: ExpStatSN; in: ExpCmdSN */
	be32 max_cmd_sn;       /* 32: in only */
	uint8_t reserved2[12]; /* 36 */
};
_Static_assert(sizeof(struct bench_nop) == BENCH_BHS_BYTES, "NOP size");

struct bench_login_req {       /* RFC 7143 §11.12 */
	uint8_t opcode;        /*  0 */
	uint8_t flags;         /*  1: T C CSG NSG */
	uint8_t version_max;   /*  2 */
	uint8_t version_min;   /*  3 */
	uint8_t ahs_words;     /*  4 */
	be24 data_len;         /*  5 */
	uint8_t isid[6];       /*  8 */
	be16 tsih;             /* 14 */
	be32 itt;              /* 16 */
	be16 cid;              /* 20 */
	uint8_t reserved1[2];  /* 22 */
	be32 cmd_sn;           /* 24 */
	be32 exp_stat_sn;      /* 28 */
	uint8_t reserved2[16]; /* 32 */
};
_Static_assert(sizeof(struct bench_login_req) == BENCH_BHS_BYTES, "login request size");

struct bench_login_rsp {        /* RFC 7143 §11.13 */
	uint8_t opcode;         /*  0 */
	uint8_t flags;          /*  1 */
	uint8_t version_max;    /*  2 */
	uint8_t version_active; /*  3 */
	uint8_t ahs_words;      /*  4 */
	be24 data_len;          /*  5 */
	uint8_t isid[6];        /*  8 */
	be16 tsih;              /* 14 */
	be32 itt;               /* 16 */
	uint8_t reserved1[4];   /* 20 */
	be32 stat_sn;           /* 24 */
	be32 exp_cmd_sn;        /* 28 */
	be32 max_cmd_sn;        /* 32 */
	uint8_t status_class;   /* 36 */
	uint8_t status_detail;  /* 37 */
	uint8_t reserved2[10];  /* 38 */
};
_Static_assert(sizeof(struct bench_login_rsp) == BENCH_BHS_BYTES, "login response size");
_Static_assert(offsetof(struct bench_login_rsp, status_class) == 36, "login status offset");

struct bench_logout_req {      /* RFC 7143 §11.14 */
	uint8_t opcode;        /*  0 */
	uint8_t flags;         /*  1: F and reason; 0 closes the session */
	uint8_t reserved1[2];  /*  2 */
	uint8_t ahs_words;     /*  4 */
	be24 data_len;         /*  5 */
	uint8_t reserved2[8];  /*  8 */
	be32 itt;              /* 16 */
	be16 cid;              /* 20 */
	uint8_t reserved3[2];  /* 22 */
	be32 cmd_sn;           /* 24 */
	be32 exp_stat_sn;      /* 28 */
	uint8_t reserved4[16]; /* 32 */
};
_Static_assert(sizeof(struct bench_logout_req) == BENCH_BHS_BYTES, "logout request size");

#endif
