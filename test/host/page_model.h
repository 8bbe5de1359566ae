// The model beside the page allocator: which page frames are handed out, as which blocks, and what must be true.
// SPDX-License-Identifier: BSD-2-Clause
//
// The model knows a byte for every page frame and nothing of how the allocator works. Each of its checks costs a
// few steps: a pass over the bytes of the block in question, or for a request that failed, over all of them.
//
// A check that fails prints what it found and ends the program.
#pragma once

#include "model_machine.h"
#include "model_walk.h"

#include <mm/page_alloc.h>

// What the caller holds: 2^order pages that alloc_pages gave, or `pages` pages of alloc_pages_exact.
struct held_block {
    uint32_t frame;                // index in the model
    uint32_t pages;
    uint32_t references;           // beyond the first, taken by page_get
    uint8_t order;
    bool is_compound;
    bool is_exact;
    uint64_t tag;                  // stands at both ends of the block
};

struct page_model {
    struct model_ram piece[MODEL_PIECES];
    uint8_t *frame_use;            // by index: 0 free, 1 + order at a block's head, or one of the two below
    uint64_t frame_count;
    uint64_t capacity_pages;       // that can be handed out at all
    uint64_t held_pages;
    uint64_t free_in_piece[MODEL_PIECES];
    uint64_t in_lists[MODEL_PIECES];       // of other harts, before the request

    // The blocks held, oldest first: a ring with room for every page on its own.
    struct held_block *ring;
    uint64_t first, count, mask;

    uint64_t next_tag;
};

enum { USE_FREE = 0, USE_TAIL = 0xfe, USE_FOREIGN = 0xff };

// RAM is as told; nothing but the model allocates from now on. Takes all memory once, to learn what can be had, and
// gives it back. `storage` is zeroed: model_storage_bytes(frames) of them.
size_t model_storage_bytes(uint64_t frame_count);
void model_init(struct page_model *model, void *storage);

// A block was handed out for that request: it must be new, aligned, whole, in an allowed zone, and zero if that was
// asked for. `pages` is its length: 2^order, or fewer for an exact one.
void model_take(struct page_model *model, struct page *page, gfp_t gfp, unsigned order, uint64_t pages, bool is_exact);

// Before a request: what lies in other harts' lists it need not get, and they may be emptied meanwhile.
void model_note_lists(struct page_model *model);

// A request was refused: there must be a reason.
void model_refused(const struct page_model *model, gfp_t gfp, unsigned order);

// The block at a place in the ring, 0 for the oldest.
struct held_block *model_block(const struct page_model *model, uint64_t place);
struct page *model_page(const struct page_model *model, const struct held_block *block);

// Before it is freed: the block still says what was written to it. Takes it out of the ring and returns it.
struct held_block model_drop(struct page_model *model, uint64_t place);

// The block at that place was split: its pages are blocks now.
void model_split(struct page_model *model, uint64_t place);

// Validators, ledger and counters against the model.
void model_check_all(const struct page_model *model);
