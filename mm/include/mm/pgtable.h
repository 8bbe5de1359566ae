// Page tables: one walk and one set of operations for every level.
// SPDX-License-Identifier: BSD-2-Clause
//
// Addresses and sizes are multiples of MMU_PAGE_SIZE. Leaves are made as large as alignment of both addresses
// and the caller's limit allow; where an emptied table stands, no larger than it needs. Changing part of a
// large leaf splits it first: the translations stay what they were. Nothing here flushes a TLB: the caller
// does, once for the whole range, and knows why (<arch/tlb.h>).
//
// Context: may sleep, for a table. Tables are tried for under the lock without sleeping; where that fails the
// lock is dropped, one is waited for, and the work starts over. An entry is published only when what it names
// is complete (release), so walks need no lock; they are exact while nobody changes the range.
#pragma once

#include <arch/mmu.h>
#include <mm/gfp.h>
#include <sync/spinlock.h>

struct pgtable {
    struct spinlock lock;
    paddr_t root;                            // (C)
    uint64_t table_count;                    // (L) tables below the root
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

// Maps [va, va + bytes) to [pa, pa + bytes). 0; -EEXIST when something is mapped there already, -ENOMEM when
// a table is missing: then nothing of the range is mapped. -EINVAL: misaligned, empty, not canonical or
// wrapping range, memory that an entry cannot name, or bad rights.
int pgtable_map(struct pgtable *table, vaddr_t va, paddr_t pa, uint64_t bytes, unsigned prot,
                unsigned largest_level);

// Removes what is mapped there; holes are fine. Returns the bytes that were mapped, or -ENOMEM when splitting
// a large leaf needed a table and there was none (nothing removed), or -EINVAL. Emptied tables are kept for
// the next mapping.
int64_t pgtable_unmap(struct pgtable *table, vaddr_t va, uint64_t bytes);

// Gives what is mapped there other rights. 0; -ENOENT when a part is not mapped (nothing changed); -ENOMEM
// and -EINVAL as above.
int pgtable_protect(struct pgtable *table, vaddr_t va, uint64_t bytes, unsigned prot);

// The walk as it would happen: entry[level] for every level visited, from the root down to `level`.
struct pgtable_walk {
    pte_t entry[ARCH_PT_LEVELS];
    unsigned level;                // where it ended
    bool mapped;                   // ended at a leaf
    paddr_t pa;                    // if mapped: what the address translates to
    unsigned prot;                 // if mapped
};
struct pgtable_walk pgtable_walk(const struct pgtable *table, vaddr_t va);

// For mappings that come and go at addresses whose tables stay: no lock, no allocation, any context. The entry
// of a granule, NULL where there is no table for it; whoever holds the addresses alone writes it (<mm/pte.h>).
// How many of `granules` from `va` on have their entries in the same table. Writing fills `count` entries of one
// table with neighbouring granules, from `pa` on; rights 0 empty them.
pte_t *pgtable_granule_entry(const struct pgtable *table, vaddr_t va);
unsigned pgtable_entries_here(vaddr_t va, uint64_t granules);
void pgtable_write_granules(pte_t *entry, unsigned count, paddr_t pa, unsigned prot);

// Makes the tables that the entries of granules stand in, and maps nothing. 0; -ENOMEM when there is none for a part
// of the range (what was made stays, for the next time), and flags that forbid to sleep are not waited with; -EEXIST
// where a large leaf lies; -EINVAL. An emptied table may go with a neighbour's range: to claim is to let, in the same
// step, the first entry of the range in each table remember `note` (arch_pte_note) where it was empty, so that the
// table stays until the caller has written its entries.
int pgtable_make_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, gfp_t gfp);
int pgtable_claim_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, const void *note, gfp_t gfp);

// Visits every leaf in the range, in order; `va` is where it starts, also when that is before `start`. Where
// neighbouring entries name the same table (which fills holes with one granule), it is visited once, for the
// first of them.
void pgtable_for_each_leaf(const struct pgtable *table, vaddr_t start, uint64_t bytes,
                           void (*visit)(vaddr_t va, pte_t leaf, unsigned level, void *context),
                           void *context);
