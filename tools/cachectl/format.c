/* SPDX-License-Identifier: BSD-2-Clause */
/* format: an empty cache on a device or in a file, which may be made for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/text.h"
#include "cache/cache.h"
#include "loop/loop.h"
#include "ssd/ssd.h"
#include "store/blk.h"
#include "tools/cachectl/cachectl.h"

struct formatting {
	struct loop *loop;
	struct blk *ssd;
	struct cache_format_args args;
	struct loop_msg msg;
	int result;
};

static void
formatted(void *ctx, int result)
{
	struct formatting *f = ctx;
	f->result = result;
	loop_stop(f->loop);
}

static void
begin(struct loop_msg *m)
{
	struct formatting *f = container_of(m, struct formatting, msg);
	cache_format(f->ssd, &f->args, formatted, f);
}

/* 0 or -errno. */
static int
new_uuid(uint8_t ret[16])
{
	if (getrandom(ret, 16, 0) != 16)
		return -EIO;
	ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
	ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
	return 0;
}

/* What is written; the SSD was looked at. 0 or -errno with a sentence, where that isn't all. */
static int
write_cache(struct formatting *f, const struct ssd_args *look, char *reason, size_t cap)
{
	struct loop_cfg cfg;

	loop_cfg_default(&cfg);
	int rc = loop_create(&cfg, &f->loop);
	if (rc < 0)
		return rc;
	const struct blk_open_args open = {
	    .spec = look->spec,
	    .flags = look->unsafe_fs ? BLK_OPEN_UNSAFE_FS : 0u,
	    .loops = &f->loop,
	    .loop_count = 1,
	};
	rc = blk_open(&open, &f->ssd, reason, cap);
	if (rc == 0) {
		f->msg.run = begin;
		loop_send(f->loop, &f->msg);
		loop_run(f->loop);
		rc = f->result;
		blk_close(f->ssd);
	}
	loop_destroy(f->loop);
	return rc;
}

static int
refused(const struct tool *t, const char *spec, int rc, const char *reason)
{
	if (reason[0] != '\0')
		return tool_error(t, TOOL_FAILED, "%s", reason);
	if (rc == -ENOSPC || rc == -EINVAL)
		return tool_error(t, TOOL_FAILED, "%s is too small for a cache", spec);
	return tool_error(t, TOOL_FAILED, "%s: %s", spec, strerror(-rc));
}

static int
print_done(const struct tool *t, const char *spec, const uint8_t uuid[16])
{
	char text[37];

	text_format_uuid(uuid, text);
	if (t->json) {
		json_t *o = json_pack("{s:s, s:s}", "ssd", spec, "uuid", text);
		tool_print_json(o, false);
		json_decref(o);
	} else {
		out_text(stdout, spec);
		printf(" is an empty cache now, uuid %s.\n", text);
	}
	return TOOL_DONE;
}

/* 0, or an exit status: what is there stays. */
static int
examine(const struct tool *t, const struct ssd_args *look, struct ssd_found *found)
{
	struct ssd_args strict = *look;
	char reason[1024] = "";

	/* What is there is named first, also when it is to be overwritten. */
	strict.force = false;
	int rc = ssd_examine(&strict, found, reason, sizeof reason);
	if (rc == 0 && !found->is_new) {
		snprintf(reason, sizeof reason, "%s is a cache already", look->spec);
		rc = -EEXIST;
	}
	if (rc == -EEXIST && look->force) {
		if (!t->json)
			fprintf(stderr, "%s: %s: overwritten\n", tool_name(), reason);
		reason[0] = '\0';
		rc = t->dry_run ? 0 : ssd_examine(look, found, reason, sizeof reason);
	} else if (rc == -EEXIST) {
		return tool_error(t, TOOL_REFUSED, "%s; --force overwrites it", reason);
	}
	return rc < 0 ? refused(t, look->spec, rc, reason) : TOOL_DONE;
}

int
run_cache_format(struct tool *t, const struct verb *v, json_t *params)
{
	const char *size = get_text(params, "size");
	struct ssd_args look = {
	    .spec = get_text(params, "ssd"),
	    .force = get_bool(params, "force"),
	    .unsafe_fs = get_bool(params, "unsafe_fs"),
	};
	struct formatting f = {.args = {.force = true}};
	struct ssd_found found;
	char reason[1024] = "";

	(void)v;
	if (size[0] != '\0' && text_parse_size(size, &look.size_bytes) < 0)
		return tool_error(t, TOOL_USAGE, "--size %s: write it as 10GiB", size);
	if (t->dry_run && look.size_bytes > 0 && access(look.spec, F_OK) < 0) {
		puts("The file would be made.");
		return TOOL_DONE;
	}
	int status = examine(t, &look, &found);
	if (status != TOOL_DONE || t->dry_run) {
		if (status == TOOL_DONE)
			puts("An empty cache would be written. Nothing was changed.");
		return status;
	}
	int rc = new_uuid(f.args.uuid);
	if (rc == 0)
		rc = write_cache(&f, &look, reason, sizeof reason);
	if (rc == 0)
		return print_done(t, look.spec, f.args.uuid);
	if (found.created)
		(void)unlink(look.spec);
	return refused(t, look.spec, rc, reason);
}
