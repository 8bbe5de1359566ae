// The replay image: a trace of allocations as tools/study/trace_import.py writes it and the study reads it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Little-endian, naturally aligned, without padding:
//
//      0  struct qtrace_header
//    144  struct qtrace_cache[cache_count]
//         struct qtrace_event[event_count]       in trace order
//         uint32_t                               CRC-32 (that of zlib) of all before it
//
// A slot names something alive: an allocation fills an empty slot, the free of that slot empties it. What is
// alive at the end stays in its slot. Sizes are those asked for, in bytes.
#pragma once

#include <base/compiler.h>

#define QTRACE_MAGIC "QTRACE\x1a\n"
#define QTRACE_MAGIC_BYTES 8
#define QTRACE_VERSION 1
#define QTRACE_NAME_BYTES 32
#define QTRACE_CACHE_NAME_MAX 29        // longest name of a cache, without the NUL
#define QTRACE_PAGE_BYTES 4096          // of the traced kernel
#define QTRACE_BLOCK_BYTES_MAX ((uint64_t)QTRACE_PAGE_BYTES << 10)

// What an event does, and its argument.
enum qtrace_op {
    QTRACE_CACHE_ALLOC,     // index of the cache
    QTRACE_KMALLOC,         // bytes
    QTRACE_OBJECT_FREE,     // 0, here and in the other frees
    QTRACE_PAGE_ALLOC,      // bytes: QTRACE_PAGE_BYTES times a power of two
    QTRACE_PAGE_FREE,
    QTRACE_AREA_ALLOC,      // bytes: a multiple of QTRACE_PAGE_BYTES, guard page not counted
    QTRACE_AREA_FREE,
    QTRACE_OP_COUNT,
};

// What was asked for along with the memory; 0 in frees.
enum qtrace_gfp {
    QTRACE_GFP_WAIT = 1 << 0,           // may sleep
    QTRACE_GFP_HIGH = 1 << 1,           // may use the emergency pool
    QTRACE_GFP_ZERO = 1 << 2,
    QTRACE_GFP_DMA = 1 << 3,
    QTRACE_GFP_DMA32 = 1 << 4,
    QTRACE_GFP_MOVABLE = 1 << 5,        // of pages: the traced kernel's migratetype
    QTRACE_GFP_RECLAIMABLE = 1 << 6,
    QTRACE_GFP_ALL = (1 << 7) - 1,
};

struct qtrace_header {
    char magic[QTRACE_MAGIC_BYTES];
    uint32_t version;
    uint32_t header_bytes;              // sizeof(struct qtrace_header)
    uint64_t total_bytes;               // of the image, CRC included
    char name[QTRACE_NAME_BYTES];       // letters, digits, - and _, NUL to the end
    uint32_t hart_count;                // events are on harts 0 .. hart_count - 1
    uint32_t cache_count;
    uint32_t slot_count;
    uint32_t event_count;
    uint32_t op_count[8];               // events of each enum qtrace_op; the last is 0
    uint64_t requested_peak;            // bytes that everything alive asked for: the most at any time,
    uint64_t requested_final;           // and after the last event
    uint64_t lost_events;               // of the trace: known to be missing from it
    uint32_t skipped_object_frees;      // left out: frees of what was allocated before the trace
    uint32_t skipped_page_frees;
    uint32_t skipped_area_frees;
    uint32_t failed_allocations;        // left out: had failed in the traced kernel
};

enum qtrace_cache_flags { QTRACE_CACHE_RECLAIMABLE = 1 << 0 };

struct qtrace_cache {
    char name[QTRACE_NAME_BYTES];       // letters, digits and _.:+-#, unique; NUL to the end
    uint32_t object_bytes;              // not 0
    uint32_t align_bytes;               // a power of two, 8 to QTRACE_PAGE_BYTES
    uint32_t flags;                     // enum qtrace_cache_flags
    uint32_t reserved;                  // 0
};

struct qtrace_event {
    uint32_t slot;
    uint32_t argument;
    uint8_t op;                         // enum qtrace_op
    uint8_t hart;
    uint8_t gfp;                        // enum qtrace_gfp
    uint8_t reserved;                   // 0
};

_Static_assert(sizeof(struct qtrace_header) == 144 && sizeof(struct qtrace_cache) == 48 &&
               sizeof(struct qtrace_event) == 12, "the sizes that the converter writes");
