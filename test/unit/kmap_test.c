// mm/vmap/kmap.c: addresses for pages of HIGHMEM, shared and local.
// SPDX-License-Identifier: BSD-2-Clause
#include "access.h"
#include "highmem_support.h"
#include "sync_support.h"

#include <check/check.h>
#include <mm/memblock.h>
#include <mm/vmalloc.h>

// For a page that the direct map shows both kinds give that address, and hold nothing.
KTEST(kmap, direct_pages_have_their_address)
{
    struct page *page = alloc_page(GFP_KERNEL);
    struct kmap_stats before = kmap_stats();
    uint32_t count = preempt_count();

    REQUIRE(page);
    EXPECT_EQ(kmap(page), page_to_virt(page));
    EXPECT_EQ(kmap_local_page(page), page_to_virt(page));
    EXPECT_EQ(kmap_to_page((char *)page_to_virt(page) + 5), page);
    EXPECT_EQ(kmap_stats().in_use, before.in_use);
    EXPECT_EQ(preempt_count(), count);
    kunmap_local(page_to_virt(page));
    kunmap(page);
    EXPECT_EQ(preempt_count(), count);
    __free_page(page);
}

// One page by three addresses, shared, local and of an area: what is written by one is read by the others,
// every granule. The shared address is the same for the second asker, and lasts until both have given it
// back.
KTEST(kmap, one_page_by_several_addresses)
{
    SKIP_WITHOUT_HIGHMEM();
    struct page *page;

    REQUIRE(take_high_pages(&page, 1));
    char *shared = kmap(page), *area = vmap(&page, 1, PROT_KERNEL_RW), *address[3];
    REQUIRE(shared && area);
    EXPECT_EQ((uintptr_t)shared % PAGE_SIZE, 0);
    EXPECT_EQ(kmap(page), shared);
    EXPECT_EQ(kmap_stats().in_use, 1);
    address[0] = shared;
    address[1] = area;
    address[2] = kmap_local_page(page);
    EXPECT(address[2] != NULL && address[2] != shared && address[2] != area);
    for (unsigned from = 0; from < 3; from++) {
        mark_granules(address[from], from);
        for (unsigned to = 0; to < 3; to++)
            EXPECT(granules_are_marked(address[to], from));
    }
    EXPECT_EQ(kmap_to_page(shared + PAGE_SIZE - 1), page);
    EXPECT_EQ(kmap_to_page(address[2] + 1), page);
    EXPECT_NULL(kmap_to_page(address[2] + PAGE_SIZE));
    EXPECT_NULL(kmap_to_page(area));
    kunmap_local(address[2]);
    EXPECT_NULL(kmap_to_page(address[2]));
    kunmap(page);
    EXPECT(granules_are_marked(shared, 2));
    EXPECT_EQ(kmap_stats().in_use, 1);
    EXPECT_EQ(check_vmalloc(), 0);
    kunmap(page);
    EXPECT_EQ(kmap_stats().in_use, 0);
    EXPECT_NULL(kmap_to_page(shared));
    vunmap(area);
    give_pages(&page, 1);
}

// Every granule of a local mapping is its page's, and faults after it was given back; the next page in that
// slot shows itself, although faults were seen there meanwhile.
KTEST(kmap, local_mapping_ends_at_once)
{
    SKIP_WITHOUT_HIGHMEM();
    struct page *pages[2];
    uint64_t reached = 0;

    REQUIRE(take_high_pages(pages, 2));
    for (unsigned round = 0; round < 6; round++) {
        char *address = kmap_local_page(pages[round % 2]);
        EXPECT(round < 2 || granules_are_marked(address, round - 2));
        mark_granules(address, round);
        EXPECT(granules_are_marked(address, round));
        kunmap_local(address + round * 7 % PAGE_SIZE);
        for (uint64_t offset = 0; offset < PAGE_SIZE; offset += MMU_PAGE_SIZE)
            reached += !access_faults(address + offset, false);
    }
    EXPECT_EQ(reached, 0);
    give_pages(pages, 2);
}

// Local mappings nest as deep as there are slots, each one a page of its own; one more is refused. Only the
// last one can be given back.
KTEST(kmap, local_mappings_are_a_stack)
{
    SKIP_WITHOUT_HIGHMEM();
    struct page *pages[KMAP_LOCAL_SLOTS + 1];
    char *address[KMAP_LOCAL_SLOTS];
    uint32_t count = preempt_count();

    REQUIRE(take_high_pages(pages, KMAP_LOCAL_SLOTS + 1));
    for (unsigned i = 0; i < KMAP_LOCAL_SLOTS; i++) {
        address[i] = kmap_local_page(pages[i]);
        if (!EXPECT_NOT_NULL(address[i]))
            return;
        mark_granules(address[i], i);
    }
    EXPECT(in_atomic());
    EXPECT_MISUSE(1, EXPECT_NULL(kmap_local_page(pages[KMAP_LOCAL_SLOTS])));
    EXPECT_MISUSE(1, kunmap_local(address[0]));
    EXPECT_MISUSE(1, kunmap_local(address[KMAP_LOCAL_SLOTS - 2] + PAGE_SIZE - 1));
    EXPECT_MISUSE(1, kunmap_local(address[KMAP_LOCAL_SLOTS - 1] + PAGE_SIZE));
    for (unsigned i = KMAP_LOCAL_SLOTS; i-- > 0;) {
        EXPECT(granules_are_marked(address[i], i));
        EXPECT_EQ(kmap_to_page(address[i]), pages[i]);
        kunmap_local(address[i]);
        EXPECT_MISUSE(1, kunmap_local(address[i]));
    }
    EXPECT_EQ(preempt_count(), count);
    give_pages(pages, KMAP_LOCAL_SLOTS + 1);
}

// Pointers that are no pages, pages that are not mapped, addresses of something else: each is reported once
// and changes nothing.
KTEST(kmap, misuse_is_reported)
{
    char on_stack[8];
    struct page *const strangers[] = { NULL, (struct page *)8, (struct page *)(void *)on_stack, (struct page *)-32UL,
                                       MEMMAP + MAX_PFN };

    for (unsigned i = 0; i < array_count(strangers); i++) {
        EXPECT_MISUSE(1, EXPECT_NULL(kmap(strangers[i])));
        EXPECT_MISUSE(1, kunmap(strangers[i]));
        EXPECT_MISUSE(1, EXPECT_NULL(kmap_local_page(strangers[i])));
    }
    EXPECT_MISUSE(4, (kunmap_local(NULL), kunmap_local(on_stack), kunmap_local((void *)-1UL),
                      kunmap_local((void *)ARCH_VMALLOC_BASE)));
    EXPECT_NULL(kmap_to_page(NULL));
    EXPECT_NULL(kmap_to_page(on_stack));
    SKIP_WITHOUT_HIGHMEM();

    struct page *page, *hole = pfn_to_page(pfn(memblock_ram_end().value >> PAGE_SHIFT));
    REQUIRE(take_high_pages(&page, 1));
    EXPECT_MISUSE(3, (EXPECT_NULL(kmap(hole)), EXPECT_NULL(kmap_local_page(hole)), kunmap(hole)));
    EXPECT_MISUSE(2, (EXPECT_NULL(kmap((struct page *)(void *)((char *)page + 8))),
                      EXPECT_NULL(kmap_local_page((struct page *)(void *)((char *)page + 31)))));
    EXPECT_MISUSE(1, kunmap(page));
    char *shared = kmap(page), *local = kmap_local_page(page);
    EXPECT_MISUSE(3, (kunmap_local(shared), kunmap_local(local + PAGE_SIZE), kunmap_local(local - 1)));
    mark_granules(shared, 1);
    EXPECT(granules_are_marked(local, 1));
    kunmap_local(local);
    EXPECT_MISUSE(1, kunmap_local(local));
    kunmap(page);
    EXPECT_MISUSE(2, (kunmap(page), kunmap(page)));
    EXPECT_EQ(check_vmalloc(), 0);
    give_pages(&page, 1);
}

// clear_highpage and copy_highpage do it for every byte, from any zone to any other.
KTEST(kmap, clears_and_copies)
{
    struct page *pages[2] = { alloc_page(GFP_HIGHUSER), alloc_page(GFP_KERNEL) };

    REQUIRE(pages[0] && pages[1]);
    for (unsigned from = 0; from < 2; from++) {
        uint64_t different = 0, nonzero = 0;
        uint8_t *source = kmap_local_page(pages[from]);
        for (uint64_t i = 0; i < PAGE_SIZE; i++)
            source[i] = (uint8_t)(i * 7 + i / 256 + from);
        kunmap_local(source);
        copy_highpage(pages[1 - from], pages[from]);
        const uint8_t *copy = kmap_local_page(pages[1 - from]);
        for (uint64_t i = 0; i < PAGE_SIZE; i++)
            different += copy[i] != (uint8_t)(i * 7 + i / 256 + from);
        kunmap_local(copy);
        clear_highpage(pages[from]);
        source = kmap_local_page(pages[from]);
        for (uint64_t i = 0; i < PAGE_SIZE; i++)
            nonzero += source[i] != 0;
        kunmap_local(source);
        EXPECT_EQ(different, 0);
        EXPECT_EQ(nonzero, 0);
    }
    give_pages(pages, 2);
}

#define MANY (KMAP_SLOTS + 8)

static struct page *many[MANY];
static char *address_of[MANY];

// Slots keep their pages until none is clean: then all that nobody uses go at once, and their addresses
// fault, while those in use stay what they are.
KTEST(kmap, pool_is_emptied_lazily_and_at_once)
{
    SKIP_WITHOUT_HIGHMEM();
    uint64_t reached = 0;

    REQUIRE(take_high_pages(many, MANY));
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        address_of[i] = kmap(many[i]);
    // All slots hold pages of this case now.
    for (unsigned i = 0; i < KMAP_SLOTS; i++) {
        mark_granules(address_of[i], i);
        if (i % 4 != 0)
            kunmap(many[i]);
    }
    struct kmap_stats full = kmap_stats();
    EXPECT_EQ(full.in_use, KMAP_SLOTS / 4);
    EXPECT_EQ(full.lazy, KMAP_SLOTS - KMAP_SLOTS / 4);
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        EXPECT(granules_are_marked(address_of[i], i));
    EXPECT_EQ(kmap(many[1]), address_of[1]);
    EXPECT_EQ(kmap_stats().flushes, full.flushes);
    EXPECT_EQ(check_vmalloc(), 0);

    address_of[KMAP_SLOTS] = kmap(many[KMAP_SLOTS]);
    mark_granules(address_of[KMAP_SLOTS], KMAP_SLOTS);
    EXPECT_EQ(kmap_stats().flushes, full.flushes + 1);
    EXPECT_EQ(kmap_stats().lazy, 0);
    for (unsigned i = 0; i < KMAP_SLOTS; i++) {
        if (i % 4 == 0 || i == 1) {
            EXPECT(granules_are_marked(address_of[i], i));
            kunmap(many[i]);
        } else if (address_of[i] != address_of[KMAP_SLOTS]) {
            for (uint64_t offset = 0; offset < PAGE_SIZE; offset += MMU_PAGE_SIZE)
                reached += !access_faults(address_of[i] + offset, false);
        }
    }
    EXPECT_EQ(reached, 0);
    EXPECT(granules_are_marked(address_of[KMAP_SLOTS], KMAP_SLOTS));
    EXPECT_EQ(check_vmalloc(), 0);
    kunmap(many[KMAP_SLOTS]);
    give_pages(many, MANY);
}

static struct {
    uint64_t full_at_start;
    unsigned served;               // (A)
} full_pool;

// Hart 0 holds all slots; the others want one each, of pages that nobody has mapped.
static void want_a_slot(unsigned index, void *unused unused_arg)
{
    if (index > 0 && index <= MANY - KMAP_SLOTS) {
        struct page *page = many[KMAP_SLOTS + index - 1];
        char *address = kmap(page);
        mark_granules(address, index);
        ADD(full_pool.served, 1);
        EXPECT(granules_are_marked(address, index));
        kunmap(page);
    } else if (index == 0) {
        unsigned sleepers = min_of(arch_hart_count() - 1, (unsigned)(MANY - KMAP_SLOTS));
        SPIN_UNTIL(kmap_stats().full_count - full_pool.full_at_start >= 2 * sleepers);
        let_others_run();
        EXPECT_EQ(LOAD(full_pool.served), 0);
        // One slot is enough for all of them, one after the other.
        kunmap(many[17]);
        SPIN_UNTIL(LOAD(full_pool.served) == sleepers);
    }
}

// With every slot in use the next asker sleeps, and has his page when one comes free, and so has each behind
// him.
KTEST(kmap, full_pool_sleeps_until_a_slot_is_free)
{
    SKIP_WITHOUT_HIGHMEM();
    if (arch_hart_count() < 2)
        ktest_skip("nobody could be woken by another hart");
    drop_stale_wake();
    REQUIRE(take_high_pages(many, MANY));
    for (unsigned i = 0; i < KMAP_SLOTS; i++) {
        address_of[i] = kmap(many[i]);
        mark_granules(address_of[i], i);
    }
    EXPECT_EQ(kmap_stats().in_use, KMAP_SLOTS);
    full_pool.full_at_start = kmap_stats().full_count;
    full_pool.served = 0;
    ktest_run_on_harts(want_a_slot, NULL);
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        if (i != 17) {
            EXPECT(granules_are_marked(address_of[i], i));
            kunmap(many[i]);
        }
    EXPECT_EQ(check_vmalloc(), 0);
    give_pages(many, MANY);
}

static struct {
    unsigned phase;                // (A)
    unsigned first;                // many[first] and those behind it, around the end, are in the slots
    uint64_t wrong;
} turn;

// The pages that hart 0 holds, all of them, as this hart sees them: they are found in their slots, so nothing is
// flushed here.
static void look_at_slots(void)
{
    for (unsigned i = 0; i < KMAP_SLOTS; i++) {
        unsigned k = (turn.first + i) % MANY;
        char *address = kmap(many[k]);
        turn.wrong += !granules_are_marked(address, k);
        kunmap(many[k]);
    }
}

static void hold_slots(unsigned first)
{
    turn.first = first;
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        address_of[i] = kmap(many[(first + i) % MANY]);
}

static void release_slots(void)
{
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        kunmap(many[(turn.first + i) % MANY]);
}

static void fill_and_look(unsigned index, void *unused unused_arg)
{
    for (unsigned round = 0; round < 4 && index < 2; round++) {
        if (index == 0) {
            hold_slots(round * (MANY - KMAP_SLOTS) * 3 % MANY);
            STORE(turn.phase, 2 * round + 1);
        }
        SPIN_UNTIL(LOAD(turn.phase) >= 2 * round + 1);
        if (index == 1) {
            look_at_slots();
            STORE(turn.phase, 2 * round + 2);
        }
        SPIN_UNTIL(LOAD(turn.phase) >= 2 * round + 2);
        if (index == 0)
            release_slots();
    }
}

// When slots are emptied and filled again by one hart, another that knows what was there before sees the new
// pages.
KTEST(kmap, other_harts_forget_emptied_slots)
{
    SKIP_WITHOUT_HIGHMEM();
    if (arch_hart_count() < 2)
        ktest_skip("there is no other hart");
    REQUIRE(take_high_pages(many, MANY));
    for (unsigned i = 0; i < MANY; i++) {
        char *memory = kmap_local_page(many[i]);
        mark_granules(memory, i);
        kunmap_local(memory);
    }
    turn.phase = 0;
    turn.wrong = 0;
    ktest_run_on_harts(fill_and_look, NULL);
    EXPECT_EQ(turn.wrong, 0);
    EXPECT_EQ(kmap_stats().in_use, 0);
    give_pages(many, MANY);
}

static struct {
    uint64_t rounds, seed;
    uint64_t wrong;                // (A)
} churn;

static void churn_on_hart(unsigned index, void *unused unused_arg)
{
    struct random random = random_seeded(churn.seed + index);
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < churn.rounds; i++) {
        unsigned first = (unsigned)random_below(&random, MANY), second = (unsigned)random_below(&random, MANY);
        char *shared = kmap(many[first]), *local = kmap_local_page(many[second]), *inner = kmap_local_page(many[first]);

        wrong += !granules_are_marked(shared, first) || !granules_are_marked(local, second) ||
                 !granules_are_marked(inner, first) || kmap_to_page(shared) != many[first];
        kunmap_local(inner);
        kunmap_local(local);
        kunmap(many[first]);
    }
    __atomic_fetch_add(&churn.wrong, wrong, __ATOMIC_RELAXED);
}

// More pages than slots, mapped by all harts in any order: everybody sees the page that he asked for, every
// granule of it, whoever had the slot before.
KTEST(kmap, harts_see_their_pages)
{
    SKIP_WITHOUT_HIGHMEM();
    struct kmap_stats before = kmap_stats();

    REQUIRE(take_high_pages(many, MANY));
    for (unsigned i = 0; i < MANY; i++) {
        char *memory = kmap_local_page(many[i]);
        mark_granules(memory, i);
        kunmap_local(memory);
    }
    churn.rounds = ktest_rounds(500UL, 400UL);
    churn.seed = ktest_random();
    churn.wrong = 0;
    ktest_run_on_harts(churn_on_hart, NULL);
    EXPECT_EQ(churn.wrong, 0);
    EXPECT_GE(kmap_stats().flushes - before.flushes, 1);
    EXPECT_EQ(kmap_stats().in_use, 0);
    EXPECT_EQ(check_vmalloc(), 0);
    give_pages(many, MANY);
}
