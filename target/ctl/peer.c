/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is at the other end. While the server serves only /etc/passwd and /etc/group are read: a
 * directory service could take seconds to answer, and this loop serves initiators. The kernel itself
 * says which groups a process is in, so that membership may come from anywhere.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl_priv.h"

#define NO_GROUP ((gid_t)-1)

static void
name_user(struct ctl_peer *p)
{
	FILE *f = fopen("/etc/passwd", "re");

	snprintf(p->user, sizeof p->user, "uid %u", (unsigned)p->uid);
	if (f == NULL)
		return;
	for (const struct passwd *pw; (pw = fgetpwent(f)) != NULL;) {
		if (pw->pw_uid == p->uid) {
			snprintf(p->user, sizeof p->user, "%s", pw->pw_name);
			break;
		}
	}
	fclose(f);
}

/* A group that was made since the server was created counts too. */
static gid_t
group_now(const struct peer_group *g)
{
	FILE *f = fopen("/etc/group", "re");
	gid_t gid = NO_GROUP;

	if (f == NULL)
		return g->gid;
	for (const struct group *gr; gid == NO_GROUP && (gr = fgetgrent(f)) != NULL;)
		if (strcmp(gr->gr_name, g->name) == 0)
			gid = gr->gr_gid;
	fclose(f);
	return gid != NO_GROUP ? gid : g->gid;
}

static void
group_init(struct peer_group *g, const char *name)
{
	snprintf(g->name, sizeof g->name, "%s", name);
	const struct group *gr = getgrnam(g->name);
	g->gid = gr != NULL ? gr->gr_gid : NO_GROUP;
}

void
peer_groups_init(struct peer_groups *g, const char *change, const char *read)
{
	group_init(&g->change, change != NULL ? change : "terrace");
	group_init(&g->read, read != NULL ? read : "terrace-ro");
}

static bool
in_group(const struct sock *sock, const struct peer_group *g)
{
	gid_t gid = group_now(g);
	return gid != NO_GROUP && sock_peer_in_group(sock, gid);
}

void
peer_identify(const struct sock *sock, const struct peer_groups *g, struct ctl_peer *ret)
{
	struct sock_process process;

	*ret = (struct ctl_peer){.uid = (uid_t)-1, .gid = NO_GROUP, .user = "somebody unknown"};
	if (sock_peer_process(sock, &process) < 0)
		return;
	ret->uid = process.uid;
	ret->gid = process.gid;
	ret->pid = process.pid;
	name_user(ret);
	if (ret->uid == 0 || ret->uid == geteuid()) {
		ret->may_read = ret->may_change = true;
		return;
	}
	ret->may_change = in_group(sock, &g->change);
	ret->may_read = ret->may_change || in_group(sock, &g->read);
}
