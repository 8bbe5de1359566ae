// Page tables: unmapping and protecting, and the splitting of leaves that change in part.
// SPDX-License-Identifier: BSD-2-Clause

#include "pgtable_private.h"

#include <base/errno.h>

// Splits leaves until one starts at `va`, or none lies there. At every moment each address translates as before, be it
// by old entries or new: so nothing has to be flushed in between, and nobody faults.
static int split_at(struct pgtable *table, struct request *request, uint64_t va)
{
    for (;;) {
        unsigned level = 0;
        pte_t *slot = pgtable_find_slot(table, va, &level);
        pte_t leaf = pte_read(slot), *pieces;
        uint64_t bytes = pte_leaf_bytes(leaf, level), first = align_down(va, bytes), pa = arch_pte_paddr(leaf).value;

        if (!arch_pte_is_present(leaf) || va == first)
            return 0;
        if (level == 0) {
            slot -= (va - first) / MMU_PAGE_SIZE;
            pgtable_fill(slot, leaf_entries(leaf), first, pa, arch_pte_prot(leaf), 0, false);
            return 0;
        }
        if (!pgtable_take_table(table, request, &pieces))
            return NEEDS_TABLE;
        pgtable_fill(pieces, PT_ENTRIES, first, pa, arch_pte_prot(leaf), level - 1, true);
        table->split_count++;
        pgtable_link_table(table, slot, pieces);
    }
}

static int split_ends(struct pgtable *table, struct request *request)
{
    int error = split_at(table, request, request->span.va);

    return error != 0 ? error : split_at(table, request, request->span.va + request->span.bytes);
}

static void clear_leaf(pte_t *slot, uint64_t va unused_arg, unsigned level, void *context)
{
    struct request *request = context;
    pte_t leaf = pte_read(slot);

    for (unsigned i = 0; i < leaf_entries(leaf); i++)
        pte_write(slot + i, (pte_t){ 0 });
    request->mapped_bytes += pte_leaf_bytes(leaf, level);
}

static int unmap_step(struct pgtable *table, struct request *request)
{
    int error = split_ends(table, request);

    if (error == 0)
        pgtable_visit_span(table, &request->span, clear_leaf, request);
    return error;
}

int64_t pgtable_unmap(struct pgtable *table, vaddr_t va, uint64_t bytes)
{
    struct request request = { .span = { .va = va.value, .bytes = bytes }, .gfp = GFP_KERNEL };

    if (!pgtable_range_is_valid(va.value, bytes))
        return -EINVAL;
    int error = pgtable_run_locked(table, &request, unmap_step);
    return error != 0 ? error : (int64_t)request.mapped_bytes;
}

// The part of the leaf that the request covers.
static void count_leaf(pte_t *slot, uint64_t va, unsigned level, void *context)
{
    struct request *request = context;
    const struct span *span = &request->span;
    uint64_t first = max_of(va, span->va),
             last = min_of(va + (pte_leaf_bytes(pte_read(slot), level) - 1), span->va + (span->bytes - 1));

    request->mapped_bytes += last - first + 1;
}

static void protect_leaf(pte_t *slot, uint64_t va unused_arg, unsigned level, void *context)
{
    const struct request *request = context;
    pte_t old = pte_read(slot), leaf = arch_pte_leaf(arch_pte_paddr(old), request->prot, level);

    if (arch_pte_is_napot(old))
        leaf = arch_pte_napot(leaf);
    for (unsigned i = 0; i < leaf_entries(old); i++)
        pte_write(slot + i, leaf);
}

static int protect_step(struct pgtable *table, struct request *request)
{
    request->mapped_bytes = 0;
    pgtable_visit_span(table, &request->span, count_leaf, request);
    if (request->mapped_bytes != request->span.bytes)
        return -ENOENT;
    int error = split_ends(table, request);
    if (error == 0)
        pgtable_visit_span(table, &request->span, protect_leaf, request);
    return error;
}

int pgtable_protect(struct pgtable *table, vaddr_t va, uint64_t bytes, unsigned prot)
{
    struct request request = { .span = { .va = va.value, .bytes = bytes }, .gfp = GFP_KERNEL, .prot = prot };

    if (!pgtable_range_is_valid(va.value, bytes) || !pgtable_prot_is_valid(prot))
        return -EINVAL;
    return pgtable_run_locked(table, &request, protect_step);
}

int pgtable_split(struct pgtable *table, vaddr_t va, uint64_t bytes)
{
    struct request request = { .span = { .va = va.value, .bytes = bytes }, .gfp = GFP_KERNEL };

    return pgtable_range_is_valid(va.value, bytes) ? pgtable_run_locked(table, &request, split_ends) : -EINVAL;
}

struct pgtable_range pgtable_whole_leaves(const struct pgtable *table, vaddr_t va, uint64_t bytes)
{
    uint64_t start = va.value, end = start + bytes;
    struct pgtable_walk first = pgtable_walk(table, va), last = pgtable_walk(table, vaddr(end - 1));

    if (first.mapped)
        start = align_down(start, first.leaf_bytes);
    if (last.mapped)
        end = align_up(end, last.leaf_bytes);
    return (struct pgtable_range){ vaddr(start), end - start };
}
