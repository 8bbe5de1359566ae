// The timer: the stimecmp register where the hart has Sstc, the firmware's otherwise.
// SPDX-License-Identifier: BSD-2-Clause

#include "riscv.h"
#include "sbi.h"
#include <arch/cpu.h>
#include <arch/irq.h>
#include <arch/mmu.h>
#include <arch/time.h>
#include <base/string.h>
#include <port/csr.h>

static bool has_sstc;              // (C)
static bool has_svinval;           // (C)
static uint64_t timer_hz;          // (C)

// Multi-letter extensions stand behind underscores: rv64imac_zicsr_sstc.
static bool isa_has(const char *isa, const char *extension)
{
    size_t length = strlen(extension);

    for (const char *at = strchr(isa, '_'); at; at = strchr(at + 1, '_'))
        if (strncmp(at + 1, extension, length) == 0 && (at[1 + length] == '_' || at[1 + length] == '\0'))
            return true;
    return false;
}

void arch_cpu_init(const char *isa, uint64_t hz)
{
    has_sstc = isa_has(isa, "sstc");
    riscv_has_svnapot = isa_has(isa, "svnapot");
    timer_hz = hz;
    has_svinval = isa_has(isa, "svinval");
    riscv_tlb_init(has_svinval);
    arch_timer_set(UINT64_MAX);
}

const char *arch_cpu_features(void)
{
    static const char *const texts[2][2][2] = {
        { { "SBI timer", "svnapot, SBI timer" }, { "svinval, SBI timer", "svinval, svnapot, SBI timer" } },
        { { "sstc timer", "svnapot, sstc timer" }, { "svinval, sstc timer", "svinval, svnapot, sstc timer" } },
    };

    return texts[has_sstc][has_svinval][riscv_has_svnapot];
}

void arch_early_putchar(char character)
{
    sbi_console_putchar(character);
}

uint64_t arch_timer_hz(void)
{
    return timer_hz;
}

// What arch_timer_set asked for.
static PER_HART uint64_t wanted_deadline;

static void program(uint64_t deadline)
{
    if (has_sstc)
        __asm__ volatile("csrw %0, %1" : : "i"(CSR_STIMECMP), "r"(deadline) : "memory");
    else
        sbi_set_timer(deadline);
}

void arch_timer_set(uint64_t deadline)
{
    this_hart(wanted_deadline) = deadline;
    program(deadline);
}

void riscv_timer_nap(unsigned per_second)
{
    uint64_t now = arch_time(), wanted = this_hart(wanted_deadline), end = now + timer_hz / per_second;

    program(wanted > now ? min_of(wanted, end) : end);
    arch_wait_for_interrupt();
    program(this_hart(wanted_deadline));
}

// The pending bit follows the comparison, so moving the deadline away is the acknowledgement.
void riscv_timer_quiet(void)
{
    arch_timer_set(UINT64_MAX);
}
