// Red zones, poison and records around objects. Theory: <mm/slab_debug.h>.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/slab_debug.h>

#include "slab_internal.h"

#include <base/string.h>
#include <debug/klog.h>

// The values are Linux's (include/linux/poison.h): people know them by sight.
#define ZONE_FREE 0xbb
#define ZONE_IN_USE 0xcc
#define POISON_FREE 0x6b

#define ZONE_BYTES 8

struct slab_record {
    uint64_t mark;                 // as object_mark says
    uint32_t requested;            // bytes asked for
    uint32_t sum;                  // of a free constructed object
    struct slab_user allocated, freed;     // with U
};

static struct {
    uint32_t flags;                // (C) SLAB_DEBUG_FLAGS
    const char *names;             // (C) behind the flags; NULL: all caches
} setting;

// --- What the boot argument says

static bool names_match(const char *names, const char *name)
{
    while (*names != '\0') {
        const char *end = strchr(names, ',');
        size_t length = end != NULL ? (size_t)(end - names) : strlen(names);
        bool is_prefix = length > 0 && names[length - 1] == '*';
        if (strncmp(names, name, length - is_prefix) == 0 && (is_prefix || name[length] == '\0'))
            return true;
        names += length + (end != NULL);
    }
    return false;
}

const char *slab_debug_init(const char *text)
{
    static const char letters[] = "FZPU";
    uint32_t flags = 0;
    uint64_t interval = 0;

    if (strcmp(text, "none") == 0)
        return NULL;
    for (; *text != '\0' && *text != ',' && *text != 'G'; text++) {
        const char *letter = strchr(letters, *text);
        if (letter == NULL)
            return "its flags are F, Z, P, U and G with a number behind it";
        flags |= SLAB_CONSISTENCY << (letter - letters);
    }
    if (*text == 'G') {
        for (text++; *text >= '0' && *text <= '9' && interval <= SLAB_GUARD_INTERVAL_MAX; text++)
            interval = interval * 10 + (uint64_t)(*text - '0');
        if (interval == 0 || interval > SLAB_GUARD_INTERVAL_MAX)
            return "behind G stands how many objects there are to a guarded one, 1 to 1000000";
        flags |= SLAB_GUARD;
    }
    if (flags == 0 || (*text != '\0' && (*text != ',' || text[1] == '\0')))
        return "it is FLAGS or FLAGS,CACHE,...";
    setting.flags = flags;
    setting.names = *text == ',' ? text + 1 : NULL;
    slab_guard_set_interval(interval);
    return NULL;
}

uint32_t slab_debug_flags(const char *cache_name)
{
    return setting.names == NULL || names_match(setting.names, cache_name) ? setting.flags : 0;
}

// --- The layout

static size_t record_bytes(const struct kmem_cache *cache)
{
    return cache->flags & SLAB_STORE_USER ? sizeof(struct slab_record) : offsetof(struct slab_record, allocated);
}

static bool is_compared(const struct kmem_cache *cache)
{
    return (cache->flags & SLAB_POISON) != 0 && cache->constructor != NULL;
}

static bool is_poisoned(const struct kmem_cache *cache)
{
    return (cache->flags & SLAB_POISON) != 0 && cache->constructor == NULL;
}

size_t slab_debug_lay_out(struct kmem_cache *cache, size_t align)
{
    size_t pristine = is_compared(cache) ? align_up(cache->object_bytes, sizeof(uint64_t)) : 0;

    cache->first_offset = (uint32_t)align;
    cache->record_offset = (uint32_t)align_up(cache->object_bytes, sizeof(uint64_t)) + ZONE_BYTES;
    return align_up(cache->record_offset + record_bytes(cache) + pristine + ZONE_BYTES, align);
}

static struct slab_record *record_of(const struct kmem_cache *cache, const void *object)
{
    return (struct slab_record *)((uintptr_t)object + cache->record_offset);
}

static uint8_t *pristine_of(const struct kmem_cache *cache, const void *object)
{
    return (uint8_t *)record_of(cache, object) + record_bytes(cache);
}

// --- Users

void slab_user_note(struct slab_user *user, const void *caller)
{
    user->when = arch_time();
    user->hart = arch_hart_index();
    user->depth = backtrace_capture((uintptr_t)caller, user->frame, SLAB_USER_FRAMES);
}

void slab_user_print(const struct slab_user *user, const char *did, void (*print)(const char *format, ...))
{
    uint64_t microseconds = user->when / max_of(arch_timer_hz() / 1000000, 1UL);
    char by[SYMBOL_NAME_BYTES + 32];

    if (user->depth == 0)
        return;
    print("  %s on hart %u at %lu.%06lu s by\n", did, user->hart, microseconds / 1000000, microseconds % 1000000);
    for (unsigned i = 0; i < user->depth; i++) {
        symbol_format(by, sizeof(by), user->frame[i]);
        print("    %016lx  %s\n", user->frame[i], by);
    }
}

static void print_users(const struct kmem_cache *cache, const void *object, void (*print)(const char *format, ...))
{
    const struct slab_record *record = record_of(cache, object);

    if (cache->flags & SLAB_STORE_USER) {
        slab_user_print(&record->allocated, "allocated", print);
        slab_user_print(&record->freed, "freed", print);
    }
}

bool slab_print_users(const void *object, void (*print)(const char *format, ...))
{
    const struct page *slab = virt_to_slab(object);
    const struct kmem_cache *cache = slab != NULL ? slab_cache(slab) : NULL;

    if (cache == NULL || !is_debugged(cache) || slab_object_index(cache, slab, object) < 0)
        return false;
    print_users(cache, object, print);
    return true;
}

// --- What is wrong

static void report(const struct kmem_cache *cache, const void *object, const char *what, const uint8_t *at,
                   unsigned expected, size_t wrong)
{
    slab_count_misuse();
    klog_error("slab: %s: %s: object %p of %u bytes, at byte %ld: found %02x, expected %02x, %zu bytes wrong\n",
               cache->name, what, object, cache->object_bytes, (long)(at - (const uint8_t *)object), *at, expected,
               wrong);
    print_users(cache, object, klog_print_error);
}

static void report_sum(const struct kmem_cache *cache, const void *object, uint32_t found, uint32_t expected)
{
    slab_count_misuse();
    klog_error("slab: %s: written after it was freed: object %p of %u bytes: checksum found %08x, expected %08x\n",
               cache->name, object, cache->object_bytes, found, expected);
    print_users(cache, object, klog_print_error);
}

// Whether all bytes from one place of the object to another are `expected`; if not, says so and puts them right.
static bool check_bytes(const struct kmem_cache *cache, void *object, long from, long to, uint8_t expected,
                        const char *what)
{
    uint8_t *byte = (uint8_t *)object, *first = NULL;
    size_t wrong = 0;

    for (long i = from; i < to; i++)
        if (byte[i] != expected) {
            first = first != NULL ? first : byte + i;
            wrong++;
        }
    if (first == NULL)
        return true;
    report(cache, object, what, first, expected, wrong);
    memset(byte + from, expected, (size_t)(to - from));
    return false;
}

static void fill_zones(const struct kmem_cache *cache, void *object, size_t size, uint8_t value)
{
    if (cache->flags & SLAB_RED_ZONE) {
        memset((char *)object - ZONE_BYTES, value, ZONE_BYTES);
        memset((char *)object + size, value, cache->record_offset - size);
    }
}

static bool check_zones(const struct kmem_cache *cache, void *object, size_t size, uint8_t value, const char *below,
                        const char *above)
{
    return (cache->flags & SLAB_RED_ZONE) == 0 ||
           (check_bytes(cache, object, -ZONE_BYTES, 0, value, below) &
            check_bytes(cache, object, (long)size, (long)cache->record_offset, value, above));
}

// Adler's checksum: any byte that changes alone changes it.
static uint32_t sum_of(const struct kmem_cache *cache, const void *object)
{
    const uint8_t *byte = object;
    uint32_t low = 1, high = 0;

    for (uint32_t i = 0; i < cache->object_bytes; i++) {
        low = (low + byte[i]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

static bool check_pristine(const struct kmem_cache *cache, void *object, const char *what)
{
    uint8_t *byte = object, *first = NULL;
    const uint8_t *pristine = pristine_of(cache, object);
    size_t wrong = 0;

    for (uint32_t i = 0; i < cache->object_bytes; i++)
        if (pristine[i] != SLAB_POISON_NEW && byte[i] != pristine[i]) {
            first = first != NULL ? first : byte + i;
            wrong++;
        }
    if (first == NULL)
        return true;
    report(cache, object, what, first, pristine[first - byte], wrong);
    for (uint32_t i = 0; i < cache->object_bytes; i++)
        if (pristine[i] != SLAB_POISON_NEW)
            byte[i] = pristine[i];
    return false;
}

static bool check_free(const struct kmem_cache *cache, void *object)
{
    struct slab_record *record = record_of(cache, object);
    bool is_right = check_zones(cache, object, cache->object_bytes, ZONE_FREE, "written below after it was freed",
                                "written behind after it was freed");

    if (is_poisoned(cache))
        is_right &= check_bytes(cache, object, 0, cache->object_bytes, POISON_FREE, "written after it was freed");
    if (is_compared(cache) && record->sum != sum_of(cache, object)) {
        // Where nothing that the constructor wrote has changed, which byte did is not known.
        if (check_pristine(cache, object, "constructed state written after it was freed"))
            report_sum(cache, object, sum_of(cache, object), record->sum);
        record->sum = sum_of(cache, object);
        is_right = false;
    }
    return is_right;
}

static bool check_in_use(const struct kmem_cache *cache, void *object)
{
    return check_zones(cache, object, record_of(cache, object)->requested, ZONE_IN_USE, "written below its start",
                       "written past its end");
}

static void check_slab(struct kmem_cache *cache, const void *object)
{
    const char *why;

    if ((cache->flags & SLAB_CONSISTENCY) == 0)
        return;
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    bool is_right = slab_is_consistent(cache, virt_to_slab(object), &why);
    spin_unlock_irqrestore(&cache->lock, flags);
    if (!is_right)
        slab_report_bad_call("slab", cache->name, why);
}

// --- The life of an object

static void become_free(const struct kmem_cache *cache, void *object)
{
    fill_zones(cache, object, cache->object_bytes, ZONE_FREE);
    if (is_poisoned(cache))
        memset(object, POISON_FREE, cache->object_bytes);
    if (is_compared(cache))
        record_of(cache, object)->sum = sum_of(cache, object);
}

void slab_debug_construct(struct kmem_cache *cache, void *object)
{
    memset(record_of(cache, object), 0, record_bytes(cache));
    if (cache->constructor != NULL) {
        if (is_compared(cache))
            memset(object, SLAB_POISON_NEW, cache->object_bytes);
        cache->constructor(object);
        if (is_compared(cache))
            memcpy(pristine_of(cache, object), object, cache->object_bytes);
    }
    become_free(cache, object);
}

void slab_debug_alloc(struct kmem_cache *cache, void *object, size_t size, const void *caller)
{
    struct slab_record *record = record_of(cache, object);

    check_slab(cache, object);
    (void)check_free(cache, object);
    record->requested = (uint32_t)size;
    if (is_poisoned(cache))
        memset(object, SLAB_POISON_NEW, size);
    fill_zones(cache, object, size, ZONE_IN_USE);
    if (cache->flags & SLAB_STORE_USER)
        slab_user_note(&record->allocated, caller);
}

void slab_debug_free(struct kmem_cache *cache, void *object, const void *caller)
{
    struct slab_record *record = record_of(cache, object);

    check_slab(cache, object);
    (void)check_in_use(cache, object);
    if (is_compared(cache))
        (void)check_pristine(cache, object, "freed, but not as its constructor left it");
    if (cache->flags & SLAB_STORE_USER)
        slab_user_note(&record->freed, caller);
    become_free(cache, object);
}

void slab_debug_leave(struct kmem_cache *cache, void *object)
{
    (void)check_free(cache, object);
}

size_t slab_debug_requested(const struct kmem_cache *cache, const void *object)
{
    return record_of(cache, object)->requested;
}

void slab_debug_resize(const struct kmem_cache *cache, void *object, size_t size)
{
    (void)check_in_use(cache, object);
    record_of(cache, object)->requested = (uint32_t)size;
    fill_zones(cache, object, size, ZONE_IN_USE);
}

uint64_t *slab_debug_mark(const struct kmem_cache *cache, const void *object)
{
    return &record_of(cache, object)->mark;
}

unsigned kmem_cache_validate(struct kmem_cache *cache)
{
    const uint32_t lists[] = { cache->full, cache->partial, cache->empty };
    unsigned wrong = 0;

    if (!is_debugged(cache))
        return 0;
    for (unsigned list = 0; list < array_count(lists); list++)
        for (uint32_t frame = lists[list]; frame != 0; frame = pfn_to_page(pfn(frame))->next) {
            struct page *slab = pfn_to_page(pfn(frame));
            for (unsigned index = 0; index < cache->objects_per_slab; index++) {
                void *object = slab_object_at(cache, slab, index);
                wrong += slab_object_is_free(cache, slab, index) ? !check_free(cache, object)
                                                                 : !check_in_use(cache, object);
            }
        }
    return wrong;
}

const char *slab_poison_text(uintptr_t address)
{
    // A member's offset may have been added to the pointer.
    switch (address >> 32) {
    case 0x5a5a5a5a: return "a pointer read from memory that nobody has written";
    case 0x6b6b6b6b: return "a pointer read from freed memory";
    default: return NULL;
    }
}
