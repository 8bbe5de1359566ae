// Between kmap.c and kmap_local.c.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/kmap.h>
#include <mm/pgtable.h>

// The local slots lie behind the pool's.
void kmap_local_init(vaddr_t start);

// As kmap_to_page and kmap_shown_page, for the local slots.
struct page *kmap_local_to_page(const void *address);
struct page *kmap_local_shown_page(vaddr_t address);

// Why a page that page_is_high cannot be mapped: it is no page of RAM. NULL when it can.
const char *kmap_page_fault(const struct page *page);

void kmap_report_misuse(const char *operation, const void *what, const char *why, const void *caller);
