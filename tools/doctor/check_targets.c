/* SPDX-License-Identifier: BSD-2-Clause */
/* Other programs that serve disks: with one of ours, or on one of our ports. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/doctor/doctor_priv.h"

#define TCP_LISTEN 0x0au
#define PIDS_MAX 65536u

/* ---- sharing ------------------------------------------------------------------------------------------- */

/* The LUN or the cache that has this device or file itself, or NULL. */
static const char *
ours(const struct doctor *d, const char *path)
{
	char other[DOCTOR_NAME_BYTES], mine[DOCTOR_NAME_BYTES], buf[PATH_MAX], real[PATH_MAX],
	    real_mine[PATH_MAX];
	const struct doctor_facts *f = d->facts;
	bool is_file, device = strncmp(path, "/dev/", 5) == 0 && disk_of_store(d, path, other);

	if (!tree_real(d, real, sizeof real, "%s", path))
		snprintf(real, sizeof real, "%s", path);
	for (unsigned i = 0; i < f->lun_count + f->cache_count; i++) {
		bool lun = i < f->lun_count;
		const char *spec = lun ? f->luns[i].store : f->caches[i - f->lun_count].ssd;
		const char *at = disk_path(spec, buf, sizeof buf, &is_file);
		if (at == NULL)
			continue;
		if (!tree_real(d, real_mine, sizeof real_mine, "%s", at))
			snprintf(real_mine, sizeof real_mine, "%s", at);
		if (strcmp(real, real_mine) == 0 ||
		    (device && !is_file && disk_of_store(d, spec, mine) &&
		        strcmp(mine, other) == 0))
			return lun ? f->luns[i].name : f->caches[i - f->lun_count].name;
	}
	return NULL;
}

static void
say_shared(struct doctor *d, const char *who, const char *path, const char *name)
{
	doctor_say(d, DOCTOR_BAD, name, "%s serves %s, which is under %s: both would write to it",
	    who, path, name);
	doctor_act(d, "take it off %s, or remove %s here; then check its file systems", who, name);
}

static bool
port_is_ours(const struct doctor *d, const char *addr, unsigned port)
{
	char mine[128];
	unsigned p;

	for (unsigned i = 0; i < d->facts->address_count; i++)
		if (!d->facts->addresses[i].srp &&
		    doctor_split_address(d->facts->addresses[i].address, mine, sizeof mine, &p) &&
		    p == port &&
		    (doctor_is_wildcard(mine) || doctor_is_wildcard(addr) ||
		        strcmp(mine, addr) == 0))
			return true;
	return false;
}

/* ---- LIO -------------------------------------------------------------------------------------------------- */

#define LIO "/sys/kernel/config/target"

static unsigned
look_at_lio_disks(struct doctor *d)
{
	struct tree_names hbas, disks;
	char path[PATH_MAX];
	unsigned found = 0;

	tree_list(d, &hbas, LIO "/core");
	for (unsigned i = 0; i < hbas.count; i++) {
		tree_list(d, &disks, LIO "/core/%s", hbas.list[i]);
		for (unsigned k = 0; k < disks.count; k++) {
			if (!tree_line(d, path, sizeof path, LIO "/core/%s/%s/udev_path",
			        hbas.list[i], disks.list[k]))
				continue;
			found++;
			const char *name = ours(d, path);
			if (name != NULL)
				say_shared(d, "LIO", path, name);
		}
		tree_names_fini(&disks);
	}
	tree_names_fini(&hbas);
	return found;
}

/* Folders LIO/iscsi/IQN/tpgt_N/np/ADDR:PORT. */
static void
look_at_lio_ports(struct doctor *d)
{
	struct tree_names targets, groups, ports;
	char addr[128];
	unsigned port;

	tree_list(d, &targets, LIO "/iscsi");
	for (unsigned i = 0; i < targets.count; i++) {
		tree_list(d, &groups, LIO "/iscsi/%s", targets.list[i]);
		for (unsigned g = 0; g < groups.count; g++) {
			tree_list(
			    d, &ports, LIO "/iscsi/%s/%s/np", targets.list[i], groups.list[g]);
			for (unsigned k = 0; k < ports.count; k++) {
				if (!doctor_split_address(
				        ports.list[k], addr, sizeof addr, &port) ||
				    !port_is_ours(d, addr, port))
					continue;
				doctor_say(d, DOCTOR_BAD, ports.list[k],
				    "LIO listens on %s for %s, where a portal of ours is to",
				    ports.list[k], targets.list[i]);
				doctor_act(d,
				    "targetcli /iscsi delete %s; or another port: terracectl "
				    "portal "
				    "create",
				    targets.list[i]);
			}
			tree_names_fini(&ports);
		}
		tree_names_fini(&groups);
	}
	tree_names_fini(&targets);
}

static void
look_at_lio(struct doctor *d)
{
	unsigned before = d->report->count;

	unsigned found = look_at_lio_disks(d);
	look_at_lio_ports(d);
	if (found > 0 && d->report->count == before) {
		doctor_say(d, DOCTOR_REMARK, "LIO", "LIO serves %u disk%s on this machine as well",
		    found, found > 1 ? "s" : "");
		doctor_act(d,
		    "what isn't needed any more: targetcli clearconfig confirm=true; systemctl "
		    "disable rtslib-fb-targetctl target");
	}
}

/* ---- SCST ------------------------------------------------------------------------------------------------------ */

static void
look_at_scst(struct doctor *d)
{
	struct tree_names devices;
	char path[PATH_MAX];
	unsigned before = d->report->count;

	tree_list(d, &devices, "/sys/kernel/scst_tgt/devices");
	for (unsigned i = 0; i < devices.count; i++) {
		if (!tree_line(d, path, sizeof path, "/sys/kernel/scst_tgt/devices/%s/filename",
		        devices.list[i]))
			continue;
		const char *name = ours(d, path);
		if (name != NULL)
			say_shared(d, "SCST", path, name);
	}
	tree_names_fini(&devices);
	if (d->report->count == before && tree_exists(d, "/sys/module/scst")) {
		doctor_say(d, DOCTOR_REMARK, "SCST", "SCST is loaded on this machine as well");
		doctor_act(d,
		    "terracectl import-scst /etc/scst.conf takes its configuration over; then "
		    "systemctl disable --now scst");
	}
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static const struct {
	const char *comm, *name, *stop;
} programs[] = {
    {"tgtd", "tgt", "systemctl disable --now tgt"},
    {"istgt", "istgt", "systemctl disable --now istgt"},
    {"iscsi-scstd", "SCST's iSCSI target", "systemctl disable --now scst"},
    {"ietd", "IET", "systemctl disable --now iscsitarget"},
    {"iscsi_tgt", "SPDK", "stop it"},
    {"spdk_tgt", "SPDK", "stop it"},
    {"reactor_0", "SPDK", "stop it"},
};

static void
look_at_processes(struct doctor *d)
{
	struct tree_names pids;
	char comm[32];
	unsigned seen = 0;

	tree_list(d, &pids, "/proc");
	for (unsigned i = 0; i < pids.count && seen < PIDS_MAX; i++) {
		if (!isdigit((unsigned char)pids.list[i][0]) ||
		    !tree_line(d, comm, sizeof comm, "/proc/%s/comm", pids.list[i]))
			continue;
		seen++;
		for (unsigned k = 0; k < sizeof programs / sizeof programs[0]; k++) {
			if (strcmp(comm, programs[k].comm) != 0)
				continue;
			doctor_say(d, DOCTOR_REMARK, programs[k].name,
			    "%s runs here as well (%s, pid %s)", programs[k].name, comm,
			    pids.list[i]);
			doctor_act(d, "if it isn't needed any more: %s", programs[k].stop);
		}
	}
	tree_names_fini(&pids);
}

/* "backing-store /dev/vg/x", "LUN0 Storage /dev/vg/x Auto": words of a line that are a path of ours. */
static void
look_at_file(struct doctor *d, const char *who, const char *folder, const char *file)
{
	char *text = tree_text(d, "%s%s", folder, file), word[PATH_MAX];

	for (char *line = text, *end; line != NULL && *line != '\0'; line = end) {
		end = line + strcspn(line, "\n");
		if (*end != '\0')
			*end++ = '\0';
		if (line[strspn(line, " \t")] == '#')
			continue;
		for (unsigned n = 0; tree_word(line, n, word, sizeof word) && n < 8; n++) {
			const char *name = word[0] == '/' ? ours(d, word) : NULL;
			if (name == NULL)
				continue;
			doctor_say(d, DOCTOR_REMARK, name, "%s%s has %s, which is under %s", folder,
			    file, word, name);
			doctor_act(
			    d, "remove it there, so that %s doesn't write to it one day", who);
		}
	}
	free(text);
}

static void
look_at_configurations(struct doctor *d)
{
	struct tree_names files;

	look_at_file(d, "tgt", "/etc/tgt/", "targets.conf");
	tree_list(d, &files, "/etc/tgt/conf.d");
	for (unsigned i = 0; i < files.count; i++)
		look_at_file(d, "tgt", "/etc/tgt/conf.d/", files.list[i]);
	tree_names_fini(&files);
	look_at_file(d, "istgt", "/etc/istgt/", "istgt.conf");
	look_at_file(d, "SCST", "/etc/", "scst.conf");
}

/* ---- ports ------------------------------------------------------------------------------------------------------- */

/* While terraced runs they are its own. "0: 0100007F:0CBC 00000000:0000 0A …": the address as it is in memory. */
static void
look_at_table(struct doctor *d, const char *table)
{
	char *text = tree_text(d, "%s", table), word[64], addr[INET6_ADDRSTRLEN];

	for (char *line = text, *end; line != NULL && *line != '\0'; line = end) {
		unsigned words[4] = {0}, port, state;
		end = line + strcspn(line, "\n");
		if (*end != '\0')
			*end++ = '\0';
		if (!tree_word(line, 3, word, sizeof word) || sscanf(word, "%2x", &state) != 1 ||
		    state != TCP_LISTEN || !tree_word(line, 1, word, sizeof word))
			continue;
		const char *colon = strchr(word, ':');
		if (colon == NULL || sscanf(colon + 1, "%4x", &port) != 1)
			continue;
		int n = colon - word == 32 ? sscanf(word, "%8x%8x%8x%8x", &words[0], &words[1],
		                                 &words[2], &words[3])
		                           : sscanf(word, "%8x", &words[0]);
		if (n < 1 ||
		    inet_ntop(n == 4 ? AF_INET6 : AF_INET, words, addr, sizeof addr) == NULL ||
		    !port_is_ours(d, addr, port))
			continue;
		doctor_say(d, DOCTOR_BAD, addr,
		    "another program listens on %s, port %u, which a portal needs", addr, port);
		doctor_act(
		    d, "see who: ss -ltnp 'sport = :%u'; stop it, or take another port", port);
	}
	free(text);
}

void
check_targets(struct doctor *d)
{
	look_at_lio(d);
	look_at_scst(d);
	look_at_processes(d);
	look_at_configurations(d);
	if (d->facts->daemon_pid == 0) {
		look_at_table(d, "/proc/net/tcp");
		look_at_table(d, "/proc/net/tcp6");
	}
}
