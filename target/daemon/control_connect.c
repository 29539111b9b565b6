/* SPDX-License-Identifier: BSD-2-Clause */
/* What an initiator needs to log in. */
#include "daemon/control.h"

static json_t *
addresses_json(const struct picture *p, const struct conf_target *t, bool *ret_any)
{
	json_t *list = json_array();

	*ret_any = false;
	for (unsigned i = 0; list != NULL && i < t->portal_count; i++) {
		const struct picture_portal *portal = control_portal(p, t->portals[i]);
		if (portal != NULL && portal->protocol != CONF_PROTOCOL_ISCSI)
			continue;
		for (unsigned k = 0; portal != NULL && k < portal->address_count; k++) {
			*ret_any |= portal->addresses[k].wildcard;
			json_array_append_new(list, json_string(portal->addresses[k].text));
		}
	}
	return list;
}

/* True if some group, or all, must say a password. */
static bool
needs_chap(const struct conf_target *t)
{
	for (unsigned i = 0; i < t->group_count; i++)
		if (t->groups[i].user_count > 0)
			return true;
	return false;
}

static json_t *
connect_json(const struct picture *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; list != NULL && i < p->conf->target_count; i++) {
		const struct conf_target *t = &p->conf->targets[i];
		bool chap = needs_chap(t), mutual = false, any;
		json_t *addresses = addresses_json(p, t, &any);
		for (unsigned c = 0; c < t->chap_count; c++)
			mutual |= t->chaps[c].mutual_secret != NULL;
		json_array_append_new(list,
		    json_pack("{s:o, s:o, s:o, s:b, s:b, s:o, s:b, s:b, s:b}", "name",
		        ctl_string(t->name), "alias", ctl_string(t->alias != NULL ? t->alias : ""),
		        "addresses", addresses, "any_address", any, "chap", chap, "user",
		        ctl_string(chap && t->chap_count == 1 ? t->chaps[0].user : ""), "mutual",
		        chap && mutual, "discovery_chap", p->conf->discovery_chap_count > 0, "open",
		        t->open));
	}
	return list;
}

static void
connect_list(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_PORTALS, NULL, connect_json);
}

const struct ctl_method control_connect_methods[] = {
    {.name = "connect",
        .help = "targets with the addresses and names that initiators need",
        .start = connect_list},
    {.name = NULL},
};
