// Rows of flushes: of one page on this hart, and on all harts by the way that tlb= names.
// SPDX-License-Identifier: BSD-2-Clause
//
// The machine has one instruction counter, so a remote row counts what the others do meanwhile, too: idle harts that
// wake up and serve. Through the firmware it cannot be had under -icount: a hart spins in there and never gives its
// turn away.

#include "bench.h"
#include <arch/smp.h>
#include <init/bootargs.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

#define FLUSHES 1000

static void local_page(struct bench *bench, unsigned size unused_arg, unsigned variant unused_arg)
{
    char *area = vmalloc(PAGE_SIZE);

    bench->out_of_memory = area == NULL;
    for (unsigned i = 0; i < FLUSHES && area != NULL; i++)
        BENCH_TIME(bench, tlb_flush_local(vaddr_of(area), PAGE_SIZE, TLB_AREA_MAPPED));
    vfree(area);
}

static void remote_page(struct bench *bench, unsigned size unused_arg, unsigned remote)
{
    char *area = vmalloc(PAGE_SIZE);

    bench->out_of_memory = area == NULL || arch_hart_count() == 1 || bootarg_choice("tlb") != remote;
    for (unsigned i = 0; i < FLUSHES && !bench->out_of_memory; i++)
        BENCH_TIME(bench, tlb_flush_kernel(vaddr_of(area), PAGE_SIZE, TLB_UNMAP));
    vfree(area);
}

BENCH_ROW(tlb_local, "tlb.local.1page", local_page, 0, 0);
BENCH_ROW(tlb_remote_ipi, "tlb.remote.1page.ipi", remote_page, 0, ARCH_TLB_BY_INTERRUPT);
BENCH_ROW(tlb_remote_sbi, "tlb.remote.1page.sbi", remote_page, 0, ARCH_TLB_BY_FIRMWARE);
