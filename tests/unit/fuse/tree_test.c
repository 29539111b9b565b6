/* SPDX-License-Identifier: BSD-2-Clause */
/* Names, what there is, and what may be written to control files. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/terrace_fuse.h"

static void
names_are_file_names(void **state)
{
	static const struct {
		const char *name, *file;
	} rows[] = {
	    {"vmfs1", "vmfs1"},
	    {"iqn.2026-11.com.example:a", "iqn.2026-11.com.example:a"},
	    {"a/b", "a%2Fb"},
	    {"100%", "100%25"},
	    {"..", "%2E."},
	    {".hidden", "%2Ehidden"},
	    {"a\nb", "a%0Ab"},
	    {"", "%"},
	    {"gr\xc3\xb6\xc3\x9f", "gr\xc3\xb6\xc3\x9f"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *file = file_name_of(rows[i].name);
		assert_string_equal(file, rows[i].file);
		free(file);
	}
}

/* Long lists by an index, short ones without. */
static void
objects_are_found_by_name(void **state)
{
	json_t *list[2] = {json_array(), json_array()}; /* 5 and 500 long */

	(void)state;
	for (unsigned l = 0; l < 2; l++) {
		json_array_append_new(list[l], json_integer(7));
		json_array_append_new(list[l], json_pack("{s:i}", "name", 5));
		for (int i = 0; i < (l == 0 ? 3 : 498); i++) {
			char name[32];
			snprintf(name, sizeof name, "lun%d", i % 490); /* some twice */
			json_array_append_new(list[l],
			    json_pack("{s:s, s:i, s:s}", "name", name, "at", i, "of", "x"));
		}
	}
	for (unsigned round = 0; round < 4; round++) {
		json_t *one = list[round % 2];
		assert_int_equal(json_number(json_find(one, "name", "lun2"), "at", -1), 2);
		assert_null(json_find(one, "name", "lun"));
		assert_null(json_find(one, "name", ""));
		assert_int_equal(json_number(json_find(one, "of", "x"), "at", -1), 0);
	}
	assert_int_equal(json_number(json_find(list[1], "name", "lun489"), "at", -1), 489);
	assert_int_equal(json_number(json_find(list[1], "name", "lun5"), "at", -1), 5);
	assert_null(json_find(list[0], "name", "lun489"));
	/* Another list, maybe where the one was. */
	json_decref(list[1]);
	list[1] = json_array();
	for (int i = 0; i < 500; i++)
		json_array_append_new(
		    list[1], json_pack("{s:s, s:i}", "name", i == 77 ? "lun5" : "-", "at", i));
	assert_int_equal(json_number(json_find(list[1], "name", "lun5"), "at", -1), 77);
	assert_null(json_find(NULL, "name", "x"));
	json_forget_list();
	json_decref(list[0]);
	json_decref(list[1]);
}

static void
a_listing_has_only_what_is_looked_for(void **state)
{
	struct listing all = {0}, one = {.only = "b"}, odd = {.only = "x%2Fy"};
	char longest[400];

	(void)state;
	memset(longest, 'l', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	struct listing *const each[] = {&all, &one, &odd};
	for (unsigned i = 0; i < 3; i++) {
		listing_add(each[i], "a", NULL);
		listing_add(each[i], "b", "%s/%s", "../up", "to");
		listing_add(each[i], "x/y", NULL);
		listing_add(each[i], longest, NULL); /* no file has that name */
		assert_false(each[i]->failed);
	}
	assert_int_equal(all.count, 3);
	assert_int_equal(one.count, 1);
	assert_string_equal(listing_find(&one, "b")->target, "../up/to");
	assert_null(listing_find(&all, longest));
	assert_string_equal(listing_find(&odd, "x%2Fy")->real, "x/y");
	for (unsigned i = 0; i < 3; i++)
		listing_fini(each[i]);
}

static const struct entry *
row(const struct entry *dir, const char *name)
{
	for (unsigned i = 0; i < dir->row_count; i++)
		if (strcmp(dir->rows[i].name, name) == 0)
			return &dir->rows[i];
	return NULL;
}

static void
nodes_are_places(void **state)
{
	struct tree *t;
	const struct list_item item = {
	    .name = (char *)(uintptr_t) "a", .real = (char *)(uintptr_t) "a"};

	(void)state;
	assert_int_equal(tree_create(&t), 0);
	struct node *luns = tree_node(t, tree_top(t), row(&tree_root, "luns"), NULL);
	struct node *a = tree_node(t, luns, luns->entry->object, &item);
	struct node *image = tree_node(t, a, row(a->entry, "image"), NULL);
	assert_ptr_equal(tree_node(t, a, row(a->entry, "image"), NULL), image);
	assert_string_equal(node_object(image), "a");
	assert_string_equal(node_object(luns), "");
	assert_int_equal(tree_count(t), 4);
	uint64_t ino = image->ino;
	image->lookups = 2;
	tree_put(t, image); /* the kernel knows of it */
	assert_int_equal(tree_count(t), 4);
	image->lookups = 0;
	tree_put(t, image); /* with the folders that only it needed */
	assert_int_equal(tree_count(t), 1);
	luns = tree_node(t, tree_top(t), row(&tree_root, "luns"), NULL);
	a = tree_node(t, luns, luns->entry->object, &item);
	image = tree_node(t, a, row(a->entry, "image"), NULL);
	assert_true(image->ino == ino);
	tree_destroy(t);
}

/* Every row has what its type needs, and no name twice. */
static void
check_rows(const struct entry *e)
{
	assert_true((e->rows != NULL) + (e->list != NULL) <= 1);
	for (unsigned i = 0; i < e->row_count; i++) {
		const struct entry *r = &e->rows[i];
		assert_ptr_equal(row(e, r->name), r);
		assert_true((r->type == NODE_TEXT) == (r->recipe != NULL));
		if (r->recipe != NULL)
			assert_non_null(r->recipe->render);
		if (r->recipe != NULL && r->recipe->paged != NULL)
			assert_non_null(strchr(r->recipe->methods[0], ' '));
		if (r->type == NODE_DIR)
			check_rows(r);
	}
	if (e->list != NULL) {
		assert_non_null(e->methods[0]);
		assert_null(e->object->name);
		check_rows(e->object);
	}
}

static void
the_table_is_whole(void **state)
{
	(void)state;
	check_rows(&tree_root);
}

static void
verbs_are_one_line(void **state)
{
	static const struct {
		const char *line;
		int rc;
		const char *method;
	} rows[] = {
	    {"flush", 0, "cache.flush"},
	    {"flush\n", 0, "cache.flush"},
	    {" evict \n", 0, "cache.evict"},
	    {"", -EINVAL, NULL},
	    {"\n", -EINVAL, NULL},
	    {"flush\nevict\n", -EINVAL, NULL},
	    {"flush now", -EINVAL, NULL},
	    {"evict 1GiB", -EINVAL, NULL},
	    {"evict 1GiB+64MiB 4096+512", -EINVAL, NULL},
	    {"evict 9223372036854775807+1", -EINVAL, NULL},
	    {"evict 0000000000000000000000000000000000000000000000000000000000000000+1", -EINVAL,
	        NULL},
	    {"flushflushflushflushflush", -EINVAL, NULL},
	    {"\001\xff", -EINVAL, NULL},
	};
	(void)state;
	for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
		struct verb v;
		char reason[200] = "";
		bool cache = i % 2 == 1;
		int rc = verb_parse(rows[i / 2].line, strlen(rows[i / 2].line), cache, "it", &v,
		    reason, sizeof reason);
		assert_int_equal(rc, rows[i / 2].rc);
		assert_true((rc < 0) == (reason[0] != '\0'));
		if (rc < 0)
			continue;
		assert_string_equal(v.method, rows[i / 2].method);
		assert_string_equal(json_text(v.params, cache ? "cache" : "lun"), "it");
		json_decref(v.params);
	}
}

static void
a_verb_may_have_a_range(void **state)
{
	struct verb v;
	char reason[200] = "";
	const char line[] = "evict  1GiB+64MiB\n", hidden[] = "evict 1+1\0";
	(void)state;
	assert_int_equal(verb_parse(line, strlen(line), false, "it", &v, reason, sizeof reason), 0);
	assert_string_equal(v.method, "cache.evict");
	assert_int_equal(json_number(v.params, "from", -1), 1 << 30);
	assert_int_equal(json_number(v.params, "bytes", -1), 64 << 20);
	json_decref(v.params);
	/* A cache's LUNs have no common places; and no byte is skipped. */
	assert_int_equal(
	    verb_parse(line, strlen(line), true, "it", &v, reason, sizeof reason), -EINVAL);
	assert_int_equal(
	    verb_parse(hidden, sizeof hidden, false, "it", &v, reason, sizeof reason), -EINVAL);
}

static void
text_grows(void **state)
{
	struct text t = {0};
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		text_add(&t, "%u\n", i);
	assert_false(t.failed);
	assert_int_equal(t.len, strlen(t.p));
	assert_int_equal(t.len, 3890);
	free(t.p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_file_names),
	    cmocka_unit_test(objects_are_found_by_name),
	    cmocka_unit_test(a_listing_has_only_what_is_looked_for),
	    cmocka_unit_test(nodes_are_places),
	    cmocka_unit_test(the_table_is_whole),
	    cmocka_unit_test(verbs_are_one_line),
	    cmocka_unit_test(a_verb_may_have_a_range),
	    cmocka_unit_test(text_grows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
