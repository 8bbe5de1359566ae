// The window that guarded objects live in (<mm/slab_guard.h>): its addresses, its pages and their mappings.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// Start-up, after vmalloc_init: makes the window and registers it, when objects are to be guarded at all. False: no
// memory for it.
must_check bool guard_memory_init(void);
