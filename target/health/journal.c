/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines that outlive the process, bounded: NAME and NAME.1, each at most max_bytes; a full NAME
 * replaces NAME.1. Lines wait in memory, the loop's worker appends them by batches and syncs.
 *
 * INV-1 A batch is on disk whole or cut away again; what a crash tears is the end of the file, and
 *       the next writer begins a new line after it.
 * INV-2 While the worker has the batch (busy), fd and batch are its own and nothing else is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "health/health_priv.h"

/* ---- on the worker ------------------------------------------------------------------------------ */

static int
write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Ends the line that a crash has torn. */
static int
mend_end(int fd, off_t size)
{
	char last;
	if (size == 0)
		return 0;
	if (pread(fd, &last, 1, size - 1) != 1)
		return -EIO;
	return last == '\n' ? 0 : write_all(fd, "\n", 1);
}

static int
open_file(struct journal *j)
{
	struct stat st;
	int rc = 0;

	/* NONBLOCK: something that isn't a file mustn't hold the worker up */
	int fd =
	    open(j->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	else
		rc = mend_end(fd, st.st_size);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	j->fd = fd;
	return 0;
}

/* The file to append `len` bytes to: there, not removed by somebody, with room. */
static int
make_ready(struct journal *j, size_t len, off_t *ret_size)
{
	struct stat st;

	if (j->fd >= 0 && (fstat(j->fd, &st) < 0 || st.st_nlink == 0)) {
		close(j->fd);
		j->fd = -1;
	}
	for (;;) {
		int rc = j->fd >= 0 ? 0 : open_file(j);
		if (rc == 0 && fstat(j->fd, &st) < 0)
			rc = -errno;
		if (rc < 0)
			return rc;
		if (st.st_size == 0 || (uint64_t)st.st_size + len <= j->max_bytes)
			break;
		if (rename(j->path, j->old_path) < 0)
			return -errno;
		close(j->fd);
		j->fd = -1;
	}
	*ret_size = st.st_size;
	return 0;
}

static int
write_batch(struct journal *j)
{
	off_t size;
	int rc = make_ready(j, j->batch_len, &size);
	if (rc < 0)
		return rc;
	rc = write_all(j->fd, j->batch, j->batch_len);
	if (rc == 0 && fdatasync(j->fd) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)!ftruncate(j->fd, size); /* INV-1; else the torn line is skipped when read */
		close(j->fd);
		j->fd = -1;
	}
	return rc;
}

static int
work(struct loop_job *job)
{
	return write_batch(container_of(job, struct journal, job));
}

/* ---- on the loop --------------------------------------------------------------------------------- */

static void
start_batch(struct journal *j)
{
	if (j->busy || j->stopping || loop_timer_armed(&j->retry))
		return;
	if (j->batch == NULL) {
		if (j->pending_len == 0)
			return;
		j->batch = j->pending;
		j->batch_len = j->pending_len;
		j->pending = NULL;
		j->pending_len = j->pending_cap = 0;
	}
	j->busy = true;
	loop_job_submit(j->loop, &j->job);
}

static void
work_done(struct loop_job *job, int rc)
{
	struct journal *j = container_of(job, struct journal, job);

	ASSERT(j->busy);
	j->busy = false;
	if (rc == 0) {
		free(j->batch);
		j->batch = NULL;
		j->batch_len = 0;
	} else if (!j->stopping) {
		loop_timer_set(&j->retry, JOURNAL_RETRY_MS * 1000000ull);
	}
	uint64_t dropped = j->dropped;
	if (rc == 0)
		j->dropped = 0;
	j->result(j, rc, dropped); /* may append */
	if (j->stopping)
		j->idle(j);
	else
		start_batch(j);
}

static void
on_retry(struct loop_timer *t)
{
	start_batch(container_of(t, struct journal, retry));
}

/* Not from within append: nothing goes to the worker before the loop runs. */
static void
on_kick(struct loop_defer *d)
{
	start_batch(container_of(d, struct journal, kick));
}

int
journal_init(
    struct journal *j, struct loop *l, const char *dir, const char *name, uint64_t max_bytes)
{
	*j = (struct journal){
	    .loop = l,
	    .max_bytes = max_bytes,
	    .fd = -1,
	    .job = {.loop = l, .work = work, .done = work_done},
	};
	loop_defer_init(&j->kick, on_kick);
	loop_timer_init(&j->retry, l, on_retry);
	if (dir == NULL)
		return 0;
	if (asprintf(&j->path, "%s/%s", dir, name) < 0)
		j->path = NULL;
	if (asprintf(&j->old_path, "%s/%s.1", dir, name) < 0)
		j->old_path = NULL;
	if (j->path != NULL && j->old_path != NULL)
		return 0;
	free(j->path);
	free(j->old_path);
	j->path = j->old_path = NULL;
	return -ENOMEM;
}

void
journal_fini(struct journal *j)
{
	ASSERT(!j->busy);
	if (j->path != NULL) {
		bool ok = j->batch == NULL || write_batch(j) == 0;
		free(j->batch);
		j->batch = j->pending;
		j->batch_len = j->pending_len;
		j->pending = NULL;
		if (ok && j->batch_len > 0)
			(void)write_batch(j);
	}
	if (j->fd >= 0)
		close(j->fd);
	free(j->batch);
	free(j->pending);
	free(j->path);
	free(j->old_path);
}

static bool
make_room(struct journal *j, size_t more)
{
	size_t need = j->pending_len + more;
	if (need > JOURNAL_PENDING_MAX)
		return false;
	if (need <= j->pending_cap)
		return true;
	size_t cap = j->pending_cap == 0 ? 4096 : j->pending_cap;
	while (cap < need)
		cap *= 2;
	char *p = realloc(j->pending, cap);
	if (p == NULL)
		return false;
	j->pending = p;
	j->pending_cap = cap;
	return true;
}

void
journal_append(struct journal *j, const char *line, size_t len)
{
	if (j->path == NULL)
		return;
	if (len >= JOURNAL_LINE_MAX || !make_room(j, len + 1)) {
		j->dropped++;
		return;
	}
	memcpy(j->pending + j->pending_len, line, len);
	j->pending[j->pending_len + len] = '\n';
	j->pending_len += len + 1;
	if (!j->busy && !j->stopping && !loop_defer_queued(&j->kick))
		loop_defer(j->loop, &j->kick);
}

void
journal_stop(struct journal *j)
{
	j->stopping = true;
	loop_timer_cancel(&j->retry);
	loop_defer_cancel(&j->kick);
	if (!j->busy)
		j->idle(j);
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* data[len] is writable. A last line without end is given too: it may be whole all the same. */
static void
each_line(
    char *data, size_t len, bool whole, void (*line)(void *ctx, char *line, size_t len), void *ctx)
{
	char *p = data, *end = data + len;

	while (p < end) {
		char *stop = memchr(p, '\n', (size_t)(end - p));
		if (stop == NULL)
			stop = end;
		*stop = '\0';
		if (whole && (size_t)(stop - p) < JOURNAL_LINE_MAX)
			line(ctx, p, (size_t)(stop - p));
		whole = true; /* the first one may have begun before what was read */
		p = stop + 1;
	}
}

static int
read_file(const char *path, uint64_t max_bytes, void (*line)(void *ctx, char *line, size_t len),
    void *ctx)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	uint64_t size = (uint64_t)st.st_size;
	uint64_t from = size > max_bytes ? size - max_bytes : 0;
	size_t want = (size_t)(size - from), got = 0;
	char *data = malloc(want + 1);
	if (data == NULL)
		rc = -ENOMEM;
	while (rc == 0 && got < want) {
		ssize_t n = pread(fd, data + got, want - got, (off_t)(from + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = -errno;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	if (data != NULL)
		each_line(data, got, from == 0, line, ctx);
	free(data);
	return rc;
}

int
journal_read(struct journal *j, void (*line)(void *ctx, char *line, size_t len), void *ctx)
{
	if (j->path == NULL)
		return 0;
	int old = read_file(j->old_path, j->max_bytes, line, ctx);
	int rc = read_file(j->path, j->max_bytes, line, ctx);
	return old < 0 ? old : rc;
}
