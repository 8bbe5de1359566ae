// Finding nodes and properties in a checked device tree.
// SPDX-License-Identifier: BSD-2-Clause

#include "fdt_format.h"

#include <base/string.h>

struct token {
    enum fdt_token kind;
    uint32_t at;                   // its offset
    uint32_t next;                 // offset of the token behind it
};

// The token at `offset` or, past NOPs, behind it. fdt_check saw to it that there is one; nothing follows
// FDT_END.
static struct token token_at(const struct fdt *fdt, uint32_t offset)
{
    struct token token = { FDT_NOP, offset, offset };

    while (token.kind == FDT_NOP) {
        token.at = token.next;
        token.kind = (enum fdt_token)fdt_read_u32(fdt->blob + token.at);
        token.next = token.at + FDT_CELL_BYTES;
    }
    if (token.kind == FDT_BEGIN_NODE) {
        uint32_t name_bytes = (uint32_t)strlen((const char *)fdt->blob + token.next) + 1;
        token.next += align_up(name_bytes, FDT_CELL_BYTES);
    } else if (token.kind == FDT_PROP) {
        uint32_t value_bytes = fdt_read_u32(fdt->blob + token.next);
        token.next += 2 * FDT_CELL_BYTES + align_up(value_bytes, FDT_CELL_BYTES);
    }
    return token;
}

// The first token behind the node's properties: a child's BEGIN or the node's END.
static struct token token_behind_properties(const struct fdt *fdt, struct fdt_node node)
{
    struct token token = token_at(fdt, token_at(fdt, node.offset).next);

    while (token.kind == FDT_PROP)
        token = token_at(fdt, token.next);
    return token;
}

static struct fdt_node node_or_none(struct token token)
{
    return (struct fdt_node){ token.kind == FDT_BEGIN_NODE ? token.at : 0 };
}

bool fdt_reservation(const struct fdt *fdt, uint32_t index, uint64_t *start, uint64_t *size_bytes)
{
    if (index >= fdt->reservation_count)
        return false;
    const uint8_t *entry = fdt->blob + fdt->reservations + index * FDT_RESERVATION_BYTES;
    *start = fdt_read_u64(entry);
    *size_bytes = fdt_read_u64(entry + 8);
    return true;
}

const char *fdt_name(const struct fdt *fdt, struct fdt_node node)
{
    return fdt_exists(node) ? (const char *)fdt->blob + node.offset + FDT_CELL_BYTES : "";
}

struct fdt_node fdt_root(const struct fdt *fdt)
{
    return node_or_none(token_at(fdt, fdt->structure));
}

struct fdt_node fdt_first_child(const struct fdt *fdt, struct fdt_node node)
{
    return fdt_exists(node) ? node_or_none(token_behind_properties(fdt, node)) : FDT_NO_NODE;
}

struct fdt_node fdt_next_sibling(const struct fdt *fdt, struct fdt_node node)
{
    unsigned open_nodes = 0;

    if (!fdt_exists(node))
        return FDT_NO_NODE;
    struct token token = token_at(fdt, node.offset);
    do {
        if (token.kind == FDT_BEGIN_NODE)
            open_nodes++;
        else if (token.kind == FDT_END_NODE)
            open_nodes--;
        token = token_at(fdt, token.next);
    } while (open_nodes != 0);
    return node_or_none(token);
}

struct fdt_node fdt_next(const struct fdt *fdt, struct fdt_node node)
{
    if (!fdt_exists(node))
        return FDT_NO_NODE;
    struct token token = token_behind_properties(fdt, node);
    while (token.kind == FDT_END_NODE)
        token = token_at(fdt, token.next);
    return node_or_none(token);
}

unsigned fdt_lineage(const struct fdt *fdt, struct fdt_node node, struct fdt_node lineage[FDT_MAX_DEPTH])
{
    unsigned depth = 0;

    if (!fdt_exists(node))
        return 0;
    struct token token = token_at(fdt, fdt->structure);
    while (token.kind != FDT_END) {
        if (token.kind == FDT_BEGIN_NODE) {
            lineage[depth++] = node_or_none(token);
            if (token.at == node.offset)
                return depth;
        } else if (token.kind == FDT_END_NODE) {
            depth--;
        }
        token = token_at(fdt, token.next);
    }
    return 0;
}

struct fdt_node fdt_parent(const struct fdt *fdt, struct fdt_node node)
{
    struct fdt_node lineage[FDT_MAX_DEPTH];
    unsigned depth = fdt_lineage(fdt, node, lineage);

    return depth >= 2 ? lineage[depth - 2] : FDT_NO_NODE;
}

static struct fdt_value find_property(const struct fdt *fdt, struct fdt_node node, const char *name,
                                      size_t length)
{
    if (!fdt_exists(node))
        return (struct fdt_value){ NULL, 0 };
    struct token token = token_at(fdt, token_at(fdt, node.offset).next);
    for (; token.kind == FDT_PROP; token = token_at(fdt, token.next)) {
        const uint8_t *header = fdt->blob + token.at + FDT_CELL_BYTES;
        const char *its_name = (const char *)fdt->blob + fdt->strings + fdt_read_u32(header + FDT_CELL_BYTES);
        if (strncmp(its_name, name, length) == 0 && its_name[length] == '\0')
            return (struct fdt_value){ header + 2 * FDT_CELL_BYTES, fdt_read_u32(header) };
    }
    return (struct fdt_value){ NULL, 0 };
}

struct fdt_value fdt_property(const struct fdt *fdt, struct fdt_node node, const char *name)
{
    return find_property(fdt, node, name, strlen(name));
}

static size_t component_length(const char *path)
{
    size_t length = 0;

    while (path[length] != '\0' && path[length] != '/' && path[length] != ':')
        length++;
    return length;
}

// A part that gives no unit address fits any.
static bool component_fits(const char *component, size_t length, const char *name)
{
    if (strncmp(component, name, length) != 0)
        return false;
    for (size_t i = 0; i < length; i++)
        if (component[i] == '@')
            return name[length] == '\0';
    return name[length] == '\0' || name[length] == '@';
}

// Follows what is left of a path: "" or "/name...".
static struct fdt_node descend(const struct fdt *fdt, struct fdt_node node, const char *path)
{
    while (*path == '/') {
        size_t length = component_length(++path);
        struct fdt_node child = fdt_first_child(fdt, node);

        if (length == 0)
            continue;
        while (fdt_exists(child) && !component_fits(path, length, fdt_name(fdt, child)))
            child = fdt_next_sibling(fdt, child);
        node = child;
        path += length;
    }
    return node;
}

struct fdt_node fdt_find_path(const struct fdt *fdt, const char *path)
{
    struct fdt_node root = fdt_root(fdt);
    size_t alias_length = component_length(path);
    uint32_t at = 0;

    if (alias_length == 0)
        return *path == '/' ? descend(fdt, root, path) : FDT_NO_NODE;
    struct fdt_value alias = find_property(fdt, descend(fdt, root, "/aliases"), path, alias_length);
    const char *target = fdt_next_string(alias, &at);
    if (target == NULL || *target != '/')
        return FDT_NO_NODE;
    return descend(fdt, descend(fdt, root, target), path + alias_length);
}

struct fdt_node fdt_find_phandle(const struct fdt *fdt, uint32_t phandle)
{
    struct fdt_node node = fdt_root(fdt);
    uint32_t its_phandle;

    while (fdt_exists(node) && !(fdt_u32(fdt, node, "phandle", &its_phandle) && its_phandle == phandle))
        node = fdt_next(fdt, node);
    return node;
}

struct fdt_node fdt_find_compatible(const struct fdt *fdt, struct fdt_node after, const char *compatible)
{
    struct fdt_node node = fdt_exists(after) ? fdt_next(fdt, after) : fdt_root(fdt);

    while (fdt_exists(node) && !fdt_is_compatible(fdt, node, compatible))
        node = fdt_next(fdt, node);
    return node;
}

bool fdt_is_compatible(const struct fdt *fdt, struct fdt_node node, const char *compatible)
{
    return fdt_has_string(fdt_property(fdt, node, "compatible"), compatible);
}

bool fdt_is_available(const struct fdt *fdt, struct fdt_node node)
{
    struct fdt_value status = fdt_property(fdt, node, "status");

    return status.bytes == NULL || fdt_has_string(status, "okay") || fdt_has_string(status, "ok");
}
