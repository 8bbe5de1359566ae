// A return address in words.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/symbols.h>

#include <base/format.h>

int symbol_format(char *text, size_t size, uintptr_t return_address)
{
    struct symbol symbol;

    if (!symbol_lookup(return_address - 1, &symbol))
        return format_text(text, size, "%p", (void *)return_address);
    return format_text(text, size, "%s+%#zx", symbol.name, symbol.offset_bytes + 1);
}
