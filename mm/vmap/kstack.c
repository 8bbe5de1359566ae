// Kernel stacks: areas of granules whose lower half of the alignment is never mapped.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <mm/granule.h>
#include <mm/kstack.h>
#include <mm/pgtable.h>
#include <mm/tlb.h>

#define STACK_GRANULES (KERNEL_STACK_SIZE / MMU_PAGE_SIZE)

_Static_assert(is_power_of_two(KERNEL_STACK_SIZE) && KERNEL_STACK_SIZE >= MMU_PAGE_SIZE,
               "one bit tells an overrun");

// Unmaps a stack, whole or half made, and gives its granules back.
static void take_down(struct vmalloc_area *area)
{
    void *granule[STACK_GRANULES] = { NULL };

    for (unsigned i = 0; i < STACK_GRANULES; i++) {
        struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr_add(area->start, i * MMU_PAGE_SIZE));
        if (walk.mapped)
            granule[i] = phys_to_virt(walk.pa);
    }
    vmalloc_area_unmap(area);
    for (unsigned i = 0; i < STACK_GRANULES; i++)
        if (granule[i] != NULL)
            granule_free(&granule_stacks, granule[i]);
    area_give(area);
}

static bool add_granule(struct vmalloc_area *area, uint64_t offset)
{
    void *granule = granule_alloc(&granule_stacks, GFP_KERNEL);

    if (granule == NULL)
        return false;
    if (vmalloc_area_map(area, offset, virt_to_phys(granule), MMU_PAGE_SIZE, PROT_KERNEL_RW) == 0)
        return true;
    granule_free(&granule_stacks, granule);
    return false;
}

void *kstack_alloc(void)
{
    struct vmalloc_area *area = vmalloc_area_create(KERNEL_STACK_SIZE, 2 * KERNEL_STACK_SIZE,
                                                    KERNEL_STACK_SIZE, VMALLOC_STACK,
                                                    __builtin_return_address(0));
    if (area == NULL)
        return NULL;
    bool had_table = !area->made_table && vmalloc_first_entry(area) != NULL;
    for (unsigned i = 0; i < STACK_GRANULES; i++)
        if (!add_granule(area, i * MMU_PAGE_SIZE)) {
            take_down(area);
            return NULL;
        }
    vmalloc_area_publish(area, VMALLOC_STACK, 0);
    // Whichever hart first runs on it must not remember that nothing was there: on a stack no fault can be taken. So
    // what section 4.2.1 leaves to the fault for new leaves is done now; for a new table, by a fence for everything.
    if (had_table)
        tlb_flush_kernel(area->start, area->size, TLB_STACK_MAPPED);
    else
        tlb_flush_kernel_all(TLB_STACK_MAPPED);
    return vaddr_ptr(area->start);
}

void kstack_free(void *stack)
{
    if (stack == NULL)
        return;
    struct vmalloc_area *area = vmalloc_area_claim(stack, VMALLOC_STACK, "kstack_free",
                                                   __builtin_return_address(0));
    if (area != NULL)
        take_down(area);
}

// Takes no lock: the overrun may have happened under any.
bool kstack_is_overrun(vaddr_t address, void **stack)
{
    vaddr_t above = vaddr(align_up(address.value, 2 * KERNEL_STACK_SIZE));

    if (!is_vmalloc_addr(vaddr_ptr(address)) || (address.value & KERNEL_STACK_SIZE) == 0 ||
        !is_vmalloc_addr(vaddr_ptr(above)))
        return false;
    struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, above);
    if (!walk.mapped || walk.pa.value >= ARCH_PHYS_LIMIT ||
        page_type(pfn_to_page(paddr_to_pfn(walk.pa))) != PAGE_STACK)
        return false;
    *stack = vaddr_ptr(above);
    return true;
}
