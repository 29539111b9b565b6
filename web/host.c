/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "web/web.h"

#define HOST_MAX 255u /* of a name, RFC 1035 §2.3.4 */

/* What follows a name or an address: nothing, or ":" and a port (RFC 9110 §7.2). */
static bool
is_port(const char *s)
{
	size_t digits;

	if (*s == '\0')
		return true;
	if (*s++ != ':')
		return false;
	digits = strspn(s, "0123456789");
	return digits <= 5 && s[digits] == '\0';
}

/* "[::1]", "[::1]:9260" */
static bool
is_v6(const char *host)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct in6_addr a;
	const char *end = strchr(host, ']');
	size_t len = end != NULL ? (size_t)(end - host - 1) : 0;

	if (end == NULL || len >= sizeof text)
		return false;
	memcpy(text, host + 1, len);
	text[len] = '\0';
	return inet_pton(AF_INET6, text, &a) == 1 && is_port(end + 1);
}

bool
host_is_ours(const char *host, const char *const *names, unsigned name_count)
{
	char name[HOST_MAX + 1];
	struct in_addr a;
	size_t len;

	if (host == NULL || host[0] == '\0')
		return false;
	if (host[0] == '[')
		return is_v6(host);
	len = strcspn(host, ":");
	if (len == 0 || len > HOST_MAX || !is_port(host + len))
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	if (len > 1 && name[len - 1] == '.') /* a name may end with the root's dot */
		name[len - 1] = '\0';
	if (inet_pton(AF_INET, name, &a) == 1 || strcasecmp(name, "localhost") == 0)
		return true;
	for (unsigned i = 0; i < name_count; i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}
