/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests (doc/proto.md, "Transmission"): read, checked, and cut into pieces, each of which is an I/O
 * of the blk with buffers of its own. One request is cut at a time; while buffers, pieces or requests
 * are short nothing is read.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "nbd/nbd_priv.h"

#define DATA_IOV_MAX 64u

/* ---- the socket --------------------------------------------------------------------------------- */

/* > 0: bytes; otherwise nothing is to be had now, or any more. */
static size_t
receive(struct nbd_conn *c, const struct iovec *iov, unsigned iovcnt)
{
	ssize_t n = sock_recv(c->sock, iov, iovcnt);
	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		nbd_conn_drop(c);
		return 0;
	}
	if (n == 0) {
		nbd_conn_close(c);
		return 0;
	}
	nbd_moved(c->nl, (uint64_t)n);
	return (size_t)n;
}

static bool
receive_in(struct nbd_conn *c)
{
	memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
	c->in_len -= c->in_at;
	c->in_at = 0;
	struct iovec iov = {c->in + c->in_len, sizeof c->in - c->in_len};
	size_t n = receive(c, &iov, 1);
	c->in_len += n;
	return n > 0;
}

/* ---- a request ------------------------------------------------------------------------------------ */

static uint64_t
round_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

static uint64_t
round_up(uint64_t v, uint64_t to)
{
	return round_down(v + to - 1, to);
}

static void
submit(struct nbd_conn *c, struct nbd_piece *p, struct nbd_req *r)
{
	p->req = r;
	p->serial = r->serial;
	p->io.done = nbd_piece_done;
	r->pieces++;
	c->in_flight++;
	blk_submit(c->chosen.blk, &p->io);
}

/* The request has all its pieces. */
static void
req_whole(struct nbd_conn *c, struct nbd_req *r)
{
	ASSERT(c->req == r);
	r->whole = true;
	c->req = NULL;
	c->rx = NBD_RX_REQUEST;
}

/* Buffers for a piece, or it waits for them and the piece is gone. */
static bool
get_buffers(struct nbd_conn *c, struct nbd_piece *p, enum blk_op op, uint64_t at, uint64_t len)
{
	if (blk_sg_get(c->chosen.blk, &p->sg, op, at, len) == 0)
		return true;
	nbd_piece_put(p);
	nbd_conn_wait_for_buffers(c);
	return false;
}

/*
 * Structured replies come in any order: pieces end where a window of the store ends. A simple reply
 * is one run of bytes: pieces are cut from the start of the request, mostly only one, and of several
 * none may be overtaken by another request's answer: the request begins when nothing else is under
 * way, and each piece takes its place in the queue at once.
 */
static bool
read_piece(struct nbd_conn *c, struct nbd_req *r)
{
	const uint64_t block = c->chosen.block_bytes, window = c->nl->piece_bytes;
	uint64_t pos = r->offset_bytes + r->at, end = r->offset_bytes + r->len_bytes;
	uint64_t start = round_down(pos, block);
	uint64_t limit = c->chosen.structured ? round_down(pos, window) + window : start + window;
	uint64_t stop = round_up(end, block) < limit ? round_up(end, block) : limit;

	if (r->at == 0)
		r->in_order = !c->chosen.structured && stop < end;
	if (r->in_order && r->at == 0 && c->in_flight > 0)
		return false;
	if (r->in_order && r->error != 0) { /* it was answered */
		req_whole(c, r);
		if (r->pieces == 0)
			list_push_front(&c->free_reqs, &r->link);
		return true;
	}
	struct nbd_piece *p = nbd_piece_get(c, stop - start);
	if (p == NULL || !get_buffers(c, p, BLK_READ, start, stop - start))
		return false;
	p->data_at = pos - start;
	p->data_len = (stop < end ? stop : end) - pos;
	p->io.op = BLK_READ;
	p->io.flags = BLK_QUIET; /* looking at a LUN changes nothing for those who use it */
	p->io.offset_bytes = start;
	p->io.len_bytes = stop - start;
	p->io.sg = &p->sg;
	r->at += (uint32_t)p->data_len;
	if (r->in_order)
		list_push_back(&c->out, &p->link);
	submit(c, p, r);
	if (r->at == r->len_bytes)
		req_whole(c, r);
	return true;
}

static uint32_t
write_flags(const struct nbd_req *r)
{
	uint32_t flags = r->flags & NBD_CMD_FLAG_FUA ? BLK_FUA : 0;
	if (r->type == NBD_CMD_WRITE_ZEROES && (r->flags & NBD_CMD_FLAG_NO_HOLE))
		flags |= BLK_NO_UNMAP;
	return flags;
}

/* Buffers for the next part of the payload. */
static bool
write_piece(struct nbd_conn *c, struct nbd_req *r)
{
	const uint64_t window = c->nl->piece_bytes;
	uint64_t pos = r->offset_bytes + r->at, end = r->offset_bytes + r->len_bytes;
	uint64_t limit = round_down(pos, window) + window;
	uint64_t stop = end < limit ? end : limit;

	struct nbd_piece *p = nbd_piece_get(c, stop - pos);
	if (p == NULL || !get_buffers(c, p, BLK_WRITE, pos, stop - pos))
		return false;
	p->io.op = BLK_WRITE;
	p->io.flags = write_flags(r);
	p->io.offset_bytes = pos;
	p->io.len_bytes = stop - pos;
	p->io.sg = &p->sg;
	c->fill = p;
	c->rx = NBD_RX_DATA;
	return true;
}

static bool
status_piece(struct nbd_conn *c, struct nbd_req *r)
{
	const uint64_t block = c->chosen.block_bytes;
	uint64_t start = round_down(r->offset_bytes, block);
	uint64_t stop = round_up(r->offset_bytes + r->len_bytes, block);

	struct nbd_piece *p = nbd_piece_get(c, BUFPOOL_FRAME_BYTES);
	if (p == NULL)
		return false;
	p->buf = loop_buf_get(c->loop, BUFPOOL_FRAME_BYTES);
	if (p->buf == NULL) {
		nbd_piece_put(p);
		nbd_conn_wait_for_buffers(c);
		return false;
	}
	p->io.op = BLK_EXTENTS;
	p->io.flags = 0;
	p->io.offset_bytes = start;
	p->io.len_bytes = stop - start;
	p->io.extents = p->buf;
	p->io.extent_cap = NBD_STATUS_MAX;
	submit(c, p, r);
	req_whole(c, r);
	return true;
}

/* FLUSH, TRIM, WRITE_ZEROES: one piece without data, however long. */
static bool
range_piece(struct nbd_conn *c, struct nbd_req *r)
{
	const uint64_t block = c->chosen.block_bytes;
	uint64_t start = r->offset_bytes, stop = r->offset_bytes + r->len_bytes;

	struct nbd_piece *p = nbd_piece_get(c, 0);
	if (p == NULL)
		return false;
	if (r->type == NBD_CMD_TRIM) { /* a hint: whole blocks only */
		start = round_up(start, block);
		stop = round_down(stop, block);
		if (start >= stop) {
			req_whole(c, r);
			nbd_answer(p, r, 0);
			list_push_front(&c->free_reqs, &r->link);
			return true;
		}
	}
	p->io.op = r->type == NBD_CMD_FLUSH  ? BLK_FLUSH
	           : r->type == NBD_CMD_TRIM ? BLK_UNMAP
	                                     : BLK_WRITE_ZEROES;
	p->io.flags = r->type == NBD_CMD_FLUSH ? 0 : write_flags(r);
	p->io.offset_bytes = r->type == NBD_CMD_FLUSH ? 0 : start;
	p->io.len_bytes = r->type == NBD_CMD_FLUSH ? 0 : stop - start;
	p->io.sg = NULL;
	submit(c, p, r);
	req_whole(c, r);
	return true;
}

static bool
step_pieces(struct nbd_conn *c)
{
	struct nbd_req *r = c->req;
	switch (r->type) {
	case NBD_CMD_READ:
		return read_piece(c, r);
	case NBD_CMD_WRITE:
		return write_piece(c, r);
	case NBD_CMD_BLOCK_STATUS:
		return status_piece(c, r);
	default:
		return range_piece(c, r);
	}
}

/* ---- payload ---------------------------------------------------------------------------------------- */

/* Straight into the buffers; what comes after the payload goes into `in`, which is empty. */
static size_t
receive_data(struct nbd_conn *c, struct nbd_piece *p, size_t need)
{
	struct iovec iov[DATA_IOV_MAX + 1];
	unsigned count = 0;
	size_t skip = p->filled, room = 0;

	for (uint32_t i = 0; i < p->sg.iovcnt && count < DATA_IOV_MAX && room < need; i++) {
		const struct iovec *v = &p->sg.iov[i];
		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		size_t len = v->iov_len - skip < need - room ? v->iov_len - skip : need - room;
		iov[count++] = (struct iovec){(char *)v->iov_base + skip, len};
		room += len;
		skip = 0;
	}
	c->in_at = c->in_len = 0;
	if (room == need)
		iov[count++] = (struct iovec){c->in, sizeof c->in};
	size_t n = receive(c, iov, count);
	if (n > room) {
		c->in_len = n - room;
		n = room;
	}
	return n;
}

static bool
step_data(struct nbd_conn *c)
{
	struct nbd_piece *p = c->fill;
	struct nbd_req *r = c->req;
	size_t need = (size_t)p->io.len_bytes - p->filled, n = c->in_len - c->in_at;

	ASSERT(need > 0);
	if (n > 0) {
		n = n < need ? n : need;
		blk_sg_copy_in(&p->sg, p->filled, c->in + c->in_at, n);
		c->in_at += n;
	} else {
		n = receive_data(c, p, need);
		if (n == 0) /* the connection may be over, and the piece gone */
			return false;
	}
	p->filled += (uint32_t)n;
	if (n < need)
		return true;
	c->fill = NULL;
	r->at += p->filled;
	c->rx = NBD_RX_PIECES;
	if (r->at == r->len_bytes)
		req_whole(c, r);
	submit(c, p, r);
	return true;
}

static bool
step_skip(struct nbd_conn *c)
{
	size_t have = c->in_len - c->in_at;
	if (have == 0)
		return receive_in(c);
	if (have > c->skip_left)
		have = c->skip_left;
	c->in_at += have;
	c->skip_left -= (uint32_t)have;
	if (c->skip_left == 0)
		c->rx = NBD_RX_REQUEST;
	return true;
}

/* ---- headers ------------------------------------------------------------------------------------------ */

static bool
changes(uint16_t type)
{
	return type == NBD_CMD_WRITE || type == NBD_CMD_TRIM || type == NBD_CMD_WRITE_ZEROES;
}

/* 0, or the error that it is answered with. */
static uint32_t
check(const struct nbd_conn *c, const struct nbd_req *r)
{
	static const uint16_t flags[] = {
	    [NBD_CMD_READ] = 0,
	    [NBD_CMD_WRITE] = 0,
	    [NBD_CMD_FLUSH] = 0,
	    [NBD_CMD_TRIM] = 0,
	    [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_NO_HOLE,
	    [NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_REQ_ONE,
	};
	const struct nbd_chosen *x = &c->chosen;
	/* Where FUA is offered it is accepted with every command. */
	unsigned fua = x->writable ? NBD_CMD_FLAG_FUA : 0;

	if (r->type > NBD_CMD_BLOCK_STATUS || r->type == 5) /* 5: CACHE, not offered */
		return NBD_EINVAL;
	if (changes(r->type) && !x->writable)
		return NBD_EPERM;
	if (r->flags & ~(flags[r->type] | fua))
		return NBD_EINVAL;
	if (r->type == NBD_CMD_FLUSH)
		return x->writable ? 0 : NBD_EINVAL;
	if (r->len_bytes == 0)
		return NBD_EINVAL;
	if (r->offset_bytes > x->size_bytes || r->len_bytes > x->size_bytes - r->offset_bytes)
		return changes(r->type) ? NBD_ENOSPC : NBD_EINVAL;
	switch (r->type) {
	case NBD_CMD_READ:
		return r->len_bytes > NBD_REQUEST_MAX_BYTES ? NBD_EINVAL : 0;
	case NBD_CMD_TRIM:
		return x->can_trim ? 0 : NBD_EINVAL;
	case NBD_CMD_BLOCK_STATUS:
		return x->allocation ? 0 : NBD_EINVAL;
	default: /* WRITE, WRITE_ZEROES */
		return (r->offset_bytes | r->len_bytes) & (x->block_bytes - 1) ? NBD_EINVAL : 0;
	}
}

static void
refuse(struct nbd_conn *c, struct nbd_req *r, uint32_t error)
{
	struct nbd_piece *p = nbd_piece_get(c, 0);
	ASSERT(p != NULL); /* step_request() has looked */
	nbd_answer(p, r, error);
	if (r->type == NBD_CMD_WRITE && r->len_bytes > 0) {
		c->skip_left = r->len_bytes;
		c->rx = NBD_RX_SKIP;
	}
	list_push_front(&c->free_reqs, &r->link);
}

static bool
step_request(struct nbd_conn *c)
{
	struct nbd_request h;

	if (list_empty(&c->free_reqs) || list_empty(&c->free_pieces))
		return false;
	if (c->in_len - c->in_at < sizeof h)
		return receive_in(c);
	memcpy(&h, c->in + c->in_at, sizeof h);
	c->in_at += sizeof h;
	uint16_t type = be16_get(h.type);
	if (be32_get(h.magic) != NBD_REQUEST_MAGIC ||
	    (type == NBD_CMD_WRITE && be32_get(h.len_bytes) > NBD_REQUEST_MAX_BYTES)) {
		nbd_conn_drop(c);
		return false;
	}
	if (type == NBD_CMD_DISC) {
		nbd_conn_close(c);
		return false;
	}
	struct nbd_req *r = container_of(list_pop_front(&c->free_reqs), struct nbd_req, link);
	*r = (struct nbd_req){
	    .serial = ++c->serial,
	    .cookie = be64_get(h.cookie),
	    .offset_bytes = be64_get(h.offset_bytes),
	    .len_bytes = be32_get(h.len_bytes),
	    .type = type,
	    .flags = be16_get(h.flags),
	};
	list_init(&r->link);
	uint32_t error = check(c, r);
	if (error != 0) {
		refuse(c, r, error);
		return true;
	}
	c->req = r;
	c->rx = NBD_RX_PIECES;
	return true;
}

bool
nbd_rx_step(struct nbd_conn *c)
{
	if (c->waits_for_buffers)
		return false;
	switch (c->rx) {
	case NBD_RX_REQUEST:
		return step_request(c);
	case NBD_RX_PIECES:
		return step_pieces(c);
	case NBD_RX_DATA:
		return step_data(c);
	case NBD_RX_SKIP:
		return step_skip(c);
	case NBD_RX_OVER:
		break;
	}
	return false;
}

void
nbd_rx_stop(struct nbd_conn *c)
{
	if (c->fill != NULL)
		nbd_piece_put(c->fill);
	c->fill = NULL;
	c->req = NULL; /* its pieces come back; it isn't answered any more */
}
