// Page tables: the walk, and mapping, unmapping and protecting ranges by it.
// SPDX-License-Identifier: BSD-2-Clause

#include <base/errno.h>
#include <mm/granule.h>
#include <mm/pgtable.h>
#include <mm/pte.h>

#define ROOT_LEVEL (ARCH_PT_LEVELS - 1)

struct pgtable kernel_pgtable;

// What a step returns, beside 0 and error numbers, when it must start over with a table more.
#define NEEDS_TABLE 1

struct span {
    uint64_t va, pa, bytes;    // pa: when mapping
};

// One operation, and what it learns.
struct request {
    struct span span;
    unsigned prot;
    unsigned largest_level;
    gfp_t gfp;                 // how a table is waited for
    const void *note;          // when making tables: what the first entry in each remembers, NULL for nothing
    paddr_t spare;             // a table that was waited for, value 0 if none
    uint64_t mapped_bytes;
};

typedef void (*leaf_visit_t)(pte_t *slot, uint64_t va, unsigned level, void *context);

static pte_t *entries_of(paddr_t table)
{
    return phys_to_virt(table);
}

static bool is_table(pte_t entry)
{
    return arch_pte_is_present(entry) && !arch_pte_is_leaf(entry);
}

static bool range_is_valid(uint64_t va, uint64_t bytes)
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

// The way down to `va`: ends at *level, or above it at a leaf or an empty entry; *level then says where.
static pte_t *find_slot(const struct pgtable *table, uint64_t va, unsigned *level)
{
    pte_t *entries = entries_of(table->root);

    for (unsigned at = ROOT_LEVEL;; at--) {
        pte_t *slot = &entries[pt_index(vaddr(va), at)];
        pte_t entry = pte_read(slot);
        if (at == *level || !is_table(entry)) {
            *level = at;
            return slot;
        }
        entries = entries_of(arch_pte_paddr(entry));
    }
}

// A table without sleeping, or the one that was waited for.
static bool take_table(struct pgtable *table, struct request *request, paddr_t *result)
{
    if (request->spare.value != 0) {
        *result = request->spare;
        request->spare = paddr(0);
    } else if (!table->table_alloc(table, GFP_NOWAIT | __GFP_NOWARN, result)) {
        return false;
    }
    table->table_count++;
    return true;
}

// Runs a step under the lock until it no longer asks for a table.
static int run_locked(struct pgtable *table, struct request *request,
                      int (*step)(struct pgtable *table, struct request *request))
{
    int error;

    for (;;) {
        spin_lock(&table->lock);
        error = step(table, request);
        spin_unlock(&table->lock);
        if (error != NEEDS_TABLE)
            break;
        if (!gfp_may_sleep(request->gfp) || !table->table_alloc(table, request->gfp, &request->spare)) {
            error = -ENOMEM;
            break;
        }
    }
    // Another hart had made the table meanwhile. Memblock's tables, of the time of one hart, are never left
    // over.
    if (request->spare.value != 0)
        granule_free(&granule_tables, phys_to_virt(request->spare));
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
        run->slot = find_slot(table, span->va, &level);
        pte_t entry = pte_read(run->slot);
        if (arch_pte_is_present(entry)) {
            if (arch_pte_is_leaf(entry))
                return -EEXIST;
            wanted--;
        } else if (level > wanted) {
            paddr_t new_table;
            if (!take_table(table, request, &new_table))
                return NEEDS_TABLE;
            pte_write(run->slot, arch_pte_table(new_table));
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

static void fill(const struct span *span, const struct run *run, unsigned prot)
{
    for (unsigned i = 0; i < run->count; i++)
        pte_write(run->slot + i,
                  arch_pte_leaf(paddr(span->pa + i * pt_level_size(run->level)), prot, run->level));
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
        fill(&rest, &run, request->prot);
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

    if (!range_is_valid(va.value, bytes) || !pgtable_prot_is_valid(prot) ||
        !is_aligned(pa.value, MMU_PAGE_SIZE) || pa.value + (bytes - 1) < pa.value ||
        !paddr_fits_entry(pa.value + (bytes - MMU_PAGE_SIZE), prot))
        return -EINVAL;
    return run_locked(table, &request, map_step);
}

// What is done is not done again when it starts over.
static int make_tables_step(struct pgtable *table, struct request *request)
{
    struct span *span = &request->span;

    while (span->bytes > 0) {
        unsigned level = 0;
        pte_t *slot = find_slot(table, span->va, &level);

        if (level > 0) {
            paddr_t new_table;
            if (arch_pte_is_present(pte_read(slot)))
                return -EEXIST;
            if (!take_table(table, request, &new_table))
                return NEEDS_TABLE;
            pte_write(slot, arch_pte_table(new_table));
            continue;
        }
        if (request->note != NULL && pte_read(slot).value == 0)
            pte_write(slot, arch_pte_note(request->note));
        uint64_t done = pgtable_entries_here(vaddr(span->va), span->bytes / MMU_PAGE_SIZE) * MMU_PAGE_SIZE;
        span->va += done;
        span->bytes -= done;
    }
    return 0;
}

int pgtable_claim_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, const void *note, gfp_t gfp)
{
    struct request request = { .span = { .va = va.value, .bytes = bytes }, .note = note, .gfp = gfp };

    return range_is_valid(va.value, bytes) ? run_locked(table, &request, make_tables_step) : -EINVAL;
}

int pgtable_make_tables(struct pgtable *table, vaddr_t va, uint64_t bytes, gfp_t gfp)
{
    return pgtable_claim_tables(table, va, bytes, NULL, gfp);
}

// Visits the leaves that [first, last] touches below one table.
static void visit_leaves(pte_t *entries, unsigned level, uint64_t first, uint64_t last, leaf_visit_t visit,
                         void *context)
{
    uint64_t size = pt_level_size(level), visited_table = 0;

    for (uint64_t va = first;; va = align_down(va, size) + size) {
        uint64_t entry_last = va | (size - 1);
        pte_t *slot = &entries[pt_index(vaddr(va), level)];
        pte_t entry = pte_read(slot);

        if (arch_pte_is_present(entry) && arch_pte_is_leaf(entry)) {
            visit(slot, align_down(va, size), level, context);
        } else if (arch_pte_is_present(entry) && arch_pte_paddr(entry).value != visited_table) {
            visited_table = arch_pte_paddr(entry).value;
            visit_leaves(entries_of(arch_pte_paddr(entry)), level - 1, va, min_of(entry_last, last), visit,
                         context);
        }
        if (entry_last >= last)
            return;
    }
}

static void visit_span(const struct pgtable *table, const struct span *span, leaf_visit_t visit,
                       void *context)
{
    visit_leaves(entries_of(table->root), ROOT_LEVEL, span->va, span->va + (span->bytes - 1), visit, context);
}

// Splits large leaves until one starts at `va`, or none lies there.
static int split_at(struct pgtable *table, struct request *request, uint64_t va)
{
    for (;;) {
        unsigned level = 0;
        pte_t *slot = find_slot(table, va, &level);
        pte_t leaf = pte_read(slot);
        paddr_t first = arch_pte_paddr(leaf), pieces;

        if (!arch_pte_is_present(leaf) || is_aligned(va, pt_level_size(level)))
            return 0;
        if (!take_table(table, request, &pieces))
            return NEEDS_TABLE;
        for (unsigned i = 0; i < PT_ENTRIES; i++)
            entries_of(pieces)[i] = arch_pte_leaf(paddr_add(first, i * pt_level_size(level - 1)),
                                                  arch_pte_prot(leaf), level - 1);
        pte_write(slot, arch_pte_table(pieces));
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

    pte_write(slot, (pte_t){ 0 });
    request->mapped_bytes += pt_level_size(level);
}

static int unmap_step(struct pgtable *table, struct request *request)
{
    int error = split_ends(table, request);

    if (error == 0)
        visit_span(table, &request->span, clear_leaf, request);
    return error;
}

int64_t pgtable_unmap(struct pgtable *table, vaddr_t va, uint64_t bytes)
{
    struct request request = { .span = { .va = va.value, .bytes = bytes }, .gfp = GFP_KERNEL };

    if (!range_is_valid(va.value, bytes))
        return -EINVAL;
    int error = run_locked(table, &request, unmap_step);
    return error != 0 ? error : (int64_t)request.mapped_bytes;
}

// The part of the leaf that the request covers.
static void count_leaf(pte_t *slot unused_arg, uint64_t va, unsigned level, void *context)
{
    struct request *request = context;
    const struct span *span = &request->span;
    uint64_t first = max_of(va, span->va),
             last = min_of(va + (pt_level_size(level) - 1), span->va + (span->bytes - 1));

    request->mapped_bytes += last - first + 1;
}

static void protect_leaf(pte_t *slot, uint64_t va unused_arg, unsigned level, void *context)
{
    const struct request *request = context;

    pte_write(slot, arch_pte_leaf(arch_pte_paddr(pte_read(slot)), request->prot, level));
}

static int protect_step(struct pgtable *table, struct request *request)
{
    request->mapped_bytes = 0;
    visit_span(table, &request->span, count_leaf, request);
    if (request->mapped_bytes != request->span.bytes)
        return -ENOENT;
    int error = split_ends(table, request);
    if (error == 0)
        visit_span(table, &request->span, protect_leaf, request);
    return error;
}

int pgtable_protect(struct pgtable *table, vaddr_t va, uint64_t bytes, unsigned prot)
{
    struct request request = { .span = { .va = va.value, .bytes = bytes }, .gfp = GFP_KERNEL, .prot = prot };

    if (!range_is_valid(va.value, bytes) || !pgtable_prot_is_valid(prot))
        return -EINVAL;
    return run_locked(table, &request, protect_step);
}

struct pgtable_walk pgtable_walk(const struct pgtable *table, vaddr_t va)
{
    struct pgtable_walk walk = { .level = ROOT_LEVEL };
    const pte_t *entries = entries_of(table->root);

    for (;; walk.level--) {
        pte_t entry = walk.entry[walk.level] = pte_read(&entries[pt_index(va, walk.level)]);
        if (!is_table(entry))
            break;
        entries = entries_of(arch_pte_paddr(entry));
    }
    pte_t end = walk.entry[walk.level];
    if (arch_vaddr_is_canonical(va) && arch_pte_is_present(end)) {
        walk.mapped = true;
        walk.pa = paddr_add(arch_pte_paddr(end), va.value & (pt_level_size(walk.level) - 1));
        walk.prot = arch_pte_prot(end);
    }
    return walk;
}

pte_t *pgtable_granule_entry(const struct pgtable *table, vaddr_t va)
{
    unsigned level = 0;
    pte_t *entry = find_slot(table, va.value, &level);

    return level == 0 ? entry : NULL;
}

unsigned pgtable_entries_here(vaddr_t va, uint64_t granules)
{
    return (unsigned)min_of(granules, (uint64_t)PT_ENTRIES - pt_index(va, 0));
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

    ASSERT(range_is_valid(start.value, bytes));
    visit_span(table, &span, call_visitor, &callback);
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
