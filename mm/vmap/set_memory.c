// set_memory_ro and its kin: other rights for a part of an area, and for the same pages in the direct map.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <base/errno.h>
#include <mm/kmap.h>
#include <mm/set_memory.h>
#include <mm/tlb.h>
#include <mm/zone_layout.h>
#include <sync/mutex.h>

struct change {
    const char *operation;
    unsigned added, removed;       // of enum prot
    struct tlb_batch batch;
    int error;
};

// One at a time: what an area shows and what the direct map shows change together.
static struct mutex lock = MUTEX_INIT(lock);

static unsigned rights_after(const struct change *change, unsigned prot)
{
    return (prot | change->added) & ~change->removed;
}

static bool has_alias(pte_t leaf) { return arch_pte_paddr(leaf).value < highmem_start().value; }

static vaddr_t alias_of(pte_t leaf) { return vaddr_of(phys_to_virt(arch_pte_paddr(leaf))); }

// The leaves of a range, after the range was split at its ends: none reaches beyond them.
static void for_each_leaf(struct change *change, vaddr_t start, uint64_t bytes,
                          void (*visit)(vaddr_t va, pte_t leaf, unsigned level, void *context))
{
    pgtable_for_each_leaf(&kernel_pgtable, start, bytes, visit, change);
}

static void check_leaf(vaddr_t va unused_arg, pte_t leaf, unsigned level unused_arg, void *context)
{
    struct change *change = context;

    if (!pgtable_prot_is_valid(rights_after(change, arch_pte_prot(leaf))))
        change->error = -EACCES;
}

static int split(struct change *change, vaddr_t start, uint64_t bytes)
{
    struct pgtable_range whole = pgtable_whole_leaves(&kernel_pgtable, start, bytes);

    tlb_batch_add(&change->batch, whole.start, whole.bytes);
    return pgtable_split(&kernel_pgtable, start, bytes);
}

static void split_alias(vaddr_t va unused_arg, pte_t leaf, unsigned level, void *context)
{
    struct change *change = context;

    if (change->error == 0 && has_alias(leaf) && ((change->added | change->removed) & PROT_WRITE) != 0)
        change->error = split(change, alias_of(leaf), pte_leaf_bytes(leaf, level));
}

static void protect(vaddr_t va, uint64_t bytes, unsigned prot)
{
    int error = pgtable_protect(&kernel_pgtable, va, bytes, prot);

    ASSERT(error == 0);
}

static void change_leaf(vaddr_t va, pte_t leaf, unsigned level, void *context)
{
    uint64_t bytes = pte_leaf_bytes(leaf, level);
    unsigned old = arch_pte_prot(leaf), prot = rights_after(context, old);

    if (prot == old)
        return;
    protect(va, bytes, prot);
    if (has_alias(leaf) && ((prot ^ old) & PROT_WRITE) != 0)
        protect(alias_of(leaf), bytes, prot & PROT_WRITE ? PROT_KERNEL_RW : PROT_KERNEL_RO);
}

// All leaves are split before the first one changes, so the change itself cannot fail.
static int change_rights(struct change *change, vaddr_t start, uint64_t bytes)
{
    tlb_batch_init(&change->batch);
    for_each_leaf(change, start, bytes, check_leaf);
    if (change->error == 0)
        change->error = split(change, start, bytes);
    if (change->error == 0)
        for_each_leaf(change, start, bytes, split_alias);
    if (change->error != 0)
        return change->error;
    // A slot that nobody uses may still show a page of HIGHMEM, for writing.
    if (change->removed & PROT_WRITE)
        kmap_flush_unused();
    for_each_leaf(change, start, bytes, change_leaf);
    if (change->added & PROT_EXEC)
        tlb_batch_add_fetches(&change->batch);
    // Section 4.2.1: rights were taken; and where some were given, in the direct map, a fault may come where none can
    // be answered.
    tlb_batch_flush(&change->batch, TLB_PROTECT);
    return 0;
}

// Whether the range lies in an area that owns its pages, which from now on is one whose rights have changed.
static bool claim(const void *address, uint64_t bytes)
{
    struct vmap_front *front = vmap_gate_enter();
    struct vmalloc_area *area = (struct vmalloc_area *)(uintptr_t)vmalloc_area_holding(vaddr_of(address));
    bool is_good = area != NULL && vmalloc_owns_pages(area) && is_aligned((uintptr_t)address, PAGE_SIZE) &&
                   bytes != 0 && bytes <= area->size - ((uintptr_t)address - area->start.value);

    if (is_good)
        area->kind = VMALLOC_PROTECTED;
    vmap_gate_leave(front);
    return is_good;
}

static int change_range(struct change change, const void *address, unsigned pages, const void *caller)
{
    uint64_t bytes = (uint64_t)pages << PAGE_SHIFT;

    mutex_lock(&lock);
    int error = claim(address, bytes) ? change_rights(&change, vaddr_of(address), bytes) : -EINVAL;
    mutex_unlock(&lock);
    if (error == -EINVAL)
        vmalloc_report_misuse(change.operation, address, "no whole pages of an area that owns its pages", caller);
    else if (error == -EACCES)
        vmalloc_report_misuse(change.operation, address, "a page would be writable and executable", caller);
    return error;
}

int set_memory_ro(const void *address, unsigned pages)
{
    return change_range((struct change){ .operation = "set_memory_ro", .removed = PROT_WRITE }, address, pages,
                        __builtin_return_address(0));
}

int set_memory_rw(const void *address, unsigned pages)
{
    return change_range((struct change){ .operation = "set_memory_rw", .added = PROT_WRITE }, address, pages,
                        __builtin_return_address(0));
}

int set_memory_x(const void *address, unsigned pages)
{
    return change_range((struct change){ .operation = "set_memory_x", .added = PROT_EXEC }, address, pages,
                        __builtin_return_address(0));
}

int set_memory_nx(const void *address, unsigned pages)
{
    return change_range((struct change){ .operation = "set_memory_nx", .removed = PROT_EXEC }, address, pages,
                        __builtin_return_address(0));
}

bool set_memory_reset(const void *start)
{
    struct change change = { .added = PROT_WRITE, .removed = PROT_EXEC };

    mutex_lock(&lock);
    struct vmalloc_area *area = (struct vmalloc_area *)(uintptr_t)vmalloc_area_at(start);
    bool is_protected = area != NULL && area->kind == VMALLOC_PROTECTED;
    if (is_protected) {
        int error = change_rights(&change, area->start, area->size);
        // All that lies in part in an area was split when its rights were first changed.
        ASSERT(error == 0);
        area->kind = VMALLOC_PAGES;
    }
    mutex_unlock(&lock);
    return is_protected;
}
