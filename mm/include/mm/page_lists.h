// Per-hart lists of free blocks: what makes an allocation cost a few instructions and no lock.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Every hart keeps, for each home (zone and mobility, <mm/zone.h>) and each of the orders 0 to 6, a stack of
// pointers to free blocks:
//
//     bottom[0] = NULL | block | block | ... | top: block | free slots ... | limit
//
// The NULL at the bottom is what a pop finds in an empty stack, so a pop needs no count; a push compares with
// the limit. Both run with interrupts masked and touch nothing that another hart writes. An empty stack is
// refilled, a full one relieved, by a batch of blocks under the zone's lock: the batch doubles while a hart
// keeps going in one direction and falls back to the least when it turns, between 1/32 and 1/2 of the stack
// (Bonwick and Adams, USENIX 2001, size magazines by contention; here the direction is the signal).
//
// A list holds at most 1 MB, so nothing where a block is larger, but 64 single pages whatever their size: fewer would
// not pay for the lock that a batch takes. It holds less on small machines: all lists of all harts together at most 1/4
// of a zone. Lists of other homes than the kernel's hold a quarter. When a list may hold nothing (pcp=off, failure
// injection, and while somebody waits for memory) its limit is its bottom: each push and pop then fails, and the slow
// path goes to the engine. So none of these costs the fast path an instruction.
//
// Blocks in a list are of type PAGE_HART and count in nobody's free_pages. Only the hart itself touches its
// lists: others ask it to by an interrupt (IPI_DRAIN).
#pragma once

#include <mm/zone.h>

#define PAGE_LIST_ORDERS 7
#define PAGE_LIST_BYTES MB(1)
#define PAGE_LIST_SINGLES 64
#define PAGE_LIST_SLOTS(order) \
    ((order) == 0 && PAGE_LIST_BYTES >> PAGE_SHIFT < PAGE_LIST_SINGLES ? (uint64_t)PAGE_LIST_SINGLES \
                                                                       : PAGE_LIST_BYTES >> PAGE_SHIFT >> (order))
#define PAGE_LIST_SMALL_SLOTS(order) ((PAGE_LIST_SLOTS(order) + 3) / 4)
#define PAGE_LIST_HOMES (ZONE_COUNT * MOBILITY_COUNT)

// Blocks set aside for GFP_ATOMIC are in no list, so there is place for one of pages of the kernel's home that hold
// zeroes already (<mm/page_zero.h>); of order 0. When it may hold something, its bottom is not NULL.
#define PAGE_LIST_ZEROED MOBILITY_ATOMIC

// (H) touched by its hart alone, with interrupts masked
struct page_list {
    struct page **top;             // (H) the last block pushed, or the NULL at the bottom
    struct page **limit;           // (H) no push when top is here
    struct page **bottom;          // (C)
    uint16_t batch;                // (H) blocks of the next refill or relief
    uint16_t batch_least;          // (C)
    uint16_t batch_most;           // (C)
    uint16_t is_refilling;         // (H) the last batch went into the list
};

static always_inline struct page_list *page_list_of(unsigned home, unsigned order)
{
    return (struct page_list *)hart_local_read(page_lists) + home * PAGE_LIST_ORDERS + order;
}

// Gives this hart its lists: the first thing it does. Before that it may not allocate.
void page_lists_init_hart(void);

// After zones_init: how much the lists may hold on this machine. `enabled` false: nothing, for ever (pcp=off).
void page_lists_init(bool enabled);

// What holds pages on harts above these lists is drained with them, first: `drain` is called on each hart that drains.
// `trim` gives up less: what the hart can do without. Start-up, once.
void page_lists_set_upper(void (*drain)(void), void (*trim)(void));

// Has every hart trim what is above the lists. `waits`: until they have done it, and the caller is not in_atomic;
// otherwise any context.
void page_lists_trim_upper(bool waits);

// Whether lists, and what is above them, may hold anything now.
bool page_lists_may_hold(void);

// Gives all blocks of this hart's lists back, and what harts left for each other in the depot (<mm/page_depot.h>). Any
// context.
void page_lists_drain(void);

// Gives back some blocks: of the first of this hart's lists that has any, or of the depot, at most a batch. False when
// all are empty. Any context.
bool page_lists_give_some(void);

// Of every hart, and waits until they have done it. The caller may sleep. Blocks freed meanwhile may be in lists
// again.
void page_lists_drain_all(void);

// Empties the depot and asks the other harts to drain theirs, and does not wait. Any context.
void page_lists_request_drain(void);

// For the interrupt of IPI_DRAIN: does what was asked of this hart.
void page_lists_interrupt(void);

// While blocked, nobody's list holds anything; blocks nest. The caller may sleep; the harts' lists are empty when it
// returns.
void page_lists_block(void);
void page_lists_unblock(void);

// Pages in all harts' lists of a zone, and in the depot; exact while nobody allocates.
uint64_t page_lists_pages(const struct zone *zone);

// Pages in a hart's list of zeroed ones; exact while it does nothing.
uint64_t page_lists_zeroed_pages(unsigned hart);

// Blocks that a refill may take now and where they go, or the list's relief: for page_alloc.c, with interrupts masked.
unsigned page_list_refill_count(struct page_list *list);
unsigned page_list_relief_count(struct page_list *list);
