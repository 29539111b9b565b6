/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What readers may see. Each sector is a register: a write may take effect at any moment between its
 * submission and its end, a read returns the value of some moment between its submission and its
 * answer. Every write has a stamp of its own, so that the value says who wrote it; a value is out of
 * date once something is known to have taken effect after it.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include "base/list.h"
#include "tests/sim/sim.h"

#define SECTOR_BYTES 512u

struct hist_write {
	struct list link;
	unsigned owner;
	uint8_t lun;
	uint32_t lba, count;
	uint64_t stamp;
	uint64_t begin, end; /* end UINT64_MAX: it may still take effect */
	bool answered, never, seen;
};

struct hist_read {
	struct list link;
	uint64_t begin;
};

struct hist;

/* Sizes in sectors, which all hold zeros. */
struct hist *hist_create(unsigned luns, uint32_t sectors);
void hist_destroy(struct hist *h);

uint64_t hist_new_stamp(struct hist *h);
/* The sector of a write: stamp, a number that travels with it, and a pattern from both. */
void hist_fill(uint8_t *buf, uint32_t count, uint64_t stamp, uint64_t number);
/* What a sector holds. A sector that isn't wholly of one write fails the run. */
uint64_t hist_parse(const uint8_t *sector, uint64_t *ret_number);

struct hist_write *hist_write_begin(
    struct hist *h, unsigned owner, uint8_t lun, uint32_t lba, uint32_t count, uint64_t stamp);
/* From now on it can't take effect any more (but its answer may still be on the way). */
void hist_write_fence(struct hist *h, struct hist_write *w);
/* It may take effect again after all, now or later: what fenced it off was undone. */
void hist_write_reopen(struct hist *h, struct hist_write *w);
enum hist_outcome { HIST_DONE, HIST_MAYBE, HIST_NEVER };
void hist_write_end(struct hist *h, struct hist_write *w, enum hist_outcome outcome);

void hist_read_begin(struct hist *h, struct hist_read *r);
/* `data` NULL: it came to nothing. */
void hist_read_end(struct hist *h, struct hist_read *r, uint8_t lun, uint32_t lba, uint32_t count,
    const uint8_t *data);

/* A COMPARE AND WRITE found `base` and put something in its place: nobody else may have. */
void hist_replaced(struct hist *h, uint8_t lun, uint32_t lba, uint64_t base);

#endif
