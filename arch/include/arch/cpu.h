// Contract: what the harts can do beyond the base, told once by start-up.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// The isa string of the device tree; features missing on any hart must not be in it. timer_hz: ticks of the timer a
// second.
void arch_cpu_init(const char *isa, uint64_t timer_hz);

// The features that the kernel makes use of, as text for the boot report.
const char *arch_cpu_features(void);

// One character by the firmware, before any driver is up.
void arch_early_putchar(char character);
