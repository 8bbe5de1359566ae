// Traps that nobody resolves: what they mean, in words, and then a panic.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/time.h>
#include <arch/trap.h>
#include <arch/upcalls.h>
#include <debug/panic.h>
#include <mm/kstack.h>
#include <mm/page.h>
#include <mm/pgtable.h>
#include <mm/slab_debug.h>
#include <mm/slab_guard.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <mm/zone_layout.h>
#include <arch/per_hart.h>
#include <sync/preempt.h>
#include <task/thread.h>

// Addresses below this are a null pointer with a member's offset.
#define NULL_AREA_BYTES MMU_PAGE_SIZE

static const char *access_name(enum arch_access access)
{
    static const char *const names[] = { "access", "read", "write", "execution" };
    return names[access];
}

// Why the access was refused, from the address alone and the tables as they are. `text` is room for one.
static const char *describe_place(vaddr_t address, enum arch_access access, char text[VMALLOC_FAULT_TEXT_BYTES])
{
    if (address.value < NULL_AREA_BYTES)
        return "a null pointer";
    const char *poison = slab_poison_text(address.value);
    if (poison != NULL)
        return poison;
    if (!arch_vaddr_is_canonical(address))
        return "an address that does not exist";
    if ((int64_t)address.value > 0)
        return "a user address";

    struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, address);
    if (walk.mapped)
        return access == ARCH_ACCESS_WRITE ? "read-only memory" : access == ARCH_ACCESS_EXEC ? "data" : "no memory";
    if (virt_is_direct(vaddr_ptr(address)))
        return address.value - ARCH_DIRECT_BASE >= highmem_start().value ? "HIGHMEM where the direct map ends"
                                                                         : "the direct map, where there is no RAM";
    if (vmalloc_fault_text(address, text, VMALLOC_FAULT_TEXT_BYTES))
        return text;
    if (is_vmalloc_addr(vaddr_ptr(address)))
        return "the vmalloc space, where nothing is mapped";
    return "an address that is not mapped";
}

// A hart may remember that there was no leaf, or that it had fewer rights, until it is told otherwise, and only fences
// of removals are sent to all harts (privileged specification 20211203, section 4.2.1). So a fault that the tables do
// not justify is answered by a fence here, and the access is tried again: once.
// The same place again, soon after, is a repeat; later it is another spurious fault.
#define REPEATS_PER_SECOND 1000

static PER_HART uint64_t retried_pc, retried_address, retried_at;

static bool is_spurious(const struct trap_frame *frame, vaddr_t address, enum arch_access access)
{
    static const unsigned needed[] = {
        [ARCH_ACCESS_READ] = PROT_READ, [ARCH_ACCESS_WRITE] = PROT_WRITE, [ARCH_ACCESS_EXEC] = PROT_EXEC,
    };
    struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, address);
    uint64_t pc = arch_trap_registers(frame).pc;

    if (!walk.mapped || !(walk.prot & needed[access]) ||
        (pc == this_hart(retried_pc) && address.value == this_hart(retried_address) &&
         arch_time() - this_hart(retried_at) < arch_timer_hz() / REPEATS_PER_SECOND))
        return false;
    this_hart(retried_pc) = pc;
    this_hart(retried_address) = address.value;
    this_hart(retried_at) = arch_time();
    // Everything, since what the hart remembers may be that a table was not there.
    tlb_flush_local_all(TLB_SPURIOUS);
    return true;
}

static cold _Noreturn void panic_on_access(const struct trap_frame *frame, vaddr_t address, enum arch_access access)
{
    char text[VMALLOC_FAULT_TEXT_BYTES];
    void *stack;

    // Whose stack overflows is told by its pointer; another access that far below one comes from the area before it.
    if (!kstack_is_overrun(address, &stack) || vmalloc_is_behind_area(address))
        panic_on_trap(frame, "%s of %s", access_name(access), describe_place(address, access, text));
    const char *thread = thread_name_of_stack(stack);
    panic_on_trap(frame, "%s of the guard below the stack %p of %s%s", access_name(access), stack,
                  thread != NULL ? "thread " : "no thread", thread != NULL ? thread : "");
}

void upcall_trap(struct trap_frame *frame)
{
    enum arch_access access = arch_trap_access(frame);
    vaddr_t address = arch_trap_address(frame);

    if (access == ARCH_ACCESS_NONE)
        panic_on_trap(frame, "unexpected trap: %s", arch_trap_cause_name(frame));
    if (arch_vaddr_is_canonical(address) && is_spurious(frame, address, access))
        return;
    if (slab_guard_fault(vaddr_ptr(address), access_name(access)))
        return;
    panic_on_access(frame, address, access);
}

_Noreturn void upcall_stack_overrun(struct trap_frame *frame)
{
    const char *context = in_irq() ? " in an interrupt" : in_bottom_half() ? " in a bottom half" : "";
    uintptr_t sp = arch_trap_registers(frame).sp, top = align_up(sp, 2 * KERNEL_STACK_SIZE) + KERNEL_STACK_SIZE;

    panic_on_trap(frame, "kernel stack overflow in thread %s%s: %lu bytes deep, the stack has %zu",
                  thread_name_on(arch_hart_index()), context, top - sp, KERNEL_STACK_SIZE);
}
