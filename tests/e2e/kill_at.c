/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For tests: preloaded into a program, ends it by SIGKILL just before the n-th of its calls that
 * change files. The file $KILL_AT is shared memory: two numbers, the calls counted so far and the one
 * to end at (0: none), which the test sets and reads while the program runs.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct shared {
	uint64_t count, kill_at;
};

static struct shared *shared;

__attribute__((constructor)) static void
map_shared(void)
{
	const char *path = getenv("KILL_AT");
	int fd = path != NULL ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *p = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	if (p != MAP_FAILED)
		shared = p;
}

static void
count(void)
{
	if (shared == NULL || __atomic_load_n(&shared->kill_at, __ATOMIC_ACQUIRE) == 0)
		return;
	uint64_t n = __atomic_add_fetch(&shared->count, 1, __ATOMIC_ACQ_REL);
	if (n == __atomic_load_n(&shared->kill_at, __ATOMIC_ACQUIRE))
		(void)syscall(SYS_kill, getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* result name(declared arguments): counted, then the C library's own. */
/* clang-format off */
#define COUNTED(result, name, declared, given)                                                     \
	result name declared;                                                                          \
	result name declared                                                                           \
	{                                                                                              \
		count();                                                                                   \
		return REAL(name) given;                                                                   \
	}

COUNTED(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
COUNTED(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
COUNTED(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
COUNTED(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
COUNTED(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t o), (fd, v, n, o))
COUNTED(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t o), (fd, v, n, o))
COUNTED(int, fsync, (int fd), (fd))
COUNTED(int, fdatasync, (int fd), (fd))
COUNTED(int, msync, (void *p, size_t n, int f), (p, n, f))
COUNTED(int, rename, (const char *a, const char *b), (a, b))
COUNTED(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b))
COUNTED(int, renameat2, (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f))
COUNTED(int, unlink, (const char *p), (p))
COUNTED(int, unlinkat, (int d, const char *p, int f), (d, p, f))
COUNTED(int, link, (const char *a, const char *b), (a, b))
COUNTED(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f))
COUNTED(int, mkdir, (const char *p, mode_t m), (p, m))
COUNTED(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m))
COUNTED(int, truncate, (const char *p, off_t n), (p, n))
COUNTED(int, truncate64, (const char *p, off64_t n), (p, n))
COUNTED(int, ftruncate, (int fd, off_t n), (fd, n))
COUNTED(int, ftruncate64, (int fd, off64_t n), (fd, n))
COUNTED(int, fallocate, (int fd, int m, off_t o, off_t n), (fd, m, o, n))
COUNTED(int, fallocate64, (int fd, int m, off64_t o, off64_t n), (fd, m, o, n))
COUNTED(int, fchmod, (int fd, mode_t m), (fd, m))

/* Opening counts where it makes or empties a file. */
#define OPENS(name, declared, given)                                                               \
	int name declared;                                                                             \
	int name declared                                                                              \
	{                                                                                              \
		mode_t mode = 0;                                                                           \
		if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                                                \
			va_list ap;                                                                            \
			va_start(ap, flags);                                                                   \
			mode = va_arg(ap, mode_t);                                                             \
			va_end(ap);                                                                            \
		}                                                                                          \
		if ((flags & (O_CREAT | O_TRUNC)) != 0)                                                    \
			count();                                                                               \
		return REAL(name) given;                                                                   \
	}

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
