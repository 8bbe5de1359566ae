// The fake port's start: its address windows and its RAM.
// SPDX-License-Identifier: BSD-2-Clause
#include <fake_arch.h>

#include "fake_private.h"
#include "linux_memory.h"

#include <arch/layout.h>
#include <arch/page_ops.h>
#include <arch/time.h>
#include <base/assert.h>
#include <base/string.h>
#include <mm/page_group.h>

#define RAM_RANGES 8

static struct { uint64_t start, end; } ram[RAM_RANGES];
static unsigned ram_count;

_Static_assert(ARCH_MEMMAP_BASE >= ARCH_DIRECT_BASE + ARCH_PHYS_LIMIT, "windows do not overlap");
_Static_assert(ARCH_IMAGE_BASE >= ARCH_MEMMAP_BASE + MAX_PFN * sizeof(struct page), "windows do not overlap");

void fake_arch_init(unsigned hart_count)
{
    linux_memory_init(ARCH_PHYS_LIMIT);
    linux_reserve(ARCH_DIRECT_BASE, ARCH_PHYS_LIMIT, false);
    // Holes read as zeros here too, though each touched page of them costs one: the kernel shares a single
    // granule.
    linux_reserve(ARCH_MEMMAP_BASE, MAX_PFN * sizeof(struct page), true);
    linux_reserve(PAGE_GROUPS_BASE, MAX_PFN / GROUP_PAGES * sizeof(struct page_group), true);
    fake_tlb_init(hart_count);
    fake_harts_init(hart_count);
}

void fake_ram_add(paddr_t start, uint64_t bytes)
{
    if (ram_count == RAM_RANGES || !is_aligned(start.value | bytes, MMU_PAGE_SIZE) ||
        bytes > ARCH_PHYS_LIMIT || start.value > ARCH_PHYS_LIMIT - bytes)
        panic("cannot add RAM of %#lx bytes at %#lx", bytes, start.value);
    ram[ram_count].start = start.value;
    ram[ram_count].end = start.value + bytes;
    ram_count++;
    linux_map_phys(start.value + ARCH_DIRECT_BASE, bytes, start.value, true, true, false);
}

void fake_direct_map_end(paddr_t end)
{
    for (unsigned i = 0; i < ram_count; i++) {
        uint64_t first = max_of(ram[i].start, align_up(end.value, MMU_PAGE_SIZE));
        if (first < ram[i].end)
            linux_unmap(first + ARCH_DIRECT_BASE, ram[i].end - first);
    }
}

bool fake_ram_contains(paddr_t address)
{
    for (unsigned i = 0; i < ram_count; i++)
        if (address.value >= ram[i].start && address.value < ram[i].end)
            return true;
    return false;
}

uint64_t arch_timer_hz(void)
{
    return 1000000000;
}

void *arch_clear_page(void *page)
{
    return memset(page, 0, PAGE_SIZE);
}

void arch_copy_page(void *to, const void *from)
{
    memcpy(to, from, PAGE_SIZE);
}

void arch_clear_granules(void *start, unsigned count)
{
    memset(start, 0, count * MMU_PAGE_SIZE);
}
