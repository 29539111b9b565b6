/* What an initiator needs to log in. */
#include <netinet/in.h>
#include <string.h>

#include "daemon/control.h"

/* A wildcard address is nobody's to connect to, but says that all of this machine's do. */
static bool
is_wildcard(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static json_t *
addresses_json(const struct daemon *d, const struct conf_target *t, bool *ret_any)
{
	json_t *list = json_array();

	*ret_any = false;
	for (unsigned i = 0; list != NULL && i < t->portal_count; i++) {
		const struct daemon_portal *p = daemon_portal_find(d, t->portals[i]);
		for (unsigned k = 0; p != NULL && k < p->address_count; k++) {
			char text[80];
			if (!p->addresses[k].listening)
				continue;
			*ret_any |= is_wildcard(&p->addresses[k].real);
			daemon_format_address(&p->addresses[k].real, text, sizeof text);
			json_array_append_new(list, json_string(text));
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
connect_list(void *ctx, const json_t *params, struct ctl_failure *failure)
{
	const struct daemon *d = ctx;
	json_t *list = json_array();

	(void)params;
	(void)failure;
	for (unsigned i = 0; list != NULL && i < d->conf->target_count; i++) {
		const struct conf_target *t = &d->conf->targets[i];
		bool chap = needs_chap(t), mutual = false, any;
		json_t *addresses = addresses_json(d, t, &any);
		for (unsigned c = 0; c < t->chap_count; c++)
			mutual |= t->chaps[c].mutual_secret != NULL;
		json_array_append_new(list,
		    json_pack("{s:o, s:o, s:o, s:b, s:b, s:o, s:b, s:b, s:b}", "name",
		        ctl_string(t->name), "alias", ctl_string(t->alias != NULL ? t->alias : ""),
		        "addresses", addresses, "any_address", any, "chap", chap, "user",
		        ctl_string(chap && t->chap_count == 1 ? t->chaps[0].user : ""), "mutual",
		        chap && mutual, "discovery_chap", d->conf->discovery_chap_count > 0, "open",
		        t->open));
	}
	return list;
}

const struct ctl_method control_connect_methods[] = {
    {.name = "connect",
        .help = "targets with the addresses and names that initiators need",
        .call = connect_list},
    {.name = NULL},
};
