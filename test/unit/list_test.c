// lib/base/list.h.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/list.h>
#include <ktest/ktest.h>

struct item {
    unsigned value;
    struct list in_list;
};

// The values of a list as decimal digits, first one first.
static uint64_t digits_of(const struct list *head)
{
    uint64_t digits = 0;
    struct item *item;

    list_for_each(item, head, in_list)
        digits = digits * 10 + item->value;
    return digits;
}

// Entries come back in the order in which they were added at either end.
KTEST(list, keeps_order_at_both_ends)
{
    struct list head = LIST_INIT(head);
    struct item items[4] = { { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 } };

    EXPECT(list_is_empty(&head));
    list_add_last(&head, &items[2].in_list);
    list_add_first(&head, &items[1].in_list);
    list_add_last(&head, &items[3].in_list);
    list_add_first(&head, &items[0].in_list);
    EXPECT(!list_is_empty(&head));
    EXPECT_EQ(digits_of(&head), 1234);
    EXPECT_EQ(list_first(&head, struct item, in_list)->value, 1);
    EXPECT_EQ(head.prev, &items[3].in_list);
}

// Removing the first, the last and an inner entry leaves the others linked both ways; removing twice is
// harmless.
KTEST(list, removes_anywhere)
{
    struct list head = LIST_INIT(head);
    struct item items[5];

    for (unsigned i = 0; i < array_count(items); i++) {
        items[i].value = i + 1;
        list_add_last(&head, &items[i].in_list);
    }
    list_remove(&items[2].in_list);
    EXPECT_EQ(digits_of(&head), 1245);
    list_remove(&items[0].in_list);
    EXPECT_EQ(digits_of(&head), 245);
    list_remove(&items[4].in_list);
    EXPECT_EQ(digits_of(&head), 24);
    list_remove(&items[4].in_list);
    EXPECT_EQ(digits_of(&head), 24);
    EXPECT_EQ(head.prev, &items[3].in_list);
    EXPECT_EQ(items[3].in_list.prev, &items[1].in_list);
    EXPECT(list_is_empty(&items[2].in_list));
    list_remove(&items[1].in_list);
    list_remove(&items[3].in_list);
    EXPECT(list_is_empty(&head));
    EXPECT_EQ(head.prev, &head);
}

// The removable walk visits every entry once although the body removes it.
KTEST(list, walk_survives_removal)
{
    struct list head = LIST_INIT(head);
    struct item items[3], *item, *following;
    uint64_t seen = 0;

    list_for_each_removable(item, following, &head, in_list)
        seen = seen * 10 + item->value;
    EXPECT_EQ(seen, 0);
    for (unsigned i = 0; i < array_count(items); i++) {
        items[i].value = i + 1;
        list_add_last(&head, &items[i].in_list);
    }
    list_for_each_removable(item, following, &head, in_list) {
        seen = seen * 10 + item->value;
        list_remove(&item->in_list);
    }
    EXPECT_EQ(seen, 123);
    EXPECT(list_is_empty(&head));
}
