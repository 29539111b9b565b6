/* SPDX-License-Identifier: BSD-2-Clause */
/* Who has a TCP port: /proc/net/tcp gives the socket's inode, /proc/PID/fd its process. */
#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"

#define TCP_LISTEN 0x0a

/* Inode of the listening socket; false: nobody listens. Inode 0 means a socket of the kernel. */
static bool
listening_inode(const char *table, unsigned port, unsigned long *ret)
{
	char line[512];
	bool found = false;
	FILE *f = fopen(table, "re");

	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof line, f) != NULL) {
		unsigned local_port, state;
		unsigned long inode;
		if (sscanf(line,
		        " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu",
		        &local_port, &state, &inode) == 3 &&
		    state == TCP_LISTEN && local_port == port) {
			*ret = inode;
			found = true;
		}
	}
	fclose(f);
	return found;
}

static bool
process_has(const char *pid, const char *link_text)
{
	char path[300], target[64];
	bool found = false;

	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	DIR *d = opendir(path);
	if (d == NULL)
		return false;
	for (struct dirent *e; !found && (e = readdir(d)) != NULL;) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found = strcmp(target, link_text) == 0;
	}
	closedir(d);
	return found;
}

static void
name_of(const char *pid, char *buf, size_t cap)
{
	char path[300], comm[64] = "?";

	snprintf(path, sizeof path, "/proc/%s/comm", pid);
	FILE *f = fopen(path, "re");
	if (f != NULL) {
		if (fgets(comm, sizeof comm, f) != NULL)
			comm[strcspn(comm, "\n")] = '\0';
		fclose(f);
	}
	snprintf(buf, cap, "%s (pid %s)", comm, pid);
}

void
holder_of_port(unsigned port, char *buf, size_t cap)
{
	unsigned long inode;
	char text[64];

	buf[0] = '\0';
	if (!listening_inode("/proc/net/tcp", port, &inode) &&
	    !listening_inode("/proc/net/tcp6", port, &inode))
		return;
	if (inode == 0) {
		snprintf(buf, cap, "the kernel (LIO or SCST)");
		return;
	}
	snprintf(text, sizeof text, "socket:[%lu]", inode);
	DIR *proc = opendir("/proc");
	if (proc == NULL)
		return;
	for (struct dirent *e; (e = readdir(proc)) != NULL;) {
		if (isdigit((unsigned char)e->d_name[0]) && process_has(e->d_name, text)) {
			name_of(e->d_name, buf, cap);
			break;
		}
	}
	closedir(proc);
}
