// The QEMU virt board: console, power-off and interrupts put together from what the device tree describes.
// SPDX-License-Identifier: BSD-2-Clause

#include "plic.h"
#include "uart.h"
#include <arch/irq.h>
#include <base/assert.h>
#include <base/errno.h>
#include <debug/klog.h>
#include <mm/page.h>
#include <mm/vmalloc.h>
#include <platform/board.h>
#include <platform/machine.h>
#include <sync/spinlock.h>

// Test finisher (sifive,test1): code << 16 | 0x3333 ends QEMU with that code, 0x5555 with 0.
#define FINISHER_FAIL 0x3333
#define FINISHER_PASS 0x5555
#define FINISHER_BYTES 4096

// For a machine whose device tree cannot be read: where QEMU's virt board has had its finisher since it has one.
#define DEFAULT_FINISHER_PHYS 0x100000

#define INPUT_BYTES 256

static uint64_t early_finisher = DEFAULT_FINISHER_PHYS;
static volatile uint32_t *finisher;        // (C) NULL until plat_init
static uint32_t uart_irq = MACHINE_NO_IRQ; // (C)

// Typed characters on their way from the interrupt to the reader. What finds it full is lost, as on any serial line.
static struct {
    struct spinlock lock;
    char text[INPUT_BYTES];        // (L)
    unsigned head, tail;           // (L) count up; modulo INPUT_BYTES
    void (*notify)(void);          // (C)
} input = { .lock = SPINLOCK_INIT(INPUT) };

void plat_set_early_finisher(uint64_t finisher_phys)
{
    early_finisher = finisher_phys;
}

_Noreturn void plat_exit(int code)
{
    // The early page tables show all physical addresses at the direct map.
    volatile uint32_t *reg = finisher ? finisher : (volatile uint32_t *)phys_to_virt(paddr(early_finisher));

    *reg = code == 0 ? FINISHER_PASS : (uint32_t)code << 16 | FINISHER_FAIL;
    arch_irq_disable();
    for (;;)
        arch_wait_for_interrupt();
}

static void receive(char character)
{
    irqflags_t flags = spin_lock_irqsave(&input.lock);

    if (input.head - input.tail < INPUT_BYTES)
        input.text[input.head++ % INPUT_BYTES] = character;
    spin_unlock_irqrestore(&input.lock, flags);
    if (input.notify)
        input.notify();
}

int plat_console_poll(void)
{
    irqflags_t flags = spin_lock_irqsave(&input.lock);
    int character = input.head == input.tail ? -1 : (unsigned char)input.text[input.tail++ % INPUT_BYTES];

    spin_unlock_irqrestore(&input.lock, flags);
    return character;
}

bool plat_console_on_input(void (*notify)(void))
{
    if (uart_irq == MACHINE_NO_IRQ)
        return false;
    input.notify = notify;
    uart_enable_receive(receive);
    return true;
}

int plat_init(const struct machine *machine)
{
    volatile void *uart = ioremap(paddr(machine->uart.address), machine->uart.size_bytes);
    volatile void *power = machine->finisher ? ioremap(paddr(machine->finisher), FINISHER_BYTES) : NULL;
    bool has_irq = machine->uart.irq != MACHINE_NO_IRQ && machine->hart[0].plic == machine->uart.plic &&
                   machine->hart[0].plic_context != MACHINE_NO_CONTEXT;
    const struct machine_plic *controller = &machine->plic[machine->uart.plic];
    volatile void *plic = has_irq ? ioremap(paddr(controller->address), controller->size_bytes) : NULL;

    if (!uart || (machine->finisher && !power) || (has_irq && !plic)) {
        iounmap(uart);
        iounmap(power);
        iounmap(plic);
        return -ENOMEM;
    }
    finisher = power;
    uart_init(&machine->uart, uart);
    console_register(uart_write);
    if (has_irq) {
        uart_irq = machine->uart.irq;
        plic_init(plic, machine->hart[0].plic_context);
        plic_enable(uart_irq);
    }
    return 0;
}

void plat_external_interrupt(void)
{
    for (uint32_t irq; (irq = plic_claim()) != 0; plic_complete(irq)) {
        if (irq == uart_irq)
            uart_interrupt();
        else
            klog_warn("plic: interrupt %u, which nobody enabled\n", irq);
    }
}
