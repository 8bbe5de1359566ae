// The console command vmallocinfo, in the format of Linux's /proc/vmallocinfo.
// SPDX-License-Identifier: BSD-2-Clause
//
// A line an area (proc(5)): address range, its size in bytes, who asked for it, pages, what it is. Unlike
// Linux's, range and size leave out the guard behind the area, which here is a granule and not a page. A
// stack has a line of kind "stack"; its granules are counted as pages nowhere.

#include <base/format.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <debug/symbols.h>
#include <mm/vmalloc.h>

static void print_area(const struct vmalloc_area *area, void *context unused_arg)
{
    char caller[SYMBOL_NAME_BYTES + 32] = "";
    char pages[24] = "";
    char phys[32] = "";
    struct symbol symbol;

    // A return address belongs to the call before it.
    if (area->caller != NULL && symbol_lookup((uintptr_t)area->caller - 1, &symbol))
        format_text(caller, sizeof(caller), " %s+0x%zx/0x%zx", symbol.name, symbol.offset_bytes + 1,
                    symbol.size_bytes);
    else if (area->caller != NULL)
        format_text(caller, sizeof(caller), " 0x%lx", (uintptr_t)area->caller);
    if (area->page_count != 0)
        format_text(pages, sizeof(pages), " pages=%u", area->page_count);
    if (area->kind == VMALLOC_IO)
        format_text(phys, sizeof(phys), " phys=0x%016lx", area->phys.value);
    console_print("0x%016lx-0x%016lx %7lu%s%s%s %s\n", area->start.value, area->start.value + area->size,
                  area->size, caller, pages, phys, vmalloc_kind_name(area->kind));
}

static int command_vmallocinfo(int argc unused_arg, char **argv unused_arg)
{
    vmalloc_for_each(print_area, NULL);
    return 0;
}

SHELL_COMMAND(vmallocinfo, "", "areas of the vmalloc space, as /proc/vmallocinfo", command_vmallocinfo);
