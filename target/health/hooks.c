/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's side of the hooks. Lines go to the helper over a socket, one JSON object each:
 *
 *     {"run": "/path", "event": {…}}      run it with the event on its standard input
 *     {"check": "/path"}                  only look whether it may be run
 *
 * and each is answered by one:
 *
 *     {"path": "/path", "ran": true | false, "result": "ok" | "failed" | "refused", "detail": "…"}
 *
 * "ran" tells the answer to a "run" from that to a "check".
 *
 * At most HOOK_OUTSTANDING_MAX are unanswered; the others wait here. Nothing blocks: the helper is
 * started by the loop's worker, its end is told by a pidfd.
 *
 * States:  NONE ─▶ STARTING ─▶ RUNNING ─▶ ENDING ─▶ PAUSED ─▶ STARTING …
 *          STARTING fails ─▶ PAUSED. ENDING: the socket is closed, the process is awaited.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/child.h"
#include "health/health_priv.h"

#define HELPER_NAME "terrace-hook"

enum hooks_state { NONE, STARTING, RUNNING, ENDING, PAUSED };

struct item {
	struct list link;
	size_t len, sent;
	bool check; /* no event */
	char line[];
};

struct start_job {
	struct loop_job job;
	char *helper; /* path; NULL: to be looked for */
	struct child child;
};

struct hooks {
	struct health *health;
	struct loop *loop;
	enum hooks_state state;
	struct hook {
		int event;
		char *path;
	} * hooks;
	unsigned count;
	struct list queue; /* struct item; the first may be sent in part */
	unsigned queued;
	unsigned outstanding; /* lines that the helper hasn't answered … */
	unsigned unanswered;  /* … and those of them that were events */
	uint64_t dropped;     /* since HEALTH_HOOK_DROPPED was cleared */
	struct loop_timer quiet;
	/* the helper */
	struct start_job start;
	struct sock *sock;
	pid_t pid;
	struct loop_watch watch; /* of the pidfd, while RUNNING or ENDING */
	uint64_t started_ns;
	unsigned backoff_ms;
	struct loop_timer pause;
	struct loop_defer kick; /* the first start, once the loop runs */
	char in[HOOK_LINE_MAX];
	size_t in_len;
	/* hooks_stop() */
	bool stopping;
	void (*idle)(void *ctx);
	void *idle_ctx;
};

static void start_helper(struct hooks *k);
static void pump(struct hooks *k);

/* ---- what is dropped --------------------------------------------------------------------------------- */

static void
on_quiet(struct loop_timer *t)
{
	struct hooks *k = container_of(t, struct hooks, quiet);
	k->dropped = 0;
	health_clear(k->health, HEALTH_HOOK_DROPPED, "");
}

static void
note_dropped(struct hooks *k, unsigned count, const char *why)
{
	if (count == 0 || k->stopping)
		return;
	k->dropped += count;
	loop_timer_set(&k->quiet, HOOK_QUIET_MS * 1000000ull);
	health_raise(k->health, HEALTH_HOOK_DROPPED, "",
	    "%" PRIu64 " events weren't handed to hooks: %s", k->dropped, why);
}

/* ---- the queue ----------------------------------------------------------------------------------------- */

static void
free_item(struct hooks *k, struct item *i)
{
	list_remove(&i->link);
	free(i);
	k->queued--;
}

static int
push(struct hooks *k, const char *line, size_t len, bool check)
{
	struct item *i = malloc(sizeof *i + len + 1);
	if (i == NULL)
		return -ENOMEM;
	list_init(&i->link);
	i->len = len + 1;
	i->sent = 0;
	i->check = check;
	memcpy(i->line, line, len);
	i->line[len] = '\n';
	list_push_back(&k->queue, &i->link);
	k->queued++;
	return 0;
}

/* Asks about every program, so that one that can't be run is known before it is needed. */
static void
push_checks(struct hooks *k)
{
	for (unsigned i = 0; i < k->count; i++) {
		char *line = NULL;
		json_t *o = json_pack("{s:s}", "check", k->hooks[i].path);
		if (o != NULL)
			line = json_dumps(o, JSON_COMPACT);
		if (line != NULL)
			(void)push(
			    k, line, strlen(line), true); /* it is looked at again with a run */
		free(line);
		json_decref(o);
	}
}

/* ---- start: on the worker --------------------------------------------------------------------------- */

static int
start_work(struct loop_job *job)
{
	static_assert(HOOK_FD == CHILD_FD, "where the helper looks for its socket");
	struct start_job *s = container_of(job, struct start_job, job);
	char found[PATH_MAX];
	const char *program = s->helper;
	char *const argv[] = {(char *)(uintptr_t)HELPER_NAME, NULL};
	char *const env[] = {(char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
	                                         "/usr/bin:/sbin:/bin",
	    (char *)(uintptr_t) "LANG=C.UTF-8", NULL};

	/* Beside our own program (a build folder), else where it is installed. */
	if (program == NULL)
		program = child_find_beside(HELPER_NAME, found, sizeof found) ? found
		                                                              : TERRACE_LIBEXEC
		              "/" HELPER_NAME;
	const struct child_args args = {.program = program, .argv = argv, .env = env};
	return child_start(&args, &s->child);
}

/* ---- start and end ------------------------------------------------------------------------------------ */

static void
pause_then_start(struct hooks *k, const char *why)
{
	k->state = PAUSED;
	loop_timer_set(&k->pause, k->backoff_ms * 1000000ull);
	health_raise(k->health, HEALTH_HOOK_HELPER, "",
	    "the helper of the hooks %s; it is started again", why);
	k->backoff_ms =
	    k->backoff_ms >= HOOK_BACKOFF_MAX_MS / 2 ? HOOK_BACKOFF_MAX_MS : k->backoff_ms * 2;
}

static void
end_helper(struct hooks *k)
{
	ASSERT(k->state == RUNNING);
	k->state = ENDING;
	sock_close(k->sock);
	k->sock = NULL;
	k->in_len = 0;
}

/* Checks are asked anew; what was sent in part is sent again; what isn't answered is lost. */
static void
forget_sent(struct hooks *k)
{
	unsigned lost = k->unanswered;

	k->outstanding = k->unanswered = 0;
	LIST_FOREACH_SAFE (n, &k->queue) {
		struct item *i = container_of(n, struct item, link);
		i->sent = 0;
		if (i->check)
			free_item(k, i);
	}
	note_dropped(k, lost, "the helper process ended");
}

static void
on_process_end(struct loop_watch *w)
{
	struct hooks *k = container_of(w, struct hooks, watch);
	char why[64];
	int status = 0;

	if (waitpid(k->pid, &status, WNOHANG) != k->pid)
		return;
	loop_watch_stop(w);
	close(w->fd);
	if (k->state == RUNNING)
		end_helper(k);
	k->pid = 0;
	if (WIFSIGNALED(status))
		snprintf(why, sizeof why, "was ended by signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof why, "ended with status %d", WEXITSTATUS(status));
	if (loop_now_ns(k->loop) - k->started_ns > HOOK_BACKOFF_MAX_MS * 1000000ull)
		k->backoff_ms = HOOK_BACKOFF_MS;
	forget_sent(k);
	pause_then_start(k, why);
}

static void on_sock(void *ctx, unsigned events);

/* Lets go of the helper: it finishes what it has, and then init has it. */
static void
leave(struct hooks *k)
{
	if (k->state == RUNNING)
		end_helper(k);
	if (k->state == ENDING) {
		loop_watch_stop(&k->watch);
		close(k->watch.fd);
	}
	k->state = NONE;
	k->idle(k->idle_ctx);
}

/* The worker has started it: RUNNING, or ENDING without a way to talk to it. 0 or -errno. */
static int
take_over(struct hooks *k)
{
	const struct child *c = &k->start.child;
	int rc = loop_watch_start(k->loop, &k->watch, c->pidfd, on_process_end);
	if (rc < 0) {
		child_abandon(c);
		return rc;
	}
	k->pid = c->pid;
	k->started_ns = loop_now_ns(k->loop);
	k->state = RUNNING;
	if (sock_from_fd(k->loop, c->fd, &k->sock) < 0) {
		close(c->fd);
		kill(k->pid, SIGKILL);
		k->state = ENDING;
	}
	return 0;
}

static void
start_done(struct loop_job *job, int rc)
{
	struct hooks *k = container_of(job, struct hooks, start.job);
	char why[96];

	ASSERT(k->state == STARTING);
	if (rc == 0)
		rc = take_over(k);
	if (k->stopping) {
		leave(k);
	} else if (rc < 0) {
		snprintf(why, sizeof why, "can't be started (%s)", strerror(-rc));
		pause_then_start(k, why);
	} else if (k->state == RUNNING) {
		push_checks(k);
		sock_set_callback(k->sock, on_sock, k);
		pump(k);
	}
}

static void
start_helper(struct hooks *k)
{
	ASSERT(k->state == NONE || k->state == PAUSED);
	k->state = STARTING;
	loop_job_submit(k->loop, &k->start.job);
}

static void
on_kick(struct loop_defer *d)
{
	start_helper(container_of(d, struct hooks, kick));
}

static void
on_pause_end(struct loop_timer *t)
{
	start_helper(container_of(t, struct hooks, pause));
}

/* ---- lines ---------------------------------------------------------------------------------------------- */

static void
pump(struct hooks *k)
{
	while (k->state == RUNNING && !list_empty(&k->queue) &&
	       k->outstanding < HOOK_OUTSTANDING_MAX) {
		struct item *i = container_of(k->queue.next, struct item, link);
		struct iovec iov = {.iov_base = i->line + i->sent, .iov_len = i->len - i->sent};
		ssize_t n = sock_send(k->sock, &iov, 1);
		if (n < 0)
			return; /* -EAGAIN: an event is due; else its end is told by the pidfd */
		i->sent += (size_t)n;
		if (i->sent < i->len)
			continue;
		k->outstanding++;
		k->unanswered += i->check ? 0 : 1;
		free_item(k, i);
	}
}

static void
take_answer(struct hooks *k, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);
	const char *path = json_string_value(json_object_get(o, "path"));
	const char *result = json_string_value(json_object_get(o, "result"));
	const char *detail = json_string_value(json_object_get(o, "detail"));

	bool ran = !json_is_false(json_object_get(o, "ran"));
	if (path == NULL || result == NULL || k->outstanding == 0 || (ran && k->unanswered == 0)) {
		json_decref(o);
		kill(k->pid, SIGKILL); /* not our helper's way of speaking */
		return;
	}
	k->outstanding--;
	k->unanswered -= ran ? 1 : 0;
	health_clear(k->health, HEALTH_HOOK_HELPER, "");
	if (detail == NULL)
		detail = "";
	if (strcmp(result, "refused") == 0) {
		health_raise(
		    k->health, HEALTH_HOOK_REFUSED, path, "hook %s isn't run: %s", path, detail);
	} else {
		health_clear(k->health, HEALTH_HOOK_REFUSED, path);
		if (strcmp(result, "failed") == 0)
			health_raise(k->health, HEALTH_HOOK_FAILING, path, "hook %s failed: %s",
			    path, detail);
		else if (ran)
			health_clear(k->health, HEALTH_HOOK_FAILING, path);
	}
	json_decref(o);
}

static void
take_lines(struct hooks *k)
{
	char *from = k->in, *end;

	while ((end = memchr(from, '\n', k->in_len - (size_t)(from - k->in))) != NULL) {
		take_answer(k, from, (size_t)(end - from));
		from = end + 1;
	}
	k->in_len -= (size_t)(from - k->in);
	memmove(k->in, from, k->in_len);
	if (k->in_len == sizeof k->in)
		kill(k->pid, SIGKILL);
}

static void
on_sock(void *ctx, unsigned events)
{
	struct hooks *k = ctx;
	(void)events;

	/* bounded: the helper says one line for each of ours */
	while (k->in_len < sizeof k->in) {
		struct iovec iov = {
		    .iov_base = k->in + k->in_len, .iov_len = sizeof k->in - k->in_len};
		ssize_t n = sock_recv(k->sock, &iov, 1);
		if (n == -EAGAIN)
			break;
		if (n <= 0) { /* it has ended, or doesn't listen: then it is to end */
			kill(k->pid, SIGKILL);
			end_helper(k);
			return;
		}
		k->in_len += (size_t)n;
		take_lines(k);
	}
	pump(k);
}

/* Whether hook `i` wants this kind and no earlier row of the same program does. */
static bool
is_wanted(const struct hooks *k, unsigned i, int kind)
{
	if (k->hooks[i].event >= 0 && k->hooks[i].event != kind)
		return false;
	for (unsigned o = 0; o < i; o++)
		if ((k->hooks[o].event < 0 || k->hooks[o].event == kind) &&
		    strcmp(k->hooks[o].path, k->hooks[i].path) == 0)
			return false;
	return true;
}

static int
push_event(struct hooks *k, const char *path, const char *line)
{
	char *text = NULL, *quoted = NULL;
	json_t *name = json_string(path);
	int rc = -ENOMEM, len = -1;

	if (name != NULL)
		quoted = json_dumps(name, JSON_ENCODE_ANY);
	if (quoted != NULL)
		len = asprintf(&text, "{\"run\":%s,\"event\":%s}", quoted, line);
	if (len >= 0) {
		rc = (size_t)len < HOOK_LINE_MAX ? push(k, text, (size_t)len, false) : -EMSGSIZE;
		free(text);
	}
	free(quoted);
	json_decref(name);
	return rc;
}

void
hooks_event(struct hooks *k, enum health_event_kind kind, const char *line)
{
	if (k->stopping)
		return;
	for (unsigned i = 0; i < k->count; i++) {
		if (!is_wanted(k, i, (int)kind))
			continue;
		if (k->queued >= HOOK_QUEUE_MAX)
			note_dropped(k, 1, "the queue is full");
		else if (push_event(k, k->hooks[i].path, line) < 0)
			note_dropped(k, 1, "there is no memory");
	}
	pump(k);
}

/* ---- life cycle --------------------------------------------------------------------------------------- */

int
hooks_create(struct health *h, struct loop *l, const char *helper, struct hooks **ret)
{
	struct hooks *k = calloc(1, sizeof *k);
	if (k == NULL)
		return -ENOMEM;
	k->health = h;
	k->loop = l;
	k->backoff_ms = HOOK_BACKOFF_MS;
	k->start.job = (struct loop_job){.loop = l, .work = start_work, .done = start_done};
	list_init(&k->queue);
	loop_timer_init(&k->quiet, l, on_quiet);
	loop_timer_init(&k->pause, l, on_pause_end);
	loop_defer_init(&k->kick, on_kick);
	if (helper != NULL && (k->start.helper = strdup(helper)) == NULL) {
		free(k);
		return -ENOMEM;
	}
	*ret = k;
	return 0;
}

static void
free_hooks(struct hook *hooks, unsigned count)
{
	for (unsigned i = 0; hooks != NULL && i < count; i++)
		free(hooks[i].path);
	free(hooks);
}

void
hooks_destroy(struct hooks *k)
{
	struct list *n;

	if (k == NULL)
		return;
	ASSERT(k->state == NONE);
	loop_timer_cancel(&k->pause);
	loop_timer_cancel(&k->quiet);
	loop_defer_cancel(&k->kick);
	while ((n = list_pop_front(&k->queue)) != NULL)
		free(container_of(n, struct item, link));
	free_hooks(k->hooks, k->count);
	free(k->start.helper);
	free(k);
}

/* Conditions of programs that are no hooks any more. */
static void
clear_others(struct hooks *k, const struct hook *old, unsigned old_count)
{
	for (unsigned i = 0; i < old_count; i++) {
		unsigned at = 0;
		while (at < k->count && strcmp(k->hooks[at].path, old[i].path) != 0)
			at++;
		if (at < k->count)
			continue;
		health_clear(k->health, HEALTH_HOOK_REFUSED, old[i].path);
		health_clear(k->health, HEALTH_HOOK_FAILING, old[i].path);
	}
}

int
hooks_set(struct hooks *k, const struct health_hook *hooks, unsigned count)
{
	if (count > HEALTH_HOOKS_MAX)
		return -EINVAL;
	struct hook *copy = calloc(count + 1, sizeof *copy);
	if (copy == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		const char *path = hooks[i].path;
		bool wrong = path[0] != '/' || strlen(path) > HEALTH_OBJECT_MAX;
		copy[i].event = hooks[i].event;
		copy[i].path = wrong ? NULL : strdup(path);
		if (copy[i].path == NULL) {
			free_hooks(copy, count);
			return wrong ? -EINVAL : -ENOMEM;
		}
	}
	struct hook *old = k->hooks;
	unsigned old_count = k->count;
	k->hooks = copy;
	k->count = count;
	clear_others(k, old, old_count);
	free_hooks(old, old_count);
	if (count > 0 && k->state == NONE && !k->stopping) {
		if (!loop_defer_queued(&k->kick))
			loop_defer(k->loop, &k->kick);
	} else if (k->state == RUNNING) {
		push_checks(k);
		pump(k);
	}
	return 0;
}

void
hooks_stop(struct hooks *k, void (*idle)(void *ctx), void *ctx)
{
	ASSERT(!k->stopping);
	k->stopping = true;
	k->idle = idle;
	k->idle_ctx = ctx;
	loop_timer_cancel(&k->pause);
	loop_timer_cancel(&k->quiet);
	loop_defer_cancel(&k->kick);
	if (k->state != STARTING) /* else start_done() goes on */
		leave(k);
}
