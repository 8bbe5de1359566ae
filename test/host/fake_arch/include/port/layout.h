// The fake port's virtual map: windows of a Linux x86-64 process, far from libc's and the sanitizers'.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#ifdef __SANITIZE_THREAD__
// ThreadSanitizer allows fixed mappings below 512 GB only.
#define FAKE_BASE 0x0000001000000000UL
#else
#define FAKE_BASE 0x0000200000000000UL
#endif

#define ARCH_PHYS_LIMIT    0x0000002000000000UL            // 128 GB, as in the kernel
#define ARCH_DIRECT_BASE   FAKE_BASE
#define ARCH_MEMMAP_BASE   (FAKE_BASE + 0x2000000000UL)    // 1 GB at most
#define ARCH_IMAGE_BASE    (FAKE_BASE + 0x2080000000UL)    // in the page tables only
#define ARCH_VMALLOC_BASE  (FAKE_BASE + 0x2100000000UL)
#define ARCH_VMALLOC_END   (FAKE_BASE + 0x30f0000000UL)    // 64 GB less what modules have, and some
#define ARCH_MODULE_BASE   (FAKE_BASE + 0x30fe000000UL)
#define ARCH_MODULE_END    (FAKE_BASE + 0x3100000000UL)

#define ARCH_ZONES_NAME "riscv64"
