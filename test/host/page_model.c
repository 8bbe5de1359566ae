// The model of the page allocator: a byte for each frame, a ring of blocks, and the checks.
// SPDX-License-Identifier: BSD-2-Clause
#include "page_model.h"

#include <arch/smp.h>
#include <check/check.h>
#include <mm/ledger.h>
#include <mm/page_lists.h>
#include <string.h>

#define GIVES_LAST_PAGES (__GFP_HIGH | __GFP_MEMALLOC)

// --- Frames

static pfn_t frame_pfn(const struct page_model *model, uint64_t frame)
{
    return frame < model->piece[0].pages
        ? pfn(model->piece[0].start_pfn + frame)
        : pfn(model->piece[1].start_pfn + frame - model->piece[0].pages);
}

static unsigned piece_of(const struct page_model *model, uint64_t frame)
{
    return frame >= model->piece[0].pages;
}

// The index of a frame of RAM; other frames are a failure.
static uint64_t frame_index(const struct page_model *model, pfn_t at)
{
    uint64_t before = 0;

    for (unsigned i = 0; i < MODEL_PIECES; before += model->piece[i++].pages)
        if (at.value - model->piece[i].start_pfn < model->piece[i].pages)
            return before + at.value - model->piece[i].start_pfn;
    model_fail("frame %#lx is no RAM", at.value);
}

static bool is_free_run(const struct page_model *model, uint64_t frame, uint64_t pages)
{
    const uint8_t *use = model->frame_use + frame;

    for (; pages >= sizeof(uint64_t); pages -= sizeof(uint64_t), use += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, use, sizeof(word));
        if (word != 0)
            return false;
    }
    for (; pages > 0; pages--)
        if (*use++ != USE_FREE)
            return false;
    return true;
}

// Whether a block of that order could be cut from what is free in a piece.
static bool has_free_block(const struct page_model *model, unsigned piece, unsigned order)
{
    uint64_t start = piece == 0 ? 0 : model->piece[0].pages;

    if (model->free_in_piece[piece] < 1UL << order)
        return false;
    for (uint64_t at = 0; at < model->piece[piece].pages; at += 1UL << order)
        if (is_free_run(model, start + at, 1UL << order))
            return true;
    return false;
}

// --- What a request allows

static const struct zone *piece_zone(const struct page_model *model, unsigned piece)
{
    return zone_of(pfn(model->piece[piece].start_pfn));
}

// By the flags alone: DMA is the lowest zone that there is.
static bool is_allowed(const struct page_model *model, unsigned piece, gfp_t gfp)
{
    ptrdiff_t zone = piece_zone(model, piece) - zones;

    if (gfp & __GFP_DMA)
        return piece == 0;
    if (gfp & __GFP_DMA32)
        return zone <= ZONE_DMA32;
    return (gfp & __GFP_HIGHMEM) || zone <= ZONE_NORMAL;
}

void model_note_lists(struct page_model *model)
{
    if (arch_hart_count() > 1)
        for (unsigned piece = 0; piece < MODEL_PIECES; piece++)
            model->in_lists[piece] = page_lists_pages(piece_zone(model, piece));
}

void model_refused(const struct page_model *model, gfp_t gfp, unsigned order)
{
    for (unsigned piece = 0; piece < MODEL_PIECES; piece++) {
        const struct zone *zone = piece_zone(model, piece);
        uint64_t elsewhere = model->in_lists[piece], kept = model_pages_kept(zone, gfp);
        // Neither what is in pieces elsewhere nor what is set aside makes a large block for everybody.
        bool is_whole = elsewhere == 0 && (kept == 0 || zone->reserved_pages == 0);

        if (is_allowed(model, piece, gfp) && model->free_in_piece[piece] >= kept + elsewhere + (1UL << order) &&
            (order == 0 || (is_whole && has_free_block(model, piece, order))))
            model_fail("order %u, gfp %#x refused with %lu pages free in %s", order, gfp,
                       model->free_in_piece[piece], zone->name);
    }
}

// --- Contents

static uint64_t *first_word(const struct page *head)
{
    return page_to_virt(head);
}

static uint64_t *last_word(const struct page *head, uint64_t pages)
{
    return (uint64_t *)page_to_virt(head) + pages * (PAGE_SIZE / sizeof(uint64_t)) - 1;
}

static void check_zero(const struct page *head, uint64_t pages)
{
    const uint64_t *words = first_word(head);
    uint64_t stray = 0;

    for (uint64_t i = 0; i < pages * (PAGE_SIZE / sizeof(uint64_t)); i++)
        stray |= words[i];
    if (stray != 0)
        model_fail("frame %#lx, %lu pages: not zero", page_to_pfn(head).value, pages);
}

// Both ends, and a word somewhere within for the next owner to find cleared.
static void write_tag(struct page_model *model, struct held_block *block, const struct page *head)
{
    uint64_t words = block->pages * (PAGE_SIZE / sizeof(uint64_t));

    block->tag = model->next_tag += 0x9e3779b97f4a7c15;
    first_word(head)[(block->tag >> 17) % words] = block->tag;
    *first_word(head) = block->tag;
    *last_word(head, block->pages) = ~block->tag;
}

// --- The ring

struct held_block *model_block(const struct page_model *model, uint64_t place)
{
    return &model->ring[(model->first + place) & model->mask];
}

struct page *model_page(const struct page_model *model, const struct held_block *block)
{
    return pfn_to_page(frame_pfn(model, block->frame));
}

static void push(struct page_model *model, struct held_block block)
{
    *model_block(model, model->count++) = block;
}

// The youngest takes the place, unless it is at an end.
static struct held_block pull(struct page_model *model, uint64_t place)
{
    struct held_block block = *model_block(model, place);

    model->count--;
    if (place == 0)
        model->first++;
    else
        *model_block(model, place) = *model_block(model, model->count);
    return block;
}

static void mark_held(struct page_model *model, const struct held_block *block)
{
    memset(model->frame_use + block->frame, USE_TAIL, block->pages);
    model->frame_use[block->frame] = (uint8_t)(1 + block->order);
    model->held_pages += block->pages;
    model->free_in_piece[piece_of(model, block->frame)] -= block->pages;
}

void model_take(struct page_model *model, struct page *page, gfp_t gfp, unsigned order, uint64_t pages, bool is_exact)
{
    pfn_t at = page_to_pfn(page);
    struct held_block block = {
        .frame = (uint32_t)frame_index(model, at),
        .pages = (uint32_t)pages,
        .order = (uint8_t)(is_exact ? 0 : order),
        .is_compound = (gfp & __GFP_COMP) != 0,
        .is_exact = is_exact,
    };

    if (!is_aligned(at.value, 1UL << order))
        model_fail("frame %#lx: no place for order %u", at.value, order);
    if (!is_free_run(model, block.frame, pages))
        model_fail("frame %#lx, order %u: handed out already, or never to be had", at.value, order);
    if (!is_allowed(model, piece_of(model, block.frame), gfp))
        model_fail("frame %#lx: not in a zone that gfp %#x allows", at.value, gfp);
    if (page_type(page) != PAGE_RAW || page->order != block.order)
        model_fail("frame %#lx: %s of order %u, not raw of order %u", at.value, page_type_name(page_type(page)),
                   page->order, block.order);
    if (block.is_compound && (page_head(page + pages - 1) != page || page_head(page + pages / 2) != page))
        model_fail("frame %#lx: the tails of order %u name another head", at.value, order);
    if (gfp & __GFP_ZERO)
        check_zero(page, pages);
    write_tag(model, &block, page);
    mark_held(model, &block);
    push(model, block);
}

struct held_block model_drop(struct page_model *model, uint64_t place)
{
    struct held_block block = pull(model, place);
    const struct page *head = model_page(model, &block);

    if (*first_word(head) != block.tag || *last_word(head, block.pages) != ~block.tag)
        model_fail("frame %#lx, %u pages: written to by another", page_to_pfn(head).value, block.pages);
    memset(model->frame_use + block.frame, USE_FREE, block.pages);
    model->held_pages -= block.pages;
    model->free_in_piece[piece_of(model, block.frame)] += block.pages;
    return block;
}

void model_split(struct page_model *model, uint64_t place)
{
    struct held_block whole = model_drop(model, place);

    for (uint32_t i = 0; i < whole.pages; i++) {
        struct held_block single = { .frame = whole.frame + i, .pages = 1 };
        write_tag(model, &single, model_page(model, &single));
        mark_held(model, &single);
        push(model, single);
    }
}

// --- Everything at once

static struct ledger ledger_at_start;

void model_check_all(const struct page_model *model)
{
    struct ledger ledger = ledger_take();
    unsigned defects = check_all();
    uint64_t raw = ledger.pages[PAGE_RAW] - ledger_at_start.pages[PAGE_RAW];

    if (defects > 0)
        model_fail("the validators found %u defects", defects);
    if (raw != model->held_pages || ledger.orphans != 0 || ledger.total != ledger_at_start.total)
        model_fail("the ledger has %lu raw pages, the model %lu; %lu of %lu pages have no owner", raw,
                   model->held_pages, ledger.orphans, ledger.total);
}

size_t model_storage_bytes(uint64_t frame_count)
{
    return frame_count + 2 * sizeof(struct held_block) * frame_count;
}

static void learn_capacity(struct page_model *model)
{
    struct page *taken = NULL, *page;

    memset(model->frame_use, USE_FOREIGN, model->frame_count);
    while ((page = alloc_page(GFP_NOWAIT | GIVES_LAST_PAGES | __GFP_NOWARN)) != NULL) {
        uint64_t frame = frame_index(model, page_to_pfn(page));
        if (model->frame_use[frame] != USE_FOREIGN)
            model_fail("frame %#lx: handed out twice", page_to_pfn(page).value);
        model->frame_use[frame] = USE_FREE;
        model->free_in_piece[piece_of(model, frame)]++;
        model->capacity_pages++;
        page->owner = taken;
        taken = page;
    }
    while ((page = taken) != NULL) {
        taken = page->owner;
        __free_page(page);
    }
    page_lists_drain();
}

void model_init(struct page_model *model, void *storage)
{
    uint64_t free, ring_size = 1;

    model->frame_count = model->piece[0].pages + model->piece[1].pages;
    while (ring_size * 2 <= 2 * model->frame_count)
        ring_size *= 2;
    model->ring = storage;
    model->mask = ring_size - 1;
    model->frame_use = (uint8_t *)(model->ring + 2 * model->frame_count);
    page_lists_drain();
    free = zones_free_pages();
    ledger_at_start = ledger_take();
    learn_capacity(model);
    if (model->capacity_pages != free)
        model_fail("%lu pages were free, %lu could be had", free, model->capacity_pages);
}
