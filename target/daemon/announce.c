/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told to the person at the terminal: what is served, how to connect. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/caches.h"
#include "daemon/daemon.h"
#include "daemon/srp.h"

void
daemon_format_address(const struct sockaddr_storage *a, char *buf, size_t cap)
{
	char host[INET6_ADDRSTRLEN];
	if (a->ss_family == AF_IB) {
		struct srp_ib_addr ib;
		memcpy(&ib, a, sizeof ib);
		snprintf(buf, cap, "ib:%u", ib.port);
	} else if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		snprintf(buf, cap, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)a;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		snprintf(buf, cap, "%s:%u", host, ntohs(in->sin_port));
	}
}

static bool
is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
	return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
}

static void
announce_luns(const struct daemon *d)
{
	for (unsigned i = 0; i < d->now.lun_count; i++) {
		const struct daemon_lun *l = d->now.luns[i];
		char size[32];
		if (l->blk == NULL) {
			printf("  %-12s not served: %s\n", l->name, l->why);
			continue;
		}
		text_format_size(blk_get_info(l->blk)->size_bytes, size, sizeof size);
		printf("  %-12s %9s  %-12s %s%s\n", l->name, size, daemon_lun_mode(l),
		    daemon_is_memory(l->conf->store) ? l->conf->store : l->canonical,
		    l->conf->read_only ? " (read-only)" : "");
	}
}

static void
announce_srp(const struct daemon *d, const struct conf_target *target)
{
	struct srp_portal_info info;
	uint8_t id[SRP_PORT_ID_BYTES];
	char ext[17], guid[17], portal[80];

	daemon_srp_ids(target, id);
	srp_hex_format(id, 8, ext);
	srp_hex_format(id + 8, 8, guid);
	for (unsigned i = 0; d->srp != NULL && srp_server_portal(d->srp, i, &info); i++) {
		daemon_format_address(&info.addr, portal, sizeof portal);
		printf("  srp     id_ext=%s,ioc_guid=%s,dest=%s%s\n", ext, guid, portal,
		    info.listening ? "" : " (no RDMA device has this address yet)");
	}
}

void
daemon_announce(const struct daemon *d)
{
	struct sockaddr_storage addr;
	char portal[80];
	bool loopback = false;

	printf("terrace " TERRACE_VERSION ": serving %u LUN%s\n", d->conf->lun_count,
	    d->conf->lun_count == 1 ? "" : "s");
	announce_luns(d);
	for (unsigned t = 0; t < d->conf->target_count; t++) {
		const struct conf_target *target = &d->conf->targets[t];
		printf("target %s\n", target->name);
		for (unsigned i = 0; iscsi_server_portal(d->iscsi, i, &addr); i++) {
			daemon_format_address(&addr, portal, sizeof portal);
			loopback = is_loopback(&addr);
			if (target->open && target->lun_count > 0)
				printf("  url     iscsi://%s/%s/%u\n", portal, target->name,
				    target->luns[0].number);
			printf("  linux   iscsiadm -m discovery -t sendtargets -p %s && "
			       "iscsiadm -m node -T %s -p %s --login\n",
			    portal, target->name, portal);
		}
		announce_srp(d, target);
		if (target->open && target->chap_count == 0 && loopback)
			puts("  note    without a password every local user can reach these LUNs; "
			     "--user NAME:SECRET asks for one");
		else if (target->open && target->chap_count == 0)
			puts("  note    every initiator that reaches this address is admitted");
	}
	fflush(stdout);
}
