/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ram store: the operations. A READ lends the frames themselves; a WRITE of whole frames that
 * landed in frames of ours swaps them into the map; everything else is copied by the owner of the
 * extent. An io that touches extents of several loops travels over them in order, as a message, and
 * comes home to be completed.
 *
 * Atomicity: a piece (all of the range with one loop, the part within one extent with several) is
 * applied in one callback of its owner. With several loops a WRITE over an extent's border can be
 * seen half done, so atomic_max_bytes is 0 there.
 */
#include "store/ram_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "store/store_priv.h"

/* blk_io.scratch: */
#define AT 0      /* offset in bytes up to which the io is done */
#define COPY 1    /* READ: nonzero if the caller's memory is filled, not frames lent */
#define VISITED 1 /* UNMAP, WRITE_ZEROES: shards done */
#define SEEN 1    /* EXTENTS: pieces looked at */

#define ZERO_EXTENTS_TURN 64u     /* extents unmapped in one go */
#define ZERO_FILL_EXTENTS_TURN 4u /* the same, when their memory has to be filled */
#define EXTENTS_PIECES_MAX 64u    /* pieces one EXTENTS looks at; it may stop anywhere */

static void ram_step(struct ram_shard *s, struct blk_io *io);

static struct ram *
ram_of(struct blk *b)
{
	return container_of(b, struct ram, b);
}

static uint64_t
io_end(const struct blk_io *io)
{
	return io->offset_bytes + io->len_bytes;
}

/* ---- travelling -------------------------------------------------------------------------- */

static void
home_arrived(struct loop_msg *m)
{
	blk_complete(container_of(m, struct blk_io, msg), 0);
}

static void
ram_finish(struct blk_io *io)
{
	if (loop_is_current(io->loop)) {
		blk_complete_later(io, 0);
		return;
	}
	io->msg.run = home_arrived;
	loop_send(io->loop, &io->msg);
}

static void
shard_arrived(struct loop_msg *m)
{
	struct blk_io *io = container_of(m, struct blk_io, msg);
	ram_step(ram_own_shard(ram_of(io->blk)), io);
}

static void
go_to(struct ram_shard *s, struct blk_io *io)
{
	io->msg.run = shard_arrived;
	loop_send(s->loop, &io->msg);
}

/* ---- waiting for frames ------------------------------------------------------------------ */

/* True if `need` frames can be had now; first come first served. */
static bool
frames_ready(const struct ram_shard *s, uint32_t need)
{
	if (need == 0)
		return true;
	return ram_frames_avail(s) >= need && (s->draining || list_empty(&s->waiting));
}

static void
wait_for_frames(struct ram_shard *s, struct blk_io *io)
{
	if (s->draining) {
		s->stuck = true;
		list_push_front(&s->waiting, &io->link);
	} else {
		list_push_back(&s->waiting, &io->link);
	}
}

static void
frames_came(struct loop_defer *d)
{
	struct ram_shard *s = container_of(d, struct ram_shard, wake);
	s->stuck = false;
	while (!s->stuck && !list_empty(&s->waiting)) {
		struct blk_io *io = container_of(list_pop_front(&s->waiting), struct blk_io, link);
		s->draining = true;
		ram_step(s, io);
		s->draining = false;
	}
}

/* ---- pieces: [from, to) lies within the shard -------------------------------------------- */

/* Bytes lo..hi of LBA-frame g that [from, to) covers. */
static void
clip(uint64_t g, uint64_t from, uint64_t to, uint32_t *lo, uint32_t *hi)
{
	uint64_t start = g << RAM_FRAME_SHIFT;
	*lo = from > start ? (uint32_t)(from - start) : 0;
	*hi = to < start + RAM_FRAME_BYTES ? (uint32_t)(to - start) : RAM_FRAME_BYTES;
}

/* Zeros that extend the last segment if that one is zeros, too. */
static const char *
zeros_after(const struct ram *r, const struct blk_sg *sg)
{
	if (sg->iovcnt > 0) {
		const struct iovec *v = &sg->iov[sg->iovcnt - 1];
		const char *end = (const char *)v->iov_base + v->iov_len;
		if (end > r->zeros && end < r->zeros + RAM_ZEROS_BYTES)
			return end;
	}
	return r->zeros;
}

static void
lend_piece(struct ram_shard *s, struct blk_io *io, uint64_t from, uint64_t to)
{
	struct ram *r = s->ram;
	for (uint64_t g = from >> RAM_FRAME_SHIFT; g << RAM_FRAME_SHIFT < to; g++) {
		uint32_t lo, hi, f = r->map[g];
		clip(g, from, to, &lo, &hi);
		if (f == 0) {
			blk_sg_append(io->sg, zeros_after(r, io->sg), hi - lo);
			continue;
		}
		r->refs[f]++;
		blk_sg_append(io->sg, ram_frame(r, f) + lo, hi - lo);
	}
}

static void
read_copy_piece(struct ram_shard *s, struct blk_io *io, uint64_t from, uint64_t to)
{
	struct ram *r = s->ram;
	struct blk_sg_cursor c;
	blk_sg_cursor_init(&c, io->sg, from - io->offset_bytes);
	for (uint64_t g = from >> RAM_FRAME_SHIFT; g << RAM_FRAME_SHIFT < to; g++) {
		uint32_t lo, hi, f = r->map[g];
		clip(g, from, to, &lo, &hi);
		blk_sg_cursor_in(&c, f == 0 ? r->zeros : ram_frame(r, f) + lo, hi - lo);
	}
}

static void
read_piece(struct ram_shard *s, struct blk_io *io, uint64_t from, uint64_t to)
{
	if (io->scratch[COPY])
		read_copy_piece(s, io, from, to);
	else
		lend_piece(s, io, from, to);
}

/* The landed frames become the device's; backwards, so that a freed run is handed out forwards. */
static void
write_swap(struct ram_shard *s, struct blk_io *io)
{
	struct ram *r = s->ram;
	const struct blk_sg *sg = io->sg;
	uint64_t g = io_end(io) >> RAM_FRAME_SHIFT;
	for (uint32_t i = sg->iovcnt; i-- > 0;) {
		const char *base = sg->iov[i].iov_base;
		uint32_t first = (uint32_t)((size_t)(base - r->arena) >> RAM_FRAME_SHIFT);
		uint32_t count = (uint32_t)(sg->iov[i].iov_len >> RAM_FRAME_SHIFT);
		for (uint32_t f = first + count; f-- > first;) {
			uint32_t old = r->map[--g];
			r->refs[f]++; /* the list keeps its own */
			r->map[g] = f;
			if (old != 0)
				ram_frame_unref(s, old);
		}
	}
	ASSERT(g << RAM_FRAME_SHIFT == io->offset_bytes);
}

/* Frames that [from, to) needs to be overwritten: those that are zeros or lent. */
static uint32_t
frames_needed(const struct ram *r, uint64_t from, uint64_t to)
{
	uint32_t need = 0;
	for (uint64_t g = from >> RAM_FRAME_SHIFT; g << RAM_FRAME_SHIFT < to; g++) {
		uint32_t f = r->map[g];
		need += f == 0 || r->refs[f] > 1;
	}
	return need;
}

/* The frame of g, private to the map, with its old contents outside lo..hi. */
static char *
frame_for_change(struct ram_shard *s, uint64_t g, uint32_t lo, uint32_t hi)
{
	struct ram *r = s->ram;
	uint32_t old = r->map[g];
	if (old != 0 && r->refs[old] == 1)
		return ram_frame(r, old);
	uint32_t f = ram_frame_get(s);
	char *p = ram_frame(r, f);
	const char *from = old != 0 ? ram_frame(r, old) : r->zeros;
	memcpy(p, from, lo);
	memcpy(p + hi, from + hi, RAM_FRAME_BYTES - hi);
	r->map[g] = f;
	if (old != 0)
		ram_frame_unref(s, old);
	return p;
}

static bool
write_piece(struct ram_shard *s, struct blk_io *io, uint64_t from, uint64_t to)
{
	struct ram *r = s->ram;
	if (!frames_ready(s, frames_needed(r, from, to)))
		return false;
	struct blk_sg_cursor c;
	blk_sg_cursor_init(&c, io->sg, from - io->offset_bytes);
	for (uint64_t g = from >> RAM_FRAME_SHIFT; g << RAM_FRAME_SHIFT < to; g++) {
		uint32_t lo, hi;
		clip(g, from, to, &lo, &hi);
		blk_sg_cursor_out(&c, frame_for_change(s, g, lo, hi) + lo, hi - lo);
	}
	return true;
}

/* UNMAP and WRITE_ZEROES of at most an extent: whole frames are freed unless space must stay. */
static bool
zero_piece(struct ram_shard *s, struct blk_io *io, uint64_t from, uint64_t to)
{
	struct ram *r = s->ram;
	bool keep = io->flags & BLK_NO_UNMAP;
	uint64_t first = from >> RAM_FRAME_SHIFT;
	uint64_t last = (to - 1) >> RAM_FRAME_SHIFT;
	uint64_t device_end = r->b.info.size_bytes;
	uint32_t need = 0;
	for (uint64_t g = first; g <= last; g++) {
		uint32_t lo, hi, f = r->map[g];
		clip(g, from, to, &lo, &hi);
		bool whole = lo == 0 && (hi == RAM_FRAME_BYTES || to == device_end);
		need += f == 0 ? keep : (keep || !whole) && r->refs[f] > 1;
	}
	if (!frames_ready(s, need))
		return false;
	for (uint64_t g = last + 1; g-- > first;) {
		uint32_t lo, hi, f = r->map[g];
		clip(g, from, to, &lo, &hi);
		bool whole = lo == 0 && (hi == RAM_FRAME_BYTES || to == device_end);
		if (keep || (!whole && f != 0)) {
			memset(frame_for_change(s, g, lo, hi) + lo, 0, hi - lo);
		} else if (f != 0) {
			r->map[g] = 0;
			ram_frame_unref(s, f);
		}
	}
	return true;
}

/* False when the io's array is full. */
static bool
extents_piece(const struct ram *r, struct blk_io *io, uint64_t from, uint64_t to)
{
	for (uint64_t g = from >> RAM_FRAME_SHIFT; g << RAM_FRAME_SHIFT < to; g++) {
		uint32_t lo, hi;
		clip(g, from, to, &lo, &hi);
		bool mapped = r->map[g] != 0;
		struct blk_extent *e = io->extents + io->extent_count;
		if (io->extent_count > 0 && e[-1].mapped == mapped) {
			e[-1].len_bytes += hi - lo;
			continue;
		}
		if (io->extent_count == io->extent_cap)
			return false;
		*e = (struct blk_extent){(g << RAM_FRAME_SHIFT) + lo, hi - lo, mapped};
		io->extent_count++;
	}
	return true;
}

/* ---- walking a range --------------------------------------------------------------------- */

/* End of the piece at `from`: the whole range with one loop, else the extent. */
static uint64_t
piece_end(const struct ram *r, uint64_t from, uint64_t end, bool by_extent)
{
	if (r->shard_count == 1 && !by_extent)
		return end;
	uint64_t border = ((from >> RAM_EXTENT_SHIFT) + 1) << RAM_EXTENT_SHIFT;
	return border < end ? border : end;
}

/* READ, WRITE, EXTENTS: pieces in order of offset. */
static void
walk_in_order(struct ram_shard *s, struct blk_io *io)
{
	struct ram *r = s->ram;
	uint64_t end = io_end(io);
	while (io->scratch[AT] < end) {
		uint64_t from = io->scratch[AT];
		struct ram_shard *owner = ram_shard_of(r, from);
		if (owner != s) {
			go_to(owner, io);
			return;
		}
		uint64_t to = piece_end(r, from, end, io->op == BLK_EXTENTS);
		if (io->op == BLK_EXTENTS) {
			if (!extents_piece(r, io, from, to) ||
			    ++io->scratch[SEEN] == EXTENTS_PIECES_MAX)
				break;
		} else if (io->op == BLK_READ) {
			read_piece(s, io, from, to);
		} else if (!write_piece(s, io, from, to)) {
			wait_for_frames(s, io);
			return;
		}
		io->scratch[AT] = to;
	}
	ram_finish(io);
}

static void
zero_next_turn(struct loop_defer *d)
{
	struct blk_io *io = container_of(d, struct blk_io, defer);
	ram_step(ram_own_shard(ram_of(io->blk)), io);
}

/* UNMAP, WRITE_ZEROES, which may be as long as the device: shard by shard, some extents a turn. */
static void
walk_by_shard(struct ram_shard *s, struct blk_io *io)
{
	struct ram *r = s->ram;
	uint64_t end = io_end(io);
	unsigned budget = io->flags & BLK_NO_UNMAP ? ZERO_FILL_EXTENTS_TURN : ZERO_EXTENTS_TURN;
	while (io->scratch[AT] < end) {
		uint64_t from = io->scratch[AT];
		uint64_t to = piece_end(r, from, end, true);
		if (ram_shard_of(r, from) == s) {
			if (budget-- == 0) {
				loop_defer_init(&io->defer, zero_next_turn);
				loop_next_turn(s->loop, &io->defer);
				return;
			}
			if (!zero_piece(s, io, from, to)) {
				wait_for_frames(s, io);
				return;
			}
		}
		io->scratch[AT] = to;
	}
	if (++io->scratch[VISITED] == r->shard_count) {
		ram_finish(io);
		return;
	}
	io->scratch[AT] = io->offset_bytes;
	go_to(&r->shards[(s->idx + 1) % r->shard_count], io);
}

static void
ram_step(struct ram_shard *s, struct blk_io *io)
{
	if (io->op == BLK_UNMAP || io->op == BLK_WRITE_ZEROES)
		walk_by_shard(s, io);
	else
		walk_in_order(s, io);
}

/* What a short WRITE within the own shard waits for is frames only. */
static bool
ram_copies_now(struct blk *b, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct ram *r = ram_of(b);
	return len_bytes < RAM_LAND_MIN_BYTES && ram_is_local(r, offset_bytes, len_bytes) &&
	       frames_ready(ram_own_shard(r), ram_frames_spanned(offset_bytes, len_bytes));
}

static void
ram_submit(struct blk *b, struct blk_io *io)
{
	struct ram *r = ram_of(b);
	io->scratch[AT] = io->offset_bytes;
	io->scratch[1] = 0;
	switch (io->op) {
	case BLK_FLUSH:
		blk_complete_later(io, 0);
		return;
	case BLK_READ:
		io->scratch[COPY] = !ram_sg_lends(r, io);
		break;
	case BLK_WRITE:
		if (ram_sg_take_landing(r, io)) {
			write_swap(ram_own_shard(r), io);
			blk_complete_later(io, 0);
			return;
		}
		break;
	default:
		break;
	}
	ram_step(ram_own_shard(r), io);
}

/* ---- open and close ---------------------------------------------------------------------- */

static void
ram_free(struct ram *r)
{
	ram_arena_destroy(r);
	blk_fini(&r->b);
	free(r);
}

/* Visits every loop in turn, waits there for its leases, and comes home to free everything. */
static void
close_hop(struct loop_msg *m)
{
	struct ram *r = container_of(m, struct ram, close_msg);
	if (r->close_at == r->shard_count) {
		ram_free(r);
		return;
	}
	struct ram_shard *s = ram_own_shard(r);
	if (s->lease_used > 0)
		s->closing = true;
	else
		ram_close_continue(r);
}

void
ram_close_continue(struct ram *r)
{
	r->close_at++;
	r->close_msg.run = close_hop;
	loop_send(r->shards[r->close_at % r->shard_count].loop, &r->close_msg);
}

static void
ram_close(struct blk *b)
{
	struct ram *r = ram_of(b);
	for (unsigned i = 0; i < r->shard_count; i++)
		ASSERT(__atomic_load_n(&r->shards[i].lists_out, __ATOMIC_RELAXED) == 0);
	/* Lists that were put may still be on their way back between running loops. */
	if (r->shard_count == 1 || loop_current() == NULL) {
		ram_free(r);
		return;
	}
	r->close_at = 0;
	r->close_msg.run = close_hop;
	loop_send(r->shards[0].loop, &r->close_msg);
}

static const struct blk_ops ram_ops = {
    .name = "ram",
    .submit = ram_submit,
    .sg_get = ram_sg_get,
    .copies_now = ram_copies_now,
    .close = ram_close,
};

int
ram_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why)
{
	if (rest[0] != '\0')
		return blk_refuse(
		    why, -EINVAL, "ram:%s: nothing may follow ram:; the size is separate", rest);
	int err = blk_check_virtual_size(args, "ram", why);
	if (err < 0)
		return err;
	if (args->size_bytes > RAM_SIZE_MAX)
		return blk_refuse(why, -EINVAL, "ram: larger than 8 TiB; give a smaller size");
	struct ram *r = calloc(1, sizeof *r);
	if (r == NULL)
		return blk_refuse(why, -ENOMEM, "ram: out of memory");
	struct blk_info info = {
	    .driver = "ram",
	    .size_bytes = args->size_bytes,
	    .block_bytes = args->block_bytes != 0 ? args->block_bytes : 512,
	    .physical_bytes = RAM_FRAME_BYTES,
	    .unmap_granularity_bytes = RAM_FRAME_BYTES,
	    .atomic_max_bytes = args->loop_count == 1 ? BLK_IO_MAX_BYTES : 0,
	    .caps = BLK_CAP_UNMAP | BLK_CAP_UNMAP_ZEROES | BLK_CAP_EXTENTS | BLK_CAP_THIN |
	            BLK_CAP_SANITIZE,
	};
	if (args->flags & BLK_OPEN_READ_ONLY)
		info.caps |= BLK_CAP_READ_ONLY;
	char name[64];
	snprintf(name, sizeof name, "ram:%p", (void *)r); /* no two are the same object */
	r->shard_count = args->loop_count;
	if (ram_arena_create(r, args->size_bytes) < 0) {
		free(r);
		return blk_refuse(why, -ENOMEM,
		    "ram: no address space for %llu bytes; give a smaller size or raise ulimit -v",
		    (unsigned long long)args->size_bytes);
	}
	if (blk_init(&r->b, &ram_ops, &info, name, args) < 0) {
		ram_arena_destroy(r);
		free(r);
		return blk_refuse(why, -ENOMEM, "ram: out of memory");
	}
	for (unsigned i = 0; i < r->shard_count; i++) {
		r->shards[i].loop = r->b.loops[i];
		loop_defer_init(&r->shards[i].wake, frames_came);
	}
	*ret = &r->b;
	return 0;
}
