// Rights of vmalloc memory after it was filled: text becomes executable, constants read-only.
// SPDX-License-Identifier: BSD-2-Clause
//
// A vmalloc area is made for reading and writing. A loader fills it, takes the right to write from what is text or
// constant (ro), and lets text be executed (x); the other way is nx, then rw. Nothing is ever writable and executable,
// by no name: a page's second name, in the direct map, is writable exactly as long as the area shows it so, and never
// executable. What vfree gets is given its usual rights first, so whoever gets the pages next may write to them.
//
//                 ro               x
//      rw-   ------------>  r--  ------>  r-x
//            <------------       <------
//                 rw               nx
//
// Leaves of the area and of the direct map that lie in the range in part are split, and stay so.
//
// Context: process context, may sleep. All harts have the new rights, and fetch what was written before, when a call
// returns. The caller keeps others from freeing the area meanwhile.
#pragma once

#include <base/compiler.h>

// For `pages` kernel pages from `address` on, a multiple of PAGE_SIZE, inside one area that owns its pages (vmalloc and
// its kin). 0; -EINVAL when that is not so, -EACCES when a page would be writable and executable (both reported in
// vmalloc_stats().misuse_count), -ENOMEM when a leaf cannot be split. Then no rights have changed.
must_check int set_memory_ro(const void *address, unsigned pages);
must_check int set_memory_rw(const void *address, unsigned pages);
must_check int set_memory_x(const void *address, unsigned pages);
must_check int set_memory_nx(const void *address, unsigned pages);
