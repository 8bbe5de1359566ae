// Sv39: where everything lies in the kernel's half of the address space.
// SPDX-License-Identifier: BSD-2-Clause
//
//   0xffffffc0_00000000  +--------------------------+
//                        | direct map               |  128 GB: physical 0 .. 128 GB, RAM only
//   0xffffffe0_00000000  +--------------------------+
//                        | (unused)                 |
//   0xffffffe8_00000000  +--------------------------+
//                        | vmalloc                  |  64 GB: vmalloc, vmap, ioremap, stacks
//   0xfffffff8_00000000  +--------------------------+
//                        | (unused)                 |
//   0xffffffff_80000000  +--------------------------+
//                        | memmap window            |  somewhere here, up to 1 GB: struct page of every page frame
//   0xffffffff_fd000000  +--------------------------+
//                        | modules                  |  32 MB, from where every call reaches the image
//   0xffffffff_ff000000  +--------------------------+
//                        | kernel image             |  16 MB less a page
//   0xffffffff_ffffffff  +--------------------------+
//
// The memmap lies where an address of the direct map, divided by the page's size and multiplied by that of a struct
// page, points by itself: ...80000000 with pages of 4 KB, ...c0000000 of 8, ...e0000000 of 16, ...f8000000 of 64. So
// the way from an object to its struct page is two shifts, and from an address outside of the direct map they lead to
// where nothing is mapped: the windows of vmalloc and of the image, scaled down, stay free.
#pragma once

// The linker script reads these too, and takes no suffix.
#ifdef __ASSEMBLER__
#define ADDRESS(value) value
#else
#define ADDRESS(value) value##UL
#endif

#define ARCH_DIRECT_BASE  ADDRESS(0xffffffc000000000)
#define ARCH_PHYS_LIMIT   ADDRESS(0x0000002000000000)
#define ARCH_VMALLOC_BASE ADDRESS(0xffffffe800000000)
#define ARCH_VMALLOC_END  ADDRESS(0xfffffff800000000)
#define ARCH_MODULE_BASE  ADDRESS(0xfffffffffd000000)
#define ARCH_MODULE_END   ADDRESS(0xffffffffff000000)
#define ARCH_IMAGE_BASE   ADDRESS(0xffffffffff000000)

// A struct page has 32 bytes (<mm/page.h>).
#define ARCH_MEMMAP_BASE  ((uintptr_t)((int64_t)ARCH_DIRECT_BASE >> CONFIG_PAGE_SHIFT) << 5)

#define ARCH_ZONES_NAME "riscv64"
