// Panic: stop the other harts, report, end the machine.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <base/format.h>
#include <debug/klog.h>
#include <debug/panic.h>
#include <debug/symbols.h>
#include <debug/unwind.h>

#define PANIC_EXIT_CODE 3

// Long enough for a hart that takes interrupts at all, also on a simulator that runs the harts in turn.
#define HALT_WAIT_MS 200

// Of a hart that does not answer.
#define GUESSED_FRAMES 24

enum { NO_HART = -1 };

// The caller of the function that says this: where its backtrace is to start. A function that does not return may have
// saved nothing of its own.
#define CALLER_REGISTERS() \
    ((struct arch_registers){ \
        .pc = (uintptr_t)__builtin_return_address(0), .sp = (uintptr_t)__builtin_dwarf_cfa(), \
    })

struct halted_hart {
    struct arch_registers registers;
    bool is_halted;                                // (A) written last
};

static int panic_hart = NO_HART;                   // (A) index of the hart that panicked first
static struct halted_hart halted[MAX_HARTS];
static void (*exit_machine)(int code);
static const char *(*describe_hart)(unsigned hart_index);
static bool (*find_stack)(uintptr_t sp, uintptr_t *low, uintptr_t *high);
static void *(*find_stack_of_hart)(unsigned hart_index);

void panic_set_exit(void (*machine_exit)(int code)) { exit_machine = machine_exit; }
void panic_set_describer(const char *(*describe)(unsigned hart_index)) { describe_hart = describe; }
void panic_set_stack_finder(bool (*find)(uintptr_t, uintptr_t *, uintptr_t *)) { find_stack = find; }
void panic_set_stack_of_hart(void *(*stack_of_hart)(unsigned)) { find_stack_of_hart = stack_of_hart; }

bool panic_is_under_way(void)
{
    return __atomic_load_n(&panic_hart, __ATOMIC_RELAXED) != NO_HART;
}

static _Noreturn void stop_hart(void)
{
    arch_irq_disable();
    for (;;)
        arch_wait_for_interrupt();
}

static _Noreturn void end_machine(void)
{
    if (exit_machine)
        exit_machine(PANIC_EXIT_CODE);
    stop_hart();
}

_Noreturn void panic_halt_hart(void)
{
    struct halted_hart *own = &halted[arch_hart_index()];

    own->registers = CALLER_REGISTERS();
    __atomic_store_n(&own->is_halted, true, __ATOMIC_RELEASE);
    stop_hart();
}

typedef void (*printer_t)(const char *format, ...);

static void print_frame(printer_t print, const struct unwind_frame *frame)
{
    struct symbol symbol;

    if (symbol_lookup(unwind_lookup_pc(frame), &symbol))
        print("  %016lx  %s + 0x%zx\n", frame->pc, symbol.name,
                      symbol.offset_bytes + (frame->ra_is_valid ? 0 : 1));
    else
        print("  %016lx  ?\n", frame->pc);
}

static bool enter_stack(struct unwind_frame *frame)
{
    return find_stack && find_stack(frame->sp, &frame->stack_low, &frame->stack_high);
}

static void backtrace(printer_t print, const struct arch_registers *start, bool is_trap)
{
    struct unwind_frame frame = {
        .pc = start->pc, .sp = start->sp, .s0 = start->fp, .ra = start->ra, .ra_is_valid = is_trap,
    };

    if (!enter_stack(&frame)) {
        print_frame(print, &frame);
        print("  (the stack pointer %016lx is on no stack)\n", frame.sp);
        return;
    }
    for (;;) {
        print_frame(print, &frame);
        enum unwind_result result = unwind_step(&frame);
        if (result == UNWIND_CALLER)
            continue;
        if (result != UNWIND_TRAP) {
            print("  (%s)\n", unwind_result_text(result));
            return;
        }
        const struct trap_frame *trap = arch_trap_frame_at(frame.sp);
        struct arch_registers registers = arch_trap_registers(trap);
        print("  -- %s --\n", arch_trap_cause_name(trap));
        frame.pc = registers.pc;
        frame.sp = registers.sp;
        frame.s0 = registers.fp;
        frame.ra = registers.ra;
        frame.ra_is_valid = true;
        if (!enter_stack(&frame)) {
            print_frame(print, &frame);
            return;
        }
    }
}

unsigned backtrace_capture(uintptr_t caller, uintptr_t *frames, unsigned most)
{
    struct unwind_frame frame = {
        .pc = (uintptr_t)__builtin_return_address(0), .sp = (uintptr_t)__builtin_dwarf_cfa(),
    };
    unsigned count = 0;

    frames[0] = caller;
    if (!enter_stack(&frame))
        return 1;
    do {
        if (count > 0 || frame.pc == caller)
            frames[count++] = frame.pc;
    } while (count < most && unwind_step(&frame) == UNWIND_CALLER);
    return max_of(count, 1U);
}

void backtrace_print(const struct arch_registers *start, bool is_trap)
{
    backtrace(console_print, start, is_trap);
}

static void print_to_log(const char *format, ...) printf_like(1, 2);

static void print_to_log(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    klog_va(KLOG_INFO, format, args);
    va_end(args);
}

void backtrace_log(const struct arch_registers *start)
{
    backtrace(print_to_log, start, false);
}

// A hart that does not answer has told nobody where its stack pointer is. So every word of its stack that could be a
// return address is taken for one: among them are the calls that are under way, and some that were.
static void guess_backtrace(unsigned index)
{
    const uintptr_t *stack = find_stack_of_hart ? find_stack_of_hart(index) : NULL;
    const size_t words = CONFIG_KERNEL_STACK_KB * 1024 / sizeof *stack;
    size_t first = words;
    struct symbol symbol;

    if (!stack)
        return;
    console_print("  its stack speaks of these calls, some of which may be over:\n");
    for (unsigned found = 0; first > 0 && found < GUESSED_FRAMES; first--)
        found += symbol_lookup(stack[first - 1] - 1, &symbol);
    for (; first < words; first++)
        if (symbol_lookup(stack[first] - 1, &symbol))
            console_print("  %016lx  %s + 0x%zx ?\n", stack[first], symbol.name, symbol.offset_bytes + 1);
}

static const char *hart_description(unsigned index)
{
    const char *text = describe_hart ? describe_hart(index) : NULL;
    return text ? text : "";
}

static void stop_other_harts(void)
{
    unsigned self = arch_hart_index();
    uint64_t deadline = arch_time() + arch_timer_hz() * HALT_WAIT_MS / 1000;

    for (unsigned index = 0; index < arch_hart_count(); index++)
        if (index != self)
            arch_ipi_send(index, IPI_HALT);
    for (unsigned index = 0, round = 0; index < arch_hart_count();) {
        if (index == self || __atomic_load_n(&halted[index].is_halted, __ATOMIC_ACQUIRE) || arch_time() > deadline)
            index++;
        else
            arch_relax(round++);
    }
}

static void report_other_harts(void)
{
    for (unsigned index = 0; index < arch_hart_count(); index++) {
        if (index == arch_hart_index())
            continue;
        if (!__atomic_load_n(&halted[index].is_halted, __ATOMIC_ACQUIRE)) {
            console_print("hart %u  %s: does not answer\n", index, hart_description(index));
            guess_backtrace(index);
            continue;
        }
        console_print("hart %u  %s:\n", index, hart_description(index));
        backtrace_print(&halted[index].registers, false);
    }
}

// The first hart to come here returns; any other is stopped, and a panic within the panic ends the machine at once,
// or, if that panics too, the hart.
static void enter_panic(void)
{
    static unsigned recursion;

    arch_irq_disable();
    int none = NO_HART, self = (int)arch_hart_index();
    if (__atomic_compare_exchange_n(&panic_hart, &none, self, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    if (none == self && recursion++ > 0)
        stop_hart();
    if (none == self) {
        console_print("panic: a second time, while reporting the first\n");
        end_machine();
    }
    panic_halt_hart();
}

static _Noreturn void report(const struct trap_frame *frame, const struct arch_registers *start, const char *format,
                             va_list args)
{
    char text[256];

    enter_panic();
    stop_other_harts();
    format_text_va(text, sizeof text, format, args);
    console_print("\npanic: %s\n", text);
    console_print("hart %u  %s\n", arch_hart_index(), hart_description(arch_hart_index()));
    if (frame) {
        console_print("cause: %s at address %016lx\n", arch_trap_cause_name(frame), arch_trap_address(frame).value);
        arch_trap_print(frame, console_print);
    }
    console_print("backtrace:\n");
    backtrace_print(start, frame != NULL);
    report_other_harts();
    end_machine();
}

static _Noreturn void report_text(const struct trap_frame *frame, const struct arch_registers *start,
                                  const char *format, ...) printf_like(3, 4);

static _Noreturn void report_text(const struct trap_frame *frame, const struct arch_registers *start,
                                  const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report(frame, start, format, args);
}

_Noreturn void panic(const char *format, ...)
{
    struct arch_registers here = CALLER_REGISTERS();
    va_list args;

    va_start(args, format);
    report(NULL, &here, format, args);
}

_Noreturn void panic_on_trap(const struct trap_frame *frame, const char *format, ...)
{
    struct arch_registers there = arch_trap_registers(frame);
    va_list args;

    va_start(args, format);
    report(frame, &there, format, args);
}

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    struct arch_registers here = CALLER_REGISTERS();

    report_text(NULL, &here, "assertion failed: %s, %s:%d", condition, file, line);
}
