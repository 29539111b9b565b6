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
	bool ok, in_use;
	uint64_t checkpoint, generation;
};

struct found_seg {
	enum found kind;
	struct found_slot slot[2];
	int in_force; /* slot, or -1 */
	struct cache_seghead head;
	bool head_ok, bits; /* bits: those of the slot in force apply */
	uint8_t *slot_bits; /* dead and clean of the slot in force */
};

/* A record of the running epoch above the checkpoint, or in an unsealed segment. */
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
	struct found_seg *segs;
	uint32_t seg; /* under way */
	/* scan of an unsealed segment */
	uint32_t unit, window;
	bool beyond; /* the first gap; only durable_seq is of interest [5] */
	struct found_rec *recs;
	uint32_t rec_count, rec_cap;
	uint64_t durable[CF_STREAM_COUNT]; /* highest durable_seq seen in the running epoch */
	struct cache_position last[CF_STREAM_COUNT];
	unsigned stream;
	uint64_t max_ver, max_checkpoint;
	bool lied;
	uint32_t lost;
};

/* Which slot is in force, and what the segment is; the footer isn't looked at yet. */
void recovery_judge(struct recovery *v, uint32_t seg);
/* A whole, intact footer of the segment. */
void recovery_footer(
    struct recovery *v, uint32_t seg, const void *buf, const struct cache_footer *f);
struct found_rec *recovery_add(
    struct recovery *v, uint32_t seg, const struct cache_record *r, bool sealed);
/* The record that continues the chain of v->stream, or NULL. */
struct found_rec *recovery_next(struct recovery *v);
void recovery_chain_start(struct recovery *v);
/* Marks what of the unsealed segments counts, and puts it into the index. */
void recovery_accept(struct recovery *v);
void recovery_insert(struct recovery *v, uint32_t seg, const struct cache_record *r);

#endif
