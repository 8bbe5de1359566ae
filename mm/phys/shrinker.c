// The registry of shrinkers, and what each is asked for.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/shrinker.h>

#include <base/assert.h>
#include <sync/spinlock.h>

#define ONE_PAGE (1UL << SHRINK_PRIORITY_MAX)

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

static struct shrinker *first(void)
{
    return __atomic_load_n(&first_shrinker, __ATOMIC_ACQUIRE);
}

// Of callers at the same time one finds what was deferred, and each adds its own remainder.
static uint64_t take_share(struct shrinker *shrinker, uint64_t count, unsigned priority)
{
    uint64_t share = (count << (SHRINK_PRIORITY_MAX - priority)) +
                     __atomic_exchange_n(&shrinker->deferred, 0, __ATOMIC_RELAXED);

    if (priority == 0)
        return count;
    if (share % ONE_PAGE != 0)
        __atomic_fetch_add(&shrinker->deferred, (uint32_t)(share % ONE_PAGE), __ATOMIC_RELAXED);
    return min_of(share / ONE_PAGE, count);
}

static uint64_t shrink(struct shrinker *shrinker, unsigned priority)
{
    uint64_t count = shrinker->count();
    uint64_t wanted = count > 0 ? take_share(shrinker, count, priority) : 0;
    uint64_t freed = wanted > 0 ? shrinker->scan(wanted) : 0;

    if (wanted > 0) {
        __atomic_fetch_add(&shrinker->asked_pages, wanted, __ATOMIC_RELAXED);
        __atomic_fetch_add(&shrinker->freed_pages, freed, __ATOMIC_RELAXED);
    }
    return freed;
}

uint64_t shrinkers_run(unsigned priority)
{
    uint64_t freed = 0;

    ASSERT(priority <= SHRINK_PRIORITY_MAX);
    for (struct shrinker *shrinker = first(); shrinker != NULL; shrinker = shrinker->next)
        freed += shrink(shrinker, priority);
    return freed;
}

void shrinkers_for_each(void (*visit)(const struct shrinker *shrinker, void *context), void *context)
{
    for (const struct shrinker *shrinker = first(); shrinker != NULL; shrinker = shrinker->next)
        visit(shrinker, context);
}
