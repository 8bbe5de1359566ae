// Private to the parsing of the device tree into struct machine: the state, refusals and notes.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <platform/fdt.h>
#include <platform/machine.h>

struct parse {
    const struct fdt *fdt;
    const struct machine_limits *limits;
    struct machine *machine;
    struct machine_error *error;
    struct fdt_node plic_node[MACHINE_MAX_PLICS];
};

// Both take the text without newline. A refusal returns false, for the caller to return.
bool machine_refuse(struct parse *parse, const char *format, ...) printf_like(2, 3);
void machine_note(struct parse *parse, const char *format, ...) printf_like(2, 3);

// The parts, in the order in which they are called; each may rely on what the earlier ones filled in. False:
// refused.
bool machine_parse_ram(struct parse *parse);
bool machine_parse_reserved(struct parse *parse);
bool machine_parse_initrd(struct parse *parse);
bool machine_parse_harts(struct parse *parse);
bool machine_parse_plics(struct parse *parse);
bool machine_parse_uart(struct parse *parse);
void machine_parse_virtio(struct parse *parse);
void machine_parse_power(struct parse *parse);

// False when the text does not name an rv64 hart. Otherwise what it can do, in ISA_ bits.
bool isa_parse(const char *isa, uint64_t *features);
// One name of a list of extensions: a letter, or a longer name.
uint64_t isa_extension(const char *name);

// The name of a node, cut so that it leaves room for a message around it.
#define NODE_FORMAT "%.47s"
