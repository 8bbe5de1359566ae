// How many pages are free when no hart keeps any for itself.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/page_lists.h>
#include <mm/zone.h>

// Empties the lists of all harts; the caller may sleep.
static inline uint64_t free_pages_now(void)
{
    page_lists_drain_all();
    return zones_free_pages();
}
