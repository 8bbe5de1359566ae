// A reader of flattened device trees. The blob is hostile until fdt_check has walked all of it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A blob (Devicetree Specification v0.4, chapter 5) is a header, a list of reserved memory, a block of 32-bit
// big-endian tokens that spells the tree, and a block of strings that holds the properties' names:
//
//     0          off_mem_rsvmap   off_dt_struct               off_dt_strings         totalsize
//     +--------+----------------+---------------------------+----------------------+
//     | header | {addr, size}.. | BEGIN "" PROP.. BEGIN ..  | "reg\0compatible\0.. |
//     +--------+----------------+---------------------------+----------------------+
//
// fdt_check proves, reading nothing outside of max_bytes, that every offset, length, name and token lies
// where it must. From then on a node is the offset of its BEGIN token, and the functions below cannot leave
// the blob as long as nobody writes to it. They read byte by byte, so the blob may lie at any address; they
// allocate nothing and do not recurse.
//
// What a checked blob still may get wrong is the meaning: a reg that is too short, a phandle that nobody has.
// Functions that interpret a value answer "absent" (false, NULL, no node) when it is not of the asked shape.
//
// Context: any. No locks; the blob is only read.
#pragma once

#include <base/compiler.h>

#define FDT_MAX_DEPTH 32            // nodes within nodes, the root being the first
#define FDT_MAX_INTERRUPT_CELLS 4

struct fdt {
    const uint8_t *blob;
    uint32_t size_bytes;            // what the header says: never more than fdt_check was allowed
    uint32_t structure, structure_end;      // offsets in the blob; the end is behind the END token
    uint32_t strings, strings_end;
    uint32_t reservations, reservation_count;
};

struct fdt_error {
    const char *what;               // a whole phrase: "magic is not 0xd00dfeed"
    uint32_t offset;                // in the blob, bytes
    uint64_t value;                 // what stands there
};

// Checks a blob of which max_bytes can be read, and prepares *out. 0; -EINVAL with *error filled in: not a
// version 17 tree, larger than max_bytes, a block outside, a list without end, an unknown or misplaced token,
// a name that is not printable or not terminated, a property behind a child or running out of the block,
// nodes too deep, not one root.
must_check int fdt_check(const void *blob, size_t max_bytes, struct fdt *out, struct fdt_error *error);

// The index'th entry of the memory reservation block; false past the last.
bool fdt_reservation(const struct fdt *fdt, uint32_t index, uint64_t *start, uint64_t *size_bytes);

// A node of a checked blob; offset 0 is no node, and every function takes it: no node has no name, children,
// properties.
struct fdt_node {
    uint32_t offset;
};

#define FDT_NO_NODE ((struct fdt_node){ 0 })

static inline bool fdt_exists(struct fdt_node node) { return node.offset != 0; }

// "cpu@0"; "" for the root and for no node. Points into the blob.
const char *fdt_name(const struct fdt *fdt, struct fdt_node node);

struct fdt_node fdt_root(const struct fdt *fdt);
struct fdt_node fdt_first_child(const struct fdt *fdt, struct fdt_node node);
struct fdt_node fdt_next_sibling(const struct fdt *fdt, struct fdt_node node);
struct fdt_node fdt_parent(const struct fdt *fdt, struct fdt_node node);

// The node behind `node` in the order of the blob (children before siblings): walks the whole tree from
// fdt_root.
struct fdt_node fdt_next(const struct fdt *fdt, struct fdt_node node);

#define fdt_for_each_child(child, fdt, node) \
    for (struct fdt_node child = fdt_first_child(fdt, node); fdt_exists(child); \
         child = fdt_next_sibling(fdt, child))

// By full path, "/soc/serial@10000000"; a part without "@" also matches the first child of that name with any
// unit address. The path ends at its NUL or at ':' (options of stdout-path). A path that does not start with
// '/' starts with the name of an alias of /aliases.
struct fdt_node fdt_find_path(const struct fdt *fdt, const char *path);
struct fdt_node fdt_find_phandle(const struct fdt *fdt, uint32_t phandle);

// The first node behind `after` (FDT_NO_NODE: of all) that is compatible.
struct fdt_node fdt_find_compatible(const struct fdt *fdt, struct fdt_node after, const char *compatible);

bool fdt_is_compatible(const struct fdt *fdt, struct fdt_node node, const char *compatible);

// status is absent, "okay" or "ok".
bool fdt_is_available(const struct fdt *fdt, struct fdt_node node);

// A property's value, in the blob. Absent is {NULL, 0}; present and empty has size 0 and bytes not NULL.
struct fdt_value {
    const uint8_t *bytes;
    uint32_t size_bytes;
};

struct fdt_value fdt_property(const struct fdt *fdt, struct fdt_node node, const char *name);

static inline bool fdt_has(const struct fdt *fdt, struct fdt_node node, const char *name)
{
    return fdt_property(fdt, node, name).bytes != NULL;
}

// `count` (0, 1 or 2) cells from cell `index` on as one number; false when the value is shorter.
bool fdt_cells(struct fdt_value value, uint32_t index, uint32_t count, uint64_t *number);

// A property of exactly one cell; of one or two cells.
bool fdt_u32(const struct fdt *fdt, struct fdt_node node, const char *name, uint32_t *number);
bool fdt_u64(const struct fdt *fdt, struct fdt_node node, const char *name, uint64_t *number);

// The strings of a list in turn, from *at = 0 on; NULL at its end, or where no string ends within the value.
const char *fdt_next_string(struct fdt_value list, uint32_t *at);

// Whether one of the strings of a list is that one.
bool fdt_has_string(struct fdt_value list, const char *wanted);

// The first string of a property, or NULL.
const char *fdt_string(const struct fdt *fdt, struct fdt_node node, const char *name);

// The index'th {address, size} of reg, in the #address-cells and #size-cells of the bus (2 and 1 where
// absent, as the specification says). fdt_reg gives it as it stands; `bus` is the parent of the node.
// fdt_reg_cpu finds the parents itself and translates through their ranges into an address of the
// processor's. False: no such entry, cells other than 0 to 2, no translation, or a sum that wraps.
bool fdt_reg(const struct fdt *fdt, struct fdt_node bus, struct fdt_node node, uint32_t index,
             uint64_t *address, uint64_t *size_bytes);
bool fdt_reg_cpu(const struct fdt *fdt, struct fdt_node node, uint32_t index, uint64_t *address,
                 uint64_t *size_bytes);

// The index'th interrupt of a device, from interrupts-extended or else interrupts with the nearest
// interrupt-parent.
struct fdt_interrupt {
    struct fdt_node controller;
    uint32_t cell[FDT_MAX_INTERRUPT_CELLS];
    uint32_t cell_count;                    // of the controller's #interrupt-cells
};
bool fdt_interrupt(const struct fdt *fdt, struct fdt_node node, uint32_t index, struct fdt_interrupt *out);
