// Between the files of the fake port.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/addr.h>

void fake_tlb_init(void);
void fake_harts_init(unsigned hart_count);

bool fake_ram_contains(paddr_t address);
