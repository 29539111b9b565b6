/* SPDX-License-Identifier: BSD-2-Clause */
/* resize: one connection waits for the answer, another one asks how far it is. */
#include <string.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

#define LOOK_MS 500u

/* What is left, or < 0. */
static double
left_of(const json_t *caches, const char *name)
{
	size_t i;
	const json_t *c;

	json_array_foreach(caches, i, c)
	{
		const json_t *r = json_object_get(c, "resize");
		if (r != NULL && strcmp(get_text(c, "name"), name) == 0)
			return get_number(r, "left_bytes");
	}
	return -1;
}

static void
print_resized(const json_t *r, bool dry)
{
	char was[32], is[32], took[32];

	text_format_size((uint64_t)get_int(r, "was_bytes"), was, sizeof was);
	text_format_size((uint64_t)get_int(r, "size_bytes"), is, sizeof is);
	text_duration((uint64_t)(get_number(r, "seconds") + 0.5), took, sizeof took);
	out_text(stdout, get_text(r, "name"));
	if (dry)
		printf(": the SSD would go from %s to %s\nNothing was done.\n", was, is);
	else
		printf(": the SSD went from %s to %s\nDone in %s.\n", was, is, took);
}

int
run_cache_resize(struct tool *t, const struct verb *v, json_t *params)
{
	const char *name = get_text(params, "name");
	struct progress p;
	struct answer a;
	char reason[5000];
	int ignored, status = TOOL_DONE;

	struct client *worker = client_open(t->control, reason, sizeof reason);
	if (worker == NULL)
		return tool_error(t, TOOL_UNREACHABLE, "%s", reason);
	if (t->dry_run)
		json_object_set_new(params, "dry_run", json_true());
	progress_begin(&p, t, "resize", 0);
	bool asked = client_send(worker, v->method, json_incref(params), &a);
	while (asked && !client_wait(worker, LOOK_MS, &a)) {
		json_t *now = tool_call(t, "cache.list", NULL, &ignored);
		double left = now != NULL ? left_of(now, name) : -1;
		if (left > 0)
			progress_tell(&p, left);
		json_decref(now);
	}
	progress_end(&p);
	if (a.result == NULL)
		status = tool_fail(t, &a);
	else if (t->json)
		tool_print_json(a.result, false);
	else
		print_resized(a.result, t->dry_run);
	answer_fini(&a);
	client_close(worker);
	return status;
}
