/* SPDX-License-Identifier: BSD-2-Clause */
/* `import-scst`: files of SCST → a configuration of terraced. It needs no daemon. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/import/import.h"
#include "tools/terracectl/terracectl.h"

static const char *const severities[] = {
    [IMPORT_REMARK] = "remark", [IMPORT_LOST] = "not carried over", [IMPORT_WRONG] = "error"};

static json_t *
notes_json(const struct import *im)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < import_note_count(im); i++) {
		const struct import_note *n = import_note(im, i);
		json_array_append_new(list,
		    json_pack("{s:s?, s:i, s:s, s:s?}", "file", n->pos.file, "line",
		        (int)n->pos.line, "severity", severities[n->severity], "text", n->text));
	}
	return list;
}

static void
print_notes(const struct import *im)
{
	fflush(stdout);
	for (unsigned i = 0; i < import_note_count(im); i++) {
		const struct import_note *n = import_note(im, i);
		out_text(stderr, n->pos.file);
		fprintf(stderr, ":%u: %s: ", n->pos.line, severities[n->severity]);
		out_text(stderr, n->text);
		fputc('\n', stderr);
	}
}

static int
write_all(int fd, const char *text)
{
	for (size_t left = strlen(text); left > 0;) {
		ssize_t n = write(fd, text, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* A configuration that is there is the administrator's: it is never replaced. */
static int
write_file(const struct tool *t, const struct import *im, const char *dir, char *path, size_t cap)
{
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return tool_error(t, TOOL_FAILED, "%s can't be made: %s", dir, strerror(errno));
	if (snprintf(path, cap, "%s/terrace.conf", dir) >= (int)cap)
		return tool_error(t, TOOL_FAILED, "the path of %s is too long", dir);
	int fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, import_has_secrets(im) ? 0600 : 0644);
	if (fd < 0 && errno == EEXIST)
		return tool_error(t, TOOL_FAILED,
		    "%s is there already and stays as it is: name another folder with -o", path);
	if (fd < 0)
		return tool_error(t, TOOL_FAILED, "%s can't be written: %s", path, strerror(errno));
	int rc = write_all(fd, import_text(im));
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc < 0) {
		unlink(path);
		return tool_error(t, TOOL_FAILED, "%s can't be written: %s", path, strerror(-rc));
	}
	return TOOL_DONE;
}

static int
give(struct tool *t, const struct import *im, const char *dir)
{
	char path[PATH_MAX] = "";
	unsigned lost = import_count(im, IMPORT_LOST);
	bool write = dir != NULL && import_text(im) != NULL && !t->dry_run;
	int rc = write ? write_file(t, im, dir, path, sizeof path) : TOOL_DONE;

	if (rc != TOOL_DONE)
		return rc;
	if (t->json) {
		json_t *result = json_pack("{s:o, s:s?, s:s?}", "notes", notes_json(im), "text",
		    dir == NULL ? import_text(im) : NULL, "file", write ? path : NULL);
		tool_print_json(result, false);
		json_decref(result);
	} else {
		if (dir == NULL && import_text(im) != NULL)
			fputs(import_text(im), stdout);
		print_notes(im);
		if (write)
			printf("Written: %s\nNext: terraced --check --config %s\n", path, path);
	}
	if (import_text(im) == NULL)
		return TOOL_FAILED;
	return lost > 0 ? TOOL_REMARKS : TOOL_DONE;
}

int
run_import(struct tool *t, const struct verb *v, json_t *params)
{
	json_t *list = json_object_get(params, "files");
	const char *ssd = json_string_value(json_object_get(params, "ssd"));
	const char *nv = json_string_value(json_object_get(params, "nv_cache"));
	const char *files[64];
	struct import *im;
	unsigned count = 0;

	(void)v;
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (count == sizeof files / sizeof files[0])
			return tool_error(
			    t, TOOL_USAGE, "more than %zu files", sizeof files / sizeof files[0]);
		files[count++] = json_string_value(json_array_get(list, i));
	}
	if (nv != NULL && strcmp(nv, "nv") != 0 && strcmp(nv, "writethrough") != 0)
		return tool_error(t, TOOL_USAGE, "--nv-cache takes nv or writethrough, not %s", nv);
	if (nv != NULL && strcmp(nv, "nv") == 0 && ssd == NULL)
		return tool_error(t, TOOL_USAGE,
		    "--nv-cache=nv needs an SSD, which is where writes are durable: add --ssd "
		    "PATH");
	const struct import_args args = {
	    .files = files,
	    .file_count = count,
	    .ssd = ssd,
	    .nv_cache_is_nv = ssd != NULL && (nv == NULL || strcmp(nv, "nv") == 0),
	    .target_name = json_string_value(json_object_get(params, "target")),
	};
	int rc = import_scst(&args, &im);
	if (im == NULL)
		return tool_error(t, TOOL_FAILED, "out of memory, or more than can be imported");
	rc = give(t, im, json_string_value(json_object_get(params, "output")));
	import_free(im);
	return rc;
}
