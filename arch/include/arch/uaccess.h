// Contract: accesses that may fault.
// SPDX-License-Identifier: BSD-2-Clause
//
// The port defines, inline
//   bool arch_try_load(const uint64_t *address, uint64_t *value)
//       Loads an aligned word, or returns false where that faults: one instruction when it does not. Any context.
#pragma once

#include <base/compiler.h>
#include <port/uaccess.h>

// Each tries one access of a byte and returns true when it was carried out, false when it faulted. Any address, any
// context. The write stores `value`; the execution calls the address, where a return instruction must stand.
must_check bool arch_probe_read(const volatile void *address, uint8_t *value);
must_check bool arch_probe_write(volatile void *address, uint8_t value);
must_check bool arch_probe_exec(const volatile void *address);

// Writes a return instruction at a 4-byte aligned address, for arch_probe_exec.
void arch_write_return(void *address);
