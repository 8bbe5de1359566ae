// The platform-level interrupt controller.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// `registers` is the mapped register block; `context` the number of the S-mode context of the hart that takes
// interrupts.
void plic_init(volatile void *registers, uint32_t context);
void plic_enable(uint32_t irq);

// The next pending interrupt, or 0; plic_complete ends its service.
uint32_t plic_claim(void);
void plic_complete(uint32_t irq);
