// The platform-level interrupt controller. Registers: RISC-V PLIC specification 1.0.0, chapter 3.
// SPDX-License-Identifier: BSD-2-Clause

#include "plic.h"

#define PRIORITY_OFFSET(irq) ((size_t)(irq) * 4)
#define ENABLE_OFFSET(context, irq) (0x2000 + (size_t)(context) * 0x80 + (size_t)(irq) / 32 * 4)
#define THRESHOLD_OFFSET(context) (0x200000 + (size_t)(context) * 0x1000)
#define CLAIM_OFFSET(context) (THRESHOLD_OFFSET(context) + 4)

static volatile char *base;        // (C)
static uint32_t own_context;       // (C)

static volatile uint32_t *reg(size_t offset)
{
    return (volatile uint32_t *)(volatile void *)(base + offset);
}

void plic_init(volatile void *registers, uint32_t context)
{
    base = registers;
    own_context = context;
    *reg(THRESHOLD_OFFSET(context)) = 0;
}

void plic_enable(uint32_t irq)
{
    *reg(PRIORITY_OFFSET(irq)) = 1;
    *reg(ENABLE_OFFSET(own_context, irq)) |= 1U << irq % 32;
}

uint32_t plic_claim(void)
{
    return *reg(CLAIM_OFFSET(own_context));
}

void plic_complete(uint32_t irq)
{
    *reg(CLAIM_OFFSET(own_context)) = irq;
}
