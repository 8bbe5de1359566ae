// Console command crash: breaks the kernel in a chosen way, so that its last words can be tested.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/image.h>
#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/uaccess.h>
#include <base/assert.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <init/boot_mode.h>
#include <init/bootargs.h>
#include <mm/kstack.h>
#include <mm/slab.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <sync/mutex.h>
#include <sync/spinlock.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
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

static noinline char *crash_allocate_area(void)
{
    char *area = vmalloc(2 * PAGE_SIZE);

    // Not a tail call: who called is told.
    __asm__ volatile("" : "+r"(area));
    return area;
}

static noinline void crash_free_area(char *area)
{
    vfree(area);
    __asm__ volatile("");
}

static noinline void crash_freed_area(void)
{
    char *area = crash_allocate_area(), *other = vmalloc(PAGE_SIZE);

    crash_free_area(area);
    vfree(other);
    ((volatile char *)area)[2 * PAGE_SIZE - 1] = 1;
}

static noinline void crash_overrun_area(void)
{
    char *earlier = crash_allocate_area();

    crash_free_area(earlier);
    volatile char *area = vmalloc(PAGE_SIZE);
    area[PAGE_SIZE] = 1;
}

static noinline void crash_no_area(void)
{
    *(volatile char *)(ARCH_VMALLOC_END - MMU_PAGE_SIZE) = 1;
}

static void never_run(void *unused unused_arg) {}

// Of a thread that is ready on this hart, and so has a stack and is not on it.
static noinline void crash_guard(void)
{
    struct thread *thread = thread_create_on(arch_hart_index(), "neighbour", never_run, NULL);

    ((volatile char *)thread->stack)[-1] = 1;
}

static noinline void crash_guard_of_nobody(void)
{
    volatile char *stack = kstack_alloc();

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

// In an interrupt, and in a bottom half.
static void overflow_in_interrupt(void *unused unused_arg) { crash_overflow(); }
static void overflow_in_bottom_half(struct tasklet *unused unused_arg) { crash_overflow(); }

static noinline void crash_overflow_interrupt(void)
{
    hart_call(arch_hart_index(), overflow_in_interrupt, NULL);
}

static noinline void crash_overflow_bottom_half(void)
{
    static struct tasklet tasklet = TASKLET_INIT(overflow_in_bottom_half);

    tasklet_schedule(&tasklet);
    tasklet_wait(&tasklet);
}

BOOTARG_CHOICE(crash_boot, "no|overflow", 0, "whether start-up overflows its stack");

void boot_test(void)
{
    if (bootarg_choice("crash_boot") == 1)
        crash_overflow();
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

// What a pointer leads to that is read from an object after it was freed, or before it was written.
static noinline void crash_follow(bool is_freed)
{
    struct kmem_cache *cache = kmem_cache_create("crash", 64, 0, SLAB_POISON, NULL, NULL);
    char *volatile *object = kmem_cache_alloc(cache, GFP_KERNEL);

    if (is_freed)
        kmem_cache_free(cache, (void *)(uintptr_t)object);
    *(volatile char *)object[3] = 1;
}

static noinline void crash_freed_pointer(void) { crash_follow(true); }
static noinline void crash_new_pointer(void) { crash_follow(false); }

// --- Harts and threads that never let go. The watchdog finds them.

static struct spinlock never_released = SPINLOCK_INIT(TEST_IRQ_OUTER);
static struct spinlock process_lock = SPINLOCK_INIT(TEST_INNER);
static struct spinlock outer_process_lock = SPINLOCK_INIT(TEST_OUTER);
static struct mutex free_mutex = MUTEX_INIT(free_mutex);

static noinline void crash_waste_more(volatile unsigned *rounds)
{
    while (*rounds > 0)
        --*rounds;
}

// Not a leaf, so that it leaves its caller's address on the stack.
static noinline void crash_waste_time(void)
{
    volatile unsigned rounds = 1000;

    crash_waste_more(&rounds);
}

static noinline void crash_deaf(void)
{
    arch_irq_disable();
    for (;;)
        crash_waste_time();
}

static noinline void crash_deaf_lock(void)
{
    never_released.word = SPINLOCK_HELD;
    (void)spin_lock_irqsave(&never_released);
    __asm__ volatile("");
}

static noinline void crash_endless(void)
{
    for (;;)
        crash_waste_time();
}

static noinline void crash_endless_atomic(void)
{
    preempt_disable();
    crash_endless();
}

static void run_deaf(void *unused unused_arg) { crash_deaf(); }
static void run_deaf_lock(void *unused unused_arg) { crash_deaf_lock(); }
static void run_endless(void *unused unused_arg) { crash_endless(); }
static void run_endless_atomic(void *unused unused_arg) { crash_endless_atomic(); }

// On the last hart, while this one waits.
static void crash_elsewhere(const char *name, void (*function)(void *argument))
{
    thread_join(thread_create_on(arch_hart_count() - 1, name, function, NULL));
}

static void crash_deaf_elsewhere(void) { crash_elsewhere("deaf", run_deaf); }
static void crash_deaf_lock_elsewhere(void) { crash_elsewhere("waiting", run_deaf_lock); }
static void crash_endless_elsewhere(void) { crash_elsewhere("endless", run_endless); }
static void crash_endless_atomic_elsewhere(void) { crash_elsewhere("endless", run_endless_atomic); }

static noinline void crash_deadlock(void)
{
    irqflags_t flags = spin_lock_irqsave(&never_released);

    flags |= spin_lock_irqsave(&never_released);
    spin_unlock_irqrestore(&never_released, flags);
}

static void run_deaf_noted(void *is_deaf)
{
    arch_irq_disable();
    __atomic_store_n((bool *)is_deaf, true, __ATOMIC_RELEASE);
    crash_deaf();
}

// A hart that takes no interrupts does not forget a translation either.
static noinline void crash_unanswered_flush(void)
{
    static bool is_deaf;
    char *area = vmalloc(2 * PAGE_SIZE);

    struct thread *deaf = thread_create_on(arch_hart_count() - 1, "deaf", run_deaf_noted, &is_deaf);
    for (unsigned round = 0; !__atomic_load_n(&is_deaf, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
    tlb_flush_kernel(vaddr_of(area), 2 * PAGE_SIZE, TLB_PROTECT);
    thread_join(deaf);
}

// --- Rules that checked kernels hold; the others go on, and say that nothing happened.

static noinline void crash_sleep_atomic(void)
{
    spin_lock(&process_lock);
    mutex_lock(&free_mutex);
    mutex_unlock(&free_mutex);
    spin_unlock(&process_lock);
}

static noinline void crash_lock_inversion(void)
{
    spin_lock(&process_lock);
    spin_lock(&outer_process_lock);
    spin_unlock(&outer_process_lock);
    spin_unlock(&process_lock);
}

static noinline void crash_take_in_interrupt(void *lock)
{
    spin_lock(lock);
    spin_unlock(lock);
}

static noinline void crash_irq_lock(void)
{
    hart_call(arch_hart_count() - 1, crash_take_in_interrupt, &process_lock);
}

static const struct {
    const char *name;
    void (*run)(void);
} crashes[] = {
    { "assert", crash_assert }, { "deadlock", crash_deadlock }, { "deaf", crash_deaf_elsewhere },
    { "deaf-lock", crash_deaf_lock_elsewhere }, { "endless", crash_endless_elsewhere },
    { "endless-atomic", crash_endless_atomic_elsewhere }, { "exec-data", crash_exec_data },
    { "freed-area", crash_freed_area }, { "freed-pointer", crash_freed_pointer }, { "guard", crash_guard },
    { "guard-of-nobody", crash_guard_of_nobody },
    { "illegal", crash_illegal }, { "irq-lock", crash_irq_lock }, { "lock-inversion", crash_lock_inversion },
    { "new-pointer", crash_new_pointer }, { "no-area", crash_no_area }, { "null", crash_null },
    { "overflow", crash_overflow }, { "overflow-bottom-half", crash_overflow_bottom_half },
    { "overflow-elsewhere", crash_overflow_elsewhere }, { "overflow-interrupt", crash_overflow_interrupt },
    { "overrun-area", crash_overrun_area }, { "panic", crash_panic }, { "rodata", crash_rodata },
    { "sleep-atomic", crash_sleep_atomic }, { "text-alias", crash_text_alias },
    { "unanswered-flush", crash_unanswered_flush }, { "user-address", crash_user_address },
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
