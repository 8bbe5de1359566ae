// vmalloc and vfree: areas that own their pages.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <base/bits.h>
#include <mm/page_alloc.h>
#include <mm/pte.h>
#include <mm/zone.h>

// Blocks or single pages that are taken and mapped at a time.
#define HEADS_AT_ONCE 64U

// So few that it is not worth while to ask for them at once.
#define FEW_PAGES 4

// Areas that are no larger have a size that any machine can meet.
#define PLAIN_PAGES AREA_CLASS_PAGES

// The largest block that an area of a class is made of, and by the number of pages the largest that fits.
#define SMALL_ORDER (BLOCK_ORDER < 4 ? BLOCK_ORDER : 4)
static const uint8_t small_order_of[AREA_CLASS_PAGES + 1] = { 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4 };

// An area while it gets its pages: blocks of one order follow those of a larger one.
struct filling {
    struct vmalloc_area *area;
    uint64_t offset;               // bytes that have pages
    uint32_t *link;                // where the next block's page frame number goes
    unsigned order;                // of the blocks that are still tried for
    gfp_t gfp;
};

static vaddr_t next_address(const struct filling *filling) { return vaddr_add(filling->area->start, filling->offset); }

static uint64_t left_bytes(const struct filling *filling) { return filling->area->size - filling->offset; }

// Makes the block the area's, behind the one at whose `link` its number is written; returns its own.
static always_inline uint32_t *own(struct vmalloc_area *area, uint32_t *link, struct page *head)
{
    head->owner = area;
    page_set_type(head, PAGE_VMALLOC);
    *link = (uint32_t)page_to_pfn(head).value;
    return &head->next;
}

static always_inline void own_all(struct filling *filling, struct page **heads, unsigned count, unsigned order)
{
    for (unsigned i = 0; i < count; i++)
        filling->link = own(filling->area, filling->link, heads[i]);
    filling->offset += (uint64_t)count << order << PAGE_SHIFT;
    filling->area->page_count += count << order;
}

static always_inline pte_t *write_entries(pte_t *entry, const struct page *head, unsigned order)
{
    return show_granules(entry, memmap_page_to_phys(head), GRANULES_PER_PAGE << order);
}

// Out of line, so that who needs no block does not pay for its registers.
static noinline pte_t *write_block(pte_t *entry, const struct page *head, unsigned order)
{
    return write_entries(entry, head, order);
}

// Blocks of one order whose entries lie in one table. False: it is missing.
static bool put_in(struct filling *filling, struct page **heads, unsigned count, unsigned order)
{
    struct vmap_front *front = vmap_gate_enter();
    pte_t *entry = vmalloc_entry(next_address(filling));

    if (likely(entry != NULL)) {
        // What the pages hold is there before anybody can look at it.
        __atomic_thread_fence(__ATOMIC_RELEASE);
        for (unsigned i = 0; i < count; i++)
            entry = order == 0 ? write_entries(entry, heads[i], 0) : write_block(entry, heads[i], order);
        own_all(filling, heads, count, order);
    }
    vmap_gate_leave(front);
    return entry != NULL;
}

static bool map_heads(struct filling *filling, struct page **heads, unsigned count, unsigned order)
{
    uint64_t bytes = (uint64_t)count << order << PAGE_SHIFT;

    if (order <= BLOCK_ORDER) {
        while (unlikely(!put_in(filling, heads, count, order)))
            if (pgtable_make_tables(&kernel_pgtable, next_address(filling), bytes, GFP_KERNEL) != 0)
                return false;
        return true;
    }
    if (pgtable_map(&kernel_pgtable, next_address(filling), page_to_phys(heads[0]), bytes, PROT_KERNEL_RW, 1) != 0)
        return false;
    own_all(filling, heads, count, order);
    return true;
}

// A block larger than a page is only taken where it costs nobody anything.
static struct page *take_block(gfp_t gfp, unsigned order)
{
    const gfp_t pressing = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM | __GFP_NOFAIL | __GFP_RETRY_MAYFAIL;

    if (likely(gfp == GFP_KERNEL) && order == BLOCK_ORDER)
        return alloc_pages(__GFP_NOWARN, BLOCK_ORDER);
    return alloc_pages((gfp & ~pressing) | __GFP_NORETRY | __GFP_NOWARN, order);
}

// As many blocks of an order as the area has room for in one table, or as can be had.
static unsigned take_heads(const struct filling *filling, unsigned order, struct page **heads)
{
    uint64_t here = pgtable_entries_here(next_address(filling), left_bytes(filling) / MMU_PAGE_SIZE);
    unsigned count = (unsigned)min_of(here / GRANULES_PER_PAGE >> order, HEADS_AT_ONCE), got = 0;

    if (order == 0)
        return alloc_pages_bulk(filling->gfp, count, heads);
    while (got < count && (heads[got] = take_block(filling->gfp, order)) != NULL)
        got++;
    return got;
}

static bool fill(struct filling *filling)
{
    struct page *heads[HEADS_AT_ONCE];

    while (left_bytes(filling) > 0) {
        unsigned order = filling->order, count = 0;
        if (PAGE_SIZE << order <= left_bytes(filling))
            count = take_heads(filling, order, heads);
        if (count == 0 && order == 0)
            return false;
        if (count == 0) {
            filling->order = order > BLOCK_ORDER ? BLOCK_ORDER : 0;
        } else if (!map_heads(filling, heads, count, order)) {
            while (count > 0)
                __free_pages(heads[--count], order);
            return false;
        }
    }
    return true;
}

// A block that harts keep lists of; NULL for order 0, too.
static always_inline struct page *take_small_block(gfp_t gfp, unsigned order)
{
    if (unlikely(gfp != GFP_KERNEL))
        return order == 0 ? NULL : take_block(gfp, order);
    return order == 0   ? NULL
           : order == 1 ? alloc_pages(__GFP_NOWARN, 1)
           : order == 2 ? alloc_pages(__GFP_NOWARN, 2)
           : order == 3 ? alloc_pages(__GFP_NOWARN, 3)
                        : alloc_pages(__GFP_NOWARN, SMALL_ORDER);
}

static always_inline unsigned take_singles(gfp_t gfp, unsigned count, struct page **pages)
{
    unsigned got = 0;

    if (count > FEW_PAGES || unlikely(gfp != GFP_KERNEL))
        return alloc_pages_bulk(gfp, count, pages);
    while (got < count && likely((pages[got] = page_alloc_order0(GFP_KERNEL)) != NULL))
        got++;
    return got;
}

// An area of a class at one go: all its entries lie in one table. A block of half of it or more, and single pages; or
// only these. False where that is not to be had: then nothing has changed.
static always_inline bool fill_small(struct vmalloc_area *area, unsigned count, gfp_t gfp)
{
    struct page *pages[AREA_CLASS_PAGES];
    unsigned order = min_of(small_order_of[count], (unsigned)SMALL_ORDER);
    struct page *block = take_small_block(gfp, order);
    unsigned singles = block == NULL ? count : count - (1U << order);
    unsigned got = singles == 0 ? 0 : take_singles(gfp, singles, pages);

    pte_t *entry = area->first;
    if (likely(got == singles)) {
        uint32_t *link = &area->first_page;
        __atomic_thread_fence(__ATOMIC_RELEASE);
        if (block != NULL) {
            link = own(area, link, block);
            entry = write_block(entry, block, order);
        }
        for (unsigned i = 0; i < singles; i++) {
            link = own(area, link, pages[i]);
            entry = write_entries(entry, pages[i], 0);
        }
        *link = 0;
        area->page_count = count;
        vmalloc_area_publish(area, VMALLOC_PAGES, count);
        return true;
    }
    if (block != NULL)
        __free_pages(block, order);
    while (got > 0)
        __free_page(pages[--got]);
    return false;
}

static noinline bool is_size_good(const char *operation, size_t size, const struct vmem *arena, const void *caller)
{
    if (size != 0 && size <= arena->size && (size - 1) >> PAGE_SHIFT < zones_managed_pages())
        return true;
    vmalloc_report_misuse(operation, NULL,
                          size == 0 ? "the size is 0" : "the size is above that of all memory or of the space", caller);
    return false;
}

static noinline void *fill_any(struct vmalloc_area *area, gfp_t gfp)
{
    area->page_count = 0;
    struct filling filling = { .area = area, .link = &area->first_page, .order = HUGE_ORDER, .gfp = gfp };
    bool is_full = fill(&filling);
    *filling.link = 0;
    if (unlikely(!is_full)) {
        vmalloc_area_retire(area);
        return NULL;
    }
    vmalloc_area_publish(area, VMALLOC_PAGES, area->page_count);
    return vaddr_ptr(area->start);
}

static always_inline void *allocate(const char *operation, size_t size, gfp_t gfp, const void *caller)
{
    uint64_t pages = ((size - 1) >> PAGE_SHIFT) + 1;

    might_sleep();
    if (unlikely((size == 0 || pages > PLAIN_PAGES) && !is_size_good(operation, size, &vmalloc_arena, caller)))
        return NULL;
    struct vmalloc_area *area = vmalloc_area_take(pages, VMALLOC_PAGES, caller);
    if (unlikely(area == NULL))
        return NULL;
    if (likely(area->first != NULL) && likely(fill_small(area, (unsigned)pages, gfp)))
        return vaddr_ptr(area->start);
    return fill_any(area, gfp);
}

void *vmalloc_for(const char *operation, size_t size, gfp_t gfp, const void *caller)
{
    return allocate(operation, size, gfp, caller);
}

void *vmalloc(size_t size)
{
    return allocate("vmalloc", size, GFP_KERNEL | vmalloc_zone, __builtin_return_address(0));
}

void *vzalloc(size_t size)
{
    return vmalloc_for("vzalloc", size, GFP_KERNEL | vmalloc_zone | __GFP_ZERO, __builtin_return_address(0));
}

void *module_alloc(size_t size)
{
    const void *caller = __builtin_return_address(0);

    might_sleep();
    if (!is_size_good("module_alloc", size, &module_arena, caller))
        return NULL;
    uint64_t pages = ((size - 1) >> PAGE_SHIFT) + 1;
    struct vmalloc_area *area = vmalloc_area_take_any(&module_arena, pages);
    if (area == NULL)
        return NULL;
    vmalloc_area_describe(area, VMALLOC_PAGES, pages << PAGE_SHIFT, caller);
    return fill_any(area, GFP_KERNEL | __GFP_ZERO);
}

static void *allocate_array(const char *operation, size_t count, size_t size, gfp_t gfp, const void *caller)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : vmalloc_for(operation, bytes, gfp, caller);
}

void *vmalloc_array(size_t count, size_t size)
{
    return allocate_array("vmalloc_array", count, size, GFP_KERNEL | vmalloc_zone, __builtin_return_address(0));
}

void *vcalloc(size_t count, size_t size)
{
    return allocate_array("vcalloc", count, size, GFP_KERNEL | vmalloc_zone | __GFP_ZERO, __builtin_return_address(0));
}

void vfree(const void *address)
{
    if (likely(address != NULL))
        vmalloc_area_free(address, __builtin_return_address(0));
}

struct page *vmalloc_to_page(const void *address)
{
    struct vmap_front *front = vmap_gate_enter();
    const struct vmalloc_area *area = vmalloc_area_holding(vaddr_of(address));
    struct page *page = NULL;

    if (area != NULL && (vmalloc_owns_pages(area) || area->kind == VMALLOC_MAP || area->kind == VMALLOC_RAM)) {
        struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr_of(address));
        if (walk.mapped && walk.pa.value < ARCH_PHYS_LIMIT)
            page = pfn_to_page(paddr_to_pfn(walk.pa));
    }
    vmap_gate_leave(front);
    return page;
}
