/* SPDX-License-Identifier: BSD-2-Clause */
/* Intrusive doubly linked list with a sentinel head. A node that is in no list points to itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void
list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool
list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void
list_insert_after(struct list *at, struct list *n)
{
	n->prev = at;
	n->next = at->next;
	at->next->prev = n;
	at->next = n;
}

static inline void
list_push_front(struct list *head, struct list *n)
{
	list_insert_after(head, n);
}

static inline void
list_push_back(struct list *head, struct list *n)
{
	list_insert_after(head->prev, n);
}

/* Leaves `n` pointing to itself, so that a second remove does nothing. */
static inline void
list_remove(struct list *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
	list_init(n);
}

/* First node, removed, or NULL. */
static inline struct list *
list_pop_front(struct list *head)
{
	if (list_empty(head))
		return NULL;
	struct list *n = head->next;
	list_remove(n);
	return n;
}

/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void
list_splice_back(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define LIST_FOREACH(pos, head)                                                                    \
	for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* `pos` may be removed (and freed) in the body; no other node may. */
#define LIST_FOREACH_SAFE(pos, head)                                                               \
	for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head);              \
	     pos = pos##_next, pos##_next = pos->next)

#endif
