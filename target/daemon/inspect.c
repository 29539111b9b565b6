/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace-fuse as a child: the tree of files that shows what is served. It talks to the control socket and
 * to NBD as anybody does; between us there is only a socket, whose end is the child's end too, and on
 * which it says "ready DIR" or "failed REASON".
 *
 * States:  NONE ─▶ STARTING ─▶ RUNNING ─▶ PAUSED ─▶ STARTING …    with a pause that grows
 *          RUNNING ─▶ UNMOUNTED: somebody unmounted it, and shall have his way
 *          RUNNING ─▶ ENDING: the daemon ends, the child is awaited for a while
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/child.h"
#include "base/log.h"
#include "daemon/daemon.h"

#define PROGRAM "terrace-fuse"
#define BACKOFF_MS 500u
#define BACKOFF_MAX_MS 60000u
#define END_NS 3000000000ull /* for the child to unmount */

enum state { NONE, STARTING, RUNNING, PAUSED, UNMOUNTED, ENDING };

struct inspect {
	struct daemon *daemon;
	struct loop *loop;
	char *dir;
	enum state state;
	struct loop_defer kick; /* the first start, once the loop runs */
	struct loop_timer timer;
	unsigned backoff_ms;
	/* the start: on a worker */
	struct loop_job job;
	char control[PATH_MAX];
	char *nbd; /* NULL: there is none */
	/* the child */
	struct child child;
	struct loop_watch process;
	struct sock *sock; /* NULL: it has closed it */
	bool is_ready;
	char reason[600]; /* of "failed"; "": none was told */
	char in[1200];
	size_t in_len;
	void (*ended)(struct daemon *d);
};

/* ---- start: on the worker ------------------------------------------------------------------------ */

static int
start_work(struct loop_job *job)
{
	struct inspect *x = container_of(job, struct inspect, job);
	char beside[PATH_MAX], name[] = PROGRAM, parent_fd[] = "--parent-fd", number[8],
	                       control[] = "--control", nbd[] = "--nbd", off[] = "off",
	                       end[] = "--";
	char *const argv[] = {name, parent_fd, number, control, x->control, nbd,
	    x->nbd != NULL ? x->nbd : off, end, x->dir, NULL};

	snprintf(number, sizeof number, "%d", CHILD_FD);
	/* Beside our own program, else as the shell finds it. Its one sentence comes over the socket. */
	bool found = child_find_beside(PROGRAM, beside, sizeof beside);
	const struct child_args args = {
	    .program = found ? beside : PROGRAM, .argv = argv, .mute = true};
	return child_start(&args, &x->child);
}

/* ---- the child ------------------------------------------------------------------------------------- */

static void
start(struct inspect *x)
{
	ASSERT(x->state == NONE || x->state == PAUSED);
	x->state = STARTING;
	x->is_ready = false;
	x->reason[0] = '\0';
	x->in_len = 0;
	loop_job_submit(x->loop, &x->job);
}

static void
close_sock(struct inspect *x)
{
	if (x->sock != NULL)
		sock_close(x->sock);
	x->sock = NULL;
}

static void
pause_then_start(struct inspect *x, const char *why)
{
	x->state = PAUSED;
	health_raise(x->daemon->health, HEALTH_INSPECT_DOWN, x->dir,
	    "what is served isn't shown at %s: %s", x->dir, why);
	loop_timer_set(&x->timer, x->backoff_ms * 1000000ull);
	x->backoff_ms = x->backoff_ms >= BACKOFF_MAX_MS / 2 ? BACKOFF_MAX_MS : x->backoff_ms * 2;
}

static void
end(struct inspect *x)
{
	loop_timer_cancel(&x->timer);
	x->state = NONE;
	if (x->ended != NULL)
		x->ended(x->daemon);
}

static void
take_line(struct inspect *x, const char *line)
{
	if (strncmp(line, "failed ", 7) == 0) {
		snprintf(x->reason, sizeof x->reason, "%s", line + 7);
	} else if (strncmp(line, "ready ", 6) == 0) {
		x->is_ready = true;
		x->backoff_ms = BACKOFF_MS;
		health_clear(x->daemon->health, HEALTH_INSPECT_DOWN, x->dir);
		log_info("daemon", "what is served is shown at %s", line + 6);
	}
}

static void
on_sock(void *ctx, unsigned events)
{
	struct inspect *x = ctx;
	char *nl;
	(void)events;

	for (;;) {
		struct iovec iov = {x->in + x->in_len, sizeof x->in - 1 - x->in_len};
		ssize_t n = iov.iov_len > 0 ? sock_recv(x->sock, &iov, 1) : 0;
		if (n == -EAGAIN)
			return;
		if (n <= 0) { /* its end is told by the pidfd */
			close_sock(x);
			return;
		}
		x->in_len += (size_t)n;
		while ((nl = memchr(x->in, '\n', x->in_len)) != NULL) {
			*nl = '\0';
			take_line(x, x->in);
			x->in_len -= (size_t)(nl + 1 - x->in);
			memmove(x->in, nl + 1, x->in_len);
		}
	}
}

static void
on_process_end(struct loop_watch *w)
{
	struct inspect *x = container_of(w, struct inspect, process);
	char why[700];
	int status = 0;

	if (waitpid(x->child.pid, &status, WNOHANG) != x->child.pid)
		return;
	if (x->sock != NULL)
		on_sock(x, 0); /* what it said last */
	close_sock(x);
	loop_watch_stop(w);
	close(w->fd);
	if (x->state == ENDING) {
		end(x);
	} else if (x->is_ready && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		x->state = UNMOUNTED;
		health_raise(x->daemon->health, HEALTH_INSPECT_DOWN, x->dir,
		    "what is served isn't shown at %s any more: it was unmounted", x->dir);
	} else {
		if (x->reason[0] != '\0')
			snprintf(why, sizeof why, "%s", x->reason);
		else if (WIFSIGNALED(status))
			snprintf(
			    why, sizeof why, PROGRAM " was ended by signal %d", WTERMSIG(status));
		else
			snprintf(
			    why, sizeof why, PROGRAM " ended with status %d", WEXITSTATUS(status));
		pause_then_start(x, why);
	}
}

/* 0 or -errno: nothing of it is left. */
static int
take_over(struct inspect *x)
{
	int rc = loop_watch_start(x->loop, &x->process, x->child.pidfd, on_process_end);
	if (rc == 0) {
		rc = sock_from_fd(x->loop, x->child.fd, &x->sock);
		if (rc == 0)
			return 0;
		loop_watch_stop(&x->process);
	}
	child_abandon(&x->child);
	return rc;
}

static void
start_done(struct loop_job *job, int rc)
{
	struct inspect *x = container_of(job, struct inspect, job);
	char why[128];
	bool ending = x->state == ENDING;

	ASSERT(x->state == STARTING || ending);
	if (rc == 0)
		rc = take_over(x);
	if (ending && rc == 0) {
		close_sock(x); /* its end comes */
		loop_timer_set(&x->timer, END_NS);
	} else if (ending) {
		end(x);
	} else if (rc < 0) {
		snprintf(why, sizeof why, PROGRAM " can't be started (%s)", strerror(-rc));
		pause_then_start(x, why);
	} else {
		x->state = RUNNING;
		sock_set_callback(x->sock, on_sock, x);
		on_sock(x, 0);
	}
}

static void
on_kick(struct loop_defer *d)
{
	start(container_of(d, struct inspect, kick));
}

static void
on_timer(struct loop_timer *t)
{
	struct inspect *x = container_of(t, struct inspect, timer);

	if (x->state == PAUSED) {
		start(x);
		return;
	}
	ASSERT(x->state == ENDING);
	log_warn("daemon", PROGRAM " (pid %d) doesn't end; not waiting for it", (int)x->child.pid);
	if (x->sock == NULL && x->child.pid > 0) {
		loop_watch_stop(&x->process);
		close(x->process.fd);
	}
	end(x);
}

/* ---- steps ----------------------------------------------------------------------------------------- */

int
daemon_open_inspect(void *ctx)
{
	struct daemon *d = ctx;
	const char *dir = d->options->inspect != NULL ? d->options->inspect : d->conf->inspect;
	struct inspect *x;

	if (dir == NULL)
		return 0;
	x = calloc(1, sizeof *x);
	if (x == NULL || (x->dir = strdup(dir)) == NULL ||
	    (d->nbd_path != NULL && (x->nbd = strdup(d->nbd_path)) == NULL)) {
		free(x != NULL ? x->dir : NULL);
		free(x);
		return -ENOMEM;
	}
	x->daemon = d;
	x->loop = d->loops[0];
	x->backoff_ms = BACKOFF_MS;
	x->job = (struct loop_job){.loop = x->loop, .work = start_work, .done = start_done};
	daemon_control_path(d, x->control, sizeof x->control);
	loop_timer_init(&x->timer, x->loop, on_timer);
	loop_defer_init(&x->kick, on_kick);
	loop_defer(x->loop, &x->kick);
	d->inspect = x;
	return 0;
}

void
daemon_close_inspect(void *ctx)
{
	struct daemon *d = ctx;
	struct inspect *x = d->inspect;

	if (x == NULL)
		return;
	ASSERT(x->state == NONE);
	loop_defer_cancel(&x->kick);
	free(x->dir);
	free(x->nbd);
	free(x);
	d->inspect = NULL;
}

void
daemon_end_inspect(struct daemon *d, void (*done)(struct daemon *d))
{
	struct inspect *x = d->inspect;

	if (x == NULL) {
		done(d);
		return;
	}
	x->ended = done;
	loop_defer_cancel(&x->kick);
	loop_timer_cancel(&x->timer);
	if (x->state != STARTING && x->state != RUNNING) {
		end(x);
		return;
	}
	bool running = x->state == RUNNING;
	x->state = ENDING;
	if (!running)
		return; /* start_done() goes on */
	close_sock(x);
	loop_timer_set(&x->timer, END_NS);
}
