// Between the files of the fake port.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/addr.h>

void fake_tlb_init(unsigned hart_count);
void fake_harts_init(unsigned hart_count);

// Gives the calling POSIX thread its hart's index, and makes it a thread that can sleep.
void fake_sched_enter_hart(unsigned index);

bool fake_ram_contains(paddr_t address);
