/* SPDX-License-Identifier: BSD-2-Clause */
/* The core: its loops, what each loop has for itself, the target ports. */
#include "scsi/scsi_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * One target port and its copy for each loop. The copies are linked and unlinked by their loops;
 * the set is freed on the home loop when all have let go.
 */
struct port_copy {
	struct scsi_port port;
	struct loop_msg link_msg, unlink_msg; /* both may be under way */
	struct port_set *set;
	struct scsi_core_loop *cl;
};

struct port_set {
	struct list link; /* scsi_core.port_sets */
	struct scsi_core *core;
	uint32_t waiting;
	bool removed; /* leaves the loops */
	struct port_copy copies[];
};

void
scsi_deliver(struct loop *dst, struct loop_msg *m)
{
	if (loop_is_current(dst))
		m->run(m);
	else
		loop_send(dst, m);
}

unsigned
scsi_loop_index(const struct scsi_core *c)
{
	const struct loop *l = loop_current();
	if (l == NULL)
		return 0;
	unsigned i = c->index_by_id[loop_id(l)];
	ASSERT(i < c->loop_count && c->loops[i] == l);
	return i;
}

int
scsi_core_create(const struct scsi_core_args *args, struct scsi_core **ret)
{
	ASSERT(args->loop_count > 0 && args->loop_count <= LOOP_COUNT_MAX);
	ASSERT(args->tasks_per_loop > 0);
	scsi_opcode_build();
	struct scsi_core *c = aligned_alloc(64, (sizeof *c + 63) & ~(size_t)63);
	if (c == NULL)
		return -ENOMEM;
	memset(c, 0, sizeof *c);
	c->loop_count = args->loop_count;
	c->persist = args->persist;
	list_init(&c->lus);
	list_init(&c->port_sets);
	strncpy(c->vendor, args->vendor != NULL ? args->vendor : "TERRACE", sizeof c->vendor - 1);
	memset(c->index_by_id, 0xff, sizeof c->index_by_id);
	for (unsigned i = 0; i < c->loop_count; i++)
		list_init(&c->per_loop[i].ports);
	for (unsigned i = 0; i < c->loop_count; i++) {
		c->loops[i] = args->loops[i];
		c->index_by_id[loop_id(args->loops[i])] = (uint8_t)i;
		int err = pool_init(&c->per_loop[i].locks, "scsi range locks",
		    sizeof(struct scsi_lock), args->tasks_per_loop);
		if (err < 0) {
			scsi_core_destroy(c);
			return err;
		}
	}
	*ret = c;
	return 0;
}

static void
port_set_free(struct port_set *ps)
{
	list_remove(&ps->link);
	/* The names are one allocation each, shared by the copies. */
	free(ps->copies[0].port.device_name);
	free(ps->copies[0].port.name);
	free(ps);
}

void
scsi_core_destroy(struct scsi_core *c)
{
	if (c == NULL)
		return;
	ASSERT(list_empty(&c->lus));
	LIST_FOREACH_SAFE (l, &c->port_sets)
		port_set_free(container_of(l, struct port_set, link));
	for (unsigned i = 0; i < c->loop_count; i++) {
		ASSERT(c->per_loop[i].nexus_count == 0);
		pool_fini(&c->per_loop[i].locks);
	}
	free(c);
}

uint64_t
scsi_core_tasks(const struct scsi_core *c)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < c->loop_count; i++)
		sum += __atomic_load_n(&c->per_loop[i].task_seq, __ATOMIC_RELAXED);
	return sum;
}

const struct list *
scsi_core_ports(const struct scsi_core *c)
{
	return &c->per_loop[scsi_loop_index(c)].ports;
}

static struct port_set *
port_set_find(struct scsi_core *c, uint16_t rel_port_id)
{
	LIST_FOREACH (l, &c->port_sets) {
		struct port_set *ps = container_of(l, struct port_set, link);
		if (!ps->removed && ps->copies[0].port.rel_port_id == rel_port_id)
			return ps;
	}
	return NULL;
}

static void
port_link(struct loop_msg *m)
{
	struct port_copy *pc = container_of(m, struct port_copy, link_msg);
	list_push_back(&pc->cl->ports, &pc->port.link);
}

int
scsi_core_add_port(struct scsi_core *c, uint16_t rel_port_id, uint16_t group_id,
    const char *device_name, const char *name)
{
	ASSERT(scsi_loop_index(c) == 0);
	if (port_set_find(c, rel_port_id) != NULL)
		return -EEXIST;
	struct port_set *ps = calloc(1, sizeof *ps + c->loop_count * sizeof ps->copies[0]);
	if (ps == NULL)
		return -ENOMEM;
	char *dev = strdup(device_name), *nam = strdup(name);
	if (dev == NULL || nam == NULL) {
		free(dev);
		free(nam);
		free(ps);
		return -ENOMEM;
	}
	ps->core = c;
	list_push_back(&c->port_sets, &ps->link);
	for (unsigned i = 0; i < c->loop_count; i++) {
		struct port_copy *pc = &ps->copies[i];
		pc->set = ps;
		pc->cl = &c->per_loop[i];
		pc->port = (struct scsi_port){.rel_port_id = rel_port_id,
		    .group_id = group_id,
		    .device_name = dev,
		    .name = nam};
		pc->link_msg.run = port_link;
		/* Before the loops run there is nobody to race with. */
		if (loop_current() == NULL)
			port_link(&pc->link_msg);
		else
			scsi_deliver(c->loops[i], &pc->link_msg);
	}
	return 0;
}

static void
port_unlinked(struct loop_msg *m)
{
	struct port_copy *pc = container_of(m, struct port_copy, unlink_msg);
	ASSERT(pc->set->waiting > 0);
	if (--pc->set->waiting == 0)
		port_set_free(pc->set);
}

static void
port_unlink(struct loop_msg *m)
{
	struct port_copy *pc = container_of(m, struct port_copy, unlink_msg);
	list_remove(&pc->port.link);
	m->run = port_unlinked;
	if (loop_current() == NULL)
		port_unlinked(m);
	else
		scsi_deliver(pc->set->core->loops[0], m);
}

void
scsi_core_remove_port(struct scsi_core *c, uint16_t rel_port_id)
{
	ASSERT(scsi_loop_index(c) == 0);
	struct port_set *ps = port_set_find(c, rel_port_id);
	if (ps == NULL)
		return;
	/* Not found any more; it stays in the list, for the core's destruction to free it. */
	ps->removed = true;
	unsigned count = c->loop_count;
	ps->waiting = count;
	for (unsigned i = 0; i < count; i++) {
		struct port_copy *pc = &ps->copies[i];
		pc->unlink_msg.run = port_unlink;
		if (loop_current() == NULL)
			port_unlink(&pc->unlink_msg);
		else
			scsi_deliver(c->loops[i], &pc->unlink_msg);
	}
}
