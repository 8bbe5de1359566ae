// Reference counts that went wrong.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/refcount.h>

#include <debug/klog.h>

void refcount_went_wrong(refcount_t *count, const char *how)
{
    // One report for each count: afterwards every step is from the saturated range.
    uint32_t before = __atomic_exchange_n(&count->value, REFCOUNT_SATURATED, __ATOMIC_RELAXED);

    if (before - REFCOUNT_SATURATED + 0x20000000U > 0x40000000U)
        klog_error("reference count %p: %s; what it counts is never freed\n", (void *)count, how);
}
