/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A weaker mode never reaches a session that was told the stronger one (docs/modes.md, "Choosing, looking,
 * changing"). The configuration has it at once; the unit stays what it is, and what everybody is told who logs in
 * meanwhile, until no session sees it. Then it is replaced, as a change that terraced makes by itself. Who
 * doesn't want to wait says --yes.
 *
 *	lun.set, reload ─▶ plan: the unit stays (plan.c) ─▶ monitor: who is waited for (C208) ─▶ nobody ─▶
 *	change "mode of LUNs" ─▶ plan: another unit; who has logged in during that has to do so again
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "daemon/caches.h"
#include "daemon/change_priv.h"
#include "daemon/srp.h"

bool
daemon_lun_mode_waits(const struct daemon_lun *l)
{
	return l->lu != NULL && !l->is_volatile && conf_lun_mode(l->conf) == CONF_MODE_VOLATILE;
}

static bool
sees(const struct scsi_view *view, const struct scsi_lu *lu)
{
	for (uint32_t i = 0; view != NULL && i < scsi_view_count(view); i++)
		if (scsi_view_entry(view, i)->lu == lu)
			return true;
	return false;
}

/* The sessions that see it, to be freed; NULL: no memory. */
static struct daemon_session *
users_of(const struct daemon_lun *l, uint32_t *ret_count)
{
	uint32_t room = daemon_session_count(l->daemon) + 1, count, kept = 0;
	struct daemon_session *all = calloc(room, sizeof *all);

	if (all == NULL)
		return NULL;
	count = daemon_sessions(l->daemon, all, room);
	for (uint32_t i = 0; i < count; i++)
		if (sees(all[i].info.view, l->lu))
			all[kept++] = all[i];
	*ret_count = kept;
	return all;
}

unsigned
daemon_lun_users(const struct daemon_lun *l, char *buf, size_t cap)
{
	uint32_t found;
	struct daemon_session *all = users_of(l, &found);
	size_t at = 0;

	if (cap > 0)
		buf[0] = '\0';
	if (all == NULL)
		return UINT32_MAX; /* nobody can tell: as if there were some */
	for (uint32_t i = 0; i < found; i++) {
		int n = snprintf(buf != NULL ? buf + at : NULL, cap - at, "%s%s (%s)",
		    at > 0 ? ", " : "", all[i].info.initiator, all[i].info.address);
		at = n > 0 && (size_t)n < cap - at ? at + (size_t)n : at;
		if (cap > 0)
			buf[at] = '\0'; /* whole names only */
	}
	free(all);
	return found;
}

/*
 * Those that have logged in since it was looked who would lose something: they were told the stronger one. None of
 * them may stay: without memory to find them the process ends, and with it all sessions.
 */
static void
drop_users(struct daemon *d, const struct daemon_lun *l)
{
	uint32_t count;
	struct daemon_session *all = users_of(l, &count);

	ASSERT(all != NULL);
	for (uint32_t i = 0; i < count; i++)
		(void)daemon_session_drop(d, &all[i], "a LUN has another mode now");
	free(all);
}

/* ---- a change of these modes -------------------------------------------------------------------------- */

bool
change_forces(const struct change *c, const char *lun)
{
	bool named = c->verb->edit == NULL;
	for (unsigned i = 0; i < c->edit_count; i++)
		named = named ||
		        (c->edits[i].kind == CONF_KIND_LUN && strcmp(c->edits[i].name, lun) == 0);
	return c->yes && named;
}

bool
change_has_modes(const struct change *c)
{
	const struct daemon_objects *now = &c->daemon->now;
	for (unsigned i = 0; i < now->lun_count; i++)
		if (daemon_lun_mode_waits(now->luns[i]) &&
		    (c->verb->edit == change_edit_nothing || change_forces(c, now->luns[i]->name)))
			return true;
	return false;
}

void
change_remark_modes(struct change *c)
{
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		char who[600];
		if (pl->after == NULL || pl->after != pl->before || pl->before->is_volatile ||
		    conf_lun_mode(pl->conf) != CONF_MODE_VOLATILE)
			continue;
		(void)daemon_lun_users(pl->before, who, sizeof who);
		change_remark(c,
		    "LUN %s keeps its stronger mode until everybody who was told it has logged out "
		    "(%s): "
		    "--yes doesn't wait",
		    pl->before->name, who);
	}
}

void
change_drop_modes(struct change *c)
{
	for (unsigned i = 0; i < c->plan->lun_count; i++) {
		const struct plan_lun *pl = &c->plan->luns[i];
		if (pl->before == NULL || pl->after == NULL || pl->before == pl->after ||
		    pl->before->lu == NULL || pl->before->is_volatile || !pl->after->is_volatile ||
		    change_forces(c, pl->after->name))
			continue;
		drop_users(c->daemon, pl->before);
	}
}

int
change_edit_nothing(struct change *c)
{
	(void)c;
	return 0;
}
