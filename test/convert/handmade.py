# Small traces made by hand, for the converter's tests: a line of ftrace text for each thing that can happen.
# SPDX-License-Identifier: BSD-2-Clause
"""Frames and linear-map addresses correspond as they do on riscv64: RAM from 0x80200000 is seen at LINEAR."""

from __future__ import annotations

LINEAR = 0xff60000000000000
RAM = 0x80200000
VMALLOC = 0xff20000000000000
PAGE = 4096


def address(pfn: int, offset: int = 0) -> int:
    """Where the linear map shows a byte of a frame."""
    return LINEAR + pfn * PAGE - RAM + offset


class Trace:
    """The text of a trace, line by line; time passes with each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.time = 0

    def event(self, name: str, fields: str, cpu: int = 0, pid: int = 1, flags: str = ".....",
              comm: str = "init") -> "Trace":
        self.time += 3
        stamp = f"{self.time // 1000000:5d}.{self.time % 1000000:06d}"
        self.lines.append(f"{comm:>16}-{pid:<7d} [{cpu:03d}] {flags} {stamp}: {name}: {fields}")
        return self

    def kmalloc(self, ptr: int, size: int, alloc: int = 0, gfp: str = "GFP_KERNEL", site: str = "f+0x1c/0x2e",
                **where: object) -> "Trace":
        return self.event("kmalloc", f"call_site={site} ptr={ptr:016x} bytes_req={size} "
                                     f"bytes_alloc={alloc or size} gfp_flags={gfp} node=-1 accounted=false",
                          **where)

    def kfree(self, ptr: int, **where: object) -> "Trace":
        return self.event("kfree", f"call_site=g+0x2/0x40 ptr={ptr:016x}", **where)

    def cache_alloc(self, ptr: int, name: str, size: int, alloc: int = 0, gfp: str = "GFP_KERNEL",
                    site: str = "h+0x8/0x10", **where: object) -> "Trace":
        return self.event("kmem_cache_alloc", f"call_site={site} ptr={ptr:016x} name={name} bytes_req={size} "
                                              f"bytes_alloc={alloc or size} gfp_flags={gfp} node=-1 "
                                              "accounted=true", **where)

    def cache_free(self, ptr: int, name: str, **where: object) -> "Trace":
        return self.event("kmem_cache_free", f"call_site=h+0x9c/0x10 ptr={ptr:016x} name={name}", **where)

    def pages(self, pfn: int, order: int = 0, gfp: str = "GFP_KERNEL", migratetype: int = 0,
              **where: object) -> "Trace":
        page = 0xff6000007e000000 + pfn * 64 if pfn else 0
        return self.event("mm_page_alloc", f"page={page:016x} pfn=0x{pfn:x} order={order} "
                                           f"migratetype={migratetype} gfp_flags={gfp}", **where)

    def pages_free(self, pfn: int, order: int = 0, **where: object) -> "Trace":
        page = 0xff6000007e000000 + pfn * 64
        return self.event("mm_page_free", f"page={page:016x} pfn=0x{pfn:x} order={order}", **where)

    def area(self, start: int, pages: int, failed: int = 0, **where: object) -> "Trace":
        """An area of that many pages and its guard."""
        return self.event("alloc_vmap_area", f"va_start: {start} size={(pages + 1) * PAGE} align=1 "
                                             "vstart=0xff20000000000000 vend=0xff60000000000000 "
                                             f"failed={failed}", **where)

    def area_free(self, start: int, **where: object) -> "Trace":
        fields = f"va_start=0x{start:x} nr_lazy=1 nr_lazy_max=24576"
        return self.event("free_vmap_area_noflush", fields, **where)

    def array(self, ptr: int, pages: int, **where: object) -> "Trace":
        """The array of an area's pages."""
        return self.kmalloc(ptr, 8 * pages, gfp="GFP_KERNEL|__GFP_ZERO",
                            site="__vmalloc_node_range+0x11c/0x4c4", **where)

    def text(self, head: str = "") -> str:
        return "# tracer: nop\n#\n" + head + "".join(line + "\n" for line in self.lines)
