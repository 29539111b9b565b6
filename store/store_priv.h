/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the drivers of this folder: how they are opened, how they explain a refusal. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include "store/blk_driver.h"

/* Where `reason` of blk_open() goes. */
struct blk_reason {
	char *buf;
	size_t cap;
};
/* Writes the sentence and returns `err`, so that a refusal is one statement. */
int blk_refuse(const struct blk_reason *why, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* `rest` is the spec behind its prefix. Return values as blk_open(). */
int ram_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why);
int null_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why);
int file_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why);
int block_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why);
int lvm_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why);
int fault_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why);

/* Checks size and block size for a store that has no object behind it. 0 or -EINVAL. */
int blk_check_virtual_size(
    const struct blk_open_args *args, const char *kind, const struct blk_reason *why);

/* Zeros to lend: read-only memory of `bytes` that costs none, or NULL. */
const char *blk_zeros_map(size_t bytes);
void blk_zeros_unmap(const char *zeros, size_t bytes);

#endif
