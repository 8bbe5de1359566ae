// Lock discipline in checked builds: what is held, and what may be taken or left then.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/lockdep.h>

#if CONFIG_CHECKED

#include <debug/irq_meter.h>
#include <debug/panic.h>
#include <debug/violation.h>
#include <sync/preempt.h>
#include <sync/sched.h>
#include <sync/spinlock.h>

static const struct { const char *name; enum lock_context context; } classes[] = {
    [LOCK_CLASS_NONE] = { "(no class)", LOCK_IRQ },
#define CLASS_NAME(class_name, class_context) [LOCK_CLASS_##class_name] = { #class_name, LOCK_##class_context },
    LOCK_CLASSES(CLASS_NAME)
#undef CLASS_NAME
};

// Of this hart; touched with interrupts masked.
static PER_HART struct held_locks held_spinlocks;

// Set while a finding is being reported, which takes locks too.
static PER_HART bool is_reporting;

#define CALLER() __builtin_return_address(0)

// Asked before anything is known to be right, so it checks nothing itself: in vain for a moment is good enough.
static bool is_off(void)
{
    return arch_this_hart(is_reporting) || panic_is_under_way();
}

#define report(...) \
    do { \
        irqflags_t report_flags_ = arch_irq_save(); \
        irq_meter_pause("a finding is reported, with a backtrace"); \
        this_hart(is_reporting) = true; \
        violation(__VA_ARGS__); \
        this_hart(is_reporting) = false; \
        irq_meter_resume(); \
        arch_irq_restore(report_flags_); \
    } while (0)

static const char *context_name(void)
{
    return in_irq() ? "an interrupt" : in_bottom_half() ? "a bottom half" : in_interrupt() ? "bottom halves off" :
           preempt_count() != 0 ? "preemption disabled" : !arch_irqs_enabled() ? "interrupts masked" : "a thread";
}

static void add(struct held_locks *held, const void *lock, enum lock_class class, const void *caller)
{
    if (held->count == HELD_LOCKS_MAX)
        panic("lockdep: more than %d locks are held", HELD_LOCKS_MAX);
    held->lock[held->count++] = (struct held_lock){ lock, caller, class };
}

static bool take_off(struct held_locks *held, const void *lock)
{
    for (unsigned i = held->count; i-- > 0;)
        if (held->lock[i].lock == lock) {
            for (held->count--; i < held->count; i++)
                held->lock[i] = held->lock[i + 1];
            return true;
        }
    return false;
}

// The lock among these that must not be held when one of that class is taken; NULL when there is none.
static const struct held_lock *find_offended(const struct held_locks *held, enum lock_class class)
{
    for (unsigned i = 0; held && i < held->count; i++) {
        enum lock_class other = held->lock[i].class;
        if (other >= class || (classes[other].context == LOCK_IRQ && classes[class].context == LOCK_PROCESS))
            return &held->lock[i];
    }
    return NULL;
}

static void check_order(const void *lock, enum lock_class class, const struct held_locks *held)
{
    const struct held_lock *offended = find_offended(held, class);

    if (offended)
        report("lock order: %s %p is taken while %s %p is held, which was taken at %p", classes[class].name, lock,
               classes[offended->class].name, offended->lock, offended->taken_by);
}

void lockdep_acquire_spinlock(const struct spinlock *lock)
{
    enum lock_class class = lock->class;
    irqflags_t flags = arch_irq_save();
    bool irqs_were_enabled = arch_irq_was_enabled(flags);

    if (!is_off()) {
        if (class == LOCK_CLASS_NONE)
            report("lock %p has no class", (const void *)lock);
        if (classes[class].context == LOCK_IRQ && irqs_were_enabled)
            report("lock %s %p is wanted by interrupts, and taken with interrupts enabled", classes[class].name,
                   (const void *)lock);
        if (classes[class].context == LOCK_PROCESS && in_interrupt())
            report("lock %s %p is for process context only, and taken in %s", classes[class].name,
                   (const void *)lock, context_name());
        check_order(lock, class, &this_hart(held_spinlocks));
        if (!in_interrupt() && thread_current())
            check_order(lock, class, thread_held_locks());
        add(&this_hart(held_spinlocks), lock, class, CALLER());
    }
    arch_irq_restore(flags);
}

void lockdep_release_spinlock(const struct spinlock *lock)
{
    irqflags_t flags = arch_irq_save();

    bool was_held = take_off(&this_hart(held_spinlocks), lock);
    if (!was_held && !is_off())
        report("lock %s %p is released, but not held by this hart", classes[lock->class].name, (const void *)lock);
    arch_irq_restore(flags);
}

void lockdep_acquire_sleeping(const void *lock, enum lock_class class, bool may_wait)
{
    struct held_locks *held = thread_held_locks();

    if (may_wait) {
        might_sleep();
        check_order(lock, class, held);
    }
    add(held, lock, class, CALLER());
}

void lockdep_release_sleeping(const void *lock)
{
    bool was_held = take_off(thread_held_locks(), lock);

    if (!was_held && !is_off())
        report("sleeping lock %p is released, but not held by this thread", lock);
}

void might_sleep(void)
{
    if (!sched_is_running() || !in_atomic() || is_off())
        return;
    const struct held_locks *held = &this_hart(held_spinlocks);
    if (held->count > 0)
        report("sleeping in %s, with the lock %s held, taken at %p", context_name(),
               classes[held->lock[held->count - 1].class].name, held->lock[held->count - 1].taken_by);
    else
        report("sleeping in %s", context_name());
}

void this_hart_check(void)
{
    if (!in_atomic() && sched_is_running() && !thread_is_bound() && !is_off())
        report("data of a hart are touched by a thread that can be moved to another");
}

void lockdep_check_block(void)
{
    const struct held_locks *held = &this_hart(held_spinlocks);

    if (held->count > 1 && !is_off())
        report("a thread leaves its hart with the lock %s held, taken at %p", classes[held->lock[0].class].name,
               held->lock[0].taken_by);
}

void lockdep_check_exit(void)
{
    const struct held_locks *held = thread_held_locks();

    if (held->count > 0)
        report("a thread ends with the lock %s %p held, taken at %p", classes[held->lock[0].class].name,
               held->lock[0].lock, held->lock[0].taken_by);
    if (in_atomic())
        report("a thread ends in %s, with %u spin locks held", context_name(), this_hart(held_spinlocks).count);
}

unsigned lockdep_held_count(void)
{
    return this_hart(held_spinlocks).count;
}

void lockdep_check_interrupt_end(unsigned held_before)
{
    if (this_hart(held_spinlocks).count != held_before && !is_off())
        report("an interrupt returns with %u spin locks held, and came with %u",
               this_hart(held_spinlocks).count, held_before);
}

#endif
