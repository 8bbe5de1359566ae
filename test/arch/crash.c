// Console command crash: breaks the kernel in a chosen way, so that its last words can be tested.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/image.h>
#include <arch/smp.h>
#include <arch/uaccess.h>
#include <base/assert.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/kstack.h>
#include <mm/vmalloc.h>
#include <task/thread.h>

static noinline void crash_null(void)
{
    volatile int *address = (volatile int *)8;

    // Hidden from the compiler, which would make a trap of its own of it.
    __asm__("" : "+r"(address));
    *address = 1;
}

static noinline void crash_rodata(void)
{
    *(volatile char *)__rodata_start = 1;
}

static noinline void crash_text_alias(void)
{
    *(volatile char *)phys_to_virt(arch_image_phys()) = 1;
}

static noinline void crash_exec_data(void)
{
    static uint32_t code[4];
    void (*function)(void) = (void (*)(void))(uintptr_t)code;

    arch_write_return(code);
    function();
    // Not a tail call: the backtrace is to show who called.
    __asm__ volatile("");
}

static noinline void crash_freed_area(void)
{
    char *area = vmalloc(PAGE_SIZE);

    vfree(area);
    *(volatile char *)area = 1;
}

static noinline void crash_guard(void)
{
    char *stack = kstack_alloc();

    stack[-1] = 1;
}

static noinline void crash_user_address(void)
{
    *(volatile char *)0x10000 = 1;
}

static noinline void crash_assert(void)
{
    volatile int two = 2;
    BUG_ON(two + two == 4);
}

static noinline void crash_panic(void)
{
    panic("asked for, with the number %d", 42);
}

static noinline void crash_illegal(void)
{
    __builtin_trap();
}

// Every call needs a frame, so the stack ends before the recursion does.
static __attribute__((noipa)) int crash_overflow_deeper(int depth, int limit)
{
    volatile char frame[256];

    frame[0] = (char)depth;
    return depth == limit ? 0 : crash_overflow_deeper(depth + 1, limit) + frame[0];
}

static noinline void crash_overflow(void)
{
    volatile int limit = 1000000;

    crash_overflow_deeper(0, limit);
}

static void overflow_thread(void *argument)
{
    (void)argument;
    crash_overflow();
}

// On the last hart, while this one waits.
static noinline void crash_overflow_elsewhere(void)
{
    thread_join(thread_create_on(arch_hart_count() - 1, "doomed", overflow_thread, NULL));
}

static const struct {
    const char *name;
    void (*run)(void);
} crashes[] = {
    { "assert", crash_assert }, { "exec-data", crash_exec_data }, { "freed-area", crash_freed_area },
    { "guard", crash_guard }, { "illegal", crash_illegal }, { "null", crash_null }, { "overflow", crash_overflow },
    { "overflow-elsewhere", crash_overflow_elsewhere },
    { "panic", crash_panic }, { "rodata", crash_rodata }, { "text-alias", crash_text_alias },
    { "user-address", crash_user_address },
};

static int crash_command(int argc, char **argv)
{
    for (unsigned i = 0; i < array_count(crashes) && argc == 2; i++)
        if (strcmp(argv[1], crashes[i].name) == 0)
            crashes[i].run();
    console_print("crash: how? One of:");
    for (unsigned i = 0; i < array_count(crashes); i++)
        console_print(" %s", crashes[i].name);
    console_print("\n");
    return 1;
}
SHELL_COMMAND(crash, "HOW", "breaks the kernel, to see what it says: crash alone lists the ways", crash_command);
