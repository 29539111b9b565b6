/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/process.h"

char
process_state(const char *root, pid_t pid)
{
	char path[PATH_MAX], line[512];

	snprintf(path, sizeof path, "%s/proc/%d/stat", root, (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return 0;
	char *read = fgets(line, sizeof line, f);
	fclose(f);
	if (read == NULL)
		return 0;
	/* "1234 (a name) S …": any character may stand in the name. */
	const char *end = strrchr(line, ')');
	return end != NULL && end[1] == ' ' && end[2] != '\0' ? end[2] : '?';
}
