// Page holders: whoever keeps pages says how many, so that a failed request can tell who has the memory.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct page_holder {
    const char *name;
    uint64_t (*pages)(void);       // takes no lock: asked in any context, also while the owner's locks are held
    struct page_holder *next;      // the registry's
};

// For ever. Start-up only.
void page_holder_register(struct page_holder *holder);

// Walks all holders in order of registration. Page tables and stacks come first and need not be registered. Any
// context.
void page_holders_for_each(void (*visit)(const struct page_holder *holder, void *context), void *context);
