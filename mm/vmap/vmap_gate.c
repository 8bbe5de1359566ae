// The gate before the areas: the ways that are seldom gone.
// SPDX-License-Identifier: BSD-2-Clause
#include "vmap_gate.h"

#include <arch/smp.h>

PER_HART struct vmap_front vmap_front;
struct vmap_gate vmap_gate = { .lock = SPINLOCK_INIT(VMALLOC_AREAS) };

noinline void vmap_gate_wait(struct vmap_front *front)
{
    do {
        __atomic_store_n(&front->is_inside, 0, __ATOMIC_RELEASE);
        for (unsigned round = 0; __atomic_load_n(&vmap_gate.is_closed, __ATOMIC_ACQUIRE); round++)
            arch_relax(round);
        __atomic_store_n(&front->is_inside, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&vmap_gate.is_closed, __ATOMIC_ACQUIRE));
}

void *vmap_gate_preempted(void *result)
{
    sched_preempt();
    return result;
}

void vmap_gate_close(void)
{
    spin_lock(&vmap_gate.lock);
    __atomic_store_n(&vmap_gate.is_closed, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned index = 0; index < arch_hart_count(); index++)
        for (unsigned round = 0; __atomic_load_n(&per_hart_of(vmap_front, index)->is_inside, __ATOMIC_ACQUIRE); round++)
            arch_relax(round);
}

void vmap_gate_open(void)
{
    __atomic_store_n(&vmap_gate.is_closed, 0, __ATOMIC_RELEASE);
    spin_unlock(&vmap_gate.lock);
}
