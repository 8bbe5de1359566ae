// Test cases that register themselves, and what they say. The same source runs in the kernel and on the host.
// SPDX-License-Identifier: BSD-2-Clause
//
//     // A freed block merges with its buddy up to the largest order.
//     KTEST(buddy, merges_to_the_top)
//     {
//         struct page *page = alloc_page(GFP_KERNEL);
//         REQUIRE(page);
//         EXPECT_EQ(page->order, 0);
//         __free_page(page);
//     }
//
// The case is named buddy_merges_to_the_top. Cases run in an order that the seed shuffles, one at a time, in
// a context that may sleep, on hart 0, with nobody else allocating, and kswapd paused. A case gives back all it
// takes: after each one the validators run, and the page ledger, the count of live objects and the count of misuse
// reports are compared with those before. What does not agree makes the case fail.
#pragma once

#include <base/compiler.h>
#include <base/random.h>

struct ktest_case {
    const char *name;
    const char *file;
    uint64_t line;
    void (*run)(void);
};

// A host program's sections are gathered by the linker under a C name; the kernel's linker script names its
// own.
#ifdef QUIRE_HOST
#define KTEST_SECTION "ktest"
#else
#define KTEST_SECTION ".ktest"
#endif

#define KTEST(subsystem, behaviour) \
    static void ktest_run_##subsystem##_##behaviour(void); \
    extern const struct ktest_case ktest_case_##subsystem##_##behaviour; \
    const struct ktest_case ktest_case_##subsystem##_##behaviour \
        __attribute__((used, section(KTEST_SECTION), aligned(8))) = \
        { #subsystem "_" #behaviour, __FILE__, __LINE__, ktest_run_##subsystem##_##behaviour }; \
    static void ktest_run_##subsystem##_##behaviour(void)

// Expectations may be used on any hart that runs for the case. A failed one is printed with both values
// (taken as 64 bits, so give integers or pointers), and the case goes on. They are true when they hold.
#define EXPECT(condition) ktest_check((condition), __FILE__, __LINE__, "expected " #condition)
#define EXPECT_EQ(a, b) EXPECT_RELATION(a, ==, b, #a " == " #b)
#define EXPECT_NE(a, b) EXPECT_RELATION(a, !=, b, #a " != " #b)
#define EXPECT_LT(a, b) EXPECT_RELATION(a, <, b, #a " < " #b)      // these three compare unsigned
#define EXPECT_LE(a, b) EXPECT_RELATION(a, <=, b, #a " <= " #b)
#define EXPECT_GE(a, b) EXPECT_RELATION(a, >=, b, #a " >= " #b)
#define EXPECT_NULL(pointer) EXPECT_RELATION(pointer, ==, 0, #pointer " to be NULL")
#define EXPECT_NOT_NULL(pointer) EXPECT_RELATION(pointer, !=, 0, #pointer " not to be NULL")
#define EXPECT_STREQ(a, b) ktest_check_text(a, b, __FILE__, __LINE__, "expected " #a " equal to " #b)

#define EXPECT_RELATION(a, relation, b, text) \
    ({ \
        uint64_t ktest_a_ = (uint64_t)(a), ktest_b_ = (uint64_t)(b); \
        ktest_check_values(ktest_a_ relation ktest_b_, ktest_a_, ktest_b_, __FILE__, __LINE__, \
                           "expected " text); \
    })

// Leaves the function (of type void) when it does not hold.
#define REQUIRE(condition) \
    do { \
        if (!EXPECT(condition)) \
            return; \
    } while (0)

// Runs the statement, which must cause exactly `count` misuse reports of mm/ (see ktest_misuse_count).
#define EXPECT_MISUSE(count, statement) \
    do { \
        uint64_t ktest_reports_ = ktest_misuse_count(); \
        statement; \
        ktest_reports_ = ktest_misuse_count() - ktest_reports_; \
        EXPECT_RELATION(ktest_reports_, ==, count, #count " misuse reports of " #statement); \
        ktest_expect_misuse(ktest_reports_); \
    } while (0)

// Leaves the case's function with the verdict "skipped"; `why` is a constant text.
#define ktest_skip(why) \
    do { \
        ktest_mark_skipped(why); \
        return; \
    } while (0)

// A comment in the output; the line's end is added.
void ktest_note(const char *format, ...) printf_like(1, 2);

// The case's own random numbers: the same for the same seed, whatever runs before. Only from the case's
// function; give other harts a generator seeded from here.
uint64_t ktest_random(void);
uint64_t ktest_random_below(uint64_t bound);

// Runs fn(index, argument) at once on harts 0 .. n - 1, as many as run; returns n after all are done.
unsigned ktest_run_on_harts(void (*fn)(unsigned index, void *argument), void *argument);

// How much of a long case is worth running here: `host` rounds on the host, `kernel` on the simulated
// machine, where the boot argument rounds=all asks for as many as on the host.
// The longest of all ask themselves whether they are wanted whole: no run does so unless it is told.
bool ktest_wants_all_rounds(void);
#ifdef QUIRE_HOST
#define ktest_rounds(host, kernel) (host)
#else
#define ktest_rounds(host, kernel) (ktest_wants_all_rounds() ? (host) : (kernel))
#endif

// Runs the cases that a pattern of the comma-separated list names (NULL or "": all), shuffled by the seed,
// and prints TAP. Returns how many failed; that none was selected counts as one failure.
unsigned ktest_run(uint64_t seed, const char *filter);

// The case that runs now, NULL between them: for a panic's report.
const char *ktest_running(void);

// For the macros above.
bool ktest_check(bool holds, const char *file, int line, const char *what);
bool ktest_check_values(bool holds, uint64_t a, uint64_t b, const char *file, int line, const char *what);
bool ktest_check_text(const char *a, const char *b, const char *file, int line, const char *what);
void ktest_mark_skipped(const char *why);
void ktest_expect_misuse(uint64_t count);

// Misuse that mm/ has reported since the start: of pages, granules, objects, vmalloc areas and kmap together.
uint64_t ktest_misuse_count(void);
