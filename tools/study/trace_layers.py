# Tells in a Linux allocation trace what the kernel asked for from what slab and vmalloc took to serve it.
# SPDX-License-Identifier: BSD-2-Clause
"""From the events of a trace to the requests to replay.

A trace of Linux's kmem events shows two layers at once: what callers asked for, and the pages that the slab
allocator and vmalloc took for that. Quire's own slab and vmalloc take pages when the requests are replayed,
so Linux's are left out here; otherwise they would count twice. How each is recognised:

Slab pages, and the pages behind large kmallocs. A block of pages is slab's if, between its allocation and its
    free, an object is allocated inside it. Objects have linear-map addresses, pages have frame numbers; the
    difference of the two is one constant. It is found by vote: where a task's very next event after an
    allocation of unmovable or reclaimable pages is an object allocation, the slab allocator most likely took
    the pages for it. Every other block would have to be hit by chance. Two things that the rule implies are
    counted and reported as contradictions: no block may hold objects of two caches, and none may be freed
    while an object in it lives. (The gfp flags that slab uses also mark network buffers, block-layer pools
    and read-ahead; they are no reliable sign.)

vmalloc areas. An area has pages behind it if, as its task's next object, the array of its page pointers is
    allocated in a function __vmalloc*: 8 bytes for each page of the area, the guard page not counted. Its
    pages are those that the task then allocates with __GFP_HIGHMEM|__GFP_NOWARN until its next object. Linux
    6.1 takes them from the bulk allocator, which has no trace event, so usually there are none. Their frees
    are traced: as many unmatched page frees as the area has pages, by the task that freed the area, until the
    next object that it frees. An area without an array (an ioremap, vm_map_ram) owns no RAM and is not
    replayed. An array larger than a page is itself such an area, nested in the first.

Page tables of those areas. Where an area enters a 2 MB region of addresses that no area of this trace entered
    before, the unmovable, zeroed, unaccounted single pages that its task allocates until its next object (the
    page array apart) are tables, at most one for the region and one for each newly entered region of 1 GB,
    512 GB and 256 TB.

Everything else is a request. The objects that vmalloc and slab take for themselves (struct vmap_area, page
arrays, kmem_cache) are ordinary objects and are replayed.

A block that is freed in parts (split_page, alloc_pages_exact) becomes one request for each part and for each
naturally aligned rest that is never freed. That keeps bytes and lifetimes exact; only the contiguity of the
parts is lost.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Callable, Iterator, Optional

from ftrace_text import (GFP_ACCOUNT, GFP_HIGHMEM, GFP_MOVABLE, GFP_NOWARN, GFP_RECLAIMABLE, GFP_ZERO,
                         PAGE_BYTES, PAGE_SHIFT, ZERO_SIZE_PTR, AreaAlloc, AreaFree, Event, ObjectAlloc,
                         ObjectFree, PageAlloc, PageFree)

TABLE_SPANS = (21, 30, 39, 48)  # log2 of the bytes that a table of each level maps


class Object:
    """An object allocation. block is the page block around it where that was allocated in the trace."""
    __slots__ = ("event", "block", "slot")

    def __init__(self, event: ObjectAlloc, block: Optional["Block"]) -> None:
        self.event = event
        self.block = block
        self.slot = -1


class Block:
    """A page allocation, its layer as far as known, and the parts that were freed so far."""
    __slots__ = ("pfn", "order", "gfp", "layer", "cache", "live_objects", "parts")

    def __init__(self, event: PageAlloc, layer: str) -> None:
        self.pfn = event.pfn
        self.order = event.order
        self.gfp = event.gfp
        self.layer = layer
        self.cache: Optional[tuple[str, int, int]] = None
        self.live_objects = 0
        self.parts: list[Part] = []

    def all_parts(self) -> list["Part"]:
        """The freed parts and, as parts too, what was never freed; in order of address."""
        parts, cursor, end = [], self.pfn, self.pfn + (1 << self.order)
        for part in sorted(self.parts, key=lambda part: part.pfn):
            parts += [Part(self, pfn, order) for pfn, order in aligned_chunks(cursor, part.pfn)]
            parts.append(part)
            cursor = part.pfn + (1 << part.order)
        return parts + [Part(self, pfn, order) for pfn, order in aligned_chunks(cursor, end)]


class Part:
    """A piece of a block that lives and dies as one: nearly always the whole block."""
    __slots__ = ("block", "pfn", "order", "slot")

    def __init__(self, block: Block, pfn: int, order: int) -> None:
        self.block = block
        self.pfn = pfn
        self.order = order
        self.slot = -1


class Area:
    """A vmap area. array_bytes: size of an array of its page pointers; page_count: set once one is seen."""
    __slots__ = ("array_bytes", "page_count", "slot")

    def __init__(self, event: AreaAlloc) -> None:
        self.array_bytes = (event.size // PAGE_BYTES - 1) * 8
        self.page_count = 0
        self.slot = -1


@dataclass
class Window:
    """After a vmap area: how many of the task's next page allocations may be its tables and its pages."""
    area: Area
    tables: int
    pages: int = 0
    outer: Optional[Area] = None

    def found_array(self) -> None:
        """The array of the area was seen, which for a nested area is the array of the outer one."""
        for area in (self.area, self.outer):
            if area:
                area.page_count = area.array_bytes // 8
                self.pages += area.page_count


Request = Object | Part | Area
Step = tuple[bool, int, Request]        # is it an allocation, the cpu, of what; in trace order


@dataclass
class Layers:
    """The steps to replay, and what was left out of them and why."""
    steps: list[Step] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)         # keys: LEFT_OUT
    reclaimable_caches: set[tuple[str, int, int]] = field(default_factory=set)
    linear_map_votes: int = 0
    split_blocks: int = 0
    slab_peak_bytes: int = 0            # most that recognised slab blocks held at once,
    slab_peak_object_bytes: int = 0     # and the bytes_alloc of the objects then alive in them
    contradictions: int = 0
    implied_frees: int = 0              # addresses given out again without a free: events are missing


LEFT_OUT = {
    "failed_allocations": "allocations that failed in the traced kernel",
    "zero_size_allocations": "kmalloc(0)",
    "null_frees": "frees of NULL and of kmalloc(0)",
    "unmatched_object_frees": "frees of objects allocated before the trace",
    "unmatched_page_frees": "frees of pages allocated before the trace",
    "unmatched_area_frees": "frees of vmap areas allocated before the trace",
    "slab_page_allocations": "page allocations by slab and for large kmallocs",
    "slab_page_frees": "page frees by slab and of large kmallocs",
    "vmalloc_page_allocations": "page allocations behind vmalloc areas",
    "vmalloc_page_frees": "page frees behind vmalloc areas",
    "table_page_allocations": "page tables of vmap areas allocated",
    "table_page_frees": "page tables of vmap areas freed",
    "areas_without_pages": "vmap areas without RAM of their own allocated",
    "area_frees_without_pages": "vmap areas without RAM of their own freed",
}


def aligned_chunks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest naturally aligned blocks (pfn, order) that make up the frames [start, end)."""
    while start < end:
        order = (end - start).bit_length() - 1
        if start:
            order = min(order, (start & -start).bit_length() - 1)
        yield start, order
        start += 1 << order


def linear_map_offset(events: list[Event]) -> tuple[Optional[int], int]:
    """(address >> PAGE_SHIFT) - pfn in the linear map, None if the trace shows none; and the votes for it."""
    votes: Counter[int] = Counter()
    just_taken: dict[int, int] = {}
    for event in events:
        if type(event) is PageAlloc:
            if event.pfn is not None and not event.gfp & GFP_MOVABLE:
                just_taken[event.task] = event.pfn
            continue
        pfn = just_taken.pop(event.task, None)
        if pfn is not None and type(event) is ObjectAlloc and event.ptr > ZERO_SIZE_PTR:
            votes[(event.ptr >> PAGE_SHIFT) - pfn] += 1
    ranking = sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
    if not ranking or len(ranking) > 1 and ranking[0][1] == ranking[1][1]:
        return None, 0
    return ranking[0]


class Separator:
    """Pairs frees with allocations and finds the layer of every page block, in one pass over the events."""

    def __init__(self, events: list[Event]) -> None:
        self.layers = Layers()
        self._events = events
        self._offset, self.layers.linear_map_votes = linear_map_offset(events)
        self._steps: list[tuple[bool, int, Object | Block | Part | Area]] = []
        self._objects: dict[int, Object] = {}
        self._frames: dict[int, Block] = {}
        self._areas: dict[int, Area] = {}
        self._windows: dict[int, Window] = {}           # by task
        self._area_frees: dict[int, int] = {}           # by task: pages of an area it is freeing
        self._regions: set[tuple[int, int]] = set()     # (log2 of the span, number) that areas entered
        self._slab_bytes = self._slab_object_bytes = 0

    def run(self) -> Layers:
        """All events. A block's layer may show late, so blocks of other layers leave the steps at the end."""
        handlers: dict[type, Callable[[Event], None]] = {
            ObjectAlloc: self._object_alloc, ObjectFree: self._object_free, PageAlloc: self._page_alloc,
            PageFree: self._page_free, AreaAlloc: self._area_alloc, AreaFree: self._area_free,
        }
        for event in self._events:
            handlers[type(event)](event)
        left_out, steps = self.layers.left_out, self.layers.steps
        for is_alloc, cpu, thing in self._steps:
            if type(thing) is Area and not thing.page_count:
                left_out["areas_without_pages" if is_alloc else "area_frees_without_pages"] += 1
            elif type(thing) is Part and thing.block.layer:
                left_out[thing.block.layer + "_page_frees"] += 1
            elif type(thing) is not Block:
                steps.append((is_alloc, cpu, thing))
            elif thing.layer:
                left_out[thing.layer + "_page_allocations"] += 1
            else:
                parts = thing.all_parts()
                steps += [(True, cpu, part) for part in parts]
                self.layers.split_blocks += len(parts) > 1
        return self.layers

    def _object_alloc(self, event: ObjectAlloc) -> None:
        self._watch_window(event)
        if event.ptr <= ZERO_SIZE_PTR:
            self.layers.left_out["zero_size_allocations" if event.ptr else "failed_allocations"] += 1
            return
        old = self._objects.get(event.ptr)
        if old is not None:
            self._implied_free(event.cpu, old)
            self._end_object(old)
        block = None
        if self._offset is not None:
            block = self._frames.get((event.ptr >> PAGE_SHIFT) - self._offset)
            if block is not None:
                self._object_in_block(event, block)
        thing = self._objects[event.ptr] = Object(event, block)
        self._steps.append((True, event.cpu, thing))

    def _object_in_block(self, event: ObjectAlloc, block: Block) -> None:
        cache = event.cache or ("", 0, event.bytes_alloc)
        if block.layer != "slab":
            self.layers.contradictions += block.layer != ""
            block.layer = "slab"
            block.cache = cache
            self._slab_bytes += PAGE_BYTES << block.order
            if event.cache and block.gfp & GFP_RECLAIMABLE:
                self.layers.reclaimable_caches.add(cache)
        elif block.cache != cache:
            self.layers.contradictions += 1
        block.live_objects += 1
        self._slab_object_bytes += event.bytes_alloc
        if self._slab_bytes > self.layers.slab_peak_bytes:
            self.layers.slab_peak_bytes = self._slab_bytes
            self.layers.slab_peak_object_bytes = self._slab_object_bytes

    def _end_object(self, thing: Object) -> None:
        if thing.block is not None:
            thing.block.live_objects -= 1
            self._slab_object_bytes -= thing.event.bytes_alloc

    def _object_free(self, event: ObjectFree) -> None:
        if not event.interrupt:
            self._windows.pop(event.task, None)
            self._area_frees.pop(event.task, None)
        if event.ptr <= ZERO_SIZE_PTR:
            self.layers.left_out["null_frees"] += 1
            return
        thing = self._objects.pop(event.ptr, None)
        if thing is None:
            self.layers.left_out["unmatched_object_frees"] += 1
            return
        self._end_object(thing)
        self._steps.append((False, event.cpu, thing))

    def _page_alloc(self, event: PageAlloc) -> None:
        if event.pfn is None:
            self.layers.left_out["failed_allocations"] += 1
            return
        frames = self._frames
        numbers = range(event.pfn, event.pfn + (1 << event.order))
        if any(number in frames for number in numbers):
            self.layers.implied_frees += 1
            self._free_frames(event.cpu, numbers.start, numbers.stop)
        block = Block(event, self._vmap_layer(event))
        for number in numbers:
            frames[number] = block
        self._steps.append((True, event.cpu, block))

    def _page_free(self, event: PageFree) -> None:
        block = self._frames.get(event.pfn)
        pages = self._area_frees.get(event.task, 0)
        if pages and not event.interrupt and (block is None or block.layer == "vmalloc"):
            self._area_frees[event.task] = max(0, pages - (1 << event.order))
            if block is None:
                self.layers.left_out["vmalloc_page_frees"] += 1
                return
        if not self._free_frames(event.cpu, event.pfn, event.pfn + (1 << event.order)):
            self.layers.left_out["unmatched_page_frees"] += 1

    def _free_frames(self, cpu: int, start: int, end: int) -> bool:
        """Frees what is allocated of frames [start, end), usually one whole block; says if anything was."""
        frames, number, found = self._frames, start, False
        while number < end:
            block = frames.pop(number, None)
            first = number
            number += 1
            if block is None:
                continue
            found = True
            while number < end and frames.get(number) is block:
                del frames[number]
                number += 1
            for pfn, order in aligned_chunks(first, number):
                part = Part(block, pfn, order)
                block.parts.append(part)
                self._steps.append((False, cpu, part))
                if block.layer == "slab":
                    self._slab_bytes -= PAGE_BYTES << order
            if block.live_objects:
                self.layers.contradictions += 1
        return found

    def _area_alloc(self, event: AreaAlloc) -> None:
        if event.failed:
            self.layers.left_out["failed_allocations"] += 1
            return
        old = self._areas.get(event.start)
        if old is not None:
            self._implied_free(event.cpu, old)
        area = self._areas[event.start] = Area(event)
        self._steps.append((True, event.cpu, area))
        window = Window(area, self._new_tables(event))
        before = self._windows.get(event.task)
        if before and not before.area.page_count and before.area.array_bytes > PAGE_BYTES and \
                -(-before.area.array_bytes // PAGE_BYTES) * PAGE_BYTES + PAGE_BYTES == event.size:
            window.outer = before.area
            window.tables += before.tables
        self._windows[event.task] = window

    def _area_free(self, event: AreaFree) -> None:
        self._windows.pop(event.task, None)
        area = self._areas.pop(event.start, None)
        if area is None:
            self.layers.left_out["unmatched_area_frees"] += 1
            return
        self._area_frees[event.task] = area.page_count
        self._steps.append((False, event.cpu, area))

    def _implied_free(self, cpu: int, thing: Object | Area) -> None:
        self.layers.implied_frees += 1
        self._steps.append((False, cpu, thing))

    def _new_tables(self, event: AreaAlloc) -> int:
        """Regions of each table level that the area is the first to enter."""
        last = event.start + event.size - PAGE_BYTES - 1
        entered = {(span, number) for span in TABLE_SPANS
                   for number in range(event.start >> span, (last >> span) + 1)}
        count = len(entered - self._regions)
        self._regions |= entered
        return count

    def _watch_window(self, event: ObjectAlloc) -> None:
        window = self._windows.get(event.task)
        if window is None or event.interrupt or event.role == "area":
            return
        if event.role == "array" and event.bytes_req == window.area.array_bytes and event.ptr > ZERO_SIZE_PTR:
            window.found_array()
        else:
            del self._windows[event.task]

    def _vmap_layer(self, event: PageAlloc) -> str:
        window = self._windows.get(event.task)
        if window is None or event.interrupt or event.gfp & (GFP_MOVABLE | GFP_RECLAIMABLE):
            return ""
        is_table = event.gfp & GFP_ZERO and not event.gfp & (GFP_ACCOUNT | GFP_HIGHMEM)
        if window.tables and not event.order and is_table:
            window.tables -= 1
            return "table"
        if window.pages >= 1 << event.order and event.gfp & GFP_HIGHMEM and event.gfp & GFP_NOWARN:
            window.pages -= 1 << event.order
            return "vmalloc"
        return ""
