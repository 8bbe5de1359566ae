// Mempools. Theory: <mm/mempool.h>.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/mempool.h>

#include "slab_internal.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <base/errno.h>
#include <base/string.h>
#include <debug/klog.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <sync/preempt.h>
#include <sync/sched.h>

// A waiter asks the underlying allocator again this often, in parts of a second. It matters only when memory came
// back by other ways than the pool's, and costs one light request.
#define ASKS_PER_SECOND 10

// What a request may be to the underlying allocator, and what it is without reclaim.
#define FOREIGN_FLAGS (__GFP_HIGH | __GFP_MEMALLOC | __GFP_NOFAIL | __GFP_RETRY_MAYFAIL | __GFP_ZERO)
#define LIGHT_FLAGS (__GFP_NORETRY | __GFP_NOWARN)

// On the stack of who waits, and in the list until it has its element or has found another one.
struct pool_waiter {
    struct list node;
    struct thread *thread;         // (C)
    void *element;                 // (L) NULL until one was handed over
};

// What harts handed out less what they took back is counted apart, so that they seldom want the same cache line.
#define COUNTERS 8
struct pool_counter {
    int64_t out_count aligned_to(CACHE_LINE_BYTES);        // (A)
};

// (L) the pool's lock, (C) constant, (A) written under the lock, read without
struct mempool {
    mempool_alloc_fn alloc;        // (C)
    mempool_free_fn free;          // (C)
    void *context;                 // (C)
    unsigned min_count;            // (A)
    unsigned count;                // (A) elements in the reserve
    void **reserve;                // (L)
    struct list waiters;           // (L) in order of arrival; the reserve is empty while there are any
    struct spinlock lock;
    struct pool_counter counter[COUNTERS];
};

static void count_out(struct mempool *pool, int64_t elements)
{
    __atomic_fetch_add(&pool->counter[arch_hart_index() % COUNTERS].out_count, elements, __ATOMIC_RELAXED);
}

static uint64_t out_count(const struct mempool *pool)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < COUNTERS; i++)
        sum += __atomic_load_n(&pool->counter[i].out_count, __ATOMIC_RELAXED);
    return (uint64_t)max_of(sum, (int64_t)0);
}

static void put_locked(struct mempool *pool, void *element)
{
    pool->reserve[pool->count] = element;
    store_relaxed(&pool->count, pool->count + 1);
}

static void *take_locked(struct mempool *pool)
{
    if (pool->count == 0)
        return NULL;
    store_relaxed(&pool->count, pool->count - 1);
    return pool->reserve[pool->count];
}

// To who has waited longest. Under the lock he cannot leave, so his thread is still there to be woken.
static void hand_over_locked(struct mempool *pool, void *element)
{
    struct pool_waiter *first = list_first(&pool->waiters, struct pool_waiter, node);

    list_remove(&first->node);
    first->element = element;
    thread_wake(first->thread);
}

// --- Allocation

static void *take_from_reserve(struct mempool *pool)
{
    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    void *element = take_locked(pool);

    spin_unlock_irqrestore(&pool->lock, flags);
    return element;
}

// Until there is an element: one that is handed over, or one that the underlying allocator has again.
static void *wait_for_element(struct mempool *pool, gfp_t gfp)
{
    struct pool_waiter self = { .thread = thread_current() };
    void *found = NULL;

    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    self.element = take_locked(pool);
    if (self.element == NULL)
        list_add_last(&pool->waiters, &self.node);
    while (self.element == NULL && found == NULL) {
        spin_unlock_irqrestore(&pool->lock, flags);
        if (!thread_block_until(arch_time() + arch_timer_hz() / ASKS_PER_SECOND))
            found = pool->alloc(gfp, pool->context);
        flags = spin_lock_irqsave(&pool->lock);
    }
    if (self.element == NULL)
        list_remove(&self.node);
    spin_unlock_irqrestore(&pool->lock, flags);
    if (self.element == NULL)
        return found;
    // Both came at once: the other one goes where it would go if it were freed.
    if (found != NULL) {
        count_out(pool, 1);
        mempool_free(found, pool);
    }
    return self.element;
}

static noinline void *alloc_slowly(struct mempool *pool, gfp_t gfp)
{
    bool may_sleep = gfp_may_sleep(gfp);
    void *element = take_from_reserve(pool);

    gfp = (gfp & ~FOREIGN_FLAGS) | LIGHT_FLAGS;
    if (element == NULL && may_sleep)
        element = pool->alloc(gfp, pool->context);
    if (element == NULL && may_sleep)
        element = wait_for_element(pool, gfp);
    if (element != NULL)
        count_out(pool, 1);
    return element;
}

void *mempool_alloc(struct mempool *pool, gfp_t gfp)
{
    might_sleep_if(gfp_may_sleep(gfp));
    if (unlikely(gfp & __GFP_ZERO))
        slab_report_bad_call("mempool_alloc", NULL, "__GFP_ZERO is not kept by a reserve: ignored");

    void *element = pool->alloc((gfp & ~(FOREIGN_FLAGS | __GFP_DIRECT_RECLAIM)) | LIGHT_FLAGS, pool->context);
    if (unlikely(element == NULL))
        return alloc_slowly(pool, gfp);
    count_out(pool, 1);
    return element;
}

// --- Free

static bool was_just_put_locked(const struct mempool *pool, const void *element)
{
    unsigned first = pool->count - min_of(pool->count, (unsigned)MEMPOOL_LOOKED_AT);

    for (unsigned i = first; i < pool->count; i++)
        if (pool->reserve[i] == element)
            return true;
    return false;
}

// Whether the pool needs the element.
static noinline bool keep(struct mempool *pool, void *element)
{
    bool is_kept = true, is_second_free = false;

    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    if (!list_is_empty(&pool->waiters))
        hand_over_locked(pool, element);
    else if (pool->count >= pool->min_count)
        is_kept = false;
    else if (was_just_put_locked(pool, element))
        is_second_free = true;
    else
        put_locked(pool, element);
    spin_unlock_irqrestore(&pool->lock, flags);
    preempt_enable();
    if (unlikely(is_second_free)) {
        count_out(pool, 1);
        slab_report_bad_call("mempool_free", NULL, "the element is in the reserve already");
    }
    return is_kept;
}

void mempool_free(void *element, struct mempool *pool)
{
    if (element == NULL)
        return;
    count_out(pool, -1);
    // A look without the lock misses no need of this element: if it came out of the reserve, whoever brings it has seen
    // the count that was left (coherence, RVWMO), and later counts are of others' frees and allocations. Who waits has
    // emptied the reserve.
    if (unlikely(__atomic_load_n(&pool->count, __ATOMIC_RELAXED) <
                 __atomic_load_n(&pool->min_count, __ATOMIC_RELAXED)) &&
        keep(pool, element))
        return;
    pool->free(element, pool->context);
}

// --- Pools

// Fills `elements` with so many; false, and none, when there are not as many.
static bool make_elements(mempool_alloc_fn alloc, mempool_free_fn free, void *context, void **elements, unsigned count)
{
    for (unsigned made = 0; made < count; made++) {
        elements[made] = alloc(GFP_KERNEL, context);
        if (elements[made] == NULL) {
            while (made > 0)
                free(elements[--made], context);
            return false;
        }
    }
    return true;
}

static bool is_count_good(const char *operation, unsigned min_count)
{
    bool is_good = min_count != 0 && min_count <= MEMPOOL_MAX_COUNT;

    if (!is_good)
        slab_report_bad_call(operation, NULL, "a reserve has 1 to 1024 elements");
    return is_good;
}

struct mempool *mempool_create(unsigned min_count, mempool_alloc_fn alloc, mempool_free_fn free, void *context)
{
    might_sleep();
    if (alloc == NULL || free == NULL) {
        slab_report_bad_call("mempool_create", NULL, "a pool needs both its functions");
        return NULL;
    }
    if (!is_count_good("mempool_create", min_count))
        return NULL;
    struct mempool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);
    void **reserve = kmalloc_array(min_count, sizeof(*reserve), GFP_KERNEL);
    if (pool == NULL || reserve == NULL || !make_elements(alloc, free, context, reserve, min_count)) {
        kfree(reserve);
        kfree(pool);
        return NULL;
    }
    pool->alloc = alloc;
    pool->free = free;
    pool->context = context;
    pool->min_count = pool->count = min_count;
    pool->reserve = reserve;
    list_init(&pool->waiters);
    spin_lock_init(&pool->lock, MEMPOOL);
    return pool;
}

// Elements above min_count, one by one, so that nobody waits for long at the lock.
static void free_surplus(struct mempool *pool, unsigned min_count)
{
    void *element;

    do {
        irqflags_t flags = spin_lock_irqsave(&pool->lock);
        element = pool->count > min_count ? take_locked(pool) : NULL;
        spin_unlock_irqrestore(&pool->lock, flags);
        if (element != NULL)
            pool->free(element, pool->context);
    } while (element != NULL);
}

// The new elements lie at the bottom of the larger reserve, and those that there are come on top.
static int grow(struct mempool *pool, unsigned min_count)
{
    unsigned added = min_count - pool->min_count;
    void **larger = kmalloc_array(min_count, sizeof(*larger), GFP_KERNEL);

    if (larger == NULL || !make_elements(pool->alloc, pool->free, pool->context, larger, added)) {
        kfree(larger);
        return -ENOMEM;
    }
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    void **smaller = pool->reserve;
    memcpy(larger + added, smaller, pool->count * sizeof(*larger));
    pool->reserve = larger;
    store_relaxed(&pool->count, pool->count + added);
    store_relaxed(&pool->min_count, min_count);
    while (!list_is_empty(&pool->waiters) && pool->count > 0)
        hand_over_locked(pool, take_locked(pool));
    spin_unlock_irqrestore(&pool->lock, flags);
    preempt_enable();
    kfree(smaller);
    return 0;
}

int mempool_resize(struct mempool *pool, unsigned min_count)
{
    might_sleep();
    if (!is_count_good("mempool_resize", min_count))
        return -EINVAL;
    if (min_count > pool->min_count)
        return grow(pool, min_count);
    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    store_relaxed(&pool->min_count, min_count);
    spin_unlock_irqrestore(&pool->lock, flags);
    free_surplus(pool, min_count);
    return 0;
}

int mempool_destroy(struct mempool *pool)
{
    might_sleep();
    if (pool == NULL)
        return 0;
    uint64_t out = out_count(pool);
    if (out != 0) {
        slab_report_bad_call("mempool_destroy", NULL, "elements are still out: the pool stays");
        klog_error("slab: mempool %p: %lu elements are out\n", (void *)pool, out);
        return -EBUSY;
    }
    free_surplus(pool, 0);
    kfree(pool->reserve);
    kfree(pool);
    return 0;
}

struct mempool_stats mempool_stats(struct mempool *pool)
{
    struct mempool_stats stats = { .out_count = out_count(pool) };

    irqflags_t flags = spin_lock_irqsave(&pool->lock);
    stats.min_count = pool->min_count;
    stats.reserve_count = pool->count;
    for (const struct list *node = pool->waiters.next; node != &pool->waiters; node = node->next)
        stats.waiter_count++;
    spin_unlock_irqrestore(&pool->lock, flags);
    return stats;
}

// --- The usual underlying allocators

// A cache's front knows no flags but __GFP_ZERO, and no failure injection.
static void *alloc_from_cache(struct kmem_cache *cache, gfp_t gfp)
{
    return likely(mm_fault_hook == NULL) ? cache->alloc(cache, gfp) : kmem_cache_alloc_any(cache, gfp);
}

static void *alloc_object(gfp_t gfp, void *cache) { return alloc_from_cache(cache, gfp); }
static void free_object(void *object, void *cache) { kmem_cache_free(cache, object); }

struct mempool *mempool_create_slab_pool(unsigned min_count, struct kmem_cache *cache)
{
    if (cache == NULL) {
        slab_report_bad_call("mempool_create_slab_pool", NULL, "there is no cache");
        return NULL;
    }
    return mempool_create(min_count, alloc_object, free_object, cache);
}

static void *alloc_block(gfp_t gfp, void *size) { return kmalloc_sized((uintptr_t)size, gfp); }
static void free_block(void *block, void *unused unused_arg) { kfree(block); }

struct mempool *mempool_create_kmalloc_pool(unsigned min_count, size_t size)
{
    if (size == 0) {
        slab_report_bad_call("mempool_create_kmalloc_pool", NULL, "the size is 0");
        return NULL;
    }
    if (size <= KMALLOC_MAX_CACHE_BYTES)
        return mempool_create(min_count, alloc_object, free_block, kmalloc_cache_for(size, GFP_KERNEL));
    return mempool_create(min_count, alloc_block, free_block, (void *)size);
}

static void *alloc_page_block(gfp_t gfp, void *order) { return alloc_pages(gfp, (unsigned)(uintptr_t)order); }
static void free_page_block(void *page, void *order) { __free_pages(page, (unsigned)(uintptr_t)order); }

struct mempool *mempool_create_page_pool(unsigned min_count, unsigned order)
{
    return mempool_create(min_count, alloc_page_block, free_page_block, (void *)(uintptr_t)order);
}
