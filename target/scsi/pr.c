/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservation state: copies, who is refused what, restore and description. The rules of the service
 * actions are in pr_rules.c, the way of a change over the loops in pr_out.c.
 */
#include "scsi/pr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
	uint8_t type;
	const char *name;
} type_names[] = {
    {PR_NONE, "none"},
    {PR_WRITE_EXCLUSIVE, "write exclusive"},
    {PR_EXCLUSIVE_ACCESS, "exclusive access"},
    {PR_WRITE_EXCLUSIVE_RO, "write exclusive, registrants only"},
    {PR_EXCLUSIVE_ACCESS_RO, "exclusive access, registrants only"},
    {PR_WRITE_EXCLUSIVE_AR, "write exclusive, all registrants"},
    {PR_EXCLUSIVE_ACCESS_AR, "exclusive access, all registrants"},
};

const char *
pr_type_name(unsigned type)
{
	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	return "unknown";
}

bool
pr_type_valid(unsigned type)
{
	return type == PR_WRITE_EXCLUSIVE || type == PR_EXCLUSIVE_ACCESS ||
	       pr_type_registrants(type);
}

struct pr_state *
pr_state_alloc(uint32_t cap)
{
	struct pr_state *st = calloc(1, sizeof(*st) + (size_t)cap * sizeof(st->regs[0]));
	if (st)
		st->holder = PR_NO_HOLDER;
	return st;
}

struct pr_state *
pr_state_copy(const struct pr_state *st)
{
	size_t bytes = sizeof(*st) + (size_t)st->count * sizeof(st->regs[0]);
	struct pr_state *copy = malloc(bytes);
	if (copy)
		memcpy(copy, st, bytes);
	return copy;
}

int
pr_state_find(const struct pr_state *st, const struct pr_tid *tid, uint16_t rel_port)
{
	for (uint32_t i = 0; i < st->count; i++) {
		const struct pr_reg *r = &st->regs[i];
		if (r->key != 0 && r->rel_port == rel_port && pr_tid_equal(&r->tid, tid))
			return (int)i;
	}
	return -1;
}

bool
pr_state_is_holder(const struct pr_state *st, int idx)
{
	if (st->type == PR_NONE || idx < 0)
		return false;
	return pr_type_all_registrants(st->type) || (uint32_t)idx == st->holder;
}

uint32_t
pr_state_deny(const struct pr_state *st, int idx, uint64_t nexus_id)
{
	uint32_t deny = 0;

	if (st->lost)
		deny |= 1u << PRC_READ | 1u << PRC_WRITE;
	if (st->spc2_nexus != 0 && st->spc2_nexus != nexus_id)
		deny |= 1u << PRC_READ | 1u << PRC_WRITE | 1u << PRC_SPC2_ALLOWED;
	if (st->type != PR_NONE) {
		bool inside =
		    pr_type_registrants(st->type) ? idx >= 0 : pr_state_is_holder(st, idx);
		if (!inside)
			deny |= 1u << PRC_WRITE;
		if (!inside && !pr_type_write_exclusive(st->type))
			deny |= 1u << PRC_READ;
	}
	return deny;
}

struct scsi_pr *
scsi_pr_create(void)
{
	struct scsi_pr *pr = malloc(sizeof(*pr));
	if (!pr)
		return NULL;
	pr->st = pr_state_alloc(0);
	if (!pr->st) {
		free(pr);
		return NULL;
	}
	return pr;
}

void
scsi_pr_destroy(struct scsi_pr *pr)
{
	if (!pr)
		return;
	free(pr->st);
	free(pr);
}

void
scsi_pr_refresh(struct scsi_nexus_lu *nlu)
{
	const struct pr_state *st = nlu->ll->pr->st;
	int idx = -1;

	if (st->type != PR_NONE) {
		struct pr_tid tid;
		pr_tid_of_nexus(nlu->nexus, &tid);
		idx = pr_state_find(st, &tid, nlu->nexus->rel_port_id);
	}
	nlu->pr_deny = pr_state_deny(st, idx, nlu->nexus->id);
}

void
scsi_pr_nexus_lost(struct scsi_lu *lu, uint64_t nexus_id)
{
	pr_change_nexus_lost(lu, nexus_id);
}

/*
 * Runs in the apply() of a reset, on every loop in the order of the changes, so that the copies stay
 * equal (PR-1). The one field is edited in place: nothing can fail here.
 */
void
scsi_pr_reset_spc2(struct scsi_lu_loop *ll)
{
	if (ll == &ll->lu->ll[0])
		ll->lu->pr_master->st->spc2_nexus = 0;
	if (ll->pr->st->spc2_nexus == 0)
		return;
	ll->pr->st->spc2_nexus = 0;
	LIST_FOREACH (l, &ll->nexus_lus)
		scsi_pr_refresh(container_of(l, struct scsi_nexus_lu, lu_link));
}

bool
scsi_pr_reserved(const struct scsi_lu_loop *ll)
{
	return ll->pr->st->type != PR_NONE || ll->pr->st->spc2_nexus != 0;
}

/* Puts `st` (consumed) in place everywhere; no nexus sees the unit yet. */
static int
install(struct scsi_lu *lu, struct pr_state *st)
{
	unsigned count = lu->core->loop_count;
	struct pr_state *copies[LOOP_COUNT_MAX];

	for (unsigned i = 0; i < count; i++) {
		ASSERT(list_empty(&lu->ll[i].nexus_lus));
		copies[i] = pr_state_copy(st);
		if (!copies[i]) {
			while (i > 0)
				free(copies[--i]);
			free(st);
			return -ENOMEM;
		}
	}
	for (unsigned i = 0; i < count; i++) {
		free(lu->ll[i].pr->st);
		lu->ll[i].pr->st = copies[i];
	}
	free(lu->pr_master->st);
	lu->pr_master->st = st;
	return 0;
}

/*
 * What can't be read is not the same as nothing: with `lost` set every medium access conflicts until
 * REPLACE LOST RESERVATION (SPC-4 5.13.5.3). Deviation: RESERVATION CONFLICT is returned where the
 * standard has HARDWARE ERROR, PERSISTENT RESERVATION INFORMATION LOST; initiators fence on it.
 */
int
scsi_lu_restore_pr(struct scsi_lu *lu, const void *blob, size_t len)
{
	struct pr_state *st;

	if (len == 0)
		return 0;
	int err = pr_blob_decode(blob, len, lu->id.uuid, &st);
	if (err == 0)
		return install(lu, st);
	if (err == -EINVAL) {
		st = pr_state_alloc(0);
		if (!st)
			return -ENOMEM;
		st->lost = true;
		if (install(lu, st) < 0)
			return -ENOMEM;
	}
	return err;
}

/* A TransportID for people: the iSCSI port name, else hex. */
static void
describe_tid(const struct pr_tid *t, char *buf, size_t cap)
{
	if (pr_tid_protocol(t) == 5) {
		snprintf(buf, cap, "%.*s", (int)strnlen((const char *)t->b + 4, t->len - 4u),
		    (const char *)t->b + 4);
		return;
	}
	size_t at = 0;
	for (size_t i = 0; i < t->len && at + 3 <= cap; i++)
		at += (size_t)snprintf(buf + at, cap - at, "%02x", t->b[i]);
}

size_t
scsi_lu_describe_pr(const struct scsi_lu *lu, char *buf, size_t cap)
{
	const struct pr_state *st = lu->pr_master->st;
	FILE *f = fmemopen(buf, cap, "w");

	if (!f)
		return 0;
	if (st->lost)
		fprintf(
		    f, "the stored reservations are damaged: no access until they are replaced\n");
	if (st->spc2_nexus != 0)
		fprintf(f, "reserved by RESERVE of nexus %" PRIu64 "\n", st->spc2_nexus);
	fprintf(f, "reservation %s\ngeneration %" PRIu32 "\npersistent %s\n",
	    pr_type_name(st->type), st->generation, st->aptpl ? "yes" : "no");
	for (uint32_t i = 0; i < st->count; i++) {
		char name[2 * SCSI_TRANSPORT_ID_MAX + 1];
		describe_tid(&st->regs[i].tid, name, sizeof(name));
		fprintf(f, "key 0x%016" PRIx64 " port %u %s%s\n", st->regs[i].key,
		    st->regs[i].rel_port, name, pr_state_is_holder(st, (int)i) ? " holder" : "");
	}
	fflush(f);
	long at = ftell(f);
	fclose(f);
	size_t used = at < 0 ? 0 : (size_t)at;
	return used < cap ? used : cap;
}
