/* SPDX-License-Identifier: BSD-2-Clause */
/* resize */
#include "base/text.h"
#include "tools/cachectl/cachectl.h"

/* What it still has to do; < 0: nothing is known of that. */
static double
left_of(struct tool *t, const json_t *params)
{
	int ignored;
	json_t *now = tool_call(t, "cache.list", NULL, &ignored);
	const json_t *cache = find_named(now, get_text(params, "name"));
	double left = get_number(json_object_get(cache, "resize"), "left_bytes");
	json_decref(now);
	return left > 0 ? left : -1;
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
	struct progress p;
	int status;

	if (t->dry_run)
		json_object_set_new(params, "dry_run", json_true());
	progress_begin(&p, t, "resize", 0);
	json_t *r = progress_call(&p, t, v->method, params, left_of, &status);
	if (r != NULL && t->json)
		tool_print_json(r, false);
	else if (r != NULL)
		print_resized(r, t->dry_run);
	json_decref(r);
	return status;
}
