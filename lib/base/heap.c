// Leftist heap.
// SPDX-License-Identifier: BSD-2-Clause

#include <base/heap.h>

static unsigned rank_of(const struct heap_node *node)
{
    return node ? node->rank : 0;
}

// Puts a node's children in order, and its rank right; whether that has changed.
static bool settle(struct heap_node *node)
{
    unsigned earlier = node->rank;

    if (rank_of(node->left) < rank_of(node->right)) {
        struct heap_node *shallower = node->left;
        node->left = node->right;
        node->right = shallower;
    }
    node->rank = rank_of(node->right) + 1;
    return node->rank != earlier;
}

// Joins two heaps, given by their roots; either may be NULL. Their rightmost ways become one, the least first, and are
// then put in order from below.
static struct heap_node *join(const struct heap *heap, struct heap_node *a, struct heap_node *b)
{
    struct heap_node *root = NULL, *last = NULL;

    while (a && b) {
        struct heap_node *least = heap->is_less(b, a) ? b : a, *other = least == a ? b : a;
        least->parent = last;
        if (last)
            last->right = least;
        else
            root = least;
        last = least;
        a = least->right;
        b = other;
    }
    struct heap_node *rest = a ? a : b;
    if (!last)
        return rest;
    last->right = rest;
    if (rest)
        rest->parent = last;
    for (; last; last = last->parent)
        settle(last);
    return root;
}

void heap_add(struct heap *heap, struct heap_node *node)
{
    *node = (struct heap_node){ .rank = 1 };
    heap->root = join(heap, heap->root, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    struct heap_node *parent = node->parent, *orphan = join(heap, node->left, node->right);

    if (orphan)
        orphan->parent = parent;
    if (!parent)
        heap->root = orphan;
    else if (parent->left == node)
        parent->left = orphan;
    else
        parent->right = orphan;
    // Ranks that change grow by one from each node to the next above, so this ends after O(log n) steps.
    for (; parent && settle(parent); parent = parent->parent) {
    }
}
