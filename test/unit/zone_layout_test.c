// mm/phys/zone_layout.c: the texts that zones= takes, and those that it refuses.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/zone_layout.h>

#include <base/errno.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/zone.h>

#define RAM_START 0x80200000UL     // offsets count from 0x80000000
#define BASE 0x80000000UL
#define RAM_END (BASE + MB(256))

static int parse(const char *text, struct zone_layout *layout, struct zone_layout_error *error)
{
    return zone_layout_parse(text, paddr(RAM_START), paddr(RAM_END), layout, error);
}

// The text is taken, and lays its zones there: bytes from BASE; 0 and UINT64_MAX for no bound.
static void expect_layout(const char *text, uint64_t normal_start, uint64_t normal_end)
{
    struct zone_layout layout = { 0 };
    struct zone_layout_error error = { "" };

    EXPECT_EQ(parse(text, &layout, &error), 0);
    EXPECT_STREQ(error.text, "");
    EXPECT_EQ(layout.low, &zones[ZONE_DMA]);
    EXPECT_EQ(layout.normal_start, normal_start != 0 ? (BASE + normal_start) >> PAGE_SHIFT : 0);
    EXPECT_EQ(layout.normal_end, normal_end != UINT64_MAX ? (BASE + normal_end) >> PAGE_SHIFT : MAX_PFN);
}

// Presets and lists lie where they say, in offsets from the start of RAM rounded down to a largest block.
KTEST(zone_layout, takes_every_kind)
{
    struct zone_layout layout;
    struct zone_layout_error error;

    EXPECT_EQ(parse("riscv64", &layout, &error), 0);
    EXPECT_EQ(layout.low, &zones[ZONE_DMA32]);
    EXPECT_EQ(layout.normal_start, GB(4) >> PAGE_SHIFT);
    EXPECT_EQ(layout.normal_end, MAX_PFN);
    expect_layout("flat", 0, UINT64_MAX);
    expect_layout("x86-32", MB(16), MB(896));
    expect_layout("dma:16M,normal:112M,highmem", MB(16), MB(112));
    expect_layout("dma:16384K,normal:117440512,highmem:1G", MB(16), MB(112));
    expect_layout("normal:112M,highmem", 0, MB(112));
    expect_layout("dma:4M,normal", MB(4), UINT64_MAX);
    expect_layout("dma:4M,normal:256M", MB(4), UINT64_MAX);
    expect_layout("normal", 0, UINT64_MAX);
    expect_layout("normal:1G", 0, UINT64_MAX);
    expect_layout("dma:512M,normal:1G,highmem", MB(512), GB(1));
}

// Everything else is refused in one line that names the argument, the entry and what is wrong with it.
KTEST(zone_layout, refuses_everything_else)
{
    static const struct { const char *text, *says; } bad[] = {
        { "", "entry \"\": there is no such zone" },
        { "sparc", "entry \"sparc\": there is no such zone or layout" },
        { "RISCV64", "entry \"RISCV64\": there is no such zone" },
        { "riscv64,normal", "entry \"riscv64\": there is no such zone" },
        { "dma32:16M,normal", "entry \"dma32:16M\": there is no such zone" },
        { "dm:16M,normal", "entry \"dm:16M\": there is no such zone" },
        { "normal,", "entry \"normal\": only the last zone may leave out where it ends" },
        { "normal:16M,", "entry \"\": there is no such zone" },
        { ",normal", "entry \"\": there is no such zone" },
        { "dma:16M,,normal", "entry \"\": there is no such zone" },
        { "dma,normal", "entry \"dma\": only the last zone" },
        { "normal:112M,highmem,normal", "entry \"highmem\": only the last zone" },
        { "dma:16M,dma:32M,normal", "entry \"dma:32M\": dma is there twice" },
        { "normal:16M,normal", "entry \"normal\": normal is there twice" },
        { "normal:16M,dma:32M", "entry \"dma:32M\": dma comes before normal" },
        { "highmem:16M,normal", "entry \"normal\": normal comes before highmem" },
        { "dma:16M", "entry \"dma:16M\": normal is missing" },
        { "dma:16M,highmem", "entry \"dma:16M,highmem\": normal is missing" },
        { "dma:,normal", "entry \"dma:\": \"\" is not a size" },
        { "dma:x,normal", "entry \"dma:x\": \"x\" is not a size" },
        { "dma:16M:1,normal", "entry \"dma:16M:1\": \"16M:1\" is not a size" },
        { "dma:-16M,normal", "entry \"dma:-16M\": \"-16M\" is not a size" },
        { "dma:99999999999999999999M,normal", "entry \"dma:99999999999999999999M\": \"99999999999999999999M\" is no" },
        { "dma:1234567890123456789012345678901234567890,normal", "is not a size" },
        { "dma:2M,normal", "entry \"dma:2M\": the end 2M is not a multiple of 4 MB" },
        { "dma:16M,normal:113M,highmem", "entry \"normal:113M\": the end 113M is not a multiple of 4 MB" },
        { "dma:4194305,normal", "the end 4194305 is not a multiple of 4 MB" },
        { "dma:0,normal", "entry \"dma:0\": the end 0 is not above the zone's start, 0M" },
        { "dma:16M,normal:16M,highmem", "entry \"normal:16M\": the end 16M is not above the zone's start, 16M" },
        { "dma:16M,normal:8M,highmem", "entry \"normal:8M\": the end 8M is not above the zone's start, 16M" },
        { "normal:16M,highmem:12M", "entry \"highmem:12M\": the end 12M is not above the zone's start, 16M" },
        { "dma:1024G,normal", "entry \"dma:1024G\": the end 1024G is beyond the 129024M that can be addressed" },
        { "dma:16M,normal:112M", "entry \"normal:112M\": the last zone ends at 112M, and RAM only at 256M" },
        { "normal:112M,highmem:252M", "entry \"highmem:252M\": the last zone ends at 252M, and RAM only at 256M" },
    };
    const struct zone_layout untouched = { .low = NULL, .normal_start = 1, .normal_end = 2 };

    for (unsigned i = 0; i < array_count(bad); i++) {
        struct zone_layout layout = untouched;
        struct zone_layout_error error = { "" };
        bool is_told = EXPECT_EQ(parse(bad[i].text, &layout, &error), -EINVAL);

        is_told &= EXPECT_EQ(strncmp(error.text, "boot argument zones: entry \"", 28), 0);
        is_told &= EXPECT(strstr(error.text, bad[i].says) != NULL);
        is_told &= EXPECT_NULL(strchr(error.text, '\n'));
        is_told &= EXPECT(layout.low == NULL && layout.normal_start == 1 && layout.normal_end == 2);
        if (!is_told)
            ktest_note("zones=%s: %s", bad[i].text, error.text);
    }
}

// Whatever the text, the answer is a layout whose bounds are whole blocks in order, or a line that fits.
KTEST(zone_layout, survives_random_texts)
{
    static const char *const words[] = { "dma", "normal", "highmem", ":", ",", "16M", "112M", "4M", "0", "x", "G",
                                         "flat", "4194304" };

    for (unsigned round = 0; round < ktest_rounds(20000, 1000); round++) {
        struct zone_layout layout = { 0 };
        struct zone_layout_error error;
        char text[96] = "";

        for (uint64_t count = ktest_random_below(9); count > 0; count--) {
            const char *word = words[ktest_random_below(array_count(words))];
            size_t used = strlen(text);
            (void)string_copy(text + used, word, sizeof(text) - used);
        }
        memset(error.text, 'x', sizeof(error.text));
        if (parse(text, &layout, &error) == 0) {
            EXPECT_LT(layout.normal_start, layout.normal_end);
            EXPECT(is_aligned(layout.normal_start | layout.normal_end, 1UL << MAX_ORDER));
        } else {
            EXPECT_LT(strnlen(error.text, sizeof(error.text)), sizeof(error.text));
        }
    }
}

// Start-up takes its memory from NORMAL, and from DMA32 as well.
KTEST(zone_layout, boot_window_leaves_dma_and_highmem)
{
    static const struct { const char *text; uint64_t low, high; } windows[] = {
        { "riscv64", 0, ARCH_PHYS_LIMIT },
        { "flat", 0, ARCH_PHYS_LIMIT },
        { "x86-32", BASE + MB(16), BASE + MB(896) },
        { "normal:16M,highmem", 0, BASE + MB(16) },
        { "dma:16M,normal", BASE + MB(16), ARCH_PHYS_LIMIT },
    };

    for (unsigned i = 0; i < array_count(windows); i++) {
        struct zone_layout layout = { 0 };
        struct zone_layout_error error;
        paddr_t low = paddr(1), high = paddr(1);

        EXPECT_EQ(parse(windows[i].text, &layout, &error), 0);
        zone_layout_boot_window(&layout, &low, &high);
        EXPECT_EQ(low.value, windows[i].low);
        EXPECT_EQ(high.value, windows[i].high);
    }
}
