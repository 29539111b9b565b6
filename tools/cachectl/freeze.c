/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * freeze LUN… -- COMMAND: writes wait while COMMAND runs. One connection keeps the freeze, another one ends it;
 * if this program dies, so do both, and writes go on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "tools/cachectl/cachectl.h"

#define LOOK_MS 100u

struct freeze {
	struct tool *tool;
	struct client *holder;
	json_int_t id;
	struct answer held; /* its end */
	bool ended;
};

static int
run_command(const struct tool *t, pid_t *ret)
{
	char **argv = calloc((size_t)t->command_count + 1, sizeof *argv);
	if (argv == NULL)
		return tool_error(t, TOOL_FAILED, "out of memory");
	for (int i = 0; i < t->command_count; i++)
		argv[i] = t->command[i];
	fflush(stdout);
	fflush(stderr);
	pid_t pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		fprintf(stderr, "%s: %s: %s\n", tool_name(), argv[0], strerror(errno));
		_exit(127);
	}
	free(argv);
	*ret = pid;
	return pid < 0
	           ? tool_error(t, TOOL_FAILED, "no process can be started: %s", strerror(errno))
	           : TOOL_DONE;
}

/* Until the command has ended; whether the freeze lasted is seen meanwhile. Its wait status. */
static int
await_command(struct freeze *f, pid_t pid)
{
	int how = 0;

	for (;;) {
		pid_t n = waitpid(pid, &how, WNOHANG);
		if (n == pid || (n < 0 && errno != EINTR))
			return how;
		if (!f->ended)
			f->ended = client_wait(f->holder, LOOK_MS, &f->held);
		else
			usleep(LOOK_MS * 1000);
	}
}

static int
judge_command(const struct tool *t, int how)
{
	if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
		return TOOL_DONE;
	if (WIFEXITED(how))
		return tool_error(
		    t, TOOL_FAILED, "%s ended with status %d", t->command[0], WEXITSTATUS(how));
	return tool_error(
	    t, TOOL_FAILED, "%s was ended by signal %d", t->command[0], WTERMSIG(how));
}

/* Writes go on. Why they did already, if so: a status that isn't TOOL_DONE. */
static int
thaw(struct freeze *f)
{
	const struct tool *t = f->tool;
	struct answer a = {0};

	if (!f->ended) {
		client_call(f->tool->client, "cache.thaw", json_pack("{s:I}", "id", f->id),
		    ANSWER_TIMEOUT_MS, &a);
		answer_fini(&a);
		f->ended = client_wait(f->holder, ANSWER_TIMEOUT_MS, &f->held);
	}
	if (f->ended && f->held.result != NULL && get_bool(f->held.result, "complete"))
		return TOOL_DONE;
	const char *why = f->held.result != NULL    ? get_text(f->held.result, "why")
	                  : f->held.message != NULL ? f->held.message
	                                            : "terraced doesn't answer";
	return tool_error(t, TOOL_FAILED,
	    "writes went on before %s had ended (%s): what it did isn't of one instant",
	    t->command[0], why);
}

static int
run_frozen(struct freeze *f)
{
	struct tool *t = f->tool;
	pid_t pid;

	if (!client_send(f->holder, "cache.hold", json_pack("{s:I}", "id", f->id), &f->held)) {
		f->ended = true;
		return thaw(f);
	}
	int status = run_command(t, &pid);
	int how = status == TOOL_DONE ? await_command(f, pid) : 0;
	int thawed = thaw(f);
	if (status == TOOL_DONE)
		status = judge_command(t, how);
	if (status == TOOL_DONE)
		status = thawed;
	if (status == TOOL_DONE && t->json)
		tool_print_json(f->held.result, false);
	return status;
}

static bool
is_named(const json_t *params, const json_t *lun)
{
	const char *cache = get_text(params, "cache"), *name = get_text(lun, "name");
	size_t i;
	const json_t *e;

	json_array_foreach(json_object_get(params, "luns"), i, e)
	{
		if (json_is_string(e) && strcmp(json_string_value(e), name) == 0)
			return true;
	}
	return cache[0] != '\0' && strcmp(get_text(lun, "cache"), cache) == 0;
}

/* What would be done; as the daemon would, it refuses LUNs that aren't there or have no SSD. */
static int
dry_run(struct tool *t, const json_t *params)
{
	json_t *found = json_array();
	size_t i;
	json_t *l;
	int status;

	json_t *luns = tool_call(t, "lun.list", json_pack("{s:b}", "stats", false), &status);
	json_array_foreach(luns, i, l)
	{
		if (!is_named(params, l))
			continue;
		if (json_object_get(l, "dirty_bytes") == NULL)
			status =
			    tool_error(t, TOOL_FAILED, "LUN %s has no SSD", get_text(l, "name"));
		json_array_append(found, l);
	}
	if (luns != NULL && status == TOOL_DONE &&
	    json_array_size(found) < json_array_size(json_object_get(params, "luns")))
		status = tool_error(t, TOOL_FAILED,
		    "not all of these LUNs are there: `terracectl lun list` shows those there are");
	if (luns != NULL && status == TOOL_DONE && t->json)
		tool_print_json(found, false);
	else if (luns != NULL && status == TOOL_DONE) {
		json_array_foreach(found, i, l)
		{
			char dirty[32];
			text_format_size((uint64_t)get_int(l, "dirty_bytes"), dirty, sizeof dirty);
			out_text(stdout, get_text(l, "name"));
			printf(": %s would go to ", dirty);
			out_text(stdout, get_text(l, "store"));
			puts(", then writes would wait");
		}
		printf("Meanwhile %s would run. Nothing was done.\n", t->command[0]);
	}
	json_decref(found);
	json_decref(luns);
	return status;
}

int
run_cache_freeze(struct tool *t, const struct verb *v, json_t *params)
{
	struct freeze f = {.tool = t};
	struct answer a;
	char reason[5000];

	if (t->command_count == 0)
		return tool_error(
		    t, TOOL_USAGE, "what is to run while writes wait? freeze LUN… -- COMMAND");
	if (json_array_size(json_object_get(params, "luns")) == 0 &&
	    json_object_get(params, "cache") == NULL)
		return tool_error(
		    t, TOOL_USAGE, "of which LUN? Name some, or --cache CACHE for all of one");
	if (t->dry_run)
		return dry_run(t, params);
	int status = tool_connect(t);
	if (status != TOOL_DONE)
		return status;
	f.holder = client_open(t->control, reason, sizeof reason);
	if (f.holder == NULL)
		return tool_error(t, TOOL_UNREACHABLE, "%s", reason);
	client_call(f.holder, v->method, json_incref(params), 0, &a);
	f.id = get_int(a.result, "id");
	status = a.result != NULL ? run_frozen(&f) : tool_fail(t, &a);
	answer_fini(&a);
	answer_fini(&f.held);
	client_close(f.holder);
	return status;
}
