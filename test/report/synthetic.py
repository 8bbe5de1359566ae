# Invented study records, consistent in themselves, for testing the report without a kernel.
# SPDX-License-Identifier: BSD-2-Clause
"""A toy machine: a random walk of live requests, and allocators that are four lines of arithmetic.

The shapes are plausible (larger pages waste more and cost fewer instructions); the numbers mean nothing.
"""

from __future__ import annotations

import json
import math
import random
import zlib
from dataclasses import dataclass
from typing import Any

CLASSES = ("object_alloc", "object_free", "page_alloc", "page_free", "vmap_alloc", "vmap_free")
ORDERS = 11
PAGE_SIZES = (4096, 8192, 16384, 65536)
RAM_BYTES = 1 << 30
IMAGE_BYTES = 3 << 20
SAMPLES = 60
SHARES = (0.36, 0.33, 0.16, 0.145, 0.003, 0.002)
COSTS = (38, 34, 52, 47, 900, 620)


@dataclass(frozen=True)
class Trace:
    """What a run knows of its trace."""
    name: str
    crc: str = "00c0ffee"
    harts: int = 4
    events: int = 20000
    requested_peak: int = 12 << 20


# (event, bytes in pages, bytes in objects, requests of pages)
Moment = tuple[int, int, int, int]


def _walk(trace: Trace) -> list[Moment]:
    """Memory rises and falls like a sine, with some noise, and stays below the peak."""
    dice = random.Random(f"walk {trace.name}")
    count = min(SAMPLES, trace.events)
    moments = [(0, 0, 0, 0)]
    for i in range(1, count + 1):
        phase = math.sin(math.pi * i / count) ** 0.7 if i < count else 0.2
        pages = round(0.75 * trace.requested_peak * phase * dice.uniform(0.8, 1.0)) // 4096
        objects = round(0.2 * trace.requested_peak * min(1.0, 3 * i / count) * dice.uniform(0.9, 1.0))
        moments.append((trace.events * i // count, pages * 4096, objects, round(pages / 1.15)))
    return moments


def _breakdown(moment: Moment, page_size: int, bound: str) -> dict[str, int]:
    _, pages, objects, requests = moment
    share = 0.98 if bound == "own" else 0.11
    rounding = round(requests * (page_size - 4096) * share)
    slab_rounding = round(objects * 0.03)
    slab_free = round(objects * 0.06) + 46 * page_size
    tables = 8 * 4096
    used = pages + objects + rounding + slab_rounding + slab_free + tables
    filling = -used % page_size
    return {
        "requested": pages + objects, "waste_page_rounding": rounding, "waste_slab_rounding": slab_rounding,
        "slab_free": slab_free, "page_tables": tables, "other": filling, "held": used + filling,
        "live_objects": objects // 190, "live_pages": requests, "live_areas": 3,
    }


def _free_lists(free_bytes: int, page_size: int, wear: float) -> tuple[list[int], list[int]]:
    """Blocks of each order that add up to about the free memory, and the index that follows from them."""
    total = free_bytes // page_size
    blocks, left = [0] * ORDERS, total
    for order in range(ORDERS - 1):
        blocks[order] = round(total * wear * 0.5 ** (order + 4)) >> order
        left -= blocks[order] << order
    blocks[ORDERS - 1] = left >> (ORDERS - 1)
    blocks[0] += left & ((1 << (ORDERS - 1)) - 1)
    total = max(1, sum(count << order for order, count in enumerate(blocks)))
    unusable, small = [], 0
    for order, count in enumerate(blocks):
        unusable.append(small * 1000 // total)
        small += count << order
    return blocks, unusable


def _operation(name: str, count: int, page_size: int, bound: str, dice: random.Random) -> dict[str, Any]:
    cost = COSTS[CLASSES.index(name)]
    spread = 1 - 0.045 * math.log2(page_size // 4096)
    cheap = 0.45 if bound == "packed" and page_size > 4096 and name.startswith("page") else 1.0
    some = [max(1, round(cost * spread * cheap * dice.lognormvariate(0.05, 0.5))) for _ in range(400)]
    costs = (some * (count // len(some) + 1))[:count]
    log2 = [0] * 32
    for value in costs:
        log2[value.bit_length() - 1] += 1
    return {"kind": "op", "class": name, "count": count, "failed": 0, "instructions": sum(costs),
            "min": min(costs, default=0), "max": max(costs, default=0), "log2": log2}


def records(trace: Trace, bound: str, page_size: int) -> list[dict[str, Any]]:
    """The records of one run, without `end`."""
    dice = random.Random(f"run {trace.name}")
    metadata = RAM_BYTES // page_size * 32
    managed = RAM_BYTES - IMAGE_BYTES - metadata
    baseline_free = managed - (2 << 20)
    walk = _walk(trace)
    states = [_breakdown(moment, page_size, bound) for moment in walk]
    peak = max(range(len(walk)), key=lambda i: states[i]["held"])
    counts = [int(trace.events * share) for share in SHARES]
    counts[0] += trace.events - sum(counts)
    config = {
        "kind": "config", "format": 1, "trace": trace.name, "trace_crc": trace.crc, "bound": bound,
        "page_size": page_size, "mmu_page_size": 4096, "max_order": ORDERS - 1, "harts": trace.harts,
        "harts_online": trace.harts, "ram_bytes": RAM_BYTES, "managed_bytes": managed,
        "baseline_free": baseline_free, "metadata": metadata, "events": trace.events, "slots": 9000,
        "caches": 40, "empty_cost": 4,
        "options": f"page_size={page_size // 1024}k kernel_stack=16k assert=cheap",
    }
    samples = []
    for i, (moment, state) in enumerate(zip(walk, states)):
        free, unusable = _free_lists(baseline_free - state["held"], page_size, (i + 1) / len(walk))
        samples.append({"kind": "sample", "event": moment[0], "requested": state["requested"],
                        "held": state["held"], "free": free, "unusable": unusable})
    operations = [_operation(name, count, page_size, bound, dice) for name, count in zip(CLASSES, counts)]
    result = {
        "kind": "result", "trace": trace.name, "bound": bound, "page_size": page_size, "events": trace.events,
        "failed": 0, "failed_frees": 0, "skipped_frees": 7, "handovers": trace.events // 9,
        "peak_requested": trace.requested_peak, "peak_held": states[peak]["held"],
        "peak_event": walk[peak][0], "peak": states[peak], "final": states[-1], "largest_order_needed": 5,
    }
    return [config, *samples, *operations, result]


def object_records(trace: Trace, page_size: int) -> list[dict[str, Any]]:
    """The records of a run of objects alone, without `end`: a floor of 100,000 bytes and 20 pages above it."""
    config = records(trace, "own", page_size)[0]
    floor, floor_pages = 100_000, -(-100_000 // page_size) * page_size
    above = 20 * page_size
    peak = {"floor": floor, "floor_pages": floor_pages, "held": floor + above, "in_slabs": above // 2,
            "in_magazines": above // 4, "tails": above // 8, "own": above // 8}
    objects = {"kind": "objects", "trace": trace.name, "page_size": page_size, "events": trace.events // 2, "failed": 0,
               "peak_floor": floor, "peak_floor_event": trace.events // 3, "peak_floor_pages": floor_pages,
               "peak_held": floor + above, "peak_held_event": trace.events // 3, "peak": peak}
    return [config, objects]


def console(given: list[dict[str, Any]]) -> bytes:
    """What a kernel prints: a banner, the records, their CRC, and the end."""
    texts = [json.dumps(record) for record in given]
    crc = zlib.crc32("".join(text + "\n" for text in texts).encode())
    texts.append(json.dumps({"kind": "end", "records": len(texts), "crc": f"{crc:08x}"}))
    lines = ["", "OpenSBI v1.1", "   ____                    _____ ____ _____", "Quire: replaying", *(
        "@study " + text for text in texts), "done", ""]
    return "\r\n".join(lines).encode()
