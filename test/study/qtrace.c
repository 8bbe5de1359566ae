// The checks that a replay image passes before anything in it is believed.
// SPDX-License-Identifier: BSD-2-Clause

#include "qtrace.h"
#include "crc32.h"
#include <base/format.h>
#include <base/string.h>
#include <stdarg.h>

static bool refuse(struct qtrace_error *error, const char *format, ...) printf_like(2, 3);

static bool refuse(struct qtrace_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_text_va(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

static bool is_letter_or_digit(char character)
{
    return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
           (character >= 'A' && character <= 'Z');
}

// At least one letter, digit or character of `others`, at most `longest`, and NULs to the end of the field.
static bool is_name(const char *field, size_t longest, const char *others)
{
    size_t length = strnlen(field, QTRACE_NAME_BYTES);

    if (length == 0 || length > longest)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_letter_or_digit(field[i]) && !strchr(others, field[i]))
            return false;
    for (size_t i = length; i < QTRACE_NAME_BYTES; i++)
        if (field[i] != '\0')
            return false;
    return true;
}

static bool check_length(const struct qtrace_header *header, uint64_t bytes, struct qtrace_error *error)
{
    if (memcmp(header->magic, QTRACE_MAGIC, QTRACE_MAGIC_BYTES) != 0)
        return refuse(error, "magic: it does not begin as a replay image does");
    if (header->version != QTRACE_VERSION)
        return refuse(error, "version %u, this kernel reads version %u", header->version, QTRACE_VERSION);
    if (header->header_bytes != sizeof *header)
        return refuse(error, "header_bytes %u, expected %zu", header->header_bytes, sizeof *header);
    if (header->total_bytes != bytes)
        return refuse(error, "total_bytes %lu, but %lu bytes were loaded", header->total_bytes, bytes);
    uint64_t expected = sizeof *header + header->cache_count * (uint64_t)sizeof(struct qtrace_cache) +
                        header->event_count * (uint64_t)sizeof(struct qtrace_event) + sizeof(uint32_t);
    if (expected != bytes)
        return refuse(error, "cache_count %u and event_count %u make %lu bytes, total_bytes is %lu",
                      header->cache_count, header->event_count, expected, bytes);
    return true;
}

static bool check_header(const struct qtrace_header *header, uint32_t harts_max, struct qtrace_error *error)
{
    uint64_t op_sum = 0;

    if (!is_name(header->name, QTRACE_NAME_BYTES - 1, "_-"))
        return refuse(error, "name is no text of 1 to %u letters, digits, - and _", QTRACE_NAME_BYTES - 1);
    if (header->hart_count == 0 || header->hart_count > harts_max)
        return refuse(error, "hart_count %u, this machine has %u", header->hart_count, harts_max);
    if (header->cache_count > QTRACE_CACHES_MAX)
        return refuse(error, "cache_count %u is above %u", header->cache_count, QTRACE_CACHES_MAX);
    if (header->event_count == 0)
        return refuse(error, "event_count 0: there is nothing to do");
    if (header->slot_count == 0 || header->slot_count > header->event_count)
        return refuse(error, "slot_count %u for event_count %u", header->slot_count, header->event_count);
    for (unsigned op = 0; op < array_count(header->op_count); op++)
        op_sum += header->op_count[op];
    if (op_sum != header->event_count || header->op_count[QTRACE_OP_COUNT] != 0)
        return refuse(error, "op_count adds up to %lu, event_count is %u", op_sum, header->event_count);
    return true;
}

static bool check_caches(const struct qtrace *trace, struct qtrace_error *error)
{
    for (uint32_t i = 0; i < trace->header->cache_count; i++) {
        const struct qtrace_cache *cache = &trace->caches[i];

        if (!is_name(cache->name, QTRACE_CACHE_NAME_MAX, "_.:+-#"))
            return refuse(error, "cache %u: its name is no text of 1 to %u letters, digits and _.:+-#", i,
                          QTRACE_CACHE_NAME_MAX);
        if (cache->object_bytes == 0 || cache->object_bytes > QTRACE_BLOCK_BYTES_MAX)
            return refuse(error, "cache %u (%s): object_bytes %u", i, cache->name, cache->object_bytes);
        if (!is_power_of_two(cache->align_bytes) || cache->align_bytes < 8 ||
            cache->align_bytes > QTRACE_PAGE_BYTES)
            return refuse(error, "cache %u (%s): align_bytes %u", i, cache->name, cache->align_bytes);
        if (cache->flags > QTRACE_CACHE_RECLAIMABLE || cache->reserved != 0)
            return refuse(error, "cache %u (%s): flags %#x, reserved %u", i, cache->name, cache->flags,
                          cache->reserved);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(trace->caches[j].name, cache->name) == 0)
                return refuse(error, "caches %u and %u are both named %s", j, i, cache->name);
    }
    return true;
}

bool qtrace_open(const void *image, uint64_t bytes, uint32_t harts_max, struct qtrace *out,
                 struct qtrace_error *error)
{
    const struct qtrace_header *header = image;

    if (!is_aligned((uintptr_t)image, 8))
        return refuse(error, "address %p is not a multiple of 8", image);
    if (bytes < sizeof *header + sizeof(uint32_t))
        return refuse(error, "%lu bytes are too few for a replay image", bytes);
    if (!check_length(header, bytes, error))
        return false;

    uint32_t promised, crc = crc32_of(0, image, bytes - sizeof promised);
    memcpy(&promised, (const char *)image + bytes - sizeof promised, sizeof promised);
    if (crc != promised)
        return refuse(error, "CRC-32 %08x, the image promises %08x", crc, promised);

    out->header = header;
    out->caches = (const struct qtrace_cache *)(header + 1);
    out->events = (const struct qtrace_event *)(out->caches + header->cache_count);
    out->crc = crc;
    return check_header(header, harts_max, error) && check_caches(out, error);
}

static bool check_alloc(const struct qtrace *trace, uint32_t i, struct qtrace_error *error)
{
    const struct qtrace_event *event = &trace->events[i];
    uint32_t argument = event->argument;

    if (event->op == QTRACE_CACHE_ALLOC && argument >= trace->header->cache_count)
        return refuse(error, "event %u: cache %u, cache_count is %u", i, argument,
                      trace->header->cache_count);
    if (event->op == QTRACE_KMALLOC && argument == 0)
        return refuse(error, "event %u: kmalloc of 0 bytes", i);
    if (event->op == QTRACE_PAGE_ALLOC && (!is_power_of_two(argument) || argument < QTRACE_PAGE_BYTES ||
                                           argument > QTRACE_BLOCK_BYTES_MAX))
        return refuse(error, "event %u: a page request of %u bytes", i, argument);
    if (event->op == QTRACE_AREA_ALLOC && (argument == 0 || !is_aligned(argument, QTRACE_PAGE_BYTES)))
        return refuse(error, "event %u: an area of %u bytes", i, argument);
    return true;
}

static bool check_event(const struct qtrace *trace, uint32_t i, struct qtrace_error *error)
{
    const struct qtrace_header *header = trace->header;
    const struct qtrace_event *event = &trace->events[i];

    if (event->op >= QTRACE_OP_COUNT)
        return refuse(error, "event %u: operation %u, there are %u", i, event->op, QTRACE_OP_COUNT);
    if (event->hart >= header->hart_count)
        return refuse(error, "event %u: hart %u, hart_count is %u", i, event->hart, header->hart_count);
    if (event->slot >= header->slot_count)
        return refuse(error, "event %u: slot %u, slot_count is %u", i, event->slot, header->slot_count);
    if (event->gfp > QTRACE_GFP_ALL || event->reserved != 0)
        return refuse(error, "event %u: gfp %#x, reserved %u", i, event->gfp, event->reserved);
    if (!qtrace_is_free((enum qtrace_op)event->op))
        return check_alloc(trace, i, error);
    if (event->argument != 0 || event->gfp != 0)
        return refuse(error, "event %u: a free with argument %u and gfp %#x", i, event->argument, event->gfp);
    return true;
}

bool qtrace_check_events(const struct qtrace *trace, struct qtrace_slot_check *slots,
                         struct qtrace_error *error)
{
    const struct qtrace_header *header = trace->header;
    uint32_t op_count[QTRACE_OP_COUNT] = { 0 };
    uint64_t requested = 0, peak = 0;

    memset(slots, 0, header->slot_count * sizeof slots[0]);
    for (uint32_t i = 0; i < header->event_count; i++) {
        const struct qtrace_event *event = &trace->events[i];
        enum qtrace_op op = (enum qtrace_op)event->op;

        if (!check_event(trace, i, error))
            return false;
        struct qtrace_slot_check *slot = &slots[event->slot];
        op_count[op]++;
        if (!qtrace_is_free(op)) {
            if (slot->free_op != 0)
                return refuse(error, "event %u: slot %u is filled while it is full", i, event->slot);
            *slot = (struct qtrace_slot_check){ qtrace_bytes(trace, event), qtrace_free_of(op) };
            requested += slot->bytes;
            peak = max_of(peak, requested);
        } else {
            if (slot->free_op != op)
                return refuse(error, "event %u: operation %u empties slot %u, %u would (0: it is empty)", i,
                              op, event->slot, slot->free_op);
            slot->free_op = 0;
            requested -= slot->bytes;
        }
    }
    for (unsigned op = 0; op < QTRACE_OP_COUNT; op++)
        if (op_count[op] != header->op_count[op])
            return refuse(error, "op_count[%u] %u, but there are %u", op, header->op_count[op], op_count[op]);
    if (peak != header->requested_peak || requested != header->requested_final)
        return refuse(error, "requested_peak %lu and requested_final %lu, but the events make %lu and %lu",
                      header->requested_peak, header->requested_final, peak, requested);
    return true;
}
