/* SPDX-License-Identifier: BSD-2-Clause */
/* The import as a whole: files → model → text, which has to be a configuration that terraced takes. */
#include "tools/import/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "conf/conf.h"
#include "tools/import/import_priv.h"

void
import_put(struct import *im, FILE *out, unsigned depth, const char *key, const char *word)
{
	char *line = word != NULL ? conf_line_text(key, &word, 1) : NULL;

	if (line == NULL) {
		im->no_memory = true;
		return;
	}
	fprintf(out, "%*s%s\n", (int)(4 * depth), "", line);
	conf_text_destroy(line);
}

void
import_put_noted(struct import *im, FILE *out,
    void (*put)(struct import *im, FILE *out, void *object), void *object, const bool *comment)
{
	unsigned first = im->note_count;
	char *text = NULL;
	size_t len;
	FILE *one = open_memstream(&text, &len);

	if (one == NULL) {
		im->no_memory = true;
		return;
	}
	put(im, one, object);
	if (fclose(one) != 0 || text == NULL) {
		im->no_memory = true;
		free(text);
		return;
	}
	fputc('\n', out);
	for (unsigned n = first; n < im->note_count; n++)
		fprintf(out, "# %s:%u: %s%s\n", im->notes[n].pos.file, im->notes[n].pos.line,
		    im->notes[n].severity == IMPORT_LOST ? "not carried over: " : "",
		    im->notes[n].text);
	for (const char *at = text; *at != '\0';) {
		size_t line = strcspn(at, "\n");
		fprintf(out, "%s%.*s\n", comment != NULL && *comment ? "# " : "", (int)line, at);
		at += line + (at[line] == '\n');
	}
	explicit_bzero(text, len); /* it may have secrets */
	free(text);
}

/* ---- reading --------------------------------------------------------------------------------------- */

static char *
read_file(struct import *im, const char *path)
{
	struct import_pos pos = {path, 0};
	char *text = NULL;
	FILE *f = fopen(path, "re");

	if (f == NULL) {
		import_tell(im, &pos, IMPORT_WRONG, "can't be read: %s", strerror(errno));
		return NULL;
	}
	text = import_alloc(im, FILE_MAX_BYTES + 2);
	size_t len = text != NULL ? fread(text, 1, FILE_MAX_BYTES + 1, f) : 0;
	if (ferror(f))
		import_tell(im, &pos, IMPORT_WRONG, "can't be read: %s", strerror(errno));
	else if (len > FILE_MAX_BYTES)
		import_tell(im, &pos, IMPORT_WRONG, "larger than %u MiB: no configuration of SCST",
		    FILE_MAX_BYTES >> 20);
	else if (text != NULL && memchr(text, '\0', len) != NULL)
		import_tell(im, &pos, IMPORT_WRONG, "has a zero byte: no configuration of SCST");
	else
		len = SIZE_MAX;
	fclose(f);
	return len == SIZE_MAX ? text : NULL;
}

enum grammar { GRAMMAR_PRESENT, GRAMMAR_OLD, GRAMMAR_ISCSI, GRAMMAR_UNKNOWN };

/* By the first line that says something. */
static enum grammar
grammar_of(const char *text, unsigned *ret_line)
{
	static const char *const iscsi[] = {"Target", "IncomingUser", "OutgoingUser", "iSNSServer",
	    "iSNSAccessControl", "InitialR2T", "ImmediateData", "MaxRecvDataSegmentLength"};

	for (*ret_line = 1;; ++*ret_line) {
		const char *line = text + strspn(text, " \t\r"), *end = strchr(text, '\n');
		size_t len = end != NULL ? (size_t)(end - line) : strlen(line);
		size_t word = strcspn(line, " \t\r\n");
		if (len > 0 && *line != '#' && *line != '\n') {
			if (*line == '[')
				return GRAMMAR_OLD;
			if (memchr(line, '{', len) != NULL || strncmp(line, "setup_id", 8) == 0)
				return GRAMMAR_PRESENT;
			for (size_t i = 0; i < sizeof iscsi / sizeof iscsi[0]; i++)
				if (word == strlen(iscsi[i]) &&
				    strncasecmp(line, iscsi[i], word) == 0)
					return GRAMMAR_ISCSI;
			return GRAMMAR_UNKNOWN;
		}
		if (end == NULL)
			return GRAMMAR_PRESENT; /* nothing in it */
		text = end + 1;
	}
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && strcmp(s + n - m, end) == 0;
}

static void
read_one(struct import *im, const char *file)
{
	char *text = read_file(im, file);
	struct import_pos pos = {file, 1};

	if (text == NULL)
		return;
	if (ends_with(file, ".allow") || ends_with(file, ".deny")) {
		scst_read_access(im, file, text, ends_with(file, ".deny"));
		return;
	}
	switch (grammar_of(text, &pos.line)) {
	case GRAMMAR_PRESENT:
		scst_read_present(im, file, text);
		break;
	case GRAMMAR_OLD:
		scst_read_old(im, file, text);
		break;
	case GRAMMAR_ISCSI:
		scst_read_iscsi(im, file, text);
		break;
	case GRAMMAR_UNKNOWN:
		import_tell(im, &pos, IMPORT_WRONG,
		    "this begins like none of SCST's files: expected HANDLER, TARGET_DRIVER or "
		    "DEVICE_GROUP NAME { (scst.conf), [HANDLER …] (its old form) or Target NAME "
		    "(iscsi-scstd.conf)");
		break;
	}
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static void
put_head(struct import *im, FILE *out)
{
	fputs("# Made by 'terracectl import-scst' from", out);
	for (unsigned i = 0; i < im->args->file_count; i++)
		fprintf(out, " %s", im->args->files[i]);
	fputs(".\n# Look at the remarks, then: terraced --check --config FILE\n", out);
	if (im->args->ssd == NULL || !im->args->nv_cache_is_nv)
		return;
	const char *colon = strrchr(im->args->ssd, ':');
	uint64_t bytes;
	bool sized = colon != NULL && text_parse_size(colon + 1, &bytes) == 0;
	char *path = import_strdup(im, im->args->ssd);
	if (path == NULL)
		return;
	if (sized)
		path[colon - im->args->ssd] = '\0';
	fputs("\ncache scst {\n", out);
	import_put(im, out, 1, "ssd", path);
	if (sized)
		import_put(im, out, 1, "size", colon + 1);
	fputs("}\n", out);
}

static void
put_lost(const struct import *im, FILE *out)
{
	bool any = false;

	for (unsigned i = 0; i < im->note_count; i++) {
		const struct import_note *n = &im->notes[i];
		if (n->severity != IMPORT_LOST)
			continue;
		if (!any)
			fputs("\n# Not carried over:\n", out);
		any = true;
		fprintf(out, "#   %s:%u: %s\n", n->pos.file, n->pos.line, n->text);
	}
}

/* Comments hold what the files say: as bytes of the one line and nothing else. */
static void
clean(char *text)
{
	for (char *p = text; *p != '\0'; p++)
		if (((unsigned char)*p < 0x20 && *p != '\n') || (unsigned char)*p > 0x7e)
			*p = '?';
}

/* What was made must be taken by terraced: a mistake here is ours to tell, not to be found later. */
static void
check_text(struct import *im)
{
	struct conf_errors errors = {0};
	struct conf_tree *tree = NULL;
	struct conf *conf = NULL;
	struct conf_load_args args = {.text = im->text, .text_name = "the result"};
	int rc = conf_load(&args, &errors, &tree, &conf);

	for (unsigned i = 0; rc == -EINVAL && i < errors.count; i++) {
		const struct conf_error *e = &errors.list[i];
		struct import_pos pos = {import_strdup(im, "the result"), e->pos.line};
		if (!e->remark)
			import_tell(im, &pos, IMPORT_WRONG, "%s", e->text);
	}
	if (rc == -ENOMEM)
		im->no_memory = true;
	conf_destroy(conf);
	conf_errors_fini(&errors);
	conf_tree_destroy(tree);
}

static void
make_text(struct import *im)
{
	size_t len;
	FILE *out = open_memstream(&im->text, &len);

	if (out == NULL) {
		im->no_memory = true;
		return;
	}
	put_head(im, out);
	import_map_devices(im, out);
	import_map_targets(im, out);
	put_lost(im, out);
	if (fclose(out) != 0 || im->text == NULL) {
		im->no_memory = true;
		return;
	}
	clean(im->text);
	check_text(im);
}

/* ---- the interface ------------------------------------------------------------------------------------- */

int
import_scst(const struct import_args *args, struct import **ret)
{
	struct import *im = calloc(1, sizeof *im);

	*ret = NULL;
	if (im == NULL)
		return -ENOMEM;
	im->args = args;
	for (unsigned i = 0; i < args->file_count && !im->no_memory; i++)
		read_one(im, args->files[i]);
	if (import_count(im, IMPORT_WRONG) == 0 && !im->no_memory)
		make_text(im);
	if (im->no_memory) {
		import_free(im);
		return -ENOMEM;
	}
	*ret = im;
	return import_count(im, IMPORT_WRONG) > 0 ? -EINVAL : 0;
}

void
import_free(struct import *im)
{
	if (im == NULL)
		return;
	if (im->text != NULL)
		explicit_bzero(im->text, strlen(im->text));
	free(im->text);
	for (size_t i = 0; i < im->block_count; i++)
		free(im->blocks[i]);
	free(im->blocks);
	free(im);
}

const char *
import_text(const struct import *im)
{
	return import_count(im, IMPORT_WRONG) == 0 ? im->text : NULL;
}

unsigned
import_note_count(const struct import *im)
{
	return im->note_count;
}

const struct import_note *
import_note(const struct import *im, unsigned n)
{
	return n < im->note_count ? &im->notes[n] : NULL;
}

unsigned
import_count(const struct import *im, enum import_severity severity)
{
	unsigned count = 0;

	for (unsigned i = 0; i < im->note_count; i++)
		count += im->notes[i].severity == severity;
	return count;
}

bool
import_has_secrets(const struct import *im)
{
	return im->has_secrets;
}
