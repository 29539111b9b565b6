/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scatter lists. Memory of the loop's pool comes in power-of-two runs of at most 1 MiB; a list takes
 * one run per MiB, and smaller ones where the pool is fragmented. Up to four segments live in the
 * list itself; a longer array is pool memory too.
 */
#include "store/blk_driver.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "base/copy.h"

void
blk_sg_init(struct blk_sg *sg)
{
	memset(sg, 0, offsetof(struct blk_sg, inline_iov));
}

void
blk_sg_borrow(struct blk_sg *sg, const void *p, size_t len)
{
	ASSERT(sg->iovcnt == 0 && sg->iovcap == 0 && sg->release == NULL);
	sg->inline_iov[0] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = len};
	sg->iov = sg->inline_iov;
	sg->iovcnt = 1;
	sg->len_bytes = len;
}

int
blk_sg_reserve(struct loop *l, struct blk_sg *sg, uint32_t count)
{
	ASSERT(sg->iovcnt == 0 && sg->iovcap == 0);
	struct iovec *iov = sg->inline_iov;
	if (count > BLK_SG_INLINE) {
		iov = loop_buf_get(l, count * sizeof *iov);
		if (iov == NULL)
			return -ENOBUFS;
		sg->iovcap = count;
	}
	sg->iov = iov;
	sg->loop = l;
	return 0;
}

void
blk_sg_append(struct blk_sg *sg, const void *p, size_t len)
{
	struct iovec *last = sg->iovcnt > 0 ? &sg->iov[sg->iovcnt - 1] : NULL;
	sg->len_bytes += len;
	if (last != NULL && (char *)last->iov_base + last->iov_len == p) {
		last->iov_len += len;
		return;
	}
	ASSERT(sg->iovcnt < (sg->iovcap > 0 ? sg->iovcap : BLK_SG_INLINE));
	/* Lent memory is read-only by contract; struct iovec can't say so. */
	sg->iov[sg->iovcnt++] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = len};
}

static void
plain_release(struct blk_sg *sg)
{
	for (uint32_t i = 0; i < sg->iovcnt; i++)
		loop_buf_put(sg->loop, sg->iov[i].iov_base, sg->iov[i].iov_len);
}

/* Undoes a get that failed half-way. It isn't told to those who wait for memory: nothing came back
 * that wasn't there before, and a waiter would wake itself for ever. */
static void
plain_rollback(struct loop *l, struct iovec *iov, uint32_t count)
{
	struct bufpool *bp = loop_bufpool(l);
	for (uint32_t i = 0; i < count; i++)
		bufpool_put(bp, iov[i].iov_base, iov[i].iov_len);
}

/* The largest run of at most `want` bytes that can be had, or NULL. *ret_len is its part of the list. */
static void *
plain_piece(struct loop *l, size_t want, size_t *cap, size_t *ret_len)
{
	for (;;) {
		size_t len = want < *cap ? want : *cap;
		void *p = loop_buf_get(l, len);
		if (p != NULL) {
			*ret_len = len;
			return p;
		}
		/* Down to the next power of two below what failed. */
		size_t cost = bufpool_cost_bytes(len);
		if (cost <= BUFPOOL_FRAME_BYTES)
			return NULL;
		*cap = cost / 2;
	}
}

/* Moves a full inline list to an array with room for `count` segments. */
static int
plain_grow(struct loop *l, struct iovec **iov, uint32_t have, uint32_t *cap, uint32_t count)
{
	struct iovec *big = loop_buf_get(l, count * sizeof *big);
	if (big == NULL)
		return -ENOBUFS;
	memcpy(big, *iov, have * sizeof *big);
	*iov = big;
	*cap = count;
	return 0;
}

int
blk_sg_get_plain(struct loop *l, struct blk_sg *sg, uint64_t len_bytes)
{
	ASSERT(len_bytes > 0 && len_bytes <= BLK_IO_MAX_BYTES);
	ASSERT(loop_is_current(l));
	struct iovec small[BLK_SG_INLINE];
	struct iovec *iov = small;
	uint32_t count = 0, cap = 0;
	uint64_t left = len_bytes;
	size_t run_max = BUFPOOL_BUF_MAX_BYTES;
	while (left > 0) {
		uint32_t rest = (uint32_t)((left + BUFPOOL_FRAME_BYTES - 1) / BUFPOOL_FRAME_BYTES);
		if (iov == small && count == BLK_SG_INLINE &&
		    plain_grow(l, &iov, count, &cap, count + rest) < 0)
			goto err_rollback;
		size_t len;
		void *p = plain_piece(l, left, &run_max, &len);
		if (p == NULL)
			goto err_rollback;
		ASSERT(iov == small ? count < BLK_SG_INLINE : count < cap);
		iov[count++] = (struct iovec){.iov_base = p, .iov_len = len};
		left -= len;
	}
	blk_sg_init(sg);
	sg->iov = iov == small ? sg->inline_iov : iov;
	if (iov == small)
		memcpy(sg->inline_iov, small, count * sizeof *small);
	sg->iovcnt = count;
	sg->iovcap = cap;
	sg->len_bytes = len_bytes;
	sg->release = plain_release;
	sg->loop = l;
	return 0;

err_rollback:
	plain_rollback(l, iov, count);
	if (cap > 0)
		bufpool_put(loop_bufpool(l), iov, cap * sizeof *iov);
	return -ENOBUFS;
}

void
blk_sg_put(struct blk_sg *sg)
{
	if (sg->loop != NULL)
		ASSERT(loop_is_current(sg->loop));
	if (sg->release != NULL)
		sg->release(sg);
	if (sg->iovcap > 0)
		loop_buf_put(sg->loop, sg->iov, sg->iovcap * sizeof *sg->iov);
	blk_sg_init(sg);
}

/* ---- copying ----------------------------------------------------------------------------- */

void
blk_sg_cursor_init(struct blk_sg_cursor *c, const struct blk_sg *sg, uint64_t at)
{
	ASSERT(at <= sg->len_bytes);
	*c = (struct blk_sg_cursor){.iov = sg->iov, .left = sg->iovcnt};
	while (c->left > 0 && at >= c->iov->iov_len) {
		at -= c->iov->iov_len;
		c->iov++;
		c->left--;
	}
	c->at = at;
}

/* The contiguous bytes at the cursor, at most `len`; moves past them. */
static char *
cursor_take(struct blk_sg_cursor *c, size_t len, size_t *ret_len)
{
	while (c->left > 0 && c->at == c->iov->iov_len) {
		c->iov++;
		c->left--;
		c->at = 0;
	}
	ASSERT(c->left > 0);
	size_t n = c->iov->iov_len - c->at;
	if (n > len)
		n = len;
	char *p = (char *)c->iov->iov_base + c->at;
	c->at += n;
	*ret_len = n;
	return p;
}

void
blk_sg_cursor_out(struct blk_sg_cursor *c, void *dst, size_t len)
{
	for (char *d = dst; len > 0;) {
		size_t n;
		const char *p = cursor_take(c, len, &n);
		copy_streaming(d, p, n);
		d += n;
		len -= n;
	}
}

void
blk_sg_cursor_in(struct blk_sg_cursor *c, const void *src, size_t len)
{
	for (const char *s = src; len > 0;) {
		size_t n;
		char *p = cursor_take(c, len, &n);
		memcpy(p, s, n);
		s += n;
		len -= n;
	}
}

void
blk_sg_copy_in(const struct blk_sg *sg, uint64_t at, const void *src, size_t len)
{
	struct blk_sg_cursor c;
	blk_sg_cursor_init(&c, sg, at);
	blk_sg_cursor_in(&c, src, len);
}

void
blk_sg_copy_out(const struct blk_sg *sg, uint64_t at, void *dst, size_t len)
{
	struct blk_sg_cursor c;
	blk_sg_cursor_init(&c, sg, at);
	blk_sg_cursor_out(&c, dst, len);
}

void
blk_sg_fill(const struct blk_sg *sg, uint64_t at, uint8_t byte, size_t len)
{
	struct blk_sg_cursor c;
	blk_sg_cursor_init(&c, sg, at);
	while (len > 0) {
		size_t n;
		char *p = cursor_take(&c, len, &n);
		memset(p, byte, n);
		len -= n;
	}
}

/* Index of the first byte that differs; one does. */
static size_t
first_difference(const char *a, const char *b)
{
	size_t i = 0;
	while (a[i] == b[i])
		i++;
	return i;
}

uint64_t
blk_sg_compare(
    const struct blk_sg *a, uint64_t at_a, const struct blk_sg *b, uint64_t at_b, uint64_t len)
{
	struct blk_sg_cursor ca, cb;
	blk_sg_cursor_init(&ca, a, at_a);
	blk_sg_cursor_init(&cb, b, at_b);
	for (uint64_t done = 0; done < len;) {
		size_t na, nb;
		const char *pa = cursor_take(&ca, len - done, &na);
		const char *pb = cursor_take(&cb, na, &nb);
		ca.at -= na - nb; /* only what both sides have at once */
		if (memcmp(pa, pb, nb) != 0)
			return done + first_difference(pa, pb);
		done += nb;
	}
	return UINT64_MAX;
}
