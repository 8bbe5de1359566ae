# A second reader of replay images, for the tests: written from the format, not from the converter.
# SPDX-License-Identifier: BSD-2-Clause
"""Offsets are those of test/study/qtrace_format.h, spelled out. Every rule of the format is checked."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

OPS = ("cache_alloc", "kmalloc", "object_free", "page_alloc", "page_free", "area_alloc", "area_free")
FREE_OF = {"cache_alloc": "object_free", "kmalloc": "object_free", "page_alloc": "page_free",
           "area_alloc": "area_free"}


@dataclass
class Cache:
    name: str
    object_bytes: int
    align_bytes: int
    flags: int


@dataclass
class Event:
    op: str
    slot: int
    argument: int
    hart: int
    gfp: int


@dataclass
class Image:
    name: str
    harts: int
    slots: int
    lost_events: int
    skipped: tuple[int, int, int]
    failed_allocations: int
    requested_peak: int
    requested_final: int
    caches: list[Cache]
    events: list[Event]

    def bytes_of(self, event: Event) -> int:
        """What an allocation asks for."""
        return self.caches[event.argument].object_bytes if event.op == "cache_alloc" else event.argument

    def requested(self, ops: tuple[str, ...]) -> tuple[int, int]:
        """Most and last number of bytes that what these allocations made and is alive asked for."""
        alive: dict[int, int] = {}
        now = peak = 0
        for event in self.events:
            if event.op in ops:
                alive[event.slot] = self.bytes_of(event)
                now += alive[event.slot]
                peak = max(peak, now)
            elif event.op not in FREE_OF:
                now -= alive.pop(event.slot, 0)
        return peak, now


def number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at:at + size], "little")


def text(data: bytes, at: int) -> str:
    field = data[at:at + 32]
    name, _, rest = field.partition(b"\0")
    assert len(name) < 32 and not rest.strip(b"\0"), f"{field!r} is not a text that NULs fill up"
    return name.decode("ascii")


def decode(data: bytes) -> Image:
    """The image, or an AssertionError that says which rule it breaks."""
    assert data[:8] == b"QTRACE\x1a\n", "magic"
    assert number(data, 8) == 1, "version"
    assert number(data, 12) == 144, "header length"
    assert number(data, 16, 8) == len(data), "total length"
    assert number(data, len(data) - 4) == zlib.crc32(data[:-4]), "crc"
    harts, cache_count, slots, event_count = (number(data, at) for at in (56, 60, 64, 68))
    assert len(data) == 144 + 48 * cache_count + 12 * event_count + 4, "counts and length"
    caches = []
    for at in range(144, 144 + 48 * cache_count, 48):
        assert number(data, at + 44) == 0, "a reserved field of a cache"
        caches.append(Cache(text(data, at), *(number(data, at + offset) for offset in (32, 36, 40))))
    assert len({cache.name for cache in caches}) == len(caches), "names of caches repeat"
    for cache in caches:
        assert 0 < len(cache.name) <= 29 and cache.object_bytes, cache
        assert cache.align_bytes in (8 << i for i in range(10)) and cache.flags in (0, 1), cache
    start = 144 + 48 * cache_count
    events = []
    for at in range(start, start + 12 * event_count, 12):
        assert data[at + 11] == 0, "a reserved field of an event"
        slot, argument, (op, hart, gfp) = number(data, at), number(data, at + 4), data[at + 8:at + 11]
        events.append(Event(OPS[op], slot, argument, hart, gfp))
    image = Image(text(data, 24), harts, slots, number(data, 120, 8),
                  (number(data, 128), number(data, 132), number(data, 136)), number(data, 140),
                  number(data, 104, 8), number(data, 112, 8), caches, events)
    counts = [sum(event.op == op for event in events) for op in OPS] + [0]
    assert counts == [number(data, 72 + 4 * i) for i in range(8)], "counts of operations"
    check_life(image)
    return image


def check_life(image: Image) -> None:
    """Slots are filled and emptied in turn, by the matching operations, and no slot is unused."""
    alive: dict[int, Event] = {}
    used = set()
    for event in image.events:
        assert event.hart < image.harts and event.slot < image.slots and event.gfp < 128, event
        if event.op in FREE_OF:
            assert event.slot not in alive, f"{event} fills a full slot"
            if event.op == "cache_alloc":
                assert event.argument < len(image.caches), event
            elif event.op == "page_alloc":
                assert event.argument in (4096 << order for order in range(11)), event
            else:
                assert event.argument and (event.op == "kmalloc" or event.argument % 4096 == 0), event
            alive[event.slot] = event
            used.add(event.slot)
        else:
            assert event.argument == 0 and event.gfp == 0, event
            born = alive.pop(event.slot, None)
            assert born is not None and FREE_OF[born.op] == event.op, f"{event} does not free {born}"
    assert len(used) == image.slots, "slots that nothing uses"
    peak, final = image.requested(tuple(FREE_OF))
    assert (peak, final) == (image.requested_peak, image.requested_final), "bytes requested"
