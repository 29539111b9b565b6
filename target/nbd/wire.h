/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes of the NBD protocol: doc/proto.md, sections by name. All integers are big-endian. */
#ifndef NBD_WIRE_H
#define NBD_WIRE_H

#include <assert.h>
#include <stddef.h>

#include "base/endian.h"

#define NBD_MAGIC 0x4e42444d41474943ull        /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC 0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x3e889045565a9ull
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC 0x668e33efu

/* Handshake flags; those of the client have the same bits. */
#define NBD_FLAG_FIXED_NEWSTYLE (1u << 0)
#define NBD_FLAG_NO_ZEROES (1u << 1)

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS (1u << 0)
#define NBD_FLAG_READ_ONLY (1u << 1)
#define NBD_FLAG_SEND_FLUSH (1u << 2)
#define NBD_FLAG_SEND_FUA (1u << 3)
#define NBD_FLAG_ROTATIONAL (1u << 4)
#define NBD_FLAG_SEND_TRIM (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_CAN_MULTI_CONN (1u << 8)

/* Option types. */
#define NBD_OPT_EXPORT_NAME 1u
#define NBD_OPT_ABORT 2u
#define NBD_OPT_LIST 3u
#define NBD_OPT_STARTTLS 5u
#define NBD_OPT_INFO 6u
#define NBD_OPT_GO 7u
#define NBD_OPT_STRUCTURED_REPLY 8u
#define NBD_OPT_LIST_META_CONTEXT 9u
#define NBD_OPT_SET_META_CONTEXT 10u

/* Option reply types. */
#define NBD_REP_ACK 1u
#define NBD_REP_SERVER 2u
#define NBD_REP_INFO 3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERR_UNSUP (1u << 31 | 1u)
#define NBD_REP_ERR_POLICY (1u << 31 | 2u)
#define NBD_REP_ERR_INVALID (1u << 31 | 3u)
#define NBD_REP_ERR_UNKNOWN (1u << 31 | 6u)
#define NBD_REP_ERR_TOO_BIG (1u << 31 | 9u)

/* Information types. */
#define NBD_INFO_EXPORT 0u
#define NBD_INFO_NAME 1u
#define NBD_INFO_BLOCK_SIZE 3u

/* Requests. */
#define NBD_CMD_READ 0u
#define NBD_CMD_WRITE 1u
#define NBD_CMD_DISC 2u
#define NBD_CMD_FLUSH 3u
#define NBD_CMD_TRIM 4u
#define NBD_CMD_WRITE_ZEROES 6u
#define NBD_CMD_BLOCK_STATUS 7u

#define NBD_CMD_FLAG_FUA (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE (1u << 1)
#define NBD_CMD_FLAG_REQ_ONE (1u << 3)

/* Structured replies. */
#define NBD_CHUNK_DONE (1u << 0)
#define NBD_CHUNK_OFFSET_DATA 1u
#define NBD_CHUNK_BLOCK_STATUS 5u
#define NBD_CHUNK_ERROR (1u << 15 | 1u)
#define NBD_CHUNK_ERROR_OFFSET (1u << 15 | 2u)

#define NBD_META_ALLOCATION "base:allocation"
#define NBD_STATE_HOLE (1u << 0)
#define NBD_STATE_ZERO (1u << 1)

/* Error values. */
#define NBD_EPERM 1u
#define NBD_EIO 5u
#define NBD_ENOMEM 12u
#define NBD_EINVAL 22u
#define NBD_ENOSPC 28u
#define NBD_ENOTSUP 95u

/* Option haggling: what the server says first. */
struct nbd_greeting {
	be64 magic;        /* 0 */
	be64 option_magic; /* 8 */
	be16 flags;        /* 16 */
};
static_assert(sizeof(struct nbd_greeting) == 18, "greeting");

struct nbd_option {
	be64 magic;  /* 0 */
	be32 option; /* 8 */
	be32 len;    /* 12 */
};
static_assert(sizeof(struct nbd_option) == 16, "option");

struct nbd_option_reply {
	be64 magic;  /* 0 */
	be32 option; /* 8 */
	be32 type;   /* 12 */
	be32 len;    /* 16 */
};
static_assert(sizeof(struct nbd_option_reply) == 20, "option reply");

/* The answer to NBD_OPT_EXPORT_NAME; `zeroes` isn't sent where NO_ZEROES was agreed on. */
struct nbd_export_reply {
	be64 size_bytes;     /* 0 */
	be16 flags;          /* 8 */
	uint8_t zeroes[124]; /* 10 */
};
static_assert(sizeof(struct nbd_export_reply) == 134, "export reply");

struct nbd_info_export {
	be16 type;       /* 0 */
	be64 size_bytes; /* 2 */
	be16 flags;      /* 10 */
};
static_assert(sizeof(struct nbd_info_export) == 12, "NBD_INFO_EXPORT");

struct nbd_info_block_size {
	be16 type;            /* 0 */
	be32 min_bytes;       /* 2 */
	be32 preferred_bytes; /* 6 */
	be32 max_bytes;       /* 10 */
};
static_assert(sizeof(struct nbd_info_block_size) == 14, "NBD_INFO_BLOCK_SIZE");

struct nbd_request {
	be32 magic;        /* 0 */
	be16 flags;        /* 4 */
	be16 type;         /* 6 */
	be64 cookie;       /* 8 */
	be64 offset_bytes; /* 16 */
	be32 len_bytes;    /* 24 */
};
static_assert(sizeof(struct nbd_request) == 28 && offsetof(struct nbd_request, len_bytes) == 24,
    "request message");

struct nbd_simple_reply {
	be32 magic;  /* 0 */
	be32 error;  /* 4 */
	be64 cookie; /* 8 */
};
static_assert(sizeof(struct nbd_simple_reply) == 16, "simple reply message");

struct nbd_chunk {
	be32 magic;  /* 0 */
	be16 flags;  /* 4 */
	be16 type;   /* 6 */
	be64 cookie; /* 8 */
	be32 len;    /* 16 */
};
static_assert(sizeof(struct nbd_chunk) == 20, "structured reply chunk message");

/* Payloads of chunks, with what comes before them. */
struct nbd_chunk_data {
	struct nbd_chunk c;
	be64 offset_bytes; /* 20 */
};
static_assert(sizeof(struct nbd_chunk_data) == 28, "NBD_REPLY_TYPE_OFFSET_DATA");

struct nbd_chunk_error {
	struct nbd_chunk c;
	be32 error;       /* 20 */
	be16 message_len; /* 24 */
	be64 offset;      /* 26, ERROR_OFFSET only */
};
static_assert(sizeof(struct nbd_chunk_error) == 34, "NBD_REPLY_TYPE_ERROR_OFFSET");

struct nbd_chunk_status {
	struct nbd_chunk c;
	be32 context; /* 20 */
};
static_assert(sizeof(struct nbd_chunk_status) == 24, "NBD_REPLY_TYPE_BLOCK_STATUS");

struct nbd_status {
	be32 len_bytes; /* 0 */
	be32 flags;     /* 4 */
};
static_assert(sizeof(struct nbd_status) == 8, "block status descriptor");

#endif
