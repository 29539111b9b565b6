/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of checks, and how they say what they find. terracectl(8) lists them; a test compares. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/doctor/doctor_priv.h"

/* clang-format off */
static const struct check {
	const char *name, *help;
	void (*run)(struct doctor *d);
	const char *fine;
	bool served; /* it is about what is served */
} checks[] = {
	{"configuration", "errors and remarks of the configuration file", check_configuration,
	    "no errors and no remarks", false},
	{"names", "devices by names that another boot may give to others", check_names,
	    "every device has a name that stays", true},
	{"targets", "other targets with the same devices or ports", check_targets,
	    "no other target runs here", false},
	{"pcie", "network, RDMA and disk cards on a slower link than they can have", check_pcie,
	    "every card has the link that it can have", false},
	{"network", "interfaces of portals: link, and one MTU", check_network,
	    "interfaces of portals are up and have one MTU", true},
	{"rdma", "modules, ports and locked memory for SRP", check_rdma,
	    "modules are loaded, ports are active, memory may be locked", true},
	{"raid", "RAID4, 5 and 6 under LUNs, arrays without all their disks", check_raid,
	    "no array under a LUN is slow with random writes, and none lacks a disk", true},
	{"ssd", "kind, wear and power-loss protection of caches' SSDs", check_ssd,
	    "healthy", true},
	{"write-cache", "durable writes that cost a flush each; flushes that are switched off",
	    check_write_cache, "durable writes are cheap where they are frequent", true},
	{"timeouts", "disks that try longer than initiators wait", check_timeouts,
	    "disks give up before initiators do", true},
	{"space", "files with holes against what the file system has left", check_space,
	    "every file can grow to its size", true},
	{"file-systems", "a file system that several initiators write, and that isn't made for it",
	    check_file_systems, "none that isn't made for it", true},
	{"chap", "who may log in, and how good the secrets are", check_chap,
	    "secrets are long enough and used for one thing each", true},
	{"updates", "packages and services that are renewed unasked", check_updates,
	    "nothing restarts services or the machine unasked", false},
	{"io-uring", "whether the kernel lets programs use it", check_io_uring,
	    "allowed", false},
	{"fuse", "/dev/fuse, for the tree of files", check_fuse,
	    "/dev/fuse is there", false},
};
/* clang-format on */
#define CHECKS (sizeof checks / sizeof checks[0])

const char *
doctor_check_name(unsigned i)
{
	return i < CHECKS ? checks[i].name : NULL;
}

const char *
doctor_check_help(unsigned i)
{
	return i < CHECKS ? checks[i].help : NULL;
}

const char *
doctor_level_to_string(enum doctor_level l)
{
	static const char *const words[] = {
	    [DOCTOR_OK] = "ok", [DOCTOR_REMARK] = "remark", [DOCTOR_BAD] = "bad"};
	return words[l];
}

static char *__attribute__((format(printf, 2, 0)))
format(struct doctor *d, const char *fmt, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, fmt, ap) < 0) {
		d->failed = true;
		return NULL;
	}
	return s;
}

/* Room for one more; NULL: no memory. */
static struct doctor_finding *
add(struct doctor *d, enum doctor_level level, const char *object)
{
	struct doctor_report *r = d->report;
	struct doctor_finding *list = realloc(r->list, (r->count + 1u) * sizeof *list);

	if (list == NULL) {
		d->failed = true;
		return NULL;
	}
	r->list = list;
	struct doctor_finding *x = &list[r->count++];
	*x = (struct doctor_finding){.check = d->check, .level = level, .object = strdup(object)};
	d->failed |= x->object == NULL;
	if (level > r->worst)
		r->worst = level;
	return x;
}

void
doctor_say(struct doctor *d, enum doctor_level level, const char *object, const char *fmt, ...)
{
	va_list ap;

	ASSERT(level > DOCTOR_OK);
	if (d->report->count - d->begin >= DOCTOR_FINDINGS_MAX) {
		d->dropped++;
		if (level > d->report->worst)
			d->report->worst = level;
		return;
	}
	struct doctor_finding *x = add(d, level, object);
	if (x == NULL)
		return;
	va_start(ap, fmt);
	x->text = format(d, fmt, ap);
	va_end(ap);
}

void
doctor_act(struct doctor *d, const char *fmt, ...)
{
	struct doctor_report *r = d->report;
	va_list ap;

	if (d->dropped > 0 || r->count == d->begin || r->list[r->count - 1].action != NULL)
		return;
	va_start(ap, fmt);
	r->list[r->count - 1].action = format(d, fmt, ap);
	va_end(ap);
}

void
doctor_fine(struct doctor *d, const char *fmt, ...)
{
	va_list ap;

	if (d->report->count > d->begin)
		return;
	struct doctor_finding *x = add(d, DOCTOR_OK, "");
	if (x == NULL)
		return;
	va_start(ap, fmt);
	x->text = format(d, fmt, ap);
	va_end(ap);
	x->action = strdup("");
	d->failed |= x->action == NULL;
}

/* Bytes that could control a terminal, wherever they came from. */
static void
tidy(char *s)
{
	for (; s != NULL && *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static void
run_one(struct doctor *d, const struct check *c)
{
	struct doctor_report *r = d->report;

	d->check = c->name;
	d->begin = r->count;
	d->dropped = 0;
	if (c->served && d->facts->unknown)
		doctor_fine(d, "not looked at: what is served isn't known");
	else
		c->run(d);
	if (d->dropped > 0) {
		unsigned n = d->dropped;
		struct doctor_finding *x = add(d, DOCTOR_REMARK, "");
		if (x != NULL &&
		    (asprintf(&x->text, "%u more", n) < 0 ||
		        (x->action = strdup("mend those above, and look again")) == NULL))
			d->failed = true;
	}
	doctor_fine(d, "%s", c->fine);
	for (unsigned i = d->begin; i < r->count; i++) {
		struct doctor_finding *x = &r->list[i];
		if (x->text == NULL || x->object == NULL || x->action == NULL) {
			ASSERT(d->failed); /* a finding has an action, unless memory ran out */
			continue;
		}
		tidy(x->text);
		tidy(x->object);
		tidy(x->action);
	}
}

int
doctor_run(const struct doctor_facts *f, struct doctor_report *ret)
{
	struct doctor d = {.facts = f, .report = ret};

	*ret = (struct doctor_report){.list = NULL};
	for (unsigned i = 0; i < CHECKS && !d.failed; i++)
		run_one(&d, &checks[i]);
	return d.failed || f->failed ? -ENOMEM : 0;
}

void
doctor_report_fini(struct doctor_report *r)
{
	for (unsigned i = 0; i < r->count; i++)
		free(r->list[i].object), free(r->list[i].text), free(r->list[i].action);
	free(r->list);
	*r = (struct doctor_report){.list = NULL};
}
