// The harts' lists of free blocks: their memory, their limits, and how they are emptied from elsewhere.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_lists.h>

#include <arch/smp.h>
#include <mm/page_depot.h>
#include <mm/page_engine.h>
#include <mm/page_zero.h>
#include <sync/preempt.h>

// Room for the lists: one slot more in each for the NULL at the bottom. Homes of MOBILITY_ATOMIC have none, but
// for the list of zeroed pages.
#define SMALL_HOMES (ZONE_COUNT * (MOBILITY_COUNT - 1) - 1)
#define SUM(slots) (slots(0) + slots(1) + slots(2) + slots(3) + slots(4) + slots(5) + slots(6) + PAGE_LIST_ORDERS)
#define ZEROED_SLOTS (1 + PAGE_LIST_SMALL_SLOTS(0))
#define ALL_SLOTS (SUM(PAGE_LIST_SLOTS) + SMALL_HOMES * SUM(PAGE_LIST_SMALL_SLOTS) + ZEROED_SLOTS)

// No more than a quarter of a zone in all lists of all harts: a sixth in those of one mobility and a quarter of that in
// each other's. Of a hart's part single pages have as much as four other orders.
#define ZONE_SHARE 6
#define ORDER_SHARES (PAGE_LIST_ORDERS + 3)

_Static_assert(PAGE_LIST_ORDERS == 7, "the slots are summed order by order");

struct page_lists {
    struct page_list list[PAGE_LIST_HOMES * PAGE_LIST_ORDERS];
    struct page *slots[ALL_SLOTS];
};

static PER_HART struct page_lists page_lists;

static bool is_enabled;                        // (C)
static unsigned block_count;                   // (A)

// What harts ask of each other.
enum { ASK_DRAIN, ASK_TRIM, ASKS };
static uint64_t asked[ASKS][MAX_HARTS];        // (A)
static uint64_t done[ASKS][MAX_HARTS];         // (A)

static void (*drain_upper)(void), (*trim_upper)(void);         // (C)

void page_lists_set_upper(void (*drain)(void), void (*trim)(void))
{
    drain_upper = drain;
    trim_upper = trim;
}

bool page_lists_may_hold(void)
{
    return __atomic_load_n(&is_enabled, __ATOMIC_RELAXED) && __atomic_load_n(&block_count, __ATOMIC_RELAXED) == 0;
}

static unsigned order_of(unsigned index) { return index % PAGE_LIST_ORDERS; }
static unsigned home_of(unsigned index) { return index / PAGE_LIST_ORDERS; }

static bool is_zeroed(unsigned index) { return index == PAGE_LIST_ZEROED * PAGE_LIST_ORDERS; }

// Blocks that the list may hold on this machine.
static uint64_t capacity_of(unsigned index)
{
    unsigned home = home_of(index), order = order_of(index);
    uint64_t pages = home_zone(home)->managed_pages / ZONE_SHARE / MAX_HARTS * (order == 0 ? 4 : 1) / ORDER_SHARES;

    if (home % MOBILITY_COUNT == MOBILITY_ATOMIC && !(is_zeroed(index) && page_zero_is_on()))
        return 0;
    return home == 0 ? min_of(PAGE_LIST_SLOTS(order), pages >> order)
                     : min_of(PAGE_LIST_SMALL_SLOTS(order), pages / 4 >> order);
}

static void set_limit(struct page_list *list, unsigned index)
{
    uint64_t capacity = page_lists_may_hold() ? capacity_of(index) : 0;

    list->limit = list->bottom + capacity;
    if (is_zeroed(index))
        *list->bottom = capacity > 0 ? MEMMAP : NULL;
    list->batch_most = (uint16_t)min_of(max_of(capacity / 2, 1UL), (uint64_t)PAGE_BATCH_MAX);
    list->batch_least = (uint16_t)max_of(capacity / 32, 1UL);
    list->batch = list->batch_least;
}

void page_lists_init_hart(void)
{
    struct page_lists *lists = &arch_this_hart(page_lists);
    struct page **slot = lists->slots;

    for (unsigned index = 0; index < array_count(lists->list); index++) {
        unsigned home = home_of(index), order = order_of(index);
        struct page_list *list = &lists->list[index];

        list->top = list->bottom = slot;
        if (is_zeroed(index))
            slot += ZEROED_SLOTS;
        else if (home % MOBILITY_COUNT != MOBILITY_ATOMIC)
            slot += 1 + (home == 0 ? PAGE_LIST_SLOTS(order) : PAGE_LIST_SMALL_SLOTS(order));
        set_limit(list, index);
    }
    ASSERT(slot <= lists->slots + ALL_SLOTS);
    hart_local_write(page_lists, (void *)lists->list);
}

void page_lists_init(bool enabled)
{
    is_enabled = enabled;
    page_depots_init(enabled);
    page_lists_drain();
}

// Doubles while the direction stays, and starts again from the least when it turns.
static unsigned next_batch(struct page_list *list, bool is_refilling)
{
    list->batch = list->is_refilling == is_refilling ? (uint16_t)min_of(2U * list->batch, (unsigned)list->batch_most)
                                                     : list->batch_least;
    list->is_refilling = is_refilling;
    return list->batch;
}

unsigned page_list_refill_count(struct page_list *list)
{
    return (unsigned)min_of((uint64_t)next_batch(list, true), (uint64_t)(list->limit - list->top));
}

unsigned page_list_relief_count(struct page_list *list)
{
    return (unsigned)min_of((uint64_t)next_batch(list, false), (uint64_t)(list->top - list->bottom));
}

// Gives a batch of a list's blocks back; returns how many. Interrupts are masked.
static unsigned give_batch(struct page_list *list, unsigned index)
{
    unsigned count = (unsigned)min_of((uint64_t)(list->top - list->bottom), (uint64_t)PAGE_BATCH_MAX);

    if (count > 0)
        count = page_engine->give(home_zone(home_of(index)), order_of(index), count, list->top + 1 - count);
    list->top -= count;
    return count;
}

static void drain_list(struct page_list *list, unsigned index)
{
    unsigned given;

    do {
        irqflags_t flags = arch_irq_save();
        given = give_batch(list, index);
        set_limit(list, index);
        arch_irq_restore(flags);
    } while (given > 0);
}

bool page_lists_give_some(void)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(0, 0);
    unsigned given = 0;

    for (unsigned index = 0; index < PAGE_LIST_HOMES * PAGE_LIST_ORDERS && given == 0; index++)
        given = give_batch(&list[index], index);
    arch_irq_restore(flags);
    return given > 0 || page_depot_give_some(&page_depot) || page_depot_give_some(&page_depot_zeroed);
}

static void drain_depot(void)
{
    while (page_depot_give_some(&page_depot) || page_depot_give_some(&page_depot_zeroed)) {
    }
}

void page_lists_drain(void)
{
    if (drain_upper != NULL)
        drain_upper();
    preempt_disable();
    struct page_list *list = hart_local_read(page_lists);
    for (unsigned index = 0; index < PAGE_LIST_HOMES * PAGE_LIST_ORDERS; index++)
        drain_list(&list[index], index);
    preempt_enable();
    drain_depot();
}

static void answer(unsigned what, void (*act)(void))
{
    unsigned hart = arch_hart_index();
    uint64_t ticket = __atomic_load_n(&asked[what][hart], __ATOMIC_ACQUIRE);

    if (ticket == done[what][hart])
        return;
    act();
    __atomic_store_n(&done[what][hart], ticket, __ATOMIC_RELEASE);
}

void page_lists_interrupt(void)
{
    answer(ASK_DRAIN, page_lists_drain);
    answer(ASK_TRIM, trim_upper);
}

// What `done` of each hart has to reach. The caller stays on its hart.
static void ask_others(unsigned what, uint64_t ticket[MAX_HARTS])
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        if (hart == arch_hart_index())
            continue;
        ticket[hart] = __atomic_add_fetch(&asked[what][hart], 1, __ATOMIC_ACQ_REL);
        arch_ipi_send(hart, IPI_DRAIN);
    }
}

static void wait_for_others(unsigned what, const uint64_t ticket[MAX_HARTS])
{
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        for (unsigned round = 0; __atomic_load_n(&done[what][hart], __ATOMIC_ACQUIRE) < ticket[hart]; round++)
            arch_relax(round);
}

void page_lists_request_drain(void)
{
    uint64_t ticket[MAX_HARTS];

    preempt_disable();
    ask_others(ASK_DRAIN, ticket);
    preempt_enable();
    drain_depot();
}

void page_lists_trim_upper(bool waits)
{
    uint64_t ticket[MAX_HARTS] = { 0 };

    preempt_disable();
    ask_others(ASK_TRIM, ticket);
    trim_upper();
    preempt_enable();
    if (waits)
        wait_for_others(ASK_TRIM, ticket);
}

void page_lists_drain_all(void)
{
    uint64_t ticket[MAX_HARTS] = { 0 };

    preempt_disable();
    ask_others(ASK_DRAIN, ticket);
    page_lists_drain();
    preempt_enable();
    wait_for_others(ASK_DRAIN, ticket);
    // What they left there before they were asked.
    drain_depot();
}

void page_lists_block(void)
{
    __atomic_fetch_add(&block_count, 1, __ATOMIC_SEQ_CST);
    page_lists_drain_all();
}

void page_lists_unblock(void)
{
    __atomic_fetch_sub(&block_count, 1, __ATOMIC_SEQ_CST);
    page_lists_drain_all();
}

uint64_t page_lists_zeroed_pages(unsigned hart)
{
    const struct page_list *list = &per_hart_of(page_lists, hart)->list[PAGE_LIST_ZEROED * PAGE_LIST_ORDERS];

    return (uint64_t)(__atomic_load_n(&list->top, __ATOMIC_RELAXED) - list->bottom);
}

uint64_t page_lists_pages(const struct zone *zone)
{
    uint64_t pages = zone == &zones[zone_of_kernel]
                         ? page_depot_pages(&page_depot) + page_depot_pages(&page_depot_zeroed) : 0;

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        const struct page_lists *lists = per_hart_of(page_lists, hart);
        for (unsigned index = 0; index < array_count(lists->list); index++) {
            const struct page_list *list = &lists->list[index];
            if (home_zone(home_of(index)) == zone)
                pages += (uint64_t)(__atomic_load_n(&list->top, __ATOMIC_RELAXED) - list->bottom) << order_of(index);
        }
    }
    return pages;
}
