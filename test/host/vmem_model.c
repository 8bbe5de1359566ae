// The model of a vmem arena: a bit for each quantum, a ring of ranges, and the checks.
// SPDX-License-Identifier: BSD-2-Clause
#include "vmem_model.h"

#include <base/bits.h>
#include <base/errno.h>
#include <mm/page_alloc.h>
#include <stdlib.h>

// --- Quanta

static uint64_t address_of(const struct vmem_model *model, uint64_t quantum)
{
    return model->shape->base + quantum * model->shape->quantum;
}

// The first quantum from `at` on that is used, or that is not; the arena's end if there is none.
static uint32_t next_quantum(const struct vmem_model *model, uint32_t at, bool is_used)
{
    uint32_t quanta = model->shape->quanta;
    uint64_t invert = is_used ? 0 : UINT64_MAX, below = low_bits(at % 64);

    for (uint32_t word = at / 64; word * 64 < quanta; word++, below = 0) {
        uint64_t found = (model->used[word] ^ invert) & ~below;
        if (found != 0)
            return min_of(word * 64 + lowest_bit(found), quanta);
    }
    return quanta;
}

static void set_used(struct vmem_model *model, uint32_t first, uint32_t quanta, bool is_used)
{
    while (quanta > 0) {
        uint32_t count = min_of(64 - first % 64, quanta);
        uint64_t bits = low_bits(count) << first % 64;
        model->used[first / 64] = is_used ? model->used[first / 64] | bits : model->used[first / 64] & ~bits;
        first += count;
        quanta -= count;
    }
}

static uint64_t quanta_of(const struct vmem_model *model, const struct vmem_request *request)
{
    return (request->size - 1) / model->shape->quantum + 1;
}

static bool has_fit(const struct vmem_model *model, const struct vmem_request *request)
{
    uint64_t quanta = quanta_of(model, request);
    uint32_t end;

    for (uint32_t at = 0; (at = next_quantum(model, at, false)) < model->shape->quanta; at = end) {
        uint64_t skipped = (request->phase - address_of(model, at)) & (request->alignment - 1);
        end = next_quantum(model, at, true);
        if (skipped / model->shape->quantum + quanta <= end - at)
            return true;
    }
    return false;
}

void vmem_model_refused(const struct vmem_model *model, const struct vmem_request *request)
{
    if (has_fit(model, request))
        model_fail("%s: %#lx bytes at multiples of %#lx + %#lx refused, and there is room", model->shape->name,
                   request->size, request->alignment, request->phase);
}

// --- Ranges

static uint32_t *ring_at(const struct vmem_model *model, uint64_t place)
{
    return &model->ring[(model->first + place) & model->mask];
}

uint64_t vmem_model_held(const struct vmem_model *model, uint64_t place)
{
    return address_of(model, *ring_at(model, place));
}

void vmem_model_take(struct vmem_model *model, const struct vmem_request *request, uint64_t start)
{
    const struct vmem_shape *shape = model->shape;
    uint64_t offset = start - shape->base, first = offset / shape->quantum, quanta = quanta_of(model, request);

    if (((start - request->phase) & (request->alignment - 1)) != 0 || offset % shape->quantum != 0)
        model_fail("%s: %#lx is no multiple of %#lx + %#lx", shape->name, start, request->alignment, request->phase);
    if (first >= shape->quanta || quanta > shape->quanta - first)
        model_fail("%s: %#lx bytes at %#lx are not in the arena", shape->name, request->size, start);
    if (next_quantum(model, (uint32_t)first, true) < first + quanta)
        model_fail("%s: %#lx bytes at %#lx are somebody's already", shape->name, request->size, start);
    set_used(model, (uint32_t)first, (uint32_t)quanta, true);
    model->length[first] = (uint32_t)quanta;
    model->held_quanta += (uint32_t)quanta;
    *ring_at(model, model->count++) = (uint32_t)first;
}

void vmem_model_free(struct vmem_model *model, uint64_t place)
{
    uint32_t first = *ring_at(model, place), quanta = model->length[first];

    model->count--;
    if (place == 0)
        model->first++;
    else
        *ring_at(model, place) = *ring_at(model, model->count);
    set_used(model, first, quanta, false);
    model->length[first] = 0;
    model->held_quanta -= quanta;

    uint64_t size = vmem_free(&model->arena, address_of(model, first));
    if (size != quanta * model->shape->quantum)
        model_fail("%s: %#lx was freed as %#lx bytes, %u quanta were handed out", model->shape->name,
                   address_of(model, first), size, quanta);
}

static uint64_t size_at(const struct vmem_model *model, uint64_t address)
{
    uint64_t offset = address - model->shape->base, quantum = offset / model->shape->quantum;

    return offset % model->shape->quantum != 0 || quantum >= model->shape->quanta
        ? 0 : model->length[quantum] * model->shape->quantum;
}

void vmem_model_look_up(struct vmem_model *model, uint64_t address)
{
    uint64_t size = vmem_lookup(&model->arena, address), expected = size_at(model, address);

    if (size != expected)
        model_fail("%s: %#lx bytes are found at %#lx, and %#lx were handed out", model->shape->name, size, address,
                   expected);
}

void vmem_model_free_nothing(struct vmem_model *model, uint64_t address)
{
    uint64_t size = size_at(model, address) != 0 ? 0 : vmem_free(&model->arena, address);

    if (size != 0)
        model_fail("%s: %#lx bytes were freed at %#lx, where nothing starts", model->shape->name, size, address);
}

// --- The arena

void vmem_model_check(struct vmem_model *model)
{
    const struct vmem_shape *shape = model->shape;
    uint64_t free_bytes = (shape->quanta - model->held_quanta) * shape->quantum;
    const char *why;

    if (!vmem_is_consistent(&model->arena, &why))
        model_fail("%s: %s", shape->name, why);
    if (model->arena.free_bytes != free_bytes)
        model_fail("%s: %#lx bytes are free, should be %#lx", shape->name, model->arena.free_bytes, free_bytes);
}

// Failures may be injected.
static void create(struct vmem_model *model)
{
    const struct vmem_shape *shape = model->shape;
    int result;

    do {
        result = vmem_init(&model->arena, shape->name, shape->base, shape->quanta * shape->quantum, shape->quantum);
        if (result != 0 && (result != -ENOMEM || mm_fault_hook == NULL))
            model_fail("%s: cannot be made: %d", shape->name, result);
    } while (result != 0);
}

void vmem_model_renew(struct vmem_model *model)
{
    int result = vmem_destroy(&model->arena);

    if (result != 0)
        model_fail("%s: empty, and not destroyed: %d", model->shape->name, result);
    create(model);
}

void vmem_model_init(struct vmem_model *model, const struct vmem_shape *shape)
{
    uint64_t ring_size = 1;

    while (ring_size < shape->quanta)
        ring_size *= 2;
    *model = (struct vmem_model){ .shape = shape, .mask = ring_size - 1 };
    model->used = calloc(shape->quanta / 64 + 1, sizeof model->used[0]);
    model->length = calloc(shape->quanta, sizeof model->length[0]);
    model->ring = calloc(ring_size, sizeof model->ring[0]);
    if (model->used == NULL || model->length == NULL || model->ring == NULL)
        model_fail("%s: no memory for the model", shape->name);
    create(model);
}
