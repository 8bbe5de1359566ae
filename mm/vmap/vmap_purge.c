// Lazy unmapping: freed areas wait until one flush serves them all.
// SPDX-License-Identifier: BSD-2-Clause
//
// A hart keeps what was freed on it until that is its part of half of 1/64 of RAM; then whoever finds that has every
// TLB forget, by one flush, what waits on all harts, and gives tables, pages and addresses back, in this order. What
// other harts had waiting he leaves to them: with its next vfree each gives back what was its own, so that pages go to
// the lists of the hart that uses them, and no hart works for all. So as much again may wait as forgotten; who asks for
// a flush, or is short of memory, takes that too.
//
// Flushes are made one at a time, so one that is asked for waits for those that others are about: only then has
// everything that was freed before been forgotten.
#include "vmalloc_area.h"

#include <arch/smp.h>
#include <mm/page_alloc.h>
#include <mm/shrinker.h>
#include <mm/tlb.h>
#include <mm/zone.h>

// Of RAM: what may wait on all harts together. And pages on one: enough that a flush is a small part of the cost of
// freeing, few enough that most of them find room in this hart's lists of free pages.
#define WAITING_PART 64
#define WAITING_PAGES 512UL

#define FLUSHES_PER_LOOK 32

uint64_t vmap_purge_pages;                     // (A)

static struct spinlock purge_lock = SPINLOCK_INIT(VMALLOC_PURGE);
uint64_t vmap_flushes_done;                    // (A) written under the lock
static uint64_t leaving_pages;                 // (A) that areas own which were taken from the harts

static void set_limit(void)
{
    // As much may be forgotten and not yet given back.
    uint64_t limit = min_of(zones_managed_pages() / WAITING_PART / 2 / arch_hart_count(), WAITING_PAGES);

    __atomic_store_n(&vmap_purge_pages, max_of(limit, 1UL), __ATOMIC_RELAXED);
}

// What all harts had waiting, which the flush must name, and what whoever makes it gives back.
struct taken {
    const struct vmalloc_area *named[MAX_HARTS];
    struct vmalloc_area *to_free[4 * MAX_HARTS + 1];
    struct vmalloc_area *ram;      // of this hart's to be used again
    bool has_ram;
    unsigned named_count, free_count;
    uint64_t pages;                // owned by what is to be freed
    uint64_t granules;             // of what is named
    uint64_t bytes;                // of what is named and has addresses of its own
};

static void take_list(struct taken *taken, struct vmalloc_area **list)
{
    if (*list != NULL)
        taken->to_free[taken->free_count++] = *list;
    *list = NULL;
}

static void take(struct taken *taken, struct vmalloc_area **list, uint64_t *owned)
{
    take_list(taken, list);
    taken->pages += *owned;
    *owned = 0;
}

// Other harts' rounds of vm_map_ram go on, unless they are to give up what they have.
static void take_ram(struct taken *taken, struct vmap_front *front, bool leaves)
{
    taken->has_ram |= front->ram_waiting != NULL;
    take_list(taken, &front->ram_free);
    if (leaves) {
        taken->ram = front->ram_waiting;
        front->ram_waiting = NULL;
    } else {
        take_list(taken, &front->ram_waiting);
    }
    front->ram_waiting_count = 0;
}

// `leaves`: what waits on other harts is theirs to give back.
static void take_all(struct taken *taken, bool leaves)
{
    taken->named_count = taken->free_count = 0;
    taken->ram = NULL;
    taken->has_ram = false;
    taken->pages = taken->granules = taken->bytes = 0;
    for (unsigned index = 0; index < arch_hart_count(); index++) {
        struct vmap_front *front = per_hart_of(vmap_front, index);
        take(taken, &front->forgotten, &front->forgotten_owned);
        if (!leaves || (index == arch_hart_index() && front->ram_waiting_count >= VMAP_RAM_ROUND))
            take_ram(taken, front, leaves);
        if (front->waiting == NULL)
            continue;
        taken->named[taken->named_count++] = front->waiting;
        taken->granules += (front->waiting_owned + front->waiting_shown) * GRANULES_PER_PAGE;
        taken->bytes += front->waiting_bytes;
        front->waiting_bytes = 0;
        if (leaves && index != arch_hart_index()) {
            front->forgotten = front->waiting;
            front->forgotten_owned = front->waiting_owned;
            front->forgotten_at = vmap_flushes_done + 1;
            front->waiting = NULL;
            front->waiting_owned = 0;
        } else {
            take(taken, &front->waiting, &front->waiting_owned);
        }
        front->waiting_shown = 0;
    }
}

// Harts may go to tables that they remember only as long as none goes (vmap_entry).
static void forget_tables(void)
{
    for (unsigned index = 0; index < arch_hart_count(); index++)
        per_hart_of(vmap_front, index)->table_index = UINT64_MAX;
}

static void forget(const struct taken *taken, enum tlb_cause cause)
{
    struct tlb_batch batch;

    if (taken->has_ram || taken->granules > arch_tlb_flush_all_granules()) {
        tlb_flush_kernel_all(cause);
        return;
    }
    tlb_batch_init(&batch);
    for (unsigned i = 0; i < taken->named_count; i++)
        for (const struct vmalloc_area *area = taken->named[i]; area != NULL; area = area->waiting)
            tlb_batch_add(&batch, area->start, area->size);
    tlb_batch_flush(&batch, cause);
}

static always_inline void free_block(struct page *head)
{
    unsigned order = head->order;

    page_set_type(head, PAGE_RAW);
    if (likely(order == 0))
        __free_page(head);
    else if (order == 2)
        __free_pages(head, 2);
    else
        __free_pages(head, order);
}

static void give_back(struct vmalloc_area *area)
{
    while (area != NULL) {
        struct vmalloc_area *next = area->waiting;
        uint32_t frame = area->kind == VMALLOC_PAGES ? area->first_page : 0;
        while (frame != 0) {
            struct page *head = pfn_to_page(pfn(frame));
            frame = head->next;
            free_block(head);
        }
        area_give(area);
        area = next;
    }
}

static void are_back(uint64_t pages)
{
    __atomic_fetch_sub(&arch_this_hart(vmap_front).page_count, (int64_t)pages, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&leaving_pages, pages, __ATOMIC_RELAXED);
}

struct vmalloc_area *vmap_take_forgotten(struct vmap_front *front, uint64_t *pages)
{
    struct vmalloc_area *areas = front->forgotten;

    *pages = front->forgotten_owned;
    __atomic_fetch_add(&leaving_pages, *pages, __ATOMIC_RELAXED);
    front->forgotten = NULL;
    front->forgotten_owned = 0;
    return areas;
}

void vmap_give_forgotten(struct vmalloc_area *areas, uint64_t pages)
{
    give_back(areas);
    are_back(pages);
}

// Emptied tables are soon used again where areas come and go, and are looked for when somebody asks, or now and then,
// or when so much goes that it has tables of its own.
static bool is_worth_a_look(const struct taken *taken)
{
    bool is_turn = taken->named_count != 0 && vmap_flushes_done % FLUSHES_PER_LOOK == 0;

    return is_turn || taken->bytes >= 2 * pt_level_size(1);
}

static unsigned detach_empty(struct pgtable_detached *tables)
{
    return pgtable_detach_empty(&kernel_pgtable, vaddr(ARCH_VMALLOC_BASE), ARCH_VMALLOC_END - ARCH_VMALLOC_BASE,
                                tables) +
           pgtable_detach_empty(&kernel_pgtable, vaddr(ARCH_MODULE_BASE), ARCH_MODULE_END - ARCH_MODULE_BASE, tables);
}

// If meanwhile somebody else came here with his own round, one of the two goes.
static void use_again(struct taken *taken)
{
    struct vmap_front *front = vmap_gate_enter();

    take_list(taken, &front->ram_free);
    front->ram_free = taken->ram;
    vmap_gate_leave(front);
}

// Section 4.2.1: leaves were removed whose memory and addresses are used again, and perhaps entries above them, for
// which every address that they covered may be remembered.
static uint64_t purge(bool leaves)
{
    struct pgtable_detached tables = { 0 };
    struct taken taken;
    unsigned detached = 0;

    spin_lock(&purge_lock);
    vmap_gate_close();
    take_all(&taken, leaves);
    if (taken.named_count != 0)
        set_limit();
    if (!leaves || is_worth_a_look(&taken))
        detached = detach_empty(&tables);
    __atomic_fetch_add(&leaving_pages, taken.pages, __ATOMIC_RELAXED);
    if (detached > 0)
        forget_tables();
    vmap_gate_open();
    if (taken.named_count + detached > 0 || taken.has_ram) {
        if (detached > 0)
            tlb_flush_kernel_all(TLB_TABLE_FREED);
        else
            forget(&taken, TLB_VMALLOC_PURGE);
        __atomic_store_n(&vmap_flushes_done, vmap_flushes_done + 1, __ATOMIC_RELEASE);
    }
    spin_unlock(&purge_lock);
    if (taken.ram != NULL)
        use_again(&taken);
    pgtable_free_detached(&tables);
    for (unsigned i = 0; i < taken.free_count; i++)
        give_back(taken.to_free[i]);
    are_back(taken.pages);
    return taken.pages;
}

void vmap_purge(void) { purge(true); }

void vmalloc_flush(void) { purge(false); }

static uint64_t waiting_pages(void)
{
    uint64_t pages = __atomic_load_n(&leaving_pages, __ATOMIC_RELAXED);

    for (unsigned index = 0; index < arch_hart_count(); index++)
        pages += __atomic_load_n(&per_hart_of(vmap_front, index)->waiting_owned, __ATOMIC_RELAXED) +
                 __atomic_load_n(&per_hart_of(vmap_front, index)->forgotten_owned, __ATOMIC_RELAXED);
    return pages;
}

static uint64_t scan(uint64_t pages_wanted unused_arg) { return purge(false); }

void vmap_purge_stats(struct vmalloc_stats *stats)
{
    stats->waiting_pages = waiting_pages();
    stats->flush_count = __atomic_load_n(&vmap_flushes_done, __ATOMIC_RELAXED);
}

void vmap_purge_init(void)
{
    static struct shrinker shrinker = { .name = "vmalloc", .count = waiting_pages, .scan = scan };

    set_limit();
    forget_tables();
    shrinker_register(&shrinker);
}
