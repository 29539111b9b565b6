/* SPDX-License-Identifier: BSD-2-Clause */
/* accept-loss: shows what is given up, asks for the name of the LUN, and has it done. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

static void
print_losses(const json_t *result, FILE *f)
{
	const json_t *losses = json_object_get(result, "losses");
	size_t i;
	const json_t *l;

	if (!get_bool(result, "known"))
		fputs(
		    "What the cache had and the store hasn't can't be told without it: it may be\n"
		    "everything that was written since it was last idle.\n",
		    f);
	else if (json_array_size(losses) == 0)
		fputs("Which parts are lost can't be told.\n", f);
	json_array_foreach(losses, i, l)
	{
		char bytes[32];
		text_format_size((uint64_t)get_int(l, "bytes"), bytes, sizeof bytes);
		fputs("lost: ", f);
		out_text(f, get_text(l, "lun")[0] != '\0' ? get_text(l, "lun") : "a LUN");
		if (get_int(l, "bytes") > 0)
			fprintf(f, ", %s at %" JSON_INTEGER_FORMAT, bytes, get_int(l, "offset"));
		fputs(", ", f);
		out_text(f, get_text(l, "why"));
		fputc('\n', f);
	}
}

/* The name of the LUN as it is typed; false: something else. */
static bool
confirmed(const char *name)
{
	char line[256];

	fprintf(stderr, "This can't be taken back. Type the name of the LUN to go on: ");
	fflush(stderr);
	if (fgets(line, sizeof line, stdin) == NULL)
		return false;
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, name) == 0;
}

int
run_cache_accept(struct tool *t, const struct verb *v, json_t *params)
{
	const char *name = get_text(params, "lun");
	bool said = json_object_get(params, "confirm") != NULL;
	json_t *look = json_copy(params);
	int status;

	(void)json_object_del(look, "confirm");
	json_t *result = tool_call(t, v->method, look, &status);
	if (result == NULL)
		return status;
	if (t->dry_run || (!said && !term_asks())) {
		if (t->json)
			tool_print_json(result, false);
		else
			print_losses(result, t->dry_run ? stdout : stderr);
		json_decref(result);
		if (t->dry_run)
			return TOOL_DONE;
		return tool_error(
		    t, TOOL_REFUSED, "nothing was done; --confirm %s gives that up for good", name);
	}
	if (!t->json)
		print_losses(result, stderr);
	json_decref(result);
	if (!said && !confirmed(name))
		return tool_error(t, TOOL_REFUSED, "that isn't its name: nothing was done");
	json_object_set_new(
	    params, "confirm", json_string(said ? get_text(params, "confirm") : name));
	result = tool_call(t, v->method, json_copy(params), &status);
	if (result == NULL)
		return status;
	if (t->json)
		tool_print_json(result, false);
	else
		puts("Done: the LUN is served within a few seconds.");
	json_decref(result);
	return TOOL_DONE;
}
