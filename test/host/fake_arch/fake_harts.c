// The fake port's harts: POSIX threads that live as long as the program, so that per-hart data last too.
// SPDX-License-Identifier: BSD-2-Clause
#include <fake_arch.h>

#include "fake_private.h"

#include <arch/smp.h>
#include <base/assert.h>
#include <port/irq.h>
#include <pthread.h>
#include <arch/per_hart.h>
#include <mm/magazine.h>
#include <mm/page_lists.h>

_Thread_local bool fake_irqs_enabled = true;
_Thread_local uint32_t *fake_mailbox;

static uint32_t mailbox[MAX_HARTS];        // (A)

// Any thread-local variable serves as the block's start: the others lie at the same distance from it in every
// thread.
static _Thread_local char block_start;
static char *block[MAX_HARTS];
static unsigned started;

// One round of work: the harts 1 .. wanted - 1 run it when `round` grows, and count themselves out.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t round_number;
static unsigned wanted, running;
static unsigned arrived;                   // (A)
static void (*round_fn)(unsigned index, void *argument);
static void *round_argument;

static void hart_enter(unsigned index)
{
    fake_sched_enter_hart(index);
    block[index] = &block_start;
    fake_mailbox = &mailbox[index];
    page_lists_init_hart();
    magazines_init_hart();
}

// An idle hart takes its interrupts: the others may wait for that. With the lock, which is dropped meanwhile.
static void wait_for_change(void)
{
    if (__atomic_load_n(fake_mailbox, __ATOMIC_ACQUIRE) == 0) {
        pthread_cond_wait(&changed, &lock);
        return;
    }
    pthread_mutex_unlock(&lock);
    fake_take_interrupts();
    pthread_mutex_lock(&lock);
}

// Waits for the others: a hart that is late would otherwise find the work done.
static void run_round(void)
{
    __atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
    for (unsigned round = 0; __atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < wanted; round++)
        arch_relax(round);
    round_fn(arch_hart_index(), round_argument);
    if (!fake_irqs_enabled)
        panic("hart %u came back with interrupts masked", arch_hart_index());
}

static void *hart_main(void *index)
{
    uint64_t seen = 0;

    hart_enter((unsigned)(uintptr_t)index);
    pthread_mutex_lock(&lock);
    started++;
    pthread_cond_broadcast(&changed);
    for (;;) {
        while (round_number == seen)
            wait_for_change();
        seen = round_number;
        if (arch_hart_index() >= wanted)
            continue;
        pthread_mutex_unlock(&lock);
        run_round();
        pthread_mutex_lock(&lock);
        running--;
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

void fake_harts_init(unsigned hart_count)
{
    if (hart_count == 0 || hart_count > MAX_HARTS)
        panic("%u harts: there may be 1 to %u", hart_count, MAX_HARTS);
    hart_enter(0);
    pthread_mutex_lock(&lock);
    started = 1;
    for (unsigned index = 1; index < hart_count; index++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, hart_main, (void *)(uintptr_t)index) != 0)
            panic("no thread for hart %u", index);
        while (started <= index)
            pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void fake_harts_run(unsigned count, void (*fn)(unsigned index, void *argument), void *argument)
{
    if (count == 0 || count > started || arch_hart_index() != 0)
        panic("hart %u cannot start %u of %u harts", arch_hart_index(), count, started);
    pthread_mutex_lock(&lock);
    round_fn = fn;
    round_argument = argument;
    wanted = count;
    running = count - 1;
    arrived = 0;
    round_number++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    run_round();
    pthread_mutex_lock(&lock);
    while (running > 0)
        wait_for_change();
    pthread_mutex_unlock(&lock);
}

// As an interrupt: masked meanwhile.
void fake_take_interrupts(void)
{
    uint32_t reasons = __atomic_exchange_n(fake_mailbox, 0, __ATOMIC_ACQ_REL);

    fake_irqs_enabled = false;
    if (reasons & IPI_DRAIN)
        page_lists_interrupt();
    fake_irqs_enabled = true;
}

void arch_ipi_send(unsigned index, unsigned reasons)
{
    __atomic_fetch_or(&mailbox[index], reasons, __ATOMIC_ACQ_REL);
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

unsigned arch_hart_count(void)
{
    return started;
}

uint64_t arch_hart_machine_id(unsigned index)
{
    return index;
}

char *arch_hart_block(unsigned index)
{
    return block[index];
}
