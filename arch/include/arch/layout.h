// Contract: the kernel's virtual map. Every bound is a compile-time constant, so that a conversion is one addition.
// SPDX-License-Identifier: BSD-2-Clause
//
// The port defines
//   ARCH_DIRECT_BASE      where physical address 0 would lie in the direct map; phys + ARCH_DIRECT_BASE = virt
//   ARCH_PHYS_LIMIT       first physical address past what the direct map can hold (a power of two)
//   ARCH_MEMMAP_BASE      struct page of page frame 0; the window holds ARCH_PHYS_LIMIT / PAGE_SIZE of them
//   ARCH_VMALLOC_BASE, ARCH_VMALLOC_END    the space that vmem hands out: vmalloc, vmap, ioremap, stacks
//   ARCH_MODULE_BASE, ARCH_MODULE_END      the same for code: from everywhere in it the image is within reach of a call
//   ARCH_ZONES_NAME       what zones= calls this port's own zone layout (<mm/zone_layout.h>)
//   ARCH_IMAGE_BASE       where the kernel image is linked
#pragma once

#include <port/layout.h>

#include <stdbool.h>
#include <stdint.h>

// Whether an address lies in either of the spaces that areas are cut from.
static inline bool arch_is_area_address(uintptr_t address)
{
    return address - ARCH_VMALLOC_BASE < ARCH_VMALLOC_END - ARCH_VMALLOC_BASE ||
           address - ARCH_MODULE_BASE < ARCH_MODULE_END - ARCH_MODULE_BASE;
}
