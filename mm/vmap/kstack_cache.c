// Stacks kept for the next threads. Slots are taken and filled by single exchanges, so any hart can empty another's,
// and a thread that is moved in between does no harm.
// SPDX-License-Identifier: BSD-2-Clause

#include <mm/kstack_cache.h>

#include <arch/smp.h>
#include <debug/stack_meter.h>
#include <mm/granule.h>
#include <mm/kstack.h>
#include <mm/shrinker.h>
#include <sync/preempt.h>

static struct {
    void *stack[KSTACKS_KEPT];     // (A) NULL where there is none
} aligned_to(CACHE_LINE_BYTES) kept[MAX_HARTS];

static uint64_t reused_count;      // (A)

static void *take(unsigned hart)
{
    for (unsigned slot = 0; slot < KSTACKS_KEPT; slot++) {
        void *stack = __atomic_exchange_n(&kept[hart].stack[slot], NULL, __ATOMIC_ACQUIRE);
        if (stack != NULL)
            return stack;
    }
    return NULL;
}

static bool keep(unsigned hart, void *stack)
{
    for (unsigned slot = 0; slot < KSTACKS_KEPT; slot++) {
        void *empty = NULL;
        if (__atomic_compare_exchange_n(&kept[hart].stack[slot], &empty, stack, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

void *kstack_cache_alloc(void)
{
    might_sleep();
    void *stack = take(arch_hart_index());

    if (stack != NULL)
        __atomic_fetch_add(&reused_count, 1, __ATOMIC_RELAXED);
    else if ((stack = kstack_alloc()) == NULL)
        return NULL;
    stack_mark(stack);
    return stack;
}

void kstack_cache_free(void *stack)
{
    if (!keep(arch_hart_index(), stack))
        kstack_free(stack);
}

static uint64_t stack_pages(void)
{
    return __atomic_load_n(&granule_stacks.page_count, __ATOMIC_RELAXED);
}

uint64_t kstack_cache_give_back(uint64_t pages_wanted)
{
    uint64_t before = stack_pages(), after = before;
    void *stack;

    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        while (before - after < pages_wanted && (stack = take(hart)) != NULL) {
            kstack_free(stack);
            // Other harts may make stacks meanwhile.
            after = min_of(stack_pages(), before);
        }
    return before - after;
}

// Where stacks are smaller than pages, several share one, and it comes back with the last of them.
uint64_t kstack_cache_pages(void)
{
    uint64_t stacks = 0;

    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        for (unsigned slot = 0; slot < KSTACKS_KEPT; slot++)
            stacks += __atomic_load_n(&kept[hart].stack[slot], __ATOMIC_RELAXED) != NULL;
    return (stacks * KERNEL_STACK_SIZE + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

uint64_t kstack_cache_shrink(void)
{
    return kstack_cache_give_back(UINT64_MAX);
}

uint64_t kstack_cache_reused_count(void)
{
    return __atomic_load_n(&reused_count, __ATOMIC_RELAXED);
}

void kstack_cache_init(void)
{
    static struct shrinker shrinker = {
        .name = "stacks", .count = kstack_cache_pages, .scan = kstack_cache_give_back,
    };

    shrinker_register(&shrinker);
}
