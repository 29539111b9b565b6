/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The present grammar of scst.conf(5): "name value", blocks in { }. What a block may hold depends on
 * where it stands:
 *
 *	HANDLER h { DEVICE d { attributes } }
 *	TARGET_DRIVER d { attributes; TARGET t { attributes; LUN n dev { … }; GROUP g { …; INITIATOR p } } }
 *	DEVICE_GROUP g { … }
 */
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "tools/import/import_priv.h"

enum place {
	AT_TOP,
	IN_HANDLER,
	IN_DEVICE,
	IN_DRIVER,
	IN_TARGET,
	IN_GROUP,
	IN_LUN,  /* of a target or a group: `lun_attrs` */
	IN_SKIP, /* told as not carried over where it began */
	PLACE_COUNT
};

#define DEPTH_MAX 16u

struct reader {
	struct import *im;
	enum place stack[DEPTH_MAX];
	struct import_pos opened[DEPTH_MAX];
	unsigned depth;
	char *handler;
	/* The objects whose blocks are open: always the last ones of their arrays. */
	struct scst_device *device;
	struct scst_driver *driver;
	struct scst_target *target;
	struct scst_group *group;
	struct scst_attrs *lun_attrs;
};

static void
wrong(struct reader *r, const struct scst_line *l, const char *expected)
{
	import_tell(r->im, &l->pos, IMPORT_WRONG, "'%s' can't be read here: expected %s",
	    l->words[0], expected);
}

static void
open_block(struct reader *r, const struct scst_line *l, enum place p)
{
	if (r->depth + 1 == DEPTH_MAX) {
		import_tell(r->im, &l->pos, IMPORT_WRONG, "blocks nested too deep");
		return;
	}
	r->depth++;
	r->stack[r->depth] = p;
	r->opened[r->depth] = l->pos;
}

/* What is in it isn't looked at. */
static void
wrong_block(struct reader *r, const struct scst_line *l, const char *expected)
{
	wrong(r, l, expected);
	open_block(r, l, IN_SKIP);
}

static void
add_attr(struct reader *r, const struct scst_line *l, struct scst_attrs *a, bool has_block)
{
	if (has_block) {
		import_tell(
		    r->im, &l->pos, IMPORT_LOST, "%s: a block that isn't known", l->words[0]);
		open_block(r, l, IN_SKIP);
		return;
	}
	scst_attr_add(r->im, a, &l->pos, l->words[0], (char *const *)l->words + 1, l->count - 1);
}

static void
add_device(struct reader *r, const struct scst_line *l, bool has_block)
{
	struct scst *s = &r->im->scst;

	if (l->count != 2) {
		wrong(r, l, "DEVICE NAME {");
		return;
	}
	if (scst_device_find(s, l->words[1]) != NULL)
		import_tell(
		    r->im, &l->pos, IMPORT_WRONG, "device '%s' is there already", l->words[1]);
	r->device = import_grow(r->im, &s->devices, &s->device_count, sizeof *r->device);
	if (r->device == NULL)
		return;
	*r->device = (struct scst_device){
	    .pos = l->pos, .handler = r->handler, .name = import_strdup(r->im, l->words[1])};
	if (has_block)
		open_block(r, l, IN_DEVICE);
}

static void
add_lun(struct reader *r, const struct scst_line *l, struct scst_luns *luns, bool has_block)
{
	uint64_t number;

	if (l->count != 3 || text_parse_u64(l->words[1], 16383, &number) < 0) {
		wrong(r, l, "LUN NUMBER DEVICE, with a number from 0 to 16383");
		if (has_block)
			open_block(r, l, IN_SKIP);
		return;
	}
	struct scst_lun *lun = import_grow(r->im, &luns->list, &luns->count, sizeof *lun);
	if (lun == NULL)
		return;
	*lun = (struct scst_lun){
	    .pos = l->pos, .number = number, .device = import_strdup(r->im, l->words[2])};
	r->lun_attrs = &lun->attrs;
	if (has_block)
		open_block(r, l, IN_LUN);
}

static void
add_group(struct reader *r, const struct scst_line *l, bool has_block)
{
	struct scst_target *t = r->target;

	if (l->count != 2 || !has_block) {
		wrong(r, l, "GROUP NAME {");
		return;
	}
	r->group = import_grow(r->im, &t->groups, &t->group_count, sizeof *r->group);
	if (r->group == NULL)
		return;
	*r->group = (struct scst_group){.pos = l->pos, .name = import_strdup(r->im, l->words[1])};
	open_block(r, l, IN_GROUP);
}

static void
add_target(struct reader *r, const struct scst_line *l, bool has_block)
{
	struct scst *s = &r->im->scst;

	if (l->count != 2) {
		wrong(r, l, "TARGET NAME {");
		return;
	}
	r->target = import_grow(r->im, &s->targets, &s->target_count, sizeof *r->target);
	if (r->target == NULL)
		return;
	*r->target = (struct scst_target){
	    .pos = l->pos, .driver = r->driver->name, .name = import_strdup(r->im, l->words[1])};
	if (has_block)
		open_block(r, l, IN_TARGET);
}

static void
add_pattern(struct reader *r, const struct scst_line *l, bool has_block)
{
	struct scst_group *g = r->group;

	if (l->count != 2) {
		wrong(r, l, "INITIATOR PATTERN");
		return;
	}
	struct scst_pattern *p = import_grow(r->im, &g->patterns, &g->pattern_count, sizeof *p);
	if (p != NULL)
		*p =
		    (struct scst_pattern){.pos = l->pos, .text = import_strdup(r->im, l->words[1])};
	if (has_block)
		open_block(r, l, IN_SKIP);
}

static void
at_top(struct reader *r, const struct scst_line *l, bool has_block)
{
	const char *key = l->words[0];

	if (strcmp(key, "HANDLER") == 0 && l->count == 2 && has_block) {
		r->handler = import_strdup(r->im, l->words[1]);
		open_block(r, l, IN_HANDLER);
	} else if (strcmp(key, "TARGET_DRIVER") == 0 && l->count == 2 && has_block) {
		r->driver = scst_driver_get(r->im, &l->pos, l->words[1]);
		if (r->driver != NULL)
			open_block(r, l, IN_DRIVER);
	} else if (strcmp(key, "DEVICE_GROUP") == 0 && l->count == 2 && has_block) {
		import_tell(r->im, &l->pos, IMPORT_LOST,
		    "device group '%s': ALUA states aren't carried over; here all ports are one "
		    "target "
		    "port group, active/optimized",
		    l->words[1]);
		open_block(r, l, IN_SKIP);
	} else if (strcmp(key, "setup_id") == 0 && l->count == 2 && !has_block) {
		r->im->scst.setup_id = import_strdup(r->im, l->words[1]);
	} else if (strcasecmp(key, "HANDLER") == 0 || strcasecmp(key, "TARGET_DRIVER") == 0 ||
	           strcasecmp(key, "DEVICE_GROUP") == 0 || has_block) {
		wrong(r, l, "HANDLER NAME {, TARGET_DRIVER NAME { or DEVICE_GROUP NAME {");
		if (has_block)
			open_block(r, l, IN_SKIP);
	} else {
		import_tell(r->im, &l->pos, IMPORT_REMARK,
		    "%s: a setting of SCST itself, without a counterpart", key);
	}
}

static void
in_handler(struct reader *r, const struct scst_line *l, bool has_block)
{
	if (strcmp(l->words[0], "DEVICE") == 0)
		add_device(r, l, has_block);
	else if (has_block)
		wrong_block(r, l, "DEVICE NAME { or }");
	else
		import_tell(r->im, &l->pos, IMPORT_REMARK,
		    "%s: a setting of the handler %s, without a counterpart", l->words[0],
		    r->handler);
}

static void
in_driver(struct reader *r, const struct scst_line *l, bool has_block)
{
	if (strcmp(l->words[0], "TARGET") == 0 || strcmp(l->words[0], "HW_TARGET") == 0)
		add_target(r, l, has_block);
	else
		add_attr(r, l, &r->driver->attrs, has_block);
}

static void
in_target(struct reader *r, const struct scst_line *l, bool has_block)
{
	if (strcmp(l->words[0], "LUN") == 0)
		add_lun(r, l, &r->target->luns, has_block);
	else if (strcmp(l->words[0], "GROUP") == 0)
		add_group(r, l, has_block);
	else
		add_attr(r, l, &r->target->attrs, has_block);
}

static void
in_group(struct reader *r, const struct scst_line *l, bool has_block)
{
	if (strcmp(l->words[0], "LUN") == 0)
		add_lun(r, l, &r->group->luns, has_block);
	else if (strcmp(l->words[0], "INITIATOR") == 0)
		add_pattern(r, l, has_block);
	else
		add_attr(r, l, &r->group->attrs, has_block);
}

static void
statement(struct reader *r, const struct scst_line *l, bool has_block)
{
	switch (r->stack[r->depth]) {
	case AT_TOP:
		at_top(r, l, has_block);
		break;
	case IN_HANDLER:
		in_handler(r, l, has_block);
		break;
	case IN_DEVICE:
		add_attr(r, l, &r->device->attrs, has_block);
		break;
	case IN_DRIVER:
		in_driver(r, l, has_block);
		break;
	case IN_TARGET:
		in_target(r, l, has_block);
		break;
	case IN_GROUP:
		in_group(r, l, has_block);
		break;
	case IN_LUN:
		add_attr(r, l, r->lun_attrs, has_block);
		break;
	case IN_SKIP:
	case PLACE_COUNT:
		if (has_block)
			open_block(r, l, IN_SKIP);
		break;
	}
}

void
scst_read_present(struct import *im, const char *file, char *text)
{
	struct reader r = {.im = im};
	struct import_pos pos = {.file = file};
	struct scst_line l;

	while (!im->no_memory && scst_line_next(im, &text, &pos, &l)) {
		bool closes = l.count == 1 && strcmp(l.words[0], "}") == 0;
		bool opens = l.count > 1 && strcmp(l.words[l.count - 1], "{") == 0;
		bool stray = false;
		for (unsigned i = 0; i + opens < l.count && !closes; i++)
			stray =
			    stray || strcmp(l.words[i], "{") == 0 || strcmp(l.words[i], "}") == 0;
		if (stray) {
			wrong(&r, &l, "{ at the end of a line, and } on a line of its own");
		} else if (closes && r.depth == 0) {
			wrong(&r, &l, "no }, since no block is open");
		} else if (closes) {
			r.depth--;
		} else {
			l.count -= opens;
			statement(&r, &l, opens);
		}
	}
	if (r.depth > 0)
		import_tell(
		    im, &r.opened[r.depth], IMPORT_WRONG, "this block has no end: } is missing");
}
