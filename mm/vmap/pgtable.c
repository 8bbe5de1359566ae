// Page tables: the walk, and mapping, unmapping and protecting ranges by it.
// SPDX-License-Identifier: BSD-2-Clause

#include "pgtable_private.h"

#include <base/errno.h>
#include <mm/granule.h>

struct pgtable kernel_pgtable;

bool pgtable_range_is_valid(uint64_t va, uint64_t bytes)
{
    uint64_t last = va + (bytes - 1);

    // Both ends in one half: the gap between the pieces is wider than all that a root covers.
    return bytes != 0 && is_aligned(va | bytes, MMU_PAGE_SIZE) && last >= va &&
           bytes <= pt_level_size(ARCH_PT_LEVELS) && arch_vaddr_is_canonical(vaddr(va)) &&
           arch_vaddr_is_canonical(vaddr(last));
}

bool pgtable_prot_is_valid(unsigned prot)
{
    return (prot & (PROT_READ | PROT_EXEC)) != 0 && ((prot & PROT_WRITE) == 0 || (prot & PROT_READ) != 0) &&
           (prot & (PROT_WRITE | PROT_EXEC)) != (PROT_WRITE | PROT_EXEC);
}

static bool paddr_fits_entry(uint64_t pa, unsigned prot)
{
    return arch_pte_paddr(arch_pte_leaf(paddr(pa), prot, 0)).value == pa;
}

pte_t *pgtable_find_slot(const struct pgtable *table, uint64_t va, unsigned *level)
{
    pte_t *entries = entries_of(table->root);

    for (unsigned at = ROOT_LEVEL;; at--) {
        pte_t *slot = &entries[pt_index(vaddr(va), at)];
        pte_t entry = pte_read(slot);
        if (at == *level || !arch_pte_is_table(entry)) {
            *level = at;
            return slot;
        }
        entries = entries_of(arch_pte_paddr(entry));
    }
}

// What an entry remembers is nothing to a walk that still comes by: no leaf.
void pgtable_push_table(struct pgtable_detached *list, pte_t *entries)
{
    if (list->first != NULL)
        pte_write(entries, arch_pte_note(list->first));
    list->first = entries;
}

pte_t *pgtable_pop_table(struct pgtable_detached *list)
{
    pte_t *entries = list->first;

    list->first = arch_pte_noted(entries[0]);
    entries[0] = (pte_t){ 0 };
    return entries;
}

bool pgtable_add_spare(struct pgtable *table, struct request *request, gfp_t gfp)
{
    paddr_t granule;

    if (!table->table_alloc(table, gfp, &granule))
        return false;
    pgtable_push_table(&request->spares, entries_of(granule));
    request->spare_count++;
    return true;
}

bool pgtable_take_table(struct pgtable *table, struct request *request, pte_t **entries)
{
    if (request->spare_count == 0 && !pgtable_add_spare(table, request, GFP_NOWAIT | __GFP_NOWARN))
        return false;
    *entries = pgtable_pop_table(&request->spares);
    request->spare_count--;
    return true;
}

int pgtable_run_locked(struct pgtable *table, struct request *request,
                       int (*step)(struct pgtable *table, struct request *request))
{
    int error;

    for (;;) {
        spin_lock(&table->lock);
        error = step(table, request);
        spin_unlock(&table->lock);
        if (error != NEEDS_TABLE)
            break;
        if (!gfp_may_sleep(request->gfp) || !pgtable_add_spare(table, request, request->gfp)) {
            error = -ENOMEM;
            break;
        }
    }
    // Another hart had made the table meanwhile, or some are missing. Memblock's tables, of the time of one hart, are
    // never left over.
    pgtable_free_detached(&request->spares);
    return error;
}

static unsigned leaf_level(const struct span *span, unsigned largest_level)
{
    for (unsigned level = largest_level; level > 0; level--)
        if (is_aligned(span->va | span->pa, pt_level_size(level)) && span->bytes >= pt_level_size(level))
            return level;
    return 0;
}

// The entries that the start of a span can fill with leaves: `count` neighbours in one table, all empty.
struct run {
    pte_t *slot;
    unsigned level, count;
};

static int find_run(struct pgtable *table, struct request *request, const struct span *span, struct run *run)
{
    unsigned wanted = leaf_level(span, request->largest_level), level;

    for (;;) {
        level = wanted;
        run->slot = pgtable_find_slot(table, span->va, &level);
        pte_t entry = pte_read(run->slot);
        if (arch_pte_is_present(entry)) {
            if (arch_pte_is_leaf(entry))
                return -EEXIST;
            wanted--;
        } else if (level > wanted) {
            pte_t *entries;
            if (!pgtable_take_table(table, request, &entries))
                return NEEDS_TABLE;
            pgtable_link_table(table, run->slot, entries);
        } else {
            break;
        }
    }
    uint64_t room = PT_ENTRIES - pt_index(vaddr(span->va), level),
             needed = span->bytes / pt_level_size(level);
    run->level = level;
    run->count = 1;
    while (run->count < min_of(room, needed) && !arch_pte_is_present(pte_read(run->slot + run->count)))
        run->count++;
    return 0;
}

static void advance(struct span *span, const struct run *run)
{
    uint64_t bytes = run->count * pt_level_size(run->level);

    span->va += bytes;
    span->pa += bytes;
    span->bytes -= bytes;
}

void pgtable_fill(pte_t *slot, unsigned count, uint64_t va, uint64_t pa, unsigned prot, unsigned level, bool joins)
{
    const uint64_t size = pt_level_size(level), run_bytes = pt_level_size(0) << ARCH_NAPOT_ORDER;

    joins = joins && level == 0 && arch_has_napot();
    for (unsigned done = 0; done < count;) {
        uint64_t offset = done * size;
        pte_t leaf = arch_pte_leaf(paddr(pa + offset), prot, level);

        if (joins && is_aligned((va + offset) | (pa + offset), run_bytes) && count - done >= 1U << ARCH_NAPOT_ORDER)
            leaf = arch_pte_napot(leaf);
        for (unsigned i = leaf_entries(leaf); i > 0; i--)
            pte_write(&slot[done++], leaf);
    }
}

// Twice over the range: first to find every entry empty and every table there, then to fill, which cannot
// fail any more.
static int map_step(struct pgtable *table, struct request *request)
{
    struct run run;

    for (struct span rest = request->span; rest.bytes > 0; advance(&rest, &run)) {
        int error = find_run(table, request, &rest, &run);
        if (error != 0)
            return error;
    }
    for (struct span rest = request->span; rest.bytes > 0; advance(&rest, &run)) {
        bool only_one = run.count * pt_level_size(run.level) == request->span.bytes;
        int error = only_one ? 0 : find_run(table, request, &rest, &run);
        ASSERT(error == 0);
        pgtable_fill(run.slot, run.count, rest.va, rest.pa, request->prot, run.level, request->largest_level > 0);
    }
    return 0;
}

int pgtable_map(struct pgtable *table, vaddr_t va, paddr_t pa, uint64_t bytes, unsigned prot,
                unsigned largest_level)
{
    struct request request = {
        .span = { va.value, pa.value, bytes },
        .prot = prot,
        .gfp = GFP_KERNEL,
        .largest_level = min_of(largest_level, (unsigned)ARCH_PT_LEAF_LEVELS - 1),
    };

    if (!pgtable_range_is_valid(va.value, bytes) || !pgtable_prot_is_valid(prot) ||
        !is_aligned(pa.value, MMU_PAGE_SIZE) || pa.value + (bytes - 1) < pa.value ||
        !paddr_fits_entry(pa.value + (bytes - MMU_PAGE_SIZE), prot))
        return -EINVAL;
    return pgtable_run_locked(table, &request, map_step);
}

// Visits the leaves that [first, last] touches below one table.
static void visit_leaves(pte_t *entries, unsigned level, uint64_t first, uint64_t last, leaf_visit_t visit,
                         void *context)
{
    uint64_t visited_table = 0, size;

    for (uint64_t va = first;; va = align_down(va, size) + size) {
        pte_t *slot = &entries[pt_index(vaddr(va), level)];
        pte_t entry = pte_read(slot);
        size = pte_leaf_bytes(entry, level);
        uint64_t entry_last = va | (size - 1), inside = va & (size - 1);

        if (arch_pte_is_present(entry) && arch_pte_is_leaf(entry)) {
            visit(slot - inside / pt_level_size(level), va - inside, level, context);
        } else if (arch_pte_is_present(entry) && arch_pte_paddr(entry).value != visited_table) {
            visited_table = arch_pte_paddr(entry).value;
            visit_leaves(entries_of(arch_pte_paddr(entry)), level - 1, va, min_of(entry_last, last), visit,
                         context);
        }
        if (entry_last >= last)
            return;
    }
}

void pgtable_visit_span(const struct pgtable *table, const struct span *span, leaf_visit_t visit, void *context)
{
    visit_leaves(entries_of(table->root), ROOT_LEVEL, span->va, span->va + (span->bytes - 1), visit, context);
}

struct pgtable_walk pgtable_walk(const struct pgtable *table, vaddr_t va)
{
    struct pgtable_walk walk = { .level = ROOT_LEVEL };
    const pte_t *entries = entries_of(table->root);

    for (;; walk.level--) {
        pte_t entry = walk.entry[walk.level] = pte_read(&entries[pt_index(va, walk.level)]);
        if (!arch_pte_is_table(entry))
            break;
        entries = entries_of(arch_pte_paddr(entry));
    }
    pte_t end = walk.entry[walk.level];
    if (arch_vaddr_is_canonical(va) && arch_pte_is_present(end)) {
        walk.mapped = true;
        walk.leaf_bytes = pte_leaf_bytes(end, walk.level);
        walk.pa = paddr_add(arch_pte_paddr(end), va.value & (walk.leaf_bytes - 1));
        walk.prot = arch_pte_prot(end);
    }
    return walk;
}

pte_t *pgtable_granule_entry(const struct pgtable *table, vaddr_t va)
{
    unsigned level = 0;
    pte_t *entry = pgtable_find_slot(table, va.value, &level);

    return level == 0 ? entry : NULL;
}

void pgtable_write_granules(pte_t *entry, unsigned count, paddr_t pa, unsigned prot)
{
    for (unsigned i = 0; i < count; i++)
        pte_write(entry + i, prot != 0 ? arch_pte_leaf(paddr_add(pa, i * MMU_PAGE_SIZE), prot, 0) : (pte_t){ 0 });
}

struct leaf_callback {
    void (*visit)(vaddr_t va, pte_t leaf, unsigned level, void *context);
    void *context;
};

static void call_visitor(pte_t *slot, uint64_t va, unsigned level, void *context)
{
    const struct leaf_callback *callback = context;

    callback->visit(vaddr(va), pte_read(slot), level, callback->context);
}

void pgtable_for_each_leaf(const struct pgtable *table, vaddr_t start, uint64_t bytes,
                           void (*visit)(vaddr_t va, pte_t leaf, unsigned level, void *context),
                           void *context)
{
    const struct span span = { .va = start.value, .bytes = bytes };
    struct leaf_callback callback = { visit, context };

    ASSERT(pgtable_range_is_valid(start.value, bytes));
    pgtable_visit_span(table, &span, call_visitor, &callback);
}

static bool table_from_granules(struct pgtable *table unused_arg, gfp_t gfp, paddr_t *result)
{
    void *granule = granule_alloc(&granule_tables, gfp);

    if (granule != NULL)
        *result = virt_to_phys(granule);
    return granule != NULL;
}

void pgtable_use_granules(struct pgtable *table)
{
    table->table_alloc = table_from_granules;
}

// A table that the granule pool did not give does not go there.
void pgtable_link_table(struct pgtable *table, pte_t *slot, pte_t *entries)
{
    pte_t entry = arch_pte_table(virt_to_phys(entries));

    pte_write(slot, table->table_alloc == table_from_granules ? entry : arch_pte_pinned(entry));
    table->table_count++;
}
