// Copying out of memory that may not be there, by loads that may fault.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/nofault.h>

#include <arch/layout.h>
#include <arch/per_hart.h>
#include <arch/tlb.h>
#include <arch/uaccess.h>
#include <base/errno.h>
#include <base/string.h>

// In the vmalloc space a hart may remember that there was nothing, since new areas are made known to their maker's hart
// alone. Nobody answers this load's fault by a fence and a second try, so that is done here.
static bool load(uintptr_t at, uint64_t *word)
{
    const uint64_t *address = (const uint64_t *)at;

    if (arch_try_load(address, word))
        return true;
    if (!arch_is_area_address(at))
        return false;
    // Everything, since it may be a table that was not there (privileged specification 20211203, section 4.2.1).
    arch_tlb_flush(&(struct tlb_request){ .asid = TLB_EVERY_ASID, .harts = 1UL << arch_hart_index() });
    return arch_try_load(address, word);
}

// An aligned word lies in one granule, so the bytes around those asked for are there when these are.
int copy_from_kernel_nofault(void *to, const void *from, size_t bytes)
{
    uintptr_t at = (uintptr_t)from;
    uint8_t *target = to;

    while (bytes > 0) {
        size_t inside = at % sizeof(uint64_t), count = min_of(sizeof(uint64_t) - inside, bytes);
        uint64_t word;

        if (!load(at - inside, &word))
            return -EFAULT;
        memcpy(target, (const uint8_t *)&word + inside, count);
        target += count;
        at += count;
        bytes -= count;
    }
    return 0;
}
