/* SPDX-License-Identifier: BSD-2-Clause */
/* terrace-web: opens the socket, becomes its user, serves until told to stop. */
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "web/web.h"

/* Started by root it becomes the user that it has for itself; never root by accident. */
static bool
become(const char *wanted)
{
	const char *name = wanted != NULL ? wanted : WEB_USER;
	const struct passwd *pw;

	if (geteuid() != 0) {
		if (wanted == NULL)
			return true;
		fprintf(stderr, "terrace-web: only root can become another user (--user)\n");
		return false;
	}
	pw = getpwnam(name);
	if (pw == NULL) {
		fprintf(stderr,
		    "terrace-web: there is no user %s. Make one that may ask terraced "
		    "(useradd --system --groups terrace-ro %s), or name another with --user\n",
		    name, name);
		return false;
	}
	if (pw->pw_uid == 0)
		return true; /* asked for by name */
	if (initgroups(name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0 ||
	    setuid(0) == 0) {
		fprintf(stderr, "terrace-web: can't become %s: %s\n", name, strerror(errno));
		return false;
	}
	return true;
}

/* Neither a core file nor a program with more rights can come of it. */
static void
harden(void)
{
	const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static bool
is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}

static int
serve(const struct options *o, struct http *h, const sigset_t *ends)
{
	char url[128];
	int sig;

	if (http_serve(h) < 0) {
		fprintf(stderr, "terrace-web: can't start: out of memory\n");
		return 1;
	}
	http_url(h, url, sizeof url);
	printf("terrace-web: %s\n", url);
	if (!is_loopback(&o->listen))
		puts(
		    "terrace-web: whoever reaches this address sees names and figures: there is no "
		    "password");
	fflush(stdout);
	while (sigwait(ends, &sig) != 0)
		;
	return 0;
}

static int
run(const struct options *o)
{
	struct source *s = NULL;
	struct http *h = NULL;
	char reason[256];
	sigset_t ends;
	int status = 1;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL); /* before any thread */
	int rc = source_create(o->control, &s);
	if (rc < 0)
		fprintf(stderr, "terrace-web: --control: %s\n", strerror(-rc));
	else if (http_open(o, s, &h, reason, sizeof reason) < 0)
		fprintf(stderr, "terrace-web: %s\n", reason);
	else if (become(o->user)) {
		harden();
		status = serve(o, h, &ends);
	}
	http_close(h);
	source_destroy(s);
	return status;
}

int
main(int argc, char **argv)
{
	struct options o;
	int status = options_parse(argc, argv, &o);

	return status >= 0 ? status : run(&o);
}
