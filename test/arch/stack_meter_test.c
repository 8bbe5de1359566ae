// lib/debug/stack_meter: what each way into the kernel needs of a stack, and how deep threads were in spite of that.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/stack_meter.h>

#include <arch/smp.h>
#include <arch/time.h>
#include <ktest/ktest.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/timer.h>

// What the handlers of a test use, and at most what lies around it: the entry, its saved registers, and one mark.
#define USED_BYTES 2048
#define AROUND_BYTES 1536

static bool handled;               // (A)

// Writes to each part of so much stack.
static __attribute__((noipa)) void use_stack(size_t bytes)
{
    volatile char *frame = __builtin_alloca(bytes);

    for (size_t offset = 0; offset < bytes; offset += 8)
        frame[offset] = 1;
}

static void use_in_interrupt(void *unused unused_arg)
{
    use_stack(USED_BYTES);
    __atomic_store_n(&handled, true, __ATOMIC_RELEASE);
}

static void use_in_timer(struct timer *unused unused_arg) { use_in_interrupt(NULL); }
static void use_in_bottom_half(struct tasklet *unused unused_arg) { use_in_interrupt(NULL); }

static void wait_until_handled(void)
{
    for (unsigned round = 0; !__atomic_load_n(&handled, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
}

static void by_ipi(void) { hart_call(arch_hart_index(), use_in_interrupt, NULL); }

static void by_timer(void)
{
    struct timer timer = TIMER_INIT(use_in_timer);

    timer_arm(&timer, arch_time() + arch_timer_hz() / 10000);
    wait_until_handled();
    timer_cancel(&timer);
}

static void by_bottom_half(void)
{
    struct tasklet tasklet = TASKLET_INIT(use_in_bottom_half);

    tasklet_schedule(&tasklet);
    wait_until_handled();
    tasklet_wait(&tasklet);
}

static const struct {
    enum stack_path path;
    void (*make)(void);
} ways[] = {
    { STACK_PATH_IPI, by_ipi }, { STACK_PATH_TIMER, by_timer }, { STACK_PATH_BOTTOM_HALF, by_bottom_half },
};

// A handler that uses so much is seen to, by its way and no other, however deep the thread was before.
KTEST(stack_meter, tells_each_way_apart)
{
    bool was_on = stack_meter_is_on;

    use_stack(USED_BYTES * 3);
    stack_meter_is_on = true;
    for (unsigned i = 0; i < array_count(ways); i++) {
        stack_path_reset();
        handled = false;
        ways[i].make();
        for (unsigned path = 0; path < STACK_PATH_COUNT; path++) {
            size_t depth = stack_path_depth((enum stack_path)path);
            if (path == ways[i].path) {
                ktest_note("%s: %zu bytes", stack_path_name((enum stack_path)path), depth);
                EXPECT_GE(depth, USED_BYTES);
                EXPECT_LE(depth, USED_BYTES + AROUND_BYTES);
            } else {
                EXPECT_LT(depth, USED_BYTES);
            }
        }
    }
    stack_meter_is_on = was_on;
    stack_path_reset();
}

static void be_deep_then_interrupted(void *argument)
{
    size_t *depth = argument;

    use_stack(USED_BYTES * 2);
    handled = false;
    by_ipi();
    depth[0] = thread_stack_depth(thread_current());
    use_stack(USED_BYTES * 3);
    by_ipi();
    depth[1] = thread_stack_depth(thread_current());
}

// Marking anew does not make a thread forget how deep it was.
KTEST(stack_meter, threads_keep_their_depth)
{
    bool was_on = stack_meter_is_on;
    size_t depth[2];

    stack_meter_is_on = true;
    thread_join(thread_create("deep", be_deep_then_interrupted, depth));
    stack_meter_is_on = was_on;
    stack_path_reset();
    ktest_note("%zu, then %zu bytes", depth[0], depth[1]);
    EXPECT(depth[0] >= USED_BYTES * 2 && depth[0] <= USED_BYTES * 2 + 3 * AROUND_BYTES);
    EXPECT(depth[1] >= USED_BYTES * 3 && depth[1] <= USED_BYTES * 3 + 3 * AROUND_BYTES);
}
