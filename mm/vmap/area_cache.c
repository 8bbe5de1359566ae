// Areas of few pages, kept with their addresses: the quantum caches of the vmalloc arena.
// SPDX-License-Identifier: BSD-2-Clause
//
// A quantum cache of the paper (Bonwick and Adams 2001, section 4.4.4) keeps ranges of one size per processor. Whoever
// takes a range needs a descriptor for it, too; so here the descriptor is the object of a slab cache, and its range of
// addresses is what the constructor makes and the destructor gives back. One pop from a hart's magazine takes both, and
// nothing of the arena is touched for as long as areas come and go. Depots, trimming and giving all of it back under
// pressure are those of any cache.
#include "vmalloc_area.h"

#include <mm/page_lists.h>
#include <mm/slab.h>

// Class c: areas of up to 2^c pages.
#define CLASSES(CLASS) CLASS(0) CLASS(1) CLASS(2) CLASS(3) CLASS(4)
#define CLASS_COUNT VMALLOC_CLASS_NONE

_Static_assert(AREA_CLASS_PAGES == 1 << (CLASS_COUNT - 1), "the largest class has that many pages");

struct kmem_cache *area_of_pages[AREA_CLASS_PAGES + 1], *area_of_class[CLASS_COUNT];

static struct kmem_cache *any_size;                    // (C) areas whose addresses come and go with them
static uint64_t kept_bytes;                            // (A) of addresses that areas of classes hold

// The entry that remembers the area, which keeps its table from now on.
static bool make_note(struct vmalloc_area *area)
{
    vaddr_t below = vaddr(area->start.value - MMU_PAGE_SIZE);
    struct vmap_front *front = vmap_gate_enter();

    area->note = vmalloc_entry(below);
    if (area->note != NULL)
        pte_write_relaxed(area->note, arch_pte_note(area));
    vmap_gate_leave(front);
    if (area->note == NULL) {
        if (pgtable_claim_tables(&kernel_pgtable, below, MMU_PAGE_SIZE, area, GFP_KERNEL) != 0)
            return false;
        area->made_table = true;
        area->note = vmalloc_entry(below);
    }
    area->first = pt_index(area->start, 0) != 0 ? area->note + 1 : NULL;
    return true;
}

static bool take_range(struct vmalloc_area *area, struct vmem *arena, uint64_t bytes, uint64_t alignment,
                       uint64_t guard_below)
{
    uint64_t start, phase = -guard_below & (alignment - 1);

    area->range_size = align_up(guard_below + bytes, PAGE_SIZE);
    if (vmem_alloc(arena, area->range_size, alignment, phase, GFP_KERNEL, &start) != 0)
        return false;
    area->range_start = vaddr(start);
    area->start = vaddr(start + guard_below);
    if (make_note(area))
        return true;
    vmem_free(arena, start);
    return false;
}

static void destruct(void *object)
{
    const struct vmalloc_area *area = object;

    if (area->range_size == 0)
        return;
    pte_write_relaxed(area->note, (pte_t){ 0 });
    if (area->class < CLASS_COUNT)
        __atomic_fetch_sub(&kept_bytes, area->range_size, __ATOMIC_RELAXED);
    uint64_t freed = vmem_free(vmalloc_arena_of(area->range_start.value), area->range_start.value);
    ASSERT(freed == area->range_size);
}

// What the last user left in an area tells who freed it, for as long as nobody has its addresses.
//
// Aligned to their size, they can be shown by the largest leaves, and lie in one table.
static void construct(struct vmalloc_area *area, unsigned class)
{
    area->class = (uint8_t)class;
    area->made_table = false;
    area->freed_by = NULL;
    if (!take_range(area, &vmalloc_arena, PAGE_SIZE << class, PAGE_SIZE << class, PAGE_SIZE))
        area->range_size = 0;
    __atomic_fetch_add(&kept_bytes, area->range_size, __ATOMIC_RELAXED);
}

#define CONSTRUCTOR(c) static void construct_##c(void *area) { construct(area, c); }
CLASSES(CONSTRUCTOR)

void area_cache_init(void)
{
    static void (*const constructor[CLASS_COUNT])(void *) = {
#define ENTRY(c) [c] = construct_##c,
        CLASSES(ENTRY)
    };
    static const char *const names[CLASS_COUNT] = {
#define NAME(c) [c] = "vmalloc_area_2^" #c,
        CLASSES(NAME)
    };

    any_size = kmem_cache_create("vmalloc_area", sizeof(struct vmalloc_area), 0, SLAB_PANIC, NULL, NULL);
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        area_of_class[class] = kmem_cache_create(names[class], sizeof(struct vmalloc_area), 0,
                                                 SLAB_PANIC | SLAB_KEEPS_CONTENTS, constructor[class], destruct);
    for (unsigned pages = 1, class = 0; pages <= AREA_CLASS_PAGES; pages++) {
        class += pages > 1U << class;
        area_of_pages[pages] = area_of_class[class];
    }
}

struct vmalloc_area *area_take_aligned(struct vmem *arena, uint64_t bytes, uint64_t alignment, uint64_t guard_below)
{
    struct vmalloc_area *area = kmem_cache_alloc(any_size, GFP_KERNEL);

    if (area == NULL)
        return NULL;
    *area = (struct vmalloc_area){ .class = CLASS_COUNT };
    if (take_range(area, arena, bytes, alignment, guard_below)) {
        area->first = NULL;
        return area;
    }
    kmem_cache_free(any_size, area);
    return NULL;
}

void area_give_any(struct vmalloc_area *area)
{
    if (area->freed_by != NULL)
        vmalloc_freed_note(area);
    destruct(area);
    kmem_cache_free(any_size, area);
}

uint64_t vmalloc_kept_bytes(void) { return __atomic_load_n(&kept_bytes, __ATOMIC_RELAXED); }

void area_cache_shrink(void)
{
    page_lists_drain_all();
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        kmem_cache_shrink(area_of_class[class]);
}
