/* The objects' end, and what is asked of them. */
#include "conf/conf_priv.h"

#include <stdlib.h>
#include <string.h>

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
luns_destroy(struct conf_lun *luns, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct conf_lun *l = &luns[i];
		free(l->name);
		free(l->store);
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
		for (unsigned k = 0; k < t->group_count; k++) {
			struct conf_group *g = &t->groups[k];
			free(g->name);
			free_list(g->initiators, g->initiator_count);
			free_list(g->users, g->user_count);
			group_luns_destroy(g->luns, g->lun_count);
		}
		free(t->groups);
		free(t->name);
		free(t->alias);
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
	luns_destroy(c->luns, c->lun_count);
	portals_destroy(c->portals, c->portal_count);
	targets_destroy(c->targets, c->target_count);
	chaps_destroy(c->discovery_chaps, c->discovery_chap_count);
	free_list(c->allow, c->allow_count);
	free_list(c->deny, c->deny_count);
	free(c->state_dir);
	free(c->control);
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
