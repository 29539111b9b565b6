/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See srp_raw.h. Usage: srp_raw ADDRESS PORT id_ext=HEX,ioc_guid=HEX [WHAT [ARGUMENT]]
 *     all           what follows but for the last two (without WHAT)
 *     logins        logins that are malformed, lie, or want too much
 *     units         information units that do
 *     peers         initiators that do
 *     access PROGRAM  logins while PROGRAM changes what the initiator may
 *     loop N        logs in and out, so often
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/srp_raw.h"

struct sockaddr_storage raw_target;
uint8_t raw_target_port[16];
uint8_t raw_initiator = 0xab;
const char *raw_what = "arguments";

static int
hex(const char *s, uint8_t *ret, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		unsigned v;
		if (sscanf(s + 2 * i, "%2x", &v) != 1)
			return -1;
		ret[i] = (uint8_t)v;
	}
	return 0;
}

static void
take_target(const char *address, const char *port, const char *ids)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	const char *ext = strstr(ids, "id_ext="), *guid = strstr(ids, "ioc_guid=");
	if (inet_pton(AF_INET, address, &in.sin_addr) != 1 || ext == NULL || guid == NULL ||
	    hex(ext + 7, raw_target_port, 8) < 0 || hex(guid + 9, raw_target_port + 8, 8) < 0)
		raw_fail("no target");
	memcpy(&raw_target, &in, sizeof in);
}

static void
loop(unsigned times)
{
	raw_what = "many logins";
	for (unsigned i = 0; i < times; i++)
		raw_release(raw_login());
}

int
main(int argc, char **argv)
{
	if (argc < 4 || argc > 6)
		raw_fail("usage: srp_raw ADDRESS PORT id_ext=HEX,ioc_guid=HEX [WHAT [ARGUMENT]]");
	take_target(argv[1], argv[2], argv[3]);
	const char *do_what = argc > 4 ? argv[4] : "all";
	bool all = strcmp(do_what, "all") == 0, any = all;
	if (all || strcmp(do_what, "logins") == 0) {
		raw_logins();
		any = true;
	}
	if (all || strcmp(do_what, "units") == 0) {
		raw_units();
		any = true;
	}
	if (all || strcmp(do_what, "peers") == 0) {
		raw_peers();
		any = true;
	}
	if (argc == 6 && strcmp(do_what, "access") == 0) {
		raw_access(argv[5]);
		any = true;
	}
	if (argc == 6 && strcmp(do_what, "loop") == 0) {
		loop((unsigned)atoi(argv[5]));
		any = true;
	}
	if (!any)
		raw_fail("there is no '%s'", do_what);
	printf("srp_raw: %s: done\n", do_what);
	return 0;
}
