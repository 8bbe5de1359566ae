// struct page: names of its types, and the way from a tail to its head.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page.h>

const char *page_type_name(unsigned type)
{
    static const char *const names[] = {
        [PAGE_TAIL] = "tail",         [PAGE_FREE] = "free",     [PAGE_HART] = "hart",
        [PAGE_RAW] = "raw",
        [PAGE_SLAB] = "slab",         [PAGE_KMALLOC] = "kmalloc", [PAGE_VMALLOC] = "vmalloc",
        [PAGE_TABLE] = "table",       [PAGE_STACK] = "stack",   [PAGE_MEMMAP] = "memmap",
        [PAGE_IMAGE] = "image",       [PAGE_FIRMWARE] = "firmware", [PAGE_INITRD] = "initrd",
        [PAGE_BOOT] = "boot",         [PAGE_RESERVED] = "reserved",
    };

    _Static_assert(array_count(names) == PAGE_TYPE_COUNT, "every type has a name");
    return type < PAGE_TYPE_COUNT ? names[type] : "unknown";
}

struct page *page_head(struct page *page)
{
    uint64_t frame = page_to_pfn(page).value, head_frame = page->next;
    struct page *head = pfn_to_page(pfn(head_frame));

    if (page->type != PAGE_TAIL || head_frame == 0 || head_frame >= frame)
        return page;
    if (head->type == PAGE_TAIL || !(head->flags & PAGE_FLAG_COMPOUND) ||
        frame - head_frame >= 1UL << head->order)
        return page;
    return head;
}
