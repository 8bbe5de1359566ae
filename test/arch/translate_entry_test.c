// The bits of an Sv39 entry in letters, and the kernel's own text translated.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/translate.h>

#include "../unit/capture.h"

#include <arch/image.h>
#include <base/string.h>
#include <debug/klog.h>
#include <ktest/ktest.h>

// Each bit has its letter and its place, and the frame number has all of its 44 bits and no others.
KTEST(translate, entry_bits_have_their_letters)
{
    static const struct { uint64_t entry; const char *text; } cases[] = {
        { 0, "--------, PPN 0" },
        { 1UL << 0 | 1UL << 10, "V-------, PPN 0x1" },
        { 1UL << 1, "-R------, PPN 0" },
        { 1UL << 2, "--W-----, PPN 0" },
        { 1UL << 3, "---X----, PPN 0" },
        { 1UL << 4, "----U---, PPN 0" },
        { 1UL << 5, "-----G--, PPN 0" },
        { 1UL << 6, "------A-, PPN 0" },
        { 1UL << 7, "-------D, PPN 0" },
        { 0x200800e7, "VRW--GAD, PPN 0x80200" },
        { 1UL << 8 | 1UL << 0, "V-------, RSW 1, PPN 0" },
        { 1UL << 9, "--------, RSW 2, PPN 0" },
        { 1UL << 63 | 0x202020e7, "VRW--GAD, N, PPN 0x80808" },
        { UINT64_MAX, "VRWXUGAD, RSW 3, N, PPN 0xfffffffffff" },
    };
    char text[PTE_TEXT_BYTES];

    for (unsigned i = 0; i < array_count(cases); i++) {
        arch_pte_describe((pte_t){ cases[i].entry }, text, sizeof(text));
        EXPECT_STREQ(text, cases[i].text);
    }
}

// Text of the image is told as such, executable and not writable.
KTEST(translate, knows_the_image)
{
    capture_start();
    translate_print(&kernel_pgtable, vaddr_of(__text_start), console_print);
    const char *output = capture_stop();

    REQUIRE(output != NULL);
    EXPECT_NOT_NULL(strstr(output, "  VR-X-GA-, PPN "));
    EXPECT_NOT_NULL(strstr(output, ": image\n"
                                   "  rights   read, no write, execution; kernel only; in every address space\n"
                                   "  place    the kernel's image\n"
                                   "  holds    0x"));
}
