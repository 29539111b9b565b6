/* SPDX-License-Identifier: BSD-2-Clause */
/* What holds between objects: names, references, stores, identities. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"

/* ---- positions --------------------------------------------------------------------------------- */

const struct conf_node *
conf_find(const struct conf_node *block, const char *key)
{
	for (unsigned i = 0; i < block->child_count; i++)
		if (strcmp(block->children[i]->words[0], key) == 0)
			return block->children[i];
	return NULL;
}

struct conf_pos
conf_value_pos(const struct conf_node *block, const char *key, unsigned n)
{
	for (unsigned i = 0; i < block->child_count; i++) {
		const struct conf_node *s = block->children[i];
		if (strcmp(s->words[0], key) != 0 || s->has_block)
			continue;
		if (n + 1 < s->word_count)
			return s->word_pos[n + 1];
		n -= s->word_count - 1;
	}
	return block->pos;
}

struct conf_pos
conf_name_pos(const struct conf_node *block)
{
	return block->word_count > 1 ? block->word_pos[1] : block->pos;
}

const char *
conf_show_place(struct conf_place *buf, const struct conf_pos *pos, const struct conf_pos *from)
{
	if (pos->file == from->file)
		snprintf(buf->text, sizeof buf->text, "line %u", pos->line);
	else
		snprintf(buf->text, sizeof buf->text, "%s:%u", CONF_SHOW(pos->file), pos->line);
	return buf->text;
}

/* ---- entries ------------------------------------------------------------------------------------- */

bool
conf_entries_init(struct conf_checker *c, struct conf_entries *e, unsigned cap)
{
	*e = (struct conf_entries){.list = calloc(cap + 1u, sizeof *e->list)};
	if (e->list == NULL)
		c->no_memory = true;
	return e->list != NULL;
}

void
conf_entries_fini(struct conf_entries *e)
{
	free(e->list);
	*e = (struct conf_entries){0};
}

void
conf_entries_add(struct conf_entries *e, struct conf_entry x)
{
	if (x.text != NULL && x.text[0] != '\0')
		e->list[e->count++] = x;
}

static int
compare_entries(const void *a, const void *b)
{
	const struct conf_entry *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	if (order != 0)
		return order;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

static struct conf_pos
entry_pos(const struct conf_entry *x)
{
	return x->key == NULL ? conf_name_pos(x->node) : conf_value_pos(x->node, x->key, x->n);
}

void
conf_entries_sort(struct conf_entries *e)
{
	qsort(e->list, e->count, sizeof *e->list, compare_entries);
}

void
conf_entries_once(struct conf_checker *c, struct conf_entries *e, const char *what)
{
	const struct conf_entry *first = NULL;
	struct conf_place place;

	conf_entries_sort(e);
	for (unsigned i = 0; i < e->count; i++) {
		const struct conf_entry *x = &e->list[i];
		if (first == NULL || strcmp(first->text, x->text) != 0) {
			first = x;
			continue;
		}
		/* The search for the place isn't for errors that nobody will see. */
		bool shown = c->errors->count < CONF_ERRORS_MAX;
		struct conf_pos pos = shown ? entry_pos(x) : x->node->pos;
		struct conf_pos first_pos = shown ? entry_pos(first) : first->node->pos;
		conf_errors_add(c->errors, &pos, "%s '%s' is there already (%s)", what,
		    CONF_SHOW(x->text), conf_show_place(&place, &first_pos, &pos));
	}
}

static const char *
nearest(const struct conf_entries *e, const char *text)
{
	const char **words = calloc(e->count + 1u, sizeof *words);
	if (words == NULL)
		return NULL;
	for (unsigned i = 0; i < e->count; i++)
		words[i] = e->list[i].text;
	const char *near = text_nearest(text, words);
	free(words);
	return near;
}

const struct conf_entry *
conf_entries_find(const struct conf_entries *e, const char *text)
{
	unsigned from = 0, to = e->count;

	while (from < to) {
		unsigned mid = from + (to - from) / 2;
		if (strcmp(e->list[mid].text, text) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from < e->count && strcmp(e->list[from].text, text) == 0 ? &e->list[from] : NULL;
}

void
conf_entries_missing(struct conf_checker *c, const struct conf_entries *e, const char *text,
    const struct conf_pos *pos, const char *what)
{
	const char *near = c->errors->count < CONF_ERRORS_MAX ? nearest(e, text) : NULL;
	conf_errors_add(c->errors, pos, "there is no %s '%s'%s%s%s", what, CONF_SHOW(text),
	    near != NULL ? "; did you mean '" : "", near != NULL ? CONF_SHOW(near) : "",
	    near != NULL ? "'?" : "");
}

/* ---- luns ------------------------------------------------------------------------------------------ */

static bool
is_memory(const char *store)
{
	return strcmp(store, "ram:") == 0 || strcmp(store, "null:") == 0;
}

/* "file:/x", "block:/x" and "/x" are one store. */
static const char *
store_path(const char *store)
{
	if (strncmp(store, "file:/", 6) == 0)
		return store + 5;
	return strncmp(store, "block:/", 7) == 0 ? store + 6 : store;
}

static void
check_lun(struct conf_checker *c, const struct conf_lun *l)
{
	if (l->size_bytes % l->block_size != 0) {
		struct conf_pos pos = conf_value_pos(l->node, "size", 0);
		conf_errors_add(c->errors, &pos, "the size is no multiple of the block size, %u",
		    l->block_size);
	}
	if (l->store != NULL && is_memory(l->store) && conf_find(l->node, "size") == NULL) {
		struct conf_pos pos = conf_value_pos(l->node, "store", 0);
		conf_errors_add(
		    c->errors, &pos, "%s needs a size: add size SIZE, as in size 1GiB", l->store);
	}
}

/* `stores` has what the SSDs are already. */
static void
check_caches(struct conf_checker *c)
{
	const struct conf *conf = c->conf;
	struct conf_entries ssds;

	if (!conf_entries_init(c, &ssds, conf->cache_count))
		return;
	for (unsigned i = 0; i < conf->cache_count; i++) {
		const struct conf_cache *x = &conf->caches[i];
		conf_entries_add(
		    &c->caches, (struct conf_entry){.text = x->name, .node = x->node, .order = i});
		bool has_ram = x->ram_bytes > CONF_RAM_NONE;
		if (x->ssd == NULL && (!has_ram || x->size_bytes != 0))
			conf_errors_add(c->errors, &x->pos, "%s",
			    !has_ram
			        ? "a cache needs an SSD, memory, or both: add ssd STORE or ram SIZE"
			        : "size is the SSD's, and there is none: add ssd STORE, or say ram "
			          "SIZE only");
		if (x->ssd == NULL && x->index_bytes != 0) {
			struct conf_pos pos = conf_value_pos(x->node, "index", 0);
			conf_errors_add(c->errors, &pos,
			    "index is of what is on the SSD, and there is none: add ssd STORE, or "
			    "remove it");
		}
		if (x->ssd == NULL)
			continue;
		if (is_memory(x->ssd)) {
			struct conf_pos pos = conf_value_pos(x->node, "ssd", 0);
			conf_errors_add(c->errors, &pos,
			    "a cache keeps what was acknowledged, memory doesn't: give a device or "
			    "a "
			    "file on an SSD");
		}
		conf_entries_add(&ssds,
		    (struct conf_entry){
		        .text = store_path(x->ssd), .node = x->node, .key = "ssd", .order = i});
	}
	conf_entries_once(c, &c->caches, "cache");
	conf_entries_once(c, &ssds, "ssd");
	conf_entries_fini(&ssds);
}

/* The cache of a LUN, and what needs one. */
static void
check_lun_cache(struct conf_checker *c, const struct conf_lun *l)
{
	bool missing = false;
	if (l->cache != NULL && l->cache[0] != '\0') {
		struct conf_pos pos = conf_value_pos(l->node, "cache", 0);
		const struct conf_entry *e = conf_entries_find(&c->caches, l->cache);
		missing = e == NULL;
		if (e == NULL)
			conf_entries_missing(c, &c->caches, l->cache, &pos, "cache");
		else
			c->cache_used[e->order] = true;
		if (l->read_only && l->has_ssd)
			conf_errors_add(c->errors, &pos,
			    "a LUN that is read only needs no cache, whose data couldn't go to its "
			    "store: take cache or read_only away");
	}
	if (!l->has_ssd && l->mode == CONF_MODE_NV && !missing) {
		struct conf_pos pos = conf_value_pos(l->node, "mode", 0);
		conf_errors_add(c->errors, &pos,
		    "mode nv means durable on the SSD of a cache, and this LUN has none: add cache "
		    "NAME of one with an SSD, or say mode writethrough");
	}
	for (unsigned i = 0; l->store != NULL && i < c->conf->cache_count; i++) {
		const struct conf_cache *x = &c->conf->caches[i];
		if (x->ssd == NULL || strcmp(store_path(x->ssd), store_path(l->store)) != 0)
			continue;
		struct conf_pos pos = conf_value_pos(l->node, "store", 0);
		conf_errors_add(c->errors, &pos,
		    "%s is the SSD of cache '%s': give the LUN another store", CONF_SHOW(l->store),
		    CONF_SHOW(x->name));
	}
}

static const struct {
	const char *key, *what;
	size_t offset;
} identities[] = {
    {"uuid", "uuid", offsetof(struct conf_lun, uuid)},
    {"naa", "naa", offsetof(struct conf_lun, naa)},
    {"eui64", "eui64", offsetof(struct conf_lun, eui64)},
    {"serial", "serial", offsetof(struct conf_lun, serial)},
    {"t10_id", "t10_id", offsetof(struct conf_lun, t10_id)},
};

static void
check_identities(struct conf_checker *c)
{
	const struct conf *conf = c->conf;
	struct conf_entries e;

	for (unsigned k = 0; k < sizeof identities / sizeof identities[0]; k++) {
		if (!conf_entries_init(c, &e, conf->lun_count))
			return;
		for (unsigned i = 0; i < conf->lun_count; i++) {
			const char *text;
			memcpy(&text, (const char *)&conf->luns[i] + identities[k].offset,
			    sizeof text);
			if (text != NULL && text == conf->luns[i].naa && strcmp(text, "none") == 0)
				continue;
			conf_entries_add(&e, (struct conf_entry){.text = text,
			                         .node = conf->luns[i].node,
			                         .key = identities[k].key,
			                         .order = i});
		}
		conf_entries_once(c, &e, identities[k].what);
		conf_entries_fini(&e);
	}
}

static void
check_luns(struct conf_checker *c)
{
	const struct conf *conf = c->conf;
	struct conf_entries stores;

	if (!conf_entries_init(c, &stores, conf->lun_count))
		return;
	for (unsigned i = 0; i < conf->lun_count; i++) {
		const struct conf_lun *l = &conf->luns[i];
		check_lun(c, l);
		check_lun_cache(c, l);
		conf_entries_add(
		    &c->luns, (struct conf_entry){.text = l->name, .node = l->node, .order = i});
		if (l->store != NULL && !is_memory(l->store))
			conf_entries_add(&stores, (struct conf_entry){.text = store_path(l->store),
			                              .node = l->node,
			                              .key = "store",
			                              .order = i});
	}
	conf_entries_once(c, &c->luns, "lun");
	conf_entries_once(c, &stores, "store");
	conf_entries_fini(&stores);
	check_identities(c);
}

/* ---- portals ----------------------------------------------------------------------------------------- */

static unsigned
listen_total(const struct conf *conf)
{
	unsigned total = 0;
	for (unsigned i = 0; i < conf->portal_count; i++)
		total += conf->portals[i].listen_count;
	return total;
}

/* Port 0 is another one each time. */
static bool
any_port(const char *listen)
{
	size_t len = strlen(listen);
	return len >= 2 && strcmp(listen + len - 2, ":0") == 0;
}

static void
check_portals(struct conf_checker *c)
{
	const struct conf *conf = c->conf;
	struct conf_entries addresses;

	if (!conf_entries_init(c, &addresses, listen_total(conf)))
		return;
	for (unsigned i = 0; i < conf->portal_count; i++) {
		const struct conf_portal *p = &conf->portals[i];
		conf_entries_add(
		    &c->portals, (struct conf_entry){.text = p->name, .node = p->node, .order = i});
		for (unsigned k = 0; k < p->listen_count; k++)
			if (!any_port(p->listen[k]))
				conf_entries_add(
				    &addresses, (struct conf_entry){.text = p->listen[k],
				                    .node = p->node,
				                    .key = "listen",
				                    .n = k,
				                    .order = i});
	}
	conf_entries_once(c, &c->portals, "portal");
	conf_entries_once(c, &addresses, "address");
	conf_entries_fini(&addresses);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* Relative port identifiers are 16 bits, 64 a target. */
#define TARGETS_MAX 1023u

static void
check_targets(struct conf_checker *c)
{
	const struct conf *conf = c->conf;
	struct conf_entries names;

	if (!conf_entries_init(c, &names, conf->target_count))
		return;
	for (unsigned i = 0; i < conf->target_count; i++) {
		const struct conf_target *t = &conf->targets[i];
		conf_entries_add(
		    &names, (struct conf_entry){.text = t->name, .node = t->node, .order = i});
		conf_check_target(c, t);
	}
	conf_entries_once(c, &names, "target");
	conf_entries_fini(&names);
	if (conf->target_count > TARGETS_MAX)
		conf_errors_add(c->errors, &conf->targets[TARGETS_MAX].pos,
		    "too many targets: at most %u", TARGETS_MAX);
}

/* Those of the top level whose target isn't there: what is wrong in them is told nevertheless. */
static void
check_homeless(struct conf_checker *c)
{
	for (unsigned i = 0; i < c->conf->group_count; i++)
		conf_check_group_luns(c, &c->conf->groups[i]);
	for (unsigned i = 0; i < c->conf->chap_count; i++)
		conf_check_chaps(c, &c->conf->chaps[i], 1);
}

static int
compare_hooks(const void *a, const void *b)
{
	const struct conf_hook *x = *(const struct conf_hook *const *)a,
	                       *y = *(const struct conf_hook *const *)b;
	int order = strcmp(x->event, y->event);

	order = order != 0 ? order : strcmp(x->path, y->path);
	return order != 0 ? order : x < y ? -1 : x > y; /* both are in one array */
}

static void
check_hooks(struct conf_checker *c)
{
	const struct conf *conf = c->conf;
	const struct conf_hook **sorted = calloc(conf->hook_count + 1u, sizeof *sorted);
	struct conf_place place;

	if (sorted == NULL) {
		c->no_memory = true;
		return;
	}
	for (unsigned i = 0; i < conf->hook_count; i++)
		sorted[i] = &conf->hooks[i];
	qsort(sorted, conf->hook_count, sizeof *sorted, compare_hooks);
	for (unsigned i = 1; i < conf->hook_count; i++)
		if (strcmp(sorted[i]->event, sorted[i - 1]->event) == 0 &&
		    strcmp(sorted[i]->path, sorted[i - 1]->path) == 0)
			conf_errors_add(c->errors, &sorted[i]->pos,
			    "this hook is there already (%s)",
			    conf_show_place(&place, &sorted[i - 1]->pos, &sorted[i]->pos));
	free(sorted);
}

/* What is described and leads nowhere. Not said beside errors, which may be the reason. */
static void
remark_unused(struct conf_checker *c)
{
	const struct conf *conf = c->conf;

	if (c->errors->wrong > 0)
		return;
	for (unsigned i = 0; i < conf->cache_count; i++)
		if (!c->cache_used[i])
			conf_errors_remark(c->errors, &conf->caches[i].pos,
			    "no lun uses cache '%s': add cache %s to one", conf->caches[i].name,
			    conf->caches[i].name);
	for (unsigned i = 0; i < conf->lun_count; i++)
		if (!c->lun_used[i])
			conf_errors_remark(c->errors, &conf->luns[i].pos,
			    "no target shows lun '%s': add lun N %s to a group", conf->luns[i].name,
			    conf->luns[i].name);
	for (unsigned i = 0; i < conf->portal_count; i++)
		if (!c->portal_used[i])
			conf_errors_remark(c->errors, &conf->portals[i].pos,
			    "no target is on portal '%s': add portals %s to one",
			    conf->portals[i].name, conf->portals[i].name);
}

int
conf_check(const struct conf *conf, struct conf_errors *errors)
{
	struct conf_checker c = {.conf = conf, .errors = errors};

	c.cache_used = calloc(conf->cache_count + 1u, sizeof *c.cache_used);
	c.lun_used = calloc(conf->lun_count + 1u, sizeof *c.lun_used);
	c.portal_used = calloc(conf->portal_count + 1u, sizeof *c.portal_used);
	if (c.cache_used == NULL || c.lun_used == NULL || c.portal_used == NULL)
		c.no_memory = true;
	if (!c.no_memory && conf_entries_init(&c, &c.caches, conf->cache_count) &&
	    conf_entries_init(&c, &c.luns, conf->lun_count) &&
	    conf_entries_init(&c, &c.portals, conf->portal_count)) {
		check_caches(&c);
		check_luns(&c);
		check_portals(&c);
		check_targets(&c);
		check_homeless(&c);
		check_hooks(&c);
		conf_check_chaps(&c, conf->discovery_chaps, conf->discovery_chap_count);
		remark_unused(&c);
	}
	conf_entries_fini(&c.caches);
	conf_entries_fini(&c.luns);
	conf_entries_fini(&c.portals);
	free(c.cache_used);
	free(c.lun_used);
	free(c.portal_used);
	return c.no_memory ? -ENOMEM : 0;
}
