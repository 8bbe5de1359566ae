// Memory pressure: who is woken when memory runs short, and who when it comes back.
// SPDX-License-Identifier: BSD-2-Clause
//
//     request finds a zone below low ---> kswapd_wake -----------------> kswapd works to high (<mm/kswapd.h>)
//     request that may wait has failed -> pressure_wait ---+
//                                                          | zone->waiters > 0
//     pages come back to a zone --------> page_freed_hint -+-----------> waiters whose threshold is reached run
//
// A waiter's threshold in a zone is what a request like his has to leave there, and the block itself: with one page
// less he would be woken for nothing. Each is woken by the free that reaches it; when one free reaches several, in
// the order in which they came, for as many blocks as there are above the mark. What a threshold cannot tell is whether
// the pages lie together, so who is woken tries, and may wait again.
//
// No wake is lost: a waiter counts himself in zone->waiters before he looks at the zone's free pages under its lock,
// and who gives pages back looks at zone->waiters under that lock, after he has added them.
#pragma once

#include <mm/gfp.h>
#include <mm/zone.h>

// Has kswapd look after the zones, if there is one and it has not given up. Any context; costs an atomic operation when
// it is awake already.
void kswapd_wake(void);

// Wakes asked for since the start, but while it had given up.
uint64_t kswapd_wake_count(void);

// For kswapd alone: sleeps until it is wanted; and takes note that it is at work on all that it was woken for.
void kswapd_wait(void);
void kswapd_note_wakes(void);

// Whether it was woken, and has not taken note of it.
bool kswapd_is_wanted(void);

// For kswapd alone: nothing can be freed now. It is not woken before some page has been.
void kswapd_give_up(void);
bool kswapd_has_given_up(void);

// Pages came back by themselves or by a shrinker: a kswapd that has given up may be woken again. Any context.
void pressure_has_eased(void);

// Waits until a zone holds enough for such a request, up to a moment of arch_time(). True when one does. Ends early,
// and false, when the thread is asked to end, unless gfp has __GFP_NOFAIL. Process context that may sleep.
bool pressure_wait(gfp_t gfp, unsigned order, uint64_t deadline);

// Whether a zone holds enough now.
bool pressure_has_room(gfp_t gfp, unsigned order);

// Threads that wait.
unsigned pressure_waiter_count(void);

// Pages have come back to the zone, and zone->waiters was not 0 when they had. Any context, without the zone's lock.
void page_freed_hint(struct zone *zone);
