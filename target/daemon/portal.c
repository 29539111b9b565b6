/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of portals: from text, and why one can't be listened on. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/plan.h"
#include "daemon/srp.h"

/* "ADDR:PORT", "[ADDR6]:PORT", "ADDR", "[ADDR6]", ":PORT" is refused: say which address. */
static int
resolve(const char *text, struct addrinfo **ret, char *port, size_t port_cap)
{
	char host[256];
	const char *p = NULL;

	if (text[0] == '[') {
		const char *close = strchr(text, ']');
		if (close == NULL || (size_t)(close - text) > sizeof host)
			return -EINVAL;
		memcpy(host, text + 1, (size_t)(close - text - 1));
		host[close - text - 1] = '\0';
		if (close[1] == ':')
			p = close + 2;
		else if (close[1] != '\0')
			return -EINVAL;
	} else {
		const char *colon = strrchr(text, ':');
		size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
		if (len == 0 || len >= sizeof host)
			return -EINVAL;
		memcpy(host, text, len);
		host[len] = '\0';
		p = colon != NULL ? colon + 1 : NULL;
	}
	if (p == NULL)
		snprintf(port, port_cap, "%u", ISCSI_PORT_DEFAULT);
	else
		snprintf(port, port_cap, "%s", p);
	struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICSERV | AI_PASSIVE,
	};
	return getaddrinfo(host, port, &hints, ret) == 0 ? 0 : -EINVAL;
}

int
portal_resolve(const char *text, struct plan_address *ret, char *reason, size_t cap)
{
	struct addrinfo *ai;
	if (ret->portal->protocol == CONF_PROTOCOL_SRP &&
	    daemon_srp_resolve(text, &ret->sa, &ret->sa_len))
		return 0;
	int rc = resolve(text, &ai, ret->port, sizeof ret->port);
	if (rc < 0) {
		snprintf(reason, cap,
		    "'%s' is no address to listen on: write 192.0.2.1:3260 or [2001:db8::1]:3260",
		    text);
		return rc;
	}
	memcpy(&ret->sa, ai->ai_addr, ai->ai_addrlen);
	ret->sa_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}

void
portal_failed(const struct plan_address *a, int rc, char *reason, size_t cap)
{
	const char *text = a->address->text, *port = a->port;
	char holder[96] = "";

	if (rc == -EADDRINUSE)
		holder_of_port((unsigned)atoi(port), holder, sizeof holder);
	if (rc == -EADDRINUSE && holder[0] != '\0')
		snprintf(reason, cap,
		    "port %s is in use by %s: stop that, or choose another port with --listen",
		    port, holder);
	else if (rc == -EADDRINUSE)
		snprintf(reason, cap, "port %s is in use: choose another one with --listen", port);
	else if (rc == -EADDRNOTAVAIL)
		snprintf(reason, cap, "%s is no address of this machine ('ip address' lists them)",
		    text);
	else if (rc == -EACCES)
		snprintf(reason, cap,
		    "no permission to listen on %s: ports below 1024 need root or "
		    "CAP_NET_BIND_SERVICE",
		    text);
	else
		snprintf(reason, cap, "can't listen on %s: %s", text, strerror(-rc));
}
