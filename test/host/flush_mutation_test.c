// Every flush of mm/, carried out wrongly in every way: the exact TLBs show what would be left behind.
// SPDX-License-Identifier: BSD-2-Clause
//
// For each cause the operation runs while every hart that the flush names has learnt, from the tables as they were,
// all that it is to forget. The drill's hook stands in front of the port: it carries the flush out as the mutation has
// it, counts the granules of which some hart then knows what is not so, and lets the right flush follow. A mutation
// whose count is 0 would be a flush that nobody needs, or one that no case could miss.
#include "../unit/highmem_support.h"

#include <arch/smp.h>
#include <base/bits.h>
#include <base/format.h>
#include <fake_arch.h>
#include <mm/guard_memory.h>
#include <mm/kstack.h>
#include <mm/pgtable.h>
#include <mm/slab.h>
#include <mm/slab_guard.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <mm/vmem.h>

enum mutation { NONE, DROP, BESIDE, SHORT, HART, MUTATIONS };

// What a flush is about, when it does not say so itself because it is one of everything.
static struct tlb_range subject;

static struct {
    const struct row *row;
    enum mutation mutation;
    unsigned seen;                 // flushes for that cause
    bool is_all;                   // the first of them named no range
    uint64_t granules, harts;      // that it is about
    uint64_t stale;                // granules, hart by hart, after it
} drill;

struct row {
    enum tlb_cause cause;
    void (*run)(void);
    bool is_new;                   // entries come where there were none: what is stale is that there is nothing
    bool needs_highmem, needs_window;
};

static void on_each_hart(uint64_t harts, vaddr_t start, uint64_t bytes, void (*load)(unsigned, vaddr_t, uint64_t))
{
    for (; harts != 0; harts &= harts - 1)
        load(lowest_bit(harts), start, bytes);
}

// What all harts may have learnt of memory that is about to change.
static void learn(const void *start, uint64_t bytes)
{
    on_each_hart(low_bits(arch_hart_count()), vaddr_of(start), bytes, fake_tlb_load);
}

// The request as the mutation has it; false: none at all.
static bool spoil(struct tlb_request *request, struct tlb_range *range)
{
    switch (drill.mutation) {
    case DROP:
        return false;
    case BESIDE:
        range[0].start = vaddr_add(range[0].start, MMU_PAGE_SIZE);
        return true;
    case SHORT:
        range[request->range_count - 1].bytes -= MMU_PAGE_SIZE;
        return true;
    case HART:
        request->harts &= ~(1UL << highest_bit(request->harts));
        return true;
    default:
        return true;
    }
}

static bool drill_hook(struct tlb_request *request, enum tlb_cause cause)
{
    struct tlb_range range[TLB_BATCH_RANGES];
    struct tlb_request spoiled = *request;
    const struct tlb_range *named = request->range_count != 0 ? request->range : &subject;
    unsigned count = max_of(request->range_count, 1U);

    if (cause != drill.row->cause || drill.seen++ > 0)
        return true;
    spoiled.harts &= low_bits(arch_hart_count());
    drill.harts = spoiled.harts;
    drill.is_all = request->range_count == 0;
    for (unsigned i = 0; i < count; i++) {
        drill.granules += named[i].bytes / MMU_PAGE_SIZE;
        range[i] = named[i];
        if (drill.row->is_new)
            on_each_hart(drill.harts, named[i].start, named[i].bytes, fake_tlb_load_nothing);
    }
    if (request->range_count != 0)
        spoiled.range = range;
    if (spoil(&spoiled, range))
        arch_tlb_flush(&spoiled);
    for (unsigned i = 0; i < count; i++)
        for (uint64_t rest = drill.harts; rest != 0; rest &= rest - 1)
            drill.stale += fake_tlb_stale_granules(lowest_bit(rest), named[i].start, named[i].bytes);
    return true;
}

// --- The operations. Each makes one flush for its cause, or more, of which the first counts.

// A page in the vmalloc space that belongs to the case, with entries that it writes itself.
struct own_page {
    struct page *page;
    uint64_t address;
};

static bool own_page_map(struct own_page *own, unsigned prot)
{
    own->page = alloc_page(GFP_KERNEL);
    return EXPECT(own->page) &&
           EXPECT_EQ(vmem_alloc(&vmalloc_arena, PAGE_SIZE, PAGE_SIZE, 0, GFP_KERNEL, &own->address), 0) &&
           EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr(own->address), page_to_phys(own->page), PAGE_SIZE, prot, 0), 0);
}

static void own_page_unmap(struct own_page *own)
{
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, vaddr(own->address), PAGE_SIZE), PAGE_SIZE);
}

static void own_page_end(struct own_page *own)
{
    vmem_free(&vmalloc_arena, own->address);
    __free_page(own->page);
}

static void map_and_unmap_area(void)
{
    struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };
    void *area = vmap(pages, 2, PROT_KERNEL_RW);

    if (EXPECT(area)) {
        learn(area, 2 * PAGE_SIZE);
        vunmap(area);
    }
    give_pages(pages, 2);
}

// Two areas that do not touch, and one between them that stays, so that no table is given up.
static void purge_areas(void)
{
    void *areas[3];

    for (unsigned i = 0; i < 3; i++)
        REQUIRE(areas[i] = vmalloc(PAGE_SIZE));
    for (unsigned i = 0; i < 3; i += 2) {
        learn(areas[i], PAGE_SIZE);
        vfree(areas[i]);
    }
    vmalloc_flush();
    vfree(areas[1]);
    vmalloc_flush();
}

// An area that has tables of its own: these go with the same flush.
static void free_tables(void)
{
    const uint64_t bytes = 2 * pt_level_size(1) + KB(64);
    void *area;

    // Where memory is short, making room for the area is no flush of its own.
    tlb_set_flush_hook(NULL);
    REQUIRE(area = vmalloc(bytes));
    vmalloc_flush();
    tlb_set_flush_hook(drill_hook);
    subject = (struct tlb_range){ vaddr_of(area), bytes };
    learn(area, bytes);
    vfree(area);
    vmalloc_flush();
}

static void unmap_for(enum tlb_cause cause)
{
    struct own_page own;

    if (!own_page_map(&own, PROT_KERNEL_RW))
        return;
    learn((void *)own.address, PAGE_SIZE);
    own_page_unmap(&own);
    tlb_flush_kernel(vaddr(own.address), PAGE_SIZE, cause);
    own_page_end(&own);
}

static void free_init(void) { unmap_for(TLB_INIT_FREED); }

static void protect(void)
{
    struct own_page own;

    if (!own_page_map(&own, PROT_KERNEL_RW))
        return;
    learn((void *)own.address, PAGE_SIZE);
    EXPECT_EQ(pgtable_protect(&kernel_pgtable, vaddr(own.address), PAGE_SIZE, PROT_KERNEL_RO), 0);
    tlb_flush_kernel(vaddr(own.address), PAGE_SIZE, TLB_PROTECT);
    own_page_unmap(&own);
    tlb_flush_kernel(vaddr(own.address), PAGE_SIZE, TLB_UNMAP);
    own_page_end(&own);
}

// Its neighbour keeps their table, so that the flush is one by address.
static void make_stack(void)
{
    tlb_set_flush_hook(NULL);
    void *neighbour = kstack_alloc();
    tlb_set_flush_hook(drill_hook);
    kstack_free(kstack_alloc());
    tlb_set_flush_hook(NULL);
    kstack_free(neighbour);
}

// More pages than slots, each shown once, until the flush has been made.
static void use_pool(void)
{
    static struct page *pages[KMAP_SLOTS + 1];

    REQUIRE(take_high_pages(pages, KMAP_SLOTS + 1));
    for (unsigned i = 0; i <= KMAP_SLOTS; i++) {
        learn(kmap(pages[i]), PAGE_SIZE);
        kunmap(pages[i]);
    }
    give_pages(pages, KMAP_SLOTS + 1);
}

static void use_local_slot(void)
{
    struct page *page;

    REQUIRE(take_high_pages(&page, 1));
    char *address = kmap_local_page(page);
    learn(address, PAGE_SIZE);
    kunmap_local(address);
    give_pages(&page, 1);
}

static void use_guarded_object(void)
{
    struct kmem_cache *cache = kmem_cache_create("flush drill", 64, 0, SLAB_GUARD, NULL, NULL);
    void *object;

    REQUIRE(cache);
    object = kmem_cache_alloc(cache, GFP_KERNEL);
    learn((void *)align_down((uintptr_t)object, PAGE_SIZE), PAGE_SIZE);
    kmem_cache_free(cache, object);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// As who gets a fault that the tables do not justify.
static void answer_fault(void)
{
    struct own_page own;

    if (!own_page_map(&own, PROT_KERNEL_RW))
        return;
    subject = (struct tlb_range){ vaddr(own.address), MMU_PAGE_SIZE };
    tlb_flush_local_all(TLB_SPURIOUS);
    own_page_unmap(&own);
    tlb_flush_kernel(vaddr(own.address), PAGE_SIZE, TLB_UNMAP);
    own_page_end(&own);
}

static void set_asid(uint32_t asid)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        fake_tlb_use_asid(hart, asid);
}

// A number goes round, until another address space gets it.
static void reuse_asid(void)
{
    uint32_t first = asid_alloc(), asid = first;
    struct own_page own;

    if (!own_page_map(&own, PROT_READ | PROT_WRITE))
        return;
    subject = (struct tlb_range){ vaddr(own.address), PAGE_SIZE };
    set_asid(first);
    learn((void *)own.address, PAGE_SIZE);
    own_page_unmap(&own);
    do {
        asid_free(asid);
        asid = asid_alloc();
    } while (EXPECT_NE(asid, ASID_KERNEL) && drill.seen == 0);
    set_asid(ASID_KERNEL);
    asid_free(asid);
    own_page_end(&own);
}

static const struct row rows[] = {
    { .cause = TLB_VMALLOC_PURGE, .run = purge_areas },
    { .cause = TLB_UNMAP, .run = map_and_unmap_area },
    { .cause = TLB_TABLE_FREED, .run = free_tables },
    { .cause = TLB_PROTECT, .run = protect },
    { .cause = TLB_STACK_MAPPED, .run = make_stack, .is_new = true },
    { .cause = TLB_KMAP_FILLED, .run = use_pool, .is_new = true, .needs_highmem = true },
    { .cause = TLB_KMAP_EMPTIED, .run = use_pool, .needs_highmem = true },
    { .cause = TLB_KMAP_LOCAL_FILLED, .run = use_local_slot, .is_new = true, .needs_highmem = true },
    { .cause = TLB_KMAP_LOCAL_EMPTIED, .run = use_local_slot, .needs_highmem = true },
    { .cause = TLB_INIT_FREED, .run = free_init },
    { .cause = TLB_GUARD_SHOWN, .run = use_guarded_object, .is_new = true, .needs_window = true },
    { .cause = TLB_GUARD_HIDDEN, .run = use_guarded_object, .needs_window = true },
    { .cause = TLB_SPURIOUS, .run = answer_fault, .is_new = true },
    { .cause = TLB_ASID_REUSED, .run = reuse_asid },
};

_Static_assert(array_count(rows) == TLB_CAUSE_COUNT, "every cause has a row");

static void run(const struct row *row, enum mutation mutation)
{
    // What the row before left to be flushed, and tables that are empty since.
    vmalloc_flush();
    vmalloc_flush();
    memset(&drill, 0, sizeof drill);
    subject = (struct tlb_range){ vaddr(0), 0 };
    drill.row = row;
    drill.mutation = mutation;
    tlb_set_flush_hook(drill_hook);
    row->run();
    tlb_set_flush_hook(NULL);
    EXPECT_GE(drill.seen, 1);
    EXPECT_GE(drill.granules, 1);
}

// Why a cell cannot be: the text stands in it. What the flush names is known from the row's first cell on.
static const char *no_cell(enum mutation mutation)
{
    if ((mutation == BESIDE || mutation == SHORT) && drill.is_all)
        return "all";              // everything has no bounds
    if (mutation == SHORT && drill.granules == 1)
        return "one";              // short of its only granule it is dropped
    if (mutation == HART && count_bits(drill.harts) == 1)
        return "own";              // without its only hart it is dropped
    return NULL;
}

static uint64_t expected(enum mutation mutation)
{
    uint64_t harts = count_bits(drill.harts);

    return mutation == NONE ? 0 : mutation == DROP ? drill.granules * harts : mutation == HART ? drill.granules : harts;
}

// Stale granules over all harts, for every flush and everything that can be wrong with it. "own": a flush of one
// hart, "one": of one granule, "all": of everything; "-": the machine has no HIGHMEM, or no guarded objects.
KTEST(flush_mutation, every_wrong_flush_is_seen)
{
    ktest_note("%-20s %6s %6s %6s %6s %6s", "cause", "none", "drop", "beside", "short", "hart");
    for (unsigned i = 0; i < array_count(rows); i++) {
        const struct row *row = &rows[i];
        char cell[MUTATIONS][8];
        for (enum mutation mutation = NONE; mutation < MUTATIONS; mutation++) {
            bool is_absent = (row->needs_highmem && !has_highmem()) ||
                             (row->needs_window && slab_guard_interval() == 0);
            const char *why_not = is_absent ? "-" : no_cell(mutation);
            if (why_not == NULL) {
                run(row, mutation);
                EXPECT_EQ(drill.stale, expected(mutation));
                format_text(cell[mutation], sizeof cell[mutation], "%lu", drill.stale);
            } else {
                string_copy(cell[mutation], why_not, sizeof cell[mutation]);
            }
        }
        ktest_note("%-20s %6s %6s %6s %6s %6s", tlb_cause_name(row->cause), cell[NONE], cell[DROP], cell[BESIDE],
                   cell[SHORT], cell[HART]);
    }
}
