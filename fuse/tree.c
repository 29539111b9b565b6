/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree: which files and folders there are. What never changes is a table; objects (LUNs, sessions, …)
 * are what the daemon's lists say at the moment. Nodes are what the kernel has asked for.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/terrace_fuse.h"

#define BUCKETS 4096u
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define DIR_MODE 0750
#define TEXT_MODE 0440
#define IMAGE_MODE 0400 /* what is written to may be more, see ops.c */
#define CONTROL_MODE 0620

/* ---- names -------------------------------------------------------------------------------------------- */

char *
file_name_of(const char *name)
{
	char *out = malloc(3 * strlen(name) + 4), *p = out;

	if (out == NULL)
		return NULL;
	for (const char *s = name; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '/' || c == '%' || c < 0x20 || c == 0x7f || (c == '.' && s == name))
			p += sprintf(p, "%%%02X", c);
		else
			*p++ = *s;
	}
	if (p == out) /* nothing has this name */
		*p++ = '%';
	*p = '\0';
	return out;
}

void
listing_add(struct listing *l, const char *name, const char *target_fmt, ...)
{
	if (l->only != NULL && strcmp(l->only, name) != 0 && strchr(l->only, '%') == NULL)
		return;
	struct list_item item = {.name = file_name_of(name), .real = strdup(name)};

	if (target_fmt != NULL) {
		va_list ap;
		va_start(ap, target_fmt);
		if (vasprintf(&item.target, target_fmt, ap) < 0)
			item.target = NULL;
		va_end(ap);
	}
	bool bad =
	    item.name == NULL || item.real == NULL || (target_fmt != NULL && item.target == NULL);
	if (!bad && l->count == l->cap) {
		unsigned cap = l->cap > 0 ? 2 * l->cap : 16;
		void *items = reallocarray(l->items, cap, sizeof *l->items);
		bad = items == NULL;
		if (!bad) {
			l->items = items;
			l->cap = cap;
		}
	}
	/* No path has a name of that length. */
	if (bad || strlen(item.name) > NAME_MAX) {
		l->failed |= bad;
		free(item.name);
		free(item.real);
		free(item.target);
		return;
	}
	l->items[l->count++] = item;
}

const struct list_item *
listing_find(const struct listing *l, const char *name)
{
	for (unsigned i = 0; i < l->count; i++)
		if (strcmp(l->items[i].name, name) == 0)
			return &l->items[i];
	return NULL;
}

void
listing_fini(struct listing *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		free(l->items[i].name);
		free(l->items[i].real);
		free(l->items[i].target);
	}
	free(l->items);
	*l = (struct listing){0};
}

const char *
node_object(const struct node *n)
{
	while (n != NULL && n->entry->name != NULL)
		n = n->parent;
	return n != NULL ? n->name : "";
}

/* ---- objects in folders --------------------------------------------------------------------------------- */

static void
add_link(struct listing *l, const char *name, const char *up, const char *to)
{
	char *file = file_name_of(to);
	if (file != NULL)
		listing_add(l, name, "%s/%s", up, file);
	else
		l->failed = true;
	free(file);
}

static void
list_names(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	size_t i;
	json_t *o;

	(void)dir;
	/* What is looked for is nearly always written as it is. */
	if (ret->only != NULL && strchr(ret->only, '%') == NULL) {
		if (json_find(answers[0], "name", ret->only) != NULL)
			listing_add(ret, ret->only, NULL);
		return;
	}
	json_array_foreach(answers[0], i, o) listing_add(ret, json_text(o, "name"), NULL);
}

static bool
is_of(const json_t *o, const char *key, const char *value)
{
	return strcmp(json_text(o, key), value) == 0;
}

static void
list_groups(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	size_t i;
	json_t *o;

	json_array_foreach(answers[0], i, o) if (is_of(o, "target", node_object(dir)))
	    listing_add(ret, json_text(o, "name"), NULL);
}

static void
list_mappings(const json_t *luns, const char *up, struct listing *ret)
{
	size_t i;
	json_t *m;

	json_array_foreach(luns, i, m)
	{
		char number[32];
		snprintf(number, sizeof number, "%lld", (long long)json_number(m, "number", 0));
		add_link(ret, number, up, json_text(m, "lun"));
	}
}

/* targets/T/groups/G/luns */
static void
list_group_luns(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	const struct node *group = dir->parent, *target = group->parent->parent;
	size_t i;
	json_t *o;

	json_array_foreach(
	    answers[0], i, o) if (is_of(o, "target", target->name) && is_of(o, "name", group->name))
	    list_mappings(json_object_get(o, "luns"), "../../../../../luns", ret);
}

/* targets/T/luns: of an open target */
static void
list_target_luns(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	const json_t *target = json_find(answers[0], "name", node_object(dir));
	if (json_is_true(json_object_get(target, "open")))
		list_mappings(json_object_get(target, "luns"), "../../../luns", ret);
}

static void
tsih_of(const json_t *session, char buf[32])
{
	snprintf(buf, 32, "%lld", (long long)json_number(session, "tsih", 0));
}

static void
list_sessions(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	size_t i;
	json_t *o;
	char tsih[32];

	(void)dir;
	json_array_foreach(answers[0], i, o)
	{
		tsih_of(o, tsih);
		listing_add(ret, tsih, NULL);
	}
}

static void
list_target_sessions(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	size_t i;
	json_t *o;
	char tsih[32];

	json_array_foreach(answers[0], i, o)
	{
		tsih_of(o, tsih);
		if (is_of(o, "target", node_object(dir)))
			add_link(ret, tsih, "../../../sessions", tsih);
	}
}

static void
list_cache_luns(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	size_t i;
	json_t *o;

	json_array_foreach(answers[0], i, o) if (is_of(o, "cache", node_object(dir)))
	    add_link(ret, json_text(o, "name"), "../../../luns", json_text(o, "name"));
}

static bool
maps(json_t *luns, const char *lun)
{
	return json_find(luns, "lun", lun) != NULL;
}

/* Sessions whose group, or open target, shows the LUN. Answers: sessions, targets, groups. */
static void
list_lun_sessions(const struct node *dir, json_t *const *answers, struct listing *ret)
{
	const char *lun = node_object(dir);
	size_t i, k;
	json_t *o, *g;
	char tsih[32];

	json_array_foreach(answers[0], i, o)
	{
		const char *target = json_text(o, "target"), *group = json_text(o, "group");
		bool sees = false;
		if (target[0] != '\0' && group[0] == '\0')
			sees = maps(
			    json_object_get(json_find(answers[1], "name", target), "luns"), lun);
		else if (group[0] != '\0')
			json_array_foreach(answers[2], k, g) sees =
			    sees || (is_of(g, "target", target) && is_of(g, "name", group) &&
			                maps(json_object_get(g, "luns"), lun));
		tsih_of(o, tsih);
		if (sees)
			add_link(ret, tsih, "../../../sessions", tsih);
	}
}

/* ---- the table --------------------------------------------------------------------------------------------- */

/* clang-format off */
#define TEXT(name_, recipe_) {.name = name_, .type = NODE_TEXT, .mode = TEXT_MODE, .recipe = &recipe_}
#define DIRECTORY(name_, rows_) {.name = name_, .type = NODE_DIR, .mode = DIR_MODE, .rows = rows_, .row_count = COUNT(rows_)}
#define OBJECTS(name_, list_, object_, ...) \
	{.name = name_, .type = NODE_DIR, .mode = DIR_MODE, .list = list_, .object = &object_, .methods = {__VA_ARGS__}}
#define OBJECT(rows_) {.name = NULL, .type = NODE_DIR, .mode = DIR_MODE, .rows = rows_, .row_count = COUNT(rows_)}

static const struct entry link_object = {.name = NULL, .type = NODE_LINK, .mode = 0777};

static const struct entry session_rows[] = {
    TEXT("initiator", recipe_session_initiator),
    TEXT("address", recipe_session_address),
    TEXT("parameters", recipe_session_parameters),
    TEXT("stats", recipe_session_stats),
};
static const struct entry session_object = OBJECT(session_rows);

static const struct entry group_rows[] = {
    TEXT("initiators", recipe_group_initiators),
    OBJECTS("luns", list_group_luns, link_object, "group.list"),
};
static const struct entry group_object = OBJECT(group_rows);

static const struct entry target_rows[] = {
    TEXT("portals", recipe_target_portals),
    OBJECTS("groups", list_groups, group_object, "group.list"),
    OBJECTS("luns", list_target_luns, link_object, "target.list"),
    OBJECTS("sessions", list_target_sessions, link_object, "session.list"),
};
static const struct entry target_object = OBJECT(target_rows);

static const struct entry cache_rows[] = {
    TEXT("state", recipe_cache_state),
    TEXT("status", recipe_cache_status),
    TEXT("stats.json", recipe_cache_stats_json),
    TEXT("segments", recipe_cache_segments),
    OBJECTS("luns", list_cache_luns, link_object, LUN_LIST),
    {.name = "control", .type = NODE_CONTROL, .mode = CONTROL_MODE},
};
static const struct entry cache_object = OBJECT(cache_rows);

static const struct entry lun_rows[] = {
    {.name = "image", .type = NODE_IMAGE, .mode = IMAGE_MODE},
    TEXT("stats", recipe_lun_stats),
    TEXT("stats.json", recipe_lun_stats_json),
    TEXT("size", recipe_lun_size),
    TEXT("uuid", recipe_lun_uuid),
    TEXT("naa", recipe_lun_naa),
    TEXT("mode", recipe_lun_mode),
    TEXT("profile", recipe_lun_profile),
    TEXT("state", recipe_lun_state),
    TEXT("store", recipe_lun_store),
    TEXT("dirty_bytes", recipe_lun_dirty_bytes),
    TEXT("latency.svg", recipe_lun_latency),
    TEXT("heatmap.svg", recipe_lun_heatmap),
    TEXT("config", recipe_lun_config),
    TEXT("cache", recipe_lun_cache),
    TEXT("reservations", recipe_lun_reservations),
    OBJECTS("sessions", list_lun_sessions, link_object, "session.list", "target.list", "group.list"),
    TEXT("dirty", recipe_lun_dirty),
    {.name = "control", .type = NODE_CONTROL, .mode = CONTROL_MODE},
};
static const struct entry lun_object = OBJECT(lun_rows);

static const struct entry root_rows[] = {
    TEXT("README", recipe_readme),
    TEXT("health", recipe_health),
    TEXT("version", recipe_version),
    TEXT("stats.json", recipe_stats_json),
    TEXT("metrics", recipe_metrics),
    TEXT("events", recipe_events),
    OBJECTS("targets", list_names, target_object, "target.list"),
    OBJECTS("sessions", list_sessions, session_object, "session.list"),
    OBJECTS("caches", list_names, cache_object, "cache.list"),
    OBJECTS("luns", list_names, lun_object, LUN_LIST),
};
const struct entry tree_root = DIRECTORY("", root_rows);
/* clang-format on */

/* ---- nodes --------------------------------------------------------------------------------------------------- */

struct tree {
	struct node *top;
	unsigned count;
	struct list buckets[BUCKETS];
};

/* Of the path: FNV-1a over the parent's number and the name. */
static uint64_t
number_of(const struct node *parent, const char *name)
{
	uint64_t h = 14695981039346656037ull ^ (parent != NULL ? parent->ino : 0);
	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 1099511628211ull;
	h = (h ^ '/') * 1099511628211ull;
	return h < 2 ? 2 : h;
}

static struct node *
new_node(struct tree *t, struct node *parent, const struct entry *e, const char *name,
    const char *target)
{
	struct node *n = calloc(1, sizeof *n);
	if (n == NULL)
		return NULL;
	list_init(&n->link);
	n->entry = e;
	n->name = strdup(name);
	n->target = target != NULL ? strdup(target) : NULL;
	if (n->name == NULL || (target != NULL && n->target == NULL)) {
		free(n->name);
		free(n);
		return NULL;
	}
	n->parent = parent;
	n->ino = parent != NULL ? number_of(parent, name) : 1;
	if (parent != NULL)
		parent->users++;
	t->count++;
	return n;
}

int
tree_create(struct tree **ret)
{
	struct tree *t = calloc(1, sizeof *t);
	if (t == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&t->buckets[i]);
	t->top = new_node(t, NULL, &tree_root, "", NULL);
	if (t->top == NULL) {
		free(t);
		return -ENOMEM;
	}
	t->top->users = 1; /* stays */
	*ret = t;
	return 0;
}

static void
free_node(struct tree *t, struct node *n)
{
	list_remove(&n->link);
	free(n->name);
	free(n->target);
	free(n);
	t->count--;
}

void
tree_destroy(struct tree *t)
{
	if (t == NULL)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		LIST_FOREACH_SAFE (l, &t->buckets[i])
			free_node(t, container_of(l, struct node, link));
	free_node(t, t->top);
	free(t);
}

struct node *
tree_top(struct tree *t)
{
	return t->top;
}

struct node *
tree_node(struct tree *t, struct node *parent, const struct entry *e, const struct list_item *item)
{
	const char *name = item != NULL ? item->real : e->name;
	const char *target = item != NULL ? item->target : NULL;
	struct list *bucket = &t->buckets[number_of(parent, name) % BUCKETS];

	LIST_FOREACH (l, bucket) {
		struct node *n = container_of(l, struct node, link);
		bool same_target = (n->target == NULL) == (target == NULL) &&
		                   (target == NULL || strcmp(n->target, target) == 0);
		if (n->parent == parent && n->entry == e && strcmp(n->name, name) == 0 &&
		    same_target)
			return n;
	}
	struct node *n = new_node(t, parent, e, name, target);
	if (n != NULL)
		list_push_back(bucket, &n->link);
	return n;
}

void
tree_put(struct tree *t, struct node *n)
{
	while (n->users == 0 && n->lookups == 0) {
		struct node *parent = n->parent;
		ASSERT(parent != NULL && parent->users > 0);
		parent->users--;
		free_node(t, n);
		n = parent;
	}
}

unsigned
tree_count(const struct tree *t)
{
	return t->count;
}
