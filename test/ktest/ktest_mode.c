// The kernel's boot mode `test`, and its way to run a function on every hart.
// SPDX-License-Identifier: BSD-2-Clause
//
// The harts' threads are made before the first case and stay: a case that has taken all memory can still use
// them.
#include <ktest/ktest.h>

#include <arch/irq.h>
#include <arch/smp.h>
#include <base/assert.h>
#include <init/boot_mode.h>
#include <init/bootargs.h>
#include <task/thread.h>

static struct thread *workers[MAX_HARTS], *caller;

// One call of ktest_run_on_harts. A worker takes part once `number` has grown; with `run` NULL it ends.
static struct {
    void (*run)(unsigned index, void *argument);
    void *argument;
    unsigned harts;
    unsigned arrived, done;        // (A)
    uint64_t number;               // (A) released last
} call;

// Starts when all harts are there: otherwise the first one might be done before the last begins.
static void take_part(void)
{
    __atomic_fetch_add(&call.arrived, 1, __ATOMIC_ACQ_REL);
    for (unsigned round = 0; __atomic_load_n(&call.arrived, __ATOMIC_ACQUIRE) < call.harts; round++)
        arch_relax(round);
    call.run(arch_hart_index(), call.argument);
}

static void worker(void *unused unused_arg)
{
    for (uint64_t seen = 0;;) {
        while (__atomic_load_n(&call.number, __ATOMIC_ACQUIRE) == seen)
            thread_block();
        seen++;
        if (call.run == NULL)
            return;
        take_part();
        __atomic_fetch_add(&call.done, 1, __ATOMIC_RELEASE);
        thread_wake(caller);
    }
}

static void release_workers(void (*run)(unsigned index, void *argument), void *argument)
{
    call.run = run;
    call.argument = argument;
    call.arrived = call.done = 0;
    __atomic_fetch_add(&call.number, 1, __ATOMIC_RELEASE);
    for (unsigned index = 1; index < call.harts; index++)
        thread_wake(workers[index]);
}

unsigned ktest_run_on_harts(void (*fn)(unsigned index, void *argument), void *argument)
{
    release_workers(fn, argument);
    take_part();
    while (__atomic_load_n(&call.done, __ATOMIC_ACQUIRE) < call.harts - 1)
        thread_block();
    return call.harts;
}

BOOTARG_CHOICE(rounds, "few|all", 0, "tests: how much of the long cases is run");

static bool wants_all_rounds;

bool ktest_wants_all_rounds(void)
{
    return wants_all_rounds;
}

static int run_tests(void)
{
    unsigned failed;

    wants_all_rounds = bootarg_choice("rounds") == 1;
    caller = thread_current();
    call.harts = arch_hart_count();
    for (unsigned index = 1; index < call.harts; index++) {
        workers[index] = thread_create_on(index, "ktest", worker, NULL);
        BUG_ON(workers[index] == NULL);
    }
    failed = ktest_run(bootarg_u64("seed"), bootarg_text("filter"));
    release_workers(NULL, NULL);
    for (unsigned index = 1; index < call.harts; index++)
        thread_join(workers[index]);
    return failed == 0 ? EXIT_OK : EXIT_FAILED;
}

BOOT_MODE(test, run_tests);
