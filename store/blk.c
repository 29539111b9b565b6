/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checked wrappers around every driver: what the caller owes is asserted here, what may happen
 * to an honest caller (store gone, shrunk, read-only) is answered here, and each loop counts its own.
 */
#include "store/blk_driver.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "store/store_priv.h"

#define RESULT_IN_FLIGHT 1 /* blk_io.result between submit and done: no errno, no success */

/* Written by its loop only; relaxed stores, so that a reader on another thread sees whole numbers. */
struct blk_loop_stats {
	struct blk_stats s;
	unsigned in_submit;
} __attribute__((aligned(64)));

static void
stat_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

int
blk_init(struct blk *b, const struct blk_ops *ops, const struct blk_info *info, const char *name,
    const struct blk_open_args *args)
{
	ASSERT(args->loop_count > 0 && args->loop_count <= LOOP_COUNT_MAX);
	ASSERT(info->block_bytes == 512 || info->block_bytes == 4096);
	ASSERT(info->physical_bytes >= info->block_bytes);
	ASSERT(info->size_bytes % info->block_bytes == 0);
	b->ops = ops;
	b->info = *info;
	b->state = BLK_OK;
	b->size_max_bytes = info->size_bytes;
	b->event = NULL;
	b->name = strdup(name);
	struct loop **loops = malloc(args->loop_count * sizeof *loops);
	b->loops = loops;
	size_t stats_bytes = args->loop_count * sizeof *b->stats;
	b->stats = aligned_alloc(_Alignof(struct blk_loop_stats), stats_bytes);
	if (b->name == NULL || loops == NULL || b->stats == NULL) {
		blk_fini(b);
		return -ENOMEM;
	}
	memset(b->stats, 0, stats_bytes);
	memset(b->loop_idx, 0xff, sizeof b->loop_idx);
	b->loop_count = args->loop_count;
	for (unsigned i = 0; i < args->loop_count; i++) {
		loops[i] = args->loops[i];
		b->loop_idx[loop_id(loops[i])] = (uint8_t)i;
	}
	return 0;
}

void
blk_fini(struct blk *b)
{
	free(b->name);
	free((void *)(uintptr_t)b->loops);
	free(b->stats);
	b->name = NULL;
	b->loops = NULL;
	b->stats = NULL;
}

unsigned
blk_loop_idx(const struct blk *b, const struct loop *l)
{
	ASSERT(l != NULL);
	unsigned idx = b->loop_idx[loop_id(l)];
	ASSERT(idx < b->loop_count);
	return idx;
}

/* ---- I/O --------------------------------------------------------------------------------- */

static void
check_flags(const struct blk_io *io)
{
	static const uint32_t allowed[BLK_OP_COUNT] = {
	    [BLK_READ] = BLK_QUIET | BLK_NO_FILL,
	    [BLK_WRITE] = BLK_FUA | BLK_LAZY,
	    [BLK_UNMAP] = BLK_FUA,
	    [BLK_WRITE_ZEROES] = BLK_FUA | BLK_NO_UNMAP | BLK_LAZY,
	};
	ASSERT((io->flags & ~allowed[io->op]) == 0);
	ASSERT((io->flags & (BLK_FUA | BLK_LAZY)) != (BLK_FUA | BLK_LAZY));
}

/* What the caller owes; see blk.h. */
static void
check_request(const struct blk *b, const struct blk_io *io)
{
	ASSERT((unsigned)io->op < BLK_OP_COUNT);
	ASSERT(io->done != NULL);
	check_flags(io);
	if (io->op == BLK_FLUSH)
		return;
	uint32_t mask = b->info.block_bytes - 1;
	ASSERT(io->len_bytes > 0);
	ASSERT((io->offset_bytes & mask) == 0 && (io->len_bytes & mask) == 0);
	uint64_t max = __atomic_load_n(&b->size_max_bytes, __ATOMIC_RELAXED);
	ASSERT(io->offset_bytes <= max && io->len_bytes <= max - io->offset_bytes);
	switch (io->op) {
	case BLK_READ:
		ASSERT(io->len_bytes <= BLK_IO_MAX_BYTES && io->sg != NULL);
		ASSERT(io->sg->len_bytes == 0 || io->sg->len_bytes >= io->len_bytes);
		break;
	case BLK_WRITE:
		ASSERT(io->len_bytes <= BLK_IO_MAX_BYTES && io->sg != NULL);
		ASSERT(io->sg->len_bytes >= io->len_bytes);
		break;
	case BLK_EXTENTS:
		ASSERT(io->extents != NULL && io->extent_cap > 0);
		break;
	default:
		break;
	}
}

/* What can happen to an honest caller: 0, or the error its io ends with. */
static int
admit(const struct blk *b, const struct blk_io *io)
{
	if (blk_get_state(b) != BLK_OK)
		return -ENODEV;
	bool changes = io->op == BLK_WRITE || io->op == BLK_UNMAP || io->op == BLK_WRITE_ZEROES;
	if (changes && (b->info.caps & BLK_CAP_READ_ONLY))
		return -EROFS;
	if (io->op == BLK_UNMAP && !(b->info.caps & BLK_CAP_UNMAP))
		return -EOPNOTSUPP;
	/* The store may have shrunk since the caller looked. */
	uint64_t size = __atomic_load_n(&b->info.size_bytes, __ATOMIC_RELAXED);
	if (io->op != BLK_FLUSH && io->offset_bytes + io->len_bytes > size)
		return -EIO;
	return 0;
}

void
blk_submit(struct blk *b, struct blk_io *io)
{
	struct loop *l = loop_current();
	struct blk_loop_stats *st = &b->stats[blk_loop_idx(b, l)];
	check_request(b, io);
	io->blk = b;
	io->loop = l;
	io->submit_ns = loop_now_ns(l);
	io->result = RESULT_IN_FLIGHT;
	io->extent_count = 0;
	list_init(&io->link);
	stat_add(&st->s.in_flight, 1);

	int err = admit(b, io);
	if (err < 0) {
		blk_complete_later(io, err);
		return;
	}
	st->in_submit++;
	b->ops->submit(b, io);
	st->in_submit--;
}

void
blk_complete(struct blk_io *io, int result)
{
	struct blk *b = io->blk;
	struct blk_loop_stats *st = &b->stats[blk_loop_idx(b, io->loop)];
	ASSERT(loop_is_current(io->loop));
	ASSERT(io->result == RESULT_IN_FLIGHT); /* once only */
	ASSERT(st->in_submit == 0);             /* never before submit returned */
	ASSERT(result <= 0);
	stat_add(&st->s.in_flight, UINT64_MAX); /* one less */
	stat_add(&st->s.ops[io->op], 1);
	if (result == 0 && io->op != BLK_FLUSH)
		stat_add(&st->s.bytes[io->op], io->len_bytes);
	else if (result < 0)
		stat_add(&st->s.errors[io->op], 1);
	io->result = result;
	io->done(io);
}

static void
complete_deferred(struct loop_defer *d)
{
	struct blk_io *io = container_of(d, struct blk_io, defer);
	blk_complete(io, io->fop.result);
}

void
blk_complete_later(struct blk_io *io, int result)
{
	io->fop.result = result;
	loop_defer_init(&io->defer, complete_deferred);
	loop_defer(io->loop, &io->defer);
}

int
blk_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes)
{
	ASSERT(op == BLK_READ || op == BLK_WRITE);
	ASSERT(len_bytes > 0 && len_bytes <= BLK_IO_MAX_BYTES);
	ASSERT(sg->iovcnt == 0 && sg->iovcap == 0 && sg->release == NULL);
	struct loop *l = loop_current();
	ASSERT(l != NULL);
	uint64_t max = __atomic_load_n(&b->size_max_bytes, __ATOMIC_RELAXED);
	ASSERT(offset_bytes <= max && len_bytes <= max - offset_bytes);
	if (b->ops->sg_get == NULL)
		return blk_sg_get_plain(l, sg, len_bytes);
	return b->ops->sg_get(b, sg, op, offset_bytes, len_bytes);
}

bool
blk_copies_now(struct blk *b, uint64_t offset_bytes, uint64_t len_bytes)
{
	ASSERT(len_bytes > 0 && len_bytes <= BLK_IO_MAX_BYTES);
	return b->ops->copies_now != NULL && b->ops->copies_now(b, offset_bytes, len_bytes);
}

void
blk_extents_all_mapped(struct blk_io *io)
{
	io->extents[0] = (struct blk_extent){io->offset_bytes, io->len_bytes, true};
	io->extent_count = 1;
}

/* ---- what is known about it --------------------------------------------------------------- */

const struct blk_info *
blk_get_info(const struct blk *b)
{
	return &b->info;
}

enum blk_state
blk_get_state(const struct blk *b)
{
	return __atomic_load_n(&b->state, __ATOMIC_RELAXED);
}

const char *
blk_get_name(const struct blk *b)
{
	return b->name;
}

void
blk_set_events(struct blk *b, void (*event)(void *ctx, enum blk_event ev), void *ctx)
{
	b->event = event;
	b->event_ctx = ctx;
	if (event != NULL && b->ops->watched != NULL)
		b->ops->watched(b);
}

void
blk_raise(struct blk *b, enum blk_event ev)
{
	ASSERT(loop_is_current(b->loops[0]));
	if (b->event != NULL)
		b->event(b->event_ctx, ev);
}

void
blk_set_size(struct blk *b, uint64_t size_bytes)
{
	ASSERT(size_bytes % b->info.block_bytes == 0);
	/* The larger bound first: nobody may see a size beyond the bound. */
	if (size_bytes > b->size_max_bytes)
		__atomic_store_n(&b->size_max_bytes, size_bytes, __ATOMIC_RELEASE);
	__atomic_store_n(&b->info.size_bytes, size_bytes, __ATOMIC_RELEASE);
}

void
blk_set_state(struct blk *b, enum blk_state state)
{
	__atomic_store_n(&b->state, state, __ATOMIC_RELAXED);
}

void
blk_set_space(struct blk *b, const struct blk_space *space)
{
	ASSERT(loop_is_current(b->loops[0]));
	b->space = *space;
	b->space_known = true;
}

void
blk_may_shrink(struct blk *b, uint64_t size_bytes)
{
	if (b->ops->may_shrink != NULL)
		b->ops->may_shrink(b, size_bytes);
}

/* The one at or below `b` that has a watch over something, or NULL. */
static const struct blk *
watching(const struct blk *b)
{
	ASSERT(loop_is_current(b->loops[0]));
	while (b->ops->look == NULL && b->ops->below != NULL)
		b = b->ops->below(b);
	return b->ops->look != NULL ? b : NULL;
}

uint64_t
blk_look(struct blk *b)
{
	struct blk *w = (struct blk *)(uintptr_t)watching(b);
	return w != NULL ? w->ops->look(w) : 0;
}

uint64_t
blk_looks(const struct blk *b)
{
	const struct blk *w = watching(b);
	return w != NULL ? w->ops->looks(w) : 0;
}

bool
blk_get_space(const struct blk *b, struct blk_space *ret)
{
	while (b->ops->below != NULL)
		b = b->ops->below(b);
	*ret = b->space;
	return b->space_known;
}

void
blk_get_stats(const struct blk *b, struct blk_stats *ret)
{
	*ret = (struct blk_stats){0};
	for (unsigned i = 0; i < b->loop_count; i++) {
		const struct blk_stats *s = &b->stats[i].s;
		for (unsigned op = 0; op < BLK_OP_COUNT; op++) {
			ret->ops[op] += __atomic_load_n(&s->ops[op], __ATOMIC_RELAXED);
			ret->bytes[op] += __atomic_load_n(&s->bytes[op], __ATOMIC_RELAXED);
			ret->errors[op] += __atomic_load_n(&s->errors[op], __ATOMIC_RELAXED);
		}
		ret->in_flight += __atomic_load_n(&s->in_flight, __ATOMIC_RELAXED);
	}
}

/* ---- open and close ---------------------------------------------------------------------- */

int
blk_refuse(const struct blk_reason *why, int err, const char *fmt, ...)
{
	ASSERT(err < 0);
	if (why->cap > 0) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(why->buf, why->cap, fmt, ap);
		va_end(ap);
	}
	return err;
}

int
blk_check_virtual_size(
    const struct blk_open_args *args, const char *kind, const struct blk_reason *why)
{
	uint32_t block_bytes = args->block_bytes != 0 ? args->block_bytes : 512;
	if (args->size_bytes == 0)
		return blk_refuse(why, -EINVAL, "%s: needs a size; give one", kind);
	if (args->size_bytes % block_bytes != 0)
		return blk_refuse(why, -EINVAL,
		    "%s: size %llu is not a multiple of the block size %u; round it", kind,
		    (unsigned long long)args->size_bytes, block_bytes);
	return 0;
}

const char *
blk_zeros_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void
blk_zeros_unmap(const char *zeros, size_t bytes)
{
	if (zeros != NULL)
		munmap((void *)(uintptr_t)zeros, bytes);
}

/* A path without a prefix: its type decides. What doesn't exist may become a file. */
static int
path_open(const struct blk_open_args *args, const char *path, struct blk **ret,
    const struct blk_reason *why)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
		return block_open(args, path, ret, why);
	if (strncmp(path, "/dev/", 5) == 0)
		return block_open(args, path, ret, why);
	return file_open(args, path, ret, why);
}

static const struct {
	const char *prefix;
	int (*open)(const struct blk_open_args *args, const char *rest, struct blk **ret,
	    const struct blk_reason *why);
} kinds[] = {
    {"file:", file_open},
    {"block:", block_open},
    {"lvm:", lvm_open},
    {"ram:", ram_open},
    {"null:", null_open},
    {"fault:", fault_open},
};

int
blk_open(const struct blk_open_args *args, struct blk **ret, char *reason, size_t reason_cap)
{
	struct blk_reason why = {reason, reason_cap};
	const char *spec = args->spec;
	ASSERT(args->loop_count > 0 && args->loop_count <= LOOP_COUNT_MAX);
	if (reason_cap > 0)
		reason[0] = '\0';
	if (args->block_bytes != 0 && args->block_bytes != 512 && args->block_bytes != 4096)
		return blk_refuse(
		    &why, -EINVAL, "block size %u is neither 512 nor 4096", args->block_bytes);
	if (spec == NULL || spec[0] == '\0')
		return blk_refuse(&why, -EINVAL, "the store is empty; give a path or ram:");
	/* What exists under the whole string is the path, whatever colons it has. */
	struct stat st;
	if (stat(spec, &st) == 0)
		return path_open(args, spec, ret, &why);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		size_t len = strlen(kinds[i].prefix);
		if (strncmp(spec, kinds[i].prefix, len) == 0)
			return kinds[i].open(args, spec + len, ret, &why);
	}
	const char *colon = strchr(spec, ':');
	if (colon != NULL && memchr(spec, '/', (size_t)(colon - spec)) == NULL)
		return blk_refuse(&why, -EINVAL,
		    "%s: no store is called %.*s and no such path exists; known are file: block: "
		    "lvm: ram: null: and plain paths",
		    spec, (int)(colon - spec + 1), spec);
	return path_open(args, spec, ret, &why);
}

void
blk_close(struct blk *b)
{
	if (b == NULL)
		return;
	struct blk_stats s;
	blk_get_stats(b, &s);
	ASSERT(s.in_flight == 0);
	b->event = NULL;
	b->ops->close(b);
}
