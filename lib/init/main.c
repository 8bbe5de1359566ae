// Start-up, in order: the only code that knows everything.
// SPDX-License-Identifier: BSD-2-Clause
//
//   boot stack, early tables     device tree, boot arguments, memblock, the kernel's own tables
//   boot stack, own tables       memmap and zones, slab, kmalloc, vmalloc, the board
//   idle thread's own stack      scheduler; the init thread
//   init thread                  the other harts, init memory freed, the boot report, the boot mode
//
// Whatever is wrong with what the firmware or the user gave is told with its name and value, and ends the machine with
// EXIT_BAD_INPUT.

#include "boot_mode.h"
#include "bootargs.h"
#include "image.h"
#include "report.h"
#include <arch/cpu.h>
#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/trap.h>
#include <arch/uaccess.h>
#include <arch/upcalls.h>
#include <base/errno.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/panic.h>
#include <debug/stack_meter.h>
#include <mm/kernel_map.h>
#include <mm/kmap.h>
#include <mm/guard_memory.h>
#include <mm/kmalloc.h>
#include <mm/kstack.h>
#include <mm/kstack_cache.h>
#include <mm/kswapd.h>
#include <mm/memblock.h>
#include <mm/page_history.h>
#include <mm/magazine.h>
#include <mm/page_lists.h>
#include <mm/page_zero.h>
#include <mm/pgtable.h>
#include <mm/slab.h>
#include <mm/slab_debug.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>
#include <platform/board.h>
#include <platform/fdt.h>
#include <platform/machine.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/sched.h>
#include <task/timer.h>
#include <task/watchdog.h>
#include <task/workqueue.h>

// The device tree may be read up to this size until it has told its own.
#define DEVICE_TREE_MAX_BYTES MB(2)

// What start-up allocates until the boot mode runs, measured and rounded up: the caches' first slabs, the reserve that
// the watermarks hold back, tables; and four stacks and a block of per-hart data for each hart.
#define START_UP_BYTES max_of(KB(640), 16 * PAGE_SIZE)
#define START_UP_BYTES_PER_HART (4 * KERNEL_STACK_SIZE + max_of(KB(16), PAGE_SIZE))

BOOTARG_U64(seed, 0, UINT64_MAX, 1, "", "what tests, studies and benchmarks draw their random numbers from");
BOOTARG_U64(slice_us, 1, 1000000, 10000, "us", "how long a thread runs while others of its priority wait");
BOOTARG_U64(jitter_us, 0, 1000000, 0, "us",
            "random part of each slice; more than 0: ticks on every busy hart, and choices drawn by lot, from seed=");
BOOTARG_U64(watchdog, 0, 3600, 30, "s", "how long a hart may be deaf or a thread not let go; 0: for ever");
BOOTARG_TEXT(filter, 1792, "*", "tests or benchmarks to run: patterns with * and ?, separated by commas");
BOOTARG_CHOICE(prezero, "off|on", 0, "whether idle harts clear pages in advance for those who want them zeroed");
BOOTARG_CHOICE(stack_meter, "off|on", 0, "whether interrupts tell how much of a stack they need");
BOOTARG_CHOICE(slab_check, "none|cheap", 0, "whether each free looks if an object starts there");
BOOTARG_TEXT(slab_debug, 200, "none", "errors that caches look for: FLAGS[,CACHE...], flags F Z P U Gn");
BOOTARG_CHOICE(init_on_alloc, "0|1", 0, "whether objects are cleared when they are allocated");
BOOTARG_CHOICE(init_on_free, "0|1", 0, "whether objects are cleared when they are freed");
BOOTARG_CHOICE(objects, "magazines|none", 0, "what stands on every hart in front of the slabs");
BOOTARG_CHOICE(pcp, "on|off", 0, "whether every hart keeps lists of free pages in front of the zones");
BOOTARG_CHOICE(tlb, "ipi|sbi", 0, "how flushes reach other harts: by the kernel's own interrupts or the firmware");
BOOTARG_CHOICE(log, "error|warn|info|debug", CONFIG_LOG_LEVEL, "log lines shown");
BOOTARG_TEXT(zones, 64, "riscv64", "zones: riscv64, x86-32, flat, or a list such as dma:16M,normal:112M,highmem");
BOOTARG_TEXT(mode, 16, "shell", "what to do when the kernel is up: shell, test, bench, study, stress");

extern const struct boot_mode __boot_modes_start[], __boot_modes_end[];

static struct machine machine;
static paddr_t device_tree_phys;
static uint64_t device_tree_bytes;
static uint64_t boot_instructions;     // (C) from entry to a working allocator

static _Noreturn void refuse(const char *format, ...) printf_like(1, 2);

static _Noreturn void refuse(const char *format, ...)
{
    char text[MACHINE_TEXT_BYTES + 128];
    va_list args;

    va_start(args, format);
    format_text_va(text, sizeof text, format, args);
    va_end(args);
    console_print("quire: cannot start: %s\n", text);
    plat_exit(EXIT_BAD_INPUT);
}

static init_code void read_device_tree(uint64_t hart_id)
{
    static struct fdt fdt;
    static struct machine_error why;
    struct fdt_error error;

    if (device_tree_phys.value == 0 || device_tree_phys.value >= ARCH_PHYS_LIMIT - DEVICE_TREE_MAX_BYTES)
        refuse("device tree at %#lx: outside of what can be addressed", device_tree_phys.value);
    if (fdt_check(phys_to_virt(device_tree_phys), DEVICE_TREE_MAX_BYTES, &fdt, &error) != 0)
        refuse("device tree at %#lx: %s (offset %#x, value %#lx)", device_tree_phys.value, error.what, error.offset,
               error.value);
    device_tree_bytes = fdt.size_bytes;

    const struct machine_limits limits = {
        .boot_hart = hart_id, .max_harts = MAX_HARTS, .phys_limit = ARCH_PHYS_LIMIT,
    };
    if (!machine_parse(&fdt, &limits, &machine, &why))
        refuse("device tree: %s", why.text);
    if (machine.finisher)
        plat_set_early_finisher(machine.finisher);
}

static init_code const struct boot_mode *read_boot_arguments(void)
{
    static struct bootargs_error error;

    if (bootargs_parse(machine.bootargs, &error) != 0)
        refuse("%s", error.text);
    klog_set_level((enum klog_level)bootarg_choice("log"));
    for (const struct boot_mode *mode = __boot_modes_start; mode < __boot_modes_end; mode++)
        if (strcmp(mode->name, bootarg_text("mode")) == 0)
            return mode;
    refuse("boot argument mode=%s: there is no such mode", bootarg_text("mode"));
}

static init_code void reserve(const char *what, paddr_t start, uint64_t bytes, enum page_type owner)
{
    int error = memblock_reserve(start, bytes, owner);
    if (error != 0)
        refuse("memory of the %s, %#lx + %#lx, cannot be reserved: error %d", what, start.value, bytes, error);
}

static init_code bool ram_holds(paddr_t start, uint64_t bytes)
{
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        if (start.value >= ram->start && bytes <= ram->size && start.value - ram->start <= ram->size - bytes)
            return true;
    }
    return false;
}

// A range that somebody else holds must not be the initrd's: its contents would be lost, or be ours.
static init_code void check_initrd(const char *what, paddr_t start, uint64_t bytes)
{
    uint64_t initrd = machine.initrd_start, initrd_bytes = machine.initrd_size_bytes;

    if (initrd_bytes != 0 && initrd < start.value + bytes && start.value < initrd + initrd_bytes)
        refuse("the initrd, %#lx + %#lx, overlaps the %s, %#lx + %#lx", initrd, initrd_bytes, what, start.value,
               bytes);
}

static init_code bool is_reserved(uint64_t address)
{
    for (unsigned i = 0; i < memblock_reserved.count; i++)
        if (address - memblock_reserved.range[i].start < memblock_reserved.range[i].size)
            return true;
    return false;
}

static init_code bool has_ram_between(uint64_t low, uint64_t high)
{
    for (unsigned i = 0; i < memblock_ram.count; i++)
        if (memblock_ram.range[i].start < high && memblock_ram.range[i].start + memblock_ram.range[i].size > low)
            return true;
    return false;
}

// Chooses where the zones lie, and with that where start-up takes memory from now on.
static init_code void lay_out_zones(void)
{
    static struct zone_layout_error error;
    const struct kernel_image *image = image_describe();
    uint64_t image_end = image->phys.value + (image->end.value - image->start.value);
    paddr_t low, high;

    if (zone_layout_parse(bootarg_text("zones"), paddr(memblock_ram.range[0].start), memblock_ram_end(), &zone_layout,
                          &error) != 0)
        refuse("%s", error.text);
    if (image_end > highmem_start().value)
        refuse("boot argument zones=%s: the kernel image, %#lx + %#lx, would lie in HIGHMEM, from %#lx on",
               bootarg_text("zones"), image->phys.value, image_end - image->phys.value, highmem_start().value);
    zone_layout_boot_window(&zone_layout, &low, &high);
    if (!has_ram_between(low.value, high.value))
        refuse("boot argument zones=%s: no RAM is left for the kernel in NORMAL, %#lx to %#lx", bootarg_text("zones"),
               low.value, high.value);
    memblock_set_window(low, high);
}

// In HIGHMEM the device tree would have no address. The early tables still show it there.
static init_code void move_device_tree(void)
{
    paddr_t copy;

    if (device_tree_phys.value + device_tree_bytes <= highmem_start().value)
        return;
    // Of a tree that begins below HIGHMEM, nothing is overwritten.
    if (!memblock_alloc(device_tree_bytes, MMU_PAGE_SIZE, device_tree_phys, PAGE_FIRMWARE, &copy))
        refuse("boot argument zones=%s: no memory below HIGHMEM for the device tree of %lu bytes",
               bootarg_text("zones"), device_tree_bytes);
    memcpy(phys_to_virt(copy), phys_to_virt(device_tree_phys), device_tree_bytes);
    device_tree_phys = copy;
}

// The early tables show all of the physical window, so a range that ends past the memory that is there can be told
// here, and need not become a fault somewhere later.
static init_code void probe_ram(void)
{
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        uint64_t last = ram->start + ram->size - 1;
        uint8_t value;
        if (!is_reserved(last) && !arch_probe_read(phys_to_virt(paddr(last)), &value))
            refuse("RAM %#lx + %#lx: there is no memory at %#lx", ram->start, ram->size, last);
    }
}

static init_code void describe_memory(void)
{
    const struct kernel_image *image = image_describe();
    uint64_t image_bytes = image->end.value - image->start.value;

    for (unsigned i = 0; i < machine.ram_count; i++) {
        int error = memblock_add(paddr(machine.ram[i].start), machine.ram[i].size_bytes);
        if (error != 0)
            refuse("RAM %#lx + %#lx cannot be used: error %d", machine.ram[i].start, machine.ram[i].size_bytes, error);
    }
    if (!ram_holds(image->phys, image_bytes))
        refuse("the kernel image, %#lx + %#lx, does not lie in RAM", image->phys.value, image_bytes);
    check_initrd("kernel image", image->phys, image_bytes);
    check_initrd("device tree", device_tree_phys, device_tree_bytes);

    for (unsigned i = 0; i < machine.reserved_count; i++)
        reserve(machine.reserved[i].name, paddr(machine.reserved[i].start), machine.reserved[i].size_bytes,
                PAGE_FIRMWARE);
    reserve("kernel image", image->phys, image_bytes, PAGE_IMAGE);
    reserve("initrd", paddr(machine.initrd_start), machine.initrd_size_bytes, PAGE_INITRD);
    probe_ram();
    lay_out_zones();
    move_device_tree();
    reserve("device tree", device_tree_phys, device_tree_bytes, PAGE_FIRMWARE);
}

// The board's finisher stays reachable between the early tables and plat_init, so that a panic can end the machine.
static init_code void map_kernel(void)
{
    paddr_t finisher = paddr(align_down(machine.finisher, MMU_PAGE_SIZE));

    if (kernel_map_init(image_describe()) != 0 ||
        (machine.finisher && pgtable_map(&kernel_pgtable, vaddr_of(phys_to_virt(finisher)), finisher, MMU_PAGE_SIZE,
                                         PROT_KERNEL_IO, 0) != 0))
        refuse("%lu KB of RAM are too little for the memory map, with zones=%s", memblock_ram_bytes() >> 10,
               bootarg_text("zones"));
    arch_mmu_activate(kernel_pgtable.root);
}

static init_code void unmap_early_finisher(void)
{
    vaddr_t at = vaddr_of(phys_to_virt(paddr(align_down(machine.finisher, MMU_PAGE_SIZE))));

    if (!machine.finisher)
        return;
    pgtable_unmap(&kernel_pgtable, at, MMU_PAGE_SIZE);
    // Privileged specification 20211203, section 4.2.1: a leaf was changed, and no RAM is there.
    tlb_flush_kernel(at, MMU_PAGE_SIZE, TLB_UNMAP);
}

static init_code void start_allocators(void)
{
    page_history_init();
    zones_init();
    stack_meter_is_on = bootarg_choice("stack_meter") == 1;
    page_zero_init(bootarg_choice("prezero") == 1);
    page_lists_init(bootarg_choice("pcp") == 0);
    uint64_t free_kb = zones_free_direct_pages() * PAGE_SIZE >> 10;
    uint64_t needed_kb = (START_UP_BYTES + machine.hart_count * START_UP_BYTES_PER_HART) >> 10;
    if (free_kb < needed_kb)
        refuse("%lu KB of RAM are free behind the kernel, too little: start-up needs %lu KB, with zones=%s", free_kb,
               needed_kb, bootarg_text("zones"));
    pgtable_use_granules(&kernel_pgtable);
    const char *refused = slab_debug_init(bootarg_text("slab_debug"));
    if (refused != NULL)
        refuse("boot argument slab_debug: \"%s\": %s", bootarg_text("slab_debug"), refused);
    slab_clear_init(bootarg_choice("init_on_alloc") == 1, bootarg_choice("init_on_free") == 1);
    slab_init(bootarg_choice("slab_check") == 1);
    magazines_init(bootarg_choice("objects") == 0);
    kmalloc_init();
    vmalloc_init();
    if (!guard_memory_init())
        refuse("no memory for the window of guarded objects, which slab_debug=%s asks for", bootarg_text("slab_debug"));
    kmap_init();
    kstack_cache_init();
    boot_instructions = arch_instructions() - boot_instructions;
}

// What every hart has; the port asks for extensions by name.
static init_code void describe_harts(void)
{
    char isa[MACHINE_TEXT_BYTES] = "rv64_";
    size_t length = strlen(isa);

    machine_feature_names(machine.features, isa + length, sizeof isa - length);
    for (char *at = isa; *at; at++)
        if (*at == ' ')
            *at = '_';
    arch_cpu_init(isa, machine.timebase_hz);
    if (arch_tlb_set_remote(bootarg_choice("tlb")) != 0)
        refuse("boot argument tlb=%s: this firmware has no remote fences", bootarg_text("tlb"));
}

static init_code void start_harts(void)
{
    for (unsigned i = 1; i < machine.hart_count; i++) {
        uint64_t id = machine.hart[i].id;
        void *block = kmalloc(1UL << (64 - __builtin_clzl(arch_hart_block_bytes() - 1)), GFP_KERNEL);
        char *stack = kstack_alloc();
        char *overflow_stack = kstack_alloc();

        int error = -ENOMEM;
        if (block && stack && overflow_stack) {
            stack_mark(stack);
            error = arch_hart_start(id, block, stack + KERNEL_STACK_SIZE, overflow_stack + KERNEL_STACK_SIZE);
        }
        if (error != 0)
            refuse("hart %lu does not start: error %d", id, error);
        // It counts as running now, but its run queue may not be ready yet.
        for (unsigned round = 0; !sched_hart_is_there(i); round++)
            arch_relax(round);
    }
}

uint64_t report_boot_instructions(void)
{
    return boot_instructions;
}

static bool work_of_idle_harts(void)
{
    static uint64_t next_trim;
    uint64_t now = arch_time(), due = __atomic_load_n(&next_trim, __ATOMIC_RELAXED);

    if (now >= due && __atomic_compare_exchange_n(&next_trim, &due, now + arch_timer_hz(), false, __ATOMIC_RELAXED,
                                                  __ATOMIC_RELAXED))
        kmem_cache_trim_all();
    return page_zero_one();
}

static void start_kswapd(void)
{
    struct thread *thread = thread_create("kswapd", kswapd_main, NULL);

    if (!thread)
        panic("no memory for kswapd");
    thread_detach(thread);
}

static void run_init(void *argument)
{
    const struct boot_mode *mode = argument;

    start_harts();
    sched_start();
    bottom_half_init();
    workqueue_init();
    start_kswapd();
    // Cases look at magazines to the object.
    if (strcmp(bootarg_text("mode"), "test") != 0)
        sched_set_idle_work(work_of_idle_harts);
    watchdog_init(bootarg_u64("watchdog"));
    uint64_t init_bytes = kernel_map_free_init(image_describe());
    zones_settle();
    report_boot(&machine, init_bytes, boot_instructions);
    plat_exit(mode->run());
}

static const struct boot_mode *chosen_mode;

static void run_idle(void *stack)
{
    sched_init_hart(stack);
    sched_configure(bootarg_u64("slice_us"), bootarg_u64("jitter_us"), bootarg_u64("seed"));
    panic_set_describer(thread_name_on);
    panic_set_stack_finder(thread_find_stack);
    panic_set_stack_of_hart(thread_stack_on);

    char *overflow_stack = kstack_alloc();
    if (!overflow_stack || !thread_create_on(0, "init", run_init, (void *)(uintptr_t)chosen_mode))
        panic("no memory for the first thread");
    arch_hart_set_overflow_stack(overflow_stack + KERNEL_STACK_SIZE);
    sched_idle();
}

init_code _Noreturn void upcall_boot(uint64_t hart_machine_id, paddr_t device_tree)
{
    static struct arch_context boot_context, idle_context;

    boot_instructions = arch_instructions();
    device_tree_phys = device_tree;
    panic_set_exit(plat_exit);
    read_device_tree(hart_machine_id);
    chosen_mode = read_boot_arguments();
    describe_harts();
    describe_memory();
    map_kernel();
    if (boot_test != NULL)
        boot_test();
    start_allocators();

    if (plat_init(&machine) != 0)
        refuse("no memory to map the board's devices");
    unmap_early_finisher();

    char *stack = kstack_alloc();
    if (!stack)
        refuse("no memory for the first stack");
    stack_mark(stack);
    arch_context_init(&idle_context, stack + KERNEL_STACK_SIZE, run_idle, stack);
    arch_context_switch(&boot_context, &idle_context);
    panic("the boot stack runs again");
}

// The stack is the one that start_harts took, and stays this hart's idle stack.
_Noreturn void upcall_hart_started(void)
{
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

    page_lists_init_hart();
    magazines_init_hart();
    sched_init_hart((void *)align_down(sp, KERNEL_STACK_SIZE));
    sched_idle();
}

// Giving blocks back takes longer than interrupts should be masked.
static void drain_lists(struct tasklet *tasklet unused_arg)
{
    page_lists_interrupt();
}

static struct tasklet drain_tasklets[MAX_HARTS] = { [0 ... MAX_HARTS - 1] = TASKLET_INIT(drain_lists) };

void upcall_ipi(unsigned reasons)
{
    if (reasons & IPI_HALT)
        panic_halt_hart();
    if (reasons & IPI_CALL)
        hart_call_interrupt();
    if (reasons & IPI_DRAIN)
        tasklet_schedule(&drain_tasklets[arch_hart_index()]);
    if (reasons & IPI_WATCH)
        watchdog_interrupt();
    if (reasons & IPI_WAKE)
        sched_interrupt();
}

void upcall_timer(void)
{
    timer_interrupt();
}

void upcall_external_interrupt(void)
{
    plat_external_interrupt();
}
