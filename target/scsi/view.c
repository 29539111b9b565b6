/* SPDX-License-Identifier: BSD-2-Clause */
/* Views: which unit has which number. */
#include "scsi/scsi_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int
entry_cmp(const void *a, const void *b)
{
	const struct scsi_view_entry *x = a, *y = b;
	return x->lun < y->lun ? -1 : x->lun > y->lun;
}

static int
lu_cmp(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct scsi_view_entry *)a)->lu;
	uintptr_t y = (uintptr_t)((const struct scsi_view_entry *)b)->lu;
	return x < y ? -1 : x > y;
}

/* Sorts by unit, then by number, as it stays. */
static bool
sort_finds_doubles(struct scsi_view_entry *e, uint32_t count)
{
	bool found = false;
	qsort(e, count, sizeof *e, lu_cmp);
	for (uint32_t i = 1; i < count; i++)
		found = found || e[i - 1].lu == e[i].lu;
	qsort(e, count, sizeof *e, entry_cmp);
	for (uint32_t i = 1; i < count; i++)
		found = found || e[i - 1].lun == e[i].lun;
	return found;
}

int
scsi_view_map_create(const struct scsi_core *c, const struct scsi_view_entry *entries,
    uint32_t count, struct scsi_view_map **ret)
{
	ASSERT(scsi_loop_index(c) == 0 && count <= SCSI_LUN_MAX + 1u);
	for (uint32_t i = 0; i < count; i++)
		ASSERT(entries[i].lun <= SCSI_LUN_MAX && entries[i].lu->core == c);
	struct scsi_view_map *m = calloc(1, sizeof *m + count * sizeof m->entries[0]);
	if (m == NULL)
		return -ENOMEM;
	m->count = count;
	if (count > 0) {
		memcpy(m->entries, entries, count * sizeof m->entries[0]);
		if (sort_finds_doubles(m->entries, count)) {
			free(m);
			return -EEXIST;
		}
	}
	*ret = m;
	return 0;
}

const struct scsi_view_entry *
scsi_view_map_find(const struct scsi_view_map *m, uint16_t lun)
{
	uint32_t lo = 0, hi = m->count;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (m->entries[mid].lun == lun)
			return &m->entries[mid];
		if (m->entries[mid].lun < lun)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

int
scsi_view_create(struct scsi_core *c, const struct scsi_view_entry *entries, uint32_t count,
    struct scsi_view **ret)
{
	struct scsi_view *v = aligned_alloc(64, sizeof *v);
	if (v == NULL)
		return -ENOMEM;
	memset(v, 0, sizeof *v);
	v->core = c;
	list_init(&v->changes);
	int err = scsi_view_map_create(c, entries, count, &v->map);
	if (err < 0) {
		free(v);
		return err;
	}
	/* Loops see the view with the first message that speaks of it. */
	for (unsigned i = 0; i < c->loop_count; i++) {
		v->per_loop[i].map = v->map;
		list_init(&v->per_loop[i].nexuses);
	}
	*ret = v;
	return 0;
}

void
scsi_view_destroy(struct scsi_view *v)
{
	if (v == NULL)
		return;
	ASSERT(list_empty(&v->changes));
	/* The nexuses' ends have come to this loop by messages, later than what they counted. */
	for (unsigned i = 0; i < v->core->loop_count; i++)
		ASSERT(__atomic_load_n(&v->per_loop[i].users, __ATOMIC_RELAXED) == 0);
	free(v->map);
	free(v);
}

uint32_t
scsi_view_users(const struct scsi_view *v)
{
	uint32_t users = 0;
	for (unsigned i = 0; i < v->core->loop_count; i++)
		users += __atomic_load_n(&v->per_loop[i].users, __ATOMIC_RELAXED);
	return users;
}

uint32_t
scsi_view_count(const struct scsi_view *v)
{
	return v->map->count;
}

const struct scsi_view_entry *
scsi_view_entry(const struct scsi_view *v, uint32_t i)
{
	ASSERT(i < v->map->count);
	return &v->map->entries[i];
}

bool
scsi_lun_decode(const uint8_t lun[8], uint16_t *ret)
{
	/* One level only: the rest is zero (SAM-5 4.7.6.1). */
	if ((lun[2] | lun[3] | lun[4] | lun[5] | lun[6] | lun[7]) != 0)
		return false;
	switch (lun[0] >> 6) {
	case 0: /* peripheral device addressing, bus 0 (SAM-5 4.7.6.2) */
		if ((lun[0] & 0x3f) != 0)
			return false;
		*ret = lun[1];
		return true;
	case 1: /* flat space addressing (SAM-5 4.7.6.4) */
		*ret = (uint16_t)((lun[0] & 0x3fu) << 8 | lun[1]);
		return true;
	default:
		return false;
	}
}

void
scsi_lun_encode(uint16_t lun, uint8_t ret[8])
{
	ASSERT(lun <= SCSI_LUN_MAX);
	memset(ret, 0, 8);
	store_be16(ret, lun <= 255 ? lun : (uint16_t)(0x4000u | lun));
}

bool
scsi_lun_is_report_luns(const uint8_t lun[8])
{
	static const uint8_t wlun[8] = {0xc1, 0x01}; /* SAM-5 4.7.7.5.2 */
	return memcmp(lun, wlun, 8) == 0;
}
