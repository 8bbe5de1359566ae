// Reading a replay image that nobody vouches for.
// SPDX-License-Identifier: BSD-2-Clause
//
// Two steps, because the second needs memory whose amount the first finds out: qtrace_open checks the image
// as a whole, qtrace_check_events plays its events through without doing them. After both, every index, size
// and slot in it can be used as it is. Neither changes the image. Any context.
#pragma once

#include "qtrace_format.h"

#define QTRACE_CACHES_MAX 1024

// An image; the pointers lead into it.
struct qtrace {
    const struct qtrace_header *header;
    const struct qtrace_cache *caches;
    const struct qtrace_event *events;
    uint32_t crc;
};

struct qtrace_error {
    char text[192];        // names the thing and its value; without newline
};

// False, with *error filled in, when the image is not whole, lies about its length, or holds a name, number
// or size that cannot be. `image` has `bytes` readable bytes; harts_max is the most harts a replay may have.
must_check bool qtrace_open(const void *image, uint64_t bytes, uint32_t harts_max, struct qtrace *out,
                            struct qtrace_error *error);

// False, with *error filled in, at the first event that is malformed, fills a full slot, empties an empty one
// or frees something as what it is not; and when the counts or the sums of bytes in the header are not those
// of the events. `slots` has slot_count elements and is overwritten.
struct qtrace_slot_check {
    uint32_t bytes;
    uint32_t free_op;      // what empties the slot; 0 when it is empty
};
must_check bool qtrace_check_events(const struct qtrace *trace, struct qtrace_slot_check *slots,
                                    struct qtrace_error *error);

// The operation that ends what `op` allocated; `op` itself is not a free.
static inline enum qtrace_op qtrace_free_of(enum qtrace_op op)
{
    return op <= QTRACE_KMALLOC ? QTRACE_OBJECT_FREE : (enum qtrace_op)(op + 1);
}

static inline bool qtrace_is_free(enum qtrace_op op)
{
    return op == QTRACE_OBJECT_FREE || op == QTRACE_PAGE_FREE || op == QTRACE_AREA_FREE;
}

// What an allocation asks for, in bytes.
static inline uint32_t qtrace_bytes(const struct qtrace *trace, const struct qtrace_event *event)
{
    return event->op == QTRACE_CACHE_ALLOC ? trace->caches[event->argument].object_bytes : event->argument;
}
