// Pairing heap.
// SPDX-License-Identifier: BSD-2-Clause

#include <base/heap.h>

// Joins two heaps, given by their roots; either may be NULL.
static struct heap_node *join(const struct heap *heap, struct heap_node *a, struct heap_node *b)
{
    if (!a || !b)
        return a ? a : b;
    struct heap_node *least = heap->is_less(b, a) ? b : a, *other = least == a ? b : a;

    other->before = least;
    other->next = least->child;
    if (other->next)
        other->next->before = other;
    least->child = other;
    least->next = least->before = NULL;
    return least;
}

// Joins a list of siblings to one heap: in pairs from the left, then the pairs from the right.
static struct heap_node *join_siblings(const struct heap *heap, struct heap_node *first)
{
    struct heap_node *pairs = NULL, *joined = NULL;

    while (first) {
        struct heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->before = NULL;
        if (b)
            b->next = b->before = NULL;
        a = join(heap, a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct heap_node *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        joined = join(heap, joined, pair);
    }
    return joined;
}

void heap_add(struct heap *heap, struct heap_node *node)
{
    *node = (struct heap_node){ NULL, NULL, NULL };
    heap->root = join(heap, heap->root, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    struct heap_node *orphans = join_siblings(heap, node->child);

    if (!node->before) {
        heap->root = orphans;
        return;
    }
    if (node->before->child == node)
        node->before->child = node->next;
    else
        node->before->next = node->next;
    if (node->next)
        node->next->before = node->before;
    heap->root = join(heap, heap->root, orphans);
}
