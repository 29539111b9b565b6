/* SPDX-License-Identifier: BSD-2-Clause */
/* The service manager: ready, status, end, and the watchdog that all loops answer for. */
#include "daemon/service.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

#define LOOKS_IN_INTERVAL 4u /* a loop may be busy for a while before the manager acts */
#define USEC_MAX UINT64_C(1000000000000)

/* A question to one loop, on its way there and back. */
struct question {
	struct loop_msg msg;
	struct service *service;
};

struct service {
	struct daemon *d;
	int fd; /* -1: no manager */
	struct sockaddr_un address;
	socklen_t address_len;
	struct loop_timer timer;
	bool watching;
	uint64_t look_ns;
	struct question questions[LOOP_COUNT_MAX];
	unsigned unanswered;
};

static void
say(const struct service *s, const char *text)
{
	if (s != NULL && s->fd >= 0)
		(void)sendto(s->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL,
		    (const struct sockaddr *)&s->address, s->address_len);
}

/* ---- the watchdog -------------------------------------------------------------------------------- */

/* Home again: the loop is alive. */
static void
on_answer(struct loop_msg *m)
{
	struct service *s = container_of(m, struct question, msg)->service;

	if (--s->unanswered == 0)
		say(s, "WATCHDOG=1");
}

static void
on_question(struct loop_msg *m)
{
	struct service *s = container_of(m, struct question, msg)->service;

	m->run = on_answer;
	loop_send(s->d->loops[0], m);
}

/*
 * One round at a time: a loop that hangs leaves its question unanswered, and the manager acts when the
 * interval is over. At the end loops go one by one, so home answers for all.
 */
static void
on_look(struct loop_timer *t)
{
	struct service *s = container_of(t, struct service, timer);
	struct daemon *d = s->d;

	loop_timer_set(&s->timer, s->look_ns);
	if (d->stopping) {
		say(s, "WATCHDOG=1");
		return;
	}
	if (s->unanswered > 0)
		return;
	s->unanswered = d->loop_count;
	for (unsigned i = 0; i < d->loop_count; i++) {
		s->questions[i].service = s;
		s->questions[i].msg.run = on_question;
		loop_send(d->loops[i], &s->questions[i].msg);
	}
}

static void
watch(struct service *s, const char *usec)
{
	uint64_t interval_us;

	if (usec == NULL || text_parse_u64(usec, USEC_MAX, &interval_us) < 0 || interval_us == 0)
		return;
	s->look_ns = interval_us * 1000 / LOOKS_IN_INTERVAL;
	loop_timer_init(&s->timer, s->d->loops[0], on_look);
	s->watching = true;
}

/* ---- start and end -------------------------------------------------------------------------------- */

static int
connect_manager(struct service *s, const char *path)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len >= sizeof s->address.sun_path)
		return -EINVAL;
	s->address.sun_family = AF_UNIX;
	memcpy(s->address.sun_path, path, len);
	if (path[0] == '@')
		s->address.sun_path[0] = '\0'; /* abstract */
	s->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return s->fd < 0 ? -errno : 0;
}

int
daemon_open_service(void *ctx)
{
	struct daemon *d = ctx;
	const char *path = getenv("NOTIFY_SOCKET"), *pid = getenv("WATCHDOG_PID");
	struct service *s = calloc(1, sizeof *s);

	if (s == NULL)
		return -ENOMEM;
	*s = (struct service){.d = d, .fd = -1};
	if (path != NULL && path[0] != '\0') {
		int rc = connect_manager(s, path);
		if (rc < 0)
			log_warn(
			    "daemon", "NOTIFY_SOCKET %s can't be used: %s", path, strerror(-rc));
	}
	if (s->fd >= 0 && (pid == NULL || strtoll(pid, NULL, 10) == getpid()))
		watch(s, getenv("WATCHDOG_USEC"));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	d->service = s;
	daemon_service_status(d, "starting");
	return 0;
}

void
daemon_close_service(void *ctx)
{
	struct daemon *d = ctx;
	struct service *s = d->service;

	if (s->watching)
		loop_timer_cancel(&s->timer);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
	d->service = NULL;
}

/* ---- what happens ------------------------------------------------------------------------------------ */

void
daemon_service_status(struct daemon *d, const char *fmt, ...)
{
	char text[256] = "STATUS=";
	size_t head = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + head, sizeof text - head, fmt, ap);
	va_end(ap);
	text[strcspn(text, "\n")] = '\0';
	say(d->service, text);
}

void
daemon_service_serving(struct daemon *d)
{
	daemon_service_status(
	    d, "serving %u LUN%s", d->now.lun_count, d->now.lun_count == 1 ? "" : "s");
}

void
daemon_service_ready(struct daemon *d)
{
	char text[128];

	snprintf(text, sizeof text, "READY=1\nSTATUS=serving %u LUN%s", d->now.lun_count,
	    d->now.lun_count == 1 ? "" : "s");
	say(d->service, text);
	if (d->service->watching)
		loop_timer_set(&d->service->timer, d->service->look_ns);
}

void
daemon_service_stopping(struct daemon *d)
{
	say(d->service, "STOPPING=1\nSTATUS=asking initiators to log out");
}
