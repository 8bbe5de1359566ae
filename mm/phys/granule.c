// Granule objects: 4 KB pieces of kernel pages, found free by a bit of the page's map.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/granule.h>

#include "phys_private.h"

#include <arch/page_ops.h>
#include <base/bits.h>
#include <mm/page_alloc.h>
#include <mm/zone.h>

#define ALL_FREE ((1UL << GRANULES_PER_PAGE) - 1)

struct granule_pool granule_tables = {
    .lock = SPINLOCK_INIT(GRANULE_POOL), .name = "page tables", .type = PAGE_TABLE,
};
struct granule_pool granule_stacks = {
    .lock = SPINLOCK_INIT(GRANULE_POOL), .name = "stacks", .type = PAGE_STACK,
};

static void list_push(struct granule_pool *pool, struct page *page)
{
    page->prev = 0;
    page->next = pool->first_partial;
    if (page->next != 0)
        pfn_to_page(pfn(page->next))->prev = (uint32_t)page_to_pfn(page).value;
    pool->first_partial = (uint32_t)page_to_pfn(page).value;
}

static void list_unlink(struct granule_pool *pool, struct page *page)
{
    if (page->prev != 0)
        pfn_to_page(pfn(page->prev))->next = page->next;
    else
        pool->first_partial = page->next;
    if (page->next != 0)
        pfn_to_page(pfn(page->next))->prev = page->prev;
}

// One free granule of the page, which is on the list.
static void *take_granule(struct granule_pool *pool, struct page *page)
{
    unsigned index = lowest_bit(page->map);

    page->map &= page->map - 1;
    page->refcount++;
    pool->used_count++;
    if (page->map == 0)
        list_unlink(pool, page);
    return (char *)page_to_virt(page) + index * MMU_PAGE_SIZE;
}

static void *take_from_partial(struct granule_pool *pool)
{
    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    void *granule = NULL;

    if (pool->first_partial != 0)
        granule = take_granule(pool, pfn_to_page(pfn(pool->first_partial)));
    spin_unlock_irqrestore(&pool->lock, flags);
    return granule;
}

// A page more for the pool, less the granule that is returned. The page is taken without the pool's lock,
// since that may take a while.
static void *take_from_new_page(struct granule_pool *pool, gfp_t gfp)
{
    struct page *page = alloc_page(gfp & ~__GFP_ZERO);
    irqflags_t flags;
    void *granule;

    if (page == NULL)
        return NULL;
    flags = spin_lock_irqsave(&pool->lock);
    page_set_type(page, pool->type);
    page->refcount = 0;
    page->map = ALL_FREE;
    list_push(pool, page);
    pool->page_count++;
    granule = take_granule(pool, page);
    spin_unlock_irqrestore(&pool->lock, flags);
    return granule;
}

void *granule_alloc(struct granule_pool *pool, gfp_t gfp)
{
    void *granule;

    if (mm_fault_hook != NULL && !(gfp & __GFP_NOFAIL) && mm_fault_hook(FAULT_TABLE, gfp))
        return NULL;
    granule = take_from_partial(pool);
    if (granule == NULL)
        granule = take_from_new_page(pool, gfp);
    if (granule != NULL)
        arch_clear_granules(granule, 1);
    return granule;
}

void granule_free(struct granule_pool *pool, void *granule)
{
    struct page *page, *emptied = NULL;
    irqflags_t flags;
    uint64_t bit;

    if (!virt_is_direct(granule) || !is_aligned((uintptr_t)granule, MMU_PAGE_SIZE)) {
        page_misuse_address(__builtin_return_address(0), granule, "freed, but no address of a granule");
        return;
    }
    page = virt_to_page(granule);
    bit = 1UL << ((uintptr_t)granule % PAGE_SIZE / MMU_PAGE_SIZE);

    flags = spin_lock_irqsave(&pool->lock);
    if (page_type(page) != pool->type || (page->map & bit) != 0) {
        spin_unlock_irqrestore(&pool->lock, flags);
        page_misuse_address(__builtin_return_address(0), granule, "freed, but not in use from this pool");
        return;
    }
    if (page->map == 0)
        list_push(pool, page);
    page->map |= bit;
    page->refcount--;
    pool->used_count--;
    if (page->refcount == 0) {
        list_unlink(pool, page);
        pool->page_count--;
        page_set_type(page, PAGE_RAW);
        emptied = page;
    }
    spin_unlock_irqrestore(&pool->lock, flags);
    __free_pages(emptied, 0);
}

init_code void granule_adopt(struct granule_pool *pool, struct page *page)
{
    page->map = 0;
    page->refcount = GRANULES_PER_PAGE;
    pool->page_count++;
    pool->used_count += GRANULES_PER_PAGE;
    page_zone(page)->managed_pages++;
}
