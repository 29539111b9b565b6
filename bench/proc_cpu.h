/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPU time of another process, thread by thread, from /proc/PID/task/TID/schedstat (nanoseconds on a
 * CPU, kernel work done in its context included), and its resident memory. The tick counts of
 * /proc/PID/stat are kept too: they are what "no ticks while idle" means.
 */
#ifndef BENCH_PROC_CPU_H
#define BENCH_PROC_CPU_H

#include <stdint.h>
#include <sys/types.h>

#define PROC_CPU_THREADS_MAX 256u

struct proc_cpu_thread {
	pid_t tid;
	char name[16];
	uint64_t run_ns;
};

struct proc_cpu {
	uint64_t ticks;     /* utime + stime of the whole process, in 1/sysconf(_SC_CLK_TCK) s */
	uint64_t rss_bytes; /* VmRSS */
	uint32_t thread_count;
	struct proc_cpu_thread threads[PROC_CPU_THREADS_MAX];
};

/*
 * Reads the state of `pid` now. 0; -ESRCH if there is no such process; -ENOTSUP if the kernel keeps
 * no schedstat; -E2BIG with more threads than PROC_CPU_THREADS_MAX; -EIO if a file has another form.
 */
int proc_cpu_read(pid_t pid, struct proc_cpu *ret);

/*
 * Subtracts `before` from `after`: each thread of `after` keeps what it ran in between (a thread
 * that is new keeps all). Returns the sum in nanoseconds; threads that ended in between are lost.
 */
uint64_t proc_cpu_delta(struct proc_cpu *after, const struct proc_cpu *before);

#endif
