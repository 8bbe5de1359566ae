// Per-hart lists of free blocks: none so far.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/zone.h>

static inline void page_lists_drain(void) {}
static inline void page_lists_drain_all(void) {}
static inline uint64_t page_lists_pages(const struct zone *zone unused_arg) { return 0; }
