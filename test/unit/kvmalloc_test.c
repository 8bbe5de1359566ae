// mm/vmap/kvmalloc.c: contiguous where that is easy, in pieces where it is not, and back whichever it was.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kvmalloc.h>

#include "bytes.h"
#include "fault_plan.h"
#include "memory_left.h"

#include <base/string.h>
#include <mm/slab_guard.h>
#include <mm/vmalloc.h>

// Requests that are tried lightly, which are those for blocks, fail; of the others the one with this number does.
static uint64_t failing, seen;

static bool refuse_blocks(enum fault_site site unused_arg, gfp_t gfp)
{
    return (gfp & __GFP_NORETRY) != 0 || seen++ == failing;
}

static void blocks_are_refused(bool is_so)
{
    failing = UINT64_MAX;
    seen = 0;
    mm_set_fault_hook(is_so ? refuse_blocks : NULL);
}

// Every size comes as one block while there are blocks, zeroed if asked for.
KTEST(kvmalloc, is_contiguous_when_that_is_easy)
{
    for (size_t size = 1; size <= PAGE_SIZE << 4; size = size * 2 + 1) {
        void *object = kvmalloc(size, GFP_KERNEL);
        REQUIRE(object);
        EXPECT(!is_vmalloc_addr(object) || slab_guard_holds(object));
        memset(object, 0xff, size);
        kvfree(object);
        object = kvzalloc(size, GFP_KERNEL);
        REQUIRE(object);
        EXPECT(is_all(object, 0, size));
        kvfree(object);
    }
}

// Without blocks every size above a page comes in pieces, and up to a page none does.
KTEST(kvmalloc, is_in_pieces_when_there_are_no_blocks)
{
    blocks_are_refused(true);
    for (size_t size = PAGE_SIZE / 2; size <= PAGE_SIZE << 4; size = size * 2 + 1) {
        uint8_t *object = kvcalloc(1, size, GFP_KERNEL);
        if (!EXPECT(object != NULL))
            break;
        EXPECT_EQ(is_vmalloc_addr(object) && !slab_guard_holds(object), size > PAGE_SIZE);
        EXPECT(is_all(object, 0, size));
        memset(object, 0x5a, size);
        kvfree(object);
    }
    blocks_are_refused(false);
}

// More than the largest block is nothing but pieces, and no misuse.
KTEST(kvmalloc, larger_than_any_block)
{
    size_t size = (PAGE_SIZE << MAX_ORDER) + 1;
    char *object;

    EXPECT_MISUSE(0, object = kvmalloc(size, GFP_KERNEL));
    REQUIRE(object);
    EXPECT(is_vmalloc_addr(object));
    object[0] = object[size - 1] = 'q';
    kvfree(object);
    EXPECT_MISUSE(1, EXPECT_NULL(kvmalloc(size, GFP_ATOMIC)));
    EXPECT_MISUSE(1, EXPECT_NULL(kvmalloc(SIZE_MAX, GFP_KERNEL)));
}

// Who may not sleep, and who asks for a zone, gets one block or nothing.
KTEST(kvmalloc, goes_to_vmalloc_for_sleepers_alone)
{
    static const gfp_t flags[] = { GFP_ATOMIC, GFP_NOWAIT, GFP_KERNEL | GFP_DMA, GFP_KERNEL | GFP_DMA32 };

    for (unsigned i = 0; i < array_count(flags); i++) {
        fault_plan_start(FAULT_BIT(FAULT_PAGE), 0, 1);
        EXPECT_NULL(kvmalloc(PAGE_SIZE * 4, flags[i] | __GFP_NOWARN));
        EXPECT(fault_plan_stop());
        EXPECT_EQ(fault_plan.seen, 1);
    }
}

// Whichever request fails on the way leaves nothing behind, and __GFP_NOFAIL gets its memory in the end.
KTEST(kvmalloc, fails_at_any_step_without_loss)
{
    bool is_through = false;
    void *object;

    for (uint64_t step = 0; !is_through; step++) {
        blocks_are_refused(true);
        failing = step;
        object = kvmalloc(PAGE_SIZE * 3, GFP_KERNEL | __GFP_NOWARN);
        is_through = seen <= step;
        mm_set_fault_hook(NULL);
        // Where a block of several pages was refused there may be single ones.
        EXPECT(object != NULL || !is_through);
        kvfree(object);
        EXPECT_LT(step, 100);
    }
    EXPECT_LT(4, seen);
    fault_plan_start(FAULT_ALL, 0, UINT64_MAX);
    object = kvmalloc(PAGE_SIZE * 3, GFP_KERNEL | __GFP_NOFAIL);
    EXPECT(fault_plan_stop());
    REQUIRE(object);
    EXPECT(!is_vmalloc_addr(object) || slab_guard_holds(object));
    kvfree(object);
}

// With every second page in use there is no block of two, and yet half of memory for who asks here.
KTEST(kvmalloc, lives_with_fragmentation)
{
    struct page_chain all = { 0 }, kept = { 0 }, chain = { 0 };

    leave_memory(&chain, MB(32));
    chain_fill(&all, GFP_NOWAIT | __GFP_MEMALLOC, 0, UINT64_MAX);
    uint64_t freed = 0;
    for (struct page *page; (page = chain_pop(&all)) != NULL;)
        if (page_to_pfn(page).value % 2 == 0) {
            chain_push(&kept, page);
        } else {
            __free_page(page);
            freed++;
        }
    EXPECT_NULL(kmalloc(PAGE_SIZE * 16, GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY));
    size_t size = min_of(freed / 4, 64UL) * PAGE_SIZE;
    char *object = kvzalloc(size, GFP_KERNEL | __GFP_NOWARN);
    if (EXPECT(object != NULL)) {
        EXPECT(is_vmalloc_addr(object));
        EXPECT(is_all(object, 0, size));
        kvfree(object);
    }
    chain_free(&kept);
    chain_free(&chain);
}

// Products that overflow are NULL; nothing is ignored, and what is neither kind is reported.
KTEST(kvmalloc, odd_arguments)
{
    volatile size_t half = 1UL << 32;
    char on_stack[16];

    EXPECT_MISUSE(0, EXPECT_NULL(kvmalloc_array(half, half, GFP_KERNEL)));
    EXPECT_MISUSE(0, EXPECT_NULL(kvcalloc(half * 2, half, GFP_KERNEL)));
    EXPECT_EQ(kvmalloc(0, GFP_KERNEL), ZERO_SIZE_PTR);
    EXPECT_EQ(kvmalloc_array(0, 8, GFP_KERNEL), ZERO_SIZE_PTR);
    EXPECT_MISUSE(0, (kvfree(NULL), kvfree(ZERO_SIZE_PTR)));
    EXPECT_MISUSE(1, kvfree(on_stack));
    EXPECT_MISUSE(1, EXPECT_NULL(kvrealloc(on_stack, 8, GFP_KERNEL)));
    char *area = vmalloc(PAGE_SIZE * 2);
    REQUIRE(area);
    EXPECT_MISUSE(1, kvfree(area + PAGE_SIZE));
    EXPECT_MISUSE(1, EXPECT_NULL(kvrealloc(area + PAGE_SIZE, 8, GFP_KERNEL)));
    kvfree(area);
    EXPECT_MISUSE(1, kvfree(area));
}

// Contents are kept from kind to kind, and what was not asked for before is zero.
KTEST(kvmalloc, kvrealloc_keeps_and_clears)
{
    static const struct { size_t pages, bytes; bool in_pieces; } steps[] = {
        { 0, 100, false }, { 0, 300, false }, { 2, 5, true }, { 2, 0, true }, { 1, 1, true }, { 6, 3, true },
        { 9, 0, false }, { 3, 0, false }, { 20, 1, true }, { 0, 8, true }, { 0, 0, false },
    };
    char *object = NULL;
    size_t size = 0;

    for (unsigned i = 0; i < array_count(steps); i++) {
        size_t wanted = steps[i].pages * PAGE_SIZE + steps[i].bytes;
        blocks_are_refused(steps[i].in_pieces);
        object = kvrealloc(object, wanted, GFP_KERNEL | __GFP_ZERO);
        blocks_are_refused(false);
        REQUIRE(object);
        if (wanted == 0)
            break;
        EXPECT_EQ(is_vmalloc_addr(object) && !slab_guard_holds(object), steps[i].in_pieces);
        size_t kept = min_of(size, wanted);
        EXPECT(is_all(object, 'a' + (int)i, kept));
        EXPECT(is_all(object + kept, 0, wanted - kept));
        size = wanted;
        memset(object, 'a' + (int)i + 1, size);
    }
    EXPECT_EQ(object, ZERO_SIZE_PTR);
    char *kept = kvmalloc(100, GFP_KERNEL);
    REQUIRE(kept);
    memset(kept, 'x', 100);
    fault_plan_start(FAULT_ALL, 0, UINT64_MAX);
    EXPECT_NULL(kvrealloc(kept, PAGE_SIZE * 4, GFP_KERNEL | __GFP_NOWARN));
    EXPECT(fault_plan_stop());
    EXPECT(is_all(kept, 'x', 100));
    kvfree(kept);
}
