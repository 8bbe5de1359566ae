// Failure injection for tests: which allocation requests fail, by their number.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ktest/ktest.h>
#include <mm/page_alloc.h>

#define FAULT_BIT(site) (1U << (site))
#define FAULT_ALL                                                                                            \
    (FAULT_BIT(FAULT_PAGE) | FAULT_BIT(FAULT_SLAB) | FAULT_BIT(FAULT_VMEM) | FAULT_BIT(FAULT_TABLE))

// Requests of these sites are numbered from 0; those from `first` to before `past` fail. Single hart.
static struct {
    unsigned sites;
    uint64_t first, past, seen;
} fault_plan;

static bool fault_plan_hook(enum fault_site site, gfp_t gfp unused_arg)
{
    uint64_t number = fault_plan.seen;

    if ((fault_plan.sites & FAULT_BIT(site)) == 0)
        return false;
    fault_plan.seen++;
    return number >= fault_plan.first && number < fault_plan.past;
}

static inline void fault_plan_start(unsigned sites, uint64_t first, uint64_t past)
{
    fault_plan.sites = sites;
    fault_plan.first = first;
    fault_plan.past = past;
    fault_plan.seen = 0;
    mm_set_fault_hook(fault_plan_hook);
}

// Whether a request was made to fail.
static inline bool fault_plan_stop(void)
{
    mm_set_fault_hook(NULL);
    return fault_plan.seen > fault_plan.first;
}
