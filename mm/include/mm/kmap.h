// kmap: addresses for pages of HIGHMEM, for a while.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A page that the direct map shows has its address for ever: for it all of this is a comparison. A page of
// HIGHMEM is shown in a window of the vmalloc space, cut into slots of one kernel page (all its granules):
//
//      | pool: KMAP_SLOTS, of all harts             | hart 0: KMAP_LOCAL_SLOTS | hart 1 ...   | guard
//
// The pool (kmap, kunmap). A slot belongs to one page, and a page has at most one: mapping it twice gives the
// same address and counts. When the count falls to 0 the slot keeps its page: the next kmap of that page
// finds it, and no TLB is bothered. Only when no slot is clean are all that nobody uses emptied at once, with
// one flush of every hart for all of them:
//
//                kmap: entry written                  last kunmap
//      clean ------------------------------> in use --------------> lazy
//        ^                                      ^     kmap: found     |
//        |                                      +---------------------+
//        +---------- no slot is clean: all lazy ones emptied, one flush ---------+
//
// With every slot in use kmap sleeps until one is not. So whoever holds one mapping and waits for another may
// wait for others like himself: take few.
//
// Local mappings (kmap_local_page, kunmap_local) lie in slots of the hart's own and are a stack: the last one
// made is the first to go, in an interrupt handler too, which returns the stack as it found it. Only this
// hart's TLB is concerned. Where the page is high, preemption is disabled from one to the other, since the
// address means something on this hart only: so the caller does not sleep in between, whatever the page is,
// and hands the address to nobody who runs elsewhere.
//
// Tables exist from the start, so neither takes memory. Every entry is written by whoever holds its slot, so
// no lock of the page tables is needed.
//
// Misuse (no page, not mapped, out of order) is reported with the caller, counted, and changes nothing.
#pragma once

#include <base/string.h>
#include <mm/page.h>
#include <mm/zone_layout.h>
#include <sync/preempt.h>

#define KMAP_SLOTS 64              // bits of a word
#define KMAP_LOCAL_SLOTS 16

// Makes the window when the machine has HIGHMEM; the vmalloc space is there. Once, before HIGHMEM is used.
void kmap_init(void);

void *kmap_high(struct page *page);
void kunmap_high(struct page *page);

// Slots that nobody uses show nothing any more, on no hart. Process context.
void kmap_flush_unused(void);
void *kmap_local_high(struct page *page);
void kunmap_local_high(const void *address);

// The address of a page, the same on every hart, until kunmap. Process context that may sleep. NULL, reported,
// when `page` is no page of RAM.
static inline must_check void *kmap(struct page *page)
{
    might_sleep();
    return page_is_high(page) ? kmap_high(page) : page_to_virt(page);
}

// Gives back one kmap of the page. Process context.
static inline void kunmap(struct page *page)
{
    if (page_is_high(page))
        kunmap_high(page);
}

// The address of a page on this hart, until kunmap_local. Any context; see above for what the caller may not
// do. NULL, reported, when `page` is no page of RAM or the hart's slots are used up.
static inline must_check void *kmap_local_page(struct page *page)
{
    return page_is_high(page) ? kmap_local_high(page) : page_to_virt(page);
}

// Gives back the hart's latest local mapping, by any address within the page.
static inline void kunmap_local(const void *address)
{
    if (!virt_is_direct(address))
        kunmap_local_high(address);
}

// The page behind an address that kmap or, on this hart, kmap_local_page gave, and not yet given back; NULL
// for any other address outside of the direct map.
struct page *kmap_to_page(const void *address);

// Makes a page zero, or like another one; of any zone. Any context.
static inline void clear_highpage(struct page *page)
{
    void *address = kmap_local_page(page);

    memset(address, 0, PAGE_SIZE);
    kunmap_local(address);
}

static inline void copy_highpage(struct page *to, struct page *from)
{
    void *source = kmap_local_page(from), *target = kmap_local_page(to);

    memcpy(target, source, PAGE_SIZE);
    kunmap_local(target);
    kunmap_local(source);
}

struct kmap_stats {
    uint64_t in_use, lazy;         // slots of the pool
    uint64_t flushes;              // of all lazy slots at once
    uint64_t full_count;           // attempts that found every slot in use
    uint64_t misuse_count;
};
struct kmap_stats kmap_stats(void);

// For the validator: whether counts, hash and masks of the pool agree with each other (else *why says), and
// the page that the tables should show at an address of the window, lazy slots included. Nobody else is at
// work meanwhile.
bool kmap_is_consistent(const char **why);
struct page *kmap_shown_page(vaddr_t address);
