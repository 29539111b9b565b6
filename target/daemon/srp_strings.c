/* SPDX-License-Identifier: BSD-2-Clause */
/* What Linux's initiator is told so that it logs in: the line for add_target, by portal. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control.h"
#include "daemon/srp.h"

#define SYS_INFINIBAND "/sys/class/infiniband"

struct ids {
	char ext[17], guid[17];
};

static void add_line(json_t *list, const char *address, bool wildcard, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void
add_line(json_t *list, const char *address, bool wildcard, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "address", address, "any_address",
	                                wildcard, "line", line));
}

/* First line of a file of /sys; "" where it can't be read. */
static void
read_line(const char *dir, const char *name, char *buf, size_t cap)
{
	char path[512];
	buf[0] = '\0';
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(buf, (int)cap, f) == NULL)
		buf[0] = '\0';
	fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
}

/* One line for each InfiniBand port of this machine: logins by the IB CM name a GID. */
static void
add_port(json_t *list, const struct ids *ids, const char *dir, const char *address, unsigned port)
{
	char layer[32], gid[64], hex[33];
	size_t n = 0;
	read_line(dir, "link_layer", layer, sizeof layer);
	read_line(dir, "gids/0", gid, sizeof gid);
	if (strcmp(layer, "InfiniBand") != 0)
		return;
	for (const char *c = gid; *c != '\0' && n < 32; c++)
		if (isxdigit((unsigned char)*c))
			hex[n++] = *c;
	hex[n] = '\0';
	if (n == 32)
		add_line(list, address, false,
		    "id_ext=%s,ioc_guid=%s,dgid=%s,pkey=ffff,service_id=00000000013f%04x", ids->ext,
		    ids->guid, hex, port);
}

static void
add_native(json_t *list, const struct ids *ids, const char *address)
{
	char dir[300];
	unsigned port = (unsigned)strtoul(address + strlen("ib:"), NULL, 10);
	DIR *devices = opendir(SYS_INFINIBAND);
	for (struct dirent *e; devices != NULL && (e = readdir(devices)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		for (unsigned i = 1; i <= 4; i++) {
			snprintf(dir, sizeof dir, SYS_INFINIBAND "/%s/ports/%u", e->d_name, i);
			add_port(list, ids, dir, address, port);
		}
	}
	if (devices != NULL)
		closedir(devices);
}

static json_t *
lines_json(const struct picture *p, const struct conf_target *t, const struct ids *ids)
{
	json_t *list = json_array();
	for (unsigned i = 0; list != NULL && i < t->portal_count; i++) {
		const struct picture_portal *portal = control_portal(p, t->portals[i]);
		if (portal == NULL || portal->protocol != CONF_PROTOCOL_SRP)
			continue;
		for (unsigned k = 0; k < portal->address_count; k++) {
			const struct picture_address *a = &portal->addresses[k];
			if (strncmp(a->text, "ib:", 3) == 0)
				add_native(list, ids, a->text);
			else
				add_line(list, a->text, a->wildcard,
				    "id_ext=%s,ioc_guid=%s,dest=%s", ids->ext, ids->guid, a->text);
		}
	}
	return list;
}

static bool
speaks_srp(const struct picture *p, const struct conf_target *t)
{
	for (unsigned i = 0; i < t->portal_count; i++) {
		const struct picture_portal *portal = control_portal(p, t->portals[i]);
		if (portal != NULL && portal->protocol == CONF_PROTOCOL_SRP)
			return true;
	}
	return false;
}

static json_t *
strings_json(const struct picture *p)
{
	json_t *list = json_array();
	for (unsigned i = 0; list != NULL && i < p->conf->target_count; i++) {
		const struct conf_target *t = &p->conf->targets[i];
		uint8_t id[SRP_PORT_ID_BYTES];
		struct ids ids;
		if (!speaks_srp(p, t))
			continue;
		daemon_srp_ids(t, id);
		srp_hex_format(id, 8, ids.ext);
		srp_hex_format(id + 8, 8, ids.guid);
		json_array_append_new(
		    list, json_pack("{s:o, s:s, s:s, s:o}", "name", ctl_string(t->name), "id_ext",
		              ids.ext, "ioc_guid", ids.guid, "logins", lines_json(p, t, &ids)));
	}
	return list;
}

static void
login_strings(void *ctx, struct ctl_call *call, const json_t *params)
{
	(void)params;
	control_answer(ctx, call, PICTURE_PORTALS, NULL, strings_json);
}

const struct ctl_method control_srp_methods[] = {
    {.name = "srp.login_strings",
        .help = "targets that are served over SRP, with what their initiators write to add_target",
        .start = login_strings},
    {.name = NULL},
};
