/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads. A list of ours is lent frames, piece after piece, on the loops that own them: those that are
 * cached, and those that are read into now. A list of the caller's own memory is filled from what is
 * cached if all of it is; else the lower blk reads into it, which is right at any time (RT-1). So it is
 * done for BLK_QUIET too, whose list becomes one of the lower blk's: nothing is evicted for it.
 */
#include "cache/ram/ram_priv.h"

#include <errno.h>
#include <string.h>

/* blk_io.scratch: */
#define AT 0   /* offset in bytes up to which the io is done */
#define HOW 1  /* bits, below */
#define FAIL 2 /* -errno to end with, or 0 */

#define HOW_LEND 1u
#define HOW_QUIET 2u
#define HOW_SCAN 4u
#define HOW_PASS 8u  /* something is missing: the lower blk reads it all */
#define HOW_NEED 16u /* quiet, but there was no other memory: frames are taken all the same */

#define MRC_DECAY_NS 60000000000ull

static void step(struct rt_shard *s, struct blk_io *io);

static struct ram_volume *
volume_of(const struct blk_io *io)
{
	return container_of(io->blk, struct ram_volume, b);
}

static uint64_t
io_end(const struct blk_io *io)
{
	return io->offset_bytes + io->len_bytes;
}

static enum policy_s3_kind
kind_of(const struct blk_io *io)
{
	return io->scratch[HOW] & HOW_SCAN ? POLICY_S3_SCAN : POLICY_S3_DEMAND;
}

/* ---- travelling ----------------------------------------------------------------------------- */

/* The list becomes one of the lower blk's. False: there is no memory for that, and nothing changed. */
static bool
give_up_lending(struct blk_io *io)
{
	struct ram_volume *v = volume_of(io);
	struct blk_sg sg;
	blk_sg_init(&sg);
	if (blk_sg_get(v->lower, &sg, BLK_READ, io->offset_bytes, io->len_bytes) < 0)
		return false;
	blk_sg_put(io->sg);
	*io->sg = sg;
	if (sg.iov == sg.inline_iov)
		io->sg->iov = io->sg->inline_iov;
	return true;
}

static void
end_at_home(struct rt_shard *own, struct blk_io *io)
{
	if ((io->scratch[HOW] & (HOW_PASS | HOW_LEND)) == (HOW_PASS | HOW_LEND) &&
	    !give_up_lending(io)) {
		io->scratch[HOW] = (io->scratch[HOW] & ~(uint64_t)HOW_PASS) | HOW_NEED;
		step(own, io);
		return;
	}
	if (io->scratch[HOW] & HOW_PASS) {
		rt_count(&own->n.passed, 1);
		rt_pass(own, volume_of(io), io);
	} else {
		blk_complete_later(io, (int)(int64_t)io->scratch[FAIL]);
	}
}

static void
home_arrived(struct loop_msg *m)
{
	struct blk_io *io = container_of(m, struct blk_io, msg);
	end_at_home(rt_own(volume_of(io)->t), io);
}

static void
finish(struct blk_io *io)
{
	if (loop_is_current(io->loop)) {
		end_at_home(rt_own(volume_of(io)->t), io);
		return;
	}
	io->msg.run = home_arrived;
	loop_send(io->loop, &io->msg);
}

static void
shard_arrived(struct loop_msg *m)
{
	struct blk_io *io = container_of(m, struct blk_io, msg);
	step(rt_own(volume_of(io)->t), io);
}

/* ---- counting ------------------------------------------------------------------------------- */

static void
note(struct rt_shard *s, const struct blk_io *io, uint64_t first, uint32_t count, uint32_t hits)
{
	struct ram_volume *v = volume_of(io);
	if (io->scratch[HOW] & HOW_QUIET)
		return;
	RT_COUNT(s, v, hits, hits);
	RT_COUNT(s, v, misses, count - hits);
	if (s->mrc == NULL)
		return;
	enum policy_mrc_kind kind = io->scratch[HOW] & HOW_SCAN ? POLICY_MRC_SCAN : POLICY_MRC_READ;
	for (uint32_t i = 0; i < count; i++)
		policy_mrc_access(s->mrc, rt_key(v, first + i), kind);
	uint64_t now = loop_now_ns(s->loop);
	if (now - s->mrc_decay_ns > MRC_DECAY_NS) {
		s->mrc_decay_ns = now;
		policy_mrc_decay(s->mrc);
	}
}

static void
note_hit(struct rt_shard *s, const struct blk_io *io, uint32_t f)
{
	if (!(io->scratch[HOW] & HOW_QUIET))
		rt_frame_hit(s, f);
}

/* ---- pieces that are there ------------------------------------------------------------------ */

/* Adds bytes from..to, which lie in these frames, to the io's list. */
static void
lend(struct rt_shard *s, struct blk_io *io, uint64_t from, uint64_t to, const uint32_t *frames)
{
	uint64_t lo = from & (RT_FRAME_BYTES - 1);
	for (uint64_t left = to - from; left > 0; frames++) {
		uint64_t n = RT_FRAME_BYTES - lo;
		n = n < left ? n : left;
		blk_sg_append(io->sg, rt_mem(s, *frames) + lo, n);
		left -= n;
		lo = 0;
	}
}

static void
copy(struct rt_shard *s, struct blk_io *io, uint64_t from, uint64_t to, const uint32_t *frames)
{
	struct blk_sg_cursor c;
	blk_sg_cursor_init(&c, io->sg, from - io->offset_bytes);
	uint64_t lo = from & (RT_FRAME_BYTES - 1);
	for (uint64_t left = to - from; left > 0; frames++) {
		uint64_t n = RT_FRAME_BYTES - lo;
		n = n < left ? n : left;
		blk_sg_cursor_in(&c, rt_mem(s, *frames) + lo, n);
		left -= n;
		lo = 0;
	}
}

/* Looks up a piece; RT_NIL where a block isn't cached. Returns how many are. */
static uint32_t
look(const struct rt_shard *s, const struct ram_volume *v, uint64_t first, uint32_t count,
    uint32_t *ret_frames)
{
	uint32_t hits = 0;
	for (uint32_t i = 0; i < count; i++) {
		ret_frames[i] = rt_lookup(s, rt_key(v, first + i));
		hits += ret_frames[i] != RT_NIL;
	}
	return hits;
}

/* ---- pieces that aren't --------------------------------------------------------------------- */

/* The second attempt: what is asked for and nothing else, whatever ails its neighbours. */
static void
read_exactly(struct rt_miss *m)
{
	m->is_exact = true;
	struct rt_fill_args args = {.v = volume_of(m->io),
	    .first = m->from >> RT_FRAME_SHIFT,
	    .count = m->count,
	    .kind = kind_of(m->io),
	    .from = m->from,
	    .to = m->to,
	    .is_quiet = true, /* it was asked for and counted once */
	    .frames = m->frames};
	rt_fill_start(m->s, &args);
}

static void
release(struct rt_miss *m)
{
	for (uint32_t i = m->count; i-- > 0;)
		rt_frame_unref(m->s, m->frames[i]);
}

/* All frames are read. */
static void
miss_end(struct rt_miss *m, bool bad)
{
	struct rt_shard *s = m->s;
	struct blk_io *io = m->io;
	if (bad && !m->is_exact) {
		release(m);
		read_exactly(m);
		rt_miss_continue(m);
		return;
	}
	if (bad) {
		release(m);
		io->scratch[FAIL] = (uint64_t)(int64_t)-EIO;
		pool_put(&s->miss_pool, m);
		finish(io);
		return;
	}
	for (uint32_t i = 0; i < m->count; i++) {
		bool is_own = m->own[i / 64] >> i % 64 & 1;
		if (!is_own && !m->is_exact && s->frames[m->frames[i]].state == RT_CACHED)
			note_hit(s, io, m->frames[i]);
	}
	lend(s, io, m->from, m->to, m->frames); /* the references are the list's now */
	io->scratch[AT] = m->to;
	pool_put(&s->miss_pool, m);
	step(s, io);
}

void
rt_miss_continue(struct rt_miss *m)
{
	struct rt_shard *s = m->s;
	bool bad = false;
	for (uint32_t i = 0; i < m->count; i++) {
		uint32_t f = m->frames[i];
		if (s->frames[f].state == RT_FILLING) {
			list_push_back(&rt_fill_of(s, f)->waiters, &m->link);
			return;
		}
		bad |= s->frames[f].state == RT_BAD;
	}
	miss_end(m, bad);
}

/* Takes what is cached, joins what is being read, and reads the rest. Returns the number of its own. */
static uint32_t
miss_gather(struct rt_miss *m, const struct ram_volume *v, uint64_t first)
{
	struct rt_shard *s = m->s;
	uint32_t own = 0;
	bool keep = !(m->io->scratch[HOW] & HOW_QUIET);
	for (uint32_t i = 0; i < m->count; i++) /* first of all: a fill may evict */
		if (m->frames[i] != RT_NIL)
			rt_frame_ref(s, m->frames[i]);
	for (uint32_t i = 0; i < m->count; i++) {
		if (m->frames[i] != RT_NIL)
			continue;
		struct rt_fill *f = rt_fill_find(s, v, first + i);
		if (f == NULL)
			continue;
		m->frames[i] = f->frames[first + i - f->first];
		rt_frame_ref(s, m->frames[i]);
	}
	for (uint32_t i = 0, end; i < m->count; i = end) {
		for (end = i; end < m->count && m->frames[end] == RT_NIL; end++)
			m->own[end / 64] |= 1ull << end % 64;
		if (end == i) {
			end++;
			continue;
		}
		struct rt_fill_args args = {.v = volume_of(m->io),
		    .first = first + i,
		    .count = end - i,
		    .kind = kind_of(m->io),
		    .keep = keep,
		    .is_quiet = !keep,
		    .frames = m->frames + i};
		rt_fill_start(s, &args);
		own += end - i;
	}
	return own;
}

static void
miss_begin(struct rt_shard *s, struct blk_io *io, uint64_t from, uint64_t to,
    const uint32_t *frames, uint32_t count)
{
	struct rt_miss *m = pool_get(&s->miss_pool);
	ASSERT(m != NULL); /* each has a reservation of a frame at least */
	m->s = s;
	m->io = io;
	m->from = from;
	m->to = to;
	m->count = count;
	m->is_exact = false;
	list_init(&m->link);
	memset(m->own, 0, sizeof m->own);
	memcpy(m->frames, frames, count * sizeof *frames);
	uint64_t first = from >> RT_FRAME_SHIFT;
	uint32_t own = miss_gather(m, volume_of(io), first);
	note(s, io, first, count, count - own);
	rt_miss_continue(m);
}

/* ---- walking a range ------------------------------------------------------------------------ */

/* True if the piece is done; else the io goes on elsewhere. */
static bool
piece(struct rt_shard *s, struct blk_io *io, uint64_t from, uint64_t to)
{
	uint32_t frames[RT_EXTENT_BLOCKS];
	uint64_t first = from >> RT_FRAME_SHIFT;
	uint32_t count = (uint32_t)(((to - 1) >> RT_FRAME_SHIFT) - first + 1);
	uint32_t hits = look(s, volume_of(io), first, count, frames);
	if (hits < count) {
		bool quiet = (io->scratch[HOW] & (HOW_QUIET | HOW_NEED)) == HOW_QUIET;
		if (io->scratch[HOW] & HOW_LEND && !quiet) {
			miss_begin(s, io, from, to, frames, count);
			return false;
		}
		note(s, io, first, count, hits);
		io->scratch[HOW] |= HOW_PASS;
		finish(io);
		return false;
	}
	note(s, io, first, count, count);
	for (uint32_t i = 0; i < count; i++)
		note_hit(s, io, frames[i]);
	if (!(io->scratch[HOW] & HOW_LEND)) {
		copy(s, io, from, to, frames);
		return true;
	}
	for (uint32_t i = 0; i < count; i++)
		rt_frame_ref(s, frames[i]);
	lend(s, io, from, to, frames);
	return true;
}

static void
step(struct rt_shard *s, struct blk_io *io)
{
	uint64_t end = io_end(io);
	while (io->scratch[AT] < end) {
		uint64_t from = io->scratch[AT];
		struct rt_shard *owner = rt_shard_of(s->t, from);
		if (owner != s) {
			io->msg.run = shard_arrived;
			loop_send(owner->loop, &io->msg);
			return;
		}
		uint64_t border = ((from >> RT_EXTENT_SHIFT) + 1) << RT_EXTENT_SHIFT;
		uint64_t to = border < end ? border : end;
		if (!piece(s, io, from, to))
			return;
		io->scratch[AT] = to;
	}
	finish(io);
}

/* Tells the streams of it; what they want read ahead is begun after the request's own. */
static void
stream(
    struct rt_shard *s, struct ram_volume *v, struct blk_io *io, struct policy_stream_answer *ret)
{
	const struct ram_volume_cfg *cfg = &v->per_loop[s->idx].cfg;
	struct policy_streams_config sc = {
	    .ahead_max = cfg->ahead_bytes >> RT_FRAME_SHIFT,
	    .ahead_total_max = s->spare_max,
	    .cutoff = cfg->cutoff_bytes >> RT_FRAME_SHIFT,
	};
	*ret = (struct policy_stream_answer){0};
	if (sc.ahead_max == 0 && sc.cutoff == 0)
		return;
	policy_streams_set(s->streams, &sc);
	uint64_t first = io->offset_bytes >> RT_FRAME_SHIFT;
	uint64_t last = (io_end(io) - 1) >> RT_FRAME_SHIFT;
	policy_streams_read(
	    s->streams, loop_now_ns(s->loop), v->id, first, (uint32_t)(last - first + 1), ret);
}

static void
read_ahead(struct rt_shard *s, struct ram_volume *v, const struct policy_stream_answer *a)
{
	uint64_t size = __atomic_load_n(&v->b.info.size_bytes, __ATOMIC_RELAXED);
	uint64_t end = (size + RT_FRAME_BYTES - 1) >> RT_FRAME_SHIFT;
	if (a->ahead_blocks == 0 || a->ahead_lba >= end)
		return;
	uint64_t last = a->ahead_lba + a->ahead_blocks - 1;
	struct rt_range r = {v, a->ahead_lba, last < end ? last : end - 1};
	rt_ahead(s, &r, a->scan ? POLICY_S3_SCAN_AHEAD : POLICY_S3_AHEAD);
}

void
rt_read(struct rt_shard *s, struct ram_volume *v, struct blk_io *io)
{
	bool lends = rt_sg_lends(s->t, io);
	bool enabled = v->per_loop[s->idx].cfg.enabled;
	if (!lends && (!enabled || (io_end(io) - 1) >> RT_FRAME_SHIFT >= RT_BLOCK_MAX)) {
		rt_pass(s, v, io);
		return;
	}
	uint64_t first = io->offset_bytes >> RT_FRAME_SHIFT;
	if (rt_shard_of_block(s->t, first) == s)
		rt_prefetch_frame(s, rt_key(v, first));
	io->scratch[AT] = io->offset_bytes;
	io->scratch[HOW] = (lends ? HOW_LEND : 0) | (io->flags & BLK_QUIET ? HOW_QUIET : 0);
	io->scratch[FAIL] = 0;
	struct policy_stream_answer a = {0};
	if (enabled && !(io->flags & BLK_QUIET))
		stream(s, v, io, &a);
	if (a.scan)
		io->scratch[HOW] |= HOW_SCAN;
	step(s, io);
	read_ahead(s, v, &a);
}
