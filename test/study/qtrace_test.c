// test/study/qtrace.c and crc32.c: a good image is accepted, and every way to lie is refused by name.
// SPDX-License-Identifier: BSD-2-Clause
#include "qtrace.h"

#include "crc32.h"
#include <base/string.h>
#include <ktest/ktest.h>

#define EVENTS 10
#define CACHES 2

struct small_image {
    struct qtrace_header header;
    struct qtrace_cache cache[CACHES];
    struct qtrace_event event[EVENTS];
    uint32_t crc;
} aligned_to(8);

_Static_assert(offsetof(struct small_image, crc) == 144 + CACHES * 48 + EVENTS * 12, "no padding");

#define IMAGE_BYTES (offsetof(struct small_image, crc) + sizeof(uint32_t))

// One of each operation on two harts; slot 0 is used twice, slot 2 lives on.
static const struct small_image good = {
    .header = {
        .magic = { 'Q', 'T', 'R', 'A', 'C', 'E', '\x1a', '\n' }, .version = 1, .header_bytes = 144,
        .total_bytes = IMAGE_BYTES, .name = "small-1", .hart_count = 2, .cache_count = CACHES,
        .slot_count = 3, .event_count = EVENTS, .op_count = { 2, 1, 2, 2, 1, 1, 1 },
        .requested_peak = 200 + 8192 + 12288,
        .requested_final = 200,
    },
    .cache = { { .name = "filp", .object_bytes = 200, .align_bytes = 64 },
               { .name = "a_name_of_29_bytes_:.+-#_xxxx", .object_bytes = 8, .align_bytes = 8, .flags = 1 } },
    .event = {
        { .op = QTRACE_CACHE_ALLOC, .slot = 0, .argument = 1 },
        { .op = QTRACE_KMALLOC, .slot = 1, .argument = 100, .hart = 1, .gfp = QTRACE_GFP_ALL },
        { .op = QTRACE_OBJECT_FREE, .slot = 0, .hart = 1 },
        { .op = QTRACE_PAGE_ALLOC, .slot = 0, .argument = 8192 },
        { .op = QTRACE_OBJECT_FREE, .slot = 1 },
        { .op = QTRACE_AREA_ALLOC, .slot = 1, .argument = 12288 },
        { .op = QTRACE_CACHE_ALLOC, .slot = 2, .argument = 0 },
        { .op = QTRACE_PAGE_FREE, .slot = 0 },
        { .op = QTRACE_AREA_FREE, .slot = 1 },
        { .op = QTRACE_PAGE_ALLOC, .slot = 0, .argument = 4096 },
    },
};

static struct small_image image;
static struct qtrace_error error;

// The good image, to be spoilt.
static void reset(void)
{
    image = good;
    image.header.requested_final += 4096;
}

static void seal(void)
{
    image.crc = crc32_of(0, &image, offsetof(struct small_image, crc));
}

static bool accept(uint64_t bytes)
{
    struct qtrace_slot_check slots[EVENTS];
    struct qtrace trace;

    error.text[0] = '\0';
    return qtrace_open(&image, bytes, 2, &trace, &error) && qtrace_check_events(&trace, slots, &error);
}

// Spoils the good image by the statement, seals it, and expects a refusal with these words.
#define EXPECT_REFUSED(words, statement) \
    do { \
        reset(); \
        statement; \
        seal(); \
        EXPECT(!accept(IMAGE_BYTES)); \
        if (!strstr(error.text, words)) \
            ktest_note("%s", error.text); \
        EXPECT(strstr(error.text, words) != NULL); \
    } while (0)

// The check value of the catalogue, of nothing, and of a text taken in two pieces.
KTEST(crc32, is_that_of_zlib)
{
    EXPECT_EQ(crc32_of(0, "123456789", 9), 0xcbf43926);
    EXPECT_EQ(crc32_of(0, "", 0), 0);
    EXPECT_EQ(crc32_of(crc32_of(0, "1234", 4), "56789", 5), 0xcbf43926);
}

// A good image is accepted, and what is opened leads to its parts.
KTEST(qtrace, accepts_a_good_image)
{
    struct qtrace_slot_check slots[3];
    struct qtrace trace;

    reset();
    seal();
    EXPECT(accept(IMAGE_BYTES));
    EXPECT_STREQ(error.text, "");
    REQUIRE(qtrace_open(&image, IMAGE_BYTES, 2, &trace, &error));
    EXPECT_EQ(trace.crc, image.crc);
    EXPECT_EQ(trace.caches, image.cache);
    EXPECT_EQ(trace.events, image.event);
    REQUIRE(qtrace_check_events(&trace, slots, &error));
    EXPECT_EQ(slots[2].free_op, QTRACE_OBJECT_FREE);
    EXPECT_EQ(slots[2].bytes, 200);
    EXPECT_EQ(qtrace_bytes(&trace, &image.event[0]), 8);
}

// An image that ends early, at any byte, is refused, and so is one with any one bit changed.
KTEST(qtrace, refuses_what_is_not_whole)
{
    reset();
    seal();
    for (uint64_t bytes = 0; bytes < IMAGE_BYTES; bytes++)
        EXPECT(!accept(bytes));
    for (uint64_t bit = 0; bit < IMAGE_BYTES * 8; bit++) {
        uint8_t *byte = (uint8_t *)&image + bit / 8;
        *byte ^= (uint8_t)(1 << bit % 8);
        EXPECT(!accept(IMAGE_BYTES));
        EXPECT_NE(error.text[0], '\0');
        *byte ^= (uint8_t)(1 << bit % 8);
    }
    EXPECT(accept(IMAGE_BYTES));

    struct qtrace trace;
    EXPECT(!qtrace_open((char *)&image + 4, IMAGE_BYTES - 4, 2, &trace, &error));
    EXPECT(strstr(error.text, "multiple of 8") != NULL);
    EXPECT(!qtrace_open(&image, IMAGE_BYTES, 1, &trace, &error));
    EXPECT(strstr(error.text, "hart_count 2, this machine has 1") != NULL);
}

// A header that says what cannot be is refused with the field's name and value, though its CRC is right.
KTEST(qtrace, refuses_a_lying_header)
{
    EXPECT_REFUSED("magic", image.header.magic[0] = 'q');
    EXPECT_REFUSED("version 2", image.header.version = 2);
    EXPECT_REFUSED("header_bytes 140", image.header.header_bytes = 140);
    EXPECT_REFUSED("total_bytes 9", image.header.total_bytes = 9);
    EXPECT_REFUSED("event_count 11", image.header.event_count++);
    EXPECT_REFUSED("cache_count 4294967295", image.header.cache_count = UINT32_MAX);
    EXPECT_REFUSED("name is no text", image.header.name[0] = '\0');
    EXPECT_REFUSED("name is no text", image.header.name[2] = '"');
    EXPECT_REFUSED("name is no text", image.header.name[31] = 'x');
    EXPECT_REFUSED("name is no text", memset(image.header.name, 'x', sizeof image.header.name));
    EXPECT_REFUSED("hart_count 0", image.header.hart_count = 0);
    EXPECT_REFUSED("hart_count 3", image.header.hart_count = 3);
    EXPECT_REFUSED("slot_count 0", image.header.slot_count = 0);
    EXPECT_REFUSED("slot_count 11", image.header.slot_count = 11);
    EXPECT_REFUSED("op_count adds up to 11", image.header.op_count[0]++);
    EXPECT_REFUSED("op_count adds up to 10", (image.header.op_count[0]--, image.header.op_count[7]++));
    EXPECT_REFUSED("op_count[0] 3, but there are 2",
                   (image.header.op_count[0]++, image.header.op_count[1]--));
    EXPECT_REFUSED("requested_peak 20681", image.header.requested_peak++);
    EXPECT_REFUSED("requested_final 4295", image.header.requested_final--);
}

KTEST(qtrace, refuses_a_wrong_cache)
{
    EXPECT_REFUSED("cache 1: its name", image.cache[1].name[4] = ' ');
    EXPECT_REFUSED("cache 1: its name", image.cache[1].name[29] = 'x');
    EXPECT_REFUSED("caches 0 and 1", memcpy(image.cache[1].name, image.cache[0].name, QTRACE_NAME_BYTES));
    EXPECT_REFUSED("object_bytes 0", image.cache[0].object_bytes = 0);
    EXPECT_REFUSED("object_bytes 4194305", image.cache[0].object_bytes = 4194305);
    EXPECT_REFUSED("align_bytes 24", image.cache[0].align_bytes = 24);
    EXPECT_REFUSED("align_bytes 4", image.cache[0].align_bytes = 4);
    EXPECT_REFUSED("align_bytes 8192", image.cache[0].align_bytes = 8192);
    EXPECT_REFUSED("flags 0x2", image.cache[0].flags = 2);
    EXPECT_REFUSED("reserved 1", image.cache[0].reserved = 1);
}

KTEST(qtrace, refuses_a_wrong_event)
{
    EXPECT_REFUSED("event 2: operation 7", image.event[2].op = 7);
    EXPECT_REFUSED("event 2: hart 2", image.event[2].hart = 2);
    EXPECT_REFUSED("event 2: slot 3", image.event[2].slot = 3);
    EXPECT_REFUSED("event 1: gfp 0x80", image.event[1].gfp = 0x80);
    EXPECT_REFUSED("event 1: gfp 0x7f, reserved 1", image.event[1].reserved = 1);
    EXPECT_REFUSED("event 2: a free with argument 1", image.event[2].argument = 1);
    EXPECT_REFUSED("event 2: a free with argument 0 and gfp 0x1", image.event[2].gfp = 1);
    EXPECT_REFUSED("event 0: cache 2", image.event[0].argument = CACHES);
    EXPECT_REFUSED("event 1: kmalloc of 0", image.event[1].argument = 0);
    EXPECT_REFUSED("event 3: a page request of 0", image.event[3].argument = 0);
    EXPECT_REFUSED("event 3: a page request of 2048", image.event[3].argument = 2048);
    EXPECT_REFUSED("event 3: a page request of 12288", image.event[3].argument = 12288);
    EXPECT_REFUSED("event 3: a page request of 8388608", image.event[3].argument = 8388608);
    EXPECT_REFUSED("event 5: an area of 0", image.event[5].argument = 0);
    EXPECT_REFUSED("event 5: an area of 4097", image.event[5].argument = 4097);
    EXPECT_REFUSED("event 1: slot 0 is filled", image.event[1].slot = 0);
    EXPECT_REFUSED("event 2: operation 2 empties slot 2, 0 would", image.event[2].slot = 2);
    EXPECT_REFUSED("event 7: operation 4 empties slot 1, 6 would", image.event[7].slot = 1);
}
