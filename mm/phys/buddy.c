// The buddy: lists of free blocks by order, split on the way down and merged on the way up.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/buddy.h>

#include "phys_private.h"

#include <mm/pressure.h>

static pfn_t buddy_of(pfn_t frame, unsigned order)
{
    return pfn(frame.value ^ (1UL << order));
}

static void list_push(struct zone *zone, struct page *head, unsigned order)
{
    struct free_area *area = &zone->free_area[order];
    uint32_t frame = (uint32_t)page_to_pfn(head).value;

    head->order = (uint8_t)order;
    head->zone = (uint8_t)(zone - zones);
    head->flags = 0;
    head->refcount = 0;
    head->prev = 0;
    head->next = area->first;
    if (area->first != 0)
        pfn_to_page(pfn(area->first))->prev = frame;
    else
        area->last = frame;
    area->first = frame;
    area->block_count++;
    page_set_type(head, PAGE_FREE);
}

static void list_unlink(struct zone *zone, struct page *head, unsigned order)
{
    struct free_area *area = &zone->free_area[order];

    if (head->prev != 0)
        pfn_to_page(pfn(head->prev))->next = head->next;
    else
        area->first = head->next;
    if (head->next != 0)
        pfn_to_page(pfn(head->next))->prev = head->prev;
    else
        area->last = head->prev;
    area->block_count--;
}

// Merges the block with its buddy for as long as that is free and whole too, and puts it on its list.
static void insert_merged(struct zone *zone, struct page *head, unsigned order)
{
    pfn_t frame = page_to_pfn(head);

    zone->free_pages += 1UL << order;
    for (; order < MAX_ORDER; order++) {
        struct page *buddy = pfn_to_page(buddy_of(frame, order)), *upper;

        // Across the end of RAM or of the zone there is no such block: largest blocks do not cross either.
        if (page_type(buddy) != PAGE_FREE || buddy->order != order)
            break;
        list_unlink(zone, buddy, order);
        upper = buddy > head ? buddy : head;
        head = buddy > head ? head : buddy;
        *upper = (struct page){ .type = PAGE_TAIL };
        frame = page_to_pfn(head);
    }
    list_push(zone, head, order);
}

static struct page *take_block(struct zone *zone, unsigned order)
{
    struct page *head;
    unsigned from = order;

    while (from <= MAX_ORDER && zone->free_area[from].first == 0)
        from++;
    if (from > MAX_ORDER)
        return NULL;
    head = pfn_to_page(pfn(zone->free_area[from].first));
    list_unlink(zone, head, from);
    // The upper halves stay free.
    while (from > order) {
        from--;
        list_push(zone, head + (1UL << from), from);
    }
    *head = (struct page){
        .type = PAGE_RAW,
        .order = (uint8_t)order,
        .zone = (uint8_t)(zone - zones),
        .refcount = 1,
    };
    return head;
}

struct page *buddy_alloc(struct zone *zone, unsigned order, uint64_t keep_pages)
{
    struct page *head = NULL;
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    if (zone->free_pages >= keep_pages + (1UL << order))
        head = take_block(zone, order);
    if (head != NULL) {
        zone->free_pages -= 1UL << order;
        zone->alloc_count++;
    }
    spin_unlock_irqrestore(&zone->lock, flags);
    return head;
}

void buddy_free(struct page *head, unsigned order)
{
    struct zone *zone = page_zone(head);
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    zone->free_count++;
    insert_merged(zone, head, order);
    bool has_waiters = __atomic_load_n(&zone->waiters, __ATOMIC_RELAXED) != 0;
    spin_unlock_irqrestore(&zone->lock, flags);
    if (unlikely(has_waiters))
        page_freed_hint(zone);
}

void buddy_add_blank(pfn_t start, pfn_t end)
{
    for (pfn_t at = start; at.value < end.value;) {
        struct zone *zone = zone_of(at);
        unsigned order = memmap_largest_order(at, end);
        irqflags_t flags = spin_lock_irqsave(&zone->lock);

        zone->managed_pages += 1UL << order;
        insert_merged(zone, pfn_to_page(at), order);
        spin_unlock_irqrestore(&zone->lock, flags);
        at.value += 1UL << order;
    }
}

void buddy_add_range(pfn_t start, pfn_t end)
{
    memmap_erase(start, end);
    buddy_add_blank(start, end);
}
