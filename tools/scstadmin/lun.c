/* SPDX-License-Identifier: BSD-2-Clause */
/* Which LUN is seen where: -add_lun, -assigndev, -rem_lun, -replace_lun, -clear_luns. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/scstadmin/scstadmin.h"

#define NUMBER_MAX 16383u

/* Lines of a group or of an open target. */
struct shown {
	char place[300]; /* the name that group.map and group.unmap take */
	const json_t *luns;
};

/* ---- where --------------------------------------------------------------------------------------------- */

/* Where the order's LUNs are now. False: nowhere, which was said. */
static bool
find_shown(struct admin *a, const char *target, struct shown *ret)
{
	const char *group = a->order.value[OPT_GROUP];
	const json_t *o;

	if (!place_is_default(group)) {
		o = place_group_needed(a, target, group);
	} else {
		o = place_target(a, target);
		/* With CHAP it is a group that is for everybody. */
		if (o != NULL && json_array_size(json_object_get(o, "luns")) == 0 &&
		    place_group(a, target, "everyone") != NULL)
			o = place_group(a, target, "everyone");
	}
	if (o == NULL)
		return false;
	snprintf(ret->place, sizeof ret->place, "%s", get_text(o, "name"));
	ret->luns = json_object_get(o, "luns");
	return true;
}

/* Where new ones go. */
static bool
make_shown(struct admin *a, const char *target, char *ret, size_t cap)
{
	struct shown s;

	if (place_is_default(a->order.value[OPT_GROUP]))
		return place_everyone(a, target, ret, cap);
	if (!find_shown(a, target, &s))
		return false;
	snprintf(ret, cap, "%s", s.place);
	return true;
}

static const json_t *
line_with_number(const struct shown *s, json_int_t number)
{
	size_t i;
	const json_t *l;

	json_array_foreach(s->luns, i, l)
	{
		if (json_is_object(l) && get_int(l, "number") == number)
			return l;
	}
	return NULL;
}

static const json_t *
line_with_lun(const struct shown *s, const char *lun)
{
	size_t i;
	const json_t *l;

	json_array_foreach(s->luns, i, l)
	{
		if (strcmp(get_text(l, "lun"), lun) == 0)
			return l;
	}
	return NULL;
}

/* -1: wrong, which was said. */
static json_int_t
number_of(struct admin *a, const char *text)
{
	uint64_t n;

	if (text != NULL && text_parse_u64(text, NUMBER_MAX, &n) == 0)
		return (json_int_t)n;
	(void)act_fail(a, "the number of a LUN goes from 0 to %u, and isn't %s", NUMBER_MAX,
	    text != NULL ? text : "missing");
	return -1;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

static int
map(struct admin *a, const char *place, const char *lun, json_int_t number, bool read_only)
{
	json_t *params = json_pack("{s:s, s:s, s:I}", "group", place, "lun", lun, "number", number);

	if (read_only)
		json_object_set_new(params, "read_only", json_true());
	return act(a, "group.map", params);
}

static int
unmap(struct admin *a, const char *place, const char *lun)
{
	return act(a, "group.unmap", json_pack("{s:s, s:s}", "group", place, "lun", lun));
}

/* Takes one line away and shows another LUN, or the same one otherwise, at its number. */
static int
replace(struct admin *a, const char *target, const char *lun, json_int_t number, bool read_only)
{
	struct shown s;

	if (!find_shown(a, target, &s))
		return TOOL_FAILED;
	const json_t *line = line_with_number(&s, number);
	if (line != NULL) {
		char was[300];
		snprintf(was, sizeof was, "%s", get_text(line, "lun"));
		int status = unmap(a, s.place, was);
		if (!act_good(status))
			return status;
		status = map(a, s.place, lun, number, read_only);
		if (!act_good(status))
			act_remark(a, "number %d of %s shows nothing now: it was '%s'", (int)number,
			    s.place, was);
		return status;
	}
	return act_fail(a, "%s shows no LUN %d", s.place, (int)number);
}

/* ---- orders ------------------------------------------------------------------------------------------------ */

static int
add(struct admin *a, const char *target, const char *lun, const char *number, bool read_only)
{
	char place[300];
	json_int_t n = number_of(a, number);

	if (n < 0 || !make_shown(a, target, place, sizeof place))
		return TOOL_FAILED;
	return map(a, place, lun, n, read_only);
}

/* -attributes read_only=1. False: wrong, which was said. */
static bool
is_read_only(struct admin *a, bool *ret)
{
	json_t *attributes = act_attributes(a, a->order.value[OPT_ATTRIBUTES]), *value;
	const char *name;

	*ret = false;
	if (attributes == NULL)
		return false;
	json_object_foreach(attributes, name, value)
	{
		if (strcmp(name, "read_only") == 0)
			*ret = act_is_on(json_string_value(value));
		else
			act_remark(a, "%s: an attribute that a LUN's line doesn't have", name);
	}
	json_decref(attributes);
	return true;
}

static int
add_lun(struct admin *a, const char *target)
{
	bool read_only;

	if (!is_read_only(a, &read_only))
		return TOOL_FAILED;
	return add(a, target, a->order.value[OPT_DEVICE], a->order.name, read_only);
}

int
scst_add_lun(struct admin *a)
{
	return place_each(a, add_lun);
}

static int
assign_dev(struct admin *a, const char *target)
{
	const char *options = a->order.value[OPT_OPTIONS];
	bool read_only =
	    options != NULL && (strcmp(options, "READ_ONLY") == 0 || strcmp(options, "RO") == 0);

	if (options != NULL && !read_only)
		return act_fail(a, "-options of an assignment is READ_ONLY, not %s", options);
	return add(a, target, a->order.name, a->order.value[OPT_LUN], read_only);
}

int
scst_assign_dev(struct admin *a)
{
	return place_each(a, assign_dev);
}

static int
rem_lun(struct admin *a, const char *target)
{
	struct shown s;
	json_int_t n = number_of(a, a->order.name);

	if (n < 0 || !find_shown(a, target, &s))
		return TOOL_FAILED;
	const json_t *line = line_with_number(&s, n);
	return line != NULL ? unmap(a, s.place, get_text(line, "lun"))
	                    : act_fail(a, "%s shows no LUN %d", s.place, (int)n);
}

int
scst_rem_lun(struct admin *a)
{
	return place_each(a, rem_lun);
}

static int
release_dev(struct admin *a, const char *target)
{
	struct shown s;

	if (!find_shown(a, target, &s))
		return TOOL_FAILED;
	return line_with_lun(&s, a->order.name) != NULL
	           ? unmap(a, s.place, a->order.name)
	           : act_fail(a, "%s doesn't show '%s'", s.place, a->order.name);
}

int
scst_release_dev(struct admin *a)
{
	return place_each(a, release_dev);
}

/* -replace_lun N -device NAME, or -ReplaceDev NAME -lun N. */
static int
replace_lun(struct admin *a, const char *target)
{
	const char *device = a->order.value[OPT_DEVICE], *number = a->order.name;
	bool read_only;

	if (device == NULL) {
		device = a->order.name;
		number = a->order.value[OPT_LUN];
	}
	json_int_t n = number_of(a, number);
	if (n < 0 || !is_read_only(a, &read_only))
		return TOOL_FAILED;
	return replace(a, target, device, n, read_only);
}

int
scst_replace_lun(struct admin *a)
{
	return place_each(a, replace_lun);
}

static int
set_lun_attr(struct admin *a, const char *target)
{
	struct shown s;
	bool read_only;
	char lun[300];
	json_int_t n = number_of(a, a->order.name);

	if (n < 0 || !is_read_only(a, &read_only) || !find_shown(a, target, &s))
		return TOOL_FAILED;
	const json_t *line = line_with_number(&s, n);
	if (line == NULL)
		return act_fail(a, "%s shows no LUN %d", s.place, (int)n);
	if (get_bool(line, "read_only") == read_only)
		return act_nothing(a, "it is like that");
	snprintf(lun, sizeof lun, "%s", get_text(line, "lun"));
	return replace(a, target, lun, n, read_only);
}

int
scst_set_lun_attr(struct admin *a)
{
	return place_each(a, set_lun_attr);
}

static int
clear_luns(struct admin *a, const char *target)
{
	struct shown s;
	int worst = TOOL_DONE;
	size_t i;
	const json_t *l;

	if (!find_shown(a, target, &s))
		return TOOL_FAILED;
	if (json_array_size(s.luns) == 0)
		return act_nothing(a, "%s shows no LUN", s.place);
	/* The lists are forgotten with each change. */
	json_t *lines = json_deep_copy(s.luns);
	json_array_foreach(lines, i, l)
	{
		int status = unmap(a, s.place, get_text(l, "lun"));
		if (status != TOOL_DONE)
			worst = status;
		if (!act_good(status) && !a->order.goes_on)
			break;
	}
	json_decref(lines);
	return worst;
}

int
scst_clear_luns(struct admin *a)
{
	return place_each(a, clear_luns);
}
