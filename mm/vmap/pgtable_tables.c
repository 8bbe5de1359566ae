// Page tables: tables made beforehand, pinned, and taken out when nothing stands in them.
// SPDX-License-Identifier: BSD-2-Clause

#include "pgtable_private.h"

#include <base/errno.h>
#include <mm/granule.h>

static void skip_table(struct span *span)
{
    uint64_t bytes = pgtable_entries_here(vaddr(span->va), span->bytes / MMU_PAGE_SIZE) * MMU_PAGE_SIZE;

    span->va += bytes;
    span->bytes -= bytes;
}

// As many as the range misses, so that none is linked when one cannot be had: what was linked once could only go
// behind a flush.
static int reserve_missing(struct pgtable *table, struct request *request)
{
    uint64_t missing = 0;

    for (struct span rest = request->span; rest.bytes > 0; skip_table(&rest)) {
        unsigned level = 0;
        const pte_t *slot = pgtable_find_slot(table, rest.va, &level);

        if (level > 0 && arch_pte_is_present(pte_read(slot)))
            return -EEXIST;
        // An entry that is empty misses a table of each level below, and is met again for every table of level 0.
        for (; level > 0; level--)
            missing += rest.va == request->span.va || is_aligned(rest.va, pt_level_size(level));
    }
    while (request->spare_count < missing)
        if (!pgtable_add_spare(table, request, GFP_NOWAIT | __GFP_NOWARN))
            return NEEDS_TABLE;
    return 0;
}

static int make_tables_step(struct pgtable *table, struct request *request)
{
    int error = reserve_missing(table, request);

    for (struct span rest = request->span; rest.bytes > 0 && error == 0; skip_table(&rest)) {
        pte_t *slot, *entries;
        unsigned level;

        while (level = 0, slot = pgtable_find_slot(table, rest.va, &level), level > 0) {
            bool has_table = pgtable_take_table(table, request, &entries);
            ASSERT(has_table);
            pgtable_link_table(table, slot, entries);
        }
        if (request->note != NULL && pte_read(slot).value == 0)
            pte_write(slot, arch_pte_note(request->note));
        level = 1;
        slot = pgtable_find_slot(table, rest.va, &level);
        if (request->pins)
            pte_write(slot, arch_pte_pinned(pte_read(slot)));
    }
    return error;
}

static int make_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, struct request request)
{
    request.span = (struct span){ .va = va.value, .bytes = bytes };
    return pgtable_range_is_valid(va.value, bytes) ? pgtable_run_locked(table, &request, make_tables_step) : -EINVAL;
}

int pgtable_make_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, gfp_t gfp)
{
    return make_tables(table, va, bytes, (struct request){ .gfp = gfp });
}

int pgtable_claim_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, const void *note, gfp_t gfp)
{
    return make_tables(table, va, bytes, (struct request){ .gfp = gfp, .note = note });
}

int pgtable_pin(struct pgtable *table, vaddr_t va, uint64_t bytes)
{
    return make_tables(table, va, bytes, (struct request){ .gfp = GFP_KERNEL, .pins = true });
}

static bool is_empty(const pte_t *entries)
{
    for (unsigned i = 0; i < PT_ENTRIES; i++)
        if (pte_read(&entries[i]).value != 0)
            return false;
    return true;
}

// Takes out the empty ones of the tables below one that [first, last] touches: those below a table before it.
static unsigned detach_below(pte_t *entries, unsigned level, uint64_t first, uint64_t last,
                             struct pgtable_detached *detached)
{
    uint64_t size = pt_level_size(level);
    unsigned count = 0;

    for (uint64_t va = first;; va = align_down(va, size) + size) {
        uint64_t entry_last = va | (size - 1);
        pte_t *slot = &entries[pt_index(vaddr(va), level)], entry = pte_read(slot);

        if (arch_pte_is_table(entry)) {
            pte_t *below = entries_of(arch_pte_paddr(entry));
            if (level > 1)
                count += detach_below(below, level - 1, va, min_of(entry_last, last), detached);
            if (!arch_pte_is_pinned(entry) && is_empty(below)) {
                pte_write(slot, (pte_t){ 0 });
                pgtable_push_table(detached, below);
                count++;
            }
        }
        if (entry_last >= last)
            return count;
    }
}

unsigned pgtable_detach_empty(struct pgtable *table, vaddr_t va, uint64_t bytes, struct pgtable_detached *detached)
{
    ASSERT(pgtable_range_is_valid(va.value, bytes));
    spin_lock(&table->lock);
    unsigned count = detach_below(entries_of(table->root), ROOT_LEVEL, va.value, va.value + (bytes - 1), detached);
    table->table_count -= count;
    spin_unlock(&table->lock);
    return count;
}

void pgtable_free_detached(struct pgtable_detached *detached)
{
    while (detached->first != NULL)
        granule_free(&granule_tables, pgtable_pop_table(detached));
}
