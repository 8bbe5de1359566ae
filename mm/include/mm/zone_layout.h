// The zone layout: where the zones lie, as the boot argument zones= says.
// SPDX-License-Identifier: BSD-2-Clause
//
//     zones=<port's name>                  DMA32 is RAM below 4 GB (physical), NORMAL the rest
//     zones=x86-32                         dma:16M,normal:896M,highmem
//     zones=flat                           all RAM is NORMAL
//     zones=dma:16M,normal:112M,highmem    a list of NAME:END
//
// A list names dma, normal and highmem in this order, each at most once; normal must be there. END is where
// the zone ends: bytes from the start of RAM (the lowest RAM, rounded down to 4 MB), a multiple of 4 MB,
// above the END before it. The last entry needs none: it reaches to the end of RAM. With one, RAM must not
// reach beyond it.
//
// So NORMAL always lies in the middle, with at most one zone below and HIGHMEM above; a zone may lie in
// several pieces of RAM, and a layout may name zones that this machine has no RAM for:
//
//      0             normal_start              normal_end              end of RAM
//      |  DMA or DMA32    |        NORMAL          |       HIGHMEM        |
//      |<--------------- direct map -------------->|   no address: kmap   |
//
// HIGHMEM is not in the direct map. Its pages have a struct page and no address: phys_to_virt and
// page_to_virt are for the rest only. <mm/kmap.h> shows them one by one, vmalloc and vmap as areas.
#pragma once

#include <mm/page.h>

struct zone;

struct zone_layout {
    struct zone *low;                      // the zone below NORMAL
    uint64_t normal_start, normal_end;     // page frame numbers
};

// (C) after start-up. The one in force; before start-up has chosen, the port's own.
extern struct zone_layout zone_layout;

#define ZONE_LAYOUT_ERROR_BYTES 192

struct zone_layout_error {
    char text[ZONE_LAYOUT_ERROR_BYTES];    // one line that names the argument, the entry and the value
};

// Reads a layout for a machine whose lowest RAM starts at `ram_start` and whose highest ends at `ram_end`.
// 0; -EINVAL with *error filled in and *layout as it was.
must_check int zone_layout_parse(const char *text, paddr_t ram_start, paddr_t ram_end,
                                 struct zone_layout *layout, struct zone_layout_error *error);

// Where memory for the kernel itself is taken during start-up: NORMAL, and DMA32, which is as good; not DMA,
// which is scarce, nor HIGHMEM, which has no address.
void zone_layout_boot_window(const struct zone_layout *layout, paddr_t *low, paddr_t *high);

// RAM from here on is HIGHMEM; ARCH_PHYS_LIMIT when the layout has no such zone.
static always_inline paddr_t highmem_start(void)
{
    return pfn_to_paddr(pfn(zone_layout.normal_end));
}

// Whether a page has no direct-map address. True as well for a pointer below the memmap.
static always_inline bool page_is_high(const struct page *page)
{
    return page_to_pfn(page).value >= zone_layout.normal_end;
}
