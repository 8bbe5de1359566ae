// The fake port's side of <sync/sched.h>: a hart is a POSIX thread with a token, and nobody else runs on it.
// SPDX-License-Identifier: BSD-2-Clause
#include <fake_arch.h>

#include "fake_private.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <base/assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sync/lockdep.h>
#include <sync/preempt.h>
#include <sync/sched.h>
#include <time.h>

struct thread {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool has_token, is_asleep;     // (L)
    bool is_killed;                // (A)
    struct held_locks held_locks;
};

PER_HART struct hart_local hart_local = HART_LOCAL_INITIAL;

static struct thread threads[MAX_HARTS];

void fake_sched_enter_hart(unsigned index)
{
    struct thread *self = &threads[index];
    pthread_condattr_t attributes;

    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->woken, &attributes);
    pthread_condattr_destroy(&attributes);
    hart_local_write(index, index);
    hart_local_write(current, self);
}

bool thread_block_until(uint64_t deadline)
{
    struct thread *self = thread_current();
    struct timespec until = { .tv_sec = (time_t)(deadline / 1000000000), .tv_nsec = (long)(deadline % 1000000000) };
    bool is_in_time = true;

    might_sleep();
    pthread_mutex_lock(&self->lock);
    self->is_asleep = true;
    while (!self->has_token && is_in_time) {
        if (deadline == NO_DEADLINE)
            pthread_cond_wait(&self->woken, &self->lock);
        else
            is_in_time = pthread_cond_timedwait(&self->woken, &self->lock, &until) != ETIMEDOUT;
    }
    self->is_asleep = false;
    self->has_token = false;
    pthread_mutex_unlock(&self->lock);
    return is_in_time;
}

void thread_block(void)
{
    thread_block_until(NO_DEADLINE);
}

bool thread_wake(struct thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    bool was_asleep = thread->is_asleep && !thread->has_token;
    thread->has_token = true;
    pthread_cond_signal(&thread->woken);
    pthread_mutex_unlock(&thread->lock);
    return was_asleep;
}

void thread_yield(void)
{
    might_sleep();
    sched_yield();
}

bool thread_is_killed(void)
{
    return __atomic_load_n(&thread_current()->is_killed, __ATOMIC_RELAXED);
}

void fake_thread_kill(unsigned hart, bool is_killed)
{
    __atomic_store_n(&threads[hart].is_killed, is_killed, __ATOMIC_RELAXED);
    thread_wake(&threads[hart]);
}

bool thread_is_bound(void)
{
    return true;
}

struct held_locks *thread_held_locks(void)
{
    return &thread_current()->held_locks;
}

bool sched_is_running(void)
{
    return true;
}

// Nothing ever asks for these here.
void sched_preempt(void)
{
    panic("preemption on the host");
}

void sched_run_bottom_halves(void)
{
    panic("bottom halves on the host");
}
