// The meter of kernel stacks.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/stack_meter.h>

#include <arch/smp.h>
#include <base/bits.h>

#define STACK_BYTES ((size_t)CONFIG_KERNEL_STACK_KB * 1024)

// Between the frame of who marks and the first mark: his own frame lies there.
#define OWN_FRAME_BYTES 256

bool stack_meter_is_on;

static PER_HART struct stack_visit *innermost;

static size_t deepest[MAX_HARTS][STACK_PATH_COUNT];    // (A)

const char *stack_path_name(enum stack_path path)
{
    static const char *const names[] = {
#define STACK_PATH_NAME(name, text) [STACK_PATH_##name] = text,
        STACK_PATHS(STACK_PATH_NAME)
#undef STACK_PATH_NAME
    };

    return names[path];
}

static uint64_t mark_of(const uint64_t *word) { return ~(uintptr_t)word; }

static void mark(uintptr_t from, uintptr_t to, size_t distance)
{
    for (; from < to; from += distance)
        store_relaxed((uint64_t *)from, mark_of((uint64_t *)from));
}

// The lowest word of a range that is no mark.
static uintptr_t lowest_used(uintptr_t from, uintptr_t to, size_t distance)
{
    while (from < to && __atomic_load_n((uint64_t *)from, __ATOMIC_RELAXED) == mark_of((uint64_t *)from))
        from += distance;
    return min_of(from, to);
}

void stack_mark(void *stack)
{
    mark((uintptr_t)stack, (uintptr_t)stack + STACK_BYTES, STACK_MARK_BYTES);
}

size_t stack_depth(const void *stack)
{
    uintptr_t base = (uintptr_t)stack, end = base + STACK_BYTES;
    uint64_t so_far = __atomic_load_n((const uint64_t *)stack, __ATOMIC_RELAXED) ^ mark_of(stack);

    if (so_far >= STACK_BYTES)
        return STACK_BYTES;
    return max_of(so_far, end - lowest_used(base + STACK_MARK_BYTES, end, STACK_MARK_BYTES));
}

// All that nobody uses at the moment, below the frame of the caller's caller.
static noinline void mark_anew(uintptr_t base, uintptr_t limit)
{
    uint64_t depth = stack_depth((void *)base);

    if (depth < STACK_BYTES)
        store_relaxed((uint64_t *)base, mark_of((uint64_t *)base) ^ depth);
    mark(base + STACK_VISIT_MARK_BYTES, limit, STACK_VISIT_MARK_BYTES);
}

static uintptr_t base_of(uintptr_t address) { return align_down(address, STACK_BYTES); }

static uintptr_t free_below(const void *frame)
{
    return align_down((uintptr_t)frame - OWN_FRAME_BYTES, STACK_VISIT_MARK_BYTES);
}

static void note_lowest(struct stack_visit *visit, uintptr_t limit)
{
    if (visit != NULL && base_of(visit->top) == base_of(limit))
        visit->lowest = min_of(visit->lowest, lowest_used(base_of(limit) + STACK_VISIT_MARK_BYTES, limit,
                                                          STACK_VISIT_MARK_BYTES));
}

void stack_visit_measure(struct stack_visit *visit, uintptr_t top)
{
    uintptr_t limit = free_below(__builtin_frame_address(0));

    visit->outer = this_hart(innermost);
    note_lowest(visit->outer, limit);
    mark_anew(base_of(limit), limit);
    visit->top = visit->lowest = top;
    this_hart(innermost) = visit;
}

void stack_visit_record(struct stack_visit *visit, enum stack_path path)
{
    size_t *most = &deepest[arch_hart_index()][path];
    uintptr_t limit = free_below(__builtin_frame_address(0));

    note_lowest(visit, limit);
    this_hart(innermost) = visit->outer;
    store_relaxed(most, max_of(*most, visit->top - visit->lowest));
    mark_anew(base_of(limit), limit);
}

size_t stack_path_depth(enum stack_path path)
{
    size_t most = 0;

    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        most = max_of(most, __atomic_load_n(&deepest[hart][path], __ATOMIC_RELAXED));
    return most;
}

void stack_path_reset(void)
{
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        for (unsigned path = 0; path < STACK_PATH_COUNT; path++)
            store_relaxed(&deepest[hart][path], 0);
}
