// The parts of the running kernel image.
// SPDX-License-Identifier: BSD-2-Clause

#include "image.h"
#include <arch/image.h>

const struct kernel_image *image_describe(void)
{
    static struct kernel_image image;
    const struct kernel_section sections[] = {
        { "text", vaddr_of(__text_start), vaddr_of(__rodata_start), PROT_KERNEL_RX, false },
        { "rodata", vaddr_of(__rodata_start), vaddr_of(__rodata_end), PROT_KERNEL_RO, false },
        { "init text", vaddr_of(__init_text_start), vaddr_of(__init_data_start), PROT_KERNEL_RX, true },
        { "init data", vaddr_of(__init_data_start), vaddr_of(__boot_guard_start), PROT_KERNEL_RW, true },
        { "boot guard", vaddr_of(__boot_guard_start), vaddr_of(__boot_stack), 0, true },
        { "boot stack", vaddr_of(__boot_stack), vaddr_of(__init_end), PROT_KERNEL_RW, true },
        { "data", vaddr_of(__data_start), vaddr_of(__data_end), PROT_KERNEL_RW, false },
        { "symbols", vaddr_of(__ksyms_start), vaddr_of(__kernel_end), PROT_KERNEL_RO, false },
    };

    image = (struct kernel_image){
        .phys = arch_image_phys(),
        .start = vaddr_of(__kernel_start),
        .end = vaddr_of(__kernel_end),
        .section_count = array_count(sections),
    };
    _Static_assert(array_count(sections) <= array_count(image.section), "the description has room for every section");
    for (unsigned i = 0; i < array_count(sections); i++)
        image.section[i] = sections[i];
    return &image;
}
