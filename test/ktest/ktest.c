// The test runner: chooses, shuffles and runs the cases, checks what each one leaves behind, and prints TAP.
// SPDX-License-Identifier: BSD-2-Clause
#include <ktest/ktest.h>

#include "ktest_private.h"

#include <base/assert.h>
#include <base/format.h>
#include <base/parse.h>
#include <base/string.h>
#include <debug/irq_meter.h>
#include <debug/klog.h>
#include <check/check.h>
#include <mm/kswapd.h>
#include <sync/sched.h>

#define MAX_CASES 1024
#define MAX_FAILURES_SHOWN 10
#define NOTE_BYTES 256

// Of the case that runs now. (A): by any hart that runs for it.
static struct {
    struct random random;
    uint64_t failures;             // (A)
    uint64_t expected_misuse;      // (A)
    const char *why_skipped;
} now;

static const struct ktest_case *chosen[MAX_CASES];
static const struct ktest_case *running;

void ktest_note(const char *format, ...)
{
    char text[NOTE_BYTES];
    va_list args;

    va_start(args, format);
    format_text_va(text, sizeof(text), format, args);
    va_end(args);
    console_print("# %s\n", text);
}

// Counts a failure; true when it is still one of those to print.
static bool count_failure(void)
{
    uint64_t earlier = __atomic_fetch_add(&now.failures, 1, __ATOMIC_RELAXED);

    if (earlier == MAX_FAILURES_SHOWN)
        console_print("# more failures are counted but not shown\n");
    return earlier < MAX_FAILURES_SHOWN;
}

bool ktest_check(bool holds, const char *file, int line, const char *what)
{
    if (!holds && count_failure())
        console_print("# %s:%d: %s\n", file, line, what);
    return holds;
}

bool ktest_check_values(bool holds, uint64_t a, uint64_t b, const char *file, int line, const char *what)
{
    if (!holds && count_failure())
        console_print("# %s:%d: %s, found %ld (%#lx) and %ld (%#lx)\n", file, line, what, (int64_t)a, a,
                      (int64_t)b, b);
    return holds;
}

bool ktest_check_text(const char *a, const char *b, const char *file, int line, const char *what)
{
    bool holds = a != NULL && b != NULL && strcmp(a, b) == 0;

    if (!holds && count_failure())
        console_print("# %s:%d: %s, found \"%s\" and \"%s\"\n", file, line, what, a, b);
    return holds;
}

void ktest_mark_skipped(const char *why)
{
    now.why_skipped = why;
}

void ktest_expect_misuse(uint64_t count)
{
    __atomic_fetch_add(&now.expected_misuse, count, __ATOMIC_RELAXED);
}

uint64_t ktest_random(void)
{
    return random_next(&now.random);
}

uint64_t ktest_random_below(uint64_t bound)
{
    return random_below(&now.random, bound);
}

const char *ktest_running(void)
{
    return running != NULL ? running->name : NULL;
}

// FNV-1a: the case's numbers depend on its name, not on its place in the order.
static uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3;
    return hash;
}

static unsigned choose_cases(const char *filter)
{
    unsigned count = 0;

    for (const struct ktest_case *test = ktest_cases_start; test < ktest_cases_end; test++) {
        if (filter != NULL && *filter != '\0' && !pattern_list_matches(filter, test->name))
            continue;
        BUG_ON(count == MAX_CASES);
        chosen[count++] = test;
    }
    return count;
}

// Fisher and Yates. The linker's order is no contract, so the cases are sorted by name first.
static void shuffle_cases(unsigned count, uint64_t seed)
{
    struct random random = random_seeded(seed);

    for (unsigned i = 1; i < count; i++) {
        const struct ktest_case *test = chosen[i];
        unsigned k = i;
        for (; k > 0 && strcmp(chosen[k - 1]->name, test->name) > 0; k--)
            chosen[k] = chosen[k - 1];
        chosen[k] = test;
    }
    for (unsigned i = count; i > 1; i--) {
        uint64_t k = random_below(&random, i);
        const struct ktest_case *test = chosen[k];
        chosen[k] = chosen[i - 1];
        chosen[i - 1] = test;
    }
}

// What the checked kernel's meter of masked sections says of the cases so far; the longest by places and case.
static struct {
    bool is_on;
    struct irq_section longest;
    const char *in_case;
} masked;

static void note_masked(const struct irq_section *section, const char *in_case)
{
    console_print("# longest section with interrupts masked in %s:\n# ", in_case);
    irq_section_print(section, console_print);
    console_print("\n");
}

// Interrupts were kept waiting too long by the case, or by what it called.
static void check_masked(const struct ktest_case *test)
{
    struct irq_section longest = irq_meter_longest();

    if (!masked.is_on)
        return;
    if (longest.instructions > masked.longest.instructions) {
        masked.longest = longest;
        masked.in_case = test->name;
    }
    if (!ktest_check_values(longest.instructions <= IRQ_METER_LIMIT, longest.instructions, IRQ_METER_LIMIT, test->file,
                            (int)test->line, "expected no longer section with interrupts masked"))
        note_masked(&longest, test->name);
}

static bool run_case(const struct ktest_case *test, uint64_t seed)
{
    struct ktest_state before = ktest_state_take();
    uint64_t expected, found;
    unsigned defects;

    memset(&now, 0, sizeof(now));
    now.random = random_seeded(seed ^ name_hash(test->name));
    running = test;
    // A chance for others between cases; and a thread that runs many of them is not taken for a lost one.
    thread_yield();
    irq_meter_mark();
    test->run();
    check_masked(test);
    running = NULL;

    expected = before.misuse_count + now.expected_misuse;
    found = ktest_misuse_count();
    if (found != expected)
        ktest_check_values(false, found - before.misuse_count, now.expected_misuse, test->file,
                           (int)test->line, "expected no misuse reports but those announced");
    if (!ktest_state_is_kept(&before))
        ktest_check(false, test->file, (int)test->line, "expected everything to be given back");
    defects = check_all();
    if (defects > 0)
        ktest_check_values(false, defects, 0, test->file, (int)test->line, "expected no defects");
    return now.failures == 0;
}

unsigned ktest_run(uint64_t seed, const char *filter)
{
    unsigned count = choose_cases(filter), failed = 0;

    klog_set_prefix("# ");
    console_print("TAP version 14\n1..%u\n# seed=%lu\n", count, seed);
    if (filter != NULL && *filter != '\0')
        console_print("# filter=%s\n", filter);
    shuffle_cases(count, seed);
    // Cases count pages, and calls of shrinkers.
    kswapd_pause();
    failed = check_all();
    if (failed > 0)
        console_print("# %u defects before the first case\n", failed);
    masked.is_on = irq_meter_is_exact();
    for (unsigned i = 0; i < count; i++) {
        bool passed = run_case(chosen[i], seed);

        failed += !passed;
        console_print("%sok %u - %s%s%s\n", passed ? "" : "not ", i + 1, chosen[i]->name,
                      passed && now.why_skipped != NULL ? " # SKIP " : "",
                      passed && now.why_skipped != NULL ? now.why_skipped : "");
    }
    kswapd_resume();
    if (masked.in_case != NULL)
        note_masked(&masked.longest, masked.in_case);
    if (count == 0)
        console_print("# no case to run\n");
    return count > 0 ? failed : 1;
}
