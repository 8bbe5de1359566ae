// All validators in turn, and the voice they share.
// SPDX-License-Identifier: BSD-2-Clause
#include <check/check.h>

#include "check_private.h"

#include <base/format.h>
#include <debug/klog.h>

#define DEFECTS_SHOWN 10
#define DEFECT_BYTES 200

void check_defect(struct check *check, const char *format, ...)
{
    char text[DEFECT_BYTES];
    va_list args;

    if (check->defects++ >= DEFECTS_SHOWN)
        return;
    va_start(args, format);
    format_text_va(text, sizeof(text), format, args);
    va_end(args);
    klog_error("%s: %s\n", check->name, text);
}

unsigned check_all(void)
{
    return check_zones() + check_ledger() + check_slabs() + check_granules() + check_vmalloc() +
           check_kernel_map();
}
