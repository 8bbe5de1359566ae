// The order in which locks nest, on one page. A lock is taken only while holding locks above it in its tree.
// SPDX-License-Identifier: BSD-2-Clause
//
//   cache_list_lock             mm/kmem/kmem_cache.c     list of all caches
//     kmem_cache.lock           mm/kmem/kmem_cache.c     kmem_cache_reap, kmem_cache_destroy, slabinfo
//     console_lock              lib/debug/klog.c         slabinfo
//   kmem_cache.lock                                      never held while pages are taken or given back
//   vmem.lock                   mm/vmap/vmem.c           leaf; segments are taken before it
//   vmalloc_areas_lock          mm/vmap/vmalloc_area.c
//     console_lock              lib/debug/klog.c         vmallocinfo
//   kernel_pgtable.lock         mm/vmap/pgtable.c        pgtable_map, pgtable_unmap, pgtable_protect
//     granule_pool.lock         mm/phys/granule.c        a table, without sleeping
//     zone.lock                 mm/phys/buddy.c          granule_alloc: a new backing page
//   thread_list_lock            lib/task/thread.c
//     console_lock              lib/debug/klog.c         threads
//   run_queue.lock              lib/task/thread.c        leaf
//   shrinker registry_lock      mm/phys/shrinker.c       leaf; readers need none
//   input.lock                  platform/qemu_virt/board.c  leaf; from the serial port's interrupt
//   remote.lock                 arch/riscv/mmu/tlb.c     leaf; whoever waits for it serves the holder's request
//   console_lock                lib/debug/klog.c         leaf; taken from any context
//
// zone.lock, granule_pool.lock, kmem_cache.lock, run_queue.lock and console_lock are wanted in interrupt context: they
// are taken with interrupts masked everywhere.
#pragma once
