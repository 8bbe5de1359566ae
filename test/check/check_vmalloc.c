// Validator of the vmalloc space: every area is mapped as it says, and nothing else is.
// SPDX-License-Identifier: BSD-2-Clause

#include <check/check.h>

#include "check_private.h"

#include <mm/kmap.h>
#include <mm/slab_guard.h>
#include <mm/pgtable.h>
#include <mm/pte.h>
#include <mm/vmalloc.h>

struct vmalloc_check {
    struct check check;
    uint64_t areas, owned_pages, mapped_bytes, range_bytes;
};

static void defect(struct vmalloc_check *check, uint64_t address, const char *why)
{
    check_defect(&check->check, "%#lx: %s", address, why);
}

static struct page *page_behind(paddr_t phys)
{
    return phys.value < ARCH_PHYS_LIMIT ? pfn_to_page(paddr_to_pfn(phys)) : NULL;
}

// A block is aligned to its size, and only its head says whose it is.
static bool is_in_block_of(struct page *page, const struct vmalloc_area *area)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        const struct page *head = pfn_to_page(pfn(align_down(page_to_pfn(page).value, 1UL << order)));
        if (head->type == PAGE_VMALLOC && head->order >= order)
            return head->owner == area;
    }
    return false;
}

// One granule of the area, at `va`, is mapped to `phys`.
static void check_granule(struct vmalloc_check *check, const struct vmalloc_area *area, uint64_t va,
                          paddr_t phys)
{
    struct page *page = page_behind(phys);

    switch (area->kind) {
    case VMALLOC_PAGES:
    case VMALLOC_PROTECTED:
        if (page == NULL || !is_in_block_of(page, area))
            defect(check, va, "mapped to a page that the area does not own");
        break;
    case VMALLOC_STACK:
        if (page == NULL || page->type != PAGE_STACK)
            defect(check, va, "a stack is mapped to a page of another type");
        break;
    case VMALLOC_IO:
        if (phys.value != area->phys.value + (va - area->start.value))
            defect(check, va, "mapped to other physical memory than was asked for");
        break;
    case VMALLOC_MAP:
    case VMALLOC_RAM:
        if (page == NULL)
            defect(check, va, "mapped to no memory");
        break;
    case VMALLOC_KMAP:
        if (page == NULL || page != kmap_shown_page(vaddr(va)) || phys.value % PAGE_SIZE != va % PAGE_SIZE)
            defect(check, va, "mapped to another page than kmap shows there");
        break;
    case VMALLOC_GUARD:
        if (page == NULL || page_type(page) != PAGE_RAW)
            defect(check, va, "a guarded object's page is of another type");
        break;
    default:
        defect(check, va, "of no kind");
    }
}

// The blocks of an area, in the order of their links, are those behind its addresses.
static void check_pages(struct vmalloc_check *check, const struct vmalloc_area *area)
{
    uint32_t frame = area->first_page;
    uint64_t pages = 0;

    while (frame != 0 && pages < area->page_count) {
        const struct page *head = pfn_to_page(pfn(frame));
        vaddr_t va = vaddr_add(area->start, pages << PAGE_SHIFT);
        struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, va);
        if (!walk.mapped || paddr_to_pfn(walk.pa).value != frame)
            defect(check, va.value, "not mapped to the block that is linked for it");
        if (head->type != PAGE_VMALLOC || head->owner != area)
            defect(check, va.value, "a block that is linked for it is not the area's");
        pages += 1UL << head->order;
        frame = head->next;
    }
    if (frame != 0 || pages != area->page_count || pages << PAGE_SHIFT != area->size)
        defect(check, area->start.value, "the number of linked pages is not the area's");
    check->owned_pages += pages;
}

// Whether a granule of the area should be mapped.
static bool is_shown(const struct vmalloc_area *area, uint64_t va)
{
    if (va - area->start.value >= area->size)
        return false;
    return area->kind == VMALLOC_KMAP    ? kmap_shown_page(vaddr(va)) != NULL
           : area->kind == VMALLOC_GUARD ? slab_guard_shows(vaddr_ptr(vaddr(va)))
                                         : true;
}

static void check_area(const struct vmalloc_area *area, void *context)
{
    struct vmalloc_check *check = context;
    uint64_t first = area->range_start.value, past = first + area->range_size;

    check->areas++;
    if (area->class == VMALLOC_CLASS_NONE)
        check->range_bytes += area->range_size;
    if (area->start.value < first || area->start.value + area->size > past || area->size == area->range_size)
        defect(check, first, "the area is not inside its range, or has no guard");
    if (vmalloc_owns_pages(area))
        check_pages(check, area);
    for (uint64_t va = first; va < past; va += MMU_PAGE_SIZE) {
        struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr(va));
        bool is_expected = is_shown(area, va);
        if (walk.mapped != is_expected)
            defect(check, va, is_expected ? "a granule of the area is not mapped" : "a guard is mapped");
        else if (walk.mapped)
            check_granule(check, area, va, walk.pa);
        check->mapped_bytes += is_expected ? MMU_PAGE_SIZE : 0;
    }
}

static void count_bytes(vaddr_t va unused_arg, pte_t leaf, unsigned level, void *context)
{
    *(uint64_t *)context += pte_leaf_bytes(leaf, level);
}

unsigned check_vmalloc(void)
{
    struct vmalloc_check check = { .check = { .name = "vmalloc" } };
    struct vmalloc_stats stats = vmalloc_stats();
    uint64_t mapped_bytes = 0;
    const char *why;

    // What waits has addresses, too.
    vmalloc_flush();
    if (!vmem_is_consistent(&vmalloc_arena, &why) || !vmem_is_consistent(&module_arena, &why))
        defect(&check, ARCH_VMALLOC_BASE, why);
    if (!kmap_is_consistent(&why))
        defect(&check, ARCH_VMALLOC_BASE, why);
    vmalloc_for_each(check_area, &check);
    if (check.areas != stats.area_count || check.owned_pages != stats.pages)
        defect(&check, ARCH_VMALLOC_BASE, "areas or pages differ from the counters");
    if (vmalloc_arena.size - vmalloc_arena.free_bytes + module_arena.size - module_arena.free_bytes !=
        check.range_bytes + vmalloc_kept_bytes())
        defect(&check, ARCH_VMALLOC_BASE, "the addresses taken are not those of the areas");
    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_VMALLOC_BASE), ARCH_VMALLOC_END - ARCH_VMALLOC_BASE,
                          count_bytes, &mapped_bytes);
    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_MODULE_BASE), ARCH_MODULE_END - ARCH_MODULE_BASE, count_bytes,
                          &mapped_bytes);
    if (mapped_bytes != check.mapped_bytes)
        defect(&check, ARCH_VMALLOC_BASE, "something is mapped that belongs to no area");
    return check.check.defects;
}
