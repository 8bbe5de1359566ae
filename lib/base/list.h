// Circular doubly linked list with the node inside the object. No allocation, no locking of its own.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name) { &(name), &(name) }

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_add_first(struct list *head, struct list *node)
{
    list_insert_between(node, head, head->next);
}

static inline void list_add_last(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

// Leaves the node pointing at itself, so that removing it twice is harmless.
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)

#define list_for_each(entry, head, member) \
    for (entry = list_first(head, __typeof__(*entry), member); &entry->member != (head); \
         entry = list_first(&entry->member, __typeof__(*entry), member))

// As list_for_each, where the body may remove `entry`; `following` is a second cursor.
#define list_for_each_removable(entry, following, head, member) \
    for (entry = list_first(head, __typeof__(*entry), member), \
         following = list_first(&entry->member, __typeof__(*entry), member); \
         &entry->member != (head); \
         entry = following, following = list_first(&entry->member, __typeof__(*entry), member))
