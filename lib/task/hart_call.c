// Calling a function on another hart: a list for each hart that anybody pushes to and the hart empties whole.
// SPDX-License-Identifier: BSD-2-Clause

#include <task/hart_call.h>

#include <arch/irq.h>
#include <arch/smp.h>
#include <base/assert.h>

static struct posted {
    struct hart_call *latest;      // (A)
} aligned_to(CACHE_LINE_BYTES) posted[MAX_HARTS];

bool hart_call_post(unsigned hart, struct hart_call *call)
{
    // Masked, so that whoever finds it pending finds it posted.
    irqflags_t flags = arch_irq_save();
    if (__atomic_exchange_n(&call->is_pending, 1, __ATOMIC_ACQUIRE)) {
        arch_irq_restore(flags);
        return false;
    }
    struct hart_call *latest = __atomic_load_n(&posted[hart].latest, __ATOMIC_RELAXED);

    do {
        call->next = latest;
    } while (!__atomic_compare_exchange_n(&posted[hart].latest, &latest, call, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    arch_ipi_send(hart, IPI_CALL);
    arch_irq_restore(flags);
    return true;
}

void hart_call_wait(const struct hart_call *call)
{
    for (unsigned round = 0; __atomic_load_n(&call->is_pending, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
}

void hart_call(unsigned hart, void (*function)(void *argument), void *argument)
{
    struct hart_call call = HART_CALL_INIT(function, argument);

    ASSERT(arch_irqs_enabled());
    hart_call_post(hart, &call);
    hart_call_wait(&call);
}

void hart_call_interrupt(void)
{
    struct hart_call *latest = __atomic_exchange_n(&posted[arch_hart_index()].latest, NULL, __ATOMIC_ACQUIRE);
    struct hart_call *first = NULL, *next;

    for (; latest; latest = next) {
        next = latest->next;
        latest->next = first;
        first = latest;
    }
    for (; first; first = next) {
        next = first->next;
        first->function(first->argument);
        // The last touch: the poster may take its memory back.
        __atomic_store_n(&first->is_pending, 0, __ATOMIC_RELEASE);
    }
}
