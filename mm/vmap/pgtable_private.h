// Between the files of page tables: a request, the way down, and tables on their way in or out.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/page.h>
#include <mm/pgtable.h>
#include <mm/pte.h>

#define ROOT_LEVEL (ARCH_PT_LEVELS - 1)

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
    bool pins;                 // when making tables
    struct pgtable_detached spares;    // tables that were waited for
    unsigned spare_count;
    uint64_t mapped_bytes;
};

static inline pte_t *entries_of(paddr_t table)
{
    return phys_to_virt(table);
}

// The entries that a leaf fills: more than one only for a run of neighbours.
static inline unsigned leaf_entries(pte_t leaf)
{
    return arch_pte_is_napot(leaf) ? 1U << ARCH_NAPOT_ORDER : 1;
}

bool pgtable_range_is_valid(uint64_t va, uint64_t bytes);

// The way down to `va`: ends at *level, or above it at a leaf or an empty entry; *level then says where.
pte_t *pgtable_find_slot(const struct pgtable *table, uint64_t va, unsigned *level);

// Runs a step under the lock until it no longer asks for a table.
int pgtable_run_locked(struct pgtable *table, struct request *request,
                       int (*step)(struct pgtable *table, struct request *request));

// One more table in reserve; false when there is none.
bool pgtable_add_spare(struct pgtable *table, struct request *request, gfp_t gfp);

// A table of zeros: one in reserve, or one that comes without sleeping; false without. Linking publishes it, by a slot
// that was empty or a leaf for the same memory as all its entries.
bool pgtable_take_table(struct pgtable *table, struct request *request, pte_t **entries);
void pgtable_link_table(struct pgtable *table, pte_t *slot, pte_t *entries);

// Fills `count` neighbours with leaves from `pa` on. Where they are runs by both addresses, and `joins` allows it, they
// become such.
void pgtable_fill(pte_t *slot, unsigned count, uint64_t va, uint64_t pa, unsigned prot, unsigned level, bool joins);

// Visits the leaves that a span touches: the slot of each, of a run the first, and where it starts.
typedef void (*leaf_visit_t)(pte_t *slot, uint64_t va, unsigned level, void *context);
void pgtable_visit_span(const struct pgtable *table, const struct span *span, leaf_visit_t visit, void *context);

void pgtable_push_table(struct pgtable_detached *list, pte_t *entries);
pte_t *pgtable_pop_table(struct pgtable_detached *list);
