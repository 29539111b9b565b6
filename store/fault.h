/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fault store: another store with faults, by chance from a seed or on demand, for tests of what
 * stands above. Spec: "fault:SEED:OPTIONS:SPEC". SEED is a decimal number; OPTIONS are separated by
 * commas and may be empty:
 *
 *   read_error=P write_error=P flush_error=P unmap_error=P   chance of -EIO, 0 to 1 ("0.01");
 *                                 the operation isn't passed on
 *   torn_write=P                  a random part from its start is written, then -EIO
 *   lost_write=P                  acknowledged, not passed on
 *   delay_us=A or A-B             each operation is passed on after A to B microseconds
 *   answer_us=A or A-B            what was passed on is answered so much later than it ended
 *   range=A-B                     errors and losses only for operations that touch bytes A to B-1;
 *                                 sizes as "1MiB"
 *
 * The switches below may be used on any thread and act on operations submitted afterwards. They are
 * relaxed atomics, here only: a test must be able to throw them from outside the loops. Not just
 * before blk_close(): fault_hold() sends messages.
 */
#ifndef STORE_FAULT_H
#define STORE_FAULT_H

#include "store/blk.h"

/* The blk is a fault store (asserted) in all of these; blk_is_fault() tells. */
bool blk_is_fault(const struct blk *b);

/* After `skip` more operations of this kind the next `count` end with `err` (-errno), not passed on. */
void fault_fail(struct blk *b, enum blk_op op, uint64_t skip, uint64_t count, int err);
/* The next `count` WRITEs are acknowledged and not passed on. */
void fault_lose_writes(struct blk *b, uint64_t count);
/* Operations whose bit (1 << op) is in the mask wait before they are passed on; 0 releases all. */
void fault_hold(struct blk *b, uint32_t op_mask);
/* How many wait, over all loops. */
uint64_t fault_held(const struct blk *b);

/* On loops[0]: the store disappears (-ENODEV for all) or returns, or changes its size (at most the
 * inner store's, a multiple of the block size), with the event of that. */
void fault_set_gone(struct blk *b, bool gone);
void fault_set_size(struct blk *b, uint64_t size_bytes);

#endif
