// kmap_local_page and kunmap_local: each hart's stack of slots.
// SPDX-License-Identifier: BSD-2-Clause

#include "kmap_private.h"

#include <arch/smp.h>
#include <mm/tlb.h>

#define LOCAL_BYTES (KMAP_LOCAL_SLOTS * PAGE_SIZE)

_Static_assert(KMAP_LOCAL_SLOTS * GRANULES_PER_PAGE <= PT_ENTRIES, "a hart's entries lie in one table");

// Touched by its hart alone, from threads that cannot leave it and from interrupts, which leave it as it was.
static struct stack {
    unsigned depth;                // slots in use, from the first
    pte_t *entries;                // (C) of the first slot
    struct page *page[KMAP_LOCAL_SLOTS];
} stacks[MAX_HARTS] __attribute__((aligned(CACHE_LINE_BYTES)));

static vaddr_t local_start;        // (C) 0: there is no HIGHMEM

void kmap_local_init(vaddr_t start)
{
    local_start = start;
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        stacks[hart].entries = pgtable_granule_entry(&kernel_pgtable, vaddr_add(start, hart * LOCAL_BYTES));
}

static vaddr_t slot_address(unsigned hart, unsigned index)
{
    return vaddr_add(local_start, hart * LOCAL_BYTES + index * PAGE_SIZE);
}

static void write_entries(const struct stack *stack, unsigned index, paddr_t phys, unsigned prot)
{
    pgtable_write_granules(stack->entries + index * GRANULES_PER_PAGE, GRANULES_PER_PAGE, phys, prot);
    // Section 4.2.1: leaves were changed. No other hart knows anything of this one's slots.
    tlb_flush_local(slot_address((unsigned)(stack - stacks), index), PAGE_SIZE,
                    prot != 0 ? TLB_KMAP_LOCAL_FILLED : TLB_KMAP_LOCAL_EMPTIED);
}

static void set_depth(struct stack *stack, unsigned depth)
{
    // An interrupt between here and the entry's change must find the slot taken.
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    stack->depth = depth;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void *kmap_local_high(struct page *page)
{
    const char *fault = kmap_page_fault(page);

    preempt_disable();
    unsigned hart = arch_hart_index();
    struct stack *stack = &stacks[hart];
    unsigned index = stack->depth;

    if (fault == NULL && index == KMAP_LOCAL_SLOTS)
        fault = "the hart's slots are used up";
    if (fault != NULL) {
        preempt_enable();
        kmap_report_misuse("kmap_local_page", page, fault, __builtin_return_address(0));
        return NULL;
    }
    set_depth(stack, index + 1);
    stack->page[index] = page;
    write_entries(stack, index, page_to_phys(page), PROT_KERNEL_RW);
    return vaddr_ptr(slot_address(hart, index));
}

// The slot of an address among this hart's that are in use, or KMAP_LOCAL_SLOTS.
static unsigned slot_in_use(unsigned hart, const void *address)
{
    uint64_t offset = (uintptr_t)address - slot_address(hart, 0).value;

    return local_start.value != 0 && offset < stacks[hart].depth * PAGE_SIZE ? (unsigned)(offset / PAGE_SIZE)
                                                                             : KMAP_LOCAL_SLOTS;
}

void kunmap_local_high(const void *address)
{
    preempt_disable();
    unsigned hart = arch_hart_index();
    struct stack *stack = &stacks[hart];
    unsigned index = slot_in_use(hart, address);
    const char *fault = index == KMAP_LOCAL_SLOTS    ? "no local mapping of this hart"
                        : index + 1 != stack->depth  ? "not the latest local mapping"
                                                     : NULL;

    if (fault == NULL) {
        stack->page[index] = NULL;
        write_entries(stack, index, paddr(0), 0);
        set_depth(stack, index);
        // That of the mapping.
        preempt_enable();
    }
    preempt_enable();
    if (fault != NULL)
        kmap_report_misuse("kunmap_local", address, fault, __builtin_return_address(0));
}

struct page *kmap_local_to_page(const void *address)
{
    preempt_disable();
    unsigned hart = arch_hart_index(), index = slot_in_use(hart, address);
    struct page *page = index != KMAP_LOCAL_SLOTS ? stacks[hart].page[index] : NULL;

    preempt_enable();
    return page;
}

struct page *kmap_local_shown_page(vaddr_t address)
{
    uint64_t offset = address.value - local_start.value;

    return offset < MAX_HARTS * LOCAL_BYTES ? stacks[offset / LOCAL_BYTES].page[offset % LOCAL_BYTES / PAGE_SIZE]
                                            : NULL;
}
