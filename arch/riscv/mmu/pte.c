// The bits of an Sv39 page-table entry in letters, and which of them this machine knows.
// SPDX-License-Identifier: BSD-2-Clause
#include <arch/layout.h>
#include <arch/mmu.h>
#include <base/format.h>

bool riscv_has_svnapot;

// auipc adds 20 signed bits, shifted by 12 (unprivileged specification 20191213, section 2.4).
_Static_assert(-ARCH_MODULE_BASE < 1UL << 31, "a call reaches the image's end from the modules' first byte");

// Privileged specification 20211203, section 4.3.1, from bit 0 on.
static const char letters[] = "VRWXUGAD";
static const char *const software[] = { "", ", RSW 1", ", RSW 2", ", RSW 3" };

void arch_pte_describe(pte_t pte, char *text, size_t size)
{
    char flags[sizeof(letters)] = "--------";

    for (unsigned bit = 0; bit < sizeof(letters) - 1; bit++)
        if (pte.value >> bit & 1)
            flags[bit] = letters[bit];
    format_text(text, size, "%s%s%s, PPN %#lx", flags, software[pte.value >> PTE_RSW_SHIFT & PTE_RSW_MASK],
                pte.value & PTE_N ? ", N" : "", pte.value >> PTE_PPN_SHIFT & PTE_PPN_MASK);
}
