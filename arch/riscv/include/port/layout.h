// Sv39: where everything lies in the kernel's half of the address space.
// SPDX-License-Identifier: BSD-2-Clause
//
//   0xffffffc0_00000000  +--------------------------+
//                        | direct map               |  128 GB: physical 0 .. 128 GB, RAM only
//   0xffffffe0_00000000  +--------------------------+
//                        | memmap window            |  up to 1 GB: struct page of every page frame below 128 GB
//   0xffffffe0_40000000  +--------------------------+
//                        | (unused)                 |
//   0xffffffe8_00000000  +--------------------------+
//                        | vmalloc                  |  64 GB: vmalloc, vmap, ioremap, stacks
//   0xfffffff8_00000000  +--------------------------+
//                        | (unused)                 |
//   0xffffffff_80000000  +--------------------------+
//                        | kernel image             |  2 GB less a page: within reach of auipc from anywhere in it
//   0xffffffff_ffffffff  +--------------------------+
#pragma once

// The linker script reads these too, and takes no suffix.
#ifdef __ASSEMBLER__
#define ADDRESS(value) value
#else
#define ADDRESS(value) value##UL
#endif

#define ARCH_DIRECT_BASE  ADDRESS(0xffffffc000000000)
#define ARCH_PHYS_LIMIT   ADDRESS(0x0000002000000000)
#define ARCH_MEMMAP_BASE  ADDRESS(0xffffffe000000000)
#define ARCH_VMALLOC_BASE ADDRESS(0xffffffe800000000)
#define ARCH_VMALLOC_END  ADDRESS(0xfffffff800000000)
#define ARCH_IMAGE_BASE   ADDRESS(0xffffffff80000000)

#define ARCH_ZONES_NAME "riscv64"
