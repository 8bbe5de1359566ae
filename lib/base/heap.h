// Leftist heap with the node inside the object: the least first. No allocation, no locking of its own.
// SPDX-License-Identifier: BSD-2-Clause
//
// Crane: "Linear Lists and Priority Queues as Balanced Binary Trees", Stanford CS-72-259, 1972; Knuth, TAOCP 3, 5.2.3.
// No node stands above one that is less, and of two children the right one has the shorter way to a missing child: so
// the rightmost way of n nodes is at most log2(n + 1) long, and joins go down it. Adding, and taking away the least or
// any other, cost O(log n) each, never more: timers are kept with interrupts masked.
#pragma once

#include <base/compiler.h>

struct heap_node {
    struct heap_node *left, *right;
    struct heap_node *parent;      // NULL at the root
    unsigned rank;                 // nodes on the shortest way down to a missing child, this one included
};

struct heap {
    struct heap_node *root;        // the least; NULL when the heap is empty
    bool (*is_less)(const struct heap_node *a, const struct heap_node *b);
};

void heap_add(struct heap *heap, struct heap_node *node);

// Takes out a node that is in the heap.
void heap_remove(struct heap *heap, struct heap_node *node);
