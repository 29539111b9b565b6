/* SPDX-License-Identifier: BSD-2-Clause */
/* The objects' end, and what is asked of them. */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static void
free_list(char **list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

static void
chaps_destroy(struct conf_chap *chaps, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(chaps[i].name);
		free(chaps[i].target);
		free(chaps[i].user);
		conf_wipe(chaps[i].secret);
		free(chaps[i].mutual_user);
		conf_wipe(chaps[i].mutual_secret);
	}
	free(chaps);
}

static void
group_luns_destroy(struct conf_group_lun *luns, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(luns[i].lun);
	free(luns);
}

static void
groups_destroy(struct conf_group *groups, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct conf_group *g = &groups[i];
		free(g->name);
		free(g->target);
		free_list(g->initiators, g->initiator_count);
		free_list(g->users, g->user_count);
		group_luns_destroy(g->luns, g->lun_count);
	}
	free(groups);
}

static void
caches_destroy(struct conf_cache *caches, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(caches[i].name);
		free(caches[i].ssd);
	}
	free(caches);
}

static void
luns_destroy(struct conf_lun *luns, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct conf_lun *l = &luns[i];
		free(l->name);
		free(l->store);
		free(l->cache);
		free(l->uuid);
		free(l->naa);
		free(l->eui64);
		free(l->serial);
		free(l->t10_id);
		free(l->vendor);
		free(l->product);
		free(l->revision);
	}
	free(luns);
}

static void
portals_destroy(struct conf_portal *portals, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(portals[i].name);
		free_list(portals[i].listen, portals[i].listen_count);
	}
	free(portals);
}

static void
targets_destroy(struct conf_target *targets, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct conf_target *t = &targets[i];
		groups_destroy(t->groups, t->group_count);
		free(t->name);
		free(t->alias);
		free(t->srp_id_ext);
		free(t->srp_ioc_guid);
		free_list(t->portals, t->portal_count);
		chaps_destroy(t->chaps, t->chap_count);
		group_luns_destroy(t->luns, t->lun_count);
		free_list(t->allow, t->allow_count);
		free_list(t->deny, t->deny_count);
	}
	free(targets);
}

void
conf_destroy(struct conf *c)
{
	if (c == NULL)
		return;
	caches_destroy(c->caches, c->cache_count);
	luns_destroy(c->luns, c->lun_count);
	portals_destroy(c->portals, c->portal_count);
	targets_destroy(c->targets, c->target_count);
	chaps_destroy(c->discovery_chaps, c->discovery_chap_count);
	groups_destroy(c->groups, c->group_count);
	chaps_destroy(c->chaps, c->chap_count);
	for (unsigned i = 0; i < c->hook_count; i++) {
		free(c->hooks[i].event);
		free(c->hooks[i].path);
	}
	free(c->hooks);
	free_list(c->allow, c->allow_count);
	free_list(c->deny, c->deny_count);
	free(c->state_dir);
	free(c->control);
	free(c->nbd);
	free(c->inspect);
	free(c->limits);
	free(c);
}

bool
conf_get_limit(const struct conf *c, const char *key, uint64_t *ret)
{
	for (unsigned i = 0; i < c->limit_count; i++) {
		if (strcmp(c->limits[i].key, key) == 0) {
			*ret = c->limits[i].value;
			return true;
		}
	}
	return false;
}

const char *
conf_owner_to_string(enum conf_owner o)
{
	static const char *const words[CONF_OWNER_COUNT] = {
	    [CONF_OWNER_COMMAND_LINE] = "command line",
	    [CONF_OWNER_ADMIN] = "administrator",
	    [CONF_OWNER_COMMANDS] = "commands",
	    [CONF_OWNER_RUNTIME] = "runtime",
	};
	ASSERT((unsigned)o < CONF_OWNER_COUNT);
	return words[o];
}

/* ---- modes ----------------------------------------------------------------------------------- */

const char *
conf_protocol_to_string(enum conf_protocol p)
{
	return p == CONF_PROTOCOL_SRP ? "srp" : "iscsi";
}

const char *
conf_mode_to_string(enum conf_mode m)
{
	static const char *const words[] = {
	    [CONF_MODE_DEFAULT] = "default",
	    [CONF_MODE_NV] = "nv",
	    [CONF_MODE_WRITETHROUGH] = "writethrough",
	    [CONF_MODE_VOLATILE] = "volatile",
	    [CONF_MODE_BYPASS] = "bypass",
	};
	ASSERT((unsigned)m < sizeof words / sizeof words[0]);
	return words[m];
}

const char *
conf_nbd_to_string(enum conf_nbd n)
{
	static const char *const words[] = {
	    [CONF_NBD_READ_ONLY] = "read_only", [CONF_NBD_RW] = "rw", [CONF_NBD_FORCE] = "force"};
	ASSERT((unsigned)n < sizeof words / sizeof words[0]);
	return words[n];
}

const char *
conf_profile_to_string(enum conf_profile p)
{
	static const char *const words[] = {
	    [CONF_PROFILE_VMWARE] = "vmware",
	    [CONF_PROFILE_WINDOWS] = "windows",
	    [CONF_PROFILE_DATABASE] = "database",
	    [CONF_PROFILE_FILESERVER] = "fileserver",
	    [CONF_PROFILE_ARCHIVE] = "archive",
	    [CONF_PROFILE_UNCACHED] = "uncached",
	};
	ASSERT((unsigned)p < sizeof words / sizeof words[0]);
	return words[p];
}

enum conf_mode
conf_lun_mode(const struct conf_lun *l)
{
	if (l->mode != CONF_MODE_DEFAULT)
		return l->mode;
	if (l->profile == CONF_PROFILE_UNCACHED)
		return CONF_MODE_BYPASS;
	return l->has_ssd ? CONF_MODE_NV : CONF_MODE_WRITETHROUGH;
}

bool
conf_lun_compress(const struct conf_lun *l)
{
	if (l->compress >= 0)
		return l->compress > 0;
	return l->profile != CONF_PROFILE_DATABASE && l->profile != CONF_PROFILE_UNCACHED;
}

/* ---- objects by name ------------------------------------------------------------------------- */

static const struct conf_head *
find(const void *list, unsigned count, size_t size, const char *name)
{
	for (unsigned i = 0; i < count; i++) {
		const struct conf_head *h = (const void *)((const char *)list + i * size);
		if (strcmp(h->name, name) == 0)
			return h;
	}
	return NULL;
}

const struct conf_head *
conf_object_find(const struct conf *c, enum conf_kind kind, const char *target, const char *name)
{
	const struct conf_target *t = NULL;

	if (target != NULL && (kind == CONF_KIND_CHAP || kind == CONF_KIND_GROUP)) {
		t = (const void *)find(c->targets, c->target_count, sizeof *c->targets, target);
		if (t == NULL)
			return NULL;
	}
	switch (kind) {
	case CONF_KIND_PORTAL:
		return find(c->portals, c->portal_count, sizeof *c->portals, name);
	case CONF_KIND_CACHE:
		return find(c->caches, c->cache_count, sizeof *c->caches, name);
	case CONF_KIND_LUN:
		return find(c->luns, c->lun_count, sizeof *c->luns, name);
	case CONF_KIND_TARGET:
		return find(c->targets, c->target_count, sizeof *c->targets, name);
	case CONF_KIND_CHAP:
		return t != NULL ? find(t->chaps, t->chap_count, sizeof *t->chaps, name)
		                 : find(c->discovery_chaps, c->discovery_chap_count,
		                       sizeof *c->discovery_chaps, name);
	case CONF_KIND_GROUP:
		return t != NULL ? find(t->groups, t->group_count, sizeof *t->groups, name) : NULL;
	case CONF_KIND_SETTINGS:
	case CONF_KIND_COUNT:
		break;
	}
	return NULL;
}
