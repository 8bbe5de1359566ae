// What is said of requests for pages that failed.
// SPDX-License-Identifier: BSD-2-Clause
//
// Once a second at most: who asked for what, the cause, the zones, and who holds the memory (<mm/page_holder.h>):
//
//   page allocation failed: order 5, GFP_KERNEL|__GFP_ZERO, asked by load_image+0x42 (0xffffffff80012345)
//     cause: no block of order 5 although 312 pages are free (fragmented)
//     zone DMA32: free 312 of 32448 pages, largest order 3, min 256, low 320, high 384, in harts' lists 0
//     pages: page tables 18, stacks 66, slab 120, large kmalloc 0, vmalloc 12, ..., free 312, other 31640
//
// The causes: "zone empty", "too few pages", "below min watermark", "no block of order N ... (fragmented)", "no zone
// of these flags has memory", and "none" where memory came back before it could be looked at. What is no page of any
// holder's belongs to those who took it by alloc_pages: "other". Any context.
#pragma once

#include <base/compiler.h>

// The next failure is reported, however short after the last one: for tests.
void page_report_rearm(void);
