/* SPDX-License-Identifier: BSD-2-Clause */
/* What to type on an initiator so that it finds, logs in to, and keeps a target. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/terracectl/terracectl.h"

struct where {
	const char *target, *user;
	bool chap, mutual, discovery_chap;
	const json_t *addresses; /* "192.0.2.10:3260", "[2001:db8::10]:3260" */
};

/* "192.0.2.10", "3260". */
static void
split(const char *address, char *host, size_t host_cap, char *port, size_t port_cap)
{
	const char *colon = strrchr(address, ':'), *bracket = strchr(address, ']');
	size_t len = strlen(address);

	if (colon != NULL && (bracket == NULL || colon > bracket)) {
		len = (size_t)(colon - address);
		snprintf(port, port_cap, "%s", colon + 1);
	} else {
		snprintf(port, port_cap, "3260");
	}
	if (address[0] == '[' && bracket != NULL)
		snprintf(host, host_cap, "%.*s", (int)(bracket - address - 1), address + 1);
	else
		snprintf(host, host_cap, "%.*s", (int)len, address);
}

/* "…" of fmt, in which %A is an address as it is, %H its host, %P its port, %T the target, %U the user. */
static void
say(const struct where *w, const char *fmt, const char *address)
{
	char host[128], port[16];

	split(address, host, sizeof host, port, sizeof port);
	fputs("    ", stdout);
	for (; *fmt != '\0'; fmt++) {
		if (*fmt != '%') {
			putchar(*fmt);
			continue;
		}
		fmt++;
		out_text(stdout, *fmt == 'A'   ? address
		                 : *fmt == 'H' ? host
		                 : *fmt == 'P' ? port
		                 : *fmt == 'T' ? w->target
		                               : w->user);
	}
	putchar('\n');
}

static void
say_each(const struct where *w, const char *fmt)
{
	size_t i;
	const json_t *a;

	json_array_foreach(w->addresses, i, a) if (json_is_string(a))
	    say(w, fmt, json_string_value(a));
}

static const char *
first(const struct where *w)
{
	const char *a = json_string_value(json_array_get(w->addresses, 0));
	return a != NULL ? a : "";
}

static void
print_linux(const struct where *w)
{
	puts("  Linux (open-iscsi):");
	if (w->discovery_chap)
		puts("    # discovery needs CHAP: set discovery.sendtargets.auth.* in "
		     "/etc/iscsi/iscsid.conf");
	say_each(w, "iscsiadm -m discovery -t sendtargets -p %A");
	if (w->chap) {
		say(w, "iscsiadm -m node -T %T -o update -n node.session.auth.authmethod -v CHAP",
		    "");
		say(w, "iscsiadm -m node -T %T -o update -n node.session.auth.username -v %U", "");
		say(w, "iscsiadm -m node -T %T -o update -n node.session.auth.password -v SECRET",
		    "");
	}
	if (w->mutual)
		puts("    # and node.session.auth.username_in, password_in: the target proves "
		     "itself");
	say(w, "iscsiadm -m node -T %T -o update -n node.startup -v automatic", "");
	say(w, "iscsiadm -m node -T %T --login", "");
}

static void
print_windows(const struct where *w)
{
	puts("  Windows (PowerShell as administrator):");
	puts("    Set-Service MSiSCSI -StartupType Automatic; Start-Service MSiSCSI");
	say_each(w, "New-IscsiTargetPortal -TargetPortalAddress %H -TargetPortalPortNumber %P");
	if (w->mutual)
		puts("    Set-IscsiChapSecret -ChapSecret TARGETSECRET");
	if (w->chap)
		say(w,
		    "Connect-IscsiTarget -NodeAddress %T -IsPersistent $true -AuthenticationType "
		    "ONEWAYCHAP -ChapUsername %U -ChapSecret SECRET",
		    "");
	else
		say(w, "Connect-IscsiTarget -NodeAddress %T -IsPersistent $true", "");
}

static void
print_esxi(const struct where *w)
{
	puts("  ESXi (vmhba64: see `esxcli iscsi adapter list`):");
	puts("    esxcli iscsi software set --enabled=true");
	say_each(w, "esxcli iscsi adapter discovery sendtarget add --adapter=vmhba64 --address=%A");
	if (w->chap)
		say(w,
		    "esxcli iscsi adapter auth chap set --adapter=vmhba64 --direction=uni "
		    "--level=required --authname=%U --secret=SECRET",
		    first(w));
	puts("    esxcli storage core adapter rescan --adapter=vmhba64");
}

static const struct {
	const char *name;
	void (*print)(const struct where *w);
} systems[] = {
    {"linux", print_linux},
    {"windows", print_windows},
    {"esxi", print_esxi},
};
#define SYSTEM_COUNT (sizeof systems / sizeof systems[0])

/* The addresses of this machine that others can reach, of one family. */
static void
add_own(json_t *to, int family, const char *port)
{
	struct ifaddrs *all;
	char host[NI_MAXHOST], text[NI_MAXHOST + 32];

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *a = all; a != NULL; a = a->ifa_next) {
		if (a->ifa_addr == NULL || a->ifa_addr->sa_family != family ||
		    (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP))
			continue;
		socklen_t len =
		    family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
		/* A link-local address means nothing without its link. */
		if (getnameinfo(a->ifa_addr, len, host, sizeof host, NULL, 0, NI_NUMERICHOST) !=
		        0 ||
		    strchr(host, '%') != NULL)
			continue;
		snprintf(text, sizeof text, family == AF_INET ? "%s:%s" : "[%s]:%s", host, port);
		json_array_append_new(to, json_string(text));
	}
	freeifaddrs(all);
}

/* A portal that listens on all addresses is reached at each of them: a new list. */
json_t *
tool_reachable(const json_t *addresses)
{
	json_t *list = json_array();
	char host[128], port[16];
	size_t i;
	json_t *a;

	json_array_foreach(addresses, i, a)
	{
		if (!json_is_string(a))
			continue;
		split(json_string_value(a), host, sizeof host, port, sizeof port);
		size_t before = json_array_size(list);
		if (strcmp(host, "0.0.0.0") == 0)
			add_own(list, AF_INET, port);
		else if (strcmp(host, "::") == 0)
			add_own(list, AF_INET6, port);
		else
			json_array_append(list, a);
		if (json_array_size(list) == before && strcmp(host, "0.0.0.0") == 0) {
			/* A machine with nothing but itself. */
			snprintf(host, sizeof host, "127.0.0.1:%.8s", port);
			json_array_append_new(list, json_string(host));
		}
	}
	return list;
}

static void
print_target(const json_t *target, const char *os)
{
	const char *user = get_text(target, "user");
	json_t *addresses = tool_reachable(json_object_get(target, "addresses"));
	struct where w = {
	    .target = get_text(target, "name"),
	    .chap = get_bool(target, "chap"),
	    .mutual = get_bool(target, "mutual"),
	    .discovery_chap = get_bool(target, "discovery_chap"),
	    .user = user[0] != '\0' ? user : "USER",
	    .addresses = addresses,
	};

	out_styled(STYLE_BOLD, w.target);
	putchar('\n');
	if (json_array_size(addresses) == 0)
		puts("  It has no address that can be reached: see `terracectl portal list`.");
	for (size_t i = 0; json_array_size(addresses) > 0 && i < SYSTEM_COUNT; i++)
		if (os[0] == '\0' || strcmp(os, systems[i].name) == 0)
			systems[i].print(&w);
	if (w.chap)
		puts("  SECRET is what was set with `terracectl chap create`; nobody can show it.");
	json_decref(addresses);
}

static bool
is_system(const char *os)
{
	bool found = os[0] == '\0';

	for (size_t i = 0; i < SYSTEM_COUNT; i++)
		found |= strcmp(os, systems[i].name) == 0;
	return found;
}

int
run_connect(struct tool *t, const struct verb *v, json_t *params)
{
	const char *only = get_text(t->local, "target"), *os = get_text(t->local, "os");
	int status;
	size_t i, shown = 0;
	const json_t *target;

	(void)params;
	if (!is_system(os))
		return tool_error(t, TOOL_USAGE, "--os is linux, windows or esxi, not \"%s\"", os);
	json_t *answer = tool_call(t, v->method, NULL, &status);
	if (answer == NULL)
		return status;
	if (t->json)
		tool_print_json(answer, false);
	json_array_foreach(answer, i, target)
	{
		if (only[0] != '\0' && strcmp(get_text(target, "name"), only) != 0)
			continue;
		if (shown++ > 0 && !t->json)
			putchar('\n');
		if (!t->json)
			print_target(target, os);
	}
	if (shown == 0 && only[0] != '\0')
		status = tool_error(t, TOOL_FAILED, "there is no target %s", only);
	else if (shown == 0 && !t->json)
		puts("There are no targets.");
	json_decref(answer);
	return status;
}
