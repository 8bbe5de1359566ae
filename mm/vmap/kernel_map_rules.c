// The rule of the kernel's map: no memory that anybody may write is executed, by whatever names.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/klog.h>
#include <mm/kernel_map.h>
#include <mm/pte.h>

#define REPORTED_VIOLATIONS 10
#define EXEC_SPANS 32
#define HALF_BYTES (pt_level_size(ARCH_PT_LEVELS) / 2)

struct phys_span {
    uint64_t start, end;
};

// Executable physical memory in spans: as many as fit, the rest in another round.
struct audit {
    struct phys_span exec[EXEC_SPANS];
    unsigned exec_count;
    uint64_t exec_leaves;              // seen in this round
    uint64_t first_leaf, past_leaf;    // those whose memory this round looks at, counted in order
    unsigned violations;
};

static void violation(struct audit *audit, vaddr_t va, pte_t leaf, unsigned level, const char *rule)
{
    if (audit->violations++ < REPORTED_VIOLATIONS)
        klog_error("map: %#lx + %#lx -> %#lx: %s\n", va.value, pte_leaf_bytes(leaf, level),
                   arch_pte_paddr(leaf).value, rule);
}

static void note_executable(vaddr_t va, pte_t leaf, unsigned level, void *context)
{
    struct audit *audit = context;
    uint64_t start = arch_pte_paddr(leaf).value, end = start + pte_leaf_bytes(leaf, level);
    unsigned prot = arch_pte_prot(leaf);

    if ((prot & PROT_EXEC) == 0)
        return;
    uint64_t number = audit->exec_leaves++;
    if (number < audit->first_leaf || number >= audit->past_leaf)
        return;
    struct phys_span *span = audit->exec_count > 0 ? &audit->exec[audit->exec_count - 1] : NULL;
    if (span == NULL || span->end != start) {
        if (audit->exec_count == EXEC_SPANS) {
            audit->past_leaf = number;
            return;
        }
        span = &audit->exec[audit->exec_count++];
        span->start = start;
    }
    span->end = end;
    if (prot & PROT_WRITE)
        violation(audit, va, leaf, level, "writable and executable");
}

static void check_writable(vaddr_t va, pte_t leaf, unsigned level, void *context)
{
    struct audit *audit = context;
    uint64_t start = arch_pte_paddr(leaf).value, end = start + pte_leaf_bytes(leaf, level);

    if ((arch_pte_prot(leaf) & (PROT_WRITE | PROT_EXEC)) != PROT_WRITE)
        return;
    for (unsigned i = 0; i < audit->exec_count; i++)
        if (start < audit->exec[i].end && audit->exec[i].start < end) {
            violation(audit, va, leaf, level, "writable, and executable by another mapping");
            return;
        }
}

static void visit_all(const struct pgtable *table, struct audit *audit,
                      void (*visit)(vaddr_t va, pte_t leaf, unsigned level, void *context))
{
    pgtable_for_each_leaf(table, vaddr(0), HALF_BYTES, visit, audit);
    pgtable_for_each_leaf(table, vaddr(-HALF_BYTES), HALF_BYTES, visit, audit);
}

unsigned kernel_map_count_violations_in(const struct pgtable *table)
{
    struct audit audit = { .past_leaf = 0 };

    do {
        audit.first_leaf = audit.past_leaf;
        audit.past_leaf = UINT64_MAX;
        audit.exec_count = 0;
        audit.exec_leaves = 0;
        visit_all(table, &audit, note_executable);
        visit_all(table, &audit, check_writable);
    } while (audit.past_leaf != UINT64_MAX);
    return audit.violations;
}

unsigned kernel_map_count_violations(void)
{
    return kernel_map_count_violations_in(&kernel_pgtable);
}
