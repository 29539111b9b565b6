/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regular files, raw and sparse. Durable by default: O_DIRECT where the file system and the block
 * size allow it, through the page cache otherwise, each write with RWF_DSYNC either way. A file is
 * always used one way: direct and buffered writes to one page could lose each other's neighbours.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"
#include "store/raw_priv.h"
#include "store/refuse.h"

#define PATH_BYTES 4096
#define PAGE_BYTES 4096u

/* ---- locks ------------------------------------------------------------------------------- */

/* Both kinds: flock() keeps out other targets and names its process, OFD locks keep out qemu. */
static int
lock_file(int fd, bool read_only)
{
	struct flock fl = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fcntl(fd, F_OFD_SETLK, &fl) < 0)
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	return 0;
}

/* ---- the watch --------------------------------------------------------------------------- */

static uint64_t
whole_blocks(const struct raw *r, off_t size)
{
	return (uint64_t)size / r->b.info.block_bytes * r->b.info.block_bytes;
}

static void
look_at_space(struct raw_probe *p, const struct stat *own)
{
	struct statvfs fs;
	if (fstatvfs(p->fd, &fs) < 0)
		return;
	p->ret_has_space = true;
	p->ret_space.used_bytes = (uint64_t)own->st_blocks * 512;
	p->ret_space.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
}

static enum raw_verdict
file_check(struct raw_probe *p)
{
	struct stat own, named;
	if (fstat(p->fd, &own) < 0 || own.st_nlink == 0 || stat(p->raw->path, &named) < 0 ||
	    named.st_dev != own.st_dev || named.st_ino != own.st_ino)
		return RAW_LOST;
	look_at_space(p, &own);
	uint64_t size = whole_blocks(p->raw, own.st_size);
	uint64_t least = atomic_load_explicit(&p->raw->may_shrink_to, memory_order_relaxed);
	if (size < p->size_bytes && (least == 0 || size < least))
		return RAW_LOST; /* cut off: what was there is gone */
	if (size == p->size_bytes)
		return RAW_SAME;
	p->ret_size_bytes = size;
	return RAW_SIZE;
}

/* The same file again, at least as large, or another one of just that size. */
static enum raw_verdict
file_reopen(struct raw_probe *p)
{
	const struct raw *r = p->raw;
	struct stat own, named;
	if (stat(r->path, &named) < 0 || !S_ISREG(named.st_mode))
		return RAW_LOST;
	uint64_t size = whole_blocks(r, named.st_size);
	p->ret_size_bytes = size;
	if (p->fd >= 0 && fstat(p->fd, &own) == 0 && own.st_dev == named.st_dev &&
	    own.st_ino == named.st_ino) {
		p->ret_fd = p->fd;
		return size >= p->size_bytes ? RAW_FOUND : RAW_LOST;
	}
	if (size != p->size_bytes)
		return RAW_LOST;
	int fd = open(r->path, r->open_flags);
	if (fd < 0)
		return RAW_LOST;
	if (fstat(fd, &own) < 0 || own.st_ino != named.st_ino || own.st_dev != named.st_dev ||
	    lock_file(fd, r->b.info.caps & BLK_CAP_READ_ONLY) < 0) {
		close(fd);
		return RAW_LOST;
	}
	p->ret_fd = fd;
	return RAW_FOUND;
}

static const struct raw_kind file_kind = {.check = file_check, .reopen = file_reopen};

/* ---- where files may lie ----------------------------------------------------------------- */

static int
check_place(const struct blk_open_args *args, const char *path, const char *dir,
    const struct blk_reason *why)
{
	static const char *const refused[] = {"/dev/", "/proc/", "/sys/", "/run/"};
	if (args->flags & BLK_OPEN_UNSAFE_FS)
		return 0;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		if (strncmp(path, refused[i], strlen(refused[i])) == 0)
			return blk_refuse(why, -EINVAL,
			    "%s: files under %s don't survive a reboot; use a path on a disk", path,
			    refused[i]);
	}
	struct statfs fs;
	if (statfs(dir, &fs) < 0)
		return blk_refuse(why, -errno, "%s: %s", dir, strerror(errno));
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		return blk_refuse(why, -ENOTSUP,
		    "%s is on a file system in memory, which no write survives; use ram: or a path "
		    "on a "
		    "disk",
		    path);
	return 0;
}

static int
refuse_errno(const struct blk_reason *why, int err, const char *path)
{
	if (err == -EACCES || err == -EPERM)
		return blk_refuse(why, -EACCES,
		    "%s: permission denied; give the service's user read and write access", path);
	if (err == -EROFS)
		return blk_refuse(why, err,
		    "%s: its file system is read-only; remount it or open read-only", path);
	if (err == -ETXTBSY)
		return blk_refuse(why, -EBUSY, "%s: in use as swap or running program", path);
	return blk_refuse(why, err, "%s: %s", path, strerror(-err));
}

/* ---- creating ---------------------------------------------------------------------------- */

static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* A new file of the size asked for, durable with its name. */
static int
create_file(const struct blk_open_args *args, const char *path, const char *dir,
    const struct blk_reason *why)
{
	uint32_t bb = args->block_bytes != 0 ? args->block_bytes : 512;
	if (args->size_bytes == 0)
		return blk_refuse(
		    why, -ENOENT, "%s does not exist; give a size to have it created", path);
	if (args->size_bytes % bb != 0)
		return blk_refuse(why, -EINVAL,
		    "%s: size %llu is not a multiple of the block size %u", path,
		    (unsigned long long)args->size_bytes, bb);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return refuse_errno(why, -errno, path);
	int err = 0;
	if (ftruncate(fd, (off_t)args->size_bytes) < 0 || fsync(fd) < 0)
		err = -errno;
	close(fd);
	if (err == 0)
		err = sync_dir(dir);
	if (err == 0)
		return 0;
	unlink(path);
	if (err == -EFBIG || err == -EINVAL)
		return blk_refuse(why, -EINVAL,
		    "%s: its file system can't hold a file of %llu bytes; give a smaller size",
		    path, (unsigned long long)args->size_bytes);
	return refuse_errno(why, err, path);
}

/* Canonical path and its directory; the file itself need not exist. */
static int
resolve(const char *path, char *ret_path, char *ret_dir, const struct blk_reason *why)
{
	char copy[PATH_BYTES];
	if (strlen(path) >= sizeof copy)
		return blk_refuse(
		    why, -ENAMETOOLONG, "the path is longer than %d bytes", PATH_BYTES - 1);
	if (realpath(path, ret_path) != NULL) {
		strcpy(ret_dir, ret_path);
		*(strrchr(ret_dir, '/') + 1) = '\0';
		return 0;
	}
	if (errno != ENOENT)
		return refuse_errno(why, -errno, path);
	strcpy(copy, path);
	char *slash = strrchr(copy, '/');
	const char *base = path + (slash != NULL ? slash + 1 - copy : 0);
	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return blk_refuse(why, -EINVAL, "%s names no file", path);
	if (slash == NULL)
		strcpy(copy, ".");
	else
		slash[slash == copy ? 1 : 0] = '\0';
	if (realpath(copy, ret_dir) == NULL)
		return blk_refuse(
		    why, -ENOENT, "the directory %s does not exist; create it first", copy);
	size_t len = strlen(ret_dir);
	if (len + strlen(base) + 2 > PATH_BYTES)
		return blk_refuse(why, -ENAMETOOLONG, "%s: the path is too long", path);
	if (ret_dir[len - 1] != '/')
		strcpy(ret_dir + len, "/");
	strcpy(ret_path, ret_dir);
	strcat(ret_path, base);
	return 0;
}

/* ---- opening ----------------------------------------------------------------------------- */

/* The C library's struct statx may be older than the kernel's headers: the system call itself. */
static bool
ask_dio(int fd, uint32_t *ret_mem, uint32_t *ret_len)
{
	struct statx sx = {0};
	if (syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */, STATX_DIOALIGN, &sx) < 0 ||
	    !(sx.stx_mask & STATX_DIOALIGN))
		return false;
	*ret_mem = sx.stx_dio_mem_align;
	*ret_len = sx.stx_dio_offset_align;
	return true;
}

/* Opens for direct I/O in blocks of `bb`. -EINVAL: not possible here. */
static int
open_direct(const char *path, int flags, uint32_t bb, uint32_t *ret_mem, uint32_t *ret_len)
{
	int fd = open(path, flags | O_DIRECT);
	if (fd < 0)
		return -errno;
	if (!ask_dio(fd, ret_mem, ret_len)) {
		/* An older kernel: a read tells. */
		void *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
		*ret_mem = PAGE_BYTES;
		*ret_len = page != NULL && pread(fd, page, bb, bb) >= 0 ? bb : 0;
		free(page);
	}
	if (*ret_mem != 0 && *ret_mem <= PAGE_BYTES && *ret_len != 0 && *ret_len <= bb)
		return fd;
	close(fd);
	return -EINVAL;
}

static int
check_size(const struct blk_open_args *args, const char *path, uint64_t have, uint32_t bb,
    const struct blk_reason *why)
{
	char have_text[32], want_text[32];
	if (have == 0)
		return blk_refuse(why, -EINVAL,
		    "%s is empty; grow it with truncate, or remove it and give "
		    "a size to have it created",
		    path);
	if (have % bb != 0)
		return blk_refuse(why, -EINVAL,
		    "%s: its %llu bytes are not a multiple of the block size %u; grow it with "
		    "truncate",
		    path, (unsigned long long)have, bb);
	if (args->size_bytes == 0 || args->size_bytes == have)
		return 0;
	text_format_size(have, have_text, sizeof have_text);
	text_format_size(args->size_bytes, want_text, sizeof want_text);
	return blk_refuse(why, -EINVAL, "%s is %s, %s was asked for; remove the size, or %s", path,
	    have_text, want_text,
	    args->size_bytes > have ? "grow the file with truncate" : "choose another file");
}

/* Fills in what the file is like. `su->fd` is open. */
static int
examine(const struct blk_open_args *args, const char *path, struct raw_setup *su,
    const struct blk_reason *why)
{
	struct stat st;
	uint32_t bb = args->block_bytes != 0 ? args->block_bytes : 512;
	if (fstat(su->fd, &st) < 0)
		return refuse_errno(why, -errno, path);
	if (!S_ISREG(st.st_mode))
		return blk_refuse(why, -EINVAL, "%s is not a regular file", path);
	int err = check_size(args, path, (uint64_t)st.st_size, bb, why);
	if (err < 0)
		return err;
	uint32_t fs_block = bb;
	while (fs_block < (uint64_t)st.st_blksize && fs_block < 65536)
		fs_block *= 2;
	/* Where nothing has to be punched no harm is done, and the answer tells whether it can be. */
	bool read_only = args->flags & BLK_OPEN_READ_ONLY;
	bool sparse = read_only || fallocate(su->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                               (st.st_size + 65535) / 65536 * 65536, 65536) == 0;
	su->info = (struct blk_info){
	    .driver = "file",
	    .size_bytes = (uint64_t)st.st_size,
	    .block_bytes = bb,
	    .physical_bytes = fs_block < PAGE_BYTES ? fs_block : PAGE_BYTES,
	    .unmap_granularity_bytes = sparse ? fs_block : 0,
	    .caps = BLK_CAP_EXTENTS,
	};
	if (sparse)
		su->info.caps |= BLK_CAP_UNMAP | BLK_CAP_UNMAP_ZEROES | BLK_CAP_THIN;
	if (read_only)
		su->info.caps |= BLK_CAP_READ_ONLY;
	if (su->is_volatile)
		su->info.caps |= BLK_CAP_VOLATILE;
	return 0;
}

/* Takes the lock; waits a little for one that nobody holds any more. */
static int
lock_or_refuse(const char *path, int fd, bool read_only, const struct blk_reason *why)
{
	char holder[128];
	struct stat st;
	int err;
	for (unsigned tries = 0; (err = lock_file(fd, read_only)) != 0; tries++) {
		if (err != -EBUSY)
			return blk_refuse(
			    why, err, "%s: can't be locked: %s", path, strerror(-err));
		bool known = fstat(fd, &st) == 0;
		if (known && refuse_file_holder("", st.st_dev, st.st_ino, holder, sizeof holder))
			return blk_refuse(why, err,
			    "%s is in use by %s; stop it or choose another file", path, holder);
		if (known && refuse_own_count(st.st_dev, st.st_ino, 0) > 1)
			return blk_refuse(why, err,
			    "%s is another store here already; choose another file", path);
		if (tries == REFUSE_TRIES)
			return blk_refuse(why, err,
			    "%s is locked by another user of it; stop that or choose another file",
			    path);
		(void)usleep(REFUSE_RETRY_US);
	}
	return 0;
}

/* Opens an existing file in the way the flags and the file system allow. */
static int
open_existing(const struct blk_open_args *args, const char *path, struct raw_setup *su,
    const struct blk_reason *why)
{
	uint32_t bb = args->block_bytes != 0 ? args->block_bytes : 512;
	bool read_only = args->flags & BLK_OPEN_READ_ONLY;
	su->is_volatile = args->flags & BLK_OPEN_VOLATILE;
	su->open_flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
	su->fd = -EINVAL;
	if (!su->is_volatile) {
		su->fd = open_direct(path, su->open_flags, bb, &su->mem_align, &su->len_align);
		su->is_direct = su->fd >= 0;
	}
	if (su->is_direct)
		su->open_flags |= O_DIRECT;
	else if (su->fd == -EINVAL && (su->fd = open(path, su->open_flags)) < 0)
		su->fd = -errno;
	if (su->fd < 0)
		return refuse_errno(why, su->fd, path);
	int err = lock_or_refuse(path, su->fd, read_only, why);
	if (err == 0)
		err = examine(args, path, su, why);
	if (err < 0)
		close(su->fd);
	return err;
}

int
file_open(const struct blk_open_args *args, const char *rest, struct blk **ret,
    const struct blk_reason *why)
{
	char path[PATH_BYTES], dir[PATH_BYTES], use[128], name[PATH_BYTES + 8];
	struct raw_setup su = {.kind = &file_kind, .path = path, .name = name};
	struct stat st;
	if (rest[0] == '\0')
		return blk_refuse(why, -EINVAL, "file: needs a path");
	int err = resolve(rest, path, dir, why);
	if (err < 0)
		return err;
	bool exists = stat(path, &st) == 0;
	if (exists && !S_ISREG(st.st_mode))
		return blk_refuse(why, -EINVAL, "%s is %s; give a file or a block device", path,
		    S_ISDIR(st.st_mode)   ? "a directory"
		    : S_ISBLK(st.st_mode) ? "a block device (block:)"
		                          : "not a regular file");
	err = check_place(args, path, dir, why);
	if (err == 0 && !exists) {
		if (!(args->flags & BLK_OPEN_CREATE)) {
			bool near = refuse_nearest(path, use, sizeof use);
			return blk_refuse(why, -ENOENT, "%s does not exist%s%s%s", path,
			    near ? "; did you mean " : "; create it, or give a size",
			    near ? use : "", near ? "?" : "");
		}
		err = create_file(args, path, dir, why);
	}
	if (err < 0)
		return err;
	if (refuse_file_use("", path, use, sizeof use))
		return blk_refuse(
		    why, -EBUSY, "%s is in use as %s; release it there first", path, use);
	err = open_existing(args, path, &su, why);
	if (err < 0)
		return err;
	snprintf(name, sizeof name, "file:%s", path);
	err = raw_create(&su, args, ret);
	if (err < 0) {
		close(su.fd);
		return blk_refuse(why, err, "%s: out of memory", path);
	}
	return 0;
}
