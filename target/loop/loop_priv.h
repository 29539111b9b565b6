/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the loop: what all backends share (struct loop) and what a backend provides (loop_ops for
 * waiting and completions, sock_ops for one socket). Backends: io_uring, epoll, simulation.
 */
#ifndef LOOP_LOOP_PRIV_H
#define LOOP_LOOP_PRIV_H

#include <pthread.h>

#include "base/assert.h"
#include "base/bufpool.h"
#include "loop/loop.h"
#include "loop/mailbox.h"

/* ---- readiness of one descriptor ---- */

/*
 * From loop_poll_start() to loop_poll_stop() an edge-like watch on a descriptor. The backend collects
 * `events` and links `ready`; the loop then calls `fn`, never after stop. The memory lives until the
 * kernel has forgotten the request.
 */
struct loop_poll {
	struct list all;   /* in loop->polls */
	struct list ready; /* in loop->ready */
	struct list link;  /* the backend's: to be armed or removed */
	struct loop *loop;
	int fd;
	uint32_t mask;   /* EPOLL… asked for */
	uint32_t events; /* EPOLL… reported and not yet passed on */
	bool armed;      /* the kernel holds a request */
	bool stopped;
	void (*fn)(struct loop_poll *p, uint32_t events);
	void *ctx;
};

/* ---- backends ---- */

struct loop_net_ops {
	int (*listen)(struct loop *l, const struct sockaddr *addr, socklen_t addr_len,
	    sock_accept_fn *accepted, void *ctx, struct sock_listener **ret);
	void (*listener_addr)(const struct sock_listener *sl, struct sockaddr_storage *ret);
	void (*listener_close)(struct sock_listener *sl);
	int (*from_fd)(struct loop *l, int fd, struct sock **ret);
	int (*connect)(
	    struct loop *l, const struct sockaddr *addr, socklen_t addr_len, struct sock **ret);
	int (*watch_start)(struct loop_watch *w);
	void (*watch_stop)(struct loop_watch *w);
	/* A receive that got less than it had room for has emptied the socket, as with TCP. */
	bool short_is_empty;
	/* One socket. `event` and `ctx` of the socket are set before set_callback(). */
	void (*set_callback)(struct sock *s);
	ssize_t (*recv)(struct sock *s, const struct iovec *iov, unsigned iovcnt);
	ssize_t (*send)(struct sock *s, const struct iovec *iov, unsigned iovcnt);
	void (*close)(struct sock *s, bool abort);
	void (*addr)(const struct sock *s, bool peer, struct sockaddr_storage *ret);
	void (*set_buffers)(struct sock *s, int snd_bytes, int rcv_bytes);
	void (*detach)(struct sock *s);
	void (*attach)(struct sock *s);
	int (*error)(struct sock *s);
	/* Of AF_UNIX peers; NULL: can't tell. */
	int (*peer_process)(const struct sock *s, struct sock_process *ret);
	bool (*peer_in_group)(const struct sock *s, gid_t gid);
};

struct loop_ops {
	const char *name;
	const struct loop_net_ops *net;
	void (*destroy)(struct loop *l);
	/* Start and end of loop_run(), on the loop's thread. */
	void (*run_begin)(struct loop *l);
	void (*run_end)(struct loop *l);
	/* Moves what has completed to loop->ready and loop->op_done; doesn't wait. */
	void (*reap)(struct loop *l);
	/* For the spin: reap() would find something. */
	bool (*peek)(struct loop *l);
	/* Hands queued work to the kernel. */
	void (*submit)(struct loop *l);
	/* Submits, then waits for a completion, a wake-up or the timeout; UINT64_MAX: for ever. */
	void (*sleep)(struct loop *l, uint64_t timeout_ns);
	int (*poll_start)(struct loop_poll *p);
	/* Ends in loop_poll_free(), at once or later. */
	void (*poll_stop)(struct loop_poll *p);
	void (*send)(struct loop *dst, struct loop_msg *m);
	void (*job_submit)(struct loop *l, struct loop_job *j);
	void (*file_submit)(struct loop *l, struct loop_op *op);
	uint64_t (*clock_ns)(const struct loop *l);
	int64_t (*wall_s)(const struct loop *l);
	void (*random_bytes)(struct loop *l, void *buf, size_t len);
};

extern const struct loop_ops loop_uring_ops;
extern const struct loop_ops loop_epoll_ops;
extern const struct loop_net_ops loop_kernel_net_ops;

/* kernel.c: what the backends over a kernel share. */
void loop_kernel_send(struct loop *dst, struct loop_msg *m);
void loop_kernel_job_submit(struct loop *l, struct loop_job *j);
uint64_t loop_kernel_clock_ns(const struct loop *l);
int64_t loop_kernel_wall_s(const struct loop *l);
void loop_kernel_random_bytes(struct loop *l, void *buf, size_t len);

/* Set l->backend. 0 or -errno. */
int loop_uring_create(struct loop *l);
int loop_epoll_create(struct loop *l);

/* ---- the loop ---- */

struct timer_slot {
	uint64_t deadline_ns;
	uint64_t seq; /* equal deadlines fire in the order they were set */
	struct loop_timer *timer;
};

struct timer_heap {
	struct timer_slot *slots; /* from index 1 */
	uint32_t count, cap;
	uint64_t seq;
};

/* What the spin goes by, see loop_wait(). */
struct loop_gaps {
	uint64_t last_ns;
	uint32_t skip, skip_len;
};

struct loop {
	const struct loop_ops *ops;
	void *backend;
	unsigned id;
	int cpu;
	int nice;
	bool sim;
	bool running; /* loop_run() runs, or a thread for it was started */
	bool ran;     /* a callback ran since the hooks last did */
	bool in_turn; /* one that began at now_ns and isn't measured yet */
	pthread_t thread;
	bool has_thread;

	uint64_t now_ns;
	uint64_t rand_state[2];

	struct list deferred;
	struct list next_turn;
	struct list hooks;
	struct loop_msg *self_first, *self_last; /* messages to itself */
	struct timer_heap timers;

	struct bufpool *bufs;
	struct list bufwaits;
	struct loop_bufwait *retrying; /* whose retry() runs */
	bool retry_failed;             /* it queued itself again */
	bool buf_returned;             /* memory came back since the last retries */

	struct list polls;    /* all of them */
	struct list ready;    /* with events */
	struct list dead;     /* stopped, freed at the end of the turn */
	struct list op_queue; /* file operations that the backend hasn't taken yet */
	struct list op_done;
	uint32_t ops_busy; /* submitted and not done */
	uint32_t op_share; /* how many of op_done the next turn takes */
	struct loop_poll *wake_poll;

	/* Adaptive spin, see loop_wait(). */
	uint64_t spin_ns_max;
	/* Where nothing is with a device, and where something is: commands come at another pace. */
	struct loop_gaps gaps[2];

	struct loop_stats stats;
	struct mailbox mailbox;
};

/* Common part of a new loop: lists, timers, pool. 0 or -ENOMEM. */
int loop_init(struct loop *l, const struct loop_ops *ops, unsigned id, size_t buf_bytes);
void loop_fini(struct loop *l);
void loop_set_current(struct loop *l);
void loop_seed_rand(struct loop *l, const uint64_t seed[2]);

/* The owner counts; others may read at any time (loop_get_stats). */
#define LOOP_STAT_ADD(l, field)                                                                    \
	__atomic_store_n(&(l)->stats.field, (l)->stats.field + 1, __ATOMIC_RELAXED)

/* The turn that began at l->now_ns has ended. */
static inline void
loop_note_turn(struct loop *l, uint64_t end_ns)
{
	if (l->in_turn && end_ns - l->now_ns > l->stats.turn_max_ns)
		__atomic_store_n(&l->stats.turn_max_ns, end_ns - l->now_ns, __ATOMIC_RELAXED);
	l->in_turn = false;
}

static inline void
loop_assert_owner(const struct loop *l)
{
	const struct loop *cur = loop_current();
	ASSERT(cur == l || (l->sim ? cur == NULL : !l->running));
}

/* Parts of a turn, in this order. */
void loop_run_ready(struct loop *l);
void loop_run_msgs(struct loop *l, struct loop_msg *first);
void loop_run_timers(struct loop *l);
void loop_run_next_turn(struct loop *l);
/* Deferred calls, waiters for buffers and hooks until nothing is left or the turn is long. */
void loop_turn_end(struct loop *l);
/* The loop has work of its own left and must not sleep. */
bool loop_has_work(const struct loop *l);

/* buf.c */
void loop_run_bufwaits(struct loop *l);

/* timer.c */
int timer_heap_init(struct timer_heap *h);
void timer_heap_fini(struct timer_heap *h);
/* Deadline of the next timer, or UINT64_MAX. */
uint64_t timer_heap_next_ns(const struct timer_heap *h);
/* Takes a timer that is due at `now_ns` and was set before `seq_limit` off the heap, or NULL. */
struct loop_timer *timer_heap_pop_due(struct timer_heap *h, uint64_t now_ns, uint64_t seq_limit);

/* wait.c: called when a turn left no work; returns when the next is due. */
void loop_wait(struct loop *l);

/* poll.c: watches. start: 0 or -errno; stop is allowed within fn. */
int loop_poll_start(struct loop *l, int fd, uint32_t mask,
    void (*fn)(struct loop_poll *p, uint32_t events), void *ctx, struct loop_poll **ret);
void loop_poll_stop(struct loop_poll *p);
/* For backends: new events; the request is over. */
void loop_poll_event(struct loop_poll *p, uint32_t events);
void loop_poll_free(struct loop_poll *p);
/* What poll(2) says right now, EPOLL… bits. */
uint32_t loop_poll_now(int fd, uint32_t mask);

/* file.c: performs `op` synchronously; its result. */
int loop_file_exec(const struct loop_op *op);
/* For backends: `op` is done with op->result set; its callback runs in this turn. */
void loop_file_done(struct loop *l, struct loop_op *op);

/* worker.c */
void worker_hold(void); /* one per loop: keeps the helper threads */
void worker_release(void);
void worker_submit(struct loop_job *j);
/* Returns when no helper touches `l` any more. */
void worker_quiesce(const struct loop *l);

/* ---- sockets ---- */

struct sock {
	struct loop *loop; /* NULL while detached */
	const struct loop_net_ops *ops;
	sock_event_fn *event;
	void *ctx;
	bool peer_closed; /* told by an event: the end of the stream is there to be read */
};

struct sock_listener {
	struct loop *loop;
	const struct loop_net_ops *ops;
	sock_accept_fn *accepted;
	void *ctx;
};

#endif
