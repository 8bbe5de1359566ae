// Contract: forgetting translations. Every fence of the kernel goes through here.
// SPDX-License-Identifier: BSD-2-Clause
//
// When one is needed (RISC-V privileged specification 20211203, section 4.2.1, SFENCE.VMA): after a valid entry was
// removed, moved or given fewer rights, before the memory or the address is used for something else; on this hart
// also after a new entry, because an implementation may cache that there was none. Ranges are in granules: start and
// bytes are multiples of MMU_PAGE_SIZE, and bytes may be 0.
#pragma once

#include <base/addr.h>

// On this hart only.
void arch_tlb_flush_local(vaddr_t start, uint64_t bytes);

// On every hart, for addresses that all share (the kernel's half). Returns when all of them have done it. May be
// called with interrupts masked, but not while holding a lock that an interrupt handler of another hart wants.
void arch_tlb_flush_kernel(vaddr_t start, uint64_t bytes);
