// Contract: the linker's marks in the kernel image. Each range starts and ends at a multiple of PAGE_SIZE, but for the
// guard below the boot stack, which is at least one granule.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/addr.h>

extern char __kernel_start[], __kernel_end[];
extern char __text_start[], __text_end[];
extern char __rodata_start[], __rodata_end[];
extern char __init_text_start[], __init_data_start[], __init_end[];
extern char __boot_guard_start[], __boot_stack[], __boot_stack_end[];
extern char __data_start[], __data_end[];
extern char __ksyms_start[];

// Where the image was loaded.
paddr_t arch_image_phys(void);
