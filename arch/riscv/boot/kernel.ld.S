// The kernel's link map: one range of pages for each set of rights, so that none needs more rights than it has.
// SPDX-License-Identifier: BSD-2-Clause
//
//   text, rodata                       stay
//   init: text, data, stacks, tables   given to the page allocator when start-up is over
//   data, bss                          stay
//   ksyms                              symbols and unwind rows; last, so that filling them in moves nothing else
//
// Linked high (ARCH_IMAGE_BASE), loaded low: OpenSBI starts the next stage at a multiple of 2 MB.

#include <port/layout.h>

#define PAGE (1 << CONFIG_PAGE_SHIFT)
#define STACK (CONFIG_KERNEL_STACK_KB * 1024)
#define LOAD_OFFSET (ARCH_IMAGE_BASE - CONFIG_LOAD_ADDRESS)

OUTPUT_ARCH(riscv)
ENTRY(_start)

PHDRS {
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    init_text PT_LOAD FLAGS(5);
    init_data PT_LOAD FLAGS(6);
    data PT_LOAD FLAGS(6);
    ksyms PT_LOAD FLAGS(4);
}

SECTIONS {
    . = ARCH_IMAGE_BASE;
    __kernel_start = .;

    .text : AT(ADDR(.text) - LOAD_OFFSET) {
        __text_start = .;
        KEEP(*(.head.text))
        __restart_start = .;
        *(.text.restart)
        __restart_end = .;
        *(.text .text.*)
        __text_end = .;
    } :text

    . = ALIGN(PAGE);
    .rodata : AT(ADDR(.rodata) - LOAD_OFFSET) {
        __rodata_start = .;
        *(.rodata .rodata.* .srodata .srodata.*)
        . = ALIGN(8);
        __restart_table_start = .;
        KEEP(*(.restart_table))
        __restart_table_end = .;
        __fault_table_start = .;
        KEEP(*(.fault_table))
        __fault_table_end = .;
        __boot_modes_start = .;
        KEEP(*(.boot_modes))
        __boot_modes_end = .;
        __shell_commands_start = .;
        KEEP(*(.shell_commands))
        __shell_commands_end = .;
        __bootargs_start = .;
        KEEP(*(.bootargs))
        __bootargs_end = .;
        __ktest_start = .;
        KEEP(*(.ktest))
        __ktest_end = .;
        __bench_start = .;
        KEEP(*(.bench))
        __bench_end = .;
    } :rodata

    . = ALIGN(PAGE);
    __rodata_end = .;
    .init.text : AT(ADDR(.init.text) - LOAD_OFFSET) {
        __init_text_start = .;
        *(.init.text .init.text.*)
    } :init_text

    . = ALIGN(PAGE);
    __init_data_start = .;
    .init.data : AT(ADDR(.init.data) - LOAD_OFFSET) {
        *(.init.data .init.data.*)
    } :init_data

    // The boot stack starts at a multiple of twice its size, as every kernel stack does; the guard is what lies below.
    .init.bss (NOLOAD) : AT(ADDR(.init.bss) - LOAD_OFFSET) {
        . = ALIGN(PAGE);
        *(.init.bss .init.bss.*)
        . = ALIGN(PAGE);
        __boot_guard_start = .;
        . += 4096;
        . = ALIGN(2 * STACK);
        . = ALIGN(PAGE);
        __boot_stack = .;
        . += STACK;
        __boot_stack_end = .;
        . = ALIGN(2 * STACK);
        __boot_overflow_stack = .;
        . += 4096;
        . = ALIGN(PAGE);
        __init_end = .;
    } :init_data

    .data : AT(ADDR(.data) - LOAD_OFFSET) {
        __data_start = .;
        *(.data .data.* .sdata .sdata.*)
        . = ALIGN(64);
        __boot_hart_block = .;
        . += SIZEOF(.tdata) + SIZEOF(.tbss) + 64;
    } :data

    // Per-hart data: the template that every hart's block starts as. Names in it are offsets from tp.
    .tdata : AT(ADDR(.tdata) - LOAD_OFFSET) ALIGN(64) {
        __tdata_start = .;
        *(.tdata.hart)
        *(.tdata.riscv)
        __tdata_entry_end = .;
        *(.tdata.stacks)
        *(.tdata .tdata.*)
    } :data
    .tbss : AT(ADDR(.tbss) - LOAD_OFFSET) {
        *(.tbss .tbss.*)
    } :data
    __tdata_bytes = SIZEOF(.tdata);
    __hart_block_bytes = ALIGN(SIZEOF(.tdata) + SIZEOF(.tbss) + 64, 64);

    .bss : AT(ADDR(.bss) - LOAD_OFFSET) ALIGN(64) {
        __bss_start = .;
        *(.bss .bss.* .sbss .sbss.* COMMON)
        . = ALIGN(8);
        __bss_end = .;
    } :data

    . = ALIGN(PAGE);
    __data_end = .;
    .ksyms : AT(ADDR(.ksyms) - LOAD_OFFSET) {
        __ksyms_start = .;
        KEEP(*(.ksyms .ksyms.*))
        . = ALIGN(PAGE);
    } :ksyms
    __kernel_end = .;

    // entry.S reaches these with one 12-bit offset from tp, which the linker does not check.
    ASSERT(__tdata_entry_end - __tdata_start < 2048, "the per-hart data of the trap entry are out of its reach")
    ASSERT(__kernel_end - __kernel_start <= 4 * 1024 * 1024, "the early map covers 4 MB of image")

    /DISCARD/ : { *(.comment .note .note.* .riscv.attributes .eh_frame .eh_frame_hdr) }
}
