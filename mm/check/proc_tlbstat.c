// The console command tlbstat: how often translations were forgotten, and why.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/tlb.h>

static int command_tlbstat(int argc unused_arg, char **argv unused_arg)
{
    console_print("%-20s %10s %10s %12s %10s %10s\n", "cause", "local", "remote", "granules", "all", "asid");
    for (enum tlb_cause cause = 0; cause < TLB_CAUSE_COUNT; cause++) {
        struct tlb_counts counts = tlb_counts(cause);
        console_print("%-20s %10lu %10lu %12lu %10lu %10lu\n", tlb_cause_name(cause), counts.local, counts.remote,
                      counts.granules, counts.all, counts.asid);
    }
    console_print("everything at once beyond %lu granules\n", arch_tlb_flush_all_granules());
    return 0;
}

SHELL_COMMAND(tlbstat, "", "flushes by cause: of one hart, of all, granules, of everything, of an address space",
              command_tlbstat);
