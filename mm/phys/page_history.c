// The last transitions of every page frame, in checked builds.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_history.h>

#if CONFIG_CHECKED

#include <arch/per_hart.h>
#include <arch/time.h>
#include <base/format.h>
#include <base/parse.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <debug/symbols.h>
#include <mm/memblock.h>
#include <mm/zone.h>

struct event {
    const void *caller;
    uint64_t when : 50;            // ticks
    uint64_t hart : 6;             // arch_hart_index()
    uint64_t event : 3;            // enum page_event
    uint64_t detail : 5;
};

struct history {
    struct event event[PAGE_EVENTS_KEPT];      // the latest first
};

_Static_assert(sizeof(struct history) == 64, "as the header says");
_Static_assert(PAGE_EVENT_COUNT <= 8 && PAGE_TYPE_COUNT <= 32 && MAX_ORDER < 32, "fields hold it");

// One piece for each range of RAM, since a single one could be too large for what is left between reservations.
static struct piece {
    uint64_t first, past;          // (C) page frame numbers
    struct history *of_frame;      // (C) the first one's
} pieces[MEMBLOCK_RANGES];
static unsigned piece_count;       // (C)
static uint64_t total_bytes;       // (C)

init_code void page_history_init(void)
{
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        uint64_t first = memblock_ram.range[i].start >> PAGE_SHIFT;
        uint64_t past = (memblock_ram.range[i].start + memblock_ram.range[i].size) >> PAGE_SHIFT;
        uint64_t bytes = align_up((past - first) * sizeof(struct history), PAGE_SIZE);
        paddr_t at;

        if (past <= first)
            continue;
        // From the range itself where it can be: a small zone at the top is not to be taken up by the others' history.
        paddr_t limit = paddr(memblock_ram.range[i].start + memblock_ram.range[i].size);
        if (!memblock_alloc(bytes, PAGE_SIZE, limit, PAGE_MEMMAP, &at) &&
            !memblock_alloc(bytes, PAGE_SIZE, paddr(ARCH_PHYS_LIMIT), PAGE_MEMMAP, &at)) {
            klog_warn("page history: no %lu KB for %lu pages: theirs is not kept\n", bytes >> 10, past - first);
            continue;
        }
        pieces[piece_count++] = (struct piece){ first, past, phys_to_virt(at) };
        total_bytes += bytes;
    }
}

static struct history *history_of(uint64_t frame)
{
    for (unsigned i = 0; i < piece_count; i++)
        if (frame >= pieces[i].first && frame < pieces[i].past)
            return &pieces[i].of_frame[frame - pieces[i].first];
    return NULL;
}

void page_history_note(pfn_t frame, enum page_event event, unsigned detail, const void *caller)
{
    struct history *history = history_of(frame.value);

    if (history == NULL)
        return;
    for (unsigned i = PAGE_EVENTS_KEPT - 1; i > 0; i--)
        history->event[i] = history->event[i - 1];
    history->event[0] = (struct event){
        .caller = caller, .when = arch_time() & ((1UL << 50) - 1), .hart = arch_hart_index() & 63,
        .event = event & 7, .detail = detail & 31,
    };
}

void page_history_note_here(pfn_t frame, enum page_event event, unsigned detail)
{
    page_history_note(frame, event, detail, __builtin_return_address(0));
}

// The latest events that touched a frame, the latest first.
struct found {
    unsigned count;
    struct { struct event event; uint64_t head; } latest[PAGE_EVENTS_KEPT];
};

// Of two of the same moment the one that is added last comes first.
static void add_found(struct found *found, struct event event, uint64_t head)
{
    unsigned place = 0;

    while (place < found->count && found->latest[place].event.when > event.when)
        place++;
    if (place == PAGE_EVENTS_KEPT)
        return;
    found->count = min_of(found->count + 1, (unsigned)PAGE_EVENTS_KEPT);
    for (unsigned i = found->count - 1; i > place; i--)
        found->latest[i] = found->latest[i - 1];
    found->latest[place].event = event;
    found->latest[place].head = head;
}

// Adds what was noted at a head and concerned a block that reached as far as the frame.
static void add_head(struct found *found, uint64_t frame, uint64_t head)
{
    const struct history *history = history_of(head);
    uint64_t block_pages = 1;

    if (history == NULL)
        return;
    for (unsigned i = PAGE_EVENTS_KEPT; i-- > 0;) {
        struct event event = history->event[i];

        if (event.event == PAGE_NO_EVENT)
            continue;
        if (event.event != PAGE_NOW_TYPE)
            block_pages = 1UL << event.detail;
        if (frame - head < block_pages)
            add_found(found, event, head);
        if (event.event == PAGE_SPLIT)
            block_pages = 1;
    }
}

static struct found find(uint64_t frame)
{
    struct found found = { 0 };

    add_head(&found, frame, frame);
    for (unsigned order = 0; order < MAX_ORDER; order++)
        if (frame & 1UL << order)
            add_head(&found, frame, align_down(frame, 2UL << order));
    return found;
}

static void print_event(const struct event *event, uint64_t head, void (*print)(const char *format, ...))
{
    static const char *const names[PAGE_EVENT_COUNT] = {
        [PAGE_ALLOCATED] = "allocated", [PAGE_FREED] = "freed", [PAGE_SPLIT] = "split",
    };
    uint64_t microseconds = event->when / max_of(arch_timer_hz() / 1000000, 1UL);
    char by[SYMBOL_NAME_BYTES + 16], what[32];

    symbol_format(by, sizeof(by), (uintptr_t)event->caller);
    if (event->event == PAGE_NOW_TYPE)
        format_text(what, sizeof(what), "became %s", page_type_name(event->detail));
    else
        format_text(what, sizeof(what), "%s, order %u", names[event->event], (unsigned)event->detail);
    print("  %4lu.%06lu s, hart %u: frame %#lx %s, by %s\n", microseconds / 1000000, microseconds % 1000000,
          (unsigned)event->hart, head, what, by);
}

static void show(uint64_t frame, void (*print)(const char *format, ...))
{
    struct found found = find(frame);

    if (found.count == 0)
        print("  frame %#lx has no history\n", frame);
    for (unsigned i = 0; i < found.count; i++)
        print_event(&found.latest[i].event, found.latest[i].head, print);
}

void page_history_print(pfn_t frame)
{
    show(frame.value, klog_print_error);
}

static int command_pagehistory(int argc, char **argv)
{
    uint64_t value;

    if (argc != 2 || !parse_u64(argv[1], &value)) {
        console_print("pagehistory: give the number of a page frame, or an address in it\n");
        return 1;
    }
    if (virt_is_direct((const void *)(uintptr_t)value))
        value = virt_to_phys((const void *)(uintptr_t)value).value >> PAGE_SHIFT;
    else if (value >= MAX_PFN && value < ARCH_PHYS_LIMIT)
        value >>= PAGE_SHIFT;
    if (history_of(value) == NULL) {
        console_print("pagehistory: %s is in no page of RAM\n", argv[1]);
        return 1;
    }
    show(value, console_print);
    return 0;
}

SHELL_COMMAND(pagehistory, "PFN|ADDRESS", "the last transitions of a page (checked kernel)", command_pagehistory);

uint64_t page_history_bytes(void)
{
    return total_bytes;
}

#endif
