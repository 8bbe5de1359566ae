// What the device tree says about the machine, copied out of it and checked.
// SPDX-License-Identifier: BSD-2-Clause
//
// machine_parse either describes a machine that the kernel can run on, or refuses with a text that names the
// thing and the value. What it can do without, it leaves out and says so in a note. Nothing in struct machine
// points into the tree.
//
//   thing             refused                                tolerated; a note unless said otherwise
//   RAM               no memory node, no reg; all ranges     an empty range; not whole granules: shrunk;
//                     empty; a range that wraps or ends      beyond phys_limit: clipped; status disabled:
//                     past 2^56; two that overlap; too       left out; several nodes, ranges that touch:
//                     many; none below phys_limit            kept as they are (no note)
//   reserved ranges   wraps; too many                        outside RAM: left out; partly: clipped (no
//                                                            note); a size without a place: left out
//   harts             more usable ones than max_harts        disabled, without Sv39 or rv64imac: left out,
//                     (says both numbers); no or repeated    unless it is the boot hart
//                     hart id; boot hart absent or unusable
//   timebase          absent, 0                              in the boot hart's node (no note)
//   UART              no ns16550a; no reg, or inside RAM;    stdout-path absent (no note) or of another
//                     reg-shift above 3; reg-io-width        kind: the first ns16550a; no interrupt
//                     other than 1, 2, 4
//   PLIC              no reg, or inside RAM; no or absurd    none; a hart without an S-mode context
//                     riscv,ndev; a context outside; too
//                     many
//   finisher,         -                                      none, or one that cannot be understood
//   poweroff, reboot
//   virtio slots      -                                      no reg, no interrupt, too many: left out
//   initrd            one end without the other; end before  empty: none (no note)
//                     start; outside RAM; in memory that
//                     must not be mapped
//   bootargs          not one string, too long               absent: empty (no note)
//   model, isa, ...   -                                      cut to the room there is (no note)
//   rng-seed          -                                      longer: cut; absent: 0 bytes (no note)
#pragma once

#include <arch/smp.h>
#include <base/compiler.h>

struct fdt;

#define MACHINE_MAX_RAM 32
#define MACHINE_MAX_RESERVED 64
#define MACHINE_MAX_PLICS 8
#define MACHINE_MAX_VIRTIO 32
#define MACHINE_MAX_NOTES 8
#define MACHINE_NAME_BYTES 48
#define MACHINE_ISA_BYTES 160
#define MACHINE_TEXT_BYTES 192
#define MACHINE_BOOTARGS_BYTES 2048
#define MACHINE_RNG_SEED_BYTES 64

#define MACHINE_NO_IRQ 0                     // interrupt 0 of a PLIC does not exist
#define MACHINE_NO_CONTEXT UINT32_MAX

// What a hart can do: the single letters of its isa string are the bits of ISA_LETTER, the longer names have
// one each.
#define ISA_LETTER(letter) (1UL << ((letter) - 'a'))
#define ISA_SSTC (1UL << 32)
#define ISA_SVNAPOT (1UL << 33)
#define ISA_SVINVAL (1UL << 34)
#define ISA_SVPBMT (1UL << 35)
#define ISA_SVADU (1UL << 36)
#define ISA_SSCOFPMF (1UL << 37)
#define ISA_ZBA (1UL << 38)
#define ISA_ZBB (1UL << 39)
#define ISA_ZBC (1UL << 40)
#define ISA_ZBS (1UL << 41)
#define ISA_ZICBOM (1UL << 42)
#define ISA_ZICBOZ (1UL << 43)
#define ISA_ZIHINTPAUSE (1UL << 44)
#define ISA_ZAWRS (1UL << 45)

// What the kernel is compiled for (zicsr and zifencei are not told apart from i in older strings).
#define ISA_REQUIRED (ISA_LETTER('i') | ISA_LETTER('m') | ISA_LETTER('a') | ISA_LETTER('c'))

struct machine_ram {
    uint64_t start, size_bytes;              // whole granules
    uint32_t numa_node;                      // 0 where the tree says nothing
};

struct machine_reserved {
    uint64_t start, size_bytes;
    bool no_map;                             // nobody may even map it; the firmware's own
    char name[MACHINE_NAME_BYTES];           // of the node; "memreserve" from the reservation block
};

struct machine_hart {
    uint64_t id;                             // the machine's number: mhartid
    uint64_t features;                       // ISA_
    uint32_t numa_node;
    uint32_t mmu_levels;                     // the most it offers: 3 (Sv39), 4, 5
    uint32_t intc_phandle;                   // of its interrupt controller; 0: it has none
    uint32_t plic;                           // index, and its S-mode context there
    uint32_t plic_context;                   // or MACHINE_NO_CONTEXT
    char isa[MACHINE_ISA_BYTES];
};

struct machine_plic {
    uint64_t address, size_bytes;
    uint32_t source_count;                   // interrupts 1 .. source_count
    uint32_t numa_node;
};

struct machine_uart {                        // ns16550a
    uint64_t address, size_bytes;
    uint32_t reg_shift;                      // registers are 1 << reg_shift bytes apart
    uint32_t reg_io_width;                   // bytes per access: 1, 2 or 4
    uint64_t clock_hz;                       // 0: not said
    uint32_t plic, irq;                      // MACHINE_NO_IRQ: polled only
};

struct machine_virtio {
    uint64_t address, size_bytes;
    uint32_t plic, irq;
};

// A 32-bit register of a system controller: store `value` where `mask` has ones.
struct machine_syscon {
    uint64_t address;                        // 0: there is none
    uint32_t value, mask;
};

struct machine {
    struct machine_ram ram[MACHINE_MAX_RAM];                  // ascending, disjoint
    struct machine_reserved reserved[MACHINE_MAX_RESERVED];   // in the tree's order; may overlap
    struct machine_hart hart[MAX_HARTS];                      // usable ones; the boot hart is first
    struct machine_plic plic[MACHINE_MAX_PLICS];
    struct machine_virtio virtio[MACHINE_MAX_VIRTIO];         // ascending by address
    unsigned ram_count, reserved_count, hart_count, plic_count, virtio_count;

    uint64_t timebase_hz;
    uint64_t features;                       // what every usable hart has
    struct machine_uart uart;
    uint64_t finisher;                       // sifive,test1: its 32-bit register; 0: there is none
    struct machine_syscon poweroff, reboot;
    uint64_t initrd_start, initrd_size_bytes;                 // size 0: there is none

    char model[MACHINE_NAME_BYTES];
    char compatible[MACHINE_NAME_BYTES];
    char bootargs[MACHINE_BOOTARGS_BYTES];
    uint8_t rng_seed[MACHINE_RNG_SEED_BYTES];
    unsigned rng_seed_bytes;

    // What was tolerated, a line each without newline. There may be more than are kept.
    char note[MACHINE_MAX_NOTES][MACHINE_TEXT_BYTES];
    unsigned note_count;
};

// What only the caller knows.
struct machine_limits {
    uint64_t boot_hart;                      // machine id of the hart that asks
    unsigned max_harts;                      // at most MAX_HARTS
    uint64_t phys_limit;                     // first physical address that cannot be used: ARCH_PHYS_LIMIT
};

struct machine_error {
    char text[MACHINE_TEXT_BYTES];           // without newline
};

// Describes the machine of a checked tree. False, with *error filled in and *out undefined, when it is
// refused. The memory that the blob itself lies in is not among the reserved ranges: the caller knows where
// it is. Context: start-up. *out is large: not on a stack.
must_check bool machine_parse(const struct fdt *fdt, const struct machine_limits *limits, struct machine *out,
                              struct machine_error *error);

// "sstc svnapot zba": the longer names among the features, separated by blanks. Returns buffer.
char *machine_feature_names(uint64_t features, char *buffer, size_t size);
