// The order in which locks nest, on one page: a lock is taken only while holding locks that stand above it here.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each line is a class of locks: its name, in which contexts it is taken, and who nests what below it. Checked builds
// hold every acquisition against this page (<sync/lockdep.h>): two locks of one class never nest.
//
//   SLEEP     a sleeping lock: process context that may sleep
//   PROCESS   a spin lock of process context only; interrupts stay enabled, so no handler may ever want it
//   IRQ       a spin lock that interrupt handlers or bottom halves want too: interrupts are masked wherever it is held,
//             and no PROCESS lock is taken inside it
//
// Start-up names the class of each lock: SPINLOCK_INIT(class), spin_lock_init(&lock, class).
#pragma once

#define LOCK_CLASSES(CLASS) \
    CLASS(TEST_SLEEP_OUTER, SLEEP)      /* tests: two sleeping locks that nest */ \
    CLASS(TEST_SLEEP_INNER, SLEEP) \
    CLASS(SLEEPING, SLEEP)              /* any mutex or semaphore that names no class of its own */ \
    CLASS(TEST_OUTER, PROCESS)          /* tests: locks that nest in the order of their names */ \
    CLASS(TEST_INNER, PROCESS) \
    CLASS(THREAD_LIST, PROCESS)         /* lib/task/thread.c; threads: CONSOLE */ \
    CLASS(CACHE_LIST, PROCESS)          /* mm/kmem/cache_list.c; reap, destroy, slabinfo: KMEM_CACHE, CONSOLE */ \
    CLASS(VMALLOC_PURGE, PROCESS)       /* mm/vmap/vmap_purge.c; purge: VMALLOC_AREAS, REMOTE_FLUSH */ \
    CLASS(VMALLOC_AREAS, PROCESS)       /* mm/vmap/vmap_gate.h; table of areas: PAGE_TABLE; vmallocinfo: CONSOLE */ \
    CLASS(PAGE_TABLE, PROCESS)          /* mm/vmap/pgtable.c; map: GRANULE_POOL, ZONE */ \
    CLASS(ASID, PROCESS)                /* mm/vmap/tlb.c; numbers used again: REMOTE_FLUSH */ \
    CLASS(KMAP, PROCESS)                /* mm/vmap/kmap.c; emptying slots: REMOTE_FLUSH */ \
    CLASS(TEST_IRQ_OUTER, IRQ)          /* tests: locks that interrupts want */ \
    CLASS(TEST_IRQ_INNER, IRQ) \
    CLASS(STRESS, IRQ)                  /* test/stress: what harts hand to each other; leaf */ \
    CLASS(MEMPOOL, IRQ)                 /* mm/kmem/mempool.c; a free to who waits: RUN_QUEUE */ \
    CLASS(KMEM_CACHE, IRQ)              /* mm/kmem/kmem_cache.c; never held while pages are taken or given back */ \
    CLASS(OBJECT_DEPOT, IRQ)            /* mm/kmem/magazine.c; leaf */ \
    CLASS(SLAB_GUARD, IRQ)              /* mm/kmem/slab_guard.c; hiding a page: REMOTE_FLUSH */ \
    CLASS(VMEM, IRQ)                    /* mm/vmap/vmem.c; leaf: segments are taken before it */ \
    CLASS(GRANULE_POOL, IRQ)            /* mm/phys/granule.c; leaf: pages are taken before it */ \
    CLASS(PAGE_DEPOT, IRQ)              /* mm/phys/page_depot.c; leaf: pages go back to zones after it */ \
    CLASS(ZONE, IRQ)                    /* mm/phys/buddy.c; leaf */ \
    CLASS(SHRINKERS, IRQ)               /* mm/phys/shrinker.c; leaf; readers need none */ \
    CLASS(PRESSURE, IRQ)                /* mm/phys/pressure.c; wake: RUN_QUEUE */ \
    CLASS(WORK_QUEUE, IRQ)              /* lib/task/workqueue.c; queue_work: RUN_QUEUE */ \
    CLASS(WAIT, IRQ)                    /* lib/sync: of wait queues, mutexes, semaphores; wake: RUN_QUEUE */ \
    CLASS(RUN_QUEUE, IRQ)               /* lib/task/run_queue.h; one hart's at a time; slice: TIMER_QUEUE */ \
    CLASS(TIMER_QUEUE, IRQ)             /* lib/task/timer.c; leaf; handlers run without it */ \
    CLASS(INPUT, IRQ)                   /* platform/qemu_virt/board.c; leaf; from the serial port's interrupt */ \
    CLASS(REMOTE_FLUSH, IRQ)            /* arch/riscv/mmu/tlb.c; leaf; whoever waits for it serves the holder */ \
    CLASS(CONSOLE, IRQ)                 /* lib/debug/klog.c; leaf; any context */

enum lock_context { LOCK_SLEEP, LOCK_PROCESS, LOCK_IRQ };

// LOCK_CLASS_NONE is a lock that nobody has given a class.
enum lock_class {
    LOCK_CLASS_NONE,
#define LOCK_CLASS_ENTRY(name, context) LOCK_CLASS_##name,
    LOCK_CLASSES(LOCK_CLASS_ENTRY)
#undef LOCK_CLASS_ENTRY
    LOCK_CLASS_COUNT,
};
