// kvmalloc: memory by size that is contiguous in the direct map if that is easy, and in virtual addresses if not.
// SPDX-License-Identifier: BSD-2-Clause
//
// For tables whose size the caller does not know beforehand. A contiguous block costs no address space, no entries and
// no flush, but large ones may be impossible to have though half of memory is free, and making them is dear. So a
// request of more than a page is tried lightly (one round of reclaim, no report), and then made of single pages
// (<mm/vmalloc.h>). Up to a page that would be no easier: it is kmalloc.
//
// Nothing but kmalloc is tried for callers that may not sleep, and with __GFP_DMA or __GFP_DMA32: a device wants its
// memory in one piece. __GFP_NOFAIL: where both ways fail, kmalloc tries for ever.
//
// Size 0 gives ZERO_SIZE_PTR. NULL: no memory by either way, a product that overflows, or more than all memory
// (reported). Results are as kmalloc's, aligned to 8 at least; larger than a page, to a page. is_vmalloc_addr tells
// which way one came: virt_to_page is for the one kind, vmalloc_to_page for the other.
// Context: as gfp says; kvfree and kvrealloc where vfree may be called.
#pragma once

#include <mm/kmalloc.h>

must_check void *kvmalloc(size_t size, gfp_t gfp);
must_check void *kvzalloc(size_t size, gfp_t gfp);
must_check void *kvmalloc_array(size_t count, size_t size, gfp_t gfp);
must_check void *kvcalloc(size_t count, size_t size, gfp_t gfp);

// As krealloc, of either kind; the result may be of the other. A pointer to neither is reported: NULL.
must_check void *kvrealloc(const void *object, size_t size, gfp_t gfp);

// Frees what these, kmalloc or vmalloc gave. NULL and ZERO_SIZE_PTR are ignored; anything else is reported and ignored.
void kvfree(const void *object);
