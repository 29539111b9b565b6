/* SPDX-License-Identifier: BSD-2-Clause */
/* What makes a Linux machine log in to SRP targets: a line for add_target, or a unit of systemd. */
#include <string.h>

#include "tools/terracectl/terracectl.h"

#define ADD_TARGET "/sys/class/infiniband_srp/srp-DEVICE-PORT/add_target"

/*
 * Logs in, and again whenever no SCSI host has these identifiers any more: ib_srp itself connects
 * again for dev_loss_tmo seconds, and forgets the target then.
 */
static const char unit_text[] =
    "[Unit]\n"
    "Description=SRP target %N\n"
    "Wants=network-online.target remote-fs-pre.target\n"
    "After=network-online.target\n"
    "Before=remote-fs-pre.target\n"
    "\n"
    "[Service]\n"
    "Type=notify\n"
    "NotifyAccess=all\n"
    "TimeoutStartSec=120\n"
    "Restart=always\n"
    "RestartSec=10\n"
    "ExecStartPre=/sbin/modprobe ib_srp\n"
    "ExecStart=/bin/sh -c '\\\n"
    "  told=; while :; do \\\n"
    "    found=; \\\n"
    "    for h in /sys/class/scsi_host/host*; do \\\n"
    "      [ -e \"$$h/ioc_guid\" ] || continue; \\\n"
    "      read -r e <\"$$h/id_ext\"; read -r g <\"$$h/ioc_guid\"; \\\n"
    "      [ \"$$e $$g\" = \"0x%E 0x%G\" ] && found=1; \\\n"
    "    done; \\\n"
    "    [ -n \"$$found\" ] || for p in /sys/class/infiniband_srp/srp-*; do \\\n"
    "      [ -e \"$$p/add_target\" ] || continue; \\\n"
    "      echo \"%L\" >\"$$p/add_target\" && found=1 && break; \\\n"
    "    done; \\\n"
    "    if [ -n \"$$found\" ] && [ -z \"$$told\" ]; then systemd-notify --ready; told=1; fi; \\\n"
    "    sleep 10; \\\n"
    "  done'\n"
    "\n"
    "[Install]\n"
    "WantedBy=multi-user.target\n";

/* %N the target's name, %E its id_ext, %G its ioc_guid, %L the line, %% a percent sign. */
static void
print_unit(const json_t *target, const char *line)
{
	for (const char *c = unit_text; *c != '\0'; c++) {
		if (*c != '%') {
			putchar(*c);
			continue;
		}
		c++;
		out_text(stdout, *c == 'N'   ? get_text(target, "name")
		                 : *c == 'E' ? get_text(target, "id_ext")
		                 : *c == 'G' ? get_text(target, "ioc_guid")
		                             : line);
	}
}

/* The lines of a login: one, or one for each address of this machine. */
static json_t *
lines_of(const json_t *login)
{
	json_t *list = json_array();
	const char *line = get_text(login, "line"), *dest = strstr(line, "dest=");
	if (!get_bool(login, "any_address") || dest == NULL) {
		json_array_append_new(list, json_string(line));
		return list;
	}
	json_t *any = json_pack("[s]", get_text(login, "address"));
	json_t *own = tool_reachable(any);
	size_t i;
	const json_t *a;
	json_array_foreach(own, i, a)
	{
		char text[512];
		snprintf(text, sizeof text, "%.*sdest=%s", (int)(dest - line), line,
		    json_string_value(a));
		json_array_append_new(list, json_string(text));
	}
	json_decref(own);
	json_decref(any);
	return list;
}

static void
print_target(const json_t *target, bool systemd, unsigned *units)
{
	size_t i, k;
	const json_t *login, *line;

	if (!systemd) {
		out_styled(STYLE_BOLD, get_text(target, "name"));
		putchar('\n');
	}
	json_array_foreach(json_object_get(target, "logins"), i, login)
	{
		json_t *lines = lines_of(login);
		json_array_foreach(lines, k, line)
		{
			const char *text = json_string_value(line);
			if (!systemd) {
				printf("    echo %s >" ADD_TARGET "\n", text);
				continue;
			}
			if ((*units)++ == 0)
				print_unit(target, text);
			else
				printf("# another way to %s: %s\n", get_text(target, "name"), text);
		}
		json_decref(lines);
	}
}

int
run_srp_strings(struct tool *t, const struct verb *v, json_t *params)
{
	const char *only = get_text(t->local, "target");
	bool systemd = get_bool(params, "systemd");
	unsigned shown = 0, units = 0;
	int status;
	size_t i;
	const json_t *target;

	json_t *answer = tool_call(t, v->method, NULL, &status);
	if (answer == NULL)
		return status;
	for (size_t k = json_array_size(answer); only[0] != '\0' && k-- > 0;)
		if (strcmp(get_text(json_array_get(answer, k), "name"), only) != 0)
			json_array_remove(answer, k);
	if (t->json)
		tool_print_json(answer, false);
	else if (!systemd && json_array_size(answer) > 0)
		puts("As root on the initiator, after `modprobe ib_srp`; `ls "
		     "/sys/class/infiniband_srp` shows its ports:");
	json_array_foreach(answer, i, target)
	{
		if (systemd && shown == 1) {
			status = tool_error(t, TOOL_USAGE, "there are several targets: name one");
			break;
		}
		shown++;
		if (!t->json)
			print_target(target, systemd, &units);
	}
	if (shown == 0 && only[0] != '\0')
		status = tool_error(t, TOOL_FAILED, "no target %s is served over SRP", only);
	else if (shown == 0 && !t->json)
		puts("No target is served over SRP: a portal with `protocol srp` does that.");
	json_decref(answer);
	return status;
}
