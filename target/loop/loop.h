/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event loop: one thread, one io_uring, and everything that is not deterministic: time,
 * randomness, sockets, files, other loops. A simulated world (loop_sim_*) implements the same calls
 * in one thread from a seed, so that the same code runs reproducibly. The loop knows nothing of
 * what is built on it.
 *
 * Thread rule: unless a comment says otherwise, every call is made on the owner loop of the object
 * (asserted). The exceptions, callable from any loop or thread: loop_send(), loop_stop(),
 * loop_id(), and everything before loop_run() is first called.
 *
 * Callbacks run from the loop's own stack, one at a time, never from inside the call that asked
 * for them. `done`-type callbacks run exactly once.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/list.h"

struct loop;
struct bufpool;

#define LOOP_COUNT_MAX 32u /* loops in one process; loop_id() < this */

/* ---- life cycle ------------------------------------------------------------------------- */

struct loop_cfg {
	unsigned id; /* 0..LOOP_COUNT_MAX-1, unique in the process (or the sim world) */
	int cpu;     /* pin the loop's thread to this CPU; -1: don't */
	/*
	 * Nice level of its thread, which is asked for if the thread has none of its own (0); where that isn't
	 * permitted, it runs as others do. What it starts doesn't inherit a level below 0.
	 */
	int nice;
	uint32_t spin_us_max; /* cap of the adaptive spin before sleeping; 0: never spin */
	size_t buf_bytes;     /* size of the loop's buffer pool */
	bool force_epoll;     /* readiness by epoll even where io_uring works (tests) */
};

/* Defaults: id 0, no pinning, nice 0, 50 µs, 64 MiB. */
void loop_cfg_default(struct loop_cfg *cfg);

/*
 * A loop over io_uring; where the kernel refuses io_uring, over epoll, with file I/O on a worker
 * thread. 0, -ENOMEM, -EMFILE, or what io_uring_setup/epoll_create said.
 */
int loop_create(const struct loop_cfg *cfg, struct loop **ret);
/* Whether threads of this process may have a nice level. Any thread; leaves its own as it is. */
bool loop_may_be_nice(int nice);
/* Not running, nothing pending but what belongs to the loop itself. Accepts NULL. */
void loop_destroy(struct loop *l);

/* Makes the calling thread the loop's thread and runs until loop_stop(). */
void loop_run(struct loop *l);
/* Starts a thread that calls loop_run(); loop_join() waits for its end. 0 or -errno. */
int loop_start_thread(struct loop *l);
void loop_join(struct loop *l);
/* Any thread. The loop ends after the turn in which it sees the request. */
void loop_stop(struct loop *l);

unsigned loop_id(const struct loop *l);
/* The loop whose callback is running on this thread, or NULL. */
struct loop *loop_current(void);
static inline bool
loop_is_current(const struct loop *l)
{
	return loop_current() == l;
}
/* True if the readiness backend is io_uring. */
bool loop_is_uring(const struct loop *l);

struct loop_stats {
	uint64_t turns, sleeps, spins_hit, spins_missed, messages, timers_fired, ops;
	uint64_t turn_max_ns; /* the longest so far: how long others may have had to wait */
};
/* The number of this turn: for budgets of a turn. */
uint64_t loop_turn(const struct loop *l);
/* Any thread; a snapshot. */
void loop_get_stats(const struct loop *l, struct loop_stats *ret);

/* The loop's I/O buffers (base/bufpool.h). */
struct bufpool *loop_bufpool(struct loop *l);

/*
 * Callbacks waiting for buffers, first come first served: run at the end of a turn in which
 * loop_buf_put() returned memory. The callback tries again and re-queues itself on failure (it then
 * keeps its place at the front, and the rest of the queue stays waiting).
 */
struct loop_bufwait {
	struct list link;
	void (*retry)(struct loop_bufwait *w);
	struct loop *loop; /* set by queue */
};
void loop_bufwait_init(struct loop_bufwait *w, void (*retry)(struct loop_bufwait *w));
void loop_bufwait_queue(struct loop *l, struct loop_bufwait *w);
void loop_bufwait_cancel(struct loop_bufwait *w);
/* bufpool_get/put on the loop's pool; put wakes the waiters. get fails while others wait, unless
 * called from a retry callback. */
void *loop_buf_get(struct loop *l, size_t len_bytes);
void loop_buf_put(struct loop *l, void *buf, size_t len_bytes);

/* ---- time and randomness ---------------------------------------------------------------- */

/* Monotonic, ns; refreshed once per turn and after each sleep: cheap. */
uint64_t loop_now_ns(const struct loop *l);
/* Monotonic, ns, read from the clock now (latency measurements). */
uint64_t loop_clock_ns(const struct loop *l);
/* Wall clock, seconds since 1970; for timestamps in output only, never for decisions. */
int64_t loop_wall_s(const struct loop *l);
/* Not for secrets. */
uint64_t loop_rand(struct loop *l);
/* For secrets (getrandom; from the seed in the simulation). */
void loop_random_bytes(struct loop *l, void *buf, size_t len);

struct loop_timer {
	uint64_t deadline_ns;
	uint32_t heap_idx; /* 0: not armed */
	struct loop *loop;
	void (*fire)(struct loop_timer *t);
};
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fire)(struct loop_timer *t));
/* (Re)arms to fire once, `after_ns` from loop_now_ns(). */
void loop_timer_set(struct loop_timer *t, uint64_t after_ns);
void loop_timer_cancel(struct loop_timer *t);
static inline bool
loop_timer_armed(const struct loop_timer *t)
{
	return t->heap_idx != 0;
}

/* ---- work within a loop ----------------------------------------------------------------- */

/*
 * Deferred call: runs later in the same turn, after the callback that queued it returned, in FIFO
 * order. This is how submit() completes without calling done() before it returns.
 */
struct loop_defer {
	struct list link;
	void (*run)(struct loop_defer *d);
};
static inline void
loop_defer_init(struct loop_defer *d, void (*run)(struct loop_defer *d))
{
	list_init(&d->link);
	d->run = run;
}
/* `d` must not be queued already. */
void loop_defer(struct loop *l, struct loop_defer *d);
static inline bool
loop_defer_queued(const struct loop_defer *d)
{
	return !list_empty(&d->link);
}
void loop_defer_cancel(struct loop_defer *d);
/* Like loop_defer(), but runs in the next turn, after readiness has been looked at again: for work
 * that exceeded its budget. The loop doesn't sleep meanwhile. */
void loop_next_turn(struct loop *l, struct loop_defer *d);

/* Called at the end of every turn in which anything ran (send queues are flushed here). */
struct loop_hook {
	struct list link;
	void (*run)(struct loop_hook *h);
};
void loop_hook_add(struct loop *l, struct loop_hook *h);
void loop_hook_remove(struct loop_hook *h);

/* ---- between loops ---------------------------------------------------------------------- */

/*
 * A message: embedded in the object it speaks of, whose contents move to the receiver with it.
 * Messages between two loops arrive in the order sent. `run` is called on `dst`. A message to the
 * sender's own loop is delivered too, later in the same turn. `dst` must outlive the message.
 */
struct loop_msg {
	struct loop_msg *next;
	void (*run)(struct loop_msg *m);
};
void loop_send(struct loop *dst, struct loop_msg *m);

/* Blocking work on a helper thread of the process; `done` runs on `l`. No cancel. */
struct loop_job {
	struct loop_msg msg;
	struct loop *loop;
	int (*work)(struct loop_job *j); /* on the helper: touches only *j */
	void (*done)(struct loop_job *j, int result);
	int result;
};
void loop_job_submit(struct loop *l, struct loop_job *j);

/* ---- sockets ---------------------------------------------------------------------------- */

#define LOOP_READABLE 1u
#define LOOP_WRITABLE 2u
#define LOOP_HANGUP 4u /* error or both directions closed; always reported */

struct sock;

/*
 * `event` is edge-like: it is called when a direction becomes ready. Whoever stops before -EAGAIN
 * comes back by itself (loop_next_turn). After sock_set_callback() one initial READABLE|WRITABLE
 * event is due if the socket is ready.
 */
typedef void sock_event_fn(void *ctx, unsigned events);
void sock_set_callback(struct sock *s, sock_event_fn *event, void *ctx);

/* > 0: bytes; 0: the peer closed; -EAGAIN; other -errno: the connection is dead. Non-blocking. */
ssize_t sock_recv(struct sock *s, const struct iovec *iov, unsigned iovcnt);
/*
 * True if a receive that returned less than it had room for has emptied the socket, so that the next
 * event is due when more arrives (kernel sockets whose peer hasn't closed). False: only -EAGAIN says
 * so, or 0.
 */
bool sock_short_is_empty(const struct sock *s);
/* ≥ 0: bytes taken (maybe fewer than offered); -EAGAIN; other -errno: dead. Never raises SIGPIPE. */
ssize_t sock_send(struct sock *s, const struct iovec *iov, unsigned iovcnt);
/* Ends the callbacks at once and frees `s`. */
void sock_close(struct sock *s);
/* Sends a TCP reset instead of FIN when it closes (broken peers). */
void sock_close_abort(struct sock *s);

/* Peer and own address; *len in/out as getsockname. */
void sock_peer_addr(const struct sock *s, struct sockaddr_storage *ret);
void sock_local_addr(const struct sock *s, struct sockaddr_storage *ret);

/* The process at the other end of an AF_UNIX socket, as it was when it connected. */
struct sock_process {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};
/* 0, -EOPNOTSUPP (another family, the simulation), or what the kernel says. */
int sock_peer_process(const struct sock *s, struct sock_process *ret);
/* True if `gid` is its group or one of its supplementary ones; false also where nobody can tell. */
bool sock_peer_in_group(const struct sock *s, gid_t gid);
/* SO_SNDBUF / SO_RCVBUF in bytes; 0 leaves the system's choice. */
void sock_set_buffers(struct sock *s, int snd_bytes, int rcv_bytes);

/*
 * Moves a socket without callback to another loop: detach on the old owner, then attach on the new
 * one, before any other call. The object stays the same.
 */
void sock_detach(struct sock *s);
void sock_attach(struct sock *s, struct loop *l);

struct sock_listener;
/* A new connection: non-blocking, TCP_NODELAY, keepalive set, owned by the listener's loop. */
typedef void sock_accept_fn(void *ctx, struct sock *s);
/*
 * 0; -EADDRINUSE, -EACCES, -EADDRNOTAVAIL and what else bind/listen say. IPv6 listeners are
 * IPV6_V6ONLY. With port 0 the kernel's choice is in sock_listener_addr(). Running out of
 * descriptors pauses accepting for 100 ms. AF_UNIX is accepted as well.
 */
int sock_listen(struct loop *l, const struct sockaddr *addr, socklen_t addr_len,
    sock_accept_fn *accepted, void *ctx, struct sock_listener **ret);
void sock_listener_addr(const struct sock_listener *sl, struct sockaddr_storage *ret);
void sock_listener_close(struct sock_listener *sl); /* accepts NULL */

/* Takes over a connected stream socket (tests, tools, socketpair). 0: the loop owns fd; -errno: the
 * caller still does. */
int sock_from_fd(struct loop *l, int fd, struct sock **ret);
/* Starts a non-blocking connect; the first event tells: sock_error() is 0 or -errno. */
int sock_connect(
    struct loop *l, const struct sockaddr *addr, socklen_t addr_len, struct sock **ret);
int sock_error(struct sock *s);

/* Watches any other descriptor for readability (signalfd, inotify, eventfd); level-like. */
struct loop_watch {
	struct loop *loop;
	int fd;
	void (*readable)(struct loop_watch *w);
	void *priv; /* the loop's */
};
int loop_watch_start(
    struct loop *l, struct loop_watch *w, int fd, void (*readable)(struct loop_watch *w));
void loop_watch_stop(struct loop_watch *w);

/* ---- files ------------------------------------------------------------------------------ */

enum loop_file_op {
	LOOP_FILE_READV,
	LOOP_FILE_WRITEV,
	LOOP_FILE_FSYNC,     /* fdatasync */
	LOOP_FILE_FALLOCATE, /* mode in `flags` */
	LOOP_FILE_OP_COUNT
};

/*
 * One file operation. `iov` and what it points to are borrowed until done. Short transfers are
 * reported as they are: the caller continues. Results: bytes or 0, or -errno.
 */
struct loop_op {
	enum loop_file_op op;
	int fd;
	unsigned flags; /* RWF_DSYNC… for WRITEV; FALLOC_FL_… for FALLOCATE */
	const struct iovec *iov;
	unsigned iovcnt;
	uint64_t offset_bytes;
	uint64_t len_bytes; /* FALLOCATE only */
	void (*done)(struct loop_op *op, int result);
	struct loop *loop; /* set by submit */
	struct list link;  /* the loop's, while pending */
	int result;
};
/* Never fails by itself; when the ring is full the op waits its turn. */
void loop_file_submit(struct loop *l, struct loop_op *op);

/* ---- simulation ------------------------------------------------------------------------- */

/*
 * A world of simulated loops in one thread. Same calls as above; time passes only as the world
 * steps. From the seed come: order of messages between loops, delays of socket bytes and of
 * completions, sizes of partial receives and sends, and (when asked) connection resets.
 * Sockets connect within the world by address (sock_from_fd() and loop_watch_start() answer
 * -EOPNOTSUPP); files are real ones, executed at once and completed later. loop_stop() does nothing:
 * whoever steps the world stops.
 */
struct loop_sim;
struct loop_sim_cfg {
	uint64_t seed;
	unsigned loops;
	size_t buf_bytes;             /* per loop */
	uint32_t net_delay_us_max;    /* each chunk of bytes takes 0..this */
	uint32_t op_delay_us_max;     /* each file op and job takes 0..this */
	uint32_t net_chunk_max_bytes; /* a receive or send moves at most this; 0: no limit */
};
int loop_sim_create(const struct loop_sim_cfg *cfg, struct loop_sim **ret);
void loop_sim_destroy(struct loop_sim *w);
struct loop *loop_sim_loop(struct loop_sim *w, unsigned id);
/* Runs fn on a loop as if a callback had been called (start of a test's actors). */
void loop_sim_call(struct loop *l, void (*fn)(void *ctx), void *ctx);
/* Performs one event. False when nothing is left to do. */
bool loop_sim_step(struct loop_sim *w);
/*
 * Steps until nothing is left, until loop_sim_now_ns() is `until_ns`, or `steps_max` steps. Returns
 * the steps taken.
 */
uint64_t loop_sim_run(struct loop_sim *w, uint64_t until_ns, uint64_t steps_max);
uint64_t loop_sim_now_ns(const struct loop_sim *w);
/* The world's own random stream, for the test's decisions. */
uint64_t loop_sim_rand(struct loop_sim *w);
/* Both ends see a reset. */
void loop_sim_sock_reset(struct sock *s);
/* FNV hash of every event so far: equal for equal seeds, the test of determinism. */
uint64_t loop_sim_trace_hash(const struct loop_sim *w);

#endif
