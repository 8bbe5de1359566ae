// The kernel's function names, for panics, backtraces and the console.
// SPDX-License-Identifier: BSD-2-Clause
//
// The names come from tables that tools/mkdebug.py makes of the linked image. They are constant: every
// function here may be called in any context, takes no lock and allocates nothing. An image without tables
// has no names.
#pragma once

#include <base/compiler.h>

// With the NUL; mkdebug.py cuts longer names.
#define SYMBOL_NAME_BYTES 64

struct symbol {
    char name[SYMBOL_NAME_BYTES];
    size_t offset_bytes;    // of the address asked for, from the function's start
    size_t size_bytes;      // of the function
};

// One image's tables: the kernel's own, or those of a test.
struct debug_tables {
    const void *image;       // as mkdebug.py wrote it, 4-byte aligned
    size_t image_bytes;      // what may be read; may be more than the tables
    uintptr_t base;          // what the tables' addresses count from
    uintptr_t trap_return_start, trap_return_end;    // see <debug/unwind.h>
};

// The function that `pc` lies in. For a return address ask for pc - 1: the call may have been its caller's
// last instruction. Returns false, and leaves *out alone, when no function is known there.
bool symbol_lookup(uintptr_t pc, struct symbol *out);
bool symbol_lookup_in(const struct debug_tables *tables, uintptr_t pc, struct symbol *out);

// "name+0x12" of a return address into the text, or the bare address where no name is known. As format_text.
int symbol_format(char *text, size_t size, uintptr_t return_address);

// The tables of the running image.
struct debug_tables symbol_kernel_tables(void);
