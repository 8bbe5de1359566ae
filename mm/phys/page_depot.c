// Batches of single pages on their way from one hart's list to another's.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_depot.h>

#include <base/string.h>
#include <mm/page_zero.h>

#define ZONE_SHARE 64

struct page_depot page_depot = { .lock = SPINLOCK_INIT(PAGE_DEPOT), .batch_pages = PAGE_DEPOT_BATCH };
struct page_depot page_depot_zeroed = { .lock = SPINLOCK_INIT(PAGE_DEPOT), .batch_pages = PAGE_DEPOT_ZEROED_BATCH };

void page_depots_init(bool enabled)
{
    uint64_t share = enabled ? zones[zone_of_kernel].managed_pages / ZONE_SHARE : 0;

    page_depot.most = (unsigned)min_of(share / PAGE_DEPOT_BATCH, (uint64_t)PAGE_DEPOT_BATCHES);
    page_depot_zeroed.most =
        page_zero_is_on() ? (unsigned)min_of(share / PAGE_DEPOT_ZEROED_BATCH, (uint64_t)PAGE_DEPOT_BATCHES) : 0;
}

bool page_depot_take(struct page_depot *depot, struct page **pages)
{
    // Nobody waits for the lock to learn that there is nothing.
    if (__atomic_load_n(&depot->count, __ATOMIC_RELAXED) == 0)
        return false;
    irqflags_t flags = spin_lock_irqsave(&depot->lock);
    bool is_taken = depot->count > 0;
    if (is_taken) {
        store_relaxed(&depot->count, depot->count - 1);
        depot->calls++;
        memcpy(pages, depot->pages[depot->count], depot->batch_pages * sizeof(*pages));
    }
    spin_unlock_irqrestore(&depot->lock, flags);
    return is_taken;
}

bool page_depot_has_room(const struct page_depot *depot)
{
    return __atomic_load_n(&depot->count, __ATOMIC_RELAXED) < depot->most;
}

bool page_depot_put(struct page_depot *depot, struct page *const *pages)
{
    if (!page_depot_has_room(depot))
        return false;
    irqflags_t flags = spin_lock_irqsave(&depot->lock);
    bool is_put = depot->count < depot->most;
    if (is_put) {
        memcpy(depot->pages[depot->count], pages, depot->batch_pages * sizeof(*pages));
        store_relaxed(&depot->count, depot->count + 1);
        depot->calls++;
    }
    spin_unlock_irqrestore(&depot->lock, flags);
    return is_put;
}

bool page_depot_give_some(struct page_depot *depot)
{
    struct page *pages[PAGE_DEPOT_BATCH];

    if (!page_depot_take(depot, pages))
        return false;
    page_engine_give_all(&zones[zone_of_kernel], 0, depot->batch_pages, pages);
    return true;
}

uint64_t page_depot_pages(const struct page_depot *depot)
{
    return (uint64_t)__atomic_load_n(&depot->count, __ATOMIC_RELAXED) * depot->batch_pages;
}
