// The registry of those who hold pages.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_holder.h>

#include <mm/granule.h>

static uint64_t table_pages(void) { return __atomic_load_n(&granule_tables.page_count, __ATOMIC_RELAXED); }
static uint64_t stack_pages(void) { return __atomic_load_n(&granule_stacks.page_count, __ATOMIC_RELAXED); }

// Start-up registers one after the other, on one hart; readers follow the links.
static struct page_holder stacks = { "stacks", stack_pages, NULL };
static struct page_holder tables = { "page tables", table_pages, &stacks };
static struct page_holder *last = &stacks;

void page_holder_register(struct page_holder *holder)
{
    holder->next = NULL;
    __atomic_store_n(&last->next, holder, __ATOMIC_RELEASE);
    last = holder;
}

void page_holders_for_each(void (*visit)(const struct page_holder *holder, void *context), void *context)
{
    for (const struct page_holder *holder = &tables; holder != NULL;
         holder = __atomic_load_n(&holder->next, __ATOMIC_ACQUIRE))
        visit(holder, context);
}
