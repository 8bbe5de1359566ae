#!/usr/bin/python3
# Tests of the check_*.py scripts: a clean tree passes every rule, and each planted violation fails its own.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import check_size  # noqa: E402
from run.emit import Report  # noqa: E402

SCRIPTS = ("check_ranks", "check_size", "check_style", "check_links")
LICENSE = "SPDX-License-Identifier: BSD-2-Clause"
# In two parts, here and below, because this file is checked, too.
MARK = "TO" "DO"


def c(purpose: str, *lines: str) -> str:
    return "\n".join([f"// {purpose}", f"// {LICENSE}", *lines]) + "\n"


def header(purpose: str, *lines: str) -> str:
    return c(purpose, "#pragma once", *lines)


def markdown(purpose: str, *lines: str) -> str:
    return "\n".join([f"<!-- {purpose} -->", f"<!-- {LICENSE} -->", *lines]) + "\n"


READMES = (
    "arch/include/arch", "arch/riscv", "arch/riscv/include/port", "lib/base", "lib/sync", "lib/init",
    "mm/include", "mm/phys", "mm/kmem", "platform/board", "test/unit", "tools",
)

CLEAN_TREE = {
    "README.md": markdown(
        "A tree that breaks no rule.",
        "# Clean tree", "",
        "See [the glossary](GLOSSARY.md#words-we-use), [pages](mm/phys/page.c) and [above](#clean-tree).",
        "`mm/phys/page.c`, `page.c`, `mm/page.h`, `<mm/page.h>`, `mm/phys/`, `test/unit/*_test.c`,",
        "`tools/tool.py --all`;",
        "not ours: `<module>_test.c`, `NAME.c`, `/proc/meminfo`, `a/b`, `report/x.csv`.",
        "", "```", "mm/gone.c and [nowhere](gone.md) in a picture", "```",
    ),
    "GLOSSARY.md": markdown("Words.", "# Words we use", "", "- **page**, **page frame** (or pfn): ours."),
    "LICENSE": "Any text.\n",
    **{f"{folder}/README.md": markdown(f"What {folder} is.", "# It") for folder in READMES},
    "lib/base/list.h": header(
        "Lists.",
        "#include <stdint.h>",
        "#ifdef QUIRE_HOST", "#include <errno.h>", "#else", "enum { EIO = 5 };", "#endif",
        "#define list_for_each(i, list) \\", "    for (i = first(list); i; i = next(i))",
        "struct list { struct list *next; void (*each)(void *); };",
        "typedef int (*compare)(const void *, const void *);",
        "extern char list_start[], list_end[];",
        "struct list *list_pop(struct list *list);",
        "void list_call(struct list *list, void (*call)(struct list *item, int), unsigned long flags);",
        "int list_print(const char *format, ...) __attribute__((format(printf, 1, 2)));",
        "void list_fill(char text[16], uint8_t (*table)[4], const struct list *const list);",
        "void list_init(void);",
        "static inline int list_length(const struct list *list) { return list ? 1 : 0; }",
        "_Static_assert(sizeof(struct list) == 16, \"(a, b)\");",
    ),
    "lib/base/list.c": c("Lists.", '#include <base/list.h>', '#include "private.h"'),
    "lib/base/private.h": header("Not for others."),
    "lib/sync/spinlock.h": header("Locks.", "#include <arch/irq.h>", "#include <base/list.h>"),
    "lib/init/start.c": c("Start-up.", "#include <mm/slab.h>", "#include <platform/board.h>"),
    "arch/include/arch/irq.h": header("Contract.", "#include <port/irq.h>"),
    "arch/riscv/include/port/irq.h": header("The port.", "void port_irq(void);"),
    "arch/riscv/entry.S": c(
        "Entry.", "#include <port/irq.h>", "    .cfi_sections .debug_frame", "    .cfi_startproc",
        "    csrr t0, scause    // why", "    .cfi_endproc",
    ),
    "arch/riscv/trap/trap.c": c("Traps.", '#include "../private.h"', 'void wait(void) { __asm__("wfi"); }'),
    "arch/riscv/trap/README.md": markdown("Traps.", "# Traps"),
    "arch/riscv/private.h": header("Of the port."),
    "mm/include/mm/page.h": header("Pages.", "#include <base/list.h>"),
    "mm/include/mm/gfp.h": header("Flags."),
    "mm/include/mm/slab.h": header("Slabs.", "#include <mm/page.h>"),
    "mm/phys/page.c": c(
        "Pages, each a page frame.", "#include <mm/page.h>", "/* #include <mm/slab.h> */", "int status;"
    ),
    "mm/kmem/slab.c": c("All.", "#include <mm/page.h>", "#include <mm/slab.h>", "#include <sync/spinlock.h>"),
    "platform/include/platform/board.h": header("Boards."),
    "platform/include/platform/README.md": markdown("Boards.", "# Boards"),
    "platform/board/board.c": c("A board.", "#include <platform/board.h>"),
    "test/unit/page_test.c": c("A test.", "#include <mm/slab.h>", "#include <stdio.h>"),
    # The word is also one of TAP's.
    "tools/tool.py": f"#!/usr/bin/python3\n# A tool.\n# {LICENSE}\nprint('ok 1 - x # {MARK} later')\n",
    "tools/data.xz": "\0\t \n",
}


@dataclass(frozen=True)
class Planted:
    """A file of the clean tree replaced or added (None: removed), the rule that breaks, and the report."""

    rule: str
    path: str
    text: str | None
    says: str


PLANTED = (
    Planted("ranks_no_include_goes_up", "mm/phys/page.c", c("P.",
            "#include <mm/page.h>", "#include <mm/slab.h>"),
            "mm/phys/page.c:4: mm/phys includes mm/slab.h of mm/kmem"),
    Planted("ranks_no_include_goes_up", "lib/base/list.c", c("L.", "#include <arch/irq.h>"),
            "lib/base/list.c:3:"),
    Planted("ranks_no_include_goes_up", "lib/sync/lock.c", c("L.", "# include <mm/page.h>"),
            "lib/sync/lock.c:3:"),
    Planted("ranks_no_include_goes_up", "arch/riscv/trap/trap.c", c("T.", "#include <mm/page.h>"),
            "trap.c:3:"),
    Planted("ranks_no_include_goes_up", "mm/include/mm/page.h", header("P.", "#include <platform/board.h>"),
            "page.h:4:"),
    Planted("ranks_every_file_has_one", "lib/other/new.c", c("N."),
            "lib/other/new.c:1: its folder has no rank"),
    Planted("ranks_every_file_has_one", "mm/include/mm/new.h", header("N."),
            "mm/include/mm/new.h:1: no single"),
    Planted("ranks_every_file_has_one", "mm/kmem/page.c", c("N."), "mm/include/mm/page.h:1: no single"),
    Planted("ranks_nothing_includes_test", "lib/init/start.c", c("S.", "#include <unit/page_test.c>"),
            "start.c:3:"),
    Planted("ranks_nothing_includes_test", "mm/phys/page.c", c("P.", '#include "../../test/x.h"'),
            "page.c:3:"),
    Planted("ranks_quotes_stay_in_their_folder", "mm/phys/page.c", c("P.", '#include "../kmem/own.h"'),
            "page.c:3:"),
    Planted("ranks_quotes_stay_in_their_folder", "mm/phys/page.c", c("P.", '#include "gone.h"'), "page.c:3:"),
    Planted("ranks_no_unknown_header", "lib/base/list.c", c("L.", "", "#include <string.h>"),
            "lib/base/list.c:4:"),
    Planted("ranks_no_unknown_header", "lib/base/list.c", c("L.", "#ifndef QUIRE_HOST",
            "#include <stdio.h>", "#endif"),
            "lib/base/list.c:4:"),
    Planted("ranks_port_headers_stay_in_arch", "mm/kmem/slab.c", c("S.", "#include <port/irq.h>"),
            "slab.c:3:"),
    *(
        Planted("ranks_mm_and_base_name_no_port", path, c("P.", "", line),
                f"{path}:4: names the port: {word}")
        for path, line, word in (
            ("mm/phys/page.c", "#if defined(__riscv)", "__riscv"),
            ("mm/phys/page.c", 'void f(void) { asm volatile("nop"); }', "asm"),
            ("lib/base/list.c", 'void f(void) { __asm__("nop"); }', "__asm__"),
            ("mm/kmem/slab.c", "// after sfence.vma", "sfence"),
            ("mm/kmem/slab.c", "uint64_t satp;", "satp"),
            ("mm/kmem/slab.c", "read(sstatus);", "sstatus"),
            ("mm/kmem/slab.c", "// as Sv39 has it", "Sv39"),
            ("mm/kmem/slab.c", "#include <arch/riscv/x.h>", "riscv"),
        )
    ),
    Planted("ranks_no_include_cycle", "mm/include/mm/page.h", header("P.", "#include <mm/slab.h>"),
            "includes itself"),
    Planted("size_mm", "mm/phys/page.c", c("P.", *["int a;"] * (check_size.MM_LINES_MAX + 1)), "lines too many"),
    Planted("size_kernel", "arch/riscv/big.S", c("B.", *["nop"] * (check_size.KERNEL_LINES_MAX + 1)), "lines too many"),
    Planted("style_line_length", "mm/phys/page.c", c("P.", "", "// " + "x" * 118),
            "mm/phys/page.c:4: 121 columns"),
    Planted("style_no_tabs", "tools/tool.sh", f"#!/bin/sh\n# A.\n# {LICENSE}\nif a; then\n\tb\nfi\n",
            "tools/tool.sh:5:"),
    Planted("style_no_trailing_space", "README.md", markdown("R.", "# R ", ""), "README.md:3:"),
    Planted("style_ends_with_one_newline", "mm/phys/page.c", c("P.")[:-1], "mm/phys/page.c:"),
    Planted("style_ends_with_one_newline", "mm/phys/page.c", c("P.") + "\n", "mm/phys/page.c:"),
    Planted("style_head_says_what_and_licence", "mm/phys/page.c", f"int a;\n// {LICENSE}\n",
            "page.c:1: starts with no"),
    Planted("style_head_says_what_and_licence", "mm/phys/page.c", f"// {LICENSE}\n\nint a;\n",
            "page.c:1: its"),
    Planted("style_head_says_what_and_licence", "mm/phys/page.c", "// Pages.\nint a;\n", "page.c:1: no SPDX"),
    Planted("style_head_says_what_and_licence", "tools/meson.build", "# Builds.\n",
            "tools/meson.build:1: no SPDX"),
    Planted("style_no_leftovers", "lib/base/list.c", c("L.", f"// {MARK}: more"),
            f"lib/base/list.c:3: {MARK}"),
    Planted("style_no_leftovers", "README.md", markdown("R.", "FIX" "ME"), "README.md:3:"),
    Planted("style_no_leftovers", "tools/tool.py", f"# A.\n# {LICENSE}\n# HA" "CK\n", "tools/tool.py:3:"),
    *(
        Planted("style_no_machine_places", "tools/tool.py", f"# A.\n# {LICENSE}\nopen('{place}')\n",
                "tools/tool.py:3:")
        for place in ("/ro" "ot/x", "/ho" "me/me/x", "/tm" "p/x.log", "/wo" "rk/main", "../sha" "red/x")
    ),
    Planted("style_headers_pragma_once", "mm/include/mm/page.h", c("P.", "int a;"),
            "page.h:1: no #pragma once"),
    Planted("style_headers_pragma_once", "mm/include/mm/page.h",
            header("P.", "#ifndef PAGE_H", "#define PAGE_H", "#endif"), "page.h:4: PAGE_H"),
    *(
        Planted("style_prototypes_name_parameters", "mm/include/mm/page.h", header("P.", "", f"{line};"),
                f"page.h:5: {says}")
        for line, says in (
            ("void page_free(struct page *)", "page_free: the parameter 'struct page *'"),
            ("void page_free(struct page)", "page_free:"),
            ("int page_order(unsigned long)", "page_order:"),
            ("int page_order(size_t)", "page_order:"),
            ("int page_order(const size_t)", "page_order:"),
            ("int *page_order(int a, bool)", "page_order: the parameter 'bool'"),
            ("int page_call(void (*)(int a), int b)", "page_call:"),
            ("int page_call(char [4])", "page_call:"),
            ("int page_call()", "page_call() wants (void)"),
        )
    ),
    Planted("style_cfi_goes_to_debug_frame", "arch/riscv/entry.S", c("E.", "    .cfi_startproc"), "entry.S:1:"),
    Planted("links_lead_somewhere", "README.md", markdown("R.", "", "[a](gone.md)"),
            "README.md:4: gone.md leads nowhere"),
    Planted("links_lead_somewhere",
            "mm/phys/README.md", markdown("R.", "[a](page.c) [b](../../README.md#gone)"),
            "mm/phys/README.md:3: ../../README.md#gone has no such heading"),
    Planted("links_lead_somewhere", "README.md", markdown("R.", "[a]: ../elsewhere.md"), "README.md:3:"),
    Planted("links_paths_exist", "README.md", markdown("R.", "see `mm/phys/gone.c`"),
            "README.md:3: `mm/phys/gone.c`"),
    Planted("links_paths_exist", "README.md", markdown("R.", "`gone.c`"), "README.md:3: `gone.c`"),
    Planted("links_paths_exist", "README.md", markdown("R.", "`tools/gone --all`"),
            "README.md:3: `tools/gone`"),
    Planted("links_paths_exist", "README.md", markdown("R.", "`<mm/gone.h>`"), "README.md:3: `mm/gone.h`"),
    Planted("links_paths_exist", "README.md", markdown("R.", "`test/unit/*_gone.c`"), "README.md:3:"),
    Planted("links_paths_exist", "mm/phys/page.c", None, "README.md:6: `mm/phys/page.c`"),
    Planted("links_every_folder_has_a_readme", "mm/kmem/README.md", None, "mm/kmem:"),
    Planted("links_glossary_terms_are_used", "GLOSSARY.md", None, "GLOSSARY.md: does not exist"),
    Planted("links_glossary_terms_are_used", "GLOSSARY.md", markdown("G.", "- **page**, **quagga**: no."),
            "GLOSSARY.md:3: nothing uses the term 'quagga'"),
    Planted("links_glossary_terms_are_used", "GLOSSARY.md", markdown("G.", "# Words"),
            "GLOSSARY.md:1: explains no term"),
)


def write(root: Path, path: str, text: str | None) -> None:
    place = root / path
    if text is None:
        place.unlink()
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def run(script: str, root: Path) -> tuple[int, dict[str, bool], list[str]]:
    """Exit code, verdict of each rule, and the notes."""
    command = [sys.executable, str(TOOLS / f"{script}.py"), "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cases = re.findall(r"^(ok|not ok) \d+ - (.*)$", done.stdout, re.MULTILINE)
    verdicts = {name: sign == "ok" for sign, name in cases}
    notes = [line[2:] for line in done.stdout.splitlines() if line.startswith("# ")]
    notes += done.stderr.splitlines()
    return done.returncode, verdicts, notes


def main() -> int:
    report = Report()
    rules: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="quire-") as name:
        root = Path(name)
        for path, text in CLEAN_TREE.items():
            write(root, path, text)
        for script in SCRIPTS:
            with report.case(f"{script}_passes_a_clean_tree"):
                code, verdicts, notes = run(script, root)
                report.check(code == 0 and len(verdicts) > 1 and all(verdicts.values()), "\n".join(notes))
                rules.update(dict.fromkeys(verdicts, script))
        for rule, script in rules.items():
            with report.case(f"{script}_sees_{rule.partition('_')[2]}"):
                planted = [plant for plant in PLANTED if plant.rule == rule]
                report.check(bool(planted), "no violation of this rule is tried")
                for plant in planted:
                    write(root, plant.path, plant.text)
                    code, verdicts, notes = run(script, root)
                    write(root, plant.path, CLEAN_TREE.get(plant.path))
                    where = f"{plant.path}, {plant.says}"
                    report.check(code == 1 and not verdicts.get(rule, True), f"{where}: not seen")
                    is_told = any(plant.says in note for note in notes)
                    report.check(is_told, "\n".join([f"{where}: but", *notes]))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
