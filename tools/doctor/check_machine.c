/* SPDX-License-Identifier: BSD-2-Clause */
/* Cards, updates, io_uring, FUSE, RDMA: what the machine is like. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/doctor/doctor_priv.h"

/* ---- pcie --------------------------------------------------------------------------------------------- */

/* Class and subclass (PCI Code and ID Assignment): what data of a SAN goes through. */
static const struct {
	const char *code, *noun;
} cards[] = {
    {"0x0100", "SCSI adapter"},
    {"0x0104", "RAID adapter"},
    {"0x0106", "SATA adapter"},
    {"0x0107", "SAS adapter"},
    {"0x0108", "SSD"},
    {"0x0180", "storage adapter"},
    {"0x0200", "network card"},
    {"0x0207", "InfiniBand card"},
    {"0x0c04", "Fibre Channel adapter"},
};

struct link {
	double speed; /* GT/s a lane */
	double width; /* lanes */
};

/* False: the kernel doesn't know, or it is down ("Unknown", 0 or 63 lanes). */
static bool
link_of(const struct doctor *d, const char *path, const char *which, struct link *ret)
{
	return tree_number(d, &ret->speed, "%s/%s_link_speed", path, which) &&
	       tree_number(d, &ret->width, "%s/%s_link_width", path, which) && ret->speed > 0 &&
	       ret->width > 0 && ret->width <= 32;
}

static bool
less(const struct link *a, const struct link *b)
{
	return a->speed < b->speed || a->width < b->width;
}

static void
look_at_card(struct doctor *d, const char *slot, const char *noun)
{
	char real[PATH_MAX], names[128] = "";
	struct link is, can, above;
	struct tree_names inside;

	if (!tree_real(d, real, sizeof real, "/sys/bus/pci/devices/%s", slot) ||
	    !link_of(d, real, "current", &is) || !link_of(d, real, "max", &can) || !less(&is, &can))
		return;
	tree_list(d, &inside, "%s/%s", real, strcmp(noun, "SSD") == 0 ? "nvme" : "net");
	if (inside.count > 0)
		snprintf(names, sizeof names, " (%.60s)", inside.list[0]);
	tree_names_fini(&inside);
	doctor_say(d, DOCTOR_REMARK, slot,
	    "%s %s%s has %g GT/s over %g lanes, and could have %g GT/s over %g", noun, slot, names,
	    is.speed, is.width, can.speed, can.width);
	*strrchr(real, '/') = '\0';
	if (link_of(d, real, "max", &above) && less(&above, &can))
		doctor_act(d,
		    "its slot has %g GT/s over %g lanes at most: another slot, if that is too "
		    "little (lspci -tv shows them)",
		    above.speed, above.width);
	else
		doctor_act(d,
		    "the slot can more: seat the card anew, look at riser and firmware settings "
		    "(lspci -vv -s %s, LnkSta)",
		    slot);
}

void
check_pcie(struct doctor *d)
{
	struct tree_names slots;
	unsigned looked = 0;
	char class[16], first[DOCTOR_NAME_BYTES];

	tree_list(d, &slots, "/sys/bus/pci/devices");
	for (unsigned i = 0; i < slots.count; i++) {
		const char *slot = slots.list[i];
		size_t n = strlen(slot);
		if (n < 3 || n >= sizeof first ||
		    !tree_line(d, class, sizeof class, "/sys/bus/pci/devices/%s/class", slot) ||
		    tree_exists(d, "/sys/bus/pci/devices/%s/physfn", slot))
			continue;
		/* Functions of a card share its link: the first one tells. */
		snprintf(first, sizeof first, "%.*s0", (int)n - 1, slot);
		if (strcmp(first, slot) != 0 && tree_exists(d, "/sys/bus/pci/devices/%s", first))
			continue;
		for (unsigned k = 0; k < sizeof cards / sizeof cards[0]; k++) {
			if (strncmp(class, cards[k].code, strlen(cards[k].code)) != 0)
				continue;
			look_at_card(d, slot, cards[k].noun);
			looked++;
		}
	}
	tree_names_fini(&slots);
	if (looked == 0)
		doctor_fine(d, "no card on PCI Express is seen here");
}

/* ---- updates --------------------------------------------------------------------------------------------- */

/* Whether `word`, with a value in quotes behind it, is in a line that is no comment; the value. */
static bool
apt_value(const char *text, const char *word, char *buf, size_t cap)
{
	bool found = false;

	for (const char *line = text; *line != '\0';
	     line += strcspn(line, "\n"), line += *line == '\n') {
		const char *p = line + strspn(line, " \t");
		size_t len = strcspn(line, "\n");
		if (p[0] == '#' || (p[0] == '/' && p[1] == '/'))
			continue;
		const char *at = memmem(line, len, word, strlen(word));
		if (at == NULL)
			continue;
		at += strlen(word);
		at += strspn(at, " \t");
		const char *end =
		    *at == '"' ? memchr(at + 1, '"', len - (size_t)(at + 1 - line)) : NULL;
		if (end == NULL || (size_t)(end - at - 1) >= cap)
			continue;
		snprintf(buf, cap, "%.*s", (int)(end - at - 1), at + 1);
		found = true; /* the last one holds */
	}
	return found;
}

static void
look_at_apt(struct doctor *d)
{
	struct tree_names files;
	char value[16], often[16] = "0", reboot[16] = "false";
	bool spared = false;

	tree_list(d, &files, "/etc/apt/apt.conf.d");
	for (unsigned i = 0; i < files.count; i++) {
		char *text = tree_text(d, "/etc/apt/apt.conf.d/%s", files.list[i]);
		if (text == NULL)
			continue;
		if (apt_value(text, "Unattended-Upgrade", value, sizeof value))
			snprintf(often, sizeof often, "%s", value);
		if (apt_value(text, "Automatic-Reboot", value, sizeof value))
			snprintf(reboot, sizeof reboot, "%s", value);
		spared |= strstr(text, "\"terrace") != NULL;
		free(text);
	}
	tree_names_fini(&files);
	if (strcmp(often, "0") == 0 || !tree_exists(d, "/usr/bin/unattended-upgrade"))
		return;
	if (strcmp(reboot, "true") == 0 || strcmp(reboot, "1") == 0) {
		doctor_say(
		    d, DOCTOR_BAD, "", "unattended-upgrades reboots this machine when it likes");
		doctor_act(d, "echo 'Unattended-Upgrade::Automatic-Reboot \"false\";' > "
		              "/etc/apt/apt.conf.d/99terrace");
	}
	if (!spared) {
		doctor_say(
		    d, DOCTOR_REMARK, "", "unattended-upgrades installs packages at any time");
		doctor_act(d,
		    "echo 'Unattended-Upgrade::Package-Blacklist { \"terrace\"; "
		    "\"linux-image\"; };' >> /etc/apt/apt.conf.d/99terrace; upgrade these "
		    "yourself");
	}
}

static void
look_at_needrestart(struct doctor *d)
{
	struct tree_names files;
	bool automatic = false, spared = false;

	tree_list(d, &files, "/etc/needrestart/conf.d");
	for (unsigned i = 0; i <= files.count; i++) {
		char *text = i == 0 ? tree_text(d, "/etc/needrestart/needrestart.conf")
		                    : tree_text(d, "/etc/needrestart/conf.d/%s", files.list[i - 1]);
		for (char *line = text, *end; line != NULL && *line != '\0'; line = end) {
			end = line + strcspn(line, "\n");
			if (*end != '\0')
				*end++ = '\0';
			line += strspn(line, " \t");
			const char *equals = strchr(line, '=');
			if (*line == '#' || equals == NULL)
				continue;
			if (strncmp(line, "$nrconf{restart}", 16) == 0)
				automatic = strstr(equals, "'a'") != NULL ||
				            strstr(equals, "\"a\"") != NULL;
			spared |=
			    strstr(line, "override_rc") != NULL && strstr(line, "terraced") != NULL;
		}
		free(text);
	}
	tree_names_fini(&files);
	if (!automatic || spared)
		return;
	doctor_say(d, DOCTOR_REMARK, "",
	    "needrestart restarts services after every upgrade, terraced too");
	doctor_act(d, "echo '$nrconf{override_rc}{qr(^terraced)} = 0;' > "
	              "/etc/needrestart/conf.d/terrace.conf");
}

static void
look_at_dnf(struct doctor *d)
{
	char *text = tree_text(d, "/etc/dnf/automatic.conf");
	bool applies = false;

	for (char *line = text, *end; line != NULL && *line != '\0'; line = end) {
		end = line + strcspn(line, "\n");
		if (*end != '\0')
			*end++ = '\0';
		line += strspn(line, " \t");
		if (strncmp(line, "apply_updates", 13) == 0)
			applies = strstr(line, "yes") != NULL || strstr(line, "true") != NULL;
	}
	free(text);
	if (applies) {
		doctor_say(d, DOCTOR_REMARK, "", "dnf-automatic installs packages at any time");
		doctor_act(d,
		    "systemctl disable --now dnf-automatic.timer; upgrade this machine yourself");
	}
}

void
check_updates(struct doctor *d)
{
	look_at_apt(d);
	look_at_needrestart(d);
	look_at_dnf(d);
}

/* ---- io_uring, fuse --------------------------------------------------------------------------------------- */

void
check_io_uring(struct doctor *d)
{
	double how;

	if (!tree_number(d, &how, "/proc/sys/kernel/io_uring_disabled")) {
		doctor_fine(d, "allowed: this kernel has no switch for it");
		return;
	}
	if (how >= 2) {
		doctor_say(d, DOCTOR_REMARK, "",
		    "io_uring is switched off: terraced works without it, and "
		    "needs more CPU for each command");
		doctor_act(d,
		    "sysctl kernel.io_uring_disabled=0; see /etc/sysctl.d for who set it; then "
		    "restart terraced");
	} else if (how >= 1) {
		doctor_say(d, DOCTOR_REMARK, "",
		    "io_uring is for root and one group only: terraced may have "
		    "to work without it, and needs more CPU then");
		doctor_act(d, "sysctl kernel.io_uring_disabled=0, or terraced's group in "
		              "kernel.io_uring_group; then restart terraced");
	}
}

void
check_fuse(struct doctor *d)
{
	if (tree_exists(d, "/dev/fuse"))
		return;
	doctor_say(d, DOCTOR_REMARK, "",
	    "/dev/fuse isn't there: the tree of files (terrace-fuse) can't be "
	    "mounted; the target needs it for nothing");
	doctor_act(d, "modprobe fuse, and echo fuse > /etc/modules-load.d/fuse.conf");
}

/* ---- rdma ------------------------------------------------------------------------------------------------------ */

/* "Max locked memory         8388608              8388608              bytes" */
static bool
locked_limit(struct doctor *d, double *ret)
{
	char *text = d->facts->daemon_pid > 0
	                 ? tree_text(d, "/proc/%ld/limits", d->facts->daemon_pid)
	                 : tree_text(d, "/proc/self/limits");
	const char *at = text != NULL ? strstr(text, "Max locked memory") : NULL;
	char word[32];
	bool ok =
	    at != NULL && tree_word(at, 3, word, sizeof word) && strcmp(word, "unlimited") != 0;

	if (ok) {
		char *end;
		*ret = strtod(word, &end);
		ok = end != word && *end == '\0';
	}
	free(text);
	return ok;
}

static void
look_at_ports(struct doctor *d)
{
	struct tree_names devices, ports;
	char state[64];
	unsigned active = 0, seen = 0;

	tree_list(d, &devices, "/sys/class/infiniband");
	for (unsigned i = 0; i < devices.count; i++) {
		tree_list(d, &ports, "/sys/class/infiniband/%s/ports", devices.list[i]);
		for (unsigned k = 0; k < ports.count; k++) {
			seen++;
			if (!tree_line(d, state, sizeof state,
			        "/sys/class/infiniband/%s/ports/%s/state", devices.list[i],
			        ports.list[k]))
				continue;
			if (strstr(state, "ACTIVE") != NULL) {
				active++;
				continue;
			}
			doctor_say(d, DOCTOR_REMARK, devices.list[i], "port %s of %s is %s",
			    ports.list[k], devices.list[i], state);
			doctor_act(d, "%s",
			    strstr(state, "INIT") != NULL
			        ? "no subnet manager answers: start opensm on one machine of this "
			          "fabric"
			        : "look at the cable and the switch: ibstat, rdma link");
		}
		tree_names_fini(&ports);
	}
	tree_names_fini(&devices);
	if (active == 0) {
		doctor_say(d, DOCTOR_BAD, "",
		    seen == 0 ? "there is no RDMA device for the SRP portal"
		              : "no port of an RDMA device is active");
		doctor_act(d, "%s",
		    seen == 0 ? "load its driver: lspci -k; rdma link" : "rdma link; ibstat");
	}
}

void
check_rdma(struct doctor *d)
{
	static const char *const modules[] = {"ib_core", "ib_uverbs", "rdma_cm", "rdma_ucm"};
	bool srp = false;
	double bytes;

	for (unsigned i = 0; i < d->facts->address_count; i++)
		srp |= d->facts->addresses[i].srp;
	if (!srp) {
		doctor_fine(d, "no portal is SRP's");
		return;
	}
	for (unsigned i = 0; i < sizeof modules / sizeof modules[0]; i++) {
		if (tree_exists(d, "/sys/module/%s", modules[i]))
			continue;
		doctor_say(d, DOCTOR_BAD, modules[i],
		    "the module %s isn't loaded: SRP can't be served", modules[i]);
		doctor_act(d, "modprobe %s, and echo %s >> /etc/modules-load.d/terrace.conf",
		    modules[i], modules[i]);
	}
	look_at_ports(d);
	if (locked_limit(d, &bytes) && bytes < 256.0 * (1 << 20)) {
		doctor_say(d, DOCTOR_BAD, "",
		    "%s may lock %.0f KiB of memory only: RDMA needs all its buffers "
		    "locked",
		    d->facts->daemon_pid > 0 ? "terraced" : "a program started here", bytes / 1024);
		doctor_act(
		    d, "LimitMEMLOCK=infinity in terraced.service; by hand: ulimit -l unlimited");
	}
}
