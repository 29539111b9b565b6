/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of the monitor that may block: files and file systems. On a worker. */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "daemon/monitor.h"

#define NEARLY_FULL_BYTES (16u << 20)

bool
monitor_is_nearly_full(uint64_t free_bytes, uint64_t total_bytes)
{
	uint64_t least = total_bytes / 100;
	return free_bytes < (least < NEARLY_FULL_BYTES ? least : NEARLY_FULL_BYTES);
}

/* FNV-1a: tells that something changed, nothing more. */
static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

static uint64_t
mix_file(const char *path)
{
	struct stat st;
	uint64_t h = mix(0xcbf29ce484222325ull, path, strlen(path));
	if (stat(path, &st) < 0)
		return mix(h, "none", 4);
	uint64_t parts[] = {st.st_dev, st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec,
	    (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec,
	    st.st_mode};
	return mix(h, parts, sizeof parts);
}

/* Of the file and all of conf.d beside it; the order in which a folder lists doesn't matter. */
static uint64_t
fingerprint(const char *config_file)
{
	char copy[PATH_MAX], path[PATH_MAX];
	uint64_t h = mix_file(config_file);

	snprintf(copy, sizeof copy, "%s", config_file);
	const char *folder = dirname(copy);
	if (snprintf(path, sizeof path, "%s/conf.d", folder) >= (int)sizeof path)
		return h;
	DIR *dir = opendir(path);
	for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		char file[PATH_MAX];
		if (e->d_name[0] == '.' ||
		    snprintf(file, sizeof file, "%s/%s", path, e->d_name) >= (int)sizeof file)
			continue;
		h += mix_file(file);
	}
	if (dir != NULL)
		closedir(dir);
	return h != 0 ? h : 1;
}

static void
tell_errors(struct monitor_disk *k, const struct conf_errors *errors)
{
	for (unsigned i = 0; i < errors->count; i++) {
		const struct conf_error *e = &errors->list[i];
		if (e->remark)
			continue;
		snprintf(k->sentence, sizeof k->sentence,
		    "%u error%s in the configuration on disk, the first: %s:%u:%u: %s",
		    errors->wrong, errors->wrong == 1 ? "" : "s", e->pos.file, e->pos.line,
		    e->pos.column, e->text);
		return;
	}
	snprintf(k->sentence, sizeof k->sentence, "the configuration on disk has errors");
}

static void
read_configuration(struct monitor_disk *k)
{
	const struct conf_load_args args = {
	    .path = k->config_file,
	    .overlay = k->runtime,
	    .overlay_count = k->runtime_count,
	    .events = k->events,
	};
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	struct conf_diff *diff = NULL;

	k->result = conf_load(&args, &errors, &tree, &conf);
	if (k->result < 0 && k->result != -ENOMEM)
		tell_errors(k, &errors);
	if (k->result == 0)
		k->result = conf_diff(k->running, conf, &diff);
	k->differences = k->result == 0 ? diff->count : 0;
	k->was_read = true;
	conf_diff_destroy(diff);
	conf_destroy(conf);
	conf_errors_fini(&errors);
	conf_tree_destroy(tree);
}

static int
work(struct loop_job *job)
{
	struct monitor_disk *k = container_of(job, struct monitor_disk, job);
	struct statvfs fs;

	k->space_error = statvfs(k->state_dir, &fs) < 0 ? -errno : 0;
	if (k->space_error == 0) {
		k->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
		k->total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	}
	if (k->config_file == NULL)
		return 0;
	uint64_t now = fingerprint(k->config_file);
	if (now == k->fingerprint && !k->read_anyway)
		return 0;
	read_configuration(k);
	k->fingerprint = now; /* of before: what changed meanwhile is seen next time */
	return 0;
}

int
monitor_disk_init(struct monitor_disk *k, const char *state_dir, const char *config_file)
{
	*k = (struct monitor_disk){.job.work = work};
	k->state_dir = strdup(state_dir);
	k->config_file = config_file != NULL ? strdup(config_file) : NULL;
	if (k->state_dir != NULL && (config_file == NULL || k->config_file != NULL))
		return 0;
	monitor_disk_fini(k);
	return -ENOMEM;
}

void
monitor_disk_forget(struct monitor_disk *k)
{
	conf_files_destroy(k->runtime, k->runtime_count);
	k->runtime = NULL;
	k->runtime_count = 0;
	k->was_read = false;
}

void
monitor_disk_fini(struct monitor_disk *k)
{
	monitor_disk_forget(k);
	free(k->state_dir);
	free(k->config_file);
	k->state_dir = k->config_file = NULL;
}
