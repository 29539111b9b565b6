/* SPDX-License-Identifier: BSD-2-Clause */
/* Interfaces that portals listen on. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/doctor/doctor_priv.h"

#define PORT_DEFAULT 3260u

bool
doctor_split_address(const char *text, char *addr, size_t cap, unsigned *ret_port)
{
	const char *end, *port = NULL;
	char *stop;

	if (text[0] == '[') {
		end = strchr(++text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		port = end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(text, ':');
		if (end != NULL && strchr(end + 1, ':') != NULL)
			end = NULL; /* bare IPv6 */
		else if (end != NULL)
			port = end + 1;
		if (end == NULL)
			end = text + strlen(text);
	}
	if ((size_t)(end - text) >= cap)
		return false;
	snprintf(addr, cap, "%.*s", (int)(end - text), text);
	unsigned long n = port != NULL ? strtoul(port, &stop, 10) : PORT_DEFAULT;
	if ((port != NULL && (*port == '\0' || *stop != '\0')) || n > 65535)
		return false;
	*ret_port = (unsigned)n;
	return true;
}

bool
doctor_is_wildcard(const char *addr)
{
	return strcmp(addr, "0.0.0.0") == 0 || strcmp(addr, "::") == 0 || strcmp(addr, "*") == 0;
}

bool
doctor_is_loopback(const char *addr)
{
	return strncmp(addr, "127.", 4) == 0 || strcmp(addr, "::1") == 0;
}

static bool
same_address(const char *a, const char *b)
{
	unsigned char x[16], y[16];

	if (inet_pton(AF_INET, a, x) == 1 && inet_pton(AF_INET, b, y) == 1)
		return memcmp(x, y, 4) == 0;
	return inet_pton(AF_INET6, a, x) == 1 && inet_pton(AF_INET6, b, y) == 1 &&
	       memcmp(x, y, 16) == 0;
}

/* Interfaces in use by portals. */
struct used {
	const char *name;
	double mtu;
};

/* A bond, a bridge or a VLAN can't send more than what it is made of. */
static void
look_below(struct doctor *d, const char *name, double mtu)
{
	struct tree_names entries;
	double below;

	tree_list(d, &entries, "/sys/class/net/%s", name);
	for (unsigned i = 0; i < entries.count; i++) {
		if (strncmp(entries.list[i], "lower_", 6) != 0)
			continue;
		const char *lower = entries.list[i] + 6;
		if (!tree_number(d, &below, "/sys/class/net/%s/mtu", lower) || below >= mtu)
			continue;
		doctor_say(d, DOCTOR_BAD, name, "%s has an MTU of %.0f, and %s below it has %.0f",
		    name, mtu, lower, below);
		doctor_act(
		    d, "ip link set %s mtu %.0f, and in the network's configuration", lower, mtu);
	}
	tree_names_fini(&entries);
}

static void
look_at_interface(struct doctor *d, struct used *u)
{
	if (tree_says(d, "0", "/sys/class/net/%s/carrier", u->name) ||
	    tree_says(d, "down", "/sys/class/net/%s/operstate", u->name)) {
		doctor_say(
		    d, DOCTOR_BAD, u->name, "%s, where a portal listens, has no link", u->name);
		doctor_act(d, "look at the cable and the switch: ip link show %s, ethtool %s",
		    u->name, u->name);
	}
	if (tree_says(d, "half", "/sys/class/net/%s/duplex", u->name)) {
		doctor_say(d, DOCTOR_BAD, u->name, "%s works half duplex", u->name);
		doctor_act(d, "ethtool %s; let both ends negotiate: ethtool -s %s autoneg on",
		    u->name, u->name);
	}
	if (tree_number(d, &u->mtu, "/sys/class/net/%s/mtu", u->name))
		look_below(d, u->name, u->mtu);
}

/* Adds the interface of an address; loopback and those that are known don't count. */
static void
use(const struct doctor *d, const char *addr, struct used *list, unsigned cap, unsigned *count)
{
	for (unsigned i = 0; i < d->facts->interface_count; i++) {
		const struct doctor_interface *x = &d->facts->interfaces[i];
		bool seen = false;
		if (doctor_is_loopback(x->address) || strncmp(x->address, "fe80:", 5) == 0 ||
		    (!doctor_is_wildcard(addr) && !same_address(addr, x->address)))
			continue;
		for (unsigned k = 0; k < *count; k++)
			seen |= strcmp(list[k].name, x->name) == 0;
		/* of everything that a wildcard means, what is a card or made of cards */
		if (doctor_is_wildcard(addr) &&
		    !tree_exists(d, "/sys/class/net/%s/device", x->name) &&
		    !tree_exists(d, "/sys/class/net/%s/bonding", x->name))
			continue;
		if (!seen && *count < cap)
			list[(*count)++] = (struct used){.name = x->name};
	}
}

static bool
have(const struct doctor *d, const char *addr)
{
	for (unsigned i = 0; i < d->facts->interface_count; i++)
		if (same_address(addr, d->facts->interfaces[i].address))
			return true;
	return doctor_is_wildcard(addr) || doctor_is_loopback(addr);
}

static void
compare_mtu(struct doctor *d, const struct used *list, unsigned count)
{
	const struct used *small = NULL, *large = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (list[i].mtu > 0 && (small == NULL || list[i].mtu < small->mtu))
			small = &list[i];
		if (list[i].mtu > 0 && (large == NULL || list[i].mtu > large->mtu))
			large = &list[i];
	}
	if (small == NULL || small->mtu >= large->mtu) {
		if (large != NULL && large->mtu > 1500)
			doctor_fine(d,
			    "interfaces of portals are up and have an MTU of %.0f; that the way "
			    "to initiators has it too: ping -M do -s %.0f INITIATOR",
			    large->mtu, large->mtu - 28);
		return;
	}
	doctor_say(d, DOCTOR_REMARK, small->name,
	    "portals listen on %s with an MTU of %.0f and on %s with %.0f", small->name, small->mtu,
	    large->name, large->mtu);
	doctor_act(d,
	    "one MTU for the whole storage network, on switches and initiators too; then from "
	    "here: ping -M do -s %.0f INITIATOR",
	    large->mtu - 28);
}

void
check_network(struct doctor *d)
{
	struct used list[256];
	unsigned count = 0, port;
	char addr[128];

	for (unsigned i = 0; i < d->facts->address_count; i++) {
		const struct doctor_address *a = &d->facts->addresses[i];
		if (!doctor_split_address(a->address, addr, sizeof addr, &port))
			continue;
		use(d, addr, list, sizeof list / sizeof list[0], &count);
		if (d->facts->interface_count > 0 && !have(d, addr)) {
			doctor_say(d, DOCTOR_BAD, a->portal,
			    "the portal %s listens on %s, and no interface has that address",
			    a->portal, addr);
			doctor_act(
			    d, "ip addr; give an interface this address, or the portal another");
		}
	}
	for (unsigned i = 0; i < count; i++)
		look_at_interface(d, &list[i]);
	compare_mtu(d, list, count);
	if (d->facts->address_count == 0)
		doctor_fine(d, "no portal");
	else if (count == 0)
		doctor_fine(d, "portals listen on this machine only");
}
