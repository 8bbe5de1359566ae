# Device trees for the tests: QEMU's own, and ways to change one.
# SPDX-License-Identifier: BSD-2-Clause
"""A tree is a blob of bytes; every function here returns a new one."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import libfdt

ROOM_BYTES = 1 << 16
LIMIT_S = 30

Change = Callable[[libfdt.Fdt], None]


def dumped(program: str, harts: int, mem: str) -> bytes:
    """The tree that QEMU's virt board describes itself with."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "virt.dtb"
        subprocess.run([program, "-M", f"virt,dumpdtb={path}", "-m", mem, "-smp", str(harts),
                        "-display", "none"],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=True)
        return packed(libfdt.Fdt(path.read_bytes()))


def packed(tree: libfdt.Fdt) -> bytes:
    """The blob without the room behind it."""
    return bytes(tree.as_bytearray()[: tree.totalsize()])


def changed(blob: bytes, change: Change) -> bytes:
    """The tree after a change that may make it larger."""
    tree = libfdt.Fdt(blob)
    tree.resize(tree.totalsize() + ROOM_BYTES)
    change(tree)
    tree.pack()
    return packed(tree)


def cells64(*numbers: int) -> bytes:
    """Numbers as two cells each."""
    return struct.pack(f">{len(numbers)}Q", *numbers)


def cells32(*numbers: int) -> bytes:
    """Numbers as one cell each."""
    return struct.pack(f">{len(numbers)}I", *numbers)


def set_bytes(path: str, name: str, value: bytes) -> Change:
    """Sets a property of the node at `path`."""
    return lambda tree: tree.setprop(tree.path_offset(path), name, value) and None


def set_text(path: str, name: str, value: str) -> Change:
    """Sets a property to a string."""
    return set_bytes(path, name, value.encode() + b"\0")


def without(path: str, name: str) -> Change:
    """Removes a property."""
    return lambda tree: tree.delprop(tree.path_offset(path), name) and None


def without_node(path: str) -> Change:
    """Removes a node with all below it."""
    return lambda tree: tree.del_node(tree.path_offset(path)) and None


def with_node(parent: str, name: str, properties: Mapping[str, bytes]) -> Change:
    """Adds a node."""
    def change(tree: libfdt.Fdt) -> None:
        node = tree.add_subnode(tree.path_offset(parent), name)
        for key, value in properties.items():
            tree.setprop(node, key, value)
    return change


def with_cell(blob: bytes, offset: int, value: int) -> bytes:
    """Overwrites a cell of the blob, sensible or not."""
    return blob[:offset] + struct.pack(">I", value) + blob[offset + 4:]


def with_firmware_reserved(blob: bytes, start: int, size_bytes: int) -> bytes:
    """Adds what the firmware would have added: its own memory, which nobody may touch."""
    parent = with_node("/", "reserved-memory",
                       {"#address-cells": cells32(2), "#size-cells": cells32(2), "ranges": b""})
    node = with_node("/reserved-memory", f"firmware@{start:x}",
                     {"reg": cells64(start, size_bytes), "no-map": b""})
    return changed(changed(blob, parent), node)
