// Page tables: one walk and one set of operations for every level.
// SPDX-License-Identifier: BSD-2-Clause
//
// Addresses and sizes are multiples of MMU_PAGE_SIZE. Leaves are made as large as alignment of both addresses and the
// caller's limit allow; where an emptied table stands, no larger than it needs. Their sizes are those of the levels,
// and where the machine knows it a run of neighbours at level 0 that are one leaf together (<arch/mmu.h>), which below
// is meant wherever a leaf is large. Changing part of a large leaf splits it first: the translations stay what they
// were, at every moment and for every hart.
//
// Nothing here flushes a TLB: the caller does, once for the whole range, and knows why (<arch/tlb.h>). Two things are
// easily forgotten: a leaf that was split goes whole (pgtable_whole_leaves), and a table that was taken out with all
// that a hart remembers of entries above the leaves (pgtable_detach_empty).
//
// Context: may sleep, for a table. Tables are tried for under the lock without sleeping; where that fails the
// lock is dropped, one is waited for, and the work starts over. An entry is published only when what it names
// is complete (release), so walks need no lock; they are exact while nobody changes the range. A walk without the lock
// may only go where no table is taken out: below addresses that the caller holds, in a range that is pinned, or where
// nobody ever detaches.
#pragma once

#include <arch/mmu.h>
#include <mm/gfp.h>
#include <sync/spinlock.h>

struct pgtable {
    struct spinlock lock;
    paddr_t root;                            // (C)
    uint64_t table_count;                    // (L) tables below the root
    uint64_t split_count;                    // (L) leaves that became a table of smaller ones
    // A zeroed granule for a table, false when there is none. Memblock at first, the granule pool later.
    bool (*table_alloc)(struct pgtable *table, gfp_t gfp, paddr_t *granule);    // (C) after start-up
    // Start-up: what is left of the last kernel page that was taken from memblock for tables, and all bytes
    // so taken.
    paddr_t boot_next;
    uint64_t boot_left_bytes, boot_bytes;
};

// The kernel's own: shared by all harts.
extern struct pgtable kernel_pgtable;

// Rights that a leaf may have: readable or executable, writable only if readable, never both writable and
// executable.
bool pgtable_prot_is_valid(unsigned prot);

// Takes tables from the granule pool (granule_tables) from now on.
void pgtable_use_granules(struct pgtable *table);

// Maps [va, va + bytes) to [pa, pa + bytes). 0; -EEXIST when something is mapped there already, -ENOMEM when a table is
// missing: then nothing of the range is mapped. -EINVAL: misaligned, empty, not canonical or wrapping range, memory
// that an entry cannot name, or bad rights. With GRANULE_LEAVES no part of the range ever needs to be split, so
// changing it cannot fail for lack of a table; with a level, leaves of that level and below, runs too.
#define GRANULE_LEAVES 0
#define LARGEST_LEAVES (ARCH_PT_LEAF_LEVELS - 1)
int pgtable_map(struct pgtable *table, vaddr_t va, paddr_t pa, uint64_t bytes, unsigned prot,
                unsigned largest_level);

// Removes what is mapped there; holes are fine. Returns the bytes that were mapped, or -ENOMEM when splitting
// a large leaf needed a table and there was none (nothing removed), or -EINVAL. Emptied tables stay until they are
// detached. An entry that remembers something (arch_pte_note) stays as it is.
int64_t pgtable_unmap(struct pgtable *table, vaddr_t va, uint64_t bytes);

// Gives what is mapped there other rights. 0; -ENOENT when a part is not mapped (nothing changed); -ENOMEM
// and -EINVAL as above.
int pgtable_protect(struct pgtable *table, vaddr_t va, uint64_t bytes, unsigned prot);

// Splits the leaves that reach beyond either end, so that changing the rights of all of the range, or of whole leaves
// in it, cannot fail. 0; -ENOMEM and -EINVAL as above.
int pgtable_split(struct pgtable *table, vaddr_t va, uint64_t bytes);

// The range, widened to the leaves that its ends lie in: what to flush when it is changed, asked for before.
struct pgtable_range {
    vaddr_t start;
    uint64_t bytes;
};
struct pgtable_range pgtable_whole_leaves(const struct pgtable *table, vaddr_t va, uint64_t bytes);

// The walk as it would happen: entry[level] for every level visited, from the root down to `level`.
struct pgtable_walk {
    pte_t entry[ARCH_PT_LEVELS];
    unsigned level;                // where it ended
    bool mapped;                   // ended at a leaf
    paddr_t pa;                    // if mapped: what the address translates to
    uint64_t leaf_bytes;           // if mapped: of the level, or of the run
    unsigned prot;                 // if mapped
};
struct pgtable_walk pgtable_walk(const struct pgtable *table, vaddr_t va);

// For mappings that come and go at addresses whose tables stay: no lock, no allocation, any context. The entry
// of a granule, NULL where there is no table for it; whoever holds the addresses alone writes it (<mm/pte.h>).
// How many of `granules` from `va` on have their entries in the same table. Writing fills `count` entries of one
// table with neighbouring granules, from `pa` on; rights 0 empty them. A run is written as a whole or not at all.
pte_t *pgtable_granule_entry(const struct pgtable *table, vaddr_t va);
static always_inline uint64_t pgtable_entries_here(vaddr_t va, uint64_t granules)
{
    return min_of(granules, (uint64_t)PT_ENTRIES - pt_index(va, 0));
}
void pgtable_write_granules(pte_t *entry, unsigned count, paddr_t pa, unsigned prot);

// Makes the tables that the entries of granules stand in, and maps nothing. 0; -ENOMEM when one cannot be had (flags
// that forbid to sleep are not waited with), -EEXIST where a large leaf lies, -EINVAL: then nothing is left behind. An
// emptied table may go with a neighbour's range: to claim is to let, in the same step, the first entry of the range in
// each table remember `note` (arch_pte_note) where it was empty, so that the table stays until the caller has written
// its entries.
int pgtable_make_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, gfp_t gfp);
int pgtable_claim_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, const void *note, gfp_t gfp);

// Makes the same tables and marks the entries that name them, so that they are never taken out: for windows whose
// entries come and go. As pgtable_make_tables with GFP_KERNEL. A table that memblock gave is pinned from the start.
int pgtable_pin(struct pgtable *table, vaddr_t va, uint64_t bytes);

// Takes those tables out that the range touches, at every level below the root, and that hold nothing: neither a leaf
// or a table nor what an entry remembers. They are added to the list, which starts as { NULL }; returns how many. When
// there were any, every hart has to forget what it knows of entries above the leaves (a flush of everything, not of an
// address) before pgtable_free_detached gives them back, and empties the list. The caller holds the addresses of the
// range, and their entries are all empty by now. Does not sleep.
struct pgtable_detached {
    pte_t *first;                  // the others follow by what entry 0 remembers
};
unsigned pgtable_detach_empty(struct pgtable *table, vaddr_t va, uint64_t bytes, struct pgtable_detached *detached);
void pgtable_free_detached(struct pgtable_detached *detached);

// Visits every leaf in the range, in order; `va` is where it starts, also when that is before `start`, and
// pte_leaf_bytes (<mm/pte.h>) says how far it goes: a run is visited once. Where neighbouring entries name the same
// table (which fills holes with one granule), it is visited once, for the first of them.
void pgtable_for_each_leaf(const struct pgtable *table, vaddr_t start, uint64_t bytes,
                           void (*visit)(vaddr_t va, pte_t leaf, unsigned level, void *context),
                           void *context);
