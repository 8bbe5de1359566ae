// The gfp flags: their names, what contradicts what, and the table of what each may do.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/gfp.h>

#include <base/bits.h>
#include <base/format.h>

#define RETRY_FLAGS (__GFP_NOFAIL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL)
#define ZONE_FLAGS (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM)
#define MOBILITY_FLAGS (__GFP_MOVABLE | __GFP_RECLAIMABLE)

// A name that covers others stands before them.
static const struct { gfp_t flags; const char *name; } names[] = {
    { GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE" },
    { GFP_HIGHUSER, "GFP_HIGHUSER" },
    { GFP_KERNEL, "GFP_KERNEL" },
    { GFP_ATOMIC, "GFP_ATOMIC" },
    { GFP_NOWAIT, "GFP_NOWAIT" },
    { GFP_DMA, "GFP_DMA" },
    { GFP_DMA32, "GFP_DMA32" },
    { __GFP_HIGHMEM, "__GFP_HIGHMEM" },
    { __GFP_DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM" },
    { __GFP_HIGH, "__GFP_HIGH" },
    { __GFP_MEMALLOC, "__GFP_MEMALLOC" },
    { __GFP_ZERO, "__GFP_ZERO" },
    { __GFP_COMP, "__GFP_COMP" },
    { __GFP_NOFAIL, "__GFP_NOFAIL" },
    { __GFP_NORETRY, "__GFP_NORETRY" },
    { __GFP_RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL" },
    { __GFP_NOWARN, "__GFP_NOWARN" },
    { __GFP_MOVABLE, "__GFP_MOVABLE" },
    { __GFP_RECLAIMABLE, "__GFP_RECLAIMABLE" },
};

size_t gfp_format(char *text, size_t size, gfp_t gfp)
{
    size_t length = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < array_count(names) && length < size; i++)
        if ((gfp & names[i].flags) == names[i].flags) {
            length += (size_t)format_text(text + length, size - length, "%s%s", length > 0 ? "|" : "", names[i].name);
            gfp &= ~names[i].flags;
        }
    if (length < size && (gfp != 0 || length == 0))
        length += (size_t)format_text(text + length, size - length, "%s%#x", length > 0 ? "|" : "", gfp);
    return min_of(length, size - 1);
}

const char *gfp_fault(gfp_t gfp)
{
    if (gfp & ~__GFP_ALL)
        return "unknown gfp flags";
    if (!has_at_most_one_bit(gfp & ZONE_FLAGS) || !has_at_most_one_bit(gfp & RETRY_FLAGS) ||
        !has_at_most_one_bit(gfp & MOBILITY_FLAGS))
        return "contradictory gfp flags";
    if ((gfp & __GFP_NOFAIL) && !gfp_may_sleep(gfp))
        return "__GFP_NOFAIL for a caller that cannot wait";
    return NULL;
}

enum gfp_patience gfp_patience(gfp_t gfp, bool is_costly)
{
    if (gfp & __GFP_NOFAIL)
        return GFP_TRIES_FOR_EVER;
    if (!gfp_may_sleep(gfp) || (gfp & __GFP_MEMALLOC))
        return GFP_TRIES_ONCE;
    if (gfp & __GFP_RETRY_MAYFAIL)
        return GFP_TRIES_WITH_PROGRESS;
    if (gfp & __GFP_NORETRY)
        return GFP_TRIES_LIGHTLY;
    return is_costly ? GFP_TRIES_A_ROUND : GFP_TRIES_SOME_ROUNDS;
}

// name, flags; sleeps, reclaims, wakes kswapd; reserve, patience, patience with costly blocks, zone at most
const struct gfp_row gfp_table[] = {
    { "GFP_KERNEL", GFP_KERNEL, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "GFP_NOWAIT", GFP_NOWAIT, false, false, true,
      GFP_RESERVE_NONE, GFP_TRIES_ONCE, GFP_TRIES_ONCE, "NORMAL" },
    { "GFP_ATOMIC", GFP_ATOMIC, false, false, true,
      GFP_RESERVE_HALF, GFP_TRIES_ONCE, GFP_TRIES_ONCE, "NORMAL" },
    { "GFP_HIGHUSER", GFP_HIGHUSER, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "HIGHMEM" },
    { "GFP_HIGHUSER_MOVABLE", GFP_HIGHUSER_MOVABLE, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "HIGHMEM" },
    { "GFP_KERNEL|GFP_DMA", GFP_KERNEL | GFP_DMA, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "DMA" },
    { "GFP_ATOMIC|GFP_DMA", GFP_ATOMIC | GFP_DMA, false, false, true,
      GFP_RESERVE_HALF, GFP_TRIES_ONCE, GFP_TRIES_ONCE, "DMA" },
    { "GFP_KERNEL|GFP_DMA32", GFP_KERNEL | GFP_DMA32, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "DMA32" },
    { "GFP_KERNEL|__GFP_NORETRY", GFP_KERNEL | __GFP_NORETRY, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_LIGHTLY, GFP_TRIES_LIGHTLY, "NORMAL" },
    { "GFP_KERNEL|__GFP_RETRY_MAYFAIL", GFP_KERNEL | __GFP_RETRY_MAYFAIL, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_WITH_PROGRESS, GFP_TRIES_WITH_PROGRESS, "NORMAL" },
    { "GFP_KERNEL|__GFP_NOFAIL", GFP_KERNEL | __GFP_NOFAIL, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_FOR_EVER, GFP_TRIES_FOR_EVER, "NORMAL" },
    { "GFP_KERNEL|__GFP_HIGH", GFP_KERNEL | __GFP_HIGH, true, true, true,
      GFP_RESERVE_HALF, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "GFP_KERNEL|__GFP_MEMALLOC", GFP_KERNEL | __GFP_MEMALLOC, true, false, true,
      GFP_RESERVE_ALL, GFP_TRIES_ONCE, GFP_TRIES_ONCE, "NORMAL" },
    { "GFP_NOWAIT|__GFP_MEMALLOC", GFP_NOWAIT | __GFP_MEMALLOC, false, false, true,
      GFP_RESERVE_ALL, GFP_TRIES_ONCE, GFP_TRIES_ONCE, "NORMAL" },
    { "GFP_KERNEL|__GFP_ZERO", GFP_KERNEL | __GFP_ZERO, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "GFP_KERNEL|__GFP_COMP", GFP_KERNEL | __GFP_COMP, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "GFP_KERNEL|__GFP_NOWARN", GFP_KERNEL | __GFP_NOWARN, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "GFP_KERNEL|__GFP_MOVABLE", GFP_KERNEL | __GFP_MOVABLE, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "GFP_KERNEL|__GFP_RECLAIMABLE", GFP_KERNEL | __GFP_RECLAIMABLE, true, true, true,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "__GFP_DIRECT_RECLAIM", __GFP_DIRECT_RECLAIM, true, true, false,
      GFP_RESERVE_NONE, GFP_TRIES_SOME_ROUNDS, GFP_TRIES_A_ROUND, "NORMAL" },
    { "0", 0, false, false, false,
      GFP_RESERVE_NONE, GFP_TRIES_ONCE, GFP_TRIES_ONCE, "NORMAL" },
};
const unsigned gfp_table_count = array_count(gfp_table);

const char *gfp_reserve_name(enum gfp_reserve reserve)
{
    static const char *const name[] = { "none", "half", "all" };

    return name[reserve];
}

const char *gfp_patience_name(enum gfp_patience patience)
{
    static const char *const name[] = {
        "once", "lightly", "a round", "16 rounds", "with progress", "for ever",
    };

    return name[patience];
}
