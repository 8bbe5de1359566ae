/*
 * A tiny bare-metal program that behaves as one kind of good or bad kernel, to try the test runner on.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Compiled once for each behaviour with -DFAKE_<BEHAVIOUR>. Entered by OpenSBI in S-mode at 0x80200000 on
 * one hart; it says its lines on the UART and leaves by the board's test finisher. It "holds" the cases
 * alpha, beta and gamma: the runner finds their symbols in the ELF file and wants to hear from each.
 */
#include <stdint.h>

#define UART_BASE 0x10000000UL
#define UART_LINE_STATUS 5
#define UART_TRANSMITTER_EMPTY 0x20

#define FINISHER_BASE 0x100000UL
#define FINISHER_EXIT 0x3333U

#if !defined(FAKE_NO_CASES)
const char ktest_case_alpha = 1;
const char ktest_case_beta = 1;
const char ktest_case_gamma = 1;
#endif

#define HEADER "TAP version 14\n"
#define OK_ALL HEADER "1..3\nok 1 - alpha\nok 2 - beta\nok 3 - gamma\n"

#if defined(FAKE_GOOD)
#define SAYS "fake kernel boots\n" HEADER "1..3\n# seed 1\nok 1 - gamma\nok 2 - alpha\nok 3 - beta\n"
#elif defined(FAKE_SKIP)
#define SAYS HEADER "1..3\nok 1 - alpha\nok 2 - beta # SKIP needs 2 harts\nok 3 - gamma\n"
#elif defined(FAKE_FAILING)
#define SAYS HEADER "1..3\nok 1 - alpha\n# beta.c:7: expected 1, got 2\nnot ok 2 - beta\nok 3 - gamma\n"
#define EXIT_CODE 1
#elif defined(FAKE_PANIC)
#define SAYS HEADER "1..3\nok 1 - alpha\npanic: page fault at 0x0\n  backtrace\n"
#define EXIT_CODE 3
#elif defined(FAKE_PANIC_MUTE)
#define SAYS OK_ALL
#define EXIT_CODE 3
#elif defined(FAKE_PANIC_EXIT_0)
#define SAYS OK_ALL "panic on hart 1: stack overflow\n"
#elif defined(FAKE_HANG)
#define SAYS HEADER "1..3\nok 1 - alpha\n"
#define HANGS
#elif defined(FAKE_HANG_COMPLETE)
#define SAYS OK_ALL
#define HANGS
#elif defined(FAKE_SILENT_HANG)
#define SAYS ""
#define HANGS
#elif defined(FAKE_SILENT)
#define SAYS "fake kernel boots\n"
#elif defined(FAKE_HEADER_ONLY)
#define SAYS HEADER
#elif defined(FAKE_EARLY_EXIT)
#define SAYS HEADER "1..3\nok 1 - alpha\nok 2 - beta\n"
#elif defined(FAKE_MISSING)
#define SAYS HEADER "1..2\nok 1 - alpha\nok 2 - gamma\n"
#elif defined(FAKE_UNKNOWN)
#define SAYS HEADER "1..4\nok 1 - alpha\nok 2 - beta\nok 3 - gamma\nok 4 - delta\n"
#elif defined(FAKE_DUPLICATE)
#define SAYS HEADER "1..4\nok 1 - alpha\nok 2 - beta\nok 3 - gamma\nok 4 - beta\n"
#elif defined(FAKE_DISORDER)
#define SAYS HEADER "1..3\nok 1 - alpha\nok 3 - beta\nok 2 - gamma\n"
#elif defined(FAKE_NO_PLAN)
#define SAYS HEADER "ok 1 - alpha\nok 2 - beta\nok 3 - gamma\n"
#elif defined(FAKE_GARBAGE)
#define SAYS HEADER "1..3\nok 1 - alpha\n\x01\xff what is this?\nok 2 - beta\nok 3 - gamma\n"
#elif defined(FAKE_GARBAGE_LAST)
#define SAYS OK_ALL "unfinished"
#elif defined(FAKE_RESTART)
#define SAYS OK_ALL OK_ALL
#elif defined(FAKE_EXIT_1)
#define SAYS OK_ALL
#define EXIT_CODE 1
#elif defined(FAKE_EXIT_0_FAILING)
#define SAYS HEADER "1..3\nok 1 - alpha\nnot ok 2 - beta\nok 3 - gamma\n"
#elif defined(FAKE_NO_CASES)
#define SAYS OK_ALL
#elif defined(FAKE_REFUSING)
#define SAYS "boot argument harts=99: at most 8\n"
#define EXIT_CODE 2
#elif defined(FAKE_BENCH)
#define ROW(name, p50)                                                                                    \
    "@bench {\"name\": \"" name "\", \"page_size\": 4096, \"harts\": 1, \"ops\": 10000, \"min\": 0, "     \
    "\"p50\": " p50 ", \"p99\": 41, \"max\": 1200, \"mean\": 31.5}\n"
#define SAYS "fake kernel boots\n" ROW("bench.empty", "0") ROW("page.order0.pair", "31")
#elif defined(FAKE_BENCH_BROKEN)
#define SAYS "@bench {\"name\": \"page.order0.pair\", \"page_size\": 4096\n"
#elif defined(FAKE_BENCH_PANIC)
#define SAYS "panic: free list is corrupt\n"
#define EXIT_CODE 3
#else
#error "no FAKE_ behaviour is named"
#endif

#ifndef EXIT_CODE
#define EXIT_CODE 0
#endif

static void say(const char *text)
{
    volatile uint8_t *uart = (volatile uint8_t *)UART_BASE;

    for (; *text != '\0'; text++) {
        while (!(uart[UART_LINE_STATUS] & UART_TRANSMITTER_EMPTY))
            continue;
        *uart = (uint8_t)*text;
    }
}

__attribute__((noreturn, used)) static void fake_main(void)
{
    say(SAYS);
#if !defined(HANGS)
    *(volatile uint32_t *)FINISHER_BASE = ((uint32_t)EXIT_CODE << 16) | FINISHER_EXIT;
#endif
    for (;;)
        __asm__ volatile("wfi");
}

__attribute__((naked, noreturn, section(".text.start"))) void _start(void)
{
    __asm__ volatile("la sp, fake_stack_top\n\t"
                     "j fake_main");
}

__asm__(".bss\n"
        ".balign 16\n"
        ".space 4096\n"
        "fake_stack_top:\n");
