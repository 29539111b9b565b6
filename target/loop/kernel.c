/* SPDX-License-Identifier: BSD-2-Clause */
/* Time, randomness and messages of the backends that run on a kernel. */
#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include "loop/loop_priv.h"

void
loop_kernel_send(struct loop *dst, struct loop_msg *m)
{
	mailbox_push(&dst->mailbox, m);
}

void
loop_kernel_job_submit(struct loop *l, struct loop_job *j)
{
	(void)l;
	worker_submit(j);
}

uint64_t
loop_kernel_clock_ns(const struct loop *l)
{
	(void)l;
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int64_t
loop_kernel_wall_s(const struct loop *l)
{
	(void)l;
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

void
loop_kernel_random_bytes(struct loop *l, void *buf, size_t len)
{
	(void)l;
	char *p = buf;
	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);
		if (n < 0) {
			/* Without GRND_NONBLOCK only a signal can interrupt it. */
			ASSERT(errno == EINTR);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}
