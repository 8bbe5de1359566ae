// The bits of an Sv39 page-table entry in letters.
// SPDX-License-Identifier: BSD-2-Clause
#include <arch/mmu.h>
#include <base/format.h>

// Privileged specification 20211203, section 4.3.1, from bit 0 on.
static const char letters[] = "VRWXUGAD";

void arch_pte_describe(pte_t pte, char *text, size_t size)
{
    char flags[sizeof(letters)] = "--------";

    for (unsigned bit = 0; bit < sizeof(letters) - 1; bit++)
        if (pte.value >> bit & 1)
            flags[bit] = letters[bit];
    format_text(text, size, "%s, PPN %#lx", flags, pte.value >> PTE_PPN_SHIFT & PTE_PPN_MASK);
}
