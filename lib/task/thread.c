// Kernel threads: making, ending and listing them.
// SPDX-License-Identifier: BSD-2-Clause

#include "sched_private.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <base/assert.h>
#include <base/bits.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <debug/stack_meter.h>
#include <mm/kstack.h>
#include <mm/kstack_cache.h>
#include <mm/slab.h>
#include <task/workqueue.h>

static struct spinlock thread_list_lock = SPINLOCK_INIT(THREAD_LIST);
static struct list thread_list = LIST_INIT(thread_list);
static struct kmem_cache *thread_cache;
static uint64_t alive_count, created_count;        // (A)

// Detached threads that have ended: freed by a work item, since that may take locks that an interrupt must not.
static struct thread *graveyard;                   // (A) a stack, linked by joiner
static void clear_graveyard(struct work *work);
static struct work graveyard_work = WORK_INIT(clear_graveyard);

void thread_list_add(struct thread *thread)
{
    spin_lock(&thread_list_lock);
    list_add_last(&thread_list, &thread->all);
    spin_unlock(&thread_list_lock);
}

bool thread_is_killed(void)
{
    return __atomic_load_n(&thread_current()->is_killed, __ATOMIC_RELAXED);
}

bool thread_is_bound(void)
{
    return has_at_most_one_bit(thread_current()->affinity & low_bits(arch_hart_count()));
}

#if CONFIG_CHECKED
struct held_locks *thread_held_locks(void)
{
    return &thread_current()->held_locks;
}
#endif

static void begin(void *argument)
{
    struct thread *self = argument;

    sched_begin_thread();
    self->function(self->argument);
    thread_exit();
}

_Noreturn void thread_exit(void)
{
    lockdep_check_exit();
    sched_exit();
}

struct thread *thread_create_in(hart_mask_t affinity, enum thread_priority priority, const char *name,
                                void (*function)(void *), void *argument)
{
    BUG_ON((affinity & low_bits(arch_hart_count())) == 0 || priority == PRIORITY_IDLE || priority >= PRIORITY_COUNT);
    if (!thread_cache)
        thread_cache = kmem_cache_create("thread", sizeof(struct thread), 0, SLAB_PANIC, NULL, NULL);
    struct thread *thread = kmem_cache_zalloc(thread_cache, GFP_KERNEL);
    if (!thread)
        return NULL;
    thread->stack = kstack_cache_alloc();
    if (!thread->stack) {
        kmem_cache_free(thread_cache, thread);
        return NULL;
    }
    string_copy(thread->name, name, sizeof thread->name);
    thread->affinity = affinity;
    thread->priority = priority;
    thread->function = function;
    thread->argument = argument;
    arch_context_init(&thread->context, (char *)thread->stack + KERNEL_STACK_SIZE, begin, thread);
    thread_list_add(thread);
    __atomic_fetch_add(&alive_count, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&created_count, 1, __ATOMIC_RELAXED);
    sched_add(thread);
    return thread;
}

struct thread *thread_create(const char *name, void (*function)(void *), void *argument)
{
    return thread_create_in(HART_MASK_ALL, PRIORITY_NORMAL, name, function, argument);
}

struct thread *thread_create_on(unsigned hart, const char *name, void (*function)(void *), void *argument)
{
    return thread_create_in(hart_mask_of(hart), PRIORITY_NORMAL, name, function, argument);
}

// Of a dead thread.
static void free_thread(struct thread *thread)
{
    spin_lock(&thread_list_lock);
    list_remove(&thread->all);
    spin_unlock(&thread_list_lock);
    kstack_cache_free(thread->stack);
    kmem_cache_free(thread_cache, thread);
    __atomic_fetch_sub(&alive_count, 1, __ATOMIC_RELAXED);
}

void thread_join(struct thread *thread)
{
    struct spinlock *lock;

    might_sleep();
    irqflags_t flags = sched_lock_queue_of(thread, &lock);
    BUG_ON(thread->is_detached || thread->joiner);
    bool has_to_wait = thread->state != THREAD_DEAD;
    if (has_to_wait)
        thread->joiner = thread_current();
    while (thread->state != THREAD_DEAD) {
        spin_unlock_irqrestore(lock, flags);
        thread_block();
        flags = sched_lock_queue_of(thread, &lock);
    }
    spin_unlock_irqrestore(lock, flags);
    // Another's wake may have brought us here first: whoever is about to wake us must have done so before we go on,
    // since we may end, and be freed, ourselves.
    if (has_to_wait)
        for (unsigned round = 0; __atomic_load_n(&thread->joiner, __ATOMIC_ACQUIRE); round++)
            arch_relax(round);
    free_thread(thread);
}

void thread_detach(struct thread *thread)
{
    struct spinlock *lock;
    irqflags_t flags = sched_lock_queue_of(thread, &lock);
    bool is_dead = thread->state == THREAD_DEAD;

    BUG_ON(thread->is_detached || thread->joiner);
    thread->is_detached = true;
    spin_unlock_irqrestore(lock, flags);
    if (is_dead)
        free_thread(thread);
}

void thread_bury(struct thread *thread)
{
    struct thread *top = __atomic_load_n(&graveyard, __ATOMIC_RELAXED);

    do {
        thread->joiner = top;
    } while (!__atomic_compare_exchange_n(&graveyard, &top, thread, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    queue_work(&graveyard_work);
}

static void clear_graveyard(struct work *work unused_arg)
{
    struct thread *thread = __atomic_exchange_n(&graveyard, NULL, __ATOMIC_ACQUIRE), *next;

    for (; thread; thread = next) {
        next = thread->joiner;
        free_thread(thread);
    }
}

void thread_kill(struct thread *thread)
{
    __atomic_store_n(&thread->is_killed, true, __ATOMIC_RELAXED);
    thread_wake(thread);
}

void thread_set_affinity(struct thread *thread, hart_mask_t affinity)
{
    BUG_ON((affinity & low_bits(arch_hart_count())) == 0);
    if (sched_set_affinity(thread, affinity) && thread == thread_current())
        thread_yield();
}

uint64_t thread_count(void) { return __atomic_load_n(&alive_count, __ATOMIC_RELAXED); }
uint64_t thread_created_count(void) { return __atomic_load_n(&created_count, __ATOMIC_RELAXED); }

// Also from the guard below it, where an overrun has left the stack pointer.
static bool is_stack_of(const void *stack, uintptr_t sp, uintptr_t *low, uintptr_t *high)
{
    uintptr_t start = (uintptr_t)stack;

    if (!stack || sp - (start - KERNEL_STACK_SIZE) > 2 * KERNEL_STACK_SIZE)
        return false;
    *low = start;
    *high = start + KERNEL_STACK_SIZE;
    return true;
}

bool thread_find_stack(uintptr_t sp, uintptr_t *low, uintptr_t *high)
{
    struct thread *thread;
    uint64_t left = thread_count() + MAX_HARTS;

    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        if (is_stack_of(thread_stack_on(hart), sp, low, high))
            return true;
    // For panics and the like: the list is read as it is, since its lock may be held for ever; and if it is being
    // changed, not for ever.
    list_for_each(thread, &thread_list, all)
        if (left-- == 0 || is_stack_of(thread->stack, sp, low, high))
            return left != UINT64_MAX;
    return false;
}

const char *thread_name_of_stack(const void *stack)
{
    struct thread *thread;
    uint64_t left = thread_count() + MAX_HARTS;

    // As above.
    list_for_each(thread, &thread_list, all) {
        if (thread->stack == stack)
            return thread->name;
        if (left-- == 0)
            break;
    }
    return NULL;
}

size_t thread_stack_depth(const struct thread *thread)
{
    return thread->stack != NULL ? stack_depth(thread->stack) : 0;
}

static int threads_command(int argc unused_arg, char **argv unused_arg)
{
    static const char *const state_names[] = { "ready", "running", "blocked", "exiting", "dead" };
    static const char *const priority_names[] = { "idle", "normal", "high" };
    struct thread *thread;

    console_print("%-24s %4s  %-8s %-7s %16s %10s %10s %6s  %s\n", "NAME", "HART", "STATE", "PRIO", "MAY RUN ON",
                  "TURNS", "RUN (MS)", "DEPTH", "STACK");
    spin_lock(&thread_list_lock);
    list_for_each(thread, &thread_list, all)
        console_print("%-24s %4u  %-8s %-7s %16lx %10lu %10lu %6zu  %p\n", thread->name, thread->hart,
                      state_names[thread->state], priority_names[thread->priority],
                      thread->affinity & low_bits(arch_hart_count()), thread->switch_count,
                      thread->run_time * 1000 / arch_timer_hz(), thread_stack_depth(thread), thread->stack);
    spin_unlock(&thread_list_lock);
    console_print("\nof a stack of %zu bytes, at most, on top of what it interrupts%s\n", KERNEL_STACK_SIZE,
                  __atomic_load_n(&stack_meter_is_on, __ATOMIC_RELAXED) ? "" : " (with stack_meter=on)");
    for (unsigned path = 0; path < STACK_PATH_COUNT; path++)
        console_print("%-24s %6zu\n", stack_path_name((enum stack_path)path),
                      stack_path_depth((enum stack_path)path));
    return 0;
}
SHELL_COMMAND(threads, "", "every thread: hart, state, priority, where it may run, turns, time, stack and depth; and "
              "what interrupts need of a stack", threads_command);
