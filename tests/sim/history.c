/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES_TIDY 24u /* more than this: those that nobody can see any more are dropped */

struct candidate {
	struct hist_write *w;
	uint64_t gone; /* reads that begin afterwards can't see it; UINT64_MAX */
};

struct sector {
	struct candidate *c;
	uint32_t count, cap;
	uint64_t *replaced; /* stamps */
	uint32_t replaced_count;
};

struct hist {
	unsigned luns;
	uint32_t sectors;
	struct sector *s;
	struct hist_write zero;
	struct list writes, reads;
	uint64_t clock, stamps;
};

static struct sector *
sector_at(struct hist *h, uint8_t lun, uint32_t lba)
{
	SIM_CHECK(lun < h->luns && lba < h->sectors, "sector %u of unit %u", lba, lun);
	return &h->s[lun * h->sectors + lba];
}

static void
add(struct sector *s, struct hist_write *w)
{
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 4;
		s->c = realloc(s->c, s->cap * sizeof *s->c);
		SIM_CHECK(s->c != NULL, "out of memory");
	}
	s->c[s->count++] = (struct candidate){.w = w, .gone = UINT64_MAX};
}

struct hist *
hist_create(unsigned luns, uint32_t sectors)
{
	struct hist *h = calloc(1, sizeof *h);
	SIM_CHECK(h != NULL, "out of memory");
	h->luns = luns;
	h->sectors = sectors;
	h->s = calloc((size_t)luns * sectors, sizeof *h->s);
	SIM_CHECK(h->s != NULL, "out of memory");
	list_init(&h->writes);
	list_init(&h->reads);
	h->zero.answered = true;
	for (uint32_t i = 0; i < luns * sectors; i++)
		add(&h->s[i], &h->zero);
	return h;
}

void
hist_destroy(struct hist *h)
{
	for (uint32_t i = 0; i < h->luns * h->sectors; i++) {
		free(h->s[i].c);
		free(h->s[i].replaced);
	}
	for (struct list *l; (l = list_pop_front(&h->writes)) != NULL;)
		free(container_of(l, struct hist_write, link));
	free(h->s);
	free(h);
}

/* ---- sectors ----------------------------------------------------------------------------------- */

uint64_t
hist_new_stamp(struct hist *h)
{
	return ++h->stamps;
}

void
hist_fill(uint8_t *buf, uint32_t count, uint64_t stamp, uint64_t number)
{
	uint64_t words[SECTOR_BYTES / 8];

	words[0] = stamp;
	words[1] = number;
	for (unsigned i = 2; i < SECTOR_BYTES / 8; i++)
		words[i] = (stamp ^ number << 40) * 0x9e3779b97f4a7c15ull + i * stamp;
	for (uint32_t i = 0; i < count; i++)
		memcpy(buf + (size_t)i * SECTOR_BYTES, words, sizeof words);
}

uint64_t
hist_parse(const uint8_t *sector, uint64_t *ret_number)
{
	uint8_t want[SECTOR_BYTES];
	uint64_t stamp, number;

	memcpy(&stamp, sector, 8);
	memcpy(&number, sector + 8, 8);
	hist_fill(want, 1, stamp, number);
	if (memcmp(want, sector, SECTOR_BYTES) != 0) {
		unsigned at = 0;
		while (want[at] == sector[at])
			at++;
		sim_fail("a sector of stamp %" PRIu64 " is torn at byte %u", stamp, at);
	}
	if (ret_number != NULL)
		*ret_number = number;
	return stamp;
}

/* ---- writes ------------------------------------------------------------------------------------ */

/* Drops what no read, present or to come, may return. */
static void
tidy(struct hist *h, struct sector *s)
{
	uint64_t oldest = h->clock;
	uint32_t kept = 0;

	LIST_FOREACH (l, &h->reads) {
		uint64_t begin = container_of(l, struct hist_read, link)->begin;
		if (begin < oldest)
			oldest = begin;
	}
	for (uint32_t i = 0; i < s->count; i++)
		if (s->c[i].gone > oldest)
			s->c[kept++] = s->c[i];
	s->count = kept;
}

struct hist_write *
hist_write_begin(
    struct hist *h, unsigned owner, uint8_t lun, uint32_t lba, uint32_t count, uint64_t stamp)
{
	struct hist_write *w = calloc(1, sizeof *w);
	SIM_CHECK(w != NULL, "out of memory");
	w->owner = owner;
	w->lun = lun;
	w->lba = lba;
	w->count = count;
	w->stamp = stamp;
	w->begin = ++h->clock;
	w->end = UINT64_MAX;
	list_push_back(&h->writes, &w->link);
	for (uint32_t i = 0; i < count; i++) {
		struct sector *s = sector_at(h, lun, lba + i);
		if (s->count >= CANDIDATES_TIDY)
			tidy(h, s);
		add(s, w);
	}
	return w;
}

void
hist_write_fence(struct hist *h, struct hist_write *w)
{
	if (w->end == UINT64_MAX)
		w->end = ++h->clock;
}

void
hist_write_reopen(struct hist *h, struct hist_write *w)
{
	w->end = UINT64_MAX;
	for (uint32_t i = 0; i < w->count; i++) {
		struct sector *s = sector_at(h, w->lun, w->lba + i);
		struct candidate *c = NULL;
		for (uint32_t k = 0; k < s->count; k++)
			if (s->c[k].w == w)
				c = &s->c[k];
		if (c != NULL)
			c->gone = UINT64_MAX;
		else
			add(s, w);
	}
}

/* Everything that took effect before `since` is out of date from now on, but for `except`. */
static void
outdate(struct hist *h, struct sector *s, const struct hist_write *except, uint64_t since)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct candidate *c = &s->c[i];
		if (c->w != except && c->w->end < since && c->gone > h->clock)
			c->gone = h->clock;
	}
}

void
hist_write_end(struct hist *h, struct hist_write *w, enum hist_outcome outcome)
{
	SIM_CHECK(!w->answered, "a write ends twice");
	w->answered = true;
	h->clock++;
	if (w->end == UINT64_MAX)
		w->end = h->clock;
	if (outcome == HIST_NEVER) {
		w->never = true;
		SIM_CHECK(
		    !w->seen, "write %" PRIu64 " was refused, but somebody read it", w->stamp);
	}
	if (outcome != HIST_DONE)
		return;
	for (uint32_t i = 0; i < w->count; i++)
		outdate(h, sector_at(h, w->lun, w->lba + i), w, w->begin);
}

/* ---- reads ------------------------------------------------------------------------------------- */

void
hist_read_begin(struct hist *h, struct hist_read *r)
{
	r->begin = ++h->clock;
	list_push_back(&h->reads, &r->link);
}

static void
check_sector(struct hist *h, uint64_t begin, uint8_t lun, uint32_t lba, const uint8_t *data)
{
	struct sector *s = sector_at(h, lun, lba);
	uint64_t stamp = hist_parse(data, NULL);
	struct candidate *c = NULL;

	for (uint32_t i = 0; i < s->count; i++)
		if (s->c[i].w->stamp == stamp)
			c = &s->c[i];
	SIM_CHECK(c != NULL,
	    "unit %u sector %u: stamp %" PRIu64 " was never written there, or long ago", lun, lba,
	    stamp);
	SIM_CHECK(!c->w->never,
	    "unit %u sector %u: write %" PRIu64 " of %u was refused, but landed", lun, lba, stamp,
	    c->w->owner);
	SIM_CHECK(c->gone > begin,
	    "unit %u sector %u: stamp %" PRIu64 " (written %" PRIu64 "..%" PRIu64
	    " by %u) was out of"
	    " date at %" PRIu64 ", read from %" PRIu64 " on",
	    lun, lba, stamp, c->w->begin, c->w->end, c->w->owner, c->gone, begin);
	c->w->seen = true;
	outdate(h, s, c->w, begin > c->w->begin ? begin : c->w->begin);
}

void
hist_read_end(struct hist *h, struct hist_read *r, uint8_t lun, uint32_t lba, uint32_t count,
    const uint8_t *data)
{
	list_remove(&r->link);
	h->clock++;
	for (uint32_t i = 0; data != NULL && i < count; i++)
		check_sector(h, r->begin, lun, lba + i, data + (size_t)i * SECTOR_BYTES);
}

void
hist_replaced(struct hist *h, uint8_t lun, uint32_t lba, uint64_t base)
{
	struct sector *s = sector_at(h, lun, lba);

	for (uint32_t i = 0; i < s->replaced_count; i++)
		SIM_CHECK(s->replaced[i] != base,
		    "unit %u sector %u: two COMPARE AND WRITEs both found stamp %" PRIu64, lun, lba,
		    base);
	s->replaced = realloc(s->replaced, (s->replaced_count + 1) * sizeof *s->replaced);
	SIM_CHECK(s->replaced != NULL, "out of memory");
	s->replaced[s->replaced_count++] = base;
}
