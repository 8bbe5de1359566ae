// What the kernel does once it is up: one boot mode, chosen by the boot argument mode=NAME.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct boot_mode {
    const char *name;
    // Runs in a kernel thread on hart 0, interrupts enabled. Returns the exit code of the machine.
    int (*run)(void);
};

// Registers a mode from any file of the image; the linker gathers them between __boot_modes_start and __boot_modes_end.
#define BOOT_MODE(mode_name, function) \
    static const struct boot_mode boot_mode_##mode_name \
        __attribute__((used, section(".boot_modes"), aligned(8))) = { #mode_name, function }

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,        // a test or a command failed
    EXIT_BAD_INPUT = 2,     // device tree, boot arguments, initrd
    EXIT_PANIC = 3,
};

// Of kernels with tests: called once on the boot stack, as soon as that has its guard.
void boot_test(void) __attribute__((weak));
