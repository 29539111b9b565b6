/* SPDX-License-Identifier: BSD-2-Clause */
/* check, dump and format: of an SSD that no daemon has open. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/text.h"
#include "cache/check.h"
#include "ssd/ssd.h"
#include "tools/cachectl/cachectl.h"

struct offline {
	const struct tool *tool;
	int fd;
	uint64_t size_bytes;
	struct progress progress;
	json_t *list; /* problems, or structures */
};

/* ---- the device ---------------------------------------------------------------------------------- */

static int
read_device(void *ctx, uint64_t offset, void *buf, size_t len)
{
	const struct offline *x = ctx;

	for (size_t at = 0; at < len;) {
		ssize_t n = pread(x->fd, (char *)buf + at, len - at, (off_t)(offset + at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

static bool
size_of(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	*ret = (uint64_t)st.st_size;
	return !S_ISBLK(st.st_mode) || ioctl(fd, BLKGETSIZE64, ret) == 0;
}

/*
 * For reading only. Who has it open for writing changes it meanwhile: a lock, or O_EXCL of a device, tells.
 * 0, or an exit status.
 */
static int
open_device(struct offline *x, const char *spec)
{
	char buf[4096];
	const char *path = ssd_path(spec, buf, sizeof buf);
	struct stat st;

	if (path == NULL)
		path = spec;
	if (stat(path, &st) < 0)
		return tool_error(x->tool, TOOL_FAILED, "%s: %s", path, strerror(errno));
	x->fd = open(path, O_RDONLY | O_CLOEXEC | (S_ISBLK(st.st_mode) ? O_EXCL : 0));
	if (x->fd < 0 && errno == EBUSY)
		return tool_error(x->tool, TOOL_FAILED,
		    "%s is in use: stop terraced first, or look with `cachectl status`", path);
	if (x->fd < 0)
		return tool_error(x->tool, TOOL_FAILED, "%s: %s", path, strerror(errno));
	if (flock(x->fd, LOCK_SH | LOCK_NB) < 0)
		return tool_error(x->tool, TOOL_FAILED,
		    "%s is in use: stop terraced first, or look with `cachectl status`", path);
	if (!size_of(x->fd, &x->size_bytes))
		return tool_error(x->tool, TOOL_FAILED, "%s: %s", path, strerror(errno));
	return TOOL_DONE;
}

static int
failed(const struct offline *x, const char *spec, int rc)
{
	if (rc == -EMEDIUMTYPE)
		return tool_error(x->tool, TOOL_FAILED, "%s is no cache of terraced", spec);
	if (rc == -EPROTONOSUPPORT)
		return tool_error(
		    x->tool, TOOL_FAILED, "%s is a cache of a newer version of terraced", spec);
	return tool_error(x->tool, TOOL_FAILED, "%s: %s", spec, strerror(-rc));
}

/* ---- check --------------------------------------------------------------------------------------- */

static void
on_problem(void *ctx, bool is_loss, const char *text)
{
	struct offline *x = ctx;

	progress_end(&x->progress);
	if (x->tool->json)
		json_array_append_new(
		    x->list, json_pack("{s:b, s:s}", "loss", is_loss, "text", text));
	else
		printf("%s: %s\n", is_loss ? "LOSS" : "remark", text);
	fflush(stdout);
}

static void
on_progress(void *ctx, uint64_t left, uint64_t total)
{
	struct offline *x = ctx;
	x->progress.total = (double)total * 4096;
	progress_tell(&x->progress, (double)left * 4096);
}

static void
print_result(const struct cache_check_result *r)
{
	char uuid[37], size[32], live[32], dirty[32], looked[32], packed[32];

	text_format_uuid(r->uuid, uuid);
	text_format_size(r->size_bytes, size, sizeof size);
	text_format_size(r->live_blocks * 4096, live, sizeof live);
	text_format_size(r->dirty_blocks * 4096, dirty, sizeof dirty);
	text_format_size(r->read_blocks * 4096, looked, sizeof looked);
	text_format_size(r->packed_blocks * 4096, packed, sizeof packed);
	printf("cache %s, %s, %u LUN%s, %s\n", uuid, size, r->volumes, r->volumes == 1 ? "" : "s",
	    r->in_order ? "closed in order"
	                : "in use when it was left: the next start recovers it");
	printf("segments: %u, free %u, full %u, begun %u, empty %u, lost %u\n", r->segments,
	    r->free, r->sealed, r->open, r->empty, r->lost);
	printf("data: %s, of which at most %s aren't on a store yet; %s read and compared\n", live,
	    dirty, looked);
	if (r->packed_blocks > 0)
		printf("compressed: %s of it\n", packed);
	if (r->losses > 0)
		printf("%u problem%s: acknowledged data is, or may be, lost.\n", r->losses,
		    r->losses == 1 ? "" : "s");
	else if (r->remarks > 0)
		printf("%u remark%s; nothing is lost.\n", r->remarks, r->remarks == 1 ? "" : "s");
	else
		puts("Nothing is wrong.");
}

static json_t *
result_json(const struct cache_check_result *r, json_t *problems)
{
	char uuid[37];

	text_format_uuid(r->uuid, uuid);
	json_t *o =
	    json_pack("{s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:i, s:i}", "uuid", uuid, "size_bytes",
	        (json_int_t)r->size_bytes, "generation", (json_int_t)r->generation, "epoch",
	        (json_int_t)r->epoch, "checkpoint", (json_int_t)r->checkpoint, "void", r->is_void,
	        "in_order", r->in_order, "volumes", (int)r->volumes, "segments", (int)r->segments);
	json_t *more =
	    json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:O}",
	        "free", (int)r->free, "sealed", (int)r->sealed, "open", (int)r->open, "empty",
	        (int)r->empty, "lost", (int)r->lost, "records", (json_int_t)r->records,
	        "payload_blocks", (json_int_t)r->payload_blocks, "live_blocks",
	        (json_int_t)r->live_blocks, "dirty_blocks", (json_int_t)r->dirty_blocks,
	        "packed_blocks", (json_int_t)r->packed_blocks, "bad_blocks",
	        (json_int_t)r->bad_blocks, "bad_dirty_blocks", (json_int_t)r->bad_dirty_blocks,
	        "losses", (int)r->losses, "remarks", (int)r->remarks, "problems", problems);
	json_object_update(o, more);
	json_decref(more);
	return o;
}

int
run_cache_check(struct tool *t, const struct verb *v, json_t *params)
{
	const char *spec = get_text(params, "ssd");
	struct offline x = {.tool = t, .fd = -1, .list = json_array()};
	struct cache_check_result r;

	(void)v;
	int status = open_device(&x, spec);
	if (status == TOOL_DONE) {
		const struct cache_check_args args = {
		    .read = read_device,
		    .size_bytes = x.size_bytes,
		    .problem = on_problem,
		    .payload = !get_bool(params, "quick"),
		    .progress = on_progress,
		    .ctx = &x,
		};
		progress_begin(&x.progress, t, "check", (double)x.size_bytes);
		int rc = cache_check(&args, &r);
		progress_end(&x.progress);
		if (rc < 0) {
			status = failed(&x, spec, rc);
		} else {
			json_t *o = result_json(&r, x.list);
			if (t->json)
				tool_print_json(o, false);
			else
				print_result(&r);
			json_decref(o);
			status = r.losses > 0    ? TOOL_FAILED
			         : r.remarks > 0 ? TOOL_REMARKS
			                         : TOOL_DONE;
		}
	}
	if (x.fd >= 0)
		close(x.fd);
	json_decref(x.list);
	return status;
}

/* ---- dump ---------------------------------------------------------------------------------------- */

static void
on_line(void *ctx, uint64_t block, const char *structure, const char *text)
{
	struct offline *x = ctx;

	if (x->tool->json) {
		json_t *said = json_string(text); /* names on the SSD may be anything */
		json_array_append_new(
		    x->list, json_pack("{s:I, s:s, s:o}", "block", (json_int_t)block, "structure",
		                 structure, "text", said != NULL ? said : json_string("?")));
		return;
	}
	printf("%10llu %-13s ", (unsigned long long)block, structure);
	out_text(stdout, text);
	putchar('\n');
}

int
run_cache_dump(struct tool *t, const struct verb *v, json_t *params)
{
	const char *spec = get_text(params, "ssd");
	struct offline x = {.tool = t, .fd = -1, .list = json_array()};
	struct cache_check_result r;

	(void)v;
	int status = open_device(&x, spec);
	if (status == TOOL_DONE) {
		const struct cache_check_args args = {
		    .read = read_device,
		    .size_bytes = x.size_bytes,
		    .line = on_line,
		    .descriptors = get_bool(params, "descriptors"),
		    .ctx = &x,
		};
		int rc = cache_check(&args, &r);
		if (rc < 0)
			status = failed(&x, spec, rc);
		else if (t->json)
			tool_print_json(x.list, false);
	}
	if (x.fd >= 0)
		close(x.fd);
	json_decref(x.list);
	return status;
}
