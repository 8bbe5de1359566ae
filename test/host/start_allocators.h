// The allocators of mm/ started in the order of lib/init, for every host program.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// From zones to vmalloc. kernel_pgtable is active.
void host_start_allocators(void);
