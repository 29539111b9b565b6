/* SPDX-License-Identifier: BSD-2-Clause */
/* terrace-fuse: command line, mounting, the loop, the end. */
#define FUSE_USE_VERSION 34
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "fuse/terrace_fuse.h"

#define DEFAULT_CONTROL "/run/terrace/control.sock"
#define GROUP "terrace"
#define REQUESTS_PER_TURN 16
#define NICE_DEFAULT 5 /* initiators come first */
#define NICE_MAX 19

static const char help_text[] =
    "Usage: terrace-fuse [--control SOCKET] [--nbd SOCKET] [--nice N] DIR\n"
    "Mounts what terraced serves as a tree of files at DIR, an empty folder, until it is "
    "unmounted\n"
    "(umount DIR, or fusermount3 -u DIR) or ended with a signal.\n"
    "\n"
    "  --control SOCKET  control socket of terraced (" DEFAULT_CONTROL ")\n"
    "  --nbd SOCKET      where terraced serves LUNs over NBD (as terraced says)\n"
    "  --nice N          nice level, 0 to 19: what it does comes after others (5)\n"
    "  --background      return when it is mounted, and go on in the background\n"
    "  -h, --help        this text\n"
    "  -V, --version     the version\n"
    "\n"
    "As root everybody may use the tree whom its permissions let: root and the group terrace.\n"
    "Exit status: 0 unmounted or ended, 1 failed, 2 usage. See terrace-fuse(8).\n";

enum { OPT_CONTROL = 256, OPT_NBD, OPT_NICE, OPT_BACKGROUND, OPT_PARENT_FD };

static const struct option long_options[] = {
    {"control", required_argument, NULL, OPT_CONTROL},
    {"nbd", required_argument, NULL, OPT_NBD},
    {"nice", required_argument, NULL, OPT_NICE},
    {"background", no_argument, NULL, OPT_BACKGROUND},
    {"parent-fd", required_argument, NULL, OPT_PARENT_FD}, /* of terraced */
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

struct program {
	struct server server;
	const char *dir;
	bool background, made;
	int nice;
	int parent_fd; /* -1: none. Its end is ours; it gets "ready" or "failed REASON" */
	char path[PATH_MAX];
	struct watch fuse_watch, signal_watch, parent_watch;
	struct fuse_buf buf;
	int status;
};

/* ---- what is told ----------------------------------------------------------------------------------- */

static void
tell_parent(const struct program *p, const char *what, const char *text)
{
	char line[1100];
	if (p->parent_fd < 0)
		return;
	int len = snprintf(line, sizeof line, "%s %s\n", what, text);
	if (len > 0 && write(p->parent_fd, line, (size_t)len) < 0)
		return; /* it is ending: we notice */
}

static int
fail(const struct program *p, const char *text)
{
	fprintf(stderr, "terrace-fuse: %s\n", text);
	tell_parent(p, "failed", text);
	return EXIT_FAILED;
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static void
on_fuse(struct watch *w, uint32_t events)
{
	struct program *p = container_of(w, struct program, fuse_watch);
	struct fuse_session *se = p->server.session;
	(void)events;

	for (unsigned i = 0; i < REQUESTS_PER_TURN && !fuse_session_exited(se); i++) {
		int n = fuse_session_receive_buf(se, &p->buf);
		if (n == -EINTR || n == -EAGAIN)
			return;
		if (n <= 0) {
			p->server.ev.stop = true; /* unmounted */
			p->status = n == 0 || n == -ENODEV ? EXIT_DONE : EXIT_FAILED;
			return;
		}
		fuse_session_process_buf(se, &p->buf);
	}
	if (fuse_session_exited(se))
		p->server.ev.stop = true;
}

static void
on_signal(struct watch *w, uint32_t events)
{
	struct program *p = container_of(w, struct program, signal_watch);
	struct signalfd_siginfo si;
	(void)events;
	if (read(w->fd, &si, sizeof si) == (ssize_t)sizeof si)
		p->server.ev.stop = true;
}

/* The parent has ended: its tree goes with it. */
static void
on_parent(struct watch *w, uint32_t events)
{
	struct program *p = container_of(w, struct program, parent_watch);
	char c;
	(void)events;
	ssize_t n = read(w->fd, &c, 1);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		p->server.ev.stop = true;
}

static int
watch_all(struct program *p)
{
	struct events *ev = &p->server.ev;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p->signal_watch =
	    (struct watch){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .fire = on_signal};
	int fd = fuse_session_fd(p->server.session);
	p->fuse_watch = (struct watch){.fd = fd, .fire = on_fuse};
	if (p->signal_watch.fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	int rc = events_watch(ev, &p->signal_watch, EPOLLIN);
	if (rc == 0)
		rc = events_watch(ev, &p->fuse_watch, EPOLLIN);
	p->parent_watch = (struct watch){.fd = p->parent_fd, .fire = on_parent};
	if (rc == 0 && p->parent_fd >= 0 && !p->background)
		rc = events_watch(ev, &p->parent_watch, EPOLLIN);
	return rc;
}

/* ---- mounting -------------------------------------------------------------------------------------------- */

static int
mount_session(struct program *p)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	bool root = geteuid() == 0;

	int rc = fuse_opt_add_arg(&args, "terrace-fuse");
	if (rc == 0)
		rc =
		    fuse_opt_add_arg(&args, "-osubtype=terrace,fsname=terrace,nosuid,nodev,noexec");
	if (rc == 0 && root)
		rc = fuse_opt_add_arg(&args, "-oallow_other,default_permissions");
	if (rc == 0)
		p->server.session =
		    fuse_session_new(&args, &server_ops, sizeof server_ops, &p->server);
	fuse_opt_free_args(&args);
	if (p->server.session == NULL)
		return -ENOMEM;
	if (fuse_session_mount(p->server.session, p->path) < 0) {
		fuse_session_destroy(p->server.session);
		p->server.session = NULL;
		return -EPERM;
	}
	return 0;
}

/* Whose files they are: root's and the group's, or this user's. */
static void
set_owner(struct server *s)
{
	s->uid = geteuid();
	s->gid = getegid();
	const struct group *g = geteuid() == 0 ? getgrnam(GROUP) : NULL;
	if (g != NULL)
		s->gid = g->gr_gid;
}

static int
open_server(struct server *s)
{
	int rc = events_init(&s->ev);
	list_init(&s->opens);
	list_init(&s->requests);
	list_init(&s->jobs);
	if (rc == 0)
		rc = rpc_create(&s->ev, s->control, &s->rpc);
	if (rc == 0)
		rc = source_create(&s->ev, s->rpc, &s->source);
	if (rc == 0)
		rc = tree_create(&s->tree);
	if (rc == 0)
		rc = disks_create(&s->ev, s->source, s->rpc, &s->disks);
	return rc;
}

static void
close_server(struct server *s)
{
	disks_destroy(s->disks);
	source_destroy(s->source);
	json_forget_list();
	rpc_destroy(s->rpc);
	tree_destroy(s->tree);
	events_fini(&s->ev);
}

static void
leave_terminal(struct program *p)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	close(p->parent_fd);
	p->parent_fd = -1;
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		close(null);
}

/* Whoever started it with a higher level has meant that. */
static void
set_nice(int level)
{
	if (getpriority(PRIO_PROCESS, 0) < level)
		(void)setpriority(PRIO_PROCESS, 0, level);
}

static int
serve(struct program *p)
{
	struct server *s = &p->server;
	char reason[1024];

	set_owner(s);
	int rc = open_server(s);
	if (rc < 0) {
		snprintf(reason, sizeof reason,
		    rc == -ENAMETOOLONG ? "--control %.900s is too long for a socket"
		                        : "%.900s: out of memory",
		    s->control);
		close_server(s);
		return fail(p, reason);
	}
	rc = mount_session(p);
	if (rc == 0) {
		rc = watch_all(p);
		if (rc == 0) {
			set_nice(p->nice);
			tell_parent(p, "ready", p->path);
			if (p->background)
				leave_terminal(p);
			rc = events_run(&s->ev);
		}
		/* Lazily: who has files open keeps them, and gets errors. */
		fuse_session_unmount(s->session);
		server_end(s);
		fuse_session_destroy(s->session);
		free(p->buf.mem);
	} else {
		snprintf(reason, sizeof reason, "can't mount at %.900s%s", p->path,
		    geteuid() != 0 ? ": is fuse3 installed, and the folder yours?" : "");
		p->status = fail(p, reason);
	}
	close_server(s);
	if (p->made)
		(void)rmdir(p->path);
	return rc < 0 && p->status == EXIT_DONE ? EXIT_FAILED : p->status;
}

/* ---- command line ------------------------------------------------------------------------------------------ */

static int
usage(const char *text, const char *what)
{
	fprintf(stderr, "terrace-fuse: %s%s\nTry 'terrace-fuse --help'.\n", text, what);
	return EXIT_USAGE;
}

/* -1: go on; else the exit status. */
static int
parse(struct program *p, int argc, char **argv)
{
	uint64_t number;
	int opt;

	while ((opt = getopt_long(argc, argv, "hV", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_CONTROL:
			p->server.control = optarg;
			break;
		case OPT_NBD:
			p->server.nbd = strcmp(optarg, "off") == 0 ? "" : optarg;
			break;
		case OPT_NICE:
			if (text_parse_u64(optarg, NICE_MAX, &number) < 0)
				return usage("--nice takes a number from 0 to 19, not ", optarg);
			p->nice = (int)number;
			break;
		case OPT_BACKGROUND:
			p->background = true;
			break;
		case OPT_PARENT_FD:
			if (text_parse_u64(optarg, 1024, &number) < 0 ||
			    fcntl((int)number, F_GETFD) < 0)
				return usage("--parent-fd is for terraced", "");
			p->parent_fd = (int)number;
			break;
		case 'h':
			fputs(help_text, stdout);
			return EXIT_DONE;
		case 'V':
			puts("terrace-fuse " TERRACE_VERSION);
			return EXIT_DONE;
		default:
			fputs("Try 'terrace-fuse --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return usage("where to mount? Give a folder", "");
	if (optind + 1 < argc)
		return usage("unexpected ", argv[optind + 1]);
	p->dir = argv[optind];
	if (p->dir[0] == '\0')
		return usage("the folder has no name", "");
	return -1;
}

/* The child goes on; its parent ends when the child says that it is mounted. */
static int
go_background(struct program *p)
{
	int ends[2];
	char text[64];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(p, strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		return fail(p, strerror(errno));
	if (pid > 0) {
		close(ends[1]);
		ssize_t n = read(ends[0], text, sizeof text);
		_exit(n >= 5 && memcmp(text, "ready", 5) == 0 ? EXIT_DONE : EXIT_FAILED);
	}
	close(ends[0]);
	setsid();
	p->parent_fd = ends[1];
	return -1;
}

int
main(int argc, char **argv)
{
	static struct program p = {.parent_fd = -1, .nice = NICE_DEFAULT};
	struct rlimit files;
	char reason[1024];

	const char *env = getenv("TERRACE_CONTROL");
	p.server.control = env != NULL && env[0] != '\0' ? env : DEFAULT_CONTROL;
	int status = parse(&p, argc, argv);
	if (status >= 0)
		return status;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (mount_prepare(p.dir, p.path, &p.made, reason, sizeof reason) < 0)
		return fail(&p, reason);
	if (p.background && (status = go_background(&p)) >= 0)
		return status;
	return serve(&p);
}
