/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace-hook: runs event hooks for the daemon, so that no program of the administrator's runs in,
 * or is forked from, the process that has the data in its hands. Lines come over the socket that is
 * descriptor 3 (target/health/hooks.c says which), each is answered by one. It ends when the socket
 * does, after what is under way, within the time that a program has.
 *
 *     terrace-hook [SECONDS]      a program's time; 30 when not said
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "health/health_priv.h"

#define TAIL_BYTES 160u    /* of what a program writes to its standard error, told when it fails */
#define DRAIN_BYTES 65536u /* of it looked at in one go */

struct order {
	char *path, *event; /* event: JSON text; NULL: only look at the path */
	char kind[32];
};

struct run {
	pid_t pid; /* 0: free */
	char *path;
	int err_fd; /* -1: closed */
	char tail[TAIL_BYTES];
	size_t tail_len;
	int64_t deadline_ms;
	bool timed_out;
};

static struct order queue[HOOK_OUTSTANDING_MAX];
static unsigned queue_first, queue_count;
static struct run runs[HOOK_AT_ONCE];
static char in[HOOK_LINE_MAX];
static size_t in_len;
static bool ended; /* the socket is */
static int64_t ended_ms;
static int64_t timeout_ms = HOOK_TIMEOUT_S * 1000;

static int64_t
now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

_Noreturn static void
die(const char *what)
{
	fprintf(stderr, "terrace-hook: %s\n", what);
	exit(1);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void
answer(const char *path, bool ran, const char *result, const char *raw)
{
	char detail[HEALTH_TEXT_MAX + 1];
	health_text(detail, sizeof detail, raw);
	json_t *o = json_pack(
	    "{s:s, s:b, s:s, s:s}", "path", path, "ran", ran, "result", result, "detail", detail);
	char *line = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	if (line == NULL)
		die("no memory");
	size_t len = strlen(line);
	line[len++] = '\n';
	for (size_t at = 0; at < len && !ended;) {
		ssize_t n = send(HOOK_FD, line + at, len - at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* the daemon is gone, which poll tells */
		at += (size_t)n;
	}
	free(line);
	json_decref(o);
}

/* ---- programs ------------------------------------------------------------------------------------------ */

/* The event as a file in memory: a program that doesn't read it holds nobody up. */
static int
event_file(const char *event)
{
	size_t len = strlen(event);
	int fd = memfd_create("event", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	if (write(fd, event, len) != (ssize_t)len || write(fd, "\n", 1) != 1 ||
	    lseek(fd, 0, SEEK_SET) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

_Noreturn static void
become(const char *path, const char *kind, int event_fd, int err_fd)
{
	char variable[64];
	char *argv[] = {(char *)(uintptr_t)path, (char *)(uintptr_t)kind, NULL};
	char *env[] = {(char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
	                                   "/sbin:/bin",
	    (char *)(uintptr_t) "LANG=C.UTF-8", variable, NULL};
	sigset_t none;

	snprintf(variable, sizeof variable, "TERRACE_EVENT=%s", kind);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	setsid();
	umask(022);
	if (dup2(event_fd, 0) < 0 || dup2(err_fd, 2) < 0 || chdir("/") < 0)
		_exit(126);
	execve(path, argv, env);
	dprintf(2, "can't be run: %s", strerror(errno));
	_exit(127);
}

static const char *
start(struct run *r, const struct order *o, const char *resolved)
{
	int pair[2], event_fd = event_file(o->event);

	if (event_fd < 0)
		return "no memory for the event";
	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0) {
		close(event_fd);
		return "no pipe";
	}
	/* our end doesn't wait; theirs is an ordinary one */
	(void)fcntl(pair[1], F_SETFL, 0);
	pid_t pid = fork();
	if (pid == 0)
		become(resolved, o->kind, event_fd, pair[1]);
	close(event_fd);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return "no process";
	}
	*r = (struct run){
	    .pid = pid,
	    .path = o->path,
	    .err_fd = pair[0],
	    .deadline_ms = now_ms() + timeout_ms,
	};
	return NULL;
}

/* Keeps the end of what it says; a flood costs a bounded share of a turn. */
static void
drain(struct run *r)
{
	char buf[4096];
	size_t seen = 0;

	while (r->err_fd >= 0 && seen < DRAIN_BYTES) {
		ssize_t n = read(r->err_fd, buf, sizeof buf);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close(r->err_fd);
			r->err_fd = -1;
			return;
		}
		seen += (size_t)n;
		size_t take = (size_t)n < sizeof r->tail ? (size_t)n : sizeof r->tail;
		size_t keep =
		    r->tail_len + take > sizeof r->tail ? sizeof r->tail - take : r->tail_len;
		memmove(r->tail, r->tail + r->tail_len - keep, keep);
		memcpy(r->tail + keep, buf + n - take, take);
		r->tail_len = keep + take;
	}
}

/* "status 3: last words" */
static void
finish(struct run *r, int status)
{
	char how[64], said[TAIL_BYTES + 1], detail[TAIL_BYTES + 80];

	drain(r);
	if (r->err_fd >= 0)
		close(r->err_fd);
	size_t len = r->tail_len;
	while (len > 0 && strchr(" \n\r\t", r->tail[len - 1]) != NULL)
		len--;
	memcpy(said, r->tail, len);
	said[len] = '\0';
	const char *last = strrchr(said, '\n');
	last = last != NULL ? last + 1 : said;
	if (r->timed_out)
		snprintf(how, sizeof how, "killed after %lld s", (long long)(timeout_ms / 1000));
	else if (WIFSIGNALED(status))
		snprintf(how, sizeof how, "ended by signal %d", WTERMSIG(status));
	else
		snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
	snprintf(detail, sizeof detail, "%s%s%s", how, *last != '\0' ? ": " : "", last);
	bool ok = !r->timed_out && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	answer(r->path, true, ok ? "ok" : "failed", ok ? "" : detail);
	free(r->path);
	r->pid = 0;
}

static void
reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < HOOK_AT_ONCE; i++)
			if (runs[i].pid == pid)
				finish(&runs[i], status);
}

/* Kills what is over its time, and everything when the daemon is gone too long. */
static void
enforce(int64_t now)
{
	bool all = ended && now >= ended_ms + timeout_ms;
	for (unsigned i = 0; i < HOOK_AT_ONCE; i++) {
		struct run *r = &runs[i];
		if (r->pid == 0 || (!all && now < r->deadline_ms) || r->timed_out)
			continue;
		r->timed_out = true;
		kill(-r->pid, SIGKILL); /* with its children; a session of its own */
		kill(r->pid, SIGKILL);  /* before its setsid() */
	}
	if (all)
		exit(0);
}

/* ---- orders -------------------------------------------------------------------------------------------- */

static void
execute(struct run *free_run, struct order *o)
{
	char resolved[PATH_MAX], reason[PATH_MAX + 128];
	const char *failed = NULL;

	if (hook_check(o->path, resolved, reason, sizeof reason) < 0)
		answer(o->path, o->event != NULL, "refused", reason);
	else if (o->event == NULL)
		answer(o->path, false, "ok", "");
	else if ((failed = start(free_run, o, resolved)) != NULL)
		answer(o->path, true, "failed", failed);
	else
		o->path = NULL; /* the run's */
	free(o->path);
	free(o->event);
}

static void
execute_orders(void)
{
	for (unsigned i = 0; i < HOOK_AT_ONCE; i++) {
		while (runs[i].pid == 0 && queue_count > 0) {
			struct order o = queue[queue_first];
			queue_first = (queue_first + 1) % HOOK_OUTSTANDING_MAX;
			queue_count--;
			execute(&runs[i], &o);
		}
	}
}

static void
take_order(const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);
	const json_t *event = json_object_get(o, "event");
	const char *run = json_string_value(json_object_get(o, "run"));
	const char *check = json_string_value(json_object_get(o, "check"));
	const char *kind = json_string_value(json_object_get(event, "event"));
	struct order *q = &queue[(queue_first + queue_count) % HOOK_OUTSTANDING_MAX];

	if (queue_count == HOOK_OUTSTANDING_MAX || (run == NULL) == (check == NULL) ||
	    (run != NULL && !json_is_object(event)))
		die("a line that I don't know");
	*q = (struct order){0};
	q->path = strdup(run != NULL ? run : check);
	if (run != NULL)
		q->event = json_dumps(event, JSON_COMPACT);
	if (q->path == NULL || (run != NULL && q->event == NULL))
		die("no memory");
	snprintf(q->kind, sizeof q->kind, "%s", kind != NULL ? kind : "");
	queue_count++;
	json_decref(o);
}

static void
take_input(void)
{
	ssize_t n = recv(HOOK_FD, in + in_len, sizeof in - in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		ended = true;
		ended_ms = now_ms();
		return;
	}
	in_len += (size_t)n;
	char *from = in, *end;
	while ((end = memchr(from, '\n', in_len - (size_t)(from - in))) != NULL) {
		take_order(from, (size_t)(end - from));
		from = end + 1;
	}
	in_len -= (size_t)(from - in);
	memmove(in, from, in_len);
	if (in_len == sizeof in)
		die("a line without end");
}

/* ---- main ---------------------------------------------------------------------------------------------- */

static bool
idle(void)
{
	for (unsigned i = 0; i < HOOK_AT_ONCE; i++)
		if (runs[i].pid != 0)
			return false;
	return queue_count == 0;
}

static int
poll_timeout(int64_t now)
{
	int64_t next = ended ? ended_ms + timeout_ms : INT64_MAX;
	for (unsigned i = 0; i < HOOK_AT_ONCE; i++)
		if (runs[i].pid != 0 && !runs[i].timed_out && runs[i].deadline_ms < next)
			next = runs[i].deadline_ms;
	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 : (int)(next - now);
}

static void
turn(int signal_fd)
{
	struct pollfd fds[2 + HOOK_AT_ONCE];
	struct signalfd_siginfo si;

	fds[0] = (struct pollfd){.fd = ended ? -1 : HOOK_FD, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
	for (unsigned i = 0; i < HOOK_AT_ONCE; i++)
		fds[2 + i] =
		    (struct pollfd){.fd = runs[i].pid != 0 ? runs[i].err_fd : -1, .events = POLLIN};
	if (poll(fds, 2 + HOOK_AT_ONCE, poll_timeout(now_ms())) < 0 && errno != EINTR)
		die(strerror(errno));
	if (fds[0].revents != 0)
		take_input();
	for (unsigned i = 0; i < HOOK_AT_ONCE; i++)
		if (fds[2 + i].fd >= 0 && fds[2 + i].revents != 0)
			drain(&runs[i]);
	while (read(signal_fd, &si, sizeof si) == (ssize_t)sizeof si)
		;
	reap();
	enforce(now_ms());
	execute_orders();
}

int
main(int argc, char **argv)
{
	sigset_t set;
	struct stat st;

	if (argc > 1)
		timeout_ms = (int64_t)atoi(argv[1]) * 1000;
	if (argc > 2 || timeout_ms <= 0 || fstat(HOOK_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fputs("terrace-hook is started by terraced\n", stderr);
		return 2;
	}
	(void)fcntl(HOOK_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN); /* a service manager ends the daemon, and so us */
	signal(SIGINT, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signal_fd < 0)
		die("no signalfd");
	while (!ended || !idle())
		turn(signal_fd);
	return 0;
}
