/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The block interface: what a store (file, block device, ram, null, fault) and later the cache
 * offer, and what SCSI and NBD use. Callers go through the checked functions below and never touch
 * the driver's operations. A blk knows no SCSI, no LUN, no transport.
 *
 * Thread rule: close and set_events on the home loop's thread (or before the loops run); open there,
 * or with BLK_OPEN_WATCH_LATER on a worker, where what nobody has used yet may also be closed;
 * blk_submit(), blk_sg_get(), blk_sg_put() on any loop: `done` then runs on that same loop.
 *
 * Units: offsets and lengths are bytes here, multiples of info.block_bytes.
 */
#ifndef STORE_BLK_H
#define STORE_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "loop/loop.h"

struct blk;

#define BLK_IO_MAX_BYTES                                                                           \
	(4u * 1024u * 1024u) /* READ and WRITE; the other operations are unlimited */

/* ---- capabilities: asked once, constant while open (but for size_bytes and state) --------- */

#define BLK_CAP_UNMAP (1u << 0)        /* BLK_UNMAP releases space */
#define BLK_CAP_UNMAP_ZEROES (1u << 1) /* …and the range then reads as zeros, always */
#define BLK_CAP_EXTENTS (1u << 2)      /* BLK_EXTENTS tells mapped from unmapped */
#define BLK_CAP_VOLATILE (1u << 3)     /* a write without BLK_FUA may be lost until BLK_FLUSH */
#define BLK_CAP_READ_ONLY (1u << 4)
#define BLK_CAP_SANITIZE (1u << 5) /* overwriting reaches every copy of the data */
#define BLK_CAP_ROTATIONAL (1u << 6)
#define BLK_CAP_THIN (1u << 7) /* space is allocated on demand */

struct blk_info {
	const char *driver; /* "file", "block", "ram", … */
	uint64_t size_bytes;
	uint32_t block_bytes;    /* smallest unit of a READ or WRITE: 512 or 4096 */
	uint32_t physical_bytes; /* writes below this are read-modify-write inside; ≥ block_bytes */
	uint32_t optimal_bytes; /* preferred transfer, a stripe where known; 0: unknown */
	uint32_t
	    minimum_bytes; /* preferred least transfer, a member's part of a stripe; 0: unknown */
	uint32_t unmap_granularity_bytes; /* 0 without BLK_CAP_UNMAP */
	uint32_t
	    atomic_max_bytes; /* a WRITE up to this is all or nothing, also over power loss; 0: none */
	uint32_t caps;
};

enum blk_state { BLK_OK, BLK_GONE /* every I/O fails with -ENODEV until it is back */ };

enum blk_event { BLK_EVENT_SIZE, BLK_EVENT_GONE, BLK_EVENT_BACK, BLK_EVENT_COUNT };

/* ---- I/O --------------------------------------------------------------------------------- */

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	/*
	 * Everything completed before submit is durable (but see BLK_LAZY); the first that succeeds on a
	 * loop also makes durable what was written before the open, by whom ever; at home also a new size,
	 * if it was submitted after BLK_EVENT_SIZE. The range is ignored.
	 */
	BLK_FLUSH,
	BLK_UNMAP,        /* may be refused (-EOPNOTSUPP) without BLK_CAP_UNMAP */
	BLK_WRITE_ZEROES, /* always available; reads as zeros afterwards */
	BLK_EXTENTS,      /* which parts are mapped */
	BLK_OP_COUNT
};

#define BLK_FUA (1u << 0)      /* WRITE, UNMAP, WRITE_ZEROES: durable at done */
#define BLK_NO_UNMAP (1u << 1) /* WRITE_ZEROES: the space stays allocated */
#define BLK_QUIET (1u << 2)    /* READ: leaves what is cached as it is, uncounted */
#define BLK_NO_FILL (1u << 3)  /* READ: not worth keeping below; a store ignores both */
/*
 * WRITE, WRITE_ZEROES of a blk whose writes are durable at done: this one needn't be. It may be lost
 * until a BLK_FLUSH that was submitted on the same loop after it ended has succeeded. A blk may ignore
 * it. Not with BLK_FUA.
 */
#define BLK_LAZY (1u << 4)

/*
 * A scatter list and how its memory goes back. Small lists use `inline_iov`. Zero-initialise, or
 * blk_sg_init(). Data lent by a blk is immutable until blk_sg_put().
 */
#define BLK_SG_INLINE 4
struct blk_sg {
	struct iovec *iov;
	uint32_t iovcnt;
	uint32_t iovcap; /* size of iov when it isn't inline_iov (bufpool memory), else 0 */
	uint64_t len_bytes;
	void (*release)(struct blk_sg *sg); /* how the segments go back; NULL: nothing to return */
	struct loop *loop;                  /* on which it was got and will be put */
	void *owner;                        /* the driver's */
	uint64_t priv[2];                   /* the driver's */
	struct iovec inline_iov[BLK_SG_INLINE];
};

struct blk_extent {
	uint64_t offset_bytes;
	uint64_t len_bytes;
	bool mapped;
};

struct blk_io {
	/* set by the caller */
	enum blk_op op;
	uint32_t flags;
	uint64_t offset_bytes;
	uint64_t len_bytes;
	struct blk_sg *sg; /* READ: from blk_sg_get(READ), filled by the driver; WRITE: the data */
	struct blk_extent *extents; /* EXTENTS: room for extent_cap of them */
	uint32_t extent_cap;
	uint32_t extent_count; /* out; they cover the range from its start, maybe not to its end */
	void (*done)(struct blk_io *io);
	/* set by the blk */
	int result; /* 0 or -errno, valid in done */
	struct blk *blk;
	struct loop *loop;
	uint64_t submit_ns;
	/* the driver's while submitted */
	struct list link;
	struct loop_defer defer;
	struct loop_msg msg;
	struct loop_op fop;
	uint64_t scratch[6];
};

/*
 * Errors an io can end with: -EIO (medium), -ENOSPC (thin store full), -ENODEV (store gone),
 * -EROFS, -EOPNOTSUPP, -ENOMEM, -EAGAIN (a shortage that passes: a full cache). `done` runs exactly
 * once, never before blk_submit() returns.
 * Range, alignment and flags are the caller's duty and asserted.
 */
void blk_submit(struct blk *b, struct blk_io *io);

/*
 * Buffers for `len_bytes` (1..BLK_IO_MAX_BYTES) of READ or WRITE at `offset_bytes`. For WRITE the
 * memory is where the driver would like the data to land (it may be its own frames: then nothing is
 * copied later), and it isn't written to any more once submitted. For READ it may stay empty: the
 * driver lends its frames at completion of a READ of just this range. Segments aren't changed by the
 * caller.
 * 0, or -ENOBUFS: wait with loop_bufwait and try again. On failure *sg is untouched.
 */
int blk_sg_get(
    struct blk *b, struct blk_sg *sg, enum blk_op op, uint64_t offset_bytes, uint64_t len_bytes);
/*
 * True: a WRITE of this range, submitted before anything else is asked of the blk and before the
 * caller's callback returns, has copied its data when blk_submit() returns, or never will. Its list
 * may then be one of memory that doesn't last (blk_sg_borrow()); `done` comes later as ever.
 */
bool blk_copies_now(struct blk *b, uint64_t offset_bytes, uint64_t len_bytes);
/* Plain memory from the loop's pool, for whoever needs scratch. 0 or -ENOBUFS. */
int blk_sg_get_plain(struct loop *l, struct blk_sg *sg, uint64_t len_bytes);
/* Returns what the list holds and empties it. On the loop of the get. Accepts an empty list. */
void blk_sg_put(struct blk_sg *sg);
void blk_sg_init(struct blk_sg *sg);
/* Makes an empty list one of `len` bytes of the caller's; they aren't written to, and nothing goes
 * back at blk_sg_put(). */
void blk_sg_borrow(struct blk_sg *sg, const void *p, size_t len);

/* Copies between a scatter list and flat memory, or compares; all at byte offset `at`. */
void blk_sg_copy_in(const struct blk_sg *sg, uint64_t at, const void *src, size_t len);
void blk_sg_copy_out(const struct blk_sg *sg, uint64_t at, void *dst, size_t len);
void blk_sg_fill(const struct blk_sg *sg, uint64_t at, uint8_t byte, size_t len);
/* Offset of the first differing byte, or UINT64_MAX when equal over `len`. */
uint64_t blk_sg_compare(
    const struct blk_sg *a, uint64_t at_a, const struct blk_sg *b, uint64_t at_b, uint64_t len);

/* ---- open and close ---------------------------------------------------------------------- */

#define BLK_OPEN_READ_ONLY (1u << 0)
#define BLK_OPEN_VOLATILE                                                                          \
	(1u << 1)                    /* through the page cache, BLK_CAP_VOLATILE; default: every
                                        WRITE is durable at done (O_DIRECT where possible, DSYNC) */
#define BLK_OPEN_CREATE (1u << 2)    /* file: create with size_bytes if it doesn't exist */
#define BLK_OPEN_UNSAFE_FS (1u << 3) /* file on tmpfs, /dev, … allowed (tests) */
#define BLK_OPEN_WATCH_LATER                                                                       \
	(1u << 4) /* opened on another thread than home's: the object is watched from
	             the first blk_set_events() with a listener on */

struct blk_open_args {
	const char *spec;    /* see below */
	uint64_t size_bytes; /* ram, null and BLK_OPEN_CREATE; 0: the object's own */
	uint32_t flags;
	uint32_t block_bytes;      /* logical block size above: 512 or 4096; 0: 512 */
	struct loop *const *loops; /* the loops that will submit; loops[0] is the home loop */
	unsigned loop_count;
};

/*
 * spec: "file:PATH", "block:PATH", "lvm:VG/LV", "ram:", "null:", "fault:SEED:OPTIONS:SPEC"
 * (store/fault.h), or a bare PATH, whose type decides between file and block.
 * Blocking (open, flock, ioctl): at start, or on a worker.
 * Files are locked (flock + OFD lock), block devices opened O_EXCL. On failure `reason` holds one
 * sentence for a person, naming the path, the holder where known, and the cure.
 * 0, -ENOENT, -EACCES, -EBUSY, -EINVAL (spec, size), -ENOTSUP (file system), -ENOSPC, -ENOMEM, …
 */
int blk_open(const struct blk_open_args *args, struct blk **ret, char *reason, size_t reason_cap);
/* No I/O in flight, no sg held (asserted). Blocking. Accepts NULL. */
void blk_close(struct blk *b);

const struct blk_info *blk_get_info(const struct blk *b);
enum blk_state blk_get_state(const struct blk *b);
/* Canonical name of the backing object ("file:/srv/a.img", "block:/dev/disk/by-id/…"): equal for
 * equal objects, so that one store isn't served twice. */
const char *blk_get_name(const struct blk *b);

/*
 * Size changes, disappearance and return of the backing object, noticed within about a second and
 * on I/O errors; called on loops[0]. At most one listener. blk_get_info()/state are already new.
 */
void blk_set_events(struct blk *b, void (*event)(void *ctx, enum blk_event ev), void *ctx);

/*
 * What lies beyond isn't needed any more, so that a file that is cut off there isn't taken for damaged: it has a new
 * size then. On loops[0].
 */
void blk_may_shrink(struct blk *b, uint64_t size_bytes);

/*
 * The object is looked at now, not within a second. Its size and state are as they were at this call, or newer,
 * when blk_looks() has reached what is returned; 0: there is no watch, and nothing to wait for. On loops[0].
 */
uint64_t blk_look(struct blk *b);
/* How often it has been looked at. On loops[0]. */
uint64_t blk_looks(const struct blk *b);

/* Space as the watch over the object saw it last, within about a second. */
struct blk_space {
	uint64_t used_bytes; /* allocated for this object */
	uint64_t free_bytes; /* left where it lies, for it and for others there */
};
/* On loops[0]. False: this driver can't tell, or hasn't looked yet. */
bool blk_get_space(const struct blk *b, struct blk_space *ret);

struct blk_stats {
	uint64_t ops[BLK_OP_COUNT], bytes[BLK_OP_COUNT], errors[BLK_OP_COUNT];
	uint64_t in_flight;
};
/* Sum over the loops; each counter is a snapshot. */
void blk_get_stats(const struct blk *b, struct blk_stats *ret);

#endif
