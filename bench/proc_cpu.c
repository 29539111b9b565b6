/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/proc_cpu.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a whole small file, NUL-terminated. 0 or -errno (-ESRCH if it isn't there any more). */
static int
read_text(const char *path, char *buf, size_t cap)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	size_t n = fread(buf, 1, cap - 1, f);
	int r = ferror(f) ? -ESRCH : 0;
	fclose(f);
	buf[n] = '\0';
	return r;
}

/* Fields 14 and 15 of stat, counted after the command's closing parenthesis. */
static int
read_ticks(pid_t pid, uint64_t *ret_ticks)
{
	char path[64];
	char buf[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int r = read_text(path, buf, sizeof buf);
	if (r)
		return r;
	const char *p = strrchr(buf, ')');
	unsigned long long utime, stime;
	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &utime,
	              &stime) != 2)
		return -EIO;
	*ret_ticks = utime + stime;
	return 0;
}

static int
read_rss(pid_t pid, uint64_t *ret_bytes)
{
	char path[64];
	char buf[256];
	snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
	int r = read_text(path, buf, sizeof buf);
	if (r)
		return r;
	unsigned long long resident_pages;
	if (sscanf(buf, "%*u %llu", &resident_pages) != 1)
		return -EIO;
	*ret_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

static int
read_thread(pid_t pid, const char *tid, struct proc_cpu_thread *ret)
{
	char path[320];
	char buf[256];
	snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, tid);
	int r = read_text(path, buf, sizeof buf);
	if (r)
		return r;
	unsigned long long run_ns;
	if (sscanf(buf, "%llu", &run_ns) != 1)
		return -EIO;
	ret->tid = (pid_t)atoi(tid);
	ret->run_ns = run_ns;
	ret->name[0] = '\0';
	snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, tid);
	if (read_text(path, buf, sizeof buf) == 0) {
		buf[strcspn(buf, "\n")] = '\0';
		snprintf(ret->name, sizeof ret->name, "%.15s", buf);
	}
	return 0;
}

int
proc_cpu_read(pid_t pid, struct proc_cpu *ret)
{
	char path[64];
	memset(ret, 0, sizeof *ret);
	if (access("/proc/self/schedstat", R_OK) != 0)
		return -ENOTSUP;
	int r = read_ticks(pid, &ret->ticks);
	if (r == 0)
		r = read_rss(pid, &ret->rss_bytes);
	if (r)
		return r;
	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	for (struct dirent *e; r == 0 && (e = readdir(dir));) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		if (ret->thread_count == PROC_CPU_THREADS_MAX) {
			r = -E2BIG;
			break;
		}
		r = read_thread(pid, e->d_name, &ret->threads[ret->thread_count]);
		if (r == 0)
			ret->thread_count++;
		else if (r == -ESRCH)
			r = 0; /* The thread ended while we looked. */
	}
	closedir(dir);
	return r;
}

uint64_t
proc_cpu_delta(struct proc_cpu *after, const struct proc_cpu *before)
{
	uint64_t sum_ns = 0;
	after->ticks -= before->ticks;
	for (uint32_t i = 0; i < after->thread_count; i++) {
		struct proc_cpu_thread *t = &after->threads[i];
		for (uint32_t j = 0; j < before->thread_count; j++)
			if (before->threads[j].tid == t->tid) {
				t->run_ns -= before->threads[j].run_ns;
				break;
			}
		sum_ns += t->run_ns;
	}
	return sum_ns;
}
