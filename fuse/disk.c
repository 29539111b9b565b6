/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of LUNs: requests cut into pieces, each a command of a connection to the NBD socket, several
 * under way at once. Connections are made when they are needed, few in all, and closed when nobody has
 * used them for a while. One that breaks is made again: what only looked is done again, what wrote fails,
 * because nobody knows how far it came.
 *
 * libnbd calls back inside its functions, where it must not be called again: completions are put into a
 * list there and looked at afterwards.
 */
#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/assert.h"
#include "fuse/terrace_fuse.h"

#define CONNS_MAX 12u /* the daemon has 16 places per loop for all its clients */
#define CONNS_PER_DISK_MAX 2u
#define CONN_DEPTH_MAX 16u
#define CONN_IDLE_MS 3000u
#define PIECE_BYTES (256u * 1024u)
#define SECOND_CONN_BYTES PIECE_BYTES /* a read beyond it is worth two connections */
#define BUFFERS_MAX 32u
#define SCAN_BYTES (1u << 30) /* of a LUN, asked for holes at once */
#define TICK_MS 100u
#define SLOW_TICK_MS 1000u
#define PING_AFTER_MS 1000u /* of silence */
#define PING_TIMEOUT_MS 2500u

enum conn_state { CONNECTING, READY, BROKEN };

struct conn {
	struct list link;
	struct disk *disk;
	struct nbd_handle *nbd;
	struct watch watch;
	enum conn_state state;
	bool stale; /* of another size: no new commands */
	bool read_only, multi, can_flush, can_tell_holes;
	uint64_t size;
	uint32_t block_bytes;
	uint64_t used_ms;
	struct list pieces; /* under way */
	unsigned in_flight;
};

struct piece {
	struct list link;
	struct conn *conn;
	struct disk_io *io;
	uint64_t offset;
	uint32_t len;
	int err; /* of the answer */
};

struct disk {
	struct list link;
	struct disks *disks;
	char *name, *uuid;
	unsigned users;
	bool gone, not_served, none_listed;
	uint64_t retry_ms; /* no connection is made before */
	uint64_t moved_ms; /* when something was answered last */
	uint64_t size;     /* as lun.list says; UINT64_MAX: not yet */
	struct list conns;
	unsigned conn_count;
	struct list waiting;    /* struct disk_io: not issued */
	struct list refreshing; /* asking whether it has grown */
	struct list issued;
	struct gather gather; /* for `refreshing` and after failures */
	bool is_gathering;
	int daemon_err; /* of the last gathering */
};

struct buffer {
	struct list link;
	uint8_t data[DISK_IO_MAX_BYTES] __attribute__((aligned(4096)));
};

struct disks {
	struct events *ev;
	struct source *source;
	struct rpc *rpc;
	char *path;
	struct list disks;
	unsigned conn_count;
	struct list free_buffers;
	unsigned buffer_count;
	struct list done;  /* struct piece: answered, not looked at */
	struct list ended; /* struct disk_io: done() is to be called */
	bool is_settling;
	struct timer tick;
	struct rpc_call ping;
	bool is_pinging;
};

static void pump(struct disk *k);
static void refresh(struct disk *k);
static void settle(struct disks *d);
static void failed(struct disk *k);
static void conn_step(struct conn *c);

/* ---- buffers ---------------------------------------------------------------------------------------- */

static uint8_t *
buffer_get(struct disks *d)
{
	struct list *n = list_pop_front(&d->free_buffers);
	if (n != NULL)
		return container_of(n, struct buffer, link)->data;
	struct buffer *b = NULL;
	if (d->buffer_count == BUFFERS_MAX || posix_memalign((void **)&b, 4096, sizeof *b) != 0)
		return NULL;
	list_init(&b->link);
	d->buffer_count++;
	return b->data;
}

static void
buffer_put(struct disks *d, uint8_t *data)
{
	list_push_front(&d->free_buffers, &container_of(data, struct buffer, data)->link);
}

static void
free_buffers(struct disks *d)
{
	struct list *n;
	while ((n = list_pop_front(&d->free_buffers)) != NULL) {
		free(container_of(n, struct buffer, link));
		d->buffer_count--;
	}
}

/* ---- ends ------------------------------------------------------------------------------------------- */

static void
io_end(struct disk_io *io, int err)
{
	ASSERT(io->pieces == 0);
	io->err = err;
	list_remove(&io->link);
	list_push_back(&io->disk->disks->ended, &io->link);
}

/* No piece is under way any more. */
static void
io_settle(struct disk_io *io)
{
	struct disk *k = io->disk;
	bool looks = io->op != DISK_WRITE && io->op != DISK_FLUSH;

	if (io->err == -ECONNRESET && looks) { /* again, from the beginning */
		io->err = 0;
		io->is_issued = false;
		io->deadline_ms = k->disks->ev->now_ms + ANSWER_TIMEOUT_MS;
		list_remove(&io->link);
		list_push_back(&k->waiting, &io->link);
		return;
	}
	io_end(io, io->err == -ECONNRESET ? -EIO : io->err);
}

static void
piece_end(struct piece *p)
{
	struct disk_io *io = p->io;
	struct conn *c = p->conn;

	list_remove(&p->link);
	ASSERT(c->in_flight > 0 && io->pieces > 0);
	c->in_flight--;
	c->used_ms = c->disk->disks->ev->now_ms;
	if (p->err != 0 && (io->err == 0 || io->err == -ECONNRESET))
		io->err = p->err;
	if (p->err != -ECONNRESET)
		c->disk->moved_ms = c->used_ms;
	free(p);
	if (--io->pieces > 0)
		return;
	bool is_scan = io->op == DISK_SEEK_DATA || io->op == DISK_SEEK_HOLE;
	if (is_scan && io->err == 0 && io->at == UINT64_MAX) {
		list_remove(&io->link); /* further on */
		list_push_front(&io->disk->waiting, &io->link);
		return;
	}
	io_settle(io);
}

static void
drain(struct disks *d)
{
	struct list *n;
	while ((n = list_pop_front(&d->done)) != NULL)
		piece_end(container_of(n, struct piece, link));
}

static void
conn_close(struct conn *c)
{
	struct disk *k = c->disk;

	(void)events_watch(k->disks->ev, &c->watch, 0);
	nbd_close(c->nbd); /* its callbacks may still run in here */
	drain(k->disks);
	while (!list_empty(&c->pieces)) {
		struct piece *p = container_of(c->pieces.next, struct piece, link);
		p->err = -ECONNRESET;
		piece_end(p);
	}
	list_remove(&c->link);
	k->conn_count--;
	k->disks->conn_count--;
	free(c);
}

/* ---- connections ---------------------------------------------------------------------------------- */

static void
on_socket(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	struct disks *d = c->disk->disks;
	unsigned direction = nbd_aio_get_direction(c->nbd);
	bool in = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;

	if (in && (direction & LIBNBD_AIO_DIRECTION_READ))
		nbd_aio_notify_read(c->nbd);
	else if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) &&
	         (direction & LIBNBD_AIO_DIRECTION_WRITE))
		nbd_aio_notify_write(c->nbd);
	conn_step(c);
	settle(d);
}

static void
conn_ready(struct conn *c)
{
	int64_t size = nbd_get_size(c->nbd),
	        block = nbd_get_block_size(c->nbd, LIBNBD_SIZE_MINIMUM);

	c->state = size >= 0 ? READY : BROKEN;
	c->size = size >= 0 ? (uint64_t)size : 0;
	c->block_bytes = block > 0 ? (uint32_t)block : 1;
	c->read_only = nbd_is_read_only(c->nbd) != 0;
	c->multi = nbd_can_multi_conn(c->nbd) == 1;
	c->can_flush = nbd_can_flush(c->nbd) == 1;
	c->can_tell_holes = nbd_can_meta_context(c->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
	if (c->disk->size == UINT64_MAX)
		c->disk->size = c->size;
}

/* What it waits for next; it may have become ready, or broken. */
static void
conn_step(struct conn *c)
{
	if (c->state == CONNECTING && nbd_aio_is_ready(c->nbd) == 1)
		conn_ready(c);
	if (nbd_aio_is_dead(c->nbd) == 1 || nbd_aio_is_closed(c->nbd) == 1)
		c->state = BROKEN;
	if (c->state == BROKEN) {
		(void)events_watch(c->disk->disks->ev, &c->watch, 0);
		return; /* settle() closes it */
	}
	unsigned direction = nbd_aio_get_direction(c->nbd);
	uint32_t mask = (direction & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0) |
	                (direction & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0);
	if (c->watch.fd < 0)
		c->watch.fd = nbd_aio_get_fd(c->nbd);
	if (c->watch.fd < 0 || events_watch(c->disk->disks->ev, &c->watch, mask) < 0)
		c->state = BROKEN;
}

static struct conn *
conn_create(struct disk *k)
{
	struct disks *d = k->disks;
	struct conn *c = calloc(1, sizeof *c);

	if (c == NULL || (c->nbd = nbd_create()) == NULL) {
		free(c);
		return NULL;
	}
	c->disk = k;
	c->watch = (struct watch){.fd = -1, .fire = on_socket};
	c->used_ms = d->ev->now_ms;
	list_init(&c->pieces);
	list_init(&c->link);
	/* The daemon checks what is asked of it, and every byte of a buffer comes from it. */
	if (nbd_set_export_name(c->nbd, k->name) < 0 ||
	    nbd_add_meta_context(c->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_set_pread_initialize(c->nbd, false) < 0 || nbd_set_strict_mode(c->nbd, 0) < 0 ||
	    nbd_aio_connect_unix(c->nbd, d->path) < 0) {
		nbd_close(c->nbd);
		free(c);
		return NULL;
	}
	list_push_back(&k->conns, &c->link);
	k->conn_count++;
	d->conn_count++;
	conn_step(c);
	return c;
}

/* Makes place for another one: the idle one that was used longest ago. */
static bool
evict(struct disks *d)
{
	struct conn *oldest = NULL;

	LIST_FOREACH (n, &d->disks) {
		struct disk *k = container_of(n, struct disk, link);
		LIST_FOREACH (m, &k->conns) {
			struct conn *c = container_of(m, struct conn, link);
			if (c->in_flight == 0 && c->state != CONNECTING &&
			    list_empty(&k->waiting) &&
			    (oldest == NULL || c->used_ms < oldest->used_ms))
				oldest = c;
		}
	}
	if (oldest == NULL)
		return false;
	conn_close(oldest);
	return true;
}

static void
connect_disk(struct disk *k)
{
	struct disks *d = k->disks;
	if (d->ev->now_ms < k->retry_ms || (d->conn_count >= CONNS_MAX && !evict(d)))
		return; /* the tick tries again */
	if (conn_create(k) == NULL)
		failed(k);
}

/* ---- commands ---------------------------------------------------------------------------------------- */

/* Inside a function of libnbd. */
static int
on_complete(void *ctx, int *error)
{
	struct piece *p = ctx;
	if (*error != 0 && p->err == 0)
		p->err = *error == ENOTCONN || *error == ESHUTDOWN ? -ECONNRESET : -*error;
	list_remove(&p->link);
	list_push_back(&p->conn->disk->disks->done, &p->link);
	return 1; /* retired */
}

static int
on_extents(
    void *ctx, const char *context, uint64_t offset, uint32_t *entries, size_t count, int *error)
{
	struct disk_io *io = ((struct piece *)ctx)->io;
	(void)error;

	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || offset != io->scan_at)
		return 0;
	for (size_t i = 0; i + 1 < count && io->at == UINT64_MAX; i += 2) {
		/* What isn't there, but doesn't read as zeros, is no hole of a file. */
		bool hole =
		    (entries[i + 1] & LIBNBD_STATE_HOLE) && (entries[i + 1] & LIBNBD_STATE_ZERO);
		if (hole == (io->op == DISK_SEEK_HOLE))
			io->at = io->scan_at;
		else
			io->scan_at += entries[i];
	}
	return 0;
}

static int64_t
command(struct conn *c, struct piece *p)
{
	struct disk_io *io = p->io;
	const nbd_completion_callback done = {.callback = on_complete, .user_data = p};
	uint8_t *data = io->data != NULL ? io->data + (p->offset - io->offset) : NULL;

	switch (io->op) {
	case DISK_READ:
		return nbd_aio_pread(c->nbd, data, p->len, p->offset, done, 0);
	case DISK_WRITE:
		return nbd_aio_pwrite(c->nbd, data, p->len, p->offset, done, 0);
	case DISK_FLUSH:
		return nbd_aio_flush(c->nbd, done, 0);
	case DISK_SEEK_DATA:
	case DISK_SEEK_HOLE:
		break;
	}
	const nbd_extent_callback extents = {.callback = on_extents, .user_data = p};
	return nbd_aio_block_status(c->nbd, p->len, p->offset, extents, done, 0);
}

/* The part of a request. */
static void
issue_piece(struct conn *c, struct disk_io *io, uint64_t offset, uint32_t len)
{
	struct piece *p = calloc(1, sizeof *p);

	if (p == NULL) {
		io->err = -ENOMEM;
		return;
	}
	*p = (struct piece){.conn = c, .io = io, .offset = offset, .len = len};
	list_init(&p->link);
	list_push_back(&c->pieces, &p->link);
	c->in_flight++;
	io->pieces++;
	if (command(c, p) < 0 && p->err == 0) {
		int err = nbd_get_errno();
		p->err = c->state != READY || nbd_aio_is_ready(c->nbd) != 1 || err == 0
		             ? -ECONNRESET
		             : -err;
		list_remove(&p->link);
		list_push_back(&c->disk->disks->done, &p->link);
	}
	conn_step(c);
}

/* A connection for a command: the one with the least to do. NULL: all have enough. */
static struct conn *
pick(const struct disk *k)
{
	struct conn *best = NULL;
	LIST_FOREACH (n, &k->conns) {
		struct conn *c = container_of(n, struct conn, link);
		if (c->state == READY && !c->stale && c->in_flight < CONN_DEPTH_MAX &&
		    (best == NULL || c->in_flight < best->in_flight))
			best = c;
	}
	return best;
}

static void
issue_data(struct disk *k, struct disk_io *io, uint32_t len)
{
	for (uint32_t at = 0; at < len && io->err == 0;) {
		uint32_t part = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
		struct conn *c = pick(k);
		if (c ==
		    NULL) { /* one has broken, or they have enough: the rest isn't waited for */
			io->err = -ECONNRESET;
			break;
		}
		issue_piece(c, io, io->offset + at, part);
		at += part;
	}
	io->at = len;
}

/* What can't be done on an export as it is: 0, or an error. */
static int
check_write(const struct conn *c, const struct disk_io *io)
{
	if (c->read_only)
		return -EROFS;
	if (io->op == DISK_WRITE && (io->offset | io->len) % c->block_bytes != 0)
		return -EINVAL;
	return 0;
}

/* True: it was taken out of the waiting ones. */
static bool
issue(struct disk *k, struct disk_io *io, struct conn *c)
{
	uint64_t left = io->offset < c->size ? c->size - io->offset : 0;
	int err = io->op == DISK_WRITE ? check_write(c, io) : 0;

	if (io->op == DISK_READ && io->data == NULL && (io->data = buffer_get(k->disks)) == NULL)
		return false;
	list_remove(&io->link);
	list_push_back(&k->issued, &io->link);
	io->is_issued = true;
	io->since_ms = k->disks->ev->now_ms;
	uint32_t len = left < io->len ? (uint32_t)left : io->len;
	if (err == 0 && io->op == DISK_WRITE && len < io->len)
		err = -ENOSPC;
	if (err < 0) {
		io_end(io, err);
	} else if (io->op == DISK_READ || io->op == DISK_WRITE) {
		issue_data(k, io, len);
	} else if (io->op == DISK_FLUSH) {
		if (c->can_flush)
			issue_piece(c, io, 0, 0);
	} else if (io->offset >= c->size) {
		io->err = -ENXIO;
	} else if (!c->can_tell_holes || io->scan_at >= c->size) {
		io->at = io->op == DISK_SEEK_DATA ? io->offset : c->size;
		if (c->can_tell_holes && io->op == DISK_SEEK_DATA)
			io->err = -ENXIO;
	} else {
		uint64_t rest = c->size - io->scan_at;
		issue_piece(
		    c, io, io->scan_at, rest < SCAN_BYTES ? (uint32_t)rest : (uint32_t)SCAN_BYTES);
	}
	if (io->pieces == 0 && err == 0)
		io_settle(io);
	return true;
}

/* ---- what the daemon says of the LUN ------------------------------------------------------------------ */

static void
disk_note(struct disk *k, json_t *luns)
{
	const json_t *row = json_find(luns, "name", k->name);
	const char *uuid = json_text(row, "uuid");

	/* A daemon that ends has none either, and is perhaps there again soon. */
	k->none_listed = json_array_size(luns) == 0;
	if (k->none_listed)
		return;
	/* A LUN whose store isn't open has no identity yet. */
	k->gone = row == NULL || (uuid[0] != '\0' && strcmp(uuid, k->uuid) != 0);
	k->not_served = json_text(row, "why")[0] != '\0';
	if (row == NULL || k->gone || k->not_served)
		return;
	k->size = (uint64_t)json_number(row, "size_bytes", (json_int_t)k->size);
	bool read_only = !json_is_true(json_object_get(row, "nbd_writable"));
	LIST_FOREACH (n, &k->conns) {
		struct conn *c = container_of(n, struct conn, link);
		if (c->state == READY && (c->size != k->size || c->read_only != read_only))
			c->stale = true;
	}
}

static void
on_gathered(struct gather *g)
{
	struct disk *k = container_of(g, struct disk, gather);
	struct disks *d = k->disks;

	k->is_gathering = false;
	k->daemon_err = g->err;
	if (g->err == 0)
		disks_note(d, g->parts[0].answer);
	list_splice_back(&k->waiting, &k->refreshing);
	pump(k);
	settle(d);
}

static void
refresh(struct disk *k)
{
	if (k->is_gathering)
		return;
	k->is_gathering = true;
	gather_init(&k->gather, on_gathered);
	struct gather_need need = {.method = "lun.list", .params = json_pack("{s:b}", "stats", 0)};
	gather_start(&k->gather, k->disks->source, &need, 1);
}

void
disks_note(struct disks *d, json_t *luns)
{
	LIST_FOREACH (n, &d->disks)
		disk_note(container_of(n, struct disk, link), luns);
}

/* ---- the turn of a disk ------------------------------------------------------------------------------- */

static void
fail_waiting(struct disk *k, int err)
{
	while (!list_empty(&k->waiting))
		io_end(container_of(k->waiting.next, struct disk_io, link), err);
}

static bool
wants_second(const struct disk *k, const struct conn *c, const struct disk_io *io)
{
	return c->multi && k->conn_count < CONNS_PER_DISK_MAX &&
	       (io->len > SECOND_CONN_BYTES || c->in_flight > 1) &&
	       k->disks->conn_count < CONNS_MAX;
}

/* Data beyond the end may be there now: whoever reads on at the end learns it. */
static bool
must_refresh(const struct conn *c, const struct disk_io *io)
{
	return (io->op == DISK_READ || io->op == DISK_WRITE) && !io->refreshed &&
	       (io->offset > c->size || io->len > c->size - io->offset);
}

static void
pump(struct disk *k)
{
	struct disks *d = k->disks;

	if (list_empty(&k->waiting))
		return;
	if (k->gone || k->not_served || d->path == NULL) {
		fail_waiting(k, d->path == NULL ? -EOPNOTSUPP : -ENODEV);
		return;
	}
	while (!list_empty(&k->waiting)) {
		struct disk_io *io = container_of(k->waiting.next, struct disk_io, link);
		struct conn *c = pick(k);
		if (c == NULL)
			break;
		if (must_refresh(c, io)) {
			io->refreshed = true;
			list_remove(&io->link);
			list_push_back(&k->refreshing, &io->link);
			refresh(k);
			continue;
		}
		if (wants_second(k, c, io))
			(void)conn_create(k);
		if (!issue(k, io, c))
			break;
	}
	if (list_empty(&k->waiting))
		return;
	unsigned usable = 0;
	LIST_FOREACH (n, &k->conns)
		usable += !container_of(n, struct conn, link)->stale;
	if (usable == 0)
		connect_disk(k);
}

/* A connection couldn't be made, or broke. Why? The tick tries again. */
static void
failed(struct disk *k)
{
	k->retry_ms = k->disks->ev->now_ms + RETRY_MS;
	refresh(k);
}

/* Everything that has ended meanwhile. */
static void
settle(struct disks *d)
{
	struct list *n;

	if (d->is_settling)
		return;
	d->is_settling = true;
	for (bool again = true; again;) {
		again = false;
		drain(d);
		LIST_FOREACH (m, &d->disks) {
			struct disk *k = container_of(m, struct disk, link);
			bool broke = false;
			LIST_FOREACH_SAFE (l, &k->conns) {
				struct conn *c = container_of(l, struct conn, link);
				if (c->state != BROKEN && !(c->stale && c->in_flight == 0))
					continue;
				broke |= c->state == BROKEN;
				conn_close(c);
			}
			if (broke)
				failed(k);
			pump(k);
		}
		while ((n = list_pop_front(&d->ended)) != NULL) {
			struct disk_io *io = container_of(n, struct disk_io, link);
			uint8_t *buffer = io->op == DISK_READ ? io->data : NULL;
			io->done(io); /* it may be gone now */
			if (buffer != NULL)
				buffer_put(d, buffer);
			again = true;
		}
		again |= !list_empty(&d->done);
	}
	d->is_settling = false;
}

/* ---- time --------------------------------------------------------------------------------------------- */

void
disks_break(struct disks *d, int err)
{
	LIST_FOREACH (n, &d->disks) {
		struct disk *k = container_of(n, struct disk, link);
		list_splice_back(&k->waiting, &k->refreshing);
		fail_waiting(k, err);
		LIST_FOREACH (m, &k->issued)
			container_of(m, struct disk_io, link)->err = err;
		LIST_FOREACH (m, &k->conns)
			container_of(m, struct conn, link)->state = BROKEN;
	}
	settle(d);
}

static void
on_ping(struct rpc_call *c)
{
	struct disks *d = container_of(c, struct disks, ping);
	d->is_pinging = false;
	if (c->err == -ETIMEDOUT || c->err == -EHOSTDOWN)
		disks_break(d, c->err);
}

/* A store may be slow; a daemon that doesn't even say its version isn't there. */
static void
watch_over(struct disks *d, bool silent)
{
	if (!silent || d->is_pinging)
		return;
	d->is_pinging = true;
	d->ping.done = on_ping;
	rpc_submit(d->rpc, &d->ping, "version", NULL, PING_TIMEOUT_MS);
}

/*
 * What waits for a place behind others isn't given up as long as those are answered: what a store, or the rate
 * for inspection, lets through may be little.
 */
static void
expire(struct disk *k, uint64_t now)
{
	bool moves = now - k->moved_ms < ANSWER_TIMEOUT_MS && !list_empty(&k->issued);

	LIST_FOREACH_SAFE (n, &k->waiting) {
		struct disk_io *io = container_of(n, struct disk_io, link);
		if (io->deadline_ms <= now && !moves)
			io_end(io, k->daemon_err != 0 ? k->daemon_err
			           : k->none_listed   ? -ENODEV
			                              : -EBUSY);
	}
	if (k->daemon_err == -EHOSTDOWN || k->daemon_err == -ETIMEDOUT)
		fail_waiting(k, k->daemon_err);
}

static void
disk_free(struct disk *k)
{
	ASSERT(k->users == 0 && k->conn_count == 0);
	ASSERT(list_empty(&k->waiting) && list_empty(&k->issued) && list_empty(&k->refreshing));
	if (k->is_gathering)
		gather_cancel(&k->gather);
	list_remove(&k->link);
	free(k->name);
	free(k->uuid);
	free(k);
}

static bool
is_busy(const struct disk *k)
{
	return !list_empty(&k->waiting) || !list_empty(&k->issued) || !list_empty(&k->refreshing);
}

static void
on_tick(struct timer *t)
{
	struct disks *d = container_of(t, struct disks, tick);
	uint64_t now = d->ev->now_ms;
	bool busy = false, silent = false;

	settle(d);
	LIST_FOREACH_SAFE (n, &d->disks) {
		struct disk *k = container_of(n, struct disk, link);
		expire(k, now);
		LIST_FOREACH (m, &k->issued)
			silent |=
			    now - container_of(m, struct disk_io, link)->since_ms > PING_AFTER_MS;
		LIST_FOREACH_SAFE (m, &k->conns) {
			struct conn *c = container_of(m, struct conn, link);
			if (c->in_flight == 0 && list_empty(&k->waiting) &&
			    now - c->used_ms > CONN_IDLE_MS)
				conn_close(c);
		}
		busy |= is_busy(k);
		if (k->users == 0 && k->conn_count == 0 && !is_busy(k))
			disk_free(k);
	}
	watch_over(d, silent);
	settle(d);
	if (!list_empty(&d->disks))
		timer_set(d->ev, &d->tick, busy ? TICK_MS : SLOW_TICK_MS);
	else
		free_buffers(d);
}

/* ---- for users ------------------------------------------------------------------------------------------- */

int
disks_create(struct events *ev, struct source *source, struct rpc *rpc, struct disks **ret)
{
	struct disks *d = calloc(1, sizeof *d);
	if (d == NULL)
		return -ENOMEM;
	d->ev = ev;
	d->source = source;
	d->rpc = rpc;
	list_init(&d->disks);
	list_init(&d->free_buffers);
	list_init(&d->done);
	list_init(&d->ended);
	timer_init(&d->tick, on_tick);
	*ret = d;
	return 0;
}

void
disks_destroy(struct disks *d)
{
	if (d == NULL)
		return;
	timer_cancel(&d->tick);
	if (d->is_pinging)
		rpc_cancel(d->rpc, &d->ping);
	LIST_FOREACH_SAFE (n, &d->disks) {
		struct disk *k = container_of(n, struct disk, link);
		LIST_FOREACH_SAFE (m, &k->conns)
			conn_close(container_of(m, struct conn, link));
		disk_free(k);
	}
	free_buffers(d);
	free(d->path);
	free(d);
}

int
disks_set_path(struct disks *d, const char *path)
{
	char *copy = NULL;

	if (path != NULL && path[0] == '\0')
		path = NULL;
	if (path != NULL && d->path != NULL && strcmp(path, d->path) == 0)
		return 0;
	if (path != NULL && (copy = strdup(path)) == NULL)
		return -ENOMEM;
	free(d->path);
	d->path = copy;
	return 0;
}

int
disk_open(struct disks *d, const json_t *lun, struct disk **ret)
{
	const char *name = json_text(lun, "name"), *uuid = json_text(lun, "uuid");

	LIST_FOREACH (n, &d->disks) {
		struct disk *k = container_of(n, struct disk, link);
		if (strcmp(k->name, name) != 0 || strcmp(k->uuid, uuid) != 0)
			continue;
		k->users++;
		*ret = k;
		return 0;
	}
	struct disk *k = calloc(1, sizeof *k);
	if (k == NULL || (k->name = strdup(name)) == NULL || (k->uuid = strdup(uuid)) == NULL) {
		free(k != NULL ? k->name : NULL);
		free(k);
		return -ENOMEM;
	}
	k->disks = d;
	k->users = 1;
	k->size = UINT64_MAX;
	list_init(&k->conns);
	list_init(&k->waiting);
	list_init(&k->refreshing);
	list_init(&k->issued);
	list_init(&k->link);
	list_push_back(&d->disks, &k->link);
	if (list_empty(&d->tick.link))
		timer_set(d->ev, &d->tick, SLOW_TICK_MS);
	*ret = k;
	return 0;
}

void
disk_close(struct disk *k)
{
	ASSERT(k->users > 0);
	k->users--; /* the tick frees it */
}

void
disk_submit(struct disk *k, struct disk_io *io)
{
	struct disks *d = k->disks;

	ASSERT(io->op != DISK_READ || io->len <= DISK_IO_MAX_BYTES);
	io->disk = k;
	io->err = 0;
	io->pieces = 0;
	io->refreshed = io->is_issued = false;
	io->at = UINT64_MAX;
	io->scan_at = io->offset;
	io->deadline_ms = d->ev->now_ms + ANSWER_TIMEOUT_MS;
	if (io->op == DISK_READ)
		io->data = NULL;
	list_init(&io->link);
	list_push_back(&k->waiting, &io->link);
	k->daemon_err = 0;
	if (list_empty(&d->tick.link) || d->tick.at_ms > d->ev->now_ms + TICK_MS)
		timer_set(d->ev, &d->tick, TICK_MS);
	pump(k);
	settle(d);
}
