// Forgetting translations: every fence of the kernel, with the reason for it, and the counters of both.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A hart may keep what a walk of the page tables told it, also that there was nothing, until a fence tells it otherwise
// (privileged specification 20211203, section 4.2.1). Who changes an entry names the addresses, the harts and the
// cause; which cause needs which flush stands in one table, mm/vmap/README.md.
//
//     tlb_flush_local, tlb_flush_kernel, tlb_flush_kernel_all,        what to forget, where, and why
//     tlb_batch_flush, tlb_flush_asid, tlb_flush_asid_all
//          |
//     one struct tlb_request --- the drill's hook may spoil it
//          |
//     arch_tlb_flush (<arch/tlb.h>) --- by address, by range, by address space, everything; on this hart and others
//
// Ranges are in granules: start and bytes are multiples of MMU_PAGE_SIZE, and bytes may be 0, which is no flush. A
// range of more than arch_tlb_flush_all_granules() is as cheap to forget with everything else, and so it is.
//
// Context: any, also with interrupts masked. Whoever flushes on other harts waits for them, so not while holding a
// lock that an interrupt handler of another hart wants.
//
// By address only leaves are forgotten (section 4.2.1: with rs1 other than x0 the fence orders accesses to leaf entries
// alone). Whoever takes a table out, or cannot live with a hart that remembers that there was none, flushes everything.
#pragma once

#include <arch/tlb.h>

#define TLB_CAUSES(CAUSE) \
    CAUSE(VMALLOC_PURGE, "vmalloc purge")               /* areas that were freed earlier go together */ \
    CAUSE(UNMAP, "unmap")                               /* entries removed, their memory and addresses free for use */ \
    CAUSE(TABLE_FREED, "table freed")                   /* an entry above a leaf removed, its table free for use */ \
    CAUSE(PROTECT, "protect")                           /* a leaf's rights changed */ \
    CAUSE(STACK_MAPPED, "stack mapped")                 /* new entries where no hart can take a fault */ \
    CAUSE(KMAP_FILLED, "kmap filled")                   /* a slot of the pool shows a page */ \
    CAUSE(KMAP_EMPTIED, "kmap emptied")                 /* slots of the pool that nobody uses any more */ \
    CAUSE(KMAP_LOCAL_FILLED, "kmap local filled")       /* a slot of this hart shows a page */ \
    CAUSE(KMAP_LOCAL_EMPTIED, "kmap local emptied")     /* and no more */ \
    CAUSE(INIT_FREED, "init freed")                     /* start-up's sections were unmapped */ \
    CAUSE(GUARD_SHOWN, "guard shown")                   /* a page of guarded objects is in use */ \
    CAUSE(GUARD_HIDDEN, "guard hidden")                 /* and no more */ \
    CAUSE(SPURIOUS, "spurious fault")                   /* a fault that the tables do not justify */ \
    CAUSE(ASID_REUSED, "asid reused")                   /* another address space gets the number */

enum tlb_cause {
#define TLB_CAUSE_ENTRY(name, text) TLB_##name,
    TLB_CAUSES(TLB_CAUSE_ENTRY)
#undef TLB_CAUSE_ENTRY
    TLB_CAUSE_COUNT,
};

const char *tlb_cause_name(enum tlb_cause cause);

// On the hart that this runs on. The caller stays there, or does not mind where it was done.
void tlb_flush_local(vaddr_t start, uint64_t bytes, enum tlb_cause cause);
void tlb_flush_local_all(enum tlb_cause cause);

// On every hart, for addresses that all address spaces share (the kernel's half). Return when all have done it.
void tlb_flush_kernel(vaddr_t start, uint64_t bytes, enum tlb_cause cause);
void tlb_flush_kernel_all(enum tlb_cause cause);

// --- Several ranges, one round over the harts.

// Ranges that a batch holds before it becomes a flush of everything.
#define TLB_BATCH_RANGES 8

// The owner's, on its stack or in its own memory; filled through these functions alone.
struct tlb_batch {
    struct tlb_range range[TLB_BATCH_RANGES];
    unsigned count;
    bool is_all;                   // everything, whatever else was added
    bool fetches;                  // and what was fetched
    uint64_t granules;             // of all ranges
};

void tlb_batch_init(struct tlb_batch *batch);

// Neighbours, in either order, become one range.
void tlb_batch_add(struct tlb_batch *batch, vaddr_t start, uint64_t bytes);

// Everything: a table was taken out.
void tlb_batch_add_all(struct tlb_batch *batch);

// What was stored before is also what every hart fetches as instructions from then on.
void tlb_batch_add_fetches(struct tlb_batch *batch);

// As tlb_flush_kernel for all of it; nothing when nothing was added. The batch is empty afterwards.
void tlb_batch_flush(struct tlb_batch *batch, enum tlb_cause cause);

// --- Address spaces: a number that the hart's entries carry, beside those that are global.

// Entries of one address space alone, on the harts of the mask (bit i: the hart of index i; others' bits are ignored).
void tlb_flush_asid(uint32_t asid, vaddr_t start, uint64_t bytes, uint64_t harts_mask, enum tlb_cause cause);
void tlb_flush_asid_all(uint32_t asid, uint64_t harts_mask, enum tlb_cause cause);

// The kernel's own number, never handed out.
#define ASID_KERNEL 0

// A number that nobody uses, and of which no hart holds an entry: those given back are flushed all at once, on all
// harts, when no other is left. ASID_KERNEL when all are in use, or the harts have none: then whoever switches address
// spaces flushes. Process context.
uint32_t asid_alloc(void);

// The address space runs on no hart any more.
void asid_free(uint32_t asid);

// --- What was done, for reports. Counts since start-up, over all harts.

struct tlb_counts {
    uint64_t local;                // flushes of the calling hart alone
    uint64_t remote;               // rounds over other harts too, each counted once
    uint64_t granules;             // named by ranges
    uint64_t all;                  // of these flushes, those of everything
    uint64_t asid;                 // of these flushes, those of one address space
};

struct tlb_counts tlb_counts(enum tlb_cause cause);

// The drill: sees every request before it is carried out, and may change it; false: it is dropped. NULL: none.
typedef bool (*tlb_flush_hook_t)(struct tlb_request *request, enum tlb_cause cause);
void tlb_set_flush_hook(tlb_flush_hook_t hook);
