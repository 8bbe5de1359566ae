// Kernel threads and the idle loop.
// SPDX-License-Identifier: BSD-2-Clause

#include "thread.h"
#include <arch/irq.h>
#include <arch/smp.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/kstack.h>
#include <mm/slab.h>
#include <sync/per_hart.h>
#include <sync/spinlock.h>

struct run_queue {
    struct spinlock lock;
    struct list ready;             // (L)
    struct thread *running;        // (L)
    struct thread idle;            // (L)
} aligned_to(CACHE_LINE_BYTES);

static struct run_queue run_queues[MAX_HARTS];

static struct spinlock thread_list_lock = SPINLOCK_INIT;
static struct list thread_list = LIST_INIT(thread_list);
static struct kmem_cache *thread_cache;

// The thread that this hart has just switched away from, for whoever runs next.
static PER_HART struct thread *switched_from;

static struct run_queue *own_queue(void)
{
    return &run_queues[arch_hart_index()];
}

struct thread *thread_current(void)
{
    return own_queue()->running;
}

static void list_thread(struct thread *thread)
{
    irqflags_t flags = spin_lock_irqsave(&thread_list_lock);
    list_add_last(&thread_list, &thread->all);
    spin_unlock_irqrestore(&thread_list_lock, flags);
}

void thread_init_hart(void *stack)
{
    struct run_queue *queue = own_queue();
    struct thread *idle = &queue->idle;

    if (!thread_cache)
        thread_cache = kmem_cache_create("thread", sizeof(struct thread), 0, SLAB_PANIC, NULL, NULL);
    list_init(&queue->ready);
    string_copy(idle->name, "idle", sizeof idle->name);
    idle->hart = arch_hart_index();
    idle->state = THREAD_RUNNING;
    idle->stack = stack;
    list_init(&idle->in_queue);
    queue->running = idle;
    list_thread(idle);
}

static void make_ready_locked(struct run_queue *queue, struct thread *thread)
{
    thread->state = THREAD_READY;
    list_add_last(&queue->ready, &thread->in_queue);
}

static void prod_hart(unsigned hart)
{
    if (hart != arch_hart_index())
        arch_ipi_send(hart, IPI_WAKE);
}

void thread_wake(struct thread *thread)
{
    struct run_queue *queue = &run_queues[thread->hart];
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    bool was_blocked = thread->state == THREAD_BLOCKED;

    if (was_blocked)
        make_ready_locked(queue, thread);
    else
        thread->wake_pending = true;
    spin_unlock_irqrestore(&queue->lock, flags);
    if (was_blocked)
        prod_hart(thread->hart);
}

// The first thing that runs after every switch, on the new stack and with the queue's lock held by the old thread.
static void finish_switch(void)
{
    struct thread *previous = switched_from;
    struct thread *joiner = NULL;

    if (previous->state == THREAD_EXITING) {
        previous->state = THREAD_DEAD;
        joiner = previous->joiner;
    }
    spin_unlock(&own_queue()->lock);
    if (joiner)
        thread_wake(joiner);
}

// Leaves the current thread, whose state the caller has changed. Called and returns with the queue's lock held by the
// thread that runs, and interrupts masked.
static void switch_away_locked(struct run_queue *queue)
{
    struct thread *from = queue->running;
    struct thread *to = &queue->idle;

    if (!list_is_empty(&queue->ready)) {
        to = list_first(&queue->ready, struct thread, in_queue);
        list_remove(&to->in_queue);
    }
    to->state = THREAD_RUNNING;
    if (to == from) {
        spin_unlock(&queue->lock);
        return;
    }
    queue->running = to;
    switched_from = from;
    arch_context_switch(&from->context, &to->context);
    finish_switch();
}

void thread_yield(void)
{
    struct run_queue *queue = own_queue();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    struct thread *self = queue->running;

    if (self == &queue->idle)
        self->state = THREAD_READY;
    else
        make_ready_locked(queue, self);
    switch_away_locked(queue);
    arch_irq_restore(flags);
}

void thread_block(void)
{
    struct run_queue *queue = own_queue();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    struct thread *self = queue->running;

    ASSERT(self != &queue->idle);
    if (self->wake_pending) {
        self->wake_pending = false;
        spin_unlock(&queue->lock);
    } else {
        self->state = THREAD_BLOCKED;
        switch_away_locked(queue);
    }
    arch_irq_restore(flags);
}

_Noreturn void thread_exit(void)
{
    struct run_queue *queue = own_queue();

    spin_lock_irqsave(&queue->lock);
    ASSERT(queue->running != &queue->idle);
    queue->running->state = THREAD_EXITING;
    switch_away_locked(queue);
    panic("thread %s runs after its end", queue->running->name);
}

static void thread_begin(void *argument)
{
    struct thread *self = argument;

    finish_switch();
    arch_irq_enable();
    self->function(self->argument);
    thread_exit();
}

struct thread *thread_create_on(unsigned hart, const char *name, void (*function)(void *), void *argument)
{
    ASSERT(hart < arch_hart_count());
    struct thread *thread = kmem_cache_zalloc(thread_cache, GFP_KERNEL);
    if (!thread)
        return NULL;
    thread->stack = kstack_alloc();
    if (!thread->stack) {
        kmem_cache_free(thread_cache, thread);
        return NULL;
    }
    string_copy(thread->name, name, sizeof thread->name);
    thread->hart = hart;
    thread->function = function;
    thread->argument = argument;
    arch_context_init(&thread->context, (char *)thread->stack + KERNEL_STACK_SIZE, thread_begin, thread);
    list_thread(thread);

    struct run_queue *queue = &run_queues[hart];
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    make_ready_locked(queue, thread);
    spin_unlock_irqrestore(&queue->lock, flags);
    prod_hart(hart);
    return thread;
}

void thread_join(struct thread *thread)
{
    struct run_queue *queue = &run_queues[thread->hart];
    irqflags_t flags = spin_lock_irqsave(&queue->lock);

    thread->joiner = thread_current();
    while (thread->state != THREAD_DEAD) {
        spin_unlock_irqrestore(&queue->lock, flags);
        thread_block();
        flags = spin_lock_irqsave(&queue->lock);
    }
    spin_unlock_irqrestore(&queue->lock, flags);

    flags = spin_lock_irqsave(&thread_list_lock);
    list_remove(&thread->all);
    spin_unlock_irqrestore(&thread_list_lock, flags);
    kstack_free(thread->stack);
    kmem_cache_free(thread_cache, thread);
}

_Noreturn void thread_idle(void)
{
    struct run_queue *queue = own_queue();

    for (;;) {
        // Masked between the look and the wait: a wake in between stays pending, and ends the wait at once.
        arch_irq_disable();
        if (list_is_empty(&queue->ready))
            arch_wait_for_interrupt();
        arch_irq_enable();
        thread_yield();
    }
}

const char *thread_name_on(unsigned hart)
{
    struct thread *running = run_queues[hart].running;
    return running ? running->name : "starting";
}

bool thread_find_stack(uintptr_t sp, uintptr_t *low, uintptr_t *high)
{
    struct thread *thread;

    // For panics and the like: the list is read as it is, since its lock may be held for ever.
    list_for_each(thread, &thread_list, all) {
        uintptr_t start = (uintptr_t)thread->stack;
        // Also from the guard below it, where an overrun has left it.
        if (sp - (start - KERNEL_STACK_SIZE) > 2 * KERNEL_STACK_SIZE)
            continue;
        *low = start;
        *high = start + KERNEL_STACK_SIZE;
        return true;
    }
    return false;
}

static int threads_command(int argc, char **argv)
{
    static const char *const state_names[] = { "ready", "running", "blocked", "exiting", "dead" };
    struct thread *thread;

    (void)argc;
    (void)argv;
    console_print("%-24s %4s  %-8s  %s\n", "NAME", "HART", "STATE", "STACK");
    irqflags_t flags = spin_lock_irqsave(&thread_list_lock);
    list_for_each(thread, &thread_list, all)
        console_print("%-24s %4u  %-8s  %p\n", thread->name, thread->hart, state_names[thread->state], thread->stack);
    spin_unlock_irqrestore(&thread_list_lock, flags);
    return 0;
}
SHELL_COMMAND(threads, "", "every kernel thread: its hart, state and stack", threads_command);
