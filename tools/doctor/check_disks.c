/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays, SSDs, write caches and time-outs: what is under stores and caches. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/doctor/doctor_priv.h"

/* The check goes without its disks if there is no memory; the engine says so. */
static struct disks *
some(struct doctor *d, struct disks *s)
{
	d->failed |= s == NULL;
	return s;
}

/* ---- raid ------------------------------------------------------------------------------------------------- */

static void
look_at_array(struct doctor *d, const struct disk *x)
{
	char level[32];
	double lacking = 0, disks = 0;

	if (!tree_line(d, level, sizeof level, "/sys/class/block/%s/md/level", x->name))
		return;
	if (tree_number(d, &lacking, "/sys/class/block/%s/md/degraded", x->name) && lacking > 0) {
		doctor_say(d, DOCTOR_BAD, x->name, "%s (%s, under %s) lacks %.0f disk%s", x->name,
		    level, x->user, lacking, lacking > 1 ? "s" : "");
		doctor_act(d,
		    "mdadm --detail /dev/%s; then replace the disk: mdadm --manage /dev/%s --add "
		    "/dev/DISK",
		    x->name, x->name);
	}
	bool six = strcmp(level, "raid6") == 0;
	if (!six && strcmp(level, "raid5") != 0 && strcmp(level, "raid4") != 0)
		return;
	(void)tree_number(d, &disks, "/sys/class/block/%s/md/raid_disks", x->name);
	doctor_say(d, DOCTOR_REMARK, x->name,
	    "%s lies on %s, %s of %.0f disks: a small random write costs it %d disk operations, on "
	    "RAID10 "
	    "2%s",
	    x->user, x->name, level, disks, six ? 6 : 4,
	    x->cached ? "; the cache sorts and merges, which helps with what is neighboured" : "");
	doctor_act(d,
	    "RAID10 for random writes (docs/sizing.md)%s; echo 8192 > "
	    "/sys/block/%s/md/stripe_cache_size helps a little",
	    x->cached ? "" : ", or an SSD in front: cachectl add", x->name);
}

void
check_raid(struct doctor *d)
{
	struct disks *s = some(d, disks_of_luns(d));

	for (unsigned i = 0; s != NULL && i < s->count; i++)
		look_at_array(d, &s->list[i]);
	free(s);
}

/* ---- ssd -------------------------------------------------------------------------------------------------- */

/* Fields of the SMART / Health Information log (NVM Express 1.4 §5.14.1.2, figure 194). */
enum { HEALTH_WARNING = 0, HEALTH_SPARE = 3, HEALTH_SPARE_LEAST = 4, HEALTH_USED = 5 };

static void
judge_health(struct doctor *d, const struct disk *x, const uint8_t health[512])
{
	static const char *const warnings[] = {"its spare is nearly used up",
	    "its temperature is out of range", "it is no longer reliable", "it only reads any more",
	    "its power-loss protection failed", "its persistent memory only reads any more"};

	for (unsigned i = 0; i < sizeof warnings / sizeof warnings[0]; i++) {
		if ((health[HEALTH_WARNING] >> i & 1) == 0)
			continue;
		doctor_say(d, DOCTOR_BAD, x->name, "%s warns: %s", x->name, warnings[i]);
		doctor_act(d,
		    "nvme smart-log /dev/%s; replace it: take its LUNs off with `cachectl "
		    "remove %s` first",
		    x->name, x->user);
	}
	if (health[HEALTH_USED] >= 80) {
		doctor_say(d, health[HEALTH_USED] >= 100 ? DOCTOR_BAD : DOCTOR_REMARK, x->name,
		    "%s has used %u %% of what its maker says it can be written", x->name,
		    health[HEALTH_USED]);
		doctor_act(d, "order another; `cachectl remove %s` takes its LUNs off without loss",
		    x->user);
	}
	if (health[HEALTH_SPARE] <= health[HEALTH_SPARE_LEAST]) {
		doctor_say(d, DOCTOR_BAD, x->name, "%s has %u %% of its spare blocks left", x->name,
		    health[HEALTH_SPARE]);
		doctor_act(d,
		    "replace it soon: `cachectl remove %s` takes its LUNs off without loss",
		    x->user);
	}
}

/* "nvme0n1" → "/dev/nvme0". */
static bool
controller(const char *name, char *buf, size_t cap)
{
	size_t n = 4;

	if (strncmp(name, "nvme", 4) != 0 || !isdigit((unsigned char)name[4]))
		return false;
	while (isdigit((unsigned char)name[n]))
		n++;
	return snprintf(buf, cap, "/dev/%.*s", (int)n, name) < (int)cap;
}

static void
look_at_wear(struct doctor *d, const struct disk *x)
{
	char path[DOCTOR_NAME_BYTES + 8], full[PATH_MAX];
	uint8_t health[512];
	const struct doctor_probes *p = &d->facts->probes;

	if (controller(x->name, path, sizeof path) && tree_path(d, full, sizeof full, "%s", path) &&
	    p->nvme_health(p->ctx, full, health) == 0) {
		judge_health(d, x, health);
		return;
	}
	doctor_say(d, DOCTOR_REMARK, x->name, "how worn %s is can't be read here", x->name);
	doctor_act(d, "as root: smartctl -a /dev/%s", x->name);
}

static void
look_at_ssd(struct doctor *d, const struct disk *x)
{
	char real[PATH_MAX];

	if (tree_says(d, "1", "/sys/class/block/%s/queue/rotational", x->name)) {
		doctor_say(d, DOCTOR_BAD, x->name,
		    "%s, of the cache %s, is a disk that rotates: everything waits for it", x->name,
		    x->user);
		doctor_act(d,
		    "give the cache an SSD; without one a LUN is better off alone: cachectl "
		    "remove %s",
		    x->user);
		return;
	}
	if (tree_says(d, "1", "/sys/class/block/%s/removable", x->name) ||
	    (tree_real(d, real, sizeof real, "/sys/class/block/%s", x->name) &&
	        strstr(real, "/usb") != NULL) ||
	    strncmp(x->name, "mmcblk", 6) == 0) {
		doctor_say(d, DOCTOR_BAD, x->name,
		    "%s, of the cache %s, is a stick, a card or on USB: not made for what a cache "
		    "writes",
		    x->name, x->user);
		doctor_act(
		    d, "an SSD for servers, on NVMe, SAS or SATA, with power-loss protection");
	}
	look_at_wear(d, x);
	if (tree_says(d, "write back", "/sys/class/block/%s/queue/write_cache", x->name)) {
		doctor_say(d, DOCTOR_REMARK, x->name,
		    "%s has a volatile write cache; whether it is protected against loss of power "
		    "can't "
		    "be read from it",
		    x->name);
		doctor_act(d,
		    "look for PLP in its data sheet: without it, each durable write costs a flush "
		    "of the drive");
	}
}

void
check_ssd(struct doctor *d)
{
	struct disks *s = some(d, disks_of_caches(d));
	unsigned looked = 0, wanted = 0;

	for (unsigned i = 0; i < d->facts->cache_count; i++)
		wanted += d->facts->caches[i].ssd[0] != '\0';
	for (unsigned i = 0; s != NULL && i < s->count; i++) {
		if (!s->list[i].leaf)
			continue;
		look_at_ssd(d, &s->list[i]);
		looked++;
	}
	free(s);
	if (wanted == 0)
		doctor_fine(d, "no cache has an SSD");
	else if (looked == 0) {
		doctor_say(
		    d, DOCTOR_REMARK, "", "which disk the cache's SSD is can't be seen here");
		doctor_act(d, "see yourself that it is an SSD with power-loss protection: lsblk -o "
		              "NAME,ROTA,MODEL");
	}
}

/* ---- write caches --------------------------------------------------------------------------------------------- */

/*
 * The kernel believes what it was told in /sys; the drive goes on as it is: then flushes aren't sent to
 * one that needs them, and nothing is durable.
 */
static void
look_for_lie(struct doctor *d, const struct disk *x)
{
	struct tree_names entries;

	tree_list(d, &entries, "/sys/class/block/%s/device/scsi_disk", x->name);
	if (entries.count == 1 &&
	    tree_says(d, "write back", "/sys/class/block/%s/device/scsi_disk/%s/cache_type",
	        x->name, entries.list[0]) &&
	    tree_says(d, "write through", "/sys/class/block/%s/queue/write_cache", x->name)) {
		doctor_say(d, DOCTOR_BAD, x->name,
		    "%s (under %s) has a volatile write cache, and the kernel was told that it has "
		    "none: "
		    "flushes don't reach it",
		    x->name, x->user);
		doctor_act(d,
		    "echo 'write back' > /sys/block/%s/queue/write_cache; and find the udev rule "
		    "that says otherwise",
		    x->name);
	}
	tree_names_fini(&entries);
}

static void
look_at_flushes(struct doctor *d, const struct disk *x, const char *kind)
{
	if (!tree_says(d, "write back", "/sys/class/block/%s/queue/write_cache", x->name) ||
	    !tree_says(d, "0", "/sys/class/block/%s/queue/fua", x->name))
		return;
	doctor_say(d, DOCTOR_REMARK, x->name,
	    "%s (%s %s) has a volatile write cache and no FUA: a durable write flushes all of it",
	    x->name, kind, x->user);
	if (strncmp(x->name, "vd", 2) == 0 || strncmp(x->name, "xvd", 3) == 0)
		doctor_act(d, "on the hypervisor, a disk without a write cache (cache=none with "
		              "protected storage behind it)");
	else
		doctor_act(d,
		    "a drive with power-loss protection; or the drive's cache off: hdparm -W0 "
		    "/dev/%s, sdparm --clear=WCE /dev/%s",
		    x->name, x->name);
}

void
check_write_cache(struct doctor *d)
{
	struct disks *luns = some(d, disks_of_luns(d)), *caches = some(d, disks_of_caches(d));

	for (unsigned i = 0; luns != NULL && i < luns->count; i++) {
		const struct disk *x = &luns->list[i];
		if (x->leaf)
			look_for_lie(d, x);
		/* Behind a cache a flush ends a whole batch. */
		if (x->leaf && !x->cached)
			look_at_flushes(d, x, "under");
	}
	for (unsigned i = 0; caches != NULL && i < caches->count; i++) {
		if (!caches->list[i].leaf)
			continue;
		look_for_lie(d, &caches->list[i]);
		look_at_flushes(d, &caches->list[i], "SSD of");
	}
	free(luns);
	free(caches);
}

/* ---- time-outs -------------------------------------------------------------------------------------------------- */

/* How long initiators wait for an answer: Linux (sd), Windows (MSiSCSI, TimeoutValue). */
#define LINUX_WAITS_S 30.0
#define WINDOWS_WAITS_S 60.0
/* What a disk with limited error recovery (SCT ERC) takes, and what without it must be allowed. */
#define ERC_S 7.0
#define WITHOUT_ERC_S 120.0

static bool
in_redundant_array(const struct doctor *d, const struct disk *x)
{
	struct tree_names holders;
	bool found = false;
	char level[32];

	tree_list(d, &holders, "/sys/class/block/%s/holders", x->name);
	for (unsigned i = 0; i < holders.count; i++)
		found |= tree_line(d, level, sizeof level, "/sys/class/block/%s/md/level",
		             holders.list[i]) &&
		         strncmp(level, "raid", 4) == 0 && strcmp(level, "raid0") != 0;
	tree_names_fini(&holders);
	return found;
}

static void
look_at_timeout(struct doctor *d, const struct disk *x, unsigned *ata)
{
	double seconds;

	if (!tree_number(d, &seconds, "/sys/class/block/%s/device/timeout", x->name))
		return;
	bool is_ata = tree_says(d, "ATA", "/sys/class/block/%s/device/vendor", x->name);
	bool rotates = tree_says(d, "1", "/sys/class/block/%s/queue/rotational", x->name);
	*ata += is_ata && rotates;
	if (seconds > WINDOWS_WAITS_S) {
		doctor_say(d, DOCTOR_REMARK, x->name,
		    "%s (under %s) may take %.0f s until it fails; Linux waits for %.0f s, Windows "
		    "for "
		    "%.0f s",
		    x->name, x->user, seconds, LINUX_WAITS_S, WINDOWS_WAITS_S);
		doctor_act(d,
		    "with SCT ERC: smartctl -l scterc,70,70 /dev/%s; echo 30 > "
		    "/sys/block/%s/device/timeout. Without it: longer time-outs on initiators "
		    "(docs/timeouts in terracectl connect)",
		    x->name, x->name);
	} else if (seconds <= ERC_S) {
		doctor_say(d, DOCTOR_REMARK, x->name,
		    "%s (under %s) is given up after %.0f s, which a disk may need to read a bad "
		    "place",
		    x->name, x->user, seconds);
		doctor_act(d, "echo 30 > /sys/block/%s/device/timeout", x->name);
	}
}

void
check_timeouts(struct doctor *d)
{
	struct disks *s = some(d, disks_of_luns(d));
	const struct disk *first = NULL;
	unsigned ata = 0;

	for (unsigned i = 0; s != NULL && i < s->count; i++) {
		unsigned before = ata;
		if (!s->list[i].leaf)
			continue;
		look_at_timeout(d, &s->list[i], &ata);
		if (ata > before && first == NULL && in_redundant_array(d, &s->list[i]))
			first = &s->list[i];
	}
	if (first != NULL) {
		doctor_say(d, DOCTOR_REMARK, first->name,
		    "%u SATA disk%s of an array: whether they give up a bad sector after seconds "
		    "(SCT ERC), "
		    "so that the array can answer in their place, can't be read here",
		    ata, ata > 1 ? "s" : "");
		doctor_act(d,
		    "smartctl -l scterc /dev/%s; where it is off: smartctl -l scterc,70,70; where "
		    "the disk has none: echo %.0f > /sys/block/%s/device/timeout",
		    first->name, WITHOUT_ERC_S, first->name);
	}
	free(s);
}
