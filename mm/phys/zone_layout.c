// The text of zones=, read into boundaries.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/zone_layout.h>

#include <base/errno.h>
#include <base/format.h>
#include <base/parse.h>
#include <base/string.h>
#include <mm/zone.h>

#define DMA32_LIMIT GB(4)
#define BLOCK_BYTES (1UL << MAX_BLOCK_SHIFT)
#define X86_32_LIST "dma:16M,normal:896M,highmem"
#define NUMBER_BYTES 24

// How much of an entry is shown in a message.
#define SHOWN "%.*s"
#define SHOWN_LENGTH 40

// Every boundary is a multiple of the largest block, so that no merge can cross one.
_Static_assert(DMA32_LIMIT % BLOCK_BYTES == 0, "a block lies in one zone");

#define NATIVE { &zones[ZONE_DMA32], DMA32_LIMIT >> PAGE_SHIFT, MAX_PFN }
#define FLAT { &zones[ZONE_DMA], 0, MAX_PFN }

static const struct zone_layout native = NATIVE, flat = FLAT;

struct zone_layout zone_layout = NATIVE;

// The zones of a list, in their order.
enum place { DMA, NORMAL, HIGHMEM, PLACES };

static const char *const names[PLACES] = { "dma", "normal", "highmem" };

struct list {
    uint64_t end[PLACES];          // offsets; 0: the zone is not in the list, or reaches to the end
    bool is_there[PLACES];
};

// An entry of the text, "NAME" or "NAME:END".
struct entry {
    const char *text;
    size_t length, name_length;
};

static int refuse(struct zone_layout_error *error, const struct entry *entry, const char *format, ...)
    printf_like(3, 4);
static int refuse(struct zone_layout_error *error, const struct entry *entry, const char *format, ...)
{
    size_t size = sizeof(error->text);
    size_t used = (size_t)format_text(error->text, size, "boot argument zones: entry \"" SHOWN "\": ",
                                      (int)min_of(entry->length, (size_t)SHOWN_LENGTH), entry->text);
    va_list args;

    va_start(args, format);
    format_text_va(error->text + used, size - used, format, args);
    va_end(args);
    return -EINVAL;
}

static struct entry entry_at(const char *text)
{
    struct entry entry = { .text = text };

    while (text[entry.length] != '\0' && text[entry.length] != ',')
        entry.length++;
    while (entry.name_length < entry.length && text[entry.name_length] != ':')
        entry.name_length++;
    return entry;
}

static bool has_name(const struct entry *entry, const char *name)
{
    return entry->name_length == strlen(name) && strncmp(entry->text, name, entry->name_length) == 0;
}

static int read_end(const struct entry *entry, uint64_t least, uint64_t limit, uint64_t *end,
                    struct zone_layout_error *error)
{
    char number[NUMBER_BYTES];
    size_t length = entry->length - entry->name_length - 1;
    const char *text = entry->text + entry->name_length + 1;

    if (length < sizeof(number)) {
        memcpy(number, text, length);
        number[length] = '\0';
    }
    if (length >= sizeof(number) || !parse_size(number, end))
        return refuse(error, entry, "\"" SHOWN "\" is not a size (digits, then K, M, G or nothing)",
                      (int)min_of(length, (size_t)SHOWN_LENGTH), text);
    if (*end % BLOCK_BYTES != 0)
        return refuse(error, entry, "the end %s is not a multiple of %lu MB", number, BLOCK_BYTES >> 20);
    if (*end <= least)
        return refuse(error, entry, "the end %s is not above the zone's start, %luM", number, least >> 20);
    if (*end > limit)
        return refuse(error, entry, "the end %s is beyond the %luM that can be addressed", number, limit >> 20);
    return 0;
}

static int read_entry(const struct entry *entry, bool is_last, uint64_t limit, struct list *list,
                      struct zone_layout_error *error)
{
    enum place place = DMA;
    uint64_t least = 0;

    while (place < PLACES && !has_name(entry, names[place]))
        place++;
    if (place == PLACES)
        return refuse(error, entry, "there is no such zone or layout; zones are dma, normal and highmem, "
                                    "layouts " ARCH_ZONES_NAME ", x86-32 and flat");
    if (list->is_there[place])
        return refuse(error, entry, "%s is there twice", names[place]);
    for (unsigned later = place + 1; later < PLACES; later++)
        if (list->is_there[later])
            return refuse(error, entry, "%s comes before %s", names[place], names[later]);
    for (unsigned earlier = 0; earlier < place; earlier++)
        least = max_of(least, list->end[earlier]);
    list->is_there[place] = true;
    if (entry->name_length < entry->length)
        return read_end(entry, least, limit, &list->end[place], error);
    if (!is_last)
        return refuse(error, entry, "only the last zone may leave out where it ends");
    return 0;
}

static int read_list(const char *text, uint64_t ram_bytes, uint64_t limit, struct list *list,
                     struct zone_layout_error *error)
{
    struct entry entry = { 0 };

    for (const char *at = text;; at += entry.length + 1) {
        entry = entry_at(at);
        bool is_last = at[entry.length] == '\0';
        int result = read_entry(&entry, is_last, limit, list, error);
        if (result != 0)
            return result;
        if (is_last)
            break;
    }
    const struct entry whole = { .text = text, .length = strlen(text) };
    if (!list->is_there[NORMAL])
        return refuse(error, &whole, "normal is missing");
    uint64_t last_end = list->end[list->is_there[HIGHMEM] ? HIGHMEM : NORMAL];
    if (last_end != 0 && last_end < ram_bytes)
        return refuse(error, &entry, "the last zone ends at %luM, and RAM only at %luM", last_end >> 20,
                      align_up(ram_bytes, MB(1)) >> 20);
    return 0;
}

int zone_layout_parse(const char *text, paddr_t ram_start, paddr_t ram_end, struct zone_layout *layout,
                      struct zone_layout_error *error)
{
    uint64_t base = align_down(ram_start.value, BLOCK_BYTES);
    struct list list = { 0 };

    if (strcmp(text, ARCH_ZONES_NAME) == 0) {
        *layout = native;
        return 0;
    }
    if (strcmp(text, "flat") == 0) {
        *layout = flat;
        return 0;
    }
    if (strcmp(text, "x86-32") == 0)
        text = X86_32_LIST;
    int result = read_list(text, ram_end.value - base, ARCH_PHYS_LIMIT - base, &list, error);
    if (result == 0)
        *layout = (struct zone_layout){
            .low = &zones[ZONE_DMA],
            .normal_start = list.is_there[DMA] ? (base + list.end[DMA]) >> PAGE_SHIFT : 0,
            .normal_end = list.is_there[HIGHMEM] ? (base + list.end[NORMAL]) >> PAGE_SHIFT : MAX_PFN,
        };
    return result;
}

void zone_layout_boot_window(const struct zone_layout *layout, paddr_t *low, paddr_t *high)
{
    *low = layout->low == &zones[ZONE_DMA32] ? paddr(0) : pfn_to_paddr(pfn(layout->normal_start));
    *high = pfn_to_paddr(pfn(layout->normal_end));
}
