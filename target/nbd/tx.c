/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers: a queue of pieces, each a head and bytes of its buffers. Sent together, as much as the
 * socket takes.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "nbd/nbd_priv.h"

#define SEND_IOV_MAX 64u
/* Where descriptors begin in a piece's buf, behind the extents. */
#define STATUS_AT (NBD_STATUS_MAX * sizeof(struct blk_extent))

static_assert(STATUS_AT + NBD_STATUS_MAX * sizeof(struct nbd_status) <= BUFPOOL_FRAME_BYTES,
    "extents and descriptors fit into a frame");

/* Errors of a blk in the words of the protocol. */
static uint32_t
error_of(int err)
{
	switch (err) {
	case 0:
		return 0;
	case -EROFS:
	case -EPERM:
		return NBD_EPERM;
	case -ENOMEM:
		return NBD_ENOMEM;
	case -ENOSPC:
		return NBD_ENOSPC;
	case -EOPNOTSUPP:
		return NBD_ENOTSUP;
	default: /* not ESHUTDOWN for a store that is gone: it may come back */
		return NBD_EIO;
	}
}

/* ---- heads ---------------------------------------------------------------------------------------- */

static void
simple_head(struct nbd_piece *p, uint64_t cookie, uint32_t error)
{
	be32_put(&p->head.simple.magic, NBD_SIMPLE_REPLY_MAGIC);
	be32_put(&p->head.simple.error, error);
	be64_put(&p->head.simple.cookie, cookie);
	p->head_len = sizeof p->head.simple;
}

static void
chunk_head(struct nbd_chunk *h, const struct nbd_req *r, bool last, uint16_t type, uint64_t len)
{
	be32_put(&h->magic, NBD_CHUNK_MAGIC);
	be16_put(&h->flags, last ? NBD_CHUNK_DONE : 0);
	be16_put(&h->type, type);
	be64_put(&h->cookie, r->cookie);
	be32_put(&h->len, (uint32_t)len);
}

static void
error_chunk(struct nbd_piece *p, const struct nbd_req *r, bool last, uint32_t error)
{
	size_t len = offsetof(struct nbd_chunk_error, offset);
	chunk_head(&p->head.error.c, r, last, NBD_CHUNK_ERROR, len - sizeof(struct nbd_chunk));
	be32_put(&p->head.error.error, error);
	be16_put(&p->head.error.message_len, 0);
	p->head_len = (uint32_t)len;
	p->data_len = 0;
}

/* ---- the queue ------------------------------------------------------------------------------------ */

/* It may be there already: pieces of a reply in order. */
static void
queue(struct nbd_piece *p)
{
	struct nbd_conn *c = p->conn;
	p->ready = true;
	if (c->sock == NULL) {
		list_remove(&p->link);
		nbd_piece_put(p);
	} else if (list_empty(&p->link)) {
		list_push_back(&c->out, &p->link);
	}
	nbd_conn_kick(c);
}

void
nbd_answer(struct nbd_piece *p, const struct nbd_req *r, uint32_t error)
{
	bool chunk = p->conn->chosen.structured &&
	             (r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS);
	ASSERT(error != 0 || !chunk);
	p->data_len = 0;
	if (chunk)
		error_chunk(p, r, true, error);
	else
		simple_head(p, r->cookie, error);
	queue(p);
}

/* ---- what came back from the blk -------------------------------------------------------------------- */

static bool
is_first(const struct nbd_piece *p, const struct nbd_req *r)
{
	return p->io.offset_bytes + p->data_at == r->offset_bytes;
}

/*
 * A simple reply in several pieces, one of which failed. As long as nothing of it was sent it becomes an
 * error; after that only the end of the connection can tell ("Simple replies").
 */
static void
fail_in_order(struct nbd_conn *c, struct nbd_req *r, uint32_t error)
{
	struct nbd_piece *first = NULL;

	LIST_FOREACH (n, &c->out) {
		struct nbd_piece *p = container_of(n, struct nbd_piece, link);
		if (p->serial == r->serial && is_first(p, r) && p->sent == 0)
			first = p;
	}
	if (first == NULL) {
		nbd_conn_drop(c);
		return;
	}
	r->error = error;
	if (first->ready) {
		simple_head(first, r->cookie, error);
		first->data_len = 0;
	}
	LIST_FOREACH_SAFE (n, &c->out) {
		struct nbd_piece *p = container_of(n, struct nbd_piece, link);
		if (p->serial != r->serial || p == first || !p->ready)
			continue;
		list_remove(&p->link);
		nbd_piece_put(p);
	}
}

static void
read_in_order(struct nbd_conn *c, struct nbd_piece *p, struct nbd_req *r)
{
	if (p->io.result < 0 && r->error == 0 && c->sock != NULL)
		fail_in_order(c, r, error_of(p->io.result));
	/* `p` isn't ready: it is still there. */
	if (r->error != 0 && !is_first(p, r)) {
		list_remove(&p->link);
		nbd_piece_put(p);
		nbd_conn_kick(c);
		return;
	}
	if (is_first(p, r))
		simple_head(p, r->cookie, r->error);
	if (r->error != 0)
		p->data_len = 0;
	queue(p);
}

static void
read_done(struct nbd_conn *c, struct nbd_piece *p, struct nbd_req *r, bool last)
{
	uint32_t error = error_of(p->io.result);
	uint64_t offset = p->io.offset_bytes + p->data_at;

	if (r->in_order) {
		read_in_order(c, p, r);
		return;
	}
	if (!c->chosen.structured) {
		simple_head(p, r->cookie, error);
		if (error != 0)
			p->data_len = 0;
	} else if (error != 0) {
		error_chunk(p, r, last, error);
		chunk_head(&p->head.error.c, r, last, NBD_CHUNK_ERROR_OFFSET,
		    sizeof p->head.error - sizeof(struct nbd_chunk));
		be64_put(&p->head.error.offset, offset);
		p->head_len = sizeof p->head.error;
	} else {
		chunk_head(&p->head.data.c, r, last, NBD_CHUNK_OFFSET_DATA,
		    sizeof p->head.data.offset_bytes + p->data_len);
		be64_put(&p->head.data.offset_bytes, offset);
		p->head_len = sizeof p->head.data;
	}
	queue(p);
}

static unsigned
describe(const struct nbd_conn *c, const struct nbd_piece *p, const struct nbd_req *r)
{
	struct nbd_status *out = (struct nbd_status *)((uint8_t *)p->buf + STATUS_AT);
	uint64_t at = r->offset_bytes, end = r->offset_bytes + r->len_bytes;
	uint32_t hole = NBD_STATE_HOLE | (c->chosen.holes_are_zeros ? NBD_STATE_ZERO : 0);
	unsigned count = 0;

	for (uint32_t i = 0; i < p->io.extent_count && at < end; i++) {
		const struct blk_extent *e = &p->io.extents[i];
		uint64_t stop = e->offset_bytes + e->len_bytes;
		uint32_t flags = e->mapped ? 0 : hole;
		if (stop <= at)
			continue;
		uint32_t len = (uint32_t)((stop < end ? stop : end) - at);
		at += len;
		if (count > 0 && be32_get(out[count - 1].flags) == flags) {
			be32_put(
			    &out[count - 1].len_bytes, be32_get(out[count - 1].len_bytes) + len);
			continue;
		}
		if (count > 0 && (r->flags & NBD_CMD_FLAG_REQ_ONE))
			break;
		be32_put(&out[count].len_bytes, len);
		be32_put(&out[count++].flags, flags);
	}
	if (count == 0) { /* a store that tells nothing: data */
		be32_put(&out[0].len_bytes, r->len_bytes);
		be32_put(&out[count++].flags, 0);
	}
	return count;
}

static void
status_done(struct nbd_conn *c, struct nbd_piece *p, const struct nbd_req *r)
{
	if (p->io.result < 0) {
		nbd_answer(p, r, error_of(p->io.result));
		return;
	}
	p->data_at = STATUS_AT;
	p->data_len = describe(c, p, r) * sizeof(struct nbd_status);
	chunk_head(&p->head.status.c, r, true, NBD_CHUNK_BLOCK_STATUS,
	    sizeof p->head.status.context + p->data_len);
	be32_put(&p->head.status.context, 1);
	p->head_len = sizeof p->head.status;
	queue(p);
}

void
nbd_piece_done(struct blk_io *io)
{
	struct nbd_piece *p = container_of(io, struct nbd_piece, io);
	struct nbd_conn *c = p->conn;
	struct nbd_req *r = p->req;

	ASSERT(loop_is_current(c->loop));
	ASSERT(c->in_flight > 0 && r != NULL && r->pieces > 0);
	c->in_flight--;
	r->pieces--;
	p->req = NULL;
	bool last = r->whole && r->pieces == 0;
	if (r->type == NBD_CMD_READ) {
		read_done(c, p, r, last);
	} else if (r->type == NBD_CMD_BLOCK_STATUS) {
		status_done(c, p, r);
	} else {
		if (r->error == 0)
			r->error = error_of(io->result);
		blk_sg_put(&p->sg);
		if (last)
			nbd_answer(p, r, r->error);
		else
			nbd_piece_put(p);
	}
	if (last)
		list_push_front(&c->free_reqs, &r->link);
	nbd_conn_kick(c);
}

/* ---- sending ------------------------------------------------------------------------------------------ */

/* Takes off the end what is more than `limit`. Returns the new count. */
static unsigned
cut_iov(struct iovec *iov, unsigned count, size_t total, uint64_t limit)
{
	while (total > limit) {
		size_t more = total - (size_t)limit, last = iov[count - 1].iov_len;
		if (more < last) {
			iov[count - 1].iov_len -= more;
			break;
		}
		total -= last;
		count--;
	}
	return count;
}

/* What is left of a piece's answer. Returns the new count. */
static unsigned
add_iov(const struct nbd_piece *p, struct iovec *iov, unsigned count, size_t *total)
{
	uint64_t skip = p->sent, left = p->data_len;

	if (skip < p->head_len) {
		iov[count++] =
		    (struct iovec){(char *)(uintptr_t)&p->head + skip, p->head_len - (size_t)skip};
		*total += p->head_len - (size_t)skip;
		skip = 0;
	} else {
		skip -= p->head_len;
		left -= skip;
	}
	skip += p->data_at;
	if (p->buf != NULL && left > 0 && count < SEND_IOV_MAX) {
		iov[count++] = (struct iovec){(char *)p->buf + skip, (size_t)left};
		*total += (size_t)left;
		return count;
	}
	for (uint32_t i = 0; i < p->sg.iovcnt && left > 0 && count < SEND_IOV_MAX; i++) {
		const struct iovec *v = &p->sg.iov[i];
		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		size_t len = v->iov_len - (size_t)skip;
		len = len < left ? len : (size_t)left;
		iov[count++] = (struct iovec){(char *)v->iov_base + skip, len};
		*total += len;
		left -= len;
		skip = 0;
	}
	return count;
}

bool
nbd_tx_step(struct nbd_conn *c)
{
	struct iovec iov[SEND_IOV_MAX];
	unsigned count = 0;
	size_t total = 0;
	uint64_t limit = nbd_turn_left(c);

	LIST_FOREACH (n, &c->out) {
		const struct nbd_piece *p = container_of(n, struct nbd_piece, link);
		if (!p->ready || count == SEND_IOV_MAX || total >= limit)
			break;
		count = add_iov(p, iov, count, &total);
	}
	count = cut_iov(iov, count, total, limit);
	if (count == 0)
		return false;
	ssize_t n = sock_send(c->sock, iov, count);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		nbd_conn_drop(c);
		return false;
	}
	nbd_moved(c->nl, (uint64_t)n);
	for (uint64_t left = (uint64_t)n; left > 0;) {
		struct nbd_piece *p = container_of(c->out.next, struct nbd_piece, link);
		uint64_t rest = p->head_len + p->data_len - p->sent;
		uint64_t part = left < rest ? left : rest;
		p->sent += part;
		left -= part;
		if (part == rest) {
			list_remove(&p->link);
			nbd_piece_put(p);
		}
	}
	return n > 0;
}
