// Pairing heap with the node inside the object: the least first. No allocation, no locking of its own.
// SPDX-License-Identifier: BSD-2-Clause
//
// Fredman, Sedgewick, Sleator, Tarjan: "The Pairing Heap: A New Form of Self-Adjusting Heap", Algorithmica 1, 1986.
// Adding costs a constant, taking the least or any other away O(log n), amortised.
#pragma once

#include <base/compiler.h>

struct heap_node {
    struct heap_node *child;       // the first of them
    struct heap_node *next;        // sibling
    struct heap_node *before;      // sibling before, or parent of the first; NULL at the root
};

struct heap {
    struct heap_node *root;        // the least; NULL when the heap is empty
    bool (*is_less)(const struct heap_node *a, const struct heap_node *b);
};

void heap_add(struct heap *heap, struct heap_node *node);

// Takes out a node that is in the heap.
void heap_remove(struct heap *heap, struct heap_node *node);
