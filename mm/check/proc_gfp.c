// The console command gfp: what each kind of request may do.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/gfp.h>

static int command_gfp(int argc unused_arg, char **argv unused_arg)
{
    console_print("%-32s %-6s %-8s %-6s %-7s %-13s %-13s %s\n", "flags", "sleeps", "reclaims", "kswapd", "reserve",
                  "tries", "if costly", "zone");
    for (unsigned i = 0; i < gfp_table_count; i++) {
        const struct gfp_row *row = &gfp_table[i];
        console_print("%-32s %-6s %-8s %-6s %-7s %-13s %-13s %s\n", row->name, row->may_sleep ? "yes" : "no",
                      row->may_reclaim ? "yes" : "no", row->wakes_kswapd ? "yes" : "no",
                      gfp_reserve_name(row->reserve), gfp_patience_name(row->patience),
                      gfp_patience_name(row->costly_patience), row->highest_zone);
    }
    return 0;
}

SHELL_COMMAND(gfp, "", "what each kind of request for pages may do", command_gfp);
