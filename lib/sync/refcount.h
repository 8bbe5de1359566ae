// Reference counts that saturate: a count that has gone wrong keeps its object alive, rather than free it too early.
// SPDX-License-Identifier: BSD-2-Clause
//
// Counts live below 0x7fffffff; whatever leaves that range (an overflow, an increment from 0, a decrement below
// 0) is reported once and sets the count to REFCOUNT_SATURATED, where it stays for ever. The middle of the upper half
// leaves room for harts that do so at the same time.
//
// Ordering: gaining a reference orders nothing (one is held already, or the object was found under a lock). Dropping
// one is a release, and finding it to be the last is an acquire, so that whoever frees the object does so after all
// that others did to it (RVWMO, RISC-V unprivileged specification 20191213, chapter 14, preserved program order rules
// 5 and 6: the AMO's aq and rl bits).
#pragma once

#include <base/compiler.h>

typedef struct {
    uint32_t value;                // (A)
} refcount_t;

#define REFCOUNT_INIT(n) { (n) }
#define REFCOUNT_SATURATED 0xc0000000U

// Reports and saturates.
void refcount_went_wrong(refcount_t *count, const char *how);

static inline uint32_t refcount_read(const refcount_t *count)
{
    return __atomic_load_n(&count->value, __ATOMIC_RELAXED);
}

static inline void refcount_set(refcount_t *count, uint32_t value)
{
    __atomic_store_n(&count->value, value, __ATOMIC_RELAXED);
}

// The caller holds a reference.
static inline void refcount_get(refcount_t *count)
{
    uint32_t before = __atomic_fetch_add(&count->value, 1, __ATOMIC_RELAXED);

    if (unlikely(before - 1 >= 0x7ffffffe))
        refcount_went_wrong(count, before == 0 ? "a reference to what has none is taken" : "it has overflowed");
}

// For an object found where it may be dying: false when it has no reference any more.
static inline must_check bool refcount_get_unless_zero(refcount_t *count)
{
    uint32_t before = refcount_read(count);

    while (before != 0)
        if (__atomic_compare_exchange_n(&count->value, &before, before + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            if (unlikely(before >= 0x7fffffff))
                refcount_went_wrong(count, "it has overflowed");
            return true;
        }
    return false;
}

// True for the last one: the caller frees the object.
static inline must_check bool refcount_put(refcount_t *count)
{
    uint32_t before = __atomic_fetch_sub(&count->value, 1, __ATOMIC_ACQ_REL);

    if (unlikely(before - 1 >= 0x7fffffff))
        refcount_went_wrong(count, before == 0 ? "one more is dropped than there were" : "it had overflowed");
    return before == 1;
}
