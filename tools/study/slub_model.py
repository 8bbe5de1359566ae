#!/usr/bin/python3
# A model of what Linux 6.1's SLUB would hold for the objects of a trace.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: slub_model.py TRACE [--page-size BYTES]...

Counts pages, not addresses: which slab an object comes from and goes back to, and when a slab comes and goes.
Prints one line of JSON: for each page size the most that was held, and what the traced kernel's own slab pages
were at their most. Exit code 0, or 2 with one line on standard error when the trace is refused.

The design, as published (Corbet: "The SLUB allocator", LWN 2007; "Per-CPU partial lists", LWN 2011; and the
kernel's Documentation/mm/slub.rst):

- A slab has the smallest order up to 3 that holds min_objects objects and leaves over at most 1/16 of itself;
  failing that 1/8, then 1/4, then the same for one object less. min_objects: 4 (fls(CPUs) + 1).
- A CPU takes objects from its own slab. When that is used up: from the first of its partial slabs, else from
  the first of the node's, of which it takes some more along, else from a new slab.
- An object is freed into its slab, whoever has that. A full slab, of which nobody knows, comes onto the partial
  list of the CPU that frees. When a CPU has too many, all of them go to the node's list; there empty slabs are
  given up when the list has min_partial slabs, as is one that becomes empty on it.
- kmalloc: classes of 8 to 2 pages with 96 and 192, one set each for plain, accounted and reclaimable requests;
  beyond, pages.

It starts with no slab, which the traced kernel did not: what lived there before the trace began had left it
partial slabs.
"""

import argparse
import json
import sys
from collections import deque
from pathlib import Path
from typing import Iterable, Optional

from ftrace_text import GFP_ACCOUNT, GFP_RECLAIMABLE, FtraceText, TraceError
from trace_layers import Layers, Object, Separator

LARGEST_ORDER, LARGEST_BLOCK_ORDER = 3, 10
SMALL_CLASSES = (8, 16, 32, 64, 96, 128, 192)


def order_of(size: int, page: int) -> int:
    """The smallest order of pages that holds so many bytes."""
    return (-(-size // page) - 1).bit_length()


def _order_with(size: int, objects: int, largest: int, fraction: int, page: int) -> int:
    """The smallest order up to the largest with so many objects that wastes at most the fraction; else above."""
    for order in range(order_of(objects * size, page), largest + 1):
        if (page << order) % size <= (page << order) // fraction:
            return order
    return largest + 1


def slab_order(size: int, cpus: int, page: int) -> int:
    """The order of a slab of objects of that size."""
    wanted = min(4 * (cpus.bit_length() + 1), (page << LARGEST_ORDER) // size)
    for objects in range(wanted, 1, -1):
        for fraction in (16, 8, 4):
            order = _order_with(size, objects, LARGEST_ORDER, fraction, page)
            if order <= LARGEST_ORDER:
                return order
    order = _order_with(size, 1, LARGEST_ORDER, 1, page)
    return order if order <= LARGEST_ORDER else _order_with(size, 1, LARGEST_BLOCK_ORDER, 1, page)


def cpu_partial_objects(size: int, page: int) -> int:
    """Free objects that the partial slabs of one CPU may have, taking each slab for half full."""
    return 6 if size >= page else 24 if size >= 1024 else 52 if size >= 256 else 120


def kmalloc_class(size: int) -> int:
    """The bytes of the class of a request, however large."""
    return next((small for small in SMALL_CLASSES if size <= small), 1 << (size - 1).bit_length())


class Slab:
    """One slab. place: the CPU's slab, a CPU's partial list, the node's, or (full, or not yet anywhere) none."""
    __slots__ = ("live", "place")
    NONE, CPU, CPU_PARTIAL, NODE = range(4)

    def __init__(self) -> None:
        self.live = 0
        self.place = Slab.NONE


class Cache:
    """The slabs of one size. `taken` is what all caches together hold, in bytes, in a list of one."""

    def __init__(self, size: int, cpus: int, page: int, taken: list[int]) -> None:
        self.slab_bytes = page << slab_order(size, cpus, page)
        self.objects = self.slab_bytes // size
        self.cpu_partial_slabs = -(-cpu_partial_objects(size, page) * 2 // self.objects)
        self.min_partial = min(max((size.bit_length() - 1) // 2, 5), 10)
        self._taken = taken
        self._active: dict[int, Slab] = {}
        self._cpu_partial: dict[int, deque[Slab]] = {}
        self._node: dict[Slab, None] = {}           # in the order of the list

    def alloc(self, cpu: int) -> Slab:
        slab = self._active.get(cpu)
        if slab is None or slab.live == self.objects:
            if slab is not None:
                slab.place = Slab.NONE
            slab = self._active[cpu] = self._next_slab(cpu)
            slab.place = Slab.CPU
        slab.live += 1
        return slab

    def _next_slab(self, cpu: int) -> Slab:
        partial = self._cpu_partial.setdefault(cpu, deque())
        if partial:
            return partial.popleft()
        if not self._node:
            self._taken[0] += self.slab_bytes
            return Slab()
        first = self._off_node()
        for _ in range(self.cpu_partial_slabs // 2 + 1):
            if not self._node:
                break
            slab = self._off_node()
            slab.place = Slab.CPU_PARTIAL
            partial.appendleft(slab)
        return first

    def _off_node(self) -> Slab:
        slab = next(iter(self._node))
        del self._node[slab]
        return slab

    def free(self, slab: Slab, cpu: int) -> None:
        was_full = slab.live == self.objects
        slab.live -= 1
        if slab.place == Slab.NONE and was_full:
            self._onto_cpu(slab, cpu)
        elif slab.place == Slab.NODE and not slab.live and len(self._node) >= self.min_partial:
            del self._node[slab]
            self._taken[0] -= self.slab_bytes

    def _onto_cpu(self, slab: Slab, cpu: int) -> None:
        partial = self._cpu_partial.setdefault(cpu, deque())
        if len(partial) >= self.cpu_partial_slabs:
            for old in partial:
                self._onto_node(old)
            partial.clear()
        slab.place = Slab.CPU_PARTIAL
        partial.appendleft(slab)

    def _onto_node(self, slab: Slab) -> None:
        if not slab.live and len(self._node) >= self.min_partial:
            self._taken[0] -= self.slab_bytes
        else:
            slab.place = Slab.NODE
            self._node[slab] = None


class Slub:
    """All caches. `held` bytes now, and at the most."""

    def __init__(self, cpus: int, page: int) -> None:
        self.peak = 0
        self._cpus, self._page = cpus, page
        self._taken = [0]
        self._caches: dict[object, Cache] = {}
        self._objects: dict[Object, tuple[Optional[Cache], Slab | int]] = {}

    @property
    def held(self) -> int:
        return self._taken[0]

    def _cache_of(self, thing: Object) -> Optional[Cache]:
        """The cache of an object; None: whole pages."""
        event = thing.event
        if event.cache is not None:
            key, size = event.cache, event.bytes_alloc
        else:
            size = kmalloc_class(event.bytes_req)
            if size > 2 * self._page:
                return None
            key = (size, event.gfp & (GFP_ACCOUNT | GFP_RECLAIMABLE))
        if key not in self._caches:
            self._caches[key] = Cache(size, self._cpus, self._page, self._taken)
        return self._caches[key]

    def alloc(self, thing: Object, cpu: int) -> None:
        cache = self._cache_of(thing)
        if cache is None:
            size = self._page << order_of(thing.event.bytes_req, self._page)
            self._taken[0] += size
            self._objects[thing] = None, size
        else:
            self._objects[thing] = cache, cache.alloc(cpu)
        self.peak = max(self.peak, self._taken[0])

    def free(self, thing: Object, cpu: int) -> None:
        cache, place = self._objects.pop(thing)
        if cache is None:
            self._taken[0] -= place
        else:
            cache.free(place, cpu)


def run(layers: Layers, page: int) -> int:
    """The most that SLUB would hold for the objects of the steps, in bytes."""
    cpus = max((cpu for _, cpu, _ in layers.steps), default=0) + 1
    slub = Slub(cpus, page)
    for is_alloc, cpu, thing in layers.steps:
        if type(thing) is Object:
            (slub.alloc if is_alloc else slub.free)(thing, cpu)
    return slub.peak


def measured(path: Path, page_sizes: Iterable[int]) -> dict[str, object]:
    """The model's answers for a trace, and what its own slab pages say. Raises TraceError."""
    layers = Separator(list(FtraceText(path).events())).run()
    return {"held": {str(page): run(layers, page) for page in page_sizes},
            "traced_slab_peak": layers.slab_peak_bytes, "traced_slab_peak_objects": layers.slab_peak_object_bytes}


def page_size(text: str) -> int:
    if text not in ("4096", "8192", "16384", "65536"):
        raise argparse.ArgumentTypeError(f"'{text}' is none of 4096, 8192, 16384, 65536")
    return int(text)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description="What SLUB would hold for a trace's objects.")
    parser.add_argument("trace", type=Path, help="text of /sys/kernel/tracing/trace, plain or .xz")
    parser.add_argument("--page-size", type=page_size, action="append", metavar="BYTES",
                        help="of the modelled kernel, more than once for several (default 4096)")
    options = parser.parse_args()
    try:
        print(json.dumps(measured(options.trace, options.page_size or [4096])))
    except TraceError as error:
        print(f"slub_model: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
