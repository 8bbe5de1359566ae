// The registry of shrinkers.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/shrinker.h>

#include <sync/spinlock.h>

// For those who register; readers follow the links.
static struct spinlock registry_lock = SPINLOCK_INIT(SHRINKERS);
static struct shrinker *first_shrinker;

void shrinker_register(struct shrinker *shrinker)
{
    irqflags_t flags = spin_lock_irqsave(&registry_lock);

    shrinker->next = first_shrinker;
    __atomic_store_n(&first_shrinker, shrinker, __ATOMIC_RELEASE);
    spin_unlock_irqrestore(&registry_lock, flags);
}

uint64_t shrinkers_run(uint64_t pages_wanted)
{
    uint64_t freed = 0;

    for (struct shrinker *shrinker = __atomic_load_n(&first_shrinker, __ATOMIC_ACQUIRE);
         shrinker != NULL && freed < pages_wanted; shrinker = shrinker->next)
        freed += shrinker->shrink(pages_wanted - freed);
    return freed;
}
