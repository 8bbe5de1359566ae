// Clearing and copying pages that the direct map shows.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <arch/page_ops.h>
#include <base/assert.h>

// PAGE_SIZE bytes at a page's address. Any context.
static always_inline void clear_page(void *page)
{
    ASSERT_SLOW(is_aligned((uintptr_t)page, PAGE_SIZE));
    arch_clear_page(page);
}

// To another page.
static always_inline void copy_page(void *to, const void *from)
{
    ASSERT_SLOW(is_aligned((uintptr_t)to | (uintptr_t)from, PAGE_SIZE) && to != from);
    arch_copy_page(to, from);
}
