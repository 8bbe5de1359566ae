// The console's /proc formats, read back as a tool would read them and compared with what they describe.
// SPDX-License-Identifier: BSD-2-Clause
#include "capture.h"

#include <arch/layout.h>
#include <arch/smp.h>
#include <base/format.h>
#include <base/parse.h>
#include <base/string.h>
#include <debug/shell.h>
#include <ktest/free_pages.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/page_lists.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

#define MAX_WORDS 32

static char *run(const char *command)
{
    char line[32];

    (void)string_copy(line, command, sizeof(line));
    capture_start();
    int code = shell_run_line(line);
    char *output = capture_stop();
    EXPECT_EQ(code, 0);
    EXPECT_NOT_NULL(output);
    return output;
}

// Cuts the first line off *text; NULL when there is none. A line without an end is none.
static char *next_line(char **text)
{
    char *line = *text;
    char *end = line != NULL ? strchr(line, '\n') : NULL;

    if (end == NULL)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return line;
}

static unsigned split(char *line, char *words[MAX_WORDS])
{
    unsigned count = 0;

    while (count < MAX_WORDS) {
        while (*line == ' ')
            *line++ = '\0';
        if (*line == '\0')
            break;
        words[count++] = line;
        while (*line != ' ' && *line != '\0')
            line++;
    }
    return count;
}

static uint64_t number(const char *word)
{
    uint64_t value = 0;

    EXPECT(parse_u64(word, &value));
    return value;
}

// The value of a line of meminfo, which must be there once.
static uint64_t meminfo_kb(char *output, const char *name)
{
    char *line = strstr(output, name);
    uint64_t value = 0;

    if (!EXPECT_NOT_NULL(line))
        return 0;
    for (line += strlen(name); *line == ' '; line++)
        ;
    for (; *line >= '0' && *line <= '9'; line++)
        value = 10 * value + (uint64_t)(*line - '0');
    EXPECT_EQ(strncmp(line, " kB\n", 4), 0);
    EXPECT_NULL(strstr(line, name));
    return value;
}

KTEST(proc, meminfo_adds_up)
{
    char *output = run("meminfo");

    REQUIRE(output != NULL);
    EXPECT_EQ(strncmp(output, "MemTotal:       ", 16), 0);
    uint64_t total = meminfo_kb(output, "MemTotal:"), free = meminfo_kb(output, "MemFree:");
    EXPECT_EQ(total, zones_managed_pages() * PAGE_SIZE / 1024);
    EXPECT_EQ(free, free_pages_now() * PAGE_SIZE / 1024);
    EXPECT_LT(meminfo_kb(output, "MemAvailable:"), total);
    EXPECT_LT(0, meminfo_kb(output, "MemAvailable:"));
    EXPECT_EQ(meminfo_kb(output, "\nSlab:"),
              meminfo_kb(output, "SReclaimable:") + meminfo_kb(output, "SUnreclaim:"));
    EXPECT_LT(0, meminfo_kb(output, "PageTables:"));
    EXPECT_EQ(meminfo_kb(output, "VmallocTotal:"), (ARCH_VMALLOC_END - ARCH_VMALLOC_BASE) / 1024);
    uint64_t high = zones[ZONE_HIGHMEM].managed_pages * PAGE_SIZE / 1024;
    if (high > 0) {
        EXPECT_EQ(meminfo_kb(output, "HighTotal:"), high);
        EXPECT_EQ(meminfo_kb(output, "LowTotal:"), total - high);
        EXPECT_EQ(meminfo_kb(output, "HighFree:") + meminfo_kb(output, "LowFree:"), free);
    }
    // The direct map shows all of RAM below HIGHMEM, of which a part was never managed.
    EXPECT_LT(total - high, meminfo_kb(output, "DirectMap4k:") + meminfo_kb(output, "DirectMap2M:") +
                         meminfo_kb(output, "DirectMap1G:"));
    for (char *line; (line = next_line(&output)) != NULL;) {
        char *words[MAX_WORDS];
        EXPECT_LE(27, strlen(line));
        REQUIRE(EXPECT_EQ(split(line, words), 3));
        EXPECT_EQ(words[0][strlen(words[0]) - 1], ':');
        EXPECT_STREQ(words[2], "kB");
        (void)number(words[1]);
    }
}

// What vmalloc holds is in meminfo, and a slab more or less too.
KTEST(proc, meminfo_follows_allocations)
{
    uint64_t before = meminfo_kb(run("meminfo"), "VmallocUsed:");
    void *area = vmalloc(16 * PAGE_SIZE);

    REQUIRE(area != NULL);
    EXPECT_EQ(meminfo_kb(run("meminfo"), "VmallocUsed:"), before + 16 * PAGE_SIZE / 1024);
    vfree(area);
    EXPECT_EQ(meminfo_kb(run("meminfo"), "VmallocUsed:"), before);

    struct kmem_cache *cache = kmem_cache_create("proc-test", 64, 0, SLAB_RECLAIM_ACCOUNT | SLAB_NO_MAGAZINES, NULL,
                                                 NULL);
    REQUIRE(cache != NULL);
    before = meminfo_kb(run("meminfo"), "SReclaimable:");
    void *object = kmem_cache_alloc(cache, GFP_KERNEL);
    EXPECT_EQ(meminfo_kb(run("meminfo"), "SReclaimable:"), before + (PAGE_SIZE << cache->slab_order) / 1024);
    kmem_cache_free(cache, object);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// A zone's blocks make up its free pages.
KTEST(proc, buddyinfo_adds_up)
{
    char *output = run("buddyinfo");
    char *words[MAX_WORDS];
    unsigned populated = 0;

    for (char *line; (line = next_line(&output)) != NULL; populated++) {
        EXPECT_EQ(strncmp(line, "Node 0, zone ", 13), 0);
        EXPECT_EQ(line[21], ' ');
        REQUIRE(EXPECT_EQ(split(line, words), 4 + MAX_ORDER + 1));
        struct zone *zone = NULL;
        for (unsigned id = 0; id < ZONE_COUNT; id++)
            if (strcmp(zones[id].name, words[3]) == 0)
                zone = &zones[id];
        REQUIRE(zone != NULL);
        uint64_t pages = 0;
        for (unsigned order = 0; order <= MAX_ORDER; order++)
            pages += number(words[4 + order]) << order;
        EXPECT_EQ(pages, zone->free_pages);
    }
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        populated -= zones[id].present_pages != 0;
    EXPECT_EQ(populated, 0);
}

// The row of one cache, cut into words; its fields as slabinfo(5) names them.
enum { NAME, ACTIVE_OBJS, NUM_OBJS, OBJSIZE, OBJPERSLAB, PAGESPERSLAB, TUNABLES = 7, SLABDATA = 12,
       ACTIVE_SLABS, NUM_SLABS, SHAREDAVAIL, FIELDS };

static bool slabinfo_row(const char *name, char *words[MAX_WORDS])
{
    char *output = run("slabinfo");
    unsigned found = 0;
    char *row[MAX_WORDS];

    EXPECT_STREQ(next_line(&output), "slabinfo - version: 2.1");
    EXPECT_STREQ(next_line(&output),
                 "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> "
                 ": tunables <limit> <batchcount> <sharedfactor> "
                 ": slabdata <active_slabs> <num_slabs> <sharedavail>");
    for (char *line; (line = next_line(&output)) != NULL;) {
        if (!EXPECT_EQ(split(line, row), FIELDS))
            return false;
        EXPECT_STREQ(row[TUNABLES], "tunables");
        EXPECT_STREQ(row[SLABDATA], "slabdata");
        EXPECT_LE(number(row[ACTIVE_OBJS]), number(row[NUM_OBJS]));
        EXPECT_LE(number(row[ACTIVE_SLABS]), number(row[NUM_SLABS]));
        EXPECT_EQ(number(row[NUM_OBJS]), number(row[NUM_SLABS]) * number(row[OBJPERSLAB]));
        if (strcmp(row[NAME], name) == 0) {
            memcpy(words, row, sizeof(row));
            found++;
        }
    }
    return EXPECT_EQ(found, 1);
}

KTEST(proc, slabinfo_counts_objects)
{
    char *words[MAX_WORDS];
    struct kmem_cache *cache = kmem_cache_create("proc-test", 200, 64, SLAB_NO_MAGAZINES, NULL, NULL);
    void *objects[3];

    REQUIRE(cache != NULL);
    EXPECT_EQ(kmem_cache_alloc_bulk(cache, GFP_KERNEL, array_count(objects), objects), array_count(objects));
    if (slabinfo_row("proc-test", words)) {
        EXPECT_EQ(number(words[ACTIVE_OBJS]), 3);
        EXPECT_EQ(number(words[OBJSIZE]), 256);
        EXPECT_EQ(number(words[OBJPERSLAB]), cache->objects_per_slab);
        EXPECT_EQ(number(words[PAGESPERSLAB]), 1U << cache->slab_order);
        EXPECT_EQ(number(words[ACTIVE_SLABS]), 1);
        EXPECT_EQ(number(words[NUM_SLABS]), 1);
    }
    kmem_cache_free_bulk(cache, array_count(objects), objects);
    if (slabinfo_row("proc-test", words)) {
        EXPECT_EQ(number(words[ACTIVE_OBJS]), 0);
        EXPECT_EQ(number(words[ACTIVE_SLABS]), 0);
    }
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// The row of one cache; its fields by the names in the heading.
enum { IN_USE = 1, ASKED, USED, PREVIOUS, TAKEN, LEFT, REMOTE, FROM_SLAB, TO_SLAB, GROWN, FAILED, STATS_FIELDS };

static bool slabstats_row(const char *name, char *words[MAX_WORDS])
{
    char *output = run("slabstats");

    EXPECT_NOT_NULL(next_line(&output));
    for (char *line; (line = next_line(&output)) != NULL;)
        if (EXPECT_EQ(split(line, words), STATS_FIELDS) && strcmp(words[NAME], name) == 0)
            return true;
    return EXPECT(false);
}

#define STATS_OBJECTS 400
static struct { struct kmem_cache *cache; void *object[STATS_OBJECTS]; unsigned last; } stats_case;

static void free_on_last_hart(unsigned index, void *argument unused_arg)
{
    if (index == stats_case.last)
        for (unsigned i = 0; i < STATS_OBJECTS; i++)
            kmem_cache_free(stats_case.cache, stats_case.object[i]);
}

static void alloc_all(void)
{
    for (unsigned i = 0; i < STATS_OBJECTS; i++) {
        stats_case.object[i] = kmem_cache_alloc(stats_case.cache, GFP_KERNEL);
        REQUIRE(stats_case.object[i]);
    }
}

// Objects are counted at each layer that they come from and go to, and those that another hart freed.
KTEST(proc, slabstats_counts_layers)
{
    char *words[MAX_WORDS];
    struct kmem_cache *cache = kmem_cache_create("proc-test", 200, 0, 0, NULL, NULL);
    unsigned last = arch_hart_count() - 1;
    REQUIRE(cache);

    stats_case.cache = cache;
    stats_case.last = last;
    alloc_all();
    if (slabstats_row("proc-test", words)) {
        EXPECT_EQ(number(words[IN_USE]), STATS_OBJECTS);
        EXPECT_EQ(number(words[ASKED]), 100);
        EXPECT_LE(number(words[FROM_SLAB]), STATS_OBJECTS + 125);
        EXPECT_GE(number(words[FROM_SLAB]), STATS_OBJECTS);
        EXPECT_GE(number(words[GROWN]), STATS_OBJECTS / cache->objects_per_slab);
        EXPECT_EQ(number(words[TAKEN]), 0);
    }
    EXPECT_EQ(ktest_run_on_harts(free_on_last_hart, NULL), last + 1);
    alloc_all();
    if (slabstats_row("proc-test", words)) {
        EXPECT_GE(number(words[LEFT]), 2);
        EXPECT_GE(number(words[TAKEN]), 2);
        EXPECT_GE(number(words[LEFT]), number(words[TAKEN]));
        EXPECT_EQ(number(words[REMOTE]) > 0, last > 0);
        EXPECT_EQ(number(words[FAILED]), 0);
    }
    for (unsigned i = 0; i < STATS_OBJECTS; i++)
        kmem_cache_free(cache, stats_case.object[i]);
    if (slabstats_row("proc-test", words))
        EXPECT_EQ(number(words[IN_USE]), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Of a class, what its requests wanted of its objects is known from those that come past the magazines.
KTEST(proc, slabstats_knows_what_was_asked_for)
{
    struct kmem_cache *cache = kmalloc_cache_for(40, GFP_KERNEL);
    uint64_t count = cache->asked_count, bytes = cache->asked_bytes;

    page_lists_drain();
    kfree(kmalloc(40, GFP_KERNEL));
    EXPECT_EQ(cache->asked_count, count + 1);
    EXPECT_EQ(cache->asked_bytes, bytes + 40);
}

// The row of the area that starts at the address, cut into words; how many there are. 0: it has no row.
static unsigned vmallocinfo_row(const void *address, char *words[MAX_WORDS])
{
    char *output = run("vmallocinfo");

    for (char *line; (line = next_line(&output)) != NULL;) {
        unsigned count = split(line, words);
        // 0xSTART-0xEND, each with 16 digits
        if (!EXPECT_LE(3, count) || !EXPECT_EQ(strlen(words[0]), 37) || !EXPECT_EQ(words[0][18], '-'))
            return 0;
        words[0][18] = '\0';
        uint64_t start = number(words[0]);
        EXPECT_EQ(number(words[0] + 19), start + number(words[1]));
        if (start == (uintptr_t)address)
            return count;
    }
    return 0;
}

// Address, size, caller (unless nobody knows it), pages, kind.
KTEST(proc, vmallocinfo_shows_areas)
{
    char *words[MAX_WORDS];
    void *area = vmalloc(3 * PAGE_SIZE);
    const char *device = (const char *)(uintptr_t)ioremap(paddr(0x10001000), MMU_PAGE_SIZE);

    REQUIRE(area != NULL && device != NULL);
    unsigned count = vmallocinfo_row(area, words);
    if (EXPECT_LE(4, count)) {
        EXPECT_EQ(number(words[1]), 3 * PAGE_SIZE);
        EXPECT_STREQ(words[count - 2], "pages=3");
        EXPECT_STREQ(words[count - 1], "vmalloc");
    }
    const char *device_area = device - (uintptr_t)device % MMU_PAGE_SIZE;
    count = vmallocinfo_row(device_area, words);
    if (EXPECT_LE(4, count)) {
        EXPECT_STREQ(words[count - 2], "phys=0x0000000010001000");
        EXPECT_STREQ(words[count - 1], "ioremap");
    }
    iounmap(device);
    vfree(area);
    EXPECT_EQ(vmallocinfo_row(area, words), 0);
}
