// Timers: when, where and how often they fire, and what taking one back promises.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/smp.h>
#include <arch/time.h>
#include <debug/irq_meter.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <sync/preempt.h>
#include <task/hart_call.h>
#include <task/timer.h>

struct shot {
    struct timer timer;
    uint64_t deadline, place;      // place: how many had fired before on this hart
    unsigned hart, count;
    bool is_early, is_in_interrupt;
    uint32_t *fired;               // (A) of the hart
};

static void note_shot(struct timer *timer)
{
    struct shot *shot = container_of(timer, struct shot, timer);

    shot->hart = arch_hart_index();
    shot->is_early = arch_time() < shot->deadline;
    shot->is_in_interrupt = in_irq() && !arch_irqs_enabled();
    shot->place = *shot->fired;
    shot->count++;
    __atomic_store_n(shot->fired, *shot->fired + 1, __ATOMIC_RELEASE);
}

static void wait_until_at_least(const uint32_t *counter, uint32_t wanted)
{
    for (unsigned round = 0; __atomic_load_n(counter, __ATOMIC_ACQUIRE) < wanted; round++)
        arch_relax(round);
}

// Returns once everything that this hart had armed for a moment up to now has fired.
static void let_due_timers_fire(void)
{
    uint32_t fired = 0;
    struct shot last = { .timer = TIMER_INIT(note_shot), .fired = &fired };

    timer_arm(&last.timer, arch_time());
    wait_until_at_least(&fired, 1);
    timer_cancel(&last.timer);
}

#define SHOTS 1000

// Armed with interrupts masked: nothing fires before the last is armed, so the order is that of the deadlines alone.
static void fire_many(unsigned index, void *shots_of_all)
{
    struct shot *shots = (struct shot *)shots_of_all + (size_t)index * (SHOTS / MAX_HARTS);
    struct random random = random_seeded(index + 1);
    unsigned count = SHOTS / MAX_HARTS, taken_back = 0, wrong = 0;
    uint32_t fired = 0;
    uint64_t fired_before = timer_fired_count(index);

    irqflags_t flags = arch_irq_save();
    irq_meter_pause("a test arms all its timers before the first fires");
    uint64_t start = arch_time();
    for (unsigned i = 0; i < count; i++) {
        shots[i] = (struct shot){ .timer = TIMER_INIT(note_shot), .fired = &fired };
        shots[i].deadline = start + random_below(&random, 20000);
        timer_arm(&shots[i].timer, shots[i].deadline);
    }
    // Some are moved, and some taken back.
    for (unsigned i = 0; i < count; i++)
        if (random_below(&random, 3) == 0) {
            shots[i].deadline = start + random_below(&random, 20000);
            timer_arm(&shots[i].timer, shots[i].deadline);
        } else if (random_below(&random, 4) == 0) {
            taken_back += timer_cancel(&shots[i].timer);
            shots[i].deadline = UINT64_MAX;
        }
    arch_irq_restore(flags);
    wait_until_at_least(&fired, count - taken_back);
    let_due_timers_fire();

    EXPECT_EQ(fired, count - taken_back);
    EXPECT_NE(taken_back, 0);
    EXPECT_GE(timer_fired_count(index) - fired_before, count - taken_back);
    for (unsigned i = 0; i < count; i++) {
        wrong += shots[i].count != (shots[i].deadline != UINT64_MAX);
        wrong += shots[i].count && (shots[i].hart != index || shots[i].is_early || !shots[i].is_in_interrupt);
        for (unsigned j = 0; j < i && shots[i].count; j++)
            wrong += shots[j].count && shots[i].deadline != shots[j].deadline &&
                     (shots[i].deadline < shots[j].deadline) != (shots[i].place < shots[j].place);
    }
    EXPECT_EQ(wrong, 0);
}

// A thousand timers, some moved and some taken back: the others fire once each, not too early, in order of their
// moments, in an interrupt of the hart that armed them.
KTEST(timer, a_thousand_fire_once_in_order)
{
    struct shot *shots = kmalloc(SHOTS * sizeof *shots, GFP_KERNEL);

    REQUIRE(shots);
    ktest_run_on_harts(fire_many, shots);
    kfree(shots);
}

// A timer that is armed already is moved, to an earlier moment as well as to a later one, and still fires once.
KTEST(timer, arming_again_moves_it)
{
    uint32_t fired = 0;
    struct shot shot = { .timer = TIMER_INIT(note_shot), .fired = &fired };

    timer_arm(&shot.timer, timer_after_us(3600UL * 1000000));
    timer_arm(&shot.timer, shot.deadline = arch_time());
    wait_until_at_least(&fired, 1);

    irqflags_t flags = arch_irq_save();
    timer_arm(&shot.timer, arch_time());
    timer_arm(&shot.timer, shot.deadline = timer_after_us(500));
    arch_irq_restore(flags);
    wait_until_at_least(&fired, 2);
    EXPECT(!shot.is_early);
    let_due_timers_fire();
    EXPECT_EQ(shot.count, 2);
    EXPECT(!timer_cancel(&shot.timer));
}

struct metronome {
    struct timer timer;
    uint32_t beats;                // (A)
    uint32_t wanted;
};

static void beat(struct timer *timer)
{
    struct metronome *metronome = container_of(timer, struct metronome, timer);

    if (metronome->beats + 1 < metronome->wanted)
        timer_arm(timer, timer_after_us(20));
    __atomic_store_n(&metronome->beats, metronome->beats + 1, __ATOMIC_RELEASE);
}

// The function may arm its own timer again, as often as it likes.
KTEST(timer, function_arms_its_own_timer)
{
    struct metronome metronome = { .timer = TIMER_INIT(beat), .wanted = 25 };

    timer_arm(&metronome.timer, arch_time());
    wait_until_at_least(&metronome.beats, metronome.wanted);
    let_due_timers_fire();
    EXPECT_EQ(metronome.beats, metronome.wanted);
    EXPECT(!timer_cancel(&metronome.timer));

    // Taken back in full swing it stops.
    metronome = (struct metronome){ .timer = TIMER_INIT(beat), .wanted = UINT32_MAX };
    timer_arm(&metronome.timer, arch_time());
    wait_until_at_least(&metronome.beats, 3);
    EXPECT(timer_cancel(&metronome.timer));
    uint32_t beats = metronome.beats;
    uint64_t later = timer_after_us(200);
    for (unsigned round = 0; arch_time() < later; round++)
        arch_relax(round);
    let_due_timers_fire();
    EXPECT_EQ(metronome.beats, beats);
}

// Taking back tells whether the function was still to be called, and afterwards it is not.
KTEST(timer, cancel_before_and_after)
{
    uint32_t fired = 0;
    struct shot shot = { .timer = TIMER_INIT(note_shot), .fired = &fired };

    EXPECT(!timer_cancel(&shot.timer));
    irqflags_t flags = arch_irq_save();
    timer_arm(&shot.timer, arch_time());
    EXPECT(timer_cancel(&shot.timer));
    EXPECT(!timer_cancel(&shot.timer));
    arch_irq_restore(flags);
    let_due_timers_fire();
    EXPECT_EQ(fired, 0);

    timer_arm(&shot.timer, arch_time());
    wait_until_at_least(&fired, 1);
    EXPECT(!timer_cancel(&shot.timer));
    EXPECT_EQ(fired, 1);
}

static void arm_far_away(void *timer) { timer_arm(timer, timer_after_us(3600UL * 1000000)); }
static void arm_now(void *timer) { timer_arm(timer, arch_time()); }

// A timer can be taken back, and armed anew, from a hart that had not armed it; it fires on the hart that did last.
KTEST(timer, goes_from_hart_to_hart)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        uint32_t fired = 0;
        struct shot shot = { .timer = TIMER_INIT(note_shot), .fired = &fired };

        hart_call(hart, arm_far_away, &shot.timer);
        EXPECT(timer_cancel(&shot.timer));
        hart_call(hart, arm_far_away, &shot.timer);
        timer_arm(&shot.timer, arch_time());
        wait_until_at_least(&fired, 1);
        EXPECT_EQ(shot.hart, 0);

        arm_far_away(&shot.timer);
        hart_call(hart, arm_now, &shot.timer);
        wait_until_at_least(&fired, 2);
        EXPECT(!timer_cancel(&shot.timer));
        EXPECT_EQ(shot.hart, hart);
        EXPECT_EQ(shot.count, 2);
    }
}

struct slow {
    struct timer timer;
    uint32_t has_begun, is_let_go, has_ended;      // (A)
    bool arms_again;
};

// Goes on for a while after it was let go, so that whoever does not wait for it is found out.
static void take_long(struct timer *timer)
{
    struct slow *slow = container_of(timer, struct slow, timer);

    __atomic_store_n(&slow->has_begun, 1, __ATOMIC_RELEASE);
    wait_until_at_least(&slow->is_let_go, 1);
    for (unsigned round = 0; round < 200; round++)
        arch_relax(round);
    if (slow->arms_again)
        timer_arm(timer, timer_after_us(3600UL * 1000000));
    __atomic_store_n(&slow->has_ended, 1, __ATOMIC_RELEASE);
}

static void cancel_running(struct slow *slow, bool is_to_be_armed_here)
{
    *slow = (struct slow){ .timer = TIMER_INIT(take_long), .arms_again = slow->arms_again };
    struct hart_call call = HART_CALL_INIT(arm_now, &slow->timer);

    hart_call_post(arch_hart_count() - 1, &call);
    wait_until_at_least(&slow->has_begun, 1);
    hart_call_wait(&call);
    if (is_to_be_armed_here)
        timer_arm(&slow->timer, timer_after_us(3600UL * 1000000));
    __atomic_store_n(&slow->is_let_go, 1, __ATOMIC_RELEASE);
    EXPECT_EQ(timer_cancel(&slow->timer), slow->arms_again || is_to_be_armed_here);
    EXPECT_EQ(__atomic_load_n(&slow->has_ended, __ATOMIC_RELAXED), 1);
    EXPECT(!timer_cancel(&slow->timer));
    // Whatever happened above, the timer is on this stack.
    wait_until_at_least(&slow->has_ended, 1);
}

// Taking back waits for a function that runs on another hart; also when that arms its timer again.
KTEST(timer, cancel_waits_for_a_running_function)
{
    struct slow slow = { .arms_again = false };

    if (arch_hart_count() == 1)
        ktest_skip("needs a second hart");
    cancel_running(&slow, false);
    slow.arms_again = true;
    cancel_running(&slow, false);
}

// The same when the timer was armed here while its function ran there.
KTEST(timer, cancel_waits_though_it_was_armed_elsewhere_meanwhile)
{
    struct slow slow = { .arms_again = false };

    if (arch_hart_count() == 1)
        ktest_skip("needs a second hart");
    cancel_running(&slow, true);
}
