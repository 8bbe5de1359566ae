# The kernel's unwinder, built for the host and loaded here, and memory that it can be let loose on.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import ctypes
import mmap
from enum import IntEnum
from pathlib import Path

SYMBOL_NAME_BYTES = 64
FRAMES_MAX = 64
WORD_BYTES = 8
PROT_NONE = 0


class Result(IntEnum):
    """enum unwind_result of lib/debug/unwind.h."""

    CALLER, TRAP, END, UNKNOWN, CORRUPT, TOO_DEEP = range(6)


class Frame(ctypes.Structure):
    """struct unwind_frame."""

    _fields_ = [
        ("pc", ctypes.c_uint64), ("sp", ctypes.c_uint64), ("s0", ctypes.c_uint64), ("ra", ctypes.c_uint64),
        ("ra_is_valid", ctypes.c_bool), ("depth", ctypes.c_uint),
        ("stack_low", ctypes.c_uint64), ("stack_high", ctypes.c_uint64),
    ]


class Symbol(ctypes.Structure):
    """struct symbol."""

    _fields_ = [
        ("name", ctypes.c_char * SYMBOL_NAME_BYTES), ("offset", ctypes.c_size_t), ("size", ctypes.c_size_t),
    ]


class Tables(ctypes.Structure):
    """struct debug_tables."""

    _fields_ = [
        ("image", ctypes.c_void_p), ("image_bytes", ctypes.c_size_t), ("base", ctypes.c_uint64),
        ("trap_return_start", ctypes.c_uint64), ("trap_return_end", ctypes.c_uint64),
    ]


class GuardedMemory:
    """Memory whose neighbours on both sides fault; what is written to it ends at the upper one."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        pages = (size + page - 1) // page
        self._map = mmap.mmap(-1, (pages + 2) * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        for guard in (start, start + (pages + 1) * page):
            if libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), PROT_NONE) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        self.low, self.high = start + page, start + (pages + 1) * page

    def put(self, data: bytes) -> int:
        """Writes the data so that it ends at the guard (a multiple of 4 before it); returns its address."""
        at = (self.high - len(data)) & ~3
        ctypes.memmove(at, data, len(data))
        return at


class Unwinder:
    """symbol_lookup_in and unwind_step_in of the shared library."""

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        self._step = loaded.unwind_step_in
        self._step.argtypes = [ctypes.POINTER(Tables), ctypes.POINTER(Frame)]
        self._step.restype = ctypes.c_int
        self._lookup = loaded.symbol_lookup_in
        self._lookup.argtypes = [ctypes.POINTER(Tables), ctypes.c_uint64, ctypes.POINTER(Symbol)]
        self._lookup.restype = ctypes.c_bool
        self._own_lookup = loaded.symbol_lookup
        self._own_lookup.argtypes = [ctypes.c_uint64, ctypes.POINTER(Symbol)]
        self._own_lookup.restype = ctypes.c_bool

    def step(self, tables: Tables, frame: Frame) -> Result:
        return Result(self._step(ctypes.byref(tables), ctypes.byref(frame)))

    def lookup(self, tables: Tables, pc: int) -> tuple[str, int, int] | None:
        """Name, offset and size."""
        symbol = Symbol()
        if not self._lookup(ctypes.byref(tables), pc, ctypes.byref(symbol)):
            return None
        return symbol.name.decode("ascii"), symbol.offset, symbol.size

    def lookup_without_tables(self, pc: int) -> bool:
        """symbol_lookup in an image that was linked without tables, as this library is."""
        return bool(self._own_lookup(pc, ctypes.byref(Symbol())))
