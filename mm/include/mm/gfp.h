// gfp flags: what an allocation may do to get its memory, and of which kind the memory is.
// SPDX-License-Identifier: BSD-2-Clause
//
//   name                  may sleep  reclaims     wakes kswapd  free pages it leaves  tries                zone at most
//   GFP_KERNEL            yes        yes          yes           min                   up to 16 rounds      NORMAL
//   GFP_NOWAIT            no         no           yes           min                   once                 NORMAL
//   GFP_ATOMIC            no         no           yes           min / 2               once                 NORMAL
//   GFP_HIGHUSER          yes        yes          yes           min                   up to 16 rounds      HIGHMEM
//   GFP_HIGHUSER_MOVABLE  as GFP_HIGHUSER; the pages can be moved elsewhere
//
//   added to one of them
//   GFP_DMA               as it is                                                                         lowest zone
//   GFP_DMA32             as it is                                                                         DMA32
//   __GFP_MEMALLOC        as it is   no           as it is      none                  once                 as it is
//   __GFP_NORETRY         as it is   one round, over with the pages asked for                              as it is
//   __GFP_RETRY_MAYFAIL   as it is   for as long as memory comes, a wait of 100 ms included, or killed     as it is
//   __GFP_NOFAIL          must       for ever; sleeps between rounds, killed or not; is never told NULL    as it is
//   __GFP_ZERO            as it is; the memory is cleared
//   __GFP_COMP            as it is; tails name their head
//   __GFP_NOWARN          as it is; a failure is counted, and not reported
//   __GFP_MOVABLE, __GFP_RECLAIMABLE   as it is; such pages are kept apart from those that stay
//
// A round asks the shrinkers with growing pressure (<mm/shrinker.h>); the first in which nothing comes is the last. For
// a costly block, above 32 KB and above a page, it is one round, unless NOFAIL or RETRY_MAYFAIL ask for more: few such
// blocks can be made by freeing pages. A caller who is to free more than he takes (MEMALLOC) does not reclaim: he is
// what the others wait for.
//
// Refused: flags that do not exist; more than one of __GFP_DMA, __GFP_DMA32, __GFP_HIGHMEM; more than one of
// __GFP_NOFAIL, __GFP_NORETRY, __GFP_RETRY_MAYFAIL; __GFP_NOFAIL without __GFP_DIRECT_RECLAIM; __GFP_MOVABLE with
// __GFP_RECLAIMABLE.
#pragma once

#include <base/compiler.h>

typedef uint32_t gfp_t;

#define __GFP_DMA            ((gfp_t)1 << 0)
#define __GFP_DMA32          ((gfp_t)1 << 1)
#define __GFP_HIGHMEM        ((gfp_t)1 << 2)
#define __GFP_DIRECT_RECLAIM ((gfp_t)1 << 3)     // the caller can sleep; reclaim on its behalf
#define __GFP_KSWAPD_RECLAIM ((gfp_t)1 << 4)
#define __GFP_HIGH           ((gfp_t)1 << 5)     // may use the emergency pool
#define __GFP_MEMALLOC       ((gfp_t)1 << 6)     // frees more than it takes: may use all of the pool
#define __GFP_ZERO           ((gfp_t)1 << 7)
#define __GFP_COMP           ((gfp_t)1 << 8)     // tails name their head
#define __GFP_NOFAIL         ((gfp_t)1 << 9)
#define __GFP_NORETRY        ((gfp_t)1 << 10)
#define __GFP_RETRY_MAYFAIL  ((gfp_t)1 << 11)
#define __GFP_NOWARN         ((gfp_t)1 << 12)
#define __GFP_MOVABLE        ((gfp_t)1 << 13)
#define __GFP_RECLAIMABLE    ((gfp_t)1 << 14)

#define __GFP_ALL            (((gfp_t)1 << 15) - 1)

#define GFP_KERNEL           (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define GFP_NOWAIT           (__GFP_KSWAPD_RECLAIM)
#define GFP_ATOMIC           (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#define GFP_DMA              (__GFP_DMA)
#define GFP_DMA32            (__GFP_DMA32)
#define GFP_HIGHUSER         (GFP_KERNEL | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)

// Flags that ask for unmovable memory from where GFP_KERNEL starts, and for nothing to be done to it.
#define GFP_PLAIN (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC | __GFP_NOWARN)

// Checked builds look at every request.
#define GFP_IS_PLAIN(gfp) (!CONFIG_CHECKED && __builtin_constant_p(gfp) && ((gfp) & ~GFP_PLAIN) == 0)

static always_inline bool gfp_may_sleep(gfp_t gfp)
{
    return (gfp & __GFP_DIRECT_RECLAIM) != 0;
}

// How far below the min watermark a request may go.
enum gfp_reserve { GFP_RESERVE_NONE, GFP_RESERVE_HALF, GFP_RESERVE_ALL };

static always_inline enum gfp_reserve gfp_reserve(gfp_t gfp)
{
    return gfp & __GFP_MEMALLOC ? GFP_RESERVE_ALL : gfp & __GFP_HIGH ? GFP_RESERVE_HALF : GFP_RESERVE_NONE;
}

// How long it tries when the zones have nothing for it.
enum gfp_patience {
    GFP_TRIES_ONCE,                // no reclaim
    GFP_TRIES_LIGHTLY,             // one round, and that only until the pages asked for have come
    GFP_TRIES_A_ROUND,
    GFP_TRIES_SOME_ROUNDS,         // GFP_ROUNDS_MAX, while something comes
    GFP_TRIES_WITH_PROGRESS,       // while something comes, from shrinkers or from others
    GFP_TRIES_FOR_EVER,
};

#define GFP_ROUNDS_MAX 16

enum gfp_patience gfp_patience(gfp_t gfp, bool is_costly);

// Why these flags are refused, or NULL.
const char *gfp_fault(gfp_t gfp);

// "GFP_KERNEL|__GFP_ZERO", what is unknown as a number: into the buffer, cut where it ends. Returns the length.
#define GFP_TEXT_BYTES 192
size_t gfp_format(char *text, size_t size, gfp_t gfp);

// The table above as data, so that it can be printed and held against what happens.
struct gfp_row {
    const char *name;              // as gfp_format has it
    gfp_t flags;
    bool may_sleep, may_reclaim, wakes_kswapd;
    enum gfp_reserve reserve;
    enum gfp_patience patience, costly_patience;
    const char *highest_zone;
};

extern const struct gfp_row gfp_table[];
extern const unsigned gfp_table_count;

// "half", "for ever", ...: for the console.
const char *gfp_reserve_name(enum gfp_reserve reserve);
const char *gfp_patience_name(enum gfp_patience patience);
