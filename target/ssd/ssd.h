/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SSD of a cache, before it is one: a path or a device as blk_open() takes it. Is what is there a cache,
 * empty, or somebody's; may a durable write be durable there? A file that isn't there is made, and filled with
 * zeros. Knows no configuration and no daemon; it opens nothing for good. Everything blocks.
 */
#ifndef SSD_SSD_H
#define SSD_SSD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the kernel says of the place where a file lies: for a test, which can't mount each file system. */
struct ssd_place {
	long fs_type;          /* statfs(2); 0: as it is */
	const char *mountinfo; /* a file like /proc/self/mountinfo; NULL: that */
};

struct ssd_args {
	const char
	    *spec; /* "file:PATH", "block:PATH", "lvm:VG/LV", PATH; "fault:…": a test's store */
	const char *name;    /* of the cache, for messages; NULL: none yet */
	uint64_t size_bytes; /* of a file that is to be made; 0: it must be there */
	bool unsafe_fs;      /* also where nothing can be durable: a test */
	bool force;          /* whatever is there may be overwritten: it isn't looked at */
	const struct ssd_place *place; /* NULL: the kernel is asked */
};

struct ssd_found {
	bool created; /* its file was made by this call */
	bool is_new;  /* there is no cache on it: it has to be formatted */
};

/*
 * 0 or -errno with a sentence: what is there is no cache and isn't empty, can't be durable, has holes, …;
 * -EINTR: a signal to end came while it was filled. Nothing that was there is overwritten, and a file that
 * was made is removed again, on failure.
 */
int ssd_examine(const struct ssd_args *args, struct ssd_found *ret, char *reason, size_t cap);
/*
 * A cache's file becomes larger: zeros from `from_bytes` on, durable, up to `most` of them; what is there already is
 * written over. `whole`: the size that it is to have in the end, for which there must be room. Returns bytes, or
 * -errno: -ENOSPC before anything was written.
 */
int64_t ssd_extend(const char *path, uint64_t from_bytes, uint64_t most, uint64_t whole);
/* …or smaller. 0 or -errno. */
int ssd_cut(const char *path, uint64_t size_bytes);
/* Whether the spec is of a file, which can be made larger and smaller here. */
bool ssd_is_file(const char *spec);
/*
 * What the kernel says a device has, at once: whoever opened it may see only later that it has grown. 0: it isn't one,
 * or it can't be told. Doesn't wait for the device.
 */
uint64_t ssd_device_bytes(const char *spec);
/* The file or device of a spec, perhaps in `buf`; NULL: a test's store. */
const char *ssd_path(const char *spec, char *buf, size_t cap);

#endif
