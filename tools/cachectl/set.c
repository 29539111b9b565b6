/* SPDX-License-Identifier: BSD-2-Clause */
/* mode, profile, compress: keys of a LUN under other names. */
#include <string.h>

#include "tools/cachectl/cachectl.h"

/* {name, key, value} of lun.set; the key is the verb's last word. */
int
run_cache_set(struct tool *t, const struct verb *v, json_t *params)
{
	struct verb row = *v;
	const char *space = strrchr(v->words, ' ');
	json_t *p = json_deep_copy(params);
	json_t *value = json_object_get(p, "value");

	if (value == NULL && json_object_get(p, "name") != NULL)
		return json_decref(p), tool_error(t, TOOL_USAGE, "which %s?", space + 1);
	json_object_set_new(p, "key", json_string(space + 1));
	int status = tool_run(t, &row, p);
	json_decref(p);
	return status;
}
