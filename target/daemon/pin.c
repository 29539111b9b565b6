/* SPDX-License-Identifier: BSD-2-Clause */
/* The running configuration, kept while others than the home loop look at it. */
#include "daemon/plan.h"

void
daemon_pin(struct daemon *d, struct daemon_pin *pin)
{
	pin->daemon = d;
	pin->conf = d->conf;
	list_push_back(&d->pins, &pin->link);
}

bool
daemon_is_pinned(const struct daemon *d, const struct conf *conf)
{
	LIST_FOREACH (n, &d->pins)
		if (container_of(n, struct daemon_pin, link)->conf == conf)
			return true;
	return false;
}

void
daemon_unpin(struct daemon_pin *pin)
{
	struct daemon *d = pin->daemon;

	list_remove(&pin->link);
	if (daemon_is_pinned(d, pin->conf))
		return;
	LIST_FOREACH_SAFE (n, &d->retired) {
		struct plan *p = container_of(n, struct plan, retired);
		if (p->config.conf != pin->conf)
			continue;
		list_remove(n);
		plan_destroy(p);
	}
}
