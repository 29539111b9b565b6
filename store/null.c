/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The null store: reads are zeros lent from one shared region, writes are discarded. Writes land in
 * the loop's own buffers, not in a shared sink: data that shared its memory with other writes could
 * not be checked against a digest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/store_priv.h"

struct null {
	struct blk b;
	const char *zeros; /* BLK_IO_MAX_BYTES */
};

static void
null_submit(struct blk *b, struct blk_io *io)
{
	const struct null *n = container_of(b, struct null, b);
	switch (io->op) {
	case BLK_READ:
		/* blk_sg_get() left it empty, unless the caller brought memory of its own. */
		if (io->sg->len_bytes == 0)
			blk_sg_append(io->sg, n->zeros, io->len_bytes);
		else
			blk_sg_fill(io->sg, 0, 0, io->len_bytes);
		break;
	case BLK_EXTENTS:
		io->extents[0] = (struct blk_extent){io->offset_bytes, io->len_bytes, false};
		io->extent_count = 1;
		break;
	default:
		break;
	}
	blk_complete_later(io, 0);
}

static int
null_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes)
{
	(void)b;
	(void)offset_bytes;
	struct loop *l = loop_current();
	if (op == BLK_WRITE)
		return blk_sg_get_plain(l, sg, len_bytes);
	blk_sg_init(sg);
	return blk_sg_reserve(l, sg, 1);
}

static bool
null_copies_now(struct blk *b, uint64_t offset_bytes, uint64_t len_bytes)
{
	(void)b;
	(void)offset_bytes;
	(void)len_bytes;
	return true; /* it doesn't even look */
}

static void
null_close(struct blk *b)
{
	struct null *n = container_of(b, struct null, b);
	blk_zeros_unmap(n->zeros, BLK_IO_MAX_BYTES);
	blk_fini(b);
	free(n);
}

static const struct blk_ops null_ops = {
    .name = "null",
    .submit = null_submit,
    .sg_get = null_sg_get,
    .copies_now = null_copies_now,
    .close = null_close,
};

int
null_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why)
{
	if (rest[0] != '\0')
		return blk_refuse(why, -EINVAL, "null:%s: nothing may follow null:", rest);
	int err = blk_check_virtual_size(args, "null", why);
	if (err < 0)
		return err;
	struct null *n = calloc(1, sizeof *n);
	const char *zeros = blk_zeros_map(BLK_IO_MAX_BYTES);
	uint32_t block_bytes = args->block_bytes != 0 ? args->block_bytes : 512;
	struct blk_info info = {
	    .driver = "null",
	    .size_bytes = args->size_bytes,
	    .block_bytes = block_bytes,
	    .physical_bytes = block_bytes,
	    .unmap_granularity_bytes = block_bytes,
	    .caps = BLK_CAP_UNMAP | BLK_CAP_UNMAP_ZEROES | BLK_CAP_EXTENTS | BLK_CAP_THIN,
	};
	if (args->flags & BLK_OPEN_READ_ONLY)
		info.caps |= BLK_CAP_READ_ONLY;
	char name[64];
	snprintf(name, sizeof name, "null:%p", (void *)n); /* no two are the same object */
	if (n == NULL || zeros == NULL || blk_init(&n->b, &null_ops, &info, name, args) < 0) {
		blk_zeros_unmap(zeros, BLK_IO_MAX_BYTES);
		free(n);
		return blk_refuse(why, -ENOMEM, "null: out of memory");
	}
	n->zeros = zeros;
	*ret = &n->b;
	return 0;
}
