/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Before the power goes: one connection waits until everything is on the stores, another one asks how much is
 * left. Then what that means for what is written from now on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

#define LOOK_MS 500u

/* What caches have and stores lack; -1: the daemon didn't say. */
static double
dirty_now(struct tool *t, int *ret_exit)
{
	double sum = 0;
	size_t i;
	const json_t *l;

	json_t *luns = tool_call(t, "lun.list", json_pack("{s:b}", "stats", false), ret_exit);
	if (luns == NULL)
		return -1;
	json_array_foreach(luns, i, l)
	{
		sum += get_number(l, "dirty_bytes");
	}
	json_decref(luns);
	return sum;
}

static void
print_lun(const json_t *l)
{
	const char *way = get_text(l, "way");
	char dirty[32];

	text_format_size((uint64_t)get_int(l, "dirty_bytes"), dirty, sizeof dirty);
	out_text(stdout, get_text(l, "name"));
	if (get_bool(l, "done")) {
		if (strcmp(way, "cache") == 0)
			printf(": %s went to the store\n", dirty);
		else
			puts(": what was in memory went to the disk");
		return;
	}
	if (strcmp(way, "cache") == 0)
		printf(": NOT all of %s is on the store; it is durable on the SSD (", dirty);
	else if (strcmp(way, "store") == 0)
		fputs(": NOT durable (", stdout);
	else
		fputs(": not served; what its cache has of it stays there (", stdout);
	out_text(stdout, get_text(l, "why"));
	puts(")");
}

/* "of vm2, vm3" */
static void
print_names(const json_t *names)
{
	size_t i;
	const json_t *n;

	json_array_foreach(names, i, n)
	{
		fputs(i == 0 ? " of " : ", ", stdout);
		out_text(stdout, json_string_value(n));
	}
}

static void
print_what_now(const json_t *result)
{
	const json_t *names = json_object_get(result, "volatile");
	json_int_t sessions = get_int(result, "sessions");

	if (sessions == 0) {
		puts("No initiator is connected.");
	} else {
		printf("%lld session%s go%s on: what is written from now on is durable when it is "
		       "answered",
		    (long long)sessions, sessions == 1 ? "" : "s", sessions == 1 ? "es" : "");
		if (json_array_size(names) > 0) {
			fputs(", but for writes", stdout);
			print_names(names);
			fputs(" (mode volatile)", stdout);
		}
		puts(".");
	}
	puts("To end the target in order: systemctl stop terraced");
}

static int
finish(const struct tool *t, const struct answer *a)
{
	char took[32];
	size_t i;
	const json_t *l;

	if (a->result == NULL)
		return tool_fail(t, a);
	bool done = get_bool(a->result, "done");
	if (t->json) {
		tool_print_json(a->result, false);
	} else {
		json_array_foreach(json_object_get(a->result, "luns"), i, l)
		{
			print_lun(l);
		}
		text_duration(
		    (uint64_t)(get_number(a->result, "seconds") + 0.5), took, sizeof took);
		if (done)
			printf(
			    "Everything that was acknowledged is on the stores, after %s.\n", took);
		else
			puts("NOT everything that was acknowledged is on the stores.");
		print_what_now(a->result);
	}
	return done ? TOOL_DONE : TOOL_FAILED;
}

static int
give_up(struct tool *t, json_int_t limit_s)
{
	int ignored;
	double left = dirty_now(t, &ignored);
	char size[32] = "something";

	if (left >= 0)
		text_format_size((uint64_t)left, size, sizeof size);
	return tool_error(t, TOOL_FAILED,
	    "after %lld s %s isn't on the stores. What caches have is durable on their SSDs, and "
	    "goes to the "
	    "stores from there, also after the next start",
	    (long long)limit_s, size);
}

int
run_power_fail(struct tool *t, const struct verb *v, json_t *params)
{
	bool limited = json_object_get(params, "limit") != NULL;
	json_int_t limit_s = get_int(params, "limit");
	struct progress p;
	struct answer a = {0};
	char reason[5000];
	int status, ignored;

	/* One that hangs keeps nobody who stops it: it is asked what answers at once, before what may take long. */
	double left = dirty_now(t, &status);
	if (left < 0)
		return status;
	struct client *worker = client_open(t->control, reason, sizeof reason);
	if (worker == NULL)
		return tool_error(t, TOOL_UNREACHABLE, "%s", reason);
	progress_begin(&p, t, "power-fail", left);
	bool asked = client_send(worker, v->method, json_object(), &a), late = false;
	while (asked && !late && !client_wait(worker, LOOK_MS, &a)) {
		left = dirty_now(t, &ignored);
		if (left >= 0)
			progress_tell(&p, left);
		late = limited && progress_now_s() - p.began_s >= (double)limit_s;
	}
	progress_end(&p);
	status = late ? give_up(t, limit_s) : finish(t, &a);
	answer_fini(&a);
	client_close(worker);
	return status;
}
