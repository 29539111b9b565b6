/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequential streams. A read that nothing precedes leaves a candidate: where the next one would
 * start. A read that starts there makes it a stream. The two tables are apart so that any number of
 * random reads between two requests of a stream, which only replace candidates, can't push a known
 * stream out.
 */
#include "cache/policy/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cache/policy/policy_priv.h"

#define STREAMS_DEFAULT 64u
#define STREAMS_MAX 1024u
#define CANDIDATE_SETS 256u
#define CANDIDATE_WAYS 2u
#define REORDER_BLOCKS 256u /* a request this far ahead of or behind its place still belongs */
#define AHEAD_FIRST 16u     /* blocks: the window starts here and grows with the stream */
#define IDLE_NS 10000000000ull

struct stream {
	uint64_t start, next;
	uint64_t covered;   /* blocks read between them */
	uint64_t ahead_end; /* read ahead up to here */
	uint64_t used_ns;
	uint32_t volume;
};

struct candidate {
	uint64_t start, next; /* next 0: none */
	uint32_t volume;
};

struct policy_streams {
	struct policy_streams_config cfg;
	struct candidate candidates[CANDIDATE_SETS][CANDIDATE_WAYS]; /* younger first */
	struct policy_streams_stats stats;
	uint32_t sweep; /* the stream to look at next for being idle */
	/* Of streams[i], the key of `next`: each read looks through them all. The live come first. */
	uint64_t keys[STREAMS_MAX];
	struct stream streams[];
};

int
policy_streams_create(const struct policy_streams_config *cfg, struct policy_streams **ret_streams)
{
	uint32_t n = cfg->streams_max ? cfg->streams_max : STREAMS_DEFAULT;
	if (n > STREAMS_MAX)
		return -EINVAL;
	struct policy_streams *ps = calloc(1, sizeof *ps + n * sizeof(struct stream));
	if (!ps)
		return -ENOMEM;
	ps->cfg = *cfg;
	ps->cfg.streams_max = n;
	*ret_streams = ps;
	return 0;
}

void
policy_streams_destroy(struct policy_streams *ps)
{
	free(ps);
}

void
policy_streams_set(struct policy_streams *ps, const struct policy_streams_config *cfg)
{
	uint32_t n = ps->cfg.streams_max;
	ps->cfg = *cfg;
	ps->cfg.streams_max = n;
}

static struct candidate *
set_of(struct policy_streams *ps, uint32_t volume, uint64_t next)
{
	uint64_t h = policy_mix(policy_key(volume, next));
	return ps->candidates[policy_scale(h, CANDIDATE_SETS)];
}

static void
add_candidate(struct policy_streams *ps, uint32_t volume, uint64_t start, uint64_t next)
{
	struct candidate *set = set_of(ps, volume, next);
	if (set[0].next != next || set[0].volume != volume)
		memmove(set + 1, set, (CANDIDATE_WAYS - 1) * sizeof *set);
	set[0] = (struct candidate){.start = start, .next = next, .volume = volume};
}

/* True and its start if a read at `lba` follows a candidate, which is used up. */
static bool
take_candidate(struct policy_streams *ps, uint32_t volume, uint64_t lba, uint64_t *ret_start)
{
	struct candidate *set = set_of(ps, volume, lba);
	for (unsigned i = 0; lba && i < CANDIDATE_WAYS; i++) {
		if (set[i].next != lba || set[i].volume != volume)
			continue;
		*ret_start = set[i].start;
		set[i].next = 0;
		return true;
	}
	return false;
}

static void
set_key(struct policy_streams *ps, const struct stream *s)
{
	ps->keys[s - ps->streams] = policy_key(s->volume, s->next);
}

/* The last one takes its place. */
static void
end_stream(struct policy_streams *ps, struct stream *s)
{
	ASSERT(s < &ps->streams[ps->stats.active]);
	ps->stats.active--;
	*s = ps->streams[ps->stats.active];
	set_key(ps, s);
}

/* The live stream whose next place is nearest to `lba`, within the reordering allowed. */
static struct stream *
find(struct policy_streams *ps, uint32_t volume, uint64_t lba)
{
	struct stream *best = NULL;
	uint64_t best_off = REORDER_BLOCKS + 1;
	const uint64_t low = policy_key(volume, lba) - REORDER_BLOCKS;
	for (uint32_t i = 0; i < ps->stats.active; i++) {
		if (ps->keys[i] - low > 2 * REORDER_BLOCKS)
			continue;
		struct stream *s = &ps->streams[i];
		uint64_t off = lba > s->next ? lba - s->next : s->next - lba;
		if (off < best_off && s->volume == volume) {
			best = s;
			best_off = off;
		}
	}
	return best;
}

/* A place, if need be that of the stream which was used longest ago. */
static struct stream *
make_room(struct policy_streams *ps)
{
	struct stream *oldest = &ps->streams[0];
	if (ps->stats.active == ps->cfg.streams_max) {
		for (uint32_t i = 1; i < ps->stats.active; i++)
			if (ps->streams[i].used_ns < oldest->used_ns)
				oldest = &ps->streams[i];
		end_stream(ps, oldest);
	}
	return &ps->streams[ps->stats.active++];
}

static void
sweep_one(struct policy_streams *ps, uint64_t now_ns)
{
	if (++ps->sweep >= ps->stats.active)
		ps->sweep = 0;
	struct stream *s = &ps->streams[ps->sweep];
	if (ps->sweep < ps->stats.active && now_ns - s->used_ns > IDLE_NS)
		end_stream(ps, s);
}

/* Moves the stream on. False: there are more gaps than data, so it is none. */
static bool
advance(struct stream *s, uint64_t lba, uint32_t blocks)
{
	uint64_t end = lba + blocks;
	if (end > s->next) {
		s->covered += end - (lba > s->next ? lba : s->next);
		s->next = end;
	} else {
		/* A late one fills a gap that an early one left. */
		uint64_t room = s->next - s->start - s->covered;
		s->covered += blocks < room ? blocks : room;
	}
	return s->covered * 2 >= s->next - s->start;
}

static uint64_t
window(const struct policy_streams *ps, const struct stream *s)
{
	uint64_t w = ps->cfg.ahead_max;
	if (ps->cfg.ahead_total_max && w > ps->cfg.ahead_total_max / ps->stats.active)
		w = ps->cfg.ahead_total_max / ps->stats.active;
	uint64_t ramp = s->covered * 2 < AHEAD_FIRST ? AHEAD_FIRST : s->covered * 2;
	return ramp < w ? ramp : w;
}

/* Asks for more once half of the window is used, so that reading ahead isn't waited for. */
static void
read_ahead(struct policy_streams *ps, struct stream *s, struct policy_stream_answer *ret)
{
	uint64_t w = window(ps, s);
	if (s->ahead_end < s->next)
		s->ahead_end = s->next;
	if (!w || s->ahead_end - s->next > w / 2)
		return;
	ret->ahead_lba = s->ahead_end;
	ret->ahead_blocks = (uint32_t)(s->next + w - s->ahead_end);
	s->ahead_end = s->next + w;
	ps->stats.ahead_blocks += ret->ahead_blocks;
}

/* The stream that a read belongs to, or NULL. */
static struct stream *
attribute(
    struct policy_streams *ps, uint64_t now_ns, uint32_t volume, uint64_t lba, uint32_t blocks)
{
	struct stream *s = find(ps, volume, lba);
	if (s && advance(s, lba, blocks)) {
		set_key(ps, s);
		s->used_ns = now_ns;
		return s;
	}
	if (s)
		end_stream(ps, s);
	uint64_t start;
	if (!take_candidate(ps, volume, lba, &start)) {
		add_candidate(ps, volume, lba, lba + blocks);
		return NULL;
	}
	s = make_room(ps);
	uint64_t next = lba + blocks;
	*s = (struct stream){.start = start,
	    .next = next,
	    .covered = next - start,
	    .used_ns = now_ns,
	    .volume = volume};
	set_key(ps, s);
	return s;
}

void
policy_streams_read(struct policy_streams *ps, uint64_t now_ns, uint32_t volume, uint64_t lba,
    uint32_t blocks, struct policy_stream_answer *ret)
{
	ASSERT(blocks > 0 && lba + blocks > lba);
	*ret = (struct policy_stream_answer){.run_blocks = blocks};
	ps->stats.requests++;
	sweep_one(ps, now_ns);
	struct stream *s = attribute(ps, now_ns, volume, lba, blocks);
	if (!s)
		return;
	ps->stats.sequential++;
	ret->sequential = true;
	ret->run_blocks = s->covered;
	ret->scan = ps->cfg.cutoff && s->covered > ps->cfg.cutoff;
	if (ret->scan)
		ps->stats.scan_blocks += blocks;
	read_ahead(ps, s, ret);
}

void
policy_streams_forget(struct policy_streams *ps, uint32_t volume)
{
	for (uint32_t i = ps->stats.active; i-- > 0;)
		if (ps->streams[i].volume == volume)
			end_stream(ps, &ps->streams[i]);
	for (unsigned i = 0; i < CANDIDATE_SETS; i++)
		for (unsigned w = 0; w < CANDIDATE_WAYS; w++)
			if (ps->candidates[i][w].volume == volume)
				ps->candidates[i][w].next = 0;
}

void
policy_streams_stats(const struct policy_streams *ps, struct policy_streams_stats *ret)
{
	*ret = ps->stats;
}
