// Stacks of ended threads, kept for the next ones by the hart that they ended on.
// SPDX-License-Identifier: BSD-2-Clause
//
// A stack costs an area, four granules and, when it goes, a fence on every hart; so each hart keeps up to
// KSTACKS_KEPT, mapped as they are. They count as stacks in the ledger, and go back when memory is short.
#pragma once

#include <base/compiler.h>

#define KSTACKS_KEPT 4

// A kept stack of this hart, or else a new one (kstack_alloc); NULL without memory. Its contents are undefined but
// for the marks (stack_mark), so that its depth is the new thread's. May sleep.
must_check void *kstack_cache_alloc(void);

// Keeps a stack from either function, or gives it back when there are enough. Process context.
void kstack_cache_free(void *stack);

// Gives kept stacks of all harts back until so many pages are free, or all; returns the pages freed. Process context.
uint64_t kstack_cache_give_back(uint64_t pages_wanted);
uint64_t kstack_cache_shrink(void);

// Pages that could come back so: at most, where stacks share pages. Any context.
uint64_t kstack_cache_pages(void);

// Stacks handed out once more, since the start.
uint64_t kstack_cache_reused_count(void);

// Registers the shrinker. Start-up.
void kstack_cache_init(void);
