// The allocators of mm/, started as lib/init does it.
// SPDX-License-Identifier: BSD-2-Clause
#include "start_allocators.h"

#include <mm/kmalloc.h>
#include <mm/magazine.h>
#include <mm/page_lists.h>
#include <mm/pgtable.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

void host_start_allocators(void)
{
    zones_init();
    page_lists_init(true);
    zones_settle();
    pgtable_use_granules(&kernel_pgtable);
    slab_init(false);
    magazines_init(true);
    kmalloc_init();
    vmalloc_init();
}
