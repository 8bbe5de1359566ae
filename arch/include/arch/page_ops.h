// Contract: clearing and copying whole pages, as fast as the port can.
// SPDX-License-Identifier: BSD-2-Clause
//
// Mapped, writable memory that nobody else uses meanwhile; any context.
#pragma once

#include <base/addr.h>

// PAGE_SIZE bytes, aligned to PAGE_SIZE. Clearing returns the address, so that a caller can end with it. The two
// pages of a copy do not overlap.
void *arch_clear_page(void *page);
void arch_copy_page(void *to, const void *from);

// `count` granules of MMU_PAGE_SIZE bytes, aligned to that; at least one.
void arch_clear_granules(void *start, unsigned count);
