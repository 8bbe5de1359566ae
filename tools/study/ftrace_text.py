# Reads the text of Linux's /sys/kernel/tracing/trace, strictly, and gives its memory-allocation events.
# SPDX-License-Identifier: BSD-2-Clause
"""Ftrace text, plain or .xz, into events.

Every line is either understood wholly or refused with its number: a line that is skipped silently would let
an allocation vanish and its free turn up as one of something allocated earlier. What may be missing by
nature, events the ring buffer lost, is counted. The events that do not take or give back memory themselves
(pages moving to and from per-CPU lists, the second line of a batched free) are counted and dropped; an event
of any other name is refused, because what it stands for cannot be guessed.
"""

import lzma
import re
from collections import Counter
from pathlib import Path
from typing import IO, Callable, Iterator, NamedTuple, Optional


class TraceError(Exception):
    """A trace is refused; the message names the file, the line and what is wrong with it."""


class ObjectAlloc(NamedTuple):
    """kmalloc (cache: None) or kmem_cache_alloc (cache: name, bytes_req, bytes_alloc). ptr 0: it failed."""
    cpu: int
    task: int
    interrupt: bool
    ptr: int
    bytes_req: int
    bytes_alloc: int
    cache: Optional[tuple[str, int, int]]
    gfp: int
    role: str           # "array" of a vmalloc area's pages, "area" for what describes one, "" for all others


class ObjectFree(NamedTuple):
    """kfree or kmem_cache_free."""
    cpu: int
    task: int
    interrupt: bool
    ptr: int


class PageAlloc(NamedTuple):
    """mm_page_alloc; failed ones have pfn None. gfp holds the migratetype too."""
    cpu: int
    task: int
    interrupt: bool
    pfn: Optional[int]
    order: int
    gfp: int


class PageFree(NamedTuple):
    """mm_page_free."""
    cpu: int
    task: int
    interrupt: bool
    pfn: int
    order: int


class AreaAlloc(NamedTuple):
    """alloc_vmap_area; size includes the guard page."""
    cpu: int
    task: int
    interrupt: bool
    start: int
    size: int
    failed: bool


class AreaFree(NamedTuple):
    """free_vmap_area_noflush."""
    cpu: int
    task: int
    interrupt: bool
    start: int


Event = ObjectAlloc | ObjectFree | PageAlloc | PageFree | AreaAlloc | AreaFree

# What of the gfp flags matters: for the replay (the low byte, as in the image), and to tell the layers apart.
GFP_WAIT, GFP_HIGH, GFP_ZERO, GFP_DMA = 1 << 0, 1 << 1, 1 << 2, 1 << 3
GFP_DMA32, GFP_MOVABLE, GFP_RECLAIMABLE = 1 << 4, 1 << 5, 1 << 6
GFP_REPLAYED = 0xff
GFP_HIGHMEM, GFP_NOWARN, GFP_ACCOUNT = 1 << 8, 1 << 9, 1 << 10

GFP_NAMES = {
    "none": 0,
    "GFP_ATOMIC": GFP_HIGH, "GFP_NOWAIT": 0, "GFP_KERNEL": GFP_WAIT,
    "GFP_KERNEL_ACCOUNT": GFP_WAIT | GFP_ACCOUNT, "GFP_NOIO": GFP_WAIT, "GFP_NOFS": GFP_WAIT,
    "GFP_USER": GFP_WAIT, "GFP_DMA": GFP_DMA, "GFP_DMA32": GFP_DMA32,
    "GFP_HIGHUSER": GFP_WAIT | GFP_HIGHMEM, "GFP_HIGHUSER_MOVABLE": GFP_WAIT | GFP_HIGHMEM | GFP_MOVABLE,
    "GFP_TRANSHUGE": GFP_WAIT | GFP_HIGHMEM | GFP_MOVABLE | GFP_NOWARN,
    "GFP_TRANSHUGE_LIGHT": GFP_HIGHMEM | GFP_MOVABLE | GFP_NOWARN,
    "__GFP_DIRECT_RECLAIM": GFP_WAIT, "__GFP_RECLAIM": GFP_WAIT, "__GFP_KSWAPD_RECLAIM": 0,
    "__GFP_HIGH": GFP_HIGH, "__GFP_ATOMIC": GFP_HIGH, "__GFP_MEMALLOC": GFP_HIGH, "__GFP_NOMEMALLOC": 0,
    "__GFP_ZERO": GFP_ZERO, "__GFP_ZEROTAGS": 0, "__GFP_HIGHMEM": GFP_HIGHMEM,
    "__GFP_MOVABLE": GFP_MOVABLE, "__GFP_RECLAIMABLE": GFP_RECLAIMABLE,
    "__GFP_NOWARN": GFP_NOWARN, "__GFP_ACCOUNT": GFP_ACCOUNT,
    "__GFP_IO": 0, "__GFP_FS": 0, "__GFP_NORETRY": 0, "__GFP_RETRY_MAYFAIL": 0, "__GFP_NOFAIL": 0,
    "__GFP_COMP": 0, "__GFP_HARDWALL": 0, "__GFP_THISNODE": 0, "__GFP_WRITE": 0, "__GFP_NOLOCKDEP": 0,
    "__GFP_NO_OBJ_EXT": 0, "__GFP_SKIP_ZERO": 0, "__GFP_SKIP_KASAN": 0, "__GFP_SKIP_KASAN_POISON": 0,
    "__GFP_SKIP_KASAN_UNPOISON": 0,
}

DROPPED_EVENTS = ("mm_page_free_batched", "mm_page_pcpu_drain", "mm_page_alloc_zone_locked",
                  "mm_page_alloc_extfrag", "purge_vmap_area_lazy")

PAGE_SHIFT = 12             # of the traced kernel
PAGE_BYTES = 1 << PAGE_SHIFT
LARGEST_ORDER = 10
LARGEST_BYTES = (1 << 32) - 1
ZERO_SIZE_PTR = 16          # what kmalloc(0) gives; kfree takes it like NULL

LINE = re.compile(r".{16}-(\d+) +(?:\([ \d-]+\) +)?\[(\d{3})\] (\S{4,6}) +(\d+\.\d{6,9}): (\w+): (.*)\n")
LOST = re.compile(r"CPU:(\d+) \[LOST (?:(\d+) )?EVENTS\]\n")
ENTRIES = re.compile(r"# entries-in-buffer/entries-written: (\d+)/(\d+) +#P:(\d+)\n")

SITE = r"call_site=(\S+(?: \[\S+\])?) "
SIZES = r"bytes_req=(\d+) bytes_alloc=(\d+) gfp_flags=(\S+)(?: node=-?\d+)?(?: accounted=(?:true|false))?"
POINTER = r"([0-9a-f]{16}|\(null\))"
FIELDS = {
    "kmalloc": re.compile(SITE + r"ptr=" + POINTER + r" " + SIZES),
    "kmem_cache_alloc": re.compile(SITE + r"ptr=" + POINTER + r"(?: name=(\S+))? " + SIZES),
    "kfree": re.compile(SITE + r"ptr=" + POINTER),
    "kmem_cache_free": re.compile(SITE + r"ptr=" + POINTER + r"(?: name=\S+)?"),
    "mm_page_alloc": re.compile(r"page=" + POINTER + r" pfn=(?:0x)?([0-9a-f]+) order=(\d+) migratetype=(\d+) "
                                r"gfp_flags=(\S+)"),
    "mm_page_free": re.compile(r"page=" + POINTER + r" pfn=(?:0x)?([0-9a-f]+) order=(\d+)"),
    "alloc_vmap_area": re.compile(r"va_start: (\d+) size=(\d+) align=\d+ vstart=0x[0-9a-f]+ vend=0x[0-9a-f]+ "
                                  r"failed=(-?\d+)"),
    "free_vmap_area_noflush": re.compile(r"va_start=0x([0-9a-f]+) nr_lazy=\d+ nr_lazy_max=\d+"),
}


def vmalloc_role(site: str) -> str:
    """What an object allocated at that call site is to vmalloc; see ObjectAlloc.role."""
    if site.startswith("__vmalloc"):
        return "array"
    return "area" if site.startswith(("alloc_vmap_area", "__get_vm_area")) else ""


class FtraceText:
    """One trace. Iterate over events() once; the counters are complete when it is exhausted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        self.by_name: Counter[str] = Counter()
        self.entries_in_buffer: Optional[int] = None
        self.entries_written: Optional[int] = None
        self.lost_lines = 0             # "LOST n EVENTS" lines, and the sum of their n where they say it
        self.lost_reported = 0
        self._gfp: dict[str, int] = {}
        self._caches: dict[tuple[str, int, int], tuple[str, int, int]] = {}

    @property
    def event_count(self) -> int:
        """Event lines read, the dropped ones included."""
        return sum(self.by_name.values())

    @property
    def overwritten(self) -> int:
        """Events written to the ring buffer but no longer in it when it was read."""
        if self.entries_in_buffer is None or self.entries_written is None:
            return 0
        return self.entries_written - self.entries_in_buffer

    def refuse(self, what: str) -> TraceError:
        """The error for the present line."""
        return TraceError(f"{self.path}: line {self.line}: {what}")

    def _open(self) -> IO[str]:
        if self.path.suffix == ".xz":
            return lzma.open(self.path, "rt", encoding="ascii", newline="\n")
        return open(self.path, encoding="ascii", newline="\n")

    def events(self) -> Iterator[Event]:
        """The events in the file's order. Raises TraceError at the first thing that is wrong."""
        try:
            with self._open() as text:
                yield from self._parse(text)
        except (EOFError, lzma.LZMAError) as error:
            raise TraceError(f"{self.path}: not a whole .xz file, it breaks off or is damaged "
                             f"after line {self.line}: {error}") from None
        except UnicodeDecodeError as error:
            raise TraceError(f"{self.path}: after line {self.line}: byte 0x{error.object[error.start]:02x} "
                             f"is not text") from None
        except OSError as error:
            raise TraceError(f"{self.path}: {error.strerror}") from None
        self._check_end()

    def _parse(self, text: IO[str]) -> Iterator[Event]:
        match_line = LINE.fullmatch
        makers: dict[str, Callable[[tuple[int, int, bool], tuple], Event]] = {
            "kmalloc": self._kmalloc, "kmem_cache_alloc": self._kmem_cache_alloc,
            "kfree": self._object_free, "kmem_cache_free": self._object_free,
            "mm_page_alloc": self._page_alloc, "mm_page_free": self._page_free,
            "alloc_vmap_area": self._area_alloc, "free_vmap_area_noflush": self._area_free,
        }
        parsers = {name: (FIELDS[name].fullmatch, maker) for name, maker in makers.items()}
        by_name = self.by_name
        last_time = 0.0
        for line in text:
            self.line += 1
            match = match_line(line)
            if match is None:
                self._other_line(line)
                continue
            pid, cpu, flags, time_text, name, rest = match.groups()
            time = float(time_text)
            if time < last_time:
                raise self.refuse(f"time goes back from {last_time:.6f} to {time_text}")
            last_time = time
            parser = parsers.get(name)
            if parser is None:
                if name not in DROPPED_EVENTS:
                    raise self.refuse(f"event {name!r} is not a memory-allocation event known here; "
                                      f"known are {', '.join(sorted(parsers))}, and dropped "
                                      f"{', '.join(DROPPED_EVENTS)}")
                by_name[name] += 1
                continue
            fields = parser[0](rest)
            if fields is None:
                raise self.refuse(f"malformed fields of {name}: {rest!r}")
            by_name[name] += 1
            # The idle tasks of all CPUs are process 0.
            task = int(pid) or -1 - int(cpu)
            yield parser[1]((int(cpu), task, flags[2] != "."), fields.groups())

    def _other_line(self, line: str) -> None:
        if not line.endswith("\n"):
            raise self.refuse("the file ends within this line")
        lost = LOST.fullmatch(line)
        if lost:
            self.lost_lines += 1
            self.lost_reported += int(lost[2] or 0)
        elif line.startswith("#"):
            entries = ENTRIES.fullmatch(line)
            if entries:
                self.entries_in_buffer, self.entries_written = int(entries[1]), int(entries[2])
                if self.entries_written < self.entries_in_buffer:
                    raise self.refuse(f"{entries[1]} entries in the buffer, but only {entries[2]} written")
            elif "entries-in-buffer" in line:
                raise self.refuse(f"malformed header: {line.strip()!r}")
        else:
            raise self.refuse(f"malformed line: {line.rstrip()[:120]!r}")

    def _check_end(self) -> None:
        if not self.event_count:
            raise TraceError(f"{self.path}: holds no event")
        if self.entries_in_buffer is not None and self.entries_in_buffer != self.event_count:
            raise TraceError(f"{self.path}: the header promises {self.entries_in_buffer} events, "
                             f"the file holds {self.event_count}")

    def _gfp_code(self, flags: str) -> int:
        code = self._gfp.get(flags)
        if code is None:
            code = 0
            for name in flags.split("|"):
                if name not in GFP_NAMES:
                    raise self.refuse(f"unknown gfp flag {name!r}")
                code |= GFP_NAMES[name]
            self._gfp[flags] = code
        return code

    def _pointer(self, text: str) -> int:
        pointer = 0 if text == "(null)" else int(text, 16)
        if pointer > ZERO_SIZE_PTR and not pointer >> 63:
            raise self.refuse(f"{text} is no kernel address (hashed? record with no_hash_pointers)")
        return pointer

    def _frames(self, pfn: str, order: str) -> tuple[int, int]:
        number, exponent = int(pfn, 16), int(order)
        if exponent > LARGEST_ORDER:
            raise self.refuse(f"order {order} is larger than {LARGEST_ORDER}")
        if number >> 44 or number & ((1 << exponent) - 1):
            raise self.refuse(f"pfn 0x{pfn} is no page frame number of a block of order {order}")
        return number, exponent

    def _object_size(self, bytes_req: str, bytes_alloc: str) -> tuple[int, int]:
        requested, allocated = int(bytes_req), int(bytes_alloc)
        if not 0 < requested <= allocated <= LARGEST_BYTES:
            raise self.refuse(f"bytes_req={bytes_req} bytes_alloc={bytes_alloc} cannot be")
        return requested, allocated

    def _kmalloc(self, where: tuple[int, int, bool], fields: tuple) -> ObjectAlloc:
        site, pointer, bytes_req, bytes_alloc, gfp = fields
        address, requested, allocated = self._pointer(pointer), int(bytes_req), int(bytes_alloc)
        if address > ZERO_SIZE_PTR:     # a failed one may have asked for more than there is
            requested, allocated = self._object_size(bytes_req, bytes_alloc)
        return ObjectAlloc(*where, address, requested, allocated, None, self._gfp_code(gfp),
                           vmalloc_role(site))

    def _kmem_cache_alloc(self, where: tuple[int, int, bool], fields: tuple) -> ObjectAlloc:
        site, pointer, name, bytes_req, bytes_alloc, gfp = fields
        requested, allocated = self._object_size(bytes_req, bytes_alloc)
        cache = (name or f"size-{bytes_req}-{bytes_alloc}", requested, allocated)
        cache = self._caches.setdefault(cache, cache)
        return ObjectAlloc(*where, self._pointer(pointer), requested, allocated, cache, self._gfp_code(gfp),
                           vmalloc_role(site))

    def _object_free(self, where: tuple[int, int, bool], fields: tuple) -> ObjectFree:
        return ObjectFree(*where, self._pointer(fields[1]))

    def _page_alloc(self, where: tuple[int, int, bool], fields: tuple) -> PageAlloc:
        page, pfn, order, migratetype, gfp = fields
        code = self._gfp_code(gfp) & ~(GFP_MOVABLE | GFP_RECLAIMABLE)
        code |= {"1": GFP_MOVABLE, "2": GFP_RECLAIMABLE}.get(migratetype, 0)
        if not self._pointer(page):
            return PageAlloc(*where, None, int(order), code)
        return PageAlloc(*where, *self._frames(pfn, order), code)

    def _page_free(self, where: tuple[int, int, bool], fields: tuple) -> PageFree:
        self._pointer(fields[0])
        return PageFree(*where, *self._frames(fields[1], fields[2]))

    def _area_alloc(self, where: tuple[int, int, bool], fields: tuple) -> AreaAlloc:
        start, size = int(fields[0]), int(fields[1])
        is_range = start >> 63 == 1 and size and not (start | size) % PAGE_BYTES and start + size <= 1 << 64
        if fields[2] == "0" and not is_range:
            raise self.refuse(f"va_start: {fields[0]} size={fields[1]} is no range of kernel pages")
        return AreaAlloc(*where, start, size, fields[2] != "0")

    def _area_free(self, where: tuple[int, int, bool], fields: tuple) -> AreaFree:
        return AreaFree(*where, int(fields[0], 16))
