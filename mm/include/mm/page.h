// struct page: 32 bytes for every kernel page of RAM, and the way between its four names.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// The memmap is an array of struct page at a constant virtual address, indexed by page frame number. The
// whole window is backed: where there is no RAM, by one shared read-only granule of zeros, which reads as "no
// page". So finding the struct page of any direct-map address is a shift and an add, with no bounds test.
//
// Memory is owned in blocks of 2^order pages, naturally aligned. Only the head of a block says anything about
// it; every other struct page of the block has type PAGE_TAIL. So taking or freeing a block costs nothing per
// page in it. Free blocks below the order of a group (<mm/page_group.h>) have no head at all: a bit per page in
// the group's mask tells them. A walk over the memmap asks page_run_free first and then the heads, jumps by
// 2^order, and sees every owner.
//
//   type            next, prev          owner               map                    refcount
//   PAGE_TAIL       next: pfn of the    -                   -                      0
//                   head (compound)
//   PAGE_FREE       buddy free list     -                   -                      0
//   PAGE_HART       -                   -                   -                      0
//   PAGE_RAW        user's              user's              user's                 references beyond the first
//   PAGE_SLAB       slab list           struct kmem_cache   free objects, or words objects in use
//   PAGE_KMALLOC    -                   bytes requested     -                      0
//   PAGE_VMALLOC    next: the area's    struct vmalloc_area -                      0
//                   next page
//   PAGE_TABLE      granule pool list   -                   free granules          granules in use
//   PAGE_STACK      granule pool list   -                   free granules          granules in use
//   PAGE_MEMMAP, PAGE_IMAGE, PAGE_FIRMWARE, PAGE_RESERVED, PAGE_INITRD, PAGE_BOOT: order only; for ever, or
//                   until they are given to the page allocator (initialisation code and data)
//
// Type, order, flags, home and reference count are one word, `state`. Whoever frees a block exchanges the state
// of an owned block without further references for that of a block in a hart's list, in one atomic step that
// is the whole check of a free: a second free, another order, the middle of a block, a block that is somebody
// else's and a reference that is still held all have another state. That is why references beyond the first are
// counted: the common state is a small constant.
//
// Behind the head of a free block with PAGE_FLAG_BLANK the struct pages have not been written since start-up;
// they are cleared when the block is taken, so that start-up need not touch the memmap of free memory.
//
// Links are 32-bit page frame numbers; 0 ends a list, since page frame 0 is never RAM that we manage.
// User memory will use owner for the mapping, map for the index, and next/prev for the LRU.
//
// Locking: the owner of a block guards its head's fields; a free block belongs to its zone's lock, one in a
// hart's list to that hart with interrupts masked. A merge looks at the type of a neighbour that may be
// somebody's, so types are stored and loaded atomically.
#pragma once

#include <arch/layout.h>
#include <base/addr.h>
#include <base/assert.h>
#include <mm/page_history.h>

#define MAX_BLOCK_SHIFT 22
#define MAX_ORDER (MAX_BLOCK_SHIFT - PAGE_SHIFT)       // the largest order itself: 10, 9, 8 or 6

enum page_type {
    PAGE_TAIL = 0,         // inside a block, or no RAM at all
    PAGE_FREE,             // in the buddy, a whole group or more
    PAGE_HART,             // in a list of a hart's
    PAGE_RAW,              // handed out by alloc_pages to whoever asked
    PAGE_SLAB,
    PAGE_KMALLOC,          // larger than the largest kmalloc cache
    PAGE_VMALLOC,
    PAGE_TABLE,            // granules of page tables
    PAGE_STACK,            // granules of kernel stacks
    PAGE_MEMMAP,           // the memmap itself
    PAGE_IMAGE,            // the kernel's text, rodata and data
    PAGE_FIRMWARE,         // reserved by the firmware, device tree included
    PAGE_INITRD,
    PAGE_BOOT,             // allocated before the buddy existed, and kept
    PAGE_RESERVED,         // anything else that is not for use
    PAGE_TYPE_COUNT,
};

// "free", "slab", ...: for reports. Never NULL, also for a type that does not exist.
const char *page_type_name(unsigned type);

// Whether the contents can be moved elsewhere, given up on demand, or neither: what can is kept apart from what
// cannot, in page blocks of the largest order, so that large blocks can come back.
enum mobility {
    MOBILITY_UNMOVABLE,
    MOBILITY_MOVABLE,
    MOBILITY_RECLAIMABLE,
    MOBILITY_ATOMIC,       // the reserve for blocks that GFP_ATOMIC asks for; no request names it
    MOBILITY_COUNT,
};

struct page {
    union {
        struct {
            uint8_t type;          // enum page_type
            uint8_t order;         // of the block
            uint8_t flags;         // PAGE_FLAG_
            uint8_t home;          // zone and mobility it was taken for: page_home
            uint32_t refcount;     // what it counts: see the table
        };
        uint64_t state;
    };
    uint32_t next, prev;           // page frame numbers
    void *owner;
    union {
        uint64_t map;
        uint64_t bytes_requested;
    };
};

_Static_assert(sizeof(struct page) == 32, "struct page is a power of two, so that an index is a shift");

enum {
    PAGE_FLAG_COMPOUND = 1 << 0,    // the tails of this block name their head
    PAGE_FLAG_BLANK = 1 << 1,       // free: the struct pages behind this one are not written yet
};

// The state of a block that nobody else refers to.
#define PAGE_STATE(type, order, home) ((uint64_t)(type) | (uint64_t)(order) << 8 | (uint64_t)(home) << 24)

#define MEMMAP ((struct page *)ARCH_MEMMAP_BASE)
#define MAX_PFN (ARCH_PHYS_LIMIT >> PAGE_SHIFT)

static always_inline struct page *pfn_to_page(pfn_t frame) { return MEMMAP + frame.value; }
static always_inline pfn_t page_to_pfn(const struct page *page) { return pfn((uint64_t)(page - MEMMAP)); }
static always_inline paddr_t page_to_phys(const struct page *page) { return pfn_to_paddr(page_to_pfn(page)); }

// The same where `page` is known to be one: the memmap's window is aligned to its size, so its base need not be known.
static always_inline paddr_t memmap_page_to_phys(const struct page *page)
{
    return pfn_to_paddr(pfn((uintptr_t)page % (MAX_PFN * sizeof(struct page)) / sizeof(struct page)));
}

// Physical memory as the direct map shows it. phys_to_virt is for RAM below ARCH_PHYS_LIMIT.
static always_inline void *phys_to_virt(paddr_t address)
{
    return (void *)(address.value + ARCH_DIRECT_BASE);
}
static always_inline bool virt_is_direct(const void *pointer)
{
    // The window is as large as it is aligned, so a shift leaves what all its addresses share.
    _Static_assert(ARCH_DIRECT_BASE % ARCH_PHYS_LIMIT == 0, "the window is aligned to its size");
    const unsigned shift = (unsigned)__builtin_ctzl(ARCH_PHYS_LIMIT);

    return (int64_t)(uintptr_t)pointer >> shift == (int64_t)ARCH_DIRECT_BASE >> shift;
}
static always_inline paddr_t virt_to_phys(const void *pointer)
{
    return paddr((uintptr_t)pointer - ARCH_DIRECT_BASE);
}

// `pointer` is a direct-map address (virt_is_direct); what lies there may be no RAM: then the page is a
// PAGE_TAIL.
static always_inline struct page *virt_to_page(const void *pointer)
{
    // Where the memmap lies, this may well be 0 (<arch/layout.h>).
    const uintptr_t first = (uintptr_t)((int64_t)ARCH_DIRECT_BASE >> PAGE_SHIFT);
    const uintptr_t base = ARCH_MEMMAP_BASE - first * sizeof(struct page);

    return (struct page *)((uintptr_t)((int64_t)(uintptr_t)pointer >> PAGE_SHIFT) * sizeof(struct page) + base);
}
static always_inline void *page_to_virt(const struct page *page)
{
    const uintptr_t base = ARCH_DIRECT_BASE - ARCH_MEMMAP_BASE * (PAGE_SIZE / sizeof(struct page));

    return (void *)((uintptr_t)page * (PAGE_SIZE / sizeof(struct page)) + base);
}

// The head of the block that `page` lies in, when the block is compound or `page` is its head; otherwise
// `page`. Safe on any page: a tail that names a head which no longer covers it is returned as it is.
struct page *page_head(struct page *page);

// How many pages are free from this one on, as far as one look tells: at least 1 when it is free, 0 when it is
// not. Without a lock a hint.
uint64_t page_run_free(const struct page *page);

// Declares who owns a block that alloc_pages gave: PAGE_SLAB, KMALLOC, VMALLOC, TABLE or STACK. The caller
// owns the block. Before it is freed it has to be PAGE_RAW with refcount 0 again: so a stranger cannot free it.
static always_inline void page_set_type(struct page *head, enum page_type type)
{
    __atomic_store_n(&head->type, (uint8_t)type, __ATOMIC_RELAXED);
    page_history_note_here(page_to_pfn(head), PAGE_NOW_TYPE, type);
}

static always_inline enum page_type page_type(const struct page *page)
{
    return (enum page_type)__atomic_load_n(&page->type, __ATOMIC_RELAXED);
}

// One reference more; put_page drops it. The caller has one already.
static inline void page_get(struct page *head)
{
    __atomic_fetch_add(&head->refcount, 1, __ATOMIC_RELAXED);
}

// References of a PAGE_RAW block.
static inline uint64_t page_count(const struct page *head)
{
    return __atomic_load_n(&head->refcount, __ATOMIC_RELAXED) + 1UL;
}
