/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LUNs on volumes of LVM: `lun create --vg`, `lun resize`, `lun delete --with-volume`. Volumes are made,
 * grown and removed by LVM's own programs with the rights of who calls; the daemon does none of it.
 *
 * Made before the LUN, and removed again if that can't be; removed after it. In between a volume may be
 * left that nothing serves, never a LUN without its volume.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "tools/terracectl/terracectl.h"

#define PREFIX "lvm:"
#define WORDS_MAX 12u
#define VOLUME_MAX 260u
#define OUTPUT_MAX 256u
#define BUSY_TRIES 50u /* the daemon closes a store soon after its LUN has gone */
#define BUSY_WAIT_NS 200000000l

extern char **environ;

/* ---- programs ------------------------------------------------------------------------------------------- */

/* LVM is where users' paths often don't go. */
static void
widen_path(void)
{
	static bool done;
	const char *path = getenv("PATH");
	char *wide;

	if (done ||
	    asprintf(&wide, "%s:/usr/sbin:/sbin", path != NULL ? path : "/usr/bin:/bin") < 0)
		return;
	setenv("PATH", wide, 1);
	free(wide);
	done = true;
}

static void
tell_command(const struct tool *t, char *const *words)
{
	if (t->json)
		return;
	fputs(t->dry_run ? "Would run:" : "Runs:", stdout);
	for (; *words != NULL; words++) {
		putchar(' ');
		out_text(stdout, *words);
	}
	putchar('\n');
	fflush(stdout);
}

/*
 * Runs it without input. What it prints goes to stderr, or, up to `cap`, to `output`. Its exit status, or
 * -errno.
 */
static int
run_program(char *const *words, char *output, size_t cap)
{
	posix_spawn_file_actions_t actions;
	int fds[2] = {-1, -1}, status;
	pid_t pid;

	widen_path();
	if (output != NULL && pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(
	    &actions, output != NULL ? fds[1] : STDERR_FILENO, STDOUT_FILENO);
	int rc = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (output != NULL)
		close(fds[1]);
	size_t len = 0;
	while (rc == 0 && output != NULL) {
		char rest[64];
		bool full = len + 1 >= cap;
		ssize_t n =
		    read(fds[0], full ? rest : output + len, full ? sizeof rest : cap - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += full ? 0 : (size_t)n;
	}
	if (output != NULL) {
		output[len] = '\0';
		close(fds[0]);
	}
	if (rc != 0)
		return -rc;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* TOOL_DONE, or TOOL_FAILED with a message. */
static int
order(const struct tool *t, char *const *words, const char *what)
{
	tell_command(t, words);
	if (t->dry_run)
		return TOOL_DONE;
	int rc = run_program(words, NULL, 0);
	if (rc == 0)
		return TOOL_DONE;
	if (rc == -ENOENT)
		return tool_error(
		    t, TOOL_FAILED, "%s isn't installed: `apt install lvm2`", words[0]);
	return rc < 0 ? tool_error(t, TOOL_FAILED, "%s: %s", words[0], strerror(-rc))
	              : tool_error(t, TOOL_FAILED, "%s failed, so %s", words[0], what);
}

#define PROGRAM(...) ((char *const[]){__VA_ARGS__, NULL})
#define W(text) ((char *)(uintptr_t)(text))

/* ---- volumes ---------------------------------------------------------------------------------------------- */

/* What LVM takes as a name. */
static bool
is_volume_name(const char *s)
{
	if (*s == '\0' || *s == '-' || *s == '.' || strlen(s) > 127)
		return false;
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) && strchr("+_.-", *s) == NULL)
			return false;
	return true;
}

/* The volume of a LUN, "VG/LV", or "" if its store is none. False: the daemon can't be asked. */
static bool
volume_of(struct tool *t, const char *lun, char *ret, size_t cap, int *ret_status)
{
	json_t *list = tool_call(t, "config.effective", NULL, ret_status);
	size_t i;
	const json_t *v;

	*ret = '\0';
	if (list == NULL)
		return false;
	json_array_foreach(list, i, v)
	{
		const char *value = get_text(v, "value");
		const char *slash = strchr(value, '/');
		if (strcmp(get_text(v, "kind"), "lun") != 0 ||
		    strcmp(get_text(v, "name"), lun) != 0 ||
		    strcmp(get_text(v, "key"), "store") != 0 ||
		    strncmp(value, PREFIX, strlen(PREFIX)) != 0 || slash == NULL)
			continue;
		char group[VOLUME_MAX];
		snprintf(group, sizeof group, "%.*s", (int)(slash - value) - (int)strlen(PREFIX),
		    value + strlen(PREFIX));
		if (is_volume_name(group) && is_volume_name(slash + 1))
			snprintf(ret, cap, "%s/%s", group, slash + 1);
	}
	json_decref(list);
	return true;
}

/* The size of a volume as LVM has it; 0: it isn't known. */
static uint64_t
volume_bytes(const char *volume)
{
	char text[OUTPUT_MAX];
	uint64_t bytes;
	char *const words[] = {W("lvs"), W("--noheadings"), W("--nosuffix"), W("--units"), W("b"),
	    W("-o"), W("lv_size"), W(volume), NULL};

	if (run_program(words, text, sizeof text) != 0)
		return 0;
	char *at = text + strspn(text, " \t\n");
	at[strcspn(at, " \t\n.")] = '\0';
	return text_parse_u64(at, UINT64_MAX, &bytes) == 0 ? bytes : 0;
}

static int
remove_volume(struct tool *t, const char *volume)
{
	char *const words[] = {W("lvremove"), W("--yes"), W(volume), NULL};
	const struct timespec wait = {.tv_nsec = BUSY_WAIT_NS};
	char ignored[OUTPUT_MAX];

	/* Asked in peace first: what it says while the store is still open isn't of interest. */
	if (!t->dry_run)
		for (unsigned n = 0; n < BUSY_TRIES; n++) {
			char *const look[] = {W("lvs"), W("--noheadings"), W("-o"),
			    W("lv_device_open"), W(volume), NULL};
			if (run_program(look, ignored, sizeof ignored) != 0 ||
			    strstr(ignored, "open") == NULL)
				break;
			nanosleep(&wait, NULL);
		}
	return order(t, words, "the volume is still there, and nothing serves it");
}

/* ---- lun create --vg ---------------------------------------------------------------------------------------- */

/* Whether the daemon would make such a LUN, with a store that takes no space in place of the volume. */
static int
try_create(struct tool *t, const json_t *params, const char *store)
{
	json_t *p = json_copy((json_t *)(uintptr_t)params);
	struct answer a;
	int status = tool_connect(t);

	if (status != TOOL_DONE) {
		json_decref(p);
		return status;
	}
	json_object_set_new(p, "store", json_string("null:"));
	json_object_set_new(p, "dry_run", json_true());
	if (t->runtime)
		json_object_set_new(p, "runtime", json_true());
	client_call(t->client, "lun.create", p, 0, &a);
	if (a.result == NULL) {
		status = tool_fail(t, &a);
	} else if (t->dry_run) {
		size_t i, k;
		json_t *change, *key;
		json_array_foreach(json_object_get(a.result, "changes"), i, change)
		    json_array_foreach(json_object_get(change, "keys"), k, key)
		{
			if (strcmp(get_text(key, "key"), "store") == 0)
				json_object_set_new(key, "new", json_string(store));
		}
		if (t->json)
			tool_print_json(a.result, false);
		else
			print_change(a.result);
	}
	answer_fini(&a);
	return status;
}

static int
create_volume(struct tool *t, const struct verb *v, json_t *params, const char *vg)
{
	const char *name = get_text(params, "name"), *size = get_text(params, "size");
	char store[VOLUME_MAX + 8], bytes_text[32];
	uint64_t bytes;

	if (!is_volume_name(vg))
		return tool_error(
		    t, TOOL_USAGE, "--vg: '%s' is no name of a volume group: `vgs` lists them", vg);
	if (!is_volume_name(name))
		return tool_error(t, TOOL_USAGE,
		    "'%s' can't be the name of a volume, which has letters, digits and +_.- : make "
		    "one "
		    "with lvcreate and use --store lvm:%s/VOLUME",
		    name, vg);
	if (text_parse_size(size, &bytes) < 0 || bytes == 0)
		return tool_error(
		    t, TOOL_USAGE, "--size: write it as 512MiB, 2TiB or a number of bytes");
	snprintf(store, sizeof store, PREFIX "%s/%s", vg, name);
	snprintf(bytes_text, sizeof bytes_text, "%" PRIu64 "b", bytes);
	int status = try_create(t, params, store);
	if (status != TOOL_DONE)
		return status;
	char *const make[] = {W("lvcreate"), W("--yes"), W("--wipesignatures"), W("y"), W("--name"),
	    W(name), W("--size"), bytes_text, W(vg), NULL};
	status = order(t, make, "nothing was made");
	if (status != TOOL_DONE || t->dry_run)
		return status;
	json_object_set_new(params, "store", json_string(store));
	json_object_del(params, "size"); /* it is the volume's */
	status = tool_run(t, v, params);
	if (status == TOOL_UNREACHABLE)
		fprintf(stderr, "The volume %s stays: whether the LUN is there can't be known.\n",
		    store + strlen(PREFIX));
	else if (status != TOOL_DONE && status != TOOL_REMARKS)
		(void)order(t, PROGRAM(W("lvremove"), W("--yes"), store + strlen(PREFIX)),
		    "the volume that was made for it is still there");
	return status;
}

int
run_lun_create(struct tool *t, const struct verb *v, json_t *params)
{
	const char *vg = json_string_value(json_object_get(t->local, "vg"));
	bool store = json_object_get(params, "store") != NULL;

	if (vg != NULL && store)
		return tool_error(t, TOOL_USAGE, "--store and --vg exclude each other");
	if (vg != NULL && json_object_get(params, "size") == NULL)
		return tool_error(
		    t, TOOL_USAGE, "--vg needs --size: how large the volume is to be");
	if (vg != NULL)
		return create_volume(t, v, params, vg);
	if (!store)
		return tool_error(t, TOOL_USAGE,
		    "where are its bytes to be? --store STORE, or --vg GROUP --size SIZE for a new "
		    "volume");
	return tool_run(t, v, params);
}

/* ---- lun resize ---------------------------------------------------------------------------------------------- */

static void
print_initiators(void)
{
	puts("\nInitiators look at their disk again:\n"
	     "  Linux    iscsiadm -m session --rescan, then multipathd resize map NAME, resize2fs "
	     "or\n"
	     "           xfs_growfs\n"
	     "  ESXi     esxcli storage core adapter rescan --all, then Increase Capacity of the "
	     "datastore\n"
	     "  Windows  Update-HostStorageCache, then Resize-Partition");
}

/* Makes the volume as large as it is to be; with success `params` have no size any more. */
static int
grow_volume(struct tool *t, json_t *params, const char *volume)
{
	char bytes_text[32];
	uint64_t bytes;

	if (text_parse_size(get_text(params, "size"), &bytes) < 0 || bytes == 0)
		return tool_error(
		    t, TOOL_USAGE, "the size: write it as 512MiB, 2TiB or a number of bytes");
	uint64_t is = volume_bytes(volume);
	if (is == 0)
		return tool_error(t, TOOL_FAILED,
		    "lvs doesn't tell the size of %s: is lvm2 installed, and are you root?",
		    volume);
	if (bytes < is)
		return tool_error(t, TOOL_FAILED,
		    "volume %s has %" PRIu64 " bytes already, and a LUN never shrinks", volume, is);
	snprintf(bytes_text, sizeof bytes_text, "%" PRIu64 "b", bytes);
	int status = TOOL_DONE;
	if (bytes > is)
		status = order(t, PROGRAM(W("lvextend"), W("--size"), bytes_text, W(volume)),
		    "nothing has grown");
	if (status == TOOL_DONE)
		json_object_del(params, "size");
	return status;
}

int
run_lun_resize(struct tool *t, const struct verb *v, json_t *params)
{
	char volume[VOLUME_MAX] = "";
	int status = TOOL_DONE;

	if (json_object_get(params, "size") != NULL &&
	    !volume_of(t, get_text(params, "name"), volume, sizeof volume, &status))
		return status;
	if (volume[0] != '\0')
		status = grow_volume(t, params, volume);
	/* That the volume hasn't grown yet needn't be asked, but JSON is answered with JSON. */
	if (status != TOOL_DONE || (volume[0] != '\0' && t->dry_run && !t->json))
		return status;
	status = tool_run(t, v, params);
	if ((status == TOOL_DONE || status == TOOL_REMARKS) && !t->json && !t->dry_run)
		print_initiators();
	return status;
}

/* ---- lun delete ---------------------------------------------------------------------------------------------- */

static int
ask_remove(const struct tool *t, const char *volume)
{
	char question[VOLUME_MAX + 80];

	if (t->yes || t->dry_run)
		return TOOL_DONE;
	snprintf(question, sizeof question, "Remove volume %s with everything on it?", volume);
	if (!t->json && term_asks() && term_confirm(question))
		return TOOL_DONE;
	return tool_error(t, TOOL_REFUSED,
	    "volume %s would be removed with everything on it: --yes does it. Nothing was changed",
	    volume);
}

int
run_lun_delete(struct tool *t, const struct verb *v, json_t *params)
{
	const char *name = get_text(params, "name");
	char volume[VOLUME_MAX];
	int status;

	if (json_object_del(params, "with_volume") < 0)
		return tool_run(t, v, params);
	if (!volume_of(t, name, volume, sizeof volume, &status))
		return status;
	if (volume[0] == '\0')
		return tool_error(t, TOOL_FAILED,
		    "LUN %s has no store lvm:VG/LV: without --with-volume it goes and its store "
		    "stays",
		    name);
	status = ask_remove(t, volume);
	if (status != TOOL_DONE)
		return status;
	/* Whatever comes under this name is another disk. */
	json_object_set_new(params, "discard", json_true());
	status = tool_run(t, v, params);
	if (status != TOOL_DONE && status != TOOL_REMARKS)
		return status;
	int removed = remove_volume(t, volume);
	return removed != TOOL_DONE ? removed : status;
}
