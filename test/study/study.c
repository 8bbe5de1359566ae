// Boot mode study: replays the trace that came as the initrd, and prints what it cost as records.
// SPDX-License-Identifier: BSD-2-Clause
//
// Everything the study itself needs is taken first; then the kernel's slabs are filled up, and what is free
// then is the baseline. At the end all is given back, and the ledger must be that of the beginning.

#include "account.h"
#include "measure.h"
#include "object_floor.h"
#include "page_bound.h"
#include "records.h"
#include "replay.h"
#include <arch/smp.h>
#include <base/assert.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <init/boot_mode.h>
#include <init/bootargs.h>
#include <check/check.h>
#include <mm/kernel_map.h>
#include <mm/kstack_cache.h>
#include <mm/ledger.h>
#include <mm/memblock.h>
#include <mm/page_alloc.h>
#include <mm/page_lists.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

#define RECORD_FORMAT 1

BOOTARG_CHOICE(bound, "own|packed", 0, "study: page requests have pages of their own, or share larger ones");
BOOTARG_CHOICE(only, "all|objects", 0, "study: replays the whole trace, or its objects and their floor");

static const char *const bound_names[] = { "own", "packed" };

static const char *const class_names[MEASURE_CLASSES] = {
    "object_alloc", "object_free", "page_alloc", "page_free", "vmap_alloc", "vmap_free",
};

// The one range that was reserved for the initrd; size 0 when there is none.
static const struct memblock_range *find_initrd(void)
{
    static const struct memblock_range none;

    for (unsigned i = 0; i < memblock_reserved.count; i++)
        if (memblock_reserved.range[i].owner == PAGE_INITRD)
            return &memblock_reserved.range[i];
    return &none;
}

// The initrd's address: the direct map's, or where it reaches into HIGHMEM, a mapping that stays.
static const void *initrd_address(const struct memblock_range *initrd)
{
    uint64_t first = initrd->start >> PAGE_SHIFT, past = ((initrd->start + initrd->size - 1) >> PAGE_SHIFT) + 1;

    if (initrd->start + initrd->size <= highmem_start().value)
        return phys_to_virt(paddr(initrd->start));
    struct page **pages = vmalloc((past - first) * sizeof pages[0]);
    if (pages == NULL)
        return NULL;
    for (uint64_t frame = first; frame < past; frame++)
        pages[frame - first] = pfn_to_page(pfn(frame));
    const char *start = vmap(pages, (unsigned)(past - first), PROT_KERNEL_RO);
    vfree(pages);
    return start != NULL ? start + initrd->start % PAGE_SIZE : NULL;
}

static void add_option(const struct bootarg *argument, void *context)
{
    char *text = context, value[96];
    size_t used = strlen(text);

    bootarg_format(argument, value, sizeof value);
    if (!strchr(value, '\\') && !strchr(value, '"'))
        format_text(text + used, RECORD_TEXT_BYTES - used, " %s", value);
}

static const char *describe_options(void)
{
    static char text[RECORD_TEXT_BYTES];

    format_text(text, sizeof text, "kernel_stack_kb=%u max_harts=%u assert_tier=%u", CONFIG_KERNEL_STACK_KB,
                MAX_HARTS, CONFIG_ASSERT_TIER);
    bootargs_for_each(add_option, text);
    return text;
}

static void print_config(const struct qtrace *trace, uint64_t empty_cost)
{
    const struct qtrace_header *header = trace->header;

    record_begin("config");
    record_number("format", RECORD_FORMAT);
    record_text("trace", header->name);
    record_hex("trace_crc", trace->crc);
    record_text("bound", bound_names[bootarg_choice("bound")]);
    record_number("page_size", PAGE_SIZE);
    record_number("mmu_page_size", MMU_PAGE_SIZE);
    record_number("max_order", MAX_ORDER);
    record_number("harts", header->hart_count);
    record_number("harts_online", arch_hart_count());
    record_number("ram_bytes", memblock_ram_bytes());
    record_number("managed_bytes", zones_managed_pages() * PAGE_SIZE);
    record_number("baseline_free", account_baseline_free());
    record_number("metadata", kernel_map_memmap_bytes());
    record_number("events", header->event_count);
    record_number("slots", header->slot_count);
    record_number("caches", header->cache_count);
    record_number("empty_cost", empty_cost);
    record_text("options", describe_options());
    record_end();
}

static void print_samples(void)
{
    unsigned count;
    const struct account_sample *samples = account_samples(&count);

    for (unsigned i = 0; i < count; i++) {
        uint64_t unusable[MAX_ORDER + 1];
        for (unsigned order = 0; order <= MAX_ORDER; order++)
            unusable[order] = account_unusable(&samples[i], order);
        record_begin("sample");
        record_number("event", samples[i].event);
        record_signed("requested", samples[i].requested);
        record_signed("held", samples[i].held);
        record_array("free", samples[i].free_blocks, MAX_ORDER + 1);
        record_array("unusable", unusable, MAX_ORDER + 1);
        record_end();
    }
}

static void print_operations(void)
{
    for (unsigned class = 0; class < MEASURE_CLASSES; class++) {
        const struct measure *measure = measure_of((enum measure_class)class);
        record_begin("op");
        record_text("class", class_names[class]);
        record_number("count", measure->count);
        record_number("failed", measure->failed);
        record_number("instructions", measure->instructions);
        record_number("min", measure->min);
        record_number("max", measure->max);
        record_array("log2", measure->log2, MEASURE_BUCKETS);
        record_end();
    }
}

static void put_breakdown(const char *name, const struct account_breakdown *memory)
{
    record_object_begin(name);
    record_signed("requested", memory->requested);
    record_signed("held", memory->held);
    record_signed("waste_page_rounding", memory->page_rounding);
    record_signed("waste_slab_rounding", memory->slab_rounding);
    record_signed("slab_free", memory->slab_free);
    record_signed("page_tables", memory->page_tables);
    record_signed("other", memory->other);
    record_number("live_objects", memory->live_objects);
    record_number("live_pages", memory->live_pages);
    record_number("live_areas", memory->live_areas);
    record_object_end();
}

static void print_result(const struct qtrace_header *header, const struct replay_counts *counts,
                         const struct account_breakdown *final)
{
    const struct account_result *result = account_result();

    record_begin("result");
    record_text("trace", header->name);
    record_text("bound", bound_names[bootarg_choice("bound")]);
    record_number("page_size", PAGE_SIZE);
    record_number("events", counts->events);
    record_number("failed", measure_failed());
    record_number("failed_frees", counts->failed_frees);
    record_number("skipped_frees", (uint64_t)header->skipped_object_frees + header->skipped_page_frees +
                                       header->skipped_area_frees);
    record_number("handovers", counts->handovers);
    record_signed("peak_requested", result->peak_requested);
    record_signed("peak_held", result->peak_held);
    record_number("peak_event", result->peak_event);
    record_number("largest_order_needed", page_bound_largest_order());
    put_breakdown("peak", &result->peak);
    put_breakdown("final", final);
    record_end();
}

static void print_objects(const struct qtrace_header *header, const struct replay_counts *counts)
{
    const struct object_peaks *peaks = object_floor_peaks();
    const struct object_breakdown *at_held = &peaks->at_held;

    record_begin("objects");
    record_text("trace", header->name);
    record_number("page_size", PAGE_SIZE);
    record_number("events", counts->events);
    record_number("failed", measure_failed());
    record_signed("peak_floor", peaks->floor);
    record_number("peak_floor_event", peaks->floor_event);
    record_signed("peak_floor_pages", peaks->floor_pages);
    record_signed("peak_held", peaks->held);
    record_number("peak_held_event", peaks->held_event);
    record_object_begin("peak");
    record_signed("floor", at_held->floor);
    record_signed("floor_pages", at_held->floor_pages);
    record_signed("held", at_held->held);
    record_signed("in_slabs", at_held->in_slabs);
    record_signed("in_magazines", at_held->in_magazines);
    record_signed("tails", at_held->tails);
    record_signed("own", at_held->own);
    record_object_end();
    record_end();
}

// What a study must leave as it found it. Objects are those of kmalloc: the trace's caches are destroyed,
// which shows that they are empty, and the allocators may keep a few objects of their own caches for the next
// time.
struct state {
    struct ledger ledger;
    uint64_t object_count, area_count, misuse_count;
};

static void add_live_objects(struct kmem_cache *cache, void *sum)
{
    if (strstr(cache->name, "kmalloc-"))
        *(uint64_t *)sum += kmem_cache_live_objects(cache);
}

static struct state take_state(void)
{
    kstack_cache_shrink();
    vmalloc_flush();
    // Destructors free objects of other caches, and leave tables empty.
    kmem_cache_reap(UINT64_MAX);
    kmem_cache_reap(UINT64_MAX);
    vmalloc_flush();
    struct state state = {
        .area_count = vmalloc_stats().area_count,
        .misuse_count = page_alloc_stats().misuse_count + slab_misuse_count() + vmalloc_stats().misuse_count,
    };
    kmem_cache_for_each(add_live_objects, &state.object_count);
    state.ledger = ledger_take();
    return state;
}

// Objects that the allocators keep for themselves may by now lie in other, and so in more slabs than before:
// slabs are compared by the objects in use.
static bool is_same_ledger(const struct ledger *before, struct ledger after)
{
    after.pages[PAGE_FREE] += after.pages[PAGE_SLAB] - before->pages[PAGE_SLAB];
    after.pages[PAGE_SLAB] = before->pages[PAGE_SLAB];
    return ledger_equal(before, &after);
}

static void check_end(const struct state *before)
{
    struct state after = take_state();
    unsigned defects = check_all();

    if (!is_same_ledger(&before->ledger, after.ledger))
        for (unsigned type = 0; type < PAGE_TYPE_COUNT; type++)
            klog_error("study: pages owned as %s: %lu before, %lu after\n", page_type_name(type),
                       before->ledger.pages[type], after.ledger.pages[type]);
    if (!is_same_ledger(&before->ledger, after.ledger))
        panic("study: memory did not come back to where it was before the replay");
    if (after.object_count != before->object_count || after.area_count != before->area_count)
        panic("study: %lu objects and %lu areas are alive, %lu and %lu were before the replay",
              after.object_count, after.area_count, before->object_count, before->area_count);
    if (after.misuse_count != before->misuse_count)
        panic("study: the replay caused %lu reports of misuse", after.misuse_count - before->misuse_count);
    if (defects != 0)
        panic("study: the validators found %u defects after the replay", defects);
}

static int refuse(const char *why)
{
    console_print("quire: initrd: %s\n", why);
    return EXIT_BAD_INPUT;
}

static int out_of_memory(const struct qtrace *trace)
{
    console_print("quire: initrd: no memory for the tables of trace %s: %u slots, %u caches\n",
                  trace->header->name, trace->header->slot_count, trace->header->cache_count);
    return EXIT_FAILED;
}

static bool check_events(const struct qtrace *trace, bool *had_memory, struct qtrace_error *error)
{
    struct qtrace_slot_check *slots = vmalloc(trace->header->slot_count * sizeof slots[0]);

    *had_memory = slots != NULL;
    bool is_good = slots && qtrace_check_events(trace, slots, error);
    vfree(slots);
    return is_good;
}

// The trace is known to be good.
static int replay(const struct qtrace *trace)
{
    struct replay_slot *slots = vmalloc(trace->header->slot_count * sizeof slots[0]);

    if (!slots)
        return out_of_memory(trace);
    if (!replay_prepare(trace, slots)) {
        vfree(slots);
        return out_of_memory(trace);
    }
    if (!account_fill_slabs()) {
        replay_clean_up();
        vfree(slots);
        return out_of_memory(trace);
    }
    uint64_t empty_cost = measure_calibrate();
    page_bound_choose((enum page_bound)bootarg_choice("bound"));
    klog_info("study: replaying %u events of trace %s\n", trace->header->event_count, trace->header->name);

    if (bootarg_choice("only") == 1) {
        // The harts have their magazines, which are filled and emptied as they would be.
        page_lists_unblock();
        struct replay_counts counts = replay_run(true);
        print_config(trace, empty_cost);
        print_objects(trace->header, &counts);
        page_lists_block();
    } else {
        struct replay_counts counts = replay_run(false);
        struct account_breakdown final = account_now();
        print_config(trace, empty_cost);
        print_samples();
        print_operations();
        print_result(trace->header, &counts, &final);
    }

    replay_clean_up();
    account_empty_slabs();
    vfree(slots);
    return EXIT_OK;
}

static int run_study(void)
{
    const struct memblock_range *initrd = find_initrd();
    struct qtrace_error error;
    struct qtrace trace;
    bool had_memory;

    if (initrd->size == 0)
        return refuse("there is none; mode=study wants a trace, as tools/study/trace_import.py makes it");
    const void *start = initrd_address(initrd);
    if (start == NULL)
        return refuse("it lies in HIGHMEM, and there is no memory to map it");
    struct state before = take_state();
    if (!qtrace_open(start, initrd->size, arch_hart_count(), &trace, &error))
        return refuse(error.text);
    if (!check_events(&trace, &had_memory, &error))
        return had_memory ? refuse(error.text) : out_of_memory(&trace);

    int code = replay(&trace);
    if (code == EXIT_OK) {
        check_end(&before);
        record_finish();
    }
    return code;
}
BOOT_MODE(study, run_study);
