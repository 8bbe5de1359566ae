// The early page tables, and the way from them to generic code.
// SPDX-License-Identifier: BSD-2-Clause
//
// riscv_early_map runs with translation off, at the address where the image was loaded: it may touch nothing but what
// is near the pc (medany code), no per-hart data and no pointer constants.

#include "../riscv.h"
#include <arch/image.h>
#include <arch/layout.h>
#include <arch/mmu.h>
#include <arch/upcalls.h>

#define EARLY_IMAGE_BYTES MB(4)

static pte_t early_root[PT_ENTRIES] __attribute__((section(".init.bss"), aligned(MMU_PAGE_SIZE)));
static pte_t early_image_table[PT_ENTRIES] __attribute__((section(".init.bss"), aligned(MMU_PAGE_SIZE)));

static uint64_t image_offset;      // virtual less physical

paddr_t arch_image_phys(void)
{
    return paddr(ARCH_IMAGE_BASE - image_offset);
}

// Maps the whole physical window at ARCH_DIRECT_BASE, so that the device tree can be read wherever it lies, and the
// image with all rights: the exact map follows as soon as RAM is known. Returns the root, physical.
uint64_t riscv_early_map(uint64_t image_phys)
{
    // Nothing has cleared .init.bss: it is not part of .bss, and the loader owes us nothing.
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        early_root[i] = (pte_t){ 0 };
        early_image_table[i] = (pte_t){ 0 };
    }

    const unsigned top = ARCH_PT_LEVELS - 1;
    for (uint64_t pa = 0; pa < ARCH_PHYS_LIMIT; pa += pt_level_size(top))
        early_root[pt_index(vaddr(ARCH_DIRECT_BASE + pa), top)] =
            arch_pte_leaf(paddr(pa), PROT_KERNEL_RW, top);

    for (uint64_t offset = 0; offset < EARLY_IMAGE_BYTES; offset += pt_level_size(1))
        early_image_table[pt_index(vaddr(ARCH_IMAGE_BASE + offset), 1)] =
            arch_pte_leaf(paddr(image_phys + offset), PROT_KERNEL_RW | PROT_EXEC, 1);
    early_root[pt_index(vaddr(ARCH_IMAGE_BASE), top)] = arch_pte_table(paddr((uintptr_t)early_image_table));
    return (uintptr_t)early_root;
}

_Noreturn void riscv_boot(uint64_t hart_id, uint64_t device_tree, uint64_t offset)
{
    image_offset = offset;
    riscv_first_hart(hart_id);
    upcall_boot(hart_id, paddr(device_tree));
}
