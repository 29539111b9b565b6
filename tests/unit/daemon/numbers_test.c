/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of portals and targets are kept and never given twice; intents outlive the process. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalog.h"
#include "tests/cmocka_all.h"
#include "tests/unit/daemon/tmpdir.h"

#define MACHINE "0123456789abcdef0123456789abcdef"

struct world {
	struct tmpdir tmp;
	struct catalog *c;
};

static void
reopen(struct world *w)
{
	char reason[1024];
	catalog_close(w->c);
	w->c = NULL;
	if (catalog_open(w->tmp.path, MACHINE, &w->c, reason, sizeof reason) != 0)
		fail_msg("%s", reason);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	tmpdir_make(&w->tmp);
	reopen(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	catalog_close(w->c);
	tmpdir_remove(&w->tmp);
	free(w);
	return 0;
}

static uint16_t
number(struct world *w, enum catalog_number_kind kind, const char *name)
{
	struct catalog_number_request r = {.kind = kind, .name = name};
	unsigned failed;
	assert_int_equal(catalog_numbers(w->c, &r, 1, true, &failed), 0);
	return r.number;
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

static void
numbers_are_kept(void **state)
{
	struct world *w = *state;
	assert_int_equal(number(w, CATALOG_PORTAL, "first"), 1);
	assert_int_equal(number(w, CATALOG_PORTAL, "second"), 2);
	assert_int_equal(number(w, CATALOG_TARGET, "iqn.2026-11.example:a"), 1);
	assert_int_equal(number(w, CATALOG_TARGET, "iqn.2026-11.example:b"), 65);
	reopen(w);
	/* `first` isn't named any more: its number stays its own while there are others. */
	assert_int_equal(number(w, CATALOG_PORTAL, "third"), 3);
	assert_int_equal(number(w, CATALOG_PORTAL, "second"), 2);
	assert_int_equal(number(w, CATALOG_PORTAL, "first"), 1);
	assert_int_equal(number(w, CATALOG_TARGET, "iqn.2026-11.example:b"), 65);
}

static void
a_name_of_both_kinds_has_two_numbers(void **state)
{
	struct world *w = *state;
	assert_int_equal(number(w, CATALOG_PORTAL, "x"), 1);
	assert_int_equal(number(w, CATALOG_PORTAL, "y"), 2);
	assert_int_equal(number(w, CATALOG_TARGET, "y"), 1);
}

static void
looking_writes_nothing(void **state)
{
	struct world *w = *state;
	struct catalog_number_request r[2] = {{CATALOG_PORTAL, "a", 0}, {CATALOG_PORTAL, "b", 0}};
	unsigned failed;
	assert_int_equal(catalog_numbers(w->c, r, 2, false, &failed), 0);
	assert_int_equal(r[0].number, 1);
	assert_int_equal(r[1].number, 2);
	assert_int_equal(number(w, CATALOG_PORTAL, "other"), 1);
}

/* Requests for portals named p0, p1, …; names and all are the caller's to free. */
static struct catalog_number_request *
portals(unsigned first, unsigned count)
{
	struct catalog_number_request *r = calloc(count, sizeof *r);
	for (unsigned i = 0; i < count; i++) {
		char *name;
		assert_true(asprintf(&name, "p%u", first + i) > 0);
		r[i] = (struct catalog_number_request){CATALOG_PORTAL, name, 0};
	}
	return r;
}

static void
portals_free(struct catalog_number_request *r, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free((void *)(uintptr_t)r[i].name);
	free(r);
}

static void
numbers_of_the_past_are_given_when_no_other_is_left(void **state)
{
	struct world *w = *state;
	unsigned failed;
	struct catalog_number_request *r = portals(0, CATALOG_PORTALS_MAX);
	assert_int_equal(catalog_numbers(w->c, r, CATALOG_PORTALS_MAX, true, &failed), 0);
	portals_free(r, CATALOG_PORTALS_MAX);

	/* p0 and p1 have gone, two others have come. */
	r = portals(2, CATALOG_PORTALS_MAX);
	assert_int_equal(catalog_numbers(w->c, r, CATALOG_PORTALS_MAX, true, &failed), 0);
	bool seen[CATALOG_PORTALS_MAX + 1] = {false};
	for (unsigned i = 0; i < CATALOG_PORTALS_MAX; i++) {
		assert_in_range(r[i].number, 1, CATALOG_PORTALS_MAX);
		assert_false(seen[r[i].number]);
		seen[r[i].number] = true;
		if (i < CATALOG_PORTALS_MAX - 2)
			assert_int_equal(r[i].number, i + 3);
	}
	portals_free(r, CATALOG_PORTALS_MAX);
}

static void
one_too_many_is_named(void **state)
{
	struct world *w = *state;
	unsigned failed = 0;
	struct catalog_number_request *r = portals(0, CATALOG_PORTALS_MAX + 1);
	assert_int_equal(catalog_numbers(w->c, r, CATALOG_PORTALS_MAX + 1, true, &failed), -ERANGE);
	assert_int_equal(failed, CATALOG_PORTALS_MAX);
	portals_free(r, CATALOG_PORTALS_MAX + 1);
	assert_int_equal(number(w, CATALOG_PORTAL, "fresh"), 1); /* nothing was written */
}

/* ---- identities of many --------------------------------------------------------------------------------- */

static void
identities_of_many_are_all_or_none(void **state)
{
	struct world *w = *state;
	struct catalog_identity_request r[3] = {
	    {.key = "file:/a", .size_bytes = 1}, {.key = "file:/b"}, {.key = ""}};
	struct catalog_identity id;
	unsigned failed = 0;
	assert_int_equal(catalog_lu_identities(w->c, r, 3, 1, &failed), -ENAMETOOLONG);
	assert_int_equal(failed, 2);
	assert_int_equal(catalog_lu_find(w->c, "file:/a", &id), -ENOENT);
	assert_int_equal(catalog_lu_identities(w->c, r, 2, 1, &failed), 0);
	assert_true(r[0].identity.fresh && r[1].identity.fresh);
	assert_memory_not_equal(r[0].identity.uuid, r[1].identity.uuid, 16);
	assert_int_equal(catalog_lu_find(w->c, "file:/a", &id), 0);
	assert_memory_equal(id.uuid, r[0].identity.uuid, 16);
	assert_int_equal(id.size_bytes, 1);
}

/* ---- intents ---------------------------------------------------------------------------------------------- */

static void
intents_outlive_the_process(void **state)
{
	struct world *w = *state;
	struct catalog_intent *list, i = {.kind = CATALOG_CREATE, .size_bytes = 4096};
	unsigned count;
	snprintf(i.path, sizeof i.path, "/srv/a.img");
	assert_int_equal(catalog_intent_put(w->c, &i), 0);
	i.size_bytes = 8192; /* of the same path: instead */
	assert_int_equal(catalog_intent_put(w->c, &i), 0);
	memset(i.path, 'x', 3000); /* longer than a key may be */
	i.path[0] = '/';
	i.path[3000] = '\0';
	assert_int_equal(catalog_intent_put(w->c, &i), 0);
	reopen(w);
	assert_int_equal(catalog_intent_list(w->c, &list, &count), 0);
	assert_int_equal(count, 2);
	for (unsigned k = 0; k < count; k++) {
		assert_int_equal(list[k].kind, CATALOG_CREATE);
		assert_int_equal(list[k].size_bytes, 8192);
		assert_int_equal(catalog_intent_clear(w->c, list[k].path), 0);
	}
	free(list);
	assert_int_equal(catalog_intent_clear(w->c, "/srv/a.img"), -ENOENT);
	assert_int_equal(catalog_intent_list(w->c, &list, &count), 0);
	assert_int_equal(count, 0);
	free(list);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(numbers_are_kept),
	    T(a_name_of_both_kinds_has_two_numbers),
	    T(looking_writes_nothing),
	    T(numbers_of_the_past_are_given_when_no_other_is_left),
	    T(one_too_many_is_named),
	    T(identities_of_many_are_all_or_none),
	    T(intents_outlive_the_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
