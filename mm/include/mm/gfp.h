// gfp flags: what an allocation may do to get its memory, and of which kind the memory is.
// SPDX-License-Identifier: BSD-2-Clause
//
//   name                     may sleep and reclaim   wakes kswapd   below the min watermark   zone at most
//   GFP_KERNEL               yes                     yes            no                        NORMAL
//   GFP_NOWAIT               no                      yes            no                        NORMAL
//   GFP_ATOMIC               no                      yes            yes, half of it           NORMAL
//   GFP_DMA | the above      as the other            as the other   as the other              lowest zone
//   GFP_DMA32 | the above    as the other            as the other   as the other              DMA32
//   GFP_HIGHUSER             yes                     yes            no                        HIGHMEM
//   __GFP_MEMALLOC           as the other            as the other   yes, all of it            as the other
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

static always_inline bool gfp_may_sleep(gfp_t gfp)
{
    return (gfp & __GFP_DIRECT_RECLAIM) != 0;
}
