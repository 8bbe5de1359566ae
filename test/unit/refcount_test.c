// lib/sync/refcount.h: counting, and counts that went wrong.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/refcount.h>

#include "capture.h"
#include "sync_support.h"

#include <base/string.h>

#define LARGEST 0x7fffffffU

// Runs the statement; how many counts were reported meanwhile.
#define REPORTS(statement) \
    ({ \
        capture_start(); \
        statement; \
        reports_in(capture_stop()); \
    })

static unsigned reports_in(const char *text)
{
    unsigned count = 0;

    for (; text != NULL && (text = strstr(text, "reference count")) != NULL; text++)
        count++;
    return count;
}

// References come and go; the last one says so, and none can be had afterwards.
KTEST(refcount, last_put_is_told)
{
    refcount_t count = REFCOUNT_INIT(1);
    unsigned reports = REPORTS({
        refcount_get(&count);
        EXPECT_EQ(refcount_read(&count), 2);
        EXPECT(refcount_get_unless_zero(&count));
        EXPECT_EQ(refcount_read(&count), 3);
        EXPECT(!refcount_put(&count));
        EXPECT(!refcount_put(&count));
        EXPECT(refcount_put(&count));
        EXPECT(!refcount_get_unless_zero(&count));
        EXPECT_EQ(refcount_read(&count), 0);
        refcount_set(&count, LARGEST - 1);
        refcount_get(&count);
        EXPECT(!refcount_put(&count));
        EXPECT_EQ(refcount_read(&count), LARGEST - 1);
    });
    EXPECT_EQ(reports, 0);
}

// Whatever is done to a saturated count, it stays so, is never the last, and is not reported again.
static void expect_saturated(refcount_t *count)
{
    unsigned reports, last = 0, refused = 0;

    EXPECT_EQ(refcount_read(count), REFCOUNT_SATURATED);
    reports = REPORTS({
        for (unsigned i = 0; i < 10; i++) {
            refcount_get(count);
            refused += !refcount_get_unless_zero(count);
            last += refcount_put(count);
            last += refcount_put(count);
            last += refcount_put(count);
        }
    });
    EXPECT_EQ(refcount_read(count), REFCOUNT_SATURATED);
    EXPECT_EQ(reports, 0);
    EXPECT_EQ(last, 0);
    EXPECT_EQ(refused, 0);
}

// A count that overflows is reported once and saturates.
KTEST(refcount, overflow_saturates)
{
    refcount_t count = REFCOUNT_INIT(LARGEST);
    bool is_got = false;

    EXPECT_EQ(REPORTS(refcount_get(&count)), 1);
    expect_saturated(&count);
    refcount_set(&count, LARGEST);
    EXPECT_EQ(REPORTS(is_got = refcount_get_unless_zero(&count)), 1);
    EXPECT(is_got);
    expect_saturated(&count);
}

// A reference taken where there is none is reported once, and the object is kept for ever.
KTEST(refcount, get_from_zero_saturates)
{
    refcount_t count = REFCOUNT_INIT(0);

    EXPECT_EQ(REPORTS(refcount_get(&count)), 1);
    expect_saturated(&count);
}

// One put too many is reported once, and is not the last.
KTEST(refcount, put_below_zero_saturates)
{
    refcount_t count = REFCOUNT_INIT(1);
    bool is_last = true;

    EXPECT_EQ(REPORTS(is_last = refcount_put(&count)), 0);
    EXPECT(is_last);
    EXPECT_EQ(REPORTS(is_last = refcount_put(&count)), 1);
    EXPECT(!is_last);
    expect_saturated(&count);
}

#define OBJECTS 4096

static struct {
    refcount_t count[OBJECTS];
    unsigned freed[OBJECTS];               // (A)
    unsigned revived;                      // (A) references to what was freed
    unsigned rounds;
} objects;

static void share(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; i < objects.rounds; i++)
        for (unsigned k = 0; k < OBJECTS; k++) {
            refcount_t *count = &objects.count[k];
            unsigned *freed = &objects.freed[k];

            // The hart's own reference goes in the last round; until then there are more on top of it.
            if (refcount_get_unless_zero(count)) {
                ADD(objects.revived, LOAD(*freed) != 0);
                if (k % 64 == index)
                    let_others_run();
                if (refcount_put(count))
                    ADD(*freed, 1);
            }
            if (i == objects.rounds - 1 && refcount_put(count))
                ADD(*freed, 1);
        }
}

// Of all the harts that drop an object at once exactly one is the last, and nobody gets it afterwards.
KTEST(refcount, one_hart_is_the_last)
{
    unsigned wrong = 0;

    memset(&objects, 0, sizeof(objects));
    objects.rounds = ktest_rounds(20, 3);
    for (unsigned k = 0; k < OBJECTS; k++)
        refcount_set(&objects.count[k], arch_hart_count());
    EXPECT_EQ(REPORTS(ktest_run_on_harts(share, NULL)), 0);
    for (unsigned k = 0; k < OBJECTS; k++)
        wrong += objects.freed[k] != 1 || refcount_read(&objects.count[k]) != 0;
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(objects.revived, 0);
}

static refcount_t wronged;

static void drop_one_too_many(unsigned index unused_arg, void *unused unused_arg)
{
    EXPECT(!refcount_put(&wronged));
}

// Harts that break a count together saturate it together; one of them reports it.
KTEST(refcount, broken_by_all_is_reported_once)
{
    for (unsigned i = 0; i < 20; i++) {
        refcount_set(&wronged, 0);
        EXPECT_EQ(REPORTS(ktest_run_on_harts(drop_one_too_many, NULL)), 1);
        expect_saturated(&wronged);
    }
}
