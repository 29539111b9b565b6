/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * terrace-bench-tcp: what loopback TCP alone can do with the bytes of iSCSI reads and writes. A read
 * is a 48-byte request and an answer of 48 bytes and the data; a write is a request with the data
 * and a 48-byte answer. The server (a child process on a core of its own) spins, does no work per
 * request and sends at most 8 answers a write; the client spins, as terrace-bench-iscsi does. No
 * target over TCP can be faster than this by much.
 *
 * With --pace the client begins so many requests a second, and the server sleeps until one comes: poll,
 * receive, send. What CPU that takes, no target that sleeps can take less of by much.
 */
#include "bench/histogram.h"
#include "bench/proc_cpu.h"

#include "base/text.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 48u
#define ANSWERS_A_WRITE 8u
#define DEPTH_MAX 1024u
#define BLOCK_BYTES_MAX (1u << 20)
#define BUFFER_BYTES (256u << 10)
#define PACE_MAX 1000000u
/* As in the iSCSI generator: larger answers are dropped in the kernel, not copied out. */
#define TRUNC_BYTES_MIN 12288u

struct options {
	bool writes;
	bool json;
	uint32_t depth;
	uint32_t block_bytes;
	uint32_t pace_iops; /* 0: as fast as it goes */
	double seconds;
	double warmup_seconds;
	int server_cpu;
	int client_cpu;
};

struct client {
	const struct options *opt;
	int fd;
	uint32_t request_bytes;
	uint32_t answer_bytes;
	uint64_t queued; /* requests handed to send_requests(), ever */
	uint64_t done;
	uint64_t unsent_bytes;        /* of the queued requests */
	uint64_t due_ns;              /* with a pace: of the next request */
	uint32_t received_bytes;      /* of the next answer */
	uint64_t start_ns[DEPTH_MAX]; /* by request number modulo depth */
	struct histogram latency;
	bool measuring;
};

static uint8_t data_buffer[BLOCK_BYTES_MAX];
static uint8_t receive_buffer[BUFFER_BYTES];

static uint64_t
now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

_Noreturn static void
die(const char *what)
{
	fprintf(stderr, "terrace-bench-tcp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (cpu >= 0 && sched_setaffinity(0, sizeof set, &set))
		die("cannot run on the chosen CPU");
}

/* Fills `iov` with the next `bytes` of a stream of equal messages (header, data_bytes of data). */
static int
stream_iov(struct iovec *iov, int cap, uint64_t bytes, uint32_t data_bytes)
{
	static uint8_t header[HEADER_BYTES];
	const uint32_t message = HEADER_BYTES + data_bytes;
	int n = 0;
	/* The unsent rest of a message comes first. */
	uint32_t at = (uint32_t)((message - bytes % message) % message);
	while (bytes > 0 && n + 2 <= cap) {
		if (at < HEADER_BYTES) {
			uint32_t len = HEADER_BYTES - at;
			iov[n++] = (struct iovec){header + at, len};
			bytes -= len;
			at = HEADER_BYTES;
		}
		uint32_t len = message - at;
		if (len > 0)
			iov[n++] = (struct iovec){data_buffer + (at - HEADER_BYTES), len};
		bytes -= len;
		at = 0;
	}
	return n;
}

/* Bytes sent, 0 if the socket is full, -1 with errno if the other end is gone. */
static ssize_t
send_stream(int fd, uint64_t bytes, uint32_t data_bytes)
{
	struct iovec iov[128];
	struct msghdr msg = {.msg_iov = iov};
	msg.msg_iovlen = (size_t)stream_iov(iov, 128, bytes, data_bytes);
	ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n;
}

/* Child: counts the bytes of requests and streams the answers, until the client goes. */
_Noreturn static void
serve(const struct options *o, int fd)
{
	const uint32_t request_bytes = HEADER_BYTES + (o->writes ? o->block_bytes : 0);
	const uint32_t data_bytes = o->writes ? 0 : o->block_bytes;
	const uint64_t answer_bytes = HEADER_BYTES + data_bytes;
	uint64_t unsent_bytes = 0;
	uint64_t partial_bytes = 0;
	for (;;) {
		ssize_t n = recv(fd, receive_buffer, sizeof receive_buffer, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			exit(0);
		if (n < 0 && o->pace_iops && !unsent_bytes) {
			struct pollfd p = {.fd = fd, .events = POLLIN};
			(void)poll(&p, 1, -1);
			continue;
		}
		if (n > 0) {
			partial_bytes += (uint64_t)n;
			unsent_bytes += partial_bytes / request_bytes * answer_bytes;
			partial_bytes %= request_bytes;
		}
		while (unsent_bytes > 0) {
			/* At most 8 answers, ending where an answer ends; a begun one counts. */
			uint64_t bytes = unsent_bytes;
			uint64_t begun_bytes = unsent_bytes % answer_bytes;
			if (bytes > ANSWERS_A_WRITE * answer_bytes)
				bytes = begun_bytes +
				        (ANSWERS_A_WRITE - (begun_bytes ? 1 : 0)) * answer_bytes;
			ssize_t sent = send_stream(fd, bytes, data_bytes);
			if (sent < 0)
				exit(0);
			unsent_bytes -= (uint64_t)sent;
			if ((uint64_t)sent < bytes)
				break;
		}
	}
}

static void
send_requests(struct client *c, uint64_t now)
{
	const struct options *o = c->opt;
	while (c->queued - c->done < o->depth) {
		uint64_t start = now;
		if (o->pace_iops) {
			if (now < c->due_ns)
				break;
			start = c->due_ns; /* when it was due: a late one has waited */
			c->due_ns += 1000000000u / o->pace_iops;
		}
		c->start_ns[c->queued % o->depth] = start;
		c->queued++;
		c->unsent_bytes += c->request_bytes;
	}
	while (c->unsent_bytes > 0) {
		ssize_t sent = send_stream(c->fd, c->unsent_bytes, c->request_bytes - HEADER_BYTES);
		if (sent < 0)
			die("send");
		if (sent == 0)
			break;
		c->unsent_bytes -= (uint64_t)sent;
	}
}

static void
receive_answers(struct client *c)
{
	ssize_t n;
	uint32_t left = c->answer_bytes - c->received_bytes;
	if (left >= TRUNC_BYTES_MIN)
		n = recv(c->fd, NULL, left, MSG_DONTWAIT | MSG_TRUNC);
	else
		n = recv(c->fd, receive_buffer, sizeof receive_buffer, MSG_DONTWAIT);
	if (n == 0)
		die("the server ended");
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			die("receive");
		return;
	}
	uint64_t now = now_ns();
	uint64_t bytes = c->received_bytes + (uint64_t)n;
	for (; bytes >= c->answer_bytes; bytes -= c->answer_bytes) {
		if (c->measuring)
			histogram_record(&c->latency, now - c->start_ns[c->done % c->opt->depth]);
		c->done++;
	}
	c->received_bytes = (uint32_t)bytes;
	send_requests(c, now);
}

static uint64_t
run_for(struct client *c, double seconds)
{
	uint64_t start = now_ns();
	uint64_t end = start + (uint64_t)(seconds * 1e9);
	while (now_ns() < end)
		for (int i = 0; i < 16; i++) {
			receive_answers(c);
			if (c->unsent_bytes || c->opt->pace_iops)
				send_requests(c, now_ns());
		}
	return now_ns() - start;
}

/* A connected pair over loopback TCP. */
static void
connect_pair(int ret_fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	const int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || ret_fds[0] < 0 || bind(listener, (struct sockaddr *)&at, len) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&at, &len) ||
	    connect(ret_fds[0], (struct sockaddr *)&at, len))
		die("connect");
	ret_fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (ret_fds[1] < 0)
		die("accept");
	close(listener);
	for (int i = 0; i < 2; i++)
		setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* `cpu_ns`: of the server, while it was measured. */
static void
report(const struct client *c, double seconds, uint64_t cpu_ns)
{
	const struct options *o = c->opt;
	const char *kind = o->writes ? "write" : "read";
	double iops = (double)c->latency.count / seconds;
	double mb_s = iops * o->block_bytes / 1e6;
	double p50_us = (double)histogram_percentile(&c->latency, 500000) / 1000;
	double p99_us = (double)histogram_percentile(&c->latency, 990000) / 1000;
	double cpu_percent = (double)cpu_ns / seconds / 1e7;
	double cpu_us = c->latency.count ? (double)cpu_ns / 1000 / (double)c->latency.count : 0;
	if (o->json)
		printf("{\"kind\":\"%s\",\"block\":%u,\"depth\":%u,\"iops\":%.0f,\"mb_s\":%.1f,"
		       "\"p50_us\":%.1f,\"p99_us\":%.1f,"
		       "\"target_cpu\":{\"percent\":%.1f,\"us_per_io\":%.2f}}\n",
		    kind, o->block_bytes, o->depth, iops, mb_s, p50_us, p99_us, cpu_percent,
		    cpu_us);
	else
		printf("%s of %u bytes, depth %u: %.0f IOPS, %.1f MB/s, p50 %.1f us, p99 %.1f us,"
		       " server %.1f %% of a core\n",
		    kind, o->block_bytes, o->depth, iops, mb_s, p50_us, p99_us, cpu_percent);
}

static uint64_t
server_cpu_ns(pid_t server)
{
	static struct proc_cpu cpu;
	uint64_t sum_ns = 0;
	int r = proc_cpu_read(server, &cpu);
	if (r < 0) {
		errno = -r;
		die("CPU time of the server");
	}
	for (uint32_t i = 0; i < cpu.thread_count; i++)
		sum_ns += cpu.threads[i].run_ns;
	return sum_ns;
}

static void
usage(const char *program)
{
	printf("usage: %s [--mix 100|0] [--block SIZE] [--depth N] [--seconds S] [--warmup S]\n"
	       "       [--pace IOPS] [--server-cpu N] [--cpu N] [--json]\n"
	       "--mix 100 (default): reads; 0: writes. Depth 32, block 4KiB, 2 s, warm-up 0.3 s.\n",
	    program);
}

static bool
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
	    {"mix", required_argument, NULL, 'm'},
	    {"block", required_argument, NULL, 'b'},
	    {"depth", required_argument, NULL, 'd'},
	    {"pace", required_argument, NULL, 'p'},
	    {"seconds", required_argument, NULL, 's'},
	    {"warmup", required_argument, NULL, 'w'},
	    {"server-cpu", required_argument, NULL, 'S'},
	    {"cpu", required_argument, NULL, 'c'},
	    {"json", no_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	for (int id; (id = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		uint64_t v = 0;
		char *end = NULL;
		bool bad = false;
		switch (id) {
		case 'm':
			bad = text_parse_u64(optarg, 100, &v) || (v != 0 && v != 100);
			o->writes = v == 0;
			break;
		case 'b':
			bad = text_parse_size(optarg, &v) || v == 0 || v > BLOCK_BYTES_MAX;
			o->block_bytes = (uint32_t)v;
			break;
		case 'd':
			bad = text_parse_u64(optarg, DEPTH_MAX, &v) || v == 0;
			o->depth = (uint32_t)v;
			break;
		case 'p':
			bad = text_parse_u64(optarg, PACE_MAX, &v) || v == 0;
			o->pace_iops = (uint32_t)v;
			break;
		case 's':
			o->seconds = strtod(optarg, &end);
			bad = *end || !(o->seconds > 0 && o->seconds < 86400);
			break;
		case 'w':
			o->warmup_seconds = strtod(optarg, &end);
			bad = *end || !(o->warmup_seconds >= 0 && o->warmup_seconds < 86400);
			break;
		case 'S':
		case 'c':
			bad = text_parse_u64(optarg, CPU_SETSIZE - 1, &v);
			*(id == 'c' ? &o->client_cpu : &o->server_cpu) = (int)v;
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			usage(argv[0]);
			exit(0);
		default:
			return false;
		}
		if (bad) {
			fprintf(stderr, "%s: bad value '%s'\n", argv[0], optarg);
			return false;
		}
	}
	return optind == argc;
}

int
main(int argc, char **argv)
{
	struct options o = {.depth = 32,
	    .block_bytes = 4096,
	    .seconds = 2,
	    .warmup_seconds = 0.3,
	    .server_cpu = -1,
	    .client_cpu = -1};
	if (!parse_options(argc, argv, &o)) {
		fprintf(stderr, "%s: --help lists the options\n", argv[0]);
		return 2;
	}
	int fds[2];
	connect_pair(fds);
	pid_t parent = getpid();
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			exit(1);
		close(fds[0]);
		pin(o.server_cpu);
		serve(&o, fds[1]);
	}
	close(fds[1]);
	pin(o.client_cpu);
	static struct client c;
	c.opt = &o;
	c.fd = fds[0];
	c.request_bytes = HEADER_BYTES + (o.writes ? o.block_bytes : 0);
	c.answer_bytes = HEADER_BYTES + (o.writes ? 0 : o.block_bytes);
	histogram_init(&c.latency);
	c.due_ns = now_ns();
	send_requests(&c, c.due_ns);
	run_for(&c, o.warmup_seconds);
	uint64_t cpu_before_ns = server_cpu_ns(child);
	c.measuring = true;
	double seconds = (double)run_for(&c, o.seconds) / 1e9;
	c.measuring = false;
	uint64_t cpu_ns = server_cpu_ns(child) - cpu_before_ns;
	close(c.fd);
	waitpid(child, NULL, 0);
	report(&c, seconds, cpu_ns);
	return 0;
}
