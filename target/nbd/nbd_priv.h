/* SPDX-License-Identifier: BSD-2-Clause */
/* Between negotiation (bytes in, bytes out), connections, and the server. */
#ifndef NBD_NBD_PRIV_H
#define NBD_NBD_PRIV_H

#include "nbd/nbd.h"
#include "nbd/wire.h"

/* ---- negotiate.c: pure; knows no socket ------------------------------------------------------ */

#define NEGOTIATE_OPTION_MAX_BYTES 8192u
#define NEGOTIATE_SKIP_MAX_BYTES 65536u              /* a longer option ends the connection */
#define NEGOTIATE_OUT_MAX_BYTES (4u * 1024u * 1024u) /* answer to an option */

/* The export that a connection works on, as it was when it was opened. */
struct nbd_chosen {
	struct blk *blk; /* NULL: none */
	uint64_t size_bytes;
	uint32_t block_bytes;
	bool writable, can_trim;
	bool holes_are_zeros; /* what isn't mapped reads as zeros */
	bool structured;      /* replies */
	bool allocation;      /* base:allocation was chosen */
};

enum negotiate_state {
	NEGOTIATE_FLAGS, /* the client's flags are awaited */
	NEGOTIATE_OPTIONS,
	NEGOTIATE_SKIPPING, /* data of an option that is too long */
	NEGOTIATE_CHOSEN,   /* all that follows belongs to transmission */
	NEGOTIATE_ENDED,    /* when the output is taken */
	NEGOTIATE_BROKEN,   /* at once: the client, or no memory */
};

struct negotiation {
	const struct nbd_ops *ops;
	void *ctx;
	enum negotiate_state state;
	bool no_zeroes, structured;
	bool allocation; /* base:allocation, of the export meta_export */
	size_t meta_len;
	uint8_t meta_export[NBD_NAME_MAX_BYTES];
	uint32_t skip_option;
	uint32_t skip_left;
	struct nbd_chosen chosen;
	uint8_t *out;
	size_t out_len, out_cap;
	bool out_failed;
	size_t in_at, in_len; /* in[in_at..in_len) isn't handled yet */
	uint8_t in[sizeof(struct nbd_option) + NEGOTIATE_OPTION_MAX_BYTES];
};

/* The greeting is the first output. */
void negotiation_init(struct negotiation *n, const struct nbd_ops *ops, void *ctx);
void negotiation_fini(struct negotiation *n);
/* Room for what comes in; never empty while the state awaits something and step() returned false. */
uint8_t *negotiation_room(struct negotiation *n, size_t *ret_len);
/*
 * Handles the next unit of the input; to be called when all output has been taken (out_len set to 0).
 * False: more input is needed.
 */
bool negotiation_step(struct negotiation *n);

/* What a blk is for a client. `size_bytes` &c. as of this moment. */
void nbd_choose(const struct nbd_export *e, struct nbd_chosen *ret);
uint16_t nbd_transmission_flags(const struct nbd_chosen *c, uint32_t caps);

/* ---- a connection after negotiation -------------------------------------------------------------- */

#define NBD_PIECES_MAX 96u
#define NBD_IN_BYTES 8448u                  /* at least what negotiation may leave */
#define NBD_PIECE_MAX_BYTES (256u * 1024u)  /* an I/O; also bounded by the loop's share */
#define NBD_STATUS_MAX 120u                 /* extents told by one BLOCK_STATUS */
#define NBD_TURN_BYTES (128u * 1024u)       /* moved by all connections in a turn of their loop */
#define NBD_TURN_SHARED_BYTES (16u * 1024u) /* the same while initiators have commands for us */
#define NBD_LOOK_NS 500000u                 /* between looks whether they have */
#define NBD_ALONE_NS 5000000u               /* without any: they have none */
#define NBD_BURST_BYTES (64u * 1024u) /* with a rate: moved, then the loop's connections pause */
#define NBD_TURN_STEPS 64u

struct nbd_conn;
struct nbd_piece;

/* A request under way: until the last of its pieces is queued. */
struct nbd_req {
	struct list link; /* free */
	uint64_t serial;  /* unlike all others of the connection */
	uint64_t cookie, offset_bytes;
	uint32_t len_bytes;
	uint16_t type, flags;
	uint32_t at;     /* READ, WRITE: bytes for which pieces were made */
	uint32_t pieces; /* made, and not completed */
	bool whole;      /* no further piece comes */
	bool in_order;   /* a READ in a simple reply of several pieces */
	uint32_t error;  /* of the protocol; the first */
};

/* An I/O and its part of the answer. */
struct nbd_piece {
	struct list link; /* free; then in the queue of answers */
	struct nbd_conn *conn;
	struct nbd_req *req; /* until it is completed */
	uint64_t serial;     /* of the request */
	struct blk_io io;
	struct blk_sg sg;
	void *buf;        /* BLOCK_STATUS: extents, then descriptors; BUFPOOL_FRAME_BYTES */
	uint64_t charged; /* bytes of buffers */
	uint32_t filled;  /* WRITE: bytes received */
	bool ready;       /* may be sent */
	/* The answer: head, then bytes of buf or of sg. */
	uint32_t head_len;
	uint64_t data_at, data_len;
	uint64_t sent;
	union {
		struct nbd_simple_reply simple;
		struct nbd_chunk_data data;
		struct nbd_chunk_error error;
		struct nbd_chunk_status status;
	} head;
};

/* What the connections of a loop share. Owner: that loop, except `conns`. */
struct nbd_loop {
	struct loop *loop;
	unsigned conns;         /* home loop */
	unsigned alive;         /* that have begun here, and haven't ended */
	uint64_t share_bytes;   /* of buffers that each connection may always have */
	uint64_t surplus_bytes; /* left beyond the shares */
	uint32_t piece_bytes;   /* power of two */
	/* Initiators are served by this loop as well: what the connections may move in a turn, … */
	uint64_t turn;            /* that turn_bytes is of */
	uint64_t turn_bytes;      /* moved in it */
	uint64_t turn_max_bytes;  /* that may be moved in it */
	struct list waiting;      /* connections whose turn has come to its end, in order */
	struct loop_defer resume; /* the next turn, with any waiting */
	const struct nbd_server *server;
	uint64_t served;   /* commands of initiators, when it was looked at last */
	uint64_t look_ns;  /* not before */
	uint64_t alone_ns; /* from then on, unless another command comes */
	/* … and in a second, while initiators work. */
	uint64_t rate;           /* bytes a second in this turn; 0: no bound */
	uint64_t paid_ns;        /* until then the rate allows what was moved */
	bool pausing;            /* until paid_ns, but for connections that end */
	struct loop_timer pause; /* armed while one waits for that */
	uint64_t pause_begin_ns;
	uint64_t moved_bytes, paused_ns; /* read on any loop */
};

enum nbd_rx {
	NBD_RX_REQUEST, /* a header is awaited */
	NBD_RX_PIECES,  /* req: pieces are still to be made */
	NBD_RX_DATA,    /* fill: payload is awaited */
	NBD_RX_SKIP,    /* payload of a request that was refused */
	NBD_RX_OVER,    /* nothing more is read */
};

struct nbd_conn {
	/* Home loop's. */
	struct list link;
	struct nbd_server *server;
	struct negotiation *neg; /* NULL: it has moved on */
	struct loop_timer patience;
	size_t neg_sent;
	uint64_t since_ns;
	const struct blk *blk; /* that is used, or NULL */
	bool may_write;
	bool moved; /* to nl: all below is that loop's */
	bool end_sent;
	bool is_gone; /* and `end` isn't back */
	struct loop_msg start, end, gone;

	/* Its loop's; the home loop's while it negotiates. */
	struct nbd_loop *nl;
	struct loop *loop;
	struct sock *sock; /* NULL: closed */
	struct loop_defer again;
	bool end_seen, gone_sent;
	struct nbd_chosen chosen;
	struct loop_bufwait bufwait;
	bool waits_for_buffers;
	struct loop_timer linger;
	enum nbd_rx rx;
	struct nbd_req *req;    /* in reception */
	struct nbd_piece *fill; /* WRITE in reception */
	uint32_t skip_left;
	unsigned in_flight; /* pieces in the blk */
	uint64_t serial;    /* of the last request */
	uint64_t held_bytes;
	struct list wait_link; /* nbd_loop.waiting; to itself: not in it */
	struct list free_pieces, free_reqs;
	struct list out; /* answers in order */
	size_t in_at, in_len;
	uint8_t in[NBD_IN_BYTES];
	struct nbd_req reqs[NBD_DEPTH_MAX];
	struct nbd_piece pieces[NBD_PIECES_MAX];
};

/* conn.c. The first two are messages to the connection's loop. */
void nbd_conn_start(struct loop_msg *m);
void nbd_conn_end(struct loop_msg *m);
/* Begins with no connection. */
void nbd_loop_init_turns(struct nbd_loop *nl);
/* Something may go on: soon. */
void nbd_conn_kick(struct nbd_conn *c);
/* Nothing more is read; what was begun completes, answers are sent for a while yet. */
void nbd_conn_close(struct nbd_conn *c);
/* The socket is dead, or its peer broke the rules. */
void nbd_conn_drop(struct nbd_conn *c);
/* A piece with this many bytes of buffers. NULL: later, when one of this connection has come back. */
struct nbd_piece *nbd_piece_get(struct nbd_conn *c, uint64_t bytes);
/* In no list; its buffers go back. */
void nbd_piece_put(struct nbd_piece *p);

/* Buffers are short: nothing is read until some come back. */
void nbd_conn_wait_for_buffers(struct nbd_conn *c);

/* pace.c */
/* Bytes that the connection may move yet in this turn. */
uint64_t nbd_turn_left(const struct nbd_conn *c);
void nbd_moved(struct nbd_loop *nl, uint64_t bytes);
/* From now until something may be moved again, at most NBD_ALONE_NS: they may be alone then. */
uint64_t nbd_pause_ns(const struct nbd_loop *nl);

/* rx.c. False: nothing can be done at the moment. */
bool nbd_rx_step(struct nbd_conn *c);
/* What was in reception is forgotten. */
void nbd_rx_stop(struct nbd_conn *c);

/* tx.c */
/* The answer to a request without data; 0: it went well. Takes the piece. */
void nbd_answer(struct nbd_piece *p, const struct nbd_req *r, uint32_t error);
/* blk_io.done of all pieces. */
void nbd_piece_done(struct blk_io *io);
/* True if something was sent and more may be. */
bool nbd_tx_step(struct nbd_conn *c);

/* ---- server.c ------------------------------------------------------------------------------------- */

struct nbd_server {
	struct loop *home;
	const struct nbd_ops *ops;
	void *ctx;
	struct sock_listener *listener; /* NULL: none, or no more */
	char *path;                     /* NULL: none */
	struct list half_open;          /* oldest first */
	struct list conns;              /* that have moved on */
	unsigned half_open_count, conn_count;
	struct list releases;
	bool stopping;
	struct loop_defer stop_defer;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
	uint64_t rate_bytes_s; /* see nbd_server_set_rate(); read on any loop, as the next one */
	unsigned busy_loops;   /* that have connections */
	unsigned loop_count;
	struct nbd_loop loops[LOOP_COUNT_MAX];
};

/* Messages to the home loop. */
void nbd_server_on_gone(struct loop_msg *m);
void nbd_server_on_end_seen(struct loop_msg *m);

/* ---- listen.c -------------------------------------------------------------------------------------- */

/* See nbd_server_create(). */
int nbd_listen(struct loop *l, const char *path, const char *group, sock_accept_fn *accepted,
    void *ctx, struct sock_listener **ret, char *reason, size_t cap);

#endif
