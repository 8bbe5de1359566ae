// lib/base/heap.h: the least first, against a model that looks at everything.
// SPDX-License-Identifier: BSD-2-Clause

#include <base/heap.h>

#include <ktest/ktest.h>

#define SLOTS 128

struct item {
    uint64_t key;
    struct heap_node node;
    bool is_in;
};

static struct item items[SLOTS];

static struct item *item_of(const struct heap_node *node)
{
    return container_of(node, struct item, node);
}

static bool is_less(const struct heap_node *a, const struct heap_node *b)
{
    return item_of(a)->key < item_of(b)->key;
}

// The model: the least key of all that are in; UINT64_MAX when none is.
static uint64_t least_key(void)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < SLOTS; i++)
        if (items[i].is_in && items[i].key < least)
            least = items[i].key;
    return least;
}

// Nodes of the tree below `node`; adds to `defects` what is out of order, badly linked or leans to the right.
static unsigned count_nodes(const struct heap_node *node, const struct heap_node *parent, unsigned *defects)
{
    if (node == NULL)
        return 0;
    unsigned left_rank = node->left ? node->left->rank : 0, right_rank = node->right ? node->right->rank : 0;

    *defects += node->parent != parent || (parent != NULL && is_less(node, parent)) || !item_of(node)->is_in;
    *defects += left_rank < right_rank || node->rank != right_rank + 1;
    return 1 + count_nodes(node->left, node, defects) + count_nodes(node->right, node, defects);
}

static void clear_items(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        items[i].is_in = false;
}

// Whatever is added and taken away, from wherever in the heap, the root is the least and every node is linked.
KTEST(heap, agrees_with_a_model)
{
    struct heap heap = { .is_less = is_less };
    unsigned operations = ktest_rounds(100000, 10000), in = 0, wrong = 0;

    clear_items();
    for (unsigned i = 0; i < operations; i++) {
        // Fills and empties in turn; few keys in some phases, so that equal ones meet.
        bool is_filling = i / 500 % 2 == 0;
        struct item *item = &items[ktest_random_below(SLOTS)];

        if (item->is_in && ktest_random_below(4) >= is_filling) {
            if (ktest_random_below(3) == 0)
                item = item_of(heap.root);
            heap_remove(&heap, &item->node);
            item->is_in = false;
            in--;
        } else if (!item->is_in && ktest_random_below(4) >= !is_filling) {
            item->key = ktest_random_below(i / 1000 % 2 == 0 ? 8 : 1000000);
            item->is_in = true;
            heap_add(&heap, &item->node);
            in++;
        }
        wrong += in == 0 ? heap.root != NULL : heap.root == NULL || item_of(heap.root)->key != least_key();
        if (i % 64 == 0) {
            unsigned defects = 0;
            wrong += count_nodes(heap.root, NULL, &defects) != in;
            wrong += defects;
        }
        if (!EXPECT_EQ(wrong, 0))
            return;
    }
}

// Taken away one by one from the top, all come out in order, each once.
KTEST(heap, empties_in_order)
{
    struct heap heap = { .is_less = is_less };

    clear_items();
    for (unsigned i = 0; i < SLOTS; i++) {
        items[i].key = ktest_random_below(SLOTS);
        items[i].is_in = true;
        heap_add(&heap, &items[i].node);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        REQUIRE(heap.root != NULL);
        struct item *least = item_of(heap.root);
        EXPECT_EQ(least->key, least_key());
        EXPECT(least->is_in);
        heap_remove(&heap, &least->node);
        least->is_in = false;
    }
    EXPECT_NULL(heap.root);
}

// The only node, the root, a leaf and any between can each be taken out.
KTEST(heap, gives_back_any_node)
{
    for (unsigned out = 0; out < 6; out++) {
        struct heap heap = { .is_less = is_less };
        unsigned defects = 0;

        clear_items();
        for (unsigned i = 0; i < 6; i++) {
            items[i].key = i;
            items[i].is_in = true;
            heap_add(&heap, &items[i].node);
        }
        heap_remove(&heap, &items[out].node);
        items[out].is_in = false;
        EXPECT_EQ(count_nodes(heap.root, NULL, &defects), 5);
        EXPECT_EQ(defects, 0);
        EXPECT_EQ(item_of(heap.root)->key, out == 0 ? 1 : 0);
    }
    struct heap heap = { .is_less = is_less };
    heap_add(&heap, &items[0].node);
    heap_remove(&heap, &items[0].node);
    EXPECT_NULL(heap.root);
}

static unsigned comparisons;

static bool counts_less(const struct heap_node *a, const struct heap_node *b)
{
    comparisons++;
    return is_less(a, b);
}

// No single addition or removal compares more often than the two rightmost ways are long, whatever came before it:
// keys that rise, fall, or come by lot.
KTEST(heap, every_step_is_short)
{
    for (unsigned shape = 0; shape < 3; shape++) {
        struct heap heap = { .is_less = counts_less };
        unsigned most = 0;

        for (unsigned i = 0; i < 2 * SLOTS; i++) {
            comparisons = 0;
            if (i < SLOTS) {
                items[i].key = shape == 0 ? i : shape == 1 ? SLOTS - i : ktest_random_below(SLOTS);
                heap_add(&heap, &items[i].node);
            } else {
                heap_remove(&heap, heap.root);
            }
            most = comparisons > most ? comparisons : most;
        }
        EXPECT_NULL(heap.root);
        EXPECT_LE(most, 2 * 7);
    }
}
