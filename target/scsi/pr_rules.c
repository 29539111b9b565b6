/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each service action makes of the reservations: pure functions from (state, request) to a
 * verdict. Tables and subclauses are SPC-4's (5.13) unless said otherwise.
 */
#include "scsi/pr.h"

#include <stdlib.h>

struct work {
	const struct pr_state *old;
	const struct pr_request *req;
	struct pr_verdict *v;
	struct pr_state *st; /* removed registrations have key 0 until finish() */
	uint32_t live;
	int own; /* the requester's registration in `old`, -1: none */
};

/* ---- verdicts ------------------------------------------------------------------------------- */

static void
conflict(struct pr_verdict *v)
{
	v->status = SCSI_RESERVATION_CONFLICT;
}

static bool
refuse(struct pr_verdict *v, enum scsi_sense sense)
{
	v->status = SCSI_CHECK_CONDITION;
	v->sense = sense;
	return false;
}

static bool
refuse_cdb(struct pr_verdict *v, int byte, int bit)
{
	v->cdb_byte = byte;
	v->bit = bit;
	return refuse(v, SENSE_INVALID_FIELD_CDB);
}

static bool
refuse_param(struct pr_verdict *v, size_t byte, int bit)
{
	v->param_byte = (int)byte;
	v->bit = bit;
	return refuse(v, SENSE_INVALID_FIELD_PARAM);
}

/* ---- the state that is being made ------------------------------------------------------------- */

static bool
begin(struct work *w)
{
	const struct pr_state *old = w->old;

	w->st = pr_state_alloc(old->count + SCSI_PR_REGISTRATIONS_MAX + 1);
	if (!w->st)
		return refuse(w->v, SENSE_INSUFFICIENT_RESOURCES);
	memcpy(w->st, old, sizeof(*old) + old->count * sizeof(old->regs[0]));
	w->live = old->count;
	return true;
}

static void
remove_reg(struct work *w, uint32_t i)
{
	ASSERT(i < w->st->count && w->st->regs[i].key != 0);
	w->st->regs[i].key = 0;
	w->live--;
}

/* Index, or -1 with INSUFFICIENT REGISTRATION RESOURCES. */
static int
add_reg(struct work *w, const struct pr_tid *tid, uint16_t rel_port, uint64_t key)
{
	ASSERT(key != 0);
	if (w->live >= SCSI_PR_REGISTRATIONS_MAX) {
		refuse(w->v, SENSE_INSUFFICIENT_REG_RESOURCES);
		return -1;
	}
	ASSERT(w->st->count < w->old->count + SCSI_PR_REGISTRATIONS_MAX + 1);
	struct pr_reg *r = &w->st->regs[w->st->count];
	*r = (struct pr_reg){.key = key, .rel_port = rel_port, .tid = *tid};
	w->live++;
	return (int)w->st->count++;
}

static void
set_ua(struct work *w, uint32_t old_idx, enum scsi_ua ua)
{
	if ((int)old_idx != w->own)
		w->v->ua[old_idx] = (uint8_t)(ua + 1);
}

/* On every registration that is still there but the requester's. */
static void
set_ua_others(struct work *w, enum scsi_ua ua)
{
	for (uint32_t i = 0; i < w->old->count; i++)
		if (w->st->regs[i].key != 0)
			set_ua(w, i, ua);
}

static void
set_reservation(struct work *w, unsigned type, int holder)
{
	w->st->type = (uint8_t)type;
	w->st->holder =
	    type == PR_NONE || pr_type_all_registrants(type) ? PR_NO_HOLDER : (uint32_t)holder;
}

/*
 * After registrations were removed: a reservation whose last holder went is released (5.13.10). The
 * other registrants of a registrants only type are told when `tell` (5.13.11.2.3).
 */
static void
release_orphan(struct work *w, bool tell)
{
	struct pr_state *st = w->st;
	unsigned type = st->type;

	if (type == PR_NONE)
		return;
	bool held = pr_type_all_registrants(type) ? w->live > 0 : st->regs[st->holder].key != 0;
	if (held)
		return;
	set_reservation(w, PR_NONE, -1);
	if (tell && pr_type_registrants(type))
		set_ua_others(w, UA_RES_RELEASED);
}

/* Has anybody less access than before? map: old index → new one. */
static bool
takes_away(const struct work *w, const int *map)
{
	uint64_t self = w->req->nexus_id;

	if (w->st->spc2_nexus != w->old->spc2_nexus && w->st->spc2_nexus != 0)
		return true;
	if (pr_state_deny(w->st, -1, self) & ~pr_state_deny(w->old, -1, self))
		return true;
	for (uint32_t i = 0; i < w->old->count; i++)
		if (pr_state_deny(w->st, map[i], self) & ~pr_state_deny(w->old, (int)i, self))
			return true;
	return false;
}

/* Closes the gaps of removed registrations and hands the state over. */
static void
finish(struct work *w, bool count_generation)
{
	struct pr_state *st = w->st;
	int map[SCSI_PR_REGISTRATIONS_MAX];
	uint32_t n = 0, holder = PR_NO_HOLDER;

	ASSERT(w->old->count <= SCSI_PR_REGISTRATIONS_MAX);
	for (uint32_t i = 0; i < st->count; i++) {
		bool there = st->regs[i].key != 0;
		if (i < w->old->count)
			map[i] = there ? (int)n : -1;
		if (!there)
			continue;
		if (i == st->holder)
			holder = n;
		if (i != n)
			st->regs[n] = st->regs[i];
		n++;
	}
	ASSERT(n == w->live && n <= SCSI_PR_REGISTRATIONS_MAX);
	ASSERT(
	    (holder == PR_NO_HOLDER) == (st->type == PR_NONE || pr_type_all_registrants(st->type)));
	st->count = n;
	st->holder = holder;
	if (n == 0)
		st->aptpl = false; /* nothing to keep; the next REGISTER says it anew */
	if (count_generation)
		st->generation++;
	w->v->fences = takes_away(w, map);
	for (uint32_t i = 0; i < w->old->count; i++)
		w->v->fences |= w->v->preempted[i];
	struct pr_state *fit = realloc(st, sizeof(*st) + n * sizeof(st->regs[0]));
	w->v->changed = true;
	w->v->next = fit ? fit : st;
	w->st = NULL;
}

/* ---- REGISTER, REGISTER AND IGNORE EXISTING KEY: tables 67 to 69 ----------------------------------- */

/* The requester's initiator port at one target port. */
static bool
register_port(struct work *w, uint16_t rel_port)
{
	const struct pr_request *req = w->req;
	bool ignore = req->sa == PR_OUT_REGISTER_AND_IGNORE;
	int at = pr_state_find(w->st, &req->tid, rel_port);

	if (at < 0)
		return add_reg(w, &req->tid, rel_port, req->sa_key) >= 0;
	/* At another port of ALL_TG_PT only what the requester's key covers is changed. */
	if (ignore || at == w->own ||
	    (w->own >= 0 && (uint32_t)at < w->old->count &&
	        w->old->regs[at].key == w->old->regs[w->own].key))
		w->st->regs[at].key = req->sa_key;
	return true;
}

/* One initiator port of the list. */
static bool
register_listed(struct work *w, const struct pr_tid *tid, size_t at)
{
	const struct pr_request *req = w->req;

	if (pr_tid_protocol(tid) != pr_tid_protocol(&req->tid))
		return refuse_param(w->v, at, 3);
	if (pr_tid_equal(tid, &req->tid))
		return true; /* the requester itself, registered already */
	uint32_t ports = req->all_tg_pt ? req->port_count : 1;
	for (uint32_t i = 0; i < ports; i++) {
		uint16_t port = req->all_tg_pt ? req->ports[i] : req->rel_port;
		if (pr_state_find(w->old, tid, port) >= 0)
			return refuse_param(w->v, at, -1); /* table 67, note b */
		if (pr_state_find(w->st, tid, port) >= 0)
			continue; /* twice in the list */
		if (add_reg(w, tid, port, req->sa_key) < 0)
			return false;
	}
	return true;
}

static bool
register_list(struct work *w)
{
	const struct pr_request *req = w->req;

	for (size_t at = PR_TID_LIST_AT; at < req->list_len;) {
		struct pr_tid tid;
		size_t used = pr_tid_parse(req->list + at, req->list_len - at, &tid);
		if (used == 0)
			return refuse_param(w->v, at, -1);
		if (!register_listed(w, &tid, at))
			return false;
		at += used;
	}
	return true;
}

static void
unregister(struct work *w)
{
	const struct pr_request *req = w->req;
	uint64_t key = w->old->regs[w->own].key;

	remove_reg(w, (uint32_t)w->own);
	for (uint32_t i = 0; req->all_tg_pt && i < w->old->count; i++) {
		const struct pr_reg *r = &w->st->regs[i];
		bool covered = req->sa == PR_OUT_REGISTER_AND_IGNORE || r->key == key;
		if (r->key != 0 && covered && pr_tid_equal(&r->tid, &req->tid))
			remove_reg(w, i);
	}
	release_orphan(w, true);
}

static void
rule_register(struct work *w)
{
	const struct pr_request *req = w->req;
	bool ignore = req->sa == PR_OUT_REGISTER_AND_IGNORE;

	if (!ignore && req->key != (w->own < 0 ? 0 : w->old->regs[w->own].key)) {
		conflict(w->v);
		return;
	}
	if (w->own < 0 && req->sa_key == 0)
		return; /* nothing to do: GOOD */
	if (w->own >= 0 && req->spec_i_pt) {
		refuse_param(w->v, 20, 3);
		return;
	}
	if (!begin(w))
		return;
	w->st->aptpl = req->aptpl;
	if (req->sa_key == 0) {
		unregister(w);
	} else {
		if (!register_port(w, req->rel_port))
			return;
		for (uint32_t i = 0; req->all_tg_pt && i < req->port_count; i++)
			if (!register_port(w, req->ports[i]))
				return;
		if (req->spec_i_pt && !register_list(w))
			return;
	}
	finish(w, true);
}

/* ---- REGISTER AND MOVE: table 70 ---------------------------------------------------------------------- */

/* Where to. False: refused. */
static bool
move_target(struct work *w, struct pr_tid *tid, uint16_t *rel_port)
{
	const struct pr_request *req = w->req;

	*rel_port = load_be16(req->list + 18);
	bool known = false;
	for (uint32_t i = 0; i < req->port_count; i++)
		known |= req->ports[i] == *rel_port;
	if (!known)
		return refuse_param(w->v, 18, -1);
	size_t room = req->list_len - PR_BASIC_LIST_BYTES;
	if (pr_tid_parse(req->list + PR_BASIC_LIST_BYTES, room, tid) != room)
		return refuse_param(w->v, PR_BASIC_LIST_BYTES, -1);
	if (pr_tid_protocol(tid) != pr_tid_protocol(&req->tid))
		return refuse_param(w->v, PR_BASIC_LIST_BYTES, 3);
	if (pr_tid_equal(tid, &req->tid))
		return refuse_param(w->v, PR_BASIC_LIST_BYTES, -1);
	return true;
}

static void
rule_register_and_move(struct work *w)
{
	const struct pr_request *req = w->req;
	struct pr_tid tid;
	uint16_t rel_port;

	if (w->old->type == PR_NONE) {
		refuse_cdb(w->v, 1, 4);
		return;
	}
	if (pr_type_all_registrants(w->old->type) || !pr_state_is_holder(w->old, w->own)) {
		conflict(w->v);
		return;
	}
	if (req->sa_key == 0) {
		refuse_param(w->v, 8, -1);
		return;
	}
	if (!move_target(w, &tid, &rel_port) || !begin(w))
		return;
	w->st->aptpl = req->aptpl;
	if (req->unreg)
		remove_reg(w, (uint32_t)w->own);
	int to = pr_state_find(w->st, &tid, rel_port);
	if (to >= 0)
		w->st->regs[to].key = req->sa_key;
	else
		to = add_reg(w, &tid, rel_port, req->sa_key);
	if (to < 0)
		return;
	set_reservation(w, w->old->type, to);
	finish(w, true);
}

/* ---- RESERVE, RELEASE, CLEAR --------------------------------------------------------------------------- */

static bool
scope_type_ok(struct work *w)
{
	if (w->req->scope != 0) /* LU_SCOPE, 6.15.3.3 */
		return refuse_cdb(w->v, 2, 7);
	if (!pr_type_valid(w->req->type))
		return refuse_cdb(w->v, 2, 3);
	return true;
}

static void
rule_reserve(struct work *w)
{
	if (!scope_type_ok(w))
		return;
	if (w->old->type != PR_NONE) { /* 5.13.9 */
		if (!pr_state_is_holder(w->old, w->own) || w->old->type != w->req->type)
			conflict(w->v);
		return;
	}
	if (!begin(w))
		return;
	set_reservation(w, w->req->type, w->own);
	finish(w, false);
}

static void
rule_release(struct work *w)
{
	if (!pr_state_is_holder(w->old, w->own))
		return; /* GOOD, also without a reservation */
	if (w->req->scope != 0 || w->req->type != w->old->type) {
		refuse(w->v, SENSE_INVALID_RELEASE);
		return;
	}
	if (!begin(w))
		return;
	set_reservation(w, PR_NONE, -1);
	if (pr_type_registrants(w->old->type))
		set_ua_others(w, UA_RES_RELEASED);
	finish(w, false);
}

static void
rule_clear(struct work *w)
{
	if (!begin(w))
		return;
	set_ua_others(w, UA_RES_PREEMPTED);
	set_reservation(w, PR_NONE, -1);
	for (uint32_t i = 0; i < w->old->count; i++)
		remove_reg(w, i);
	finish(w, true);
}

/* ---- PREEMPT, PREEMPT AND ABORT: table 72 ----------------------------------------------------------------- */

/* The registrations with the key (0: all) but, if asked, the requester's. Number removed or kept. */
static uint32_t
preempt_regs(struct work *w, uint64_t key, bool keep_own)
{
	uint32_t matched = 0;

	for (uint32_t i = 0; i < w->old->count; i++) {
		if (key != 0 && w->old->regs[i].key != key)
			continue;
		matched++;
		if ((int)i == w->own && keep_own)
			continue;
		remove_reg(w, i);
		set_ua(w, i, UA_REG_PREEMPTED);
		w->v->preempted[i] = w->req->sa == PR_OUT_PREEMPT_AND_ABORT && (int)i != w->own;
	}
	return matched;
}

static void
rule_preempt(struct work *w)
{
	const struct pr_request *req = w->req;
	unsigned old_type = w->old->type;
	bool all = pr_type_all_registrants(old_type);

	if (req->sa_key == 0 && !all) {
		refuse_param(w->v, 8, -1);
		return;
	}
	bool reservation =
	    all ? req->sa_key == 0
	        : old_type != PR_NONE && w->old->regs[w->old->holder].key == req->sa_key;
	if (reservation && !scope_type_ok(w))
		return;
	if (!begin(w))
		return;
	if (preempt_regs(w, req->sa_key, reservation) == 0) {
		conflict(w->v);
		return;
	}
	if (reservation) {
		set_reservation(w, req->type, w->own);
		if (req->type != old_type)
			set_ua_others(w, UA_RES_RELEASED);
	} else {
		release_orphan(w, false);
	}
	finish(w, true);
}

/* ---- REPLACE LOST RESERVATION: 5.13.11.3 --------------------------------------------------------------------- */

static void
rule_replace_lost(struct work *w)
{
	const struct pr_request *req = w->req;

	if (!w->old->lost) {
		refuse(w->v, SENSE_INVALID_RELEASE);
		return;
	}
	if (req->key != 0 || req->sa_key == 0) {
		refuse_param(w->v, req->key != 0 ? 0 : 8, -1);
		return;
	}
	if (!scope_type_ok(w) || !begin(w))
		return;
	ASSERT(w->old->count == 0);
	w->st->lost = false;
	w->st->aptpl = req->aptpl_capable; /* what was lost had been meant to last */
	int own = add_reg(w, &req->tid, req->rel_port, req->sa_key);
	ASSERT(own == 0);
	set_reservation(w, req->type, own);
	finish(w, false);
	w->v->next->generation = 0;
	w->v->fences = true;
}

/* ---- SPC-2 RESERVE and RELEASE, with the exceptions of 5.13.3 (CRH) ----------------------------------------------- */

static void
spc2_set(struct work *w, uint64_t nexus_id)
{
	if (!begin(w))
		return;
	w->st->spc2_nexus = nexus_id;
	finish(w, false);
}

static void
rule_spc2(struct work *w)
{
	const struct pr_state *old = w->old;
	bool reserve = w->req->sa == PR_SPC2_RESERVE;

	/* 5.13.3: a holder, or a registrant where registrants have access: GOOD, nothing changes. */
	if (pr_state_is_holder(old, w->own) || (pr_type_registrants(old->type) && w->own >= 0))
		return;
	/* SPC-2 5.5.1: while anybody is registered, RESERVE and RELEASE conflict for everybody. */
	if (old->lost || old->count > 0 ||
	    (reserve && old->spc2_nexus != 0 && old->spc2_nexus != w->req->nexus_id)) {
		conflict(w->v);
		return;
	}
	if (reserve && old->spc2_nexus == 0)
		spc2_set(w, w->req->nexus_id);
	else if (!reserve && old->spc2_nexus == w->req->nexus_id)
		spc2_set(w, 0);
}

/* ---- all together ---------------------------------------------------------------------------------------------------- */

static void
rule_pr_out(struct work *w)
{
	const struct pr_request *req = w->req;
	uint8_t sa = req->sa;
	bool registers = sa == PR_OUT_REGISTER || sa == PR_OUT_REGISTER_AND_IGNORE;

	/* SPC-2 5.5.1: with RESERVE in force all of them conflict, the holder's too. */
	if (w->old->spc2_nexus != 0 || (w->old->lost && sa != PR_OUT_REPLACE_LOST)) {
		conflict(w->v);
		return;
	}
	if (!registers && sa != PR_OUT_REPLACE_LOST &&
	    (w->own < 0 || w->old->regs[w->own].key != req->key)) {
		conflict(w->v);
		return;
	}
	switch ((enum pr_out_sa)sa) {
	case PR_OUT_REGISTER:
	case PR_OUT_REGISTER_AND_IGNORE:
		rule_register(w);
		break;
	case PR_OUT_RESERVE:
		rule_reserve(w);
		break;
	case PR_OUT_RELEASE:
		rule_release(w);
		break;
	case PR_OUT_CLEAR:
		rule_clear(w);
		break;
	case PR_OUT_PREEMPT:
	case PR_OUT_PREEMPT_AND_ABORT:
		rule_preempt(w);
		break;
	case PR_OUT_REGISTER_AND_MOVE:
		rule_register_and_move(w);
		break;
	case PR_OUT_REPLACE_LOST:
		rule_replace_lost(w);
		break;
	case PR_SPC2_RESERVE:
	case PR_SPC2_RELEASE:
	case PR_SPC2_LOST:
		ASSERT(false);
	}
}

void
pr_evaluate(const struct pr_state *old, const struct pr_request *req, struct pr_verdict *v)
{
	struct work w = {.old = old, .req = req, .v = v};

	pr_verdict_init(v);
	w.own = pr_state_find(old, &req->tid, req->rel_port);
	if (req->sa == PR_SPC2_LOST) {
		if (old->spc2_nexus != 0 && old->spc2_nexus == req->nexus_id)
			spc2_set(&w, 0);
	} else if (req->sa == PR_SPC2_RESERVE || req->sa == PR_SPC2_RELEASE) {
		rule_spc2(&w);
	} else {
		rule_pr_out(&w);
	}
	free(w.st); /* begun, then refused */
	if (v->status != SCSI_GOOD) {
		memset(v->ua, 0, sizeof(v->ua));
		memset(v->preempted, 0, sizeof(v->preempted));
	}
	ASSERT(v->changed == (v->next != NULL));
	ASSERT(!v->changed || v->status == SCSI_GOOD);
}
