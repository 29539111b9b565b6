/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stages of the login phase, RFC 7143 §6.3 (and the diagram of §8 as far as it is about them):
 *
 *   first ──► security ──► operational ──► place ──► full
 *     └────────────┼────────────▲            ▲
 *                  └─────────────────────────┘        any ──► ended
 *
 * A request names the stage it belongs to (CSG) and, with T, where it wants to go (NSG). It never
 * moves the state beyond its own stage: the agreement does, which is ours to give.
 */
#include "iscsi/login.h"

#define BIT(s) (1u << (s))
#define ANY (BIT(LS_COUNT) - 1)

static const struct {
	const char *label;
	unsigned from; /* bits of states */
	enum login_event event;
	enum login_state to;
} table[] = {
    {"L1", BIT(LS_FIRST) | BIT(LS_SECURITY), LE_SECURITY, LS_SECURITY},
    {"L2", BIT(LS_FIRST) | BIT(LS_SECURITY), LE_SECURITY_TO_OPERATIONAL, LS_SECURITY},
    {"L3", BIT(LS_FIRST) | BIT(LS_SECURITY), LE_SECURITY_TO_FULL, LS_SECURITY},
    /* Security may be skipped, unless CHAP is required: that is known when the names are. */
    {"L4", BIT(LS_FIRST) | BIT(LS_OPERATIONAL), LE_OPERATIONAL, LS_OPERATIONAL},
    {"L5", BIT(LS_FIRST) | BIT(LS_OPERATIONAL), LE_OPERATIONAL_TO_FULL, LS_OPERATIONAL},
    {"L6", BIT(LS_SECURITY), LE_AGREED_OPERATIONAL, LS_OPERATIONAL},
    {"L7", BIT(LS_SECURITY) | BIT(LS_OPERATIONAL), LE_AGREED_FULL, LS_PLACE},
    {"L8", BIT(LS_PLACE), LE_PLACED, LS_FULL},
    {"L9", ANY, LE_FAILED, LS_ENDED},
};

enum login_state
login_next_state(enum login_state state, enum login_event event)
{
	ASSERT(state < LS_COUNT);
	ASSERT(event < LE_COUNT);
	for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
		if (table[i].event == event && (table[i].from & BIT(state)))
			return table[i].to;
	return LS_COUNT;
}

/* §11.12.1–11.12.4. NSG is reserved, so not looked at, without T. */
enum login_event
login_event_of(uint8_t flags)
{
	bool transit = flags & ISCSI_LOGIN_TRANSIT, more = flags & ISCSI_LOGIN_CONTINUE;
	unsigned csg = ISCSI_LOGIN_CSG(flags), nsg = ISCSI_LOGIN_NSG(flags);
	if (transit && more)
		return LE_MALFORMED;
	if (csg == ISCSI_STAGE_SECURITY) {
		if (!transit)
			return LE_SECURITY;
		if (nsg == ISCSI_STAGE_OPERATIONAL)
			return LE_SECURITY_TO_OPERATIONAL;
		return nsg == ISCSI_STAGE_FULL ? LE_SECURITY_TO_FULL : LE_MALFORMED;
	}
	if (csg == ISCSI_STAGE_OPERATIONAL) {
		if (!transit)
			return LE_OPERATIONAL;
		return nsg == ISCSI_STAGE_FULL ? LE_OPERATIONAL_TO_FULL : LE_MALFORMED;
	}
	return LE_MALFORMED;
}

const char *
login_state_to_string(enum login_state state)
{
	static const char *const names[LS_COUNT] = {
	    [LS_FIRST] = "first",
	    [LS_SECURITY] = "security",
	    [LS_OPERATIONAL] = "operational",
	    [LS_PLACE] = "place",
	    [LS_FULL] = "full",
	    [LS_ENDED] = "ended",
	};
	ASSERT(state < LS_COUNT);
	return names[state];
}
