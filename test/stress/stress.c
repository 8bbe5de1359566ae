// Boot mode stress: threads, interrupts, bottom halves and work items on all harts take memory of every allocator, fill
// it, hand it to each other, verify it and give it back, until the time is up. Then nothing may be left, or be wrong.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <base/addr.h>
#include <base/format.h>
#include <debug/klog.h>
#include <init/boot_mode.h>
#include <init/bootargs.h>
#include <ktest/free_pages.h>
#include <ktest/ktest_private.h>
#include <check/check.h>
#include <mm/zone.h>
#include <task/sched.h>
#include <task/thread.h>
#include <task/timer.h>
#include <task/workqueue.h>

BOOTARG_U64(seconds, 1, 86400, 10, "s", "stress: how long, in the machine's time");
BOOTARG_U64(stress_threads, 1, 64, 4, "", "stress: threads for each hart that work all the time");

struct stress_counts stress_counts;

static bool is_stopping;           // (A)
static uint32_t has_failed;        // (A) who sets it writes the reason
static char reason[160];
static uint64_t threads_before, created_before;

bool stress_is_stopping(void)
{
    return __atomic_load_n(&is_stopping, __ATOMIC_RELAXED);
}

void stress_fail(const char *format, ...)
{
    va_list args;

    if (__atomic_exchange_n(&has_failed, 1, __ATOMIC_RELAXED))
        return;
    va_start(args, format);
    format_text_va(reason, sizeof reason, format, args);
    va_end(args);
    console_print("stress: %s\n", reason);
}

uint64_t stress_mix(uint64_t a, uint64_t b)
{
    struct random random = random_seeded(a ^ (b << 1 | b >> 63));

    return random_next(&random);
}

void actor_init(struct actor *actor, uint64_t number)
{
    *actor = (struct actor){
        .number = number, .random = random_seeded(stress_mix(bootarg_u64("seed"), number)),
    };
}

void actor_retire(const struct actor *actor)
{
    __atomic_fetch_add(&stress_counts.digest,
                       stress_mix(stress_mix(actor->number, actor->operations), actor->checksum), __ATOMIC_RELAXED);
}

static uint64_t read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void report_second(uint64_t second, uint64_t *operations_before)
{
    uint64_t operations = read(&stress_counts.operations);
    struct ledger ledger = ledger_take();
    const uint64_t *pages = ledger.pages, page_kb = PAGE_SIZE / KB(1);

    console_print("stress %4lu s: %lu operations (+%lu); failed: page %lu object %lu vmalloc %lu thread %lu; "
                  "threads %lu made %lu killed %lu; memory KB: free %lu slab %lu kmalloc %lu vmalloc %lu tables %lu "
                  "stacks %lu raw %lu\n",
                  second, operations, operations - *operations_before, read(&stress_counts.failed_pages),
                  read(&stress_counts.failed_objects), read(&stress_counts.failed_vmalloc),
                  read(&stress_counts.failed_threads), thread_count(), thread_created_count() - created_before,
                  read(&stress_counts.killed), pages[PAGE_FREE] * page_kb, pages[PAGE_SLAB] * page_kb,
                  pages[PAGE_KMALLOC] * page_kb, pages[PAGE_VMALLOC] * page_kb, pages[PAGE_TABLE] * page_kb,
                  pages[PAGE_STACK] * page_kb, pages[PAGE_RAW] * page_kb);
    *operations_before = operations;
}

struct totals {
    uint64_t switches, pulls, interrupts, digest;
};

// Counters of the system as they are now, less what they were.
static struct totals take_totals(void)
{
    struct totals totals = { .interrupts = read(&stress_counts.calls) };

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct sched_stats stats = sched_stats_of(hart);
        totals.switches += stats.switch_count;
        totals.pulls += stats.pull_count;
        totals.interrupts += timer_fired_count(hart);
        totals.digest = stress_mix(totals.digest, stress_mix(stats.switch_count, stats.pull_count));
    }
    totals.digest = stress_mix(totals.digest, read(&stress_counts.digest));
    return totals;
}

static void run_for(uint64_t seconds)
{
    uint64_t start = arch_time(), operations = 0;

    for (uint64_t second = 1; second <= seconds && !__atomic_load_n(&has_failed, __ATOMIC_RELAXED); second++) {
        thread_sleep_until(start + second * arch_timer_hz());
        report_second(second, &operations);
    }
}

// Threads that were left to themselves are freed by a work item, some time after their end.
static void wait_for_threads_to_go(void)
{
    while (thread_count() > threads_before)
        thread_sleep_us(1000);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        flush_work_on(hart);
}

static void judge(const struct ktest_state *before)
{
    uint64_t damaged = read(&stress_counts.damaged);

    if (damaged > 0)
        stress_fail("%lu objects were damaged", damaged);
    if (!ktest_state_is_kept(before))
        stress_fail("what was taken has not all come back");
    uint64_t misuses = ktest_misuse_count() - before->misuse_count;
    if (misuses > 0)
        stress_fail("%lu misuses were reported", misuses);
    unsigned defects = check_all();
    if (defects > 0)
        stress_fail("the validators found %u defects", defects);
}

static int run_stress(void)
{
    uint64_t seconds = bootarg_u64("seconds");
    struct totals before, after;

    // Requests that fail for lack of memory are what this is about: counted, not told one by one.
    klog_set_level(KLOG_ERROR);
    threads_before = thread_count();
    created_before = thread_created_count();
    struct ktest_state state = ktest_state_take();
    before = take_totals();
    slots_init();
    waits_init();
    if (!objects_init(free_pages_now() * PAGE_SIZE / 2) || !rain_start() ||
        !threads_start((unsigned)bootarg_u64("stress_threads")))
        stress_fail("too little memory to start");
    else
        run_for(seconds);

    __atomic_store_n(&is_stopping, true, __ATOMIC_RELAXED);
    threads_stop();
    rain_stop();
    wait_for_threads_to_go();
    after = take_totals();
    slots_free_all();
    objects_finish();
    judge(&state);
    if (has_failed) {
        console_print("stress: FAILED: %s\n", reason);
        return EXIT_FAILED;
    }
    console_print("stress: passed: %lu operations in %lu s, seed %lu, harts %u, page size %lu; "
                  "failed requests: page %lu object %lu vmalloc %lu thread %lu; threads made %lu killed %lu; "
                  "switches %lu pulls %lu interrupts %lu; digest 0x%016lx\n",
                  stress_counts.operations, seconds, bootarg_u64("seed"), arch_hart_count(), PAGE_SIZE,
                  stress_counts.failed_pages, stress_counts.failed_objects, stress_counts.failed_vmalloc,
                  stress_counts.failed_threads, thread_created_count() - created_before, stress_counts.killed,
                  after.switches - before.switches, after.pulls - before.pulls, after.interrupts - before.interrupts,
                  after.digest);
    return EXIT_OK;
}

BOOT_MODE(stress, run_stress);
