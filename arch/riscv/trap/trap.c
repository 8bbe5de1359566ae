// Traps: interrupts to their upcalls, exceptions to whoever claims them.
// SPDX-License-Identifier: BSD-2-Clause
//
// Causes: RISC-V privileged specification 20211203, table 4.2.

#include "restart.h"
#include "trap_frame.h"
#include "../riscv.h"
#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <arch/upcalls.h>
#include <base/assert.h>
#include <base/string.h>
#include <debug/stack_meter.h>
#include <port/csr.h>
#include <sync/lockdep.h>
#include <sync/preempt.h>

#define CAUSE_INTERRUPT (1UL << 63)

enum { IRQ_SOFTWARE = 1, IRQ_TIMER = 5, IRQ_EXTERNAL = 9 };
enum {
    CAUSE_FETCH_ACCESS = 1, CAUSE_LOAD_ACCESS = 5, CAUSE_STORE_ACCESS = 7,
    CAUSE_FETCH_PAGE = 12, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15,
};

static const char *const cause_names[] = {
    [0] = "instruction address misaligned", [1] = "instruction access fault", [2] = "illegal instruction",
    [3] = "breakpoint", [4] = "load address misaligned", [5] = "load access fault",
    [6] = "store address misaligned", [7] = "store access fault", [8] = "environment call from user mode",
    [9] = "environment call from supervisor mode", [12] = "instruction page fault", [13] = "load page fault",
    [15] = "store page fault",
};

// First in the hart's block, within reach of one offset from tp; and behind it, the trap entry's own.
PER_HART struct hart_local hart_local __attribute__((section(".tdata.hart"))) = HART_LOCAL_INITIAL;
PER_HART uint64_t riscv_trap_scratch[2] __attribute__((section(".tdata.riscv"))) = { 1, 1 };
PER_HART uint64_t riscv_overflow_stack_top __attribute__((section(".tdata.riscv"))) = 1;

// Where an access that may fault goes on after a fault; 0 when there is none under way.
PER_HART uint64_t riscv_probe_landing __attribute__((section(".tdata.riscv"))) = 1;

void riscv_trap_init_hart(void *overflow_stack_top)
{
    this_hart(riscv_overflow_stack_top) = (uintptr_t)overflow_stack_top;
    this_hart(riscv_probe_landing) = 0;
    riscv_restart_check();
}

void arch_hart_set_overflow_stack(void *stack_top)
{
    this_hart(riscv_overflow_stack_top) = (uintptr_t)stack_top;
}

static void handle_interrupt(uint64_t number)
{
    switch (number) {
    case IRQ_SOFTWARE:
        irq_meter_begin_at((uintptr_t)riscv_handle_ipi);
        riscv_handle_ipi();
        break;
    case IRQ_TIMER:
        irq_meter_begin_at((uintptr_t)upcall_timer);
        riscv_timer_quiet();
        upcall_timer();
        break;
    case IRQ_EXTERNAL:
        irq_meter_begin_at((uintptr_t)upcall_external_interrupt);
        upcall_external_interrupt();
        break;
    default:
        panic("interrupt %lu, which was never enabled", number);
    }
}

// Only with interrupts enabled does one come, so none is under way, and nothing needs to be restored but the count.
static void interrupt(uint64_t number, uint64_t sp)
{
    static const uint8_t path_of[] = {
        [IRQ_SOFTWARE] = STACK_PATH_IPI, [IRQ_TIMER] = STACK_PATH_TIMER, [IRQ_EXTERNAL] = STACK_PATH_EXTERNAL,
    };
    unsigned held = lockdep_held_count();
    struct stack_visit visit;

    preempt_count_add(HARD_IRQ_ONE);
    stack_visit_begin(&visit, sp);
    handle_interrupt(number);
    stack_visit_end(&visit, (enum stack_path)path_of[number]);
    lockdep_check_interrupt_end(held);
    preempt_count_sub(HARD_IRQ_ONE);
    if (unlikely(hart_local_read(bottom_halves) != 0) && !in_interrupt())
        sched_run_bottom_halves();
    if (unlikely(hart_local_preempt_word() == 0))
        sched_preempt_masked();
}

static bool is_fault_of_data(uint64_t cause)
{
    return cause == CAUSE_LOAD_ACCESS || cause == CAUSE_LOAD_PAGE || cause == CAUSE_STORE_ACCESS ||
           cause == CAUSE_STORE_PAGE;
}

void riscv_trap(struct trap_frame *frame)
{
    if (frame->cause & CAUSE_INTERRUPT) {
        if (unlikely(riscv_may_restart(frame->pc)))
            frame->pc = riscv_restart(frame->pc);
        interrupt(frame->cause & ~CAUSE_INTERRUPT, frame->x[2]);
        irq_meter_end();
        return;
    }
    if (this_hart(riscv_probe_landing) != 0) {
        frame->pc = this_hart(riscv_probe_landing);
        this_hart(riscv_probe_landing) = 0;
        return;
    }
    uint64_t landing = is_fault_of_data(frame->cause) ? riscv_fault_landing(frame->pc) : 0;
    if (landing != 0) {
        frame->pc = landing;
        return;
    }
    if (IRQ_METER && (frame->status & SSTATUS_SPIE))
        irq_meter_begin_at(frame->pc);
    struct stack_visit visit;
    stack_visit_begin(&visit, frame->x[2]);
    upcall_trap(frame);
    stack_visit_end(&visit, STACK_PATH_FAULT);
    if (IRQ_METER && (frame->status & SSTATUS_SPIE))
        irq_meter_end();
}

_Noreturn void riscv_stack_overrun(struct trap_frame *frame)
{
    upcall_stack_overrun(frame);
}

struct arch_registers arch_trap_registers(const struct trap_frame *frame)
{
    return (struct arch_registers){ .pc = frame->pc, .sp = frame->x[2], .fp = frame->x[8], .ra = frame->x[1] };
}

const struct trap_frame *arch_trap_frame_at(uint64_t sp)
{
    return (const struct trap_frame *)sp;
}

const char *arch_trap_cause_name(const struct trap_frame *frame)
{
    if (frame->cause & CAUSE_INTERRUPT)
        return "interrupt";
    const char *name = frame->cause < array_count(cause_names) ? cause_names[frame->cause] : NULL;
    return name ? name : "unknown cause";
}

vaddr_t arch_trap_address(const struct trap_frame *frame)
{
    return vaddr(frame->value);
}

enum arch_access arch_trap_access(const struct trap_frame *frame)
{
    switch (frame->cause) {
    case CAUSE_FETCH_ACCESS: case CAUSE_FETCH_PAGE: return ARCH_ACCESS_EXEC;
    case CAUSE_LOAD_ACCESS: case CAUSE_LOAD_PAGE: return ARCH_ACCESS_READ;
    case CAUSE_STORE_ACCESS: case CAUSE_STORE_PAGE: return ARCH_ACCESS_WRITE;
    default: return ARCH_ACCESS_NONE;
    }
}

void arch_trap_print(const struct trap_frame *frame, void (*print)(const char *format, ...))
{
    static const char names[32][4] = {
        "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
        "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    };
    for (unsigned row = 0; row < 8; row++)
        print("  %-3s %016lx  %-3s %016lx  %-3s %016lx  %-3s %016lx\n", names[row], frame->x[row],
              names[row + 8], frame->x[row + 8], names[row + 16], frame->x[row + 16],
              names[row + 24], frame->x[row + 24]);
    print("  sstatus %016lx  scause %016lx  stval %016lx\n", frame->status, frame->cause, frame->value);
}

bool arch_probe_read(const volatile void *address, uint8_t *value)
{
    irqflags_t flags = arch_irq_save();
    bool done = riscv_probe_load(address, value);
    arch_irq_restore(flags);
    return done;
}

bool arch_probe_write(volatile void *address, uint8_t value)
{
    irqflags_t flags = arch_irq_save();
    bool done = riscv_probe_store(address, value);
    arch_irq_restore(flags);
    return done;
}

bool arch_probe_exec(const volatile void *address)
{
    irqflags_t flags = arch_irq_save();
    __asm__ volatile("fence.i" : : : "memory");
    bool done = riscv_probe_call(address);
    arch_irq_restore(flags);
    return done;
}

void arch_write_return(void *address)
{
    static const uint32_t ret_instruction = 0x00008067;
    memcpy(address, &ret_instruction, sizeof ret_instruction);
}
