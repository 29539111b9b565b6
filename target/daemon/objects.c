/* SPDX-License-Identifier: BSD-2-Clause */
/* The objects that are served: names, tables, their end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "daemon/daemon.h"

char *
daemon_view_key(const char *target, const char *group)
{
	char *key;
	if (asprintf(
	        &key, "%s%s%s", target, group != NULL ? "\n" : "", group != NULL ? group : "") < 0)
		return NULL;
	return key;
}

struct daemon_view *
daemon_view_find(const struct daemon *d, const char *target, const char *group)
{
	char *key = daemon_view_key(target, group);
	struct daemon_view *v = key != NULL ? names_find(&d->now.view_names, key) : NULL;
	free(key);
	return v;
}

struct daemon_portal *
daemon_portal_find(const struct daemon *d, const char *name)
{
	return names_find(&d->now.portal_names, name);
}

void
daemon_view_destroy(struct daemon_view *v)
{
	if (v == NULL)
		return;
	scsi_view_destroy(v->view);
	free(v->key);
	free(v);
}

void
daemon_portal_destroy(struct daemon_portal *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 0; i < p->address_count; i++)
		free(p->addresses[i].text);
	free(p->addresses);
	free(p->name);
	free(p);
}

void
daemon_objects_forget(struct daemon_objects *o)
{
	names_fini(&o->lun_names);
	names_fini(&o->view_names);
	names_fini(&o->portal_names);
	free(o->luns);
	free(o->views);
	free(o->portals);
	free(o->ports);
	*o = (struct daemon_objects){0};
}

void
daemon_objects_fini(struct daemon_objects *o)
{
	for (unsigned i = 0; i < o->view_count; i++)
		daemon_view_destroy(o->views[i]);
	for (unsigned i = 0; i < o->lun_count; i++)
		daemon_lun_destroy(o->luns[i]);
	for (unsigned i = 0; i < o->portal_count; i++)
		daemon_portal_destroy(o->portals[i]);
	daemon_objects_forget(o);
}
