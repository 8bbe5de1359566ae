// Areas of the vmalloc space: addresses, the table of who starts where, and the way out through the TLB.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <base/errno.h>
#include <debug/klog.h>
#include <mm/page_holder.h>
#include <mm/pgtable.h>
#include <mm/slab.h>
#include <mm/tlb.h>

#define AREA_BUCKETS 256

struct vmem vmalloc_arena;

static struct kmem_cache *area_cache;
static struct spinlock vmalloc_areas_lock = SPINLOCK_INIT(VMALLOC_AREAS);     // guards the four below
static struct list areas = LIST_INIT(areas);
static struct list bucket[AREA_BUCKETS];
static uint64_t area_count, owned_pages;

static uint64_t misuse_count;      // (A)

static uint64_t pages_owned_by(const struct vmalloc_area *area)
{
    return area->kind == VMALLOC_PAGES ? area->page_count : 0;
}

// Read without the lock by vmalloc_pages.
static void add_owned_pages(uint64_t pages)
{
    store_relaxed(&owned_pages, owned_pages + pages);
}

static uint64_t vmalloc_pages(void)
{
    return __atomic_load_n(&owned_pages, __ATOMIC_RELAXED);
}

static struct list *bucket_of(vaddr_t start)
{
    return &bucket[(start.value >> MMU_PAGE_SHIFT) * 0x9e3779b97f4a7c15 >> 32 & (AREA_BUCKETS - 1)];
}

void vmalloc_init(void)
{
    static struct page_holder holder = { .name = "vmalloc", .pages = vmalloc_pages };

    page_holder_register(&holder);
    for (unsigned i = 0; i < AREA_BUCKETS; i++)
        list_init(&bucket[i]);
    area_cache = kmem_cache_create("vmalloc_area", sizeof(struct vmalloc_area), 0, SLAB_PANIC, NULL, NULL);
    if (vmem_init(&vmalloc_arena, "vmalloc", ARCH_VMALLOC_BASE, ARCH_VMALLOC_END - ARCH_VMALLOC_BASE,
                  MMU_PAGE_SIZE) != 0)
        panic("vmalloc: no memory for the address space");
}

struct vmalloc_area *vmalloc_area_create(uint64_t size, uint64_t alignment, uint64_t guard_below,
                                         enum vmalloc_kind kind, const void *caller)
{
    uint64_t range_size = align_up(guard_below + size + MMU_PAGE_SIZE, PAGE_SIZE);
    uint64_t start, phase = (alignment - guard_below) & (alignment - 1);
    struct vmalloc_area *area = kmem_cache_alloc(area_cache, GFP_KERNEL);

    if (area == NULL)
        return NULL;
    if (vmem_alloc(&vmalloc_arena, range_size, alignment, phase, GFP_KERNEL, &start) != 0) {
        kmem_cache_free(area_cache, area);
        return NULL;
    }
    *area = (struct vmalloc_area){
        .start = vaddr(start + guard_below),
        .size = size,
        .range_start = vaddr(start),
        .range_size = range_size,
        .kind = kind,
        .caller = caller,
    };
    return area;
}

int vmalloc_area_map(struct vmalloc_area *area, uint64_t offset, paddr_t phys, uint64_t bytes, unsigned prot)
{
    ASSERT(offset + bytes <= area->size);
    return pgtable_map(&kernel_pgtable, vaddr_add(area->start, offset), phys, bytes, prot, 0);
}

void vmalloc_area_publish(struct vmalloc_area *area)
{
    // Nothing was mapped here before, which this hart may have noticed. Another one that did takes one fault
    // that the tables do not justify any more: for new leaves the fence may wait until then (section 4.2.1).
    tlb_flush_local(area->start, area->size, TLB_AREA_MAPPED);
    spin_lock(&vmalloc_areas_lock);
    list_add_last(&areas, &area->in_order);
    list_add_first(bucket_of(area->start), &area->in_bucket);
    area_count++;
    add_owned_pages(pages_owned_by(area));
    spin_unlock(&vmalloc_areas_lock);
}

static struct vmalloc_area *find_locked(vaddr_t start, enum vmalloc_kind kind)
{
    struct vmalloc_area *area;

    list_for_each(area, bucket_of(start), in_bucket)
        if (area->start.value == start.value && area->kind == kind)
            return area;
    return NULL;
}

struct vmalloc_area *vmalloc_area_claim(const void *start, enum vmalloc_kind kind, const char *operation,
                                        const void *caller)
{
    spin_lock(&vmalloc_areas_lock);
    struct vmalloc_area *area = find_locked(vaddr_of(start), kind);
    if (area != NULL) {
        list_remove(&area->in_order);
        list_remove(&area->in_bucket);
        area_count--;
        add_owned_pages(-pages_owned_by(area));
        vmalloc_freed_add_locked(area, caller);
    }
    spin_unlock(&vmalloc_areas_lock);
    if (area == NULL)
        vmalloc_report_misuse(operation, start, "no area of that kind starts there", caller);
    return area;
}

void vmalloc_area_unmap(struct vmalloc_area *area)
{
    int64_t unmapped = pgtable_unmap(&kernel_pgtable, area->start, area->size);

    // Granule leaves need no splitting, so no table.
    ASSERT(unmapped >= 0);
    // Section 4.2.1: leaves were changed, and their pages and addresses are about to be somebody else's.
    tlb_flush_kernel(area->start, area->size, TLB_UNMAP);
}

void vmalloc_area_release(struct vmalloc_area *area)
{
    uint64_t freed = vmem_free(&vmalloc_arena, area->range_start.value);

    ASSERT(freed == area->range_size);
    kmem_cache_free(area_cache, area);
}

enum vmalloc_kind vmalloc_kind_at(const void *address)
{
    enum vmalloc_kind kind = VMALLOC_KIND_COUNT;
    struct vmalloc_area *area;

    spin_lock(&vmalloc_areas_lock);
    list_for_each(area, &areas, in_order)
        if ((uintptr_t)address - area->start.value < area->size)
            kind = area->kind;
    spin_unlock(&vmalloc_areas_lock);
    return kind;
}

const char *vmalloc_kind_name(enum vmalloc_kind kind)
{
    static const char *const names[VMALLOC_KIND_COUNT] = {
        [VMALLOC_PAGES] = "vmalloc", [VMALLOC_MAP] = "vmap", [VMALLOC_IO] = "ioremap", [VMALLOC_STACK] = "stack",
        [VMALLOC_KMAP] = "kmap", [VMALLOC_GUARD] = "guarded objects",
    };

    return names[kind];
}

bool is_vmalloc_addr(const void *address)
{
    return (uintptr_t)address - ARCH_VMALLOC_BASE < ARCH_VMALLOC_END - ARCH_VMALLOC_BASE;
}

void vmalloc_for_each(void (*visit)(const struct vmalloc_area *area, void *context), void *context)
{
    struct vmalloc_area *area;

    spin_lock(&vmalloc_areas_lock);
    list_for_each(area, &areas, in_order)
        visit(area, context);
    spin_unlock(&vmalloc_areas_lock);
}

struct vmalloc_stats vmalloc_stats(void)
{
    spin_lock(&vmalloc_areas_lock);
    struct vmalloc_stats stats = { .area_count = area_count, .pages = owned_pages };
    spin_unlock(&vmalloc_areas_lock);
    stats.misuse_count = __atomic_load_n(&misuse_count, __ATOMIC_RELAXED);
    return stats;
}

cold void vmalloc_report_misuse(const char *operation, const void *address, const char *why,
                                const void *caller)
{
    __atomic_fetch_add(&misuse_count, 1, __ATOMIC_RELAXED);
    klog_error("vmalloc: %s(%p) called by %p: %s\n", operation, address, caller, why);
}
