/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of recovery: recover.c reads, replay.c judges and puts into the index. */
#ifndef CACHE_RECOVER_H
#define CACHE_RECOVER_H

#include "cache/cache_priv.h"

/* What a segment is found to be. */
enum found {
	FOUND_FREE,
	FOUND_EMPTY,    /* in use, nothing in it counts */
	FOUND_SEALED,   /* its footer says what is in it */
	FOUND_UNSEALED, /* its records are judged one by one */
	FOUND_LOST,
};

struct found_slot {
	bool ok, in_use, is_torn; /* torn: something, but not a slot */
	uint32_t used;
	uint64_t checkpoint, generation;
};

struct found_seg {
	enum found kind;
	struct found_slot slot[2];
	int in_force; /* slot, or -1 */
	struct cache_seghead head;
	bool head_ok, bits;          /* bits: those of the slot in force apply */
	bool is_damaged;             /* some of what it held is lost */
	uint32_t used;               /* acknowledged records reach at least so far */
	uint8_t *slot_bits;          /* dead and clean of the slot in force */
	uint32_t rec_first, rec_end; /* its records, of v->recs */
};

/* A record above the checkpoint's position, or in an unsealed segment. */
struct found_rec {
	uint32_t seg;
	bool sealed, accepted;
	struct cache_record r; /* descs and crcs point into bytes */
	void *bytes;
};

struct recovery {
	struct cache *c;
	struct cache_args args;
	cache_attach_fn *done;
	void *ctx;
	char reason[200];
	void (*next)(struct recovery *v, int result);
	void *buf; /* of the read under way */
	uint32_t buf_blocks;
	/* superblocks, volume table, checkpoint headers */
	unsigned which;
	bool have_super, have_table, have_head, newer;
	struct cache_ckhead head;
	uint32_t covered; /* segments that the checkpoint header covers: others are free */
	struct found_seg *segs;
	uint32_t seg; /* under way */
	/* scan of an unsealed segment */
	uint32_t unit, window;
	bool beyond; /* the first gap; only durable_seq is of interest [5] */
	struct found_rec *recs, **sorted;
	uint32_t rec_count, rec_cap;
	bool no_memory;
	uint64_t durable[CF_STREAM_COUNT]; /* highest durable_seq seen in the running epoch */
	struct cache_position last[CF_STREAM_COUNT];
	unsigned stream;
	uint64_t max_ver, max_checkpoint;
	bool lied, slots_wrong, old_table;
	uint32_t lost, missing;
	uint32_t max_volume; /* id that a record names */
	uint32_t told;
	void (*losses_told)(struct recovery *v);
	/* scan.c: headers and footers on their way */
	struct recovery_ahead *ahead;
	uint32_t ahead_count, ahead_next, ahead_pending;
	bool waits, in_run; /* for the next segment's; segments are being looked at */
	bool ending;
	int result;
	struct loop_defer defer;
};

/* recover.c */
/* The attach fails, with a sentence for a person. */
__attribute__((format(printf, 3, 4))) void recovery_fail(
    struct recovery *v, int err, const char *fmt, ...);
/* Blocks of the SSD into v->buf; zeros where they can't be read. */
void recovery_read(
    struct recovery *v, uint64_t block, uint32_t count, void (*next)(struct recovery *, int));
/* The last of what was read ahead has ended, after the attach had. */
void recovery_ahead_ended(struct recovery *v);
/* All segments were looked at. */
void recovery_chains(struct recovery *v);

/* scan.c */
void recovery_segments(struct recovery *v);
void recovery_ahead_free(struct recovery *v);

/* loss.c: tells what is lost, then calls `told`. */
void recovery_losses(struct recovery *v, void (*told)(struct recovery *v));
/* It was accepted: what is lost is free, and the next attach finds nothing amiss. */
void recovery_settle(struct recovery *v);

/* replay.c */
/* The slot in force, or NULL. */
const struct found_slot *recovery_slot(const struct recovery *v, uint32_t seg);
/* Which slot is in force, and what the segment is; the footer isn't looked at yet. */
void recovery_judge(struct recovery *v, uint32_t seg);
/* The checkpoint header doesn't cover it: whatever is there isn't of now. */
void recovery_uncovered(struct recovery *v, uint32_t seg);
/* A whole, intact footer of the segment. */
void recovery_footer(
    struct recovery *v, uint32_t seg, const void *buf, const struct cache_footer *f);
/* Whether the slots in force are those that the checkpoint header knows. */
bool recovery_slots_right(const struct recovery *v);

/* chain.c. Without memory v->no_memory is set. */
void recovery_add(struct recovery *v, uint32_t seg, const struct cache_record *r, bool sealed);
/* All were added. False: no memory. */
bool recovery_sort(struct recovery *v);
/* Whether all records from the checkpoint's position to the end of the epoch before are there. */
bool recovery_before(const struct recovery *v, unsigned stream);
/* The record that continues the chain of v->stream, or NULL. */
struct found_rec *recovery_next(struct recovery *v);
void recovery_chain_start(struct recovery *v);
/* Marks what of the unsealed segments counts, and puts it into the index. */
void recovery_accept(struct recovery *v);
void recovery_insert(struct recovery *v, uint32_t seg, const struct cache_record *r);

#endif
