#!/usr/bin/python3
# Checks that the documents name only what exists: links, paths in backticks, folders' READMEs, glossary
# terms.
# SPDX-License-Identifier: BSD-2-Clause
"""In every *.md file of the tree, outside of code blocks:

- a relative link leads to a file or folder of the tree, and its #anchor to a heading there;
- a path in backticks exists, from the root, from the document's folder or as an include names it; `*` may
  stand for any name, and a bare file name such as `buddy.c` must be somewhere. `<module>_test.c` and `NAME.c`
  are patterns for the reader and not looked up.

Every folder that holds files has a README.md. Every term that GLOSSARY.md explains, in a line that starts
with `- **term**` or `- **term**, **other name**`, is used somewhere else.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from pathlib import Path

from check_common import TOP_FOLDERS, parse_root, state_rule, text_files, tree_files
from run.emit import Report

GLOSSARY = Path("GLOSSARY.md")
INCLUDE_ROOTS = ("lib", "arch/include", "arch/riscv/include", "mm/include", "platform/include", "test")
SOURCE_SUFFIXES = (".c", ".h", ".S", ".ld", ".py", ".sh", ".md", ".build", ".ini")

_FENCE = re.compile(r"^([ \t]*)(```+|~~~+).*?^[ \t]*\2[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"\n]*\")?\s*\)")
_REFERENCE = re.compile(r"^[ \t]*\[[^\]\n]+\]:[ \t]*<?(?P<target>[^\s>]+)>?", re.MULTILINE)
_CODE = re.compile(r"(?<!`)`(?P<code>[^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#{1,6}[ \t]+(?P<text>.+?)[ \t]*#*$", re.MULTILINE)
_PATH = re.compile(r"(?:\./)?[\w.+*?-]+(?:/[\w.+*?-]+)*/?")
_TERM_LINE = re.compile(r"[-*|][ \t]+(?P<terms>\*\*[^*\n]+\*\*(?:[ \t]*(?:,|/|or)[ \t]*\*\*[^*\n]+\*\*)*)")
_TERM = re.compile(r"\*\*([^*\n]+)\*\*")


def blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def line_at(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


class Documents:
    """The tree's Markdown, and what the tree has for it to name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.texts = dict(text_files(root))
        self.documents = {
            path: _FENCE.sub(lambda match: blank(match.group()), text)
            for path, text in self.texts.items()
            if path.suffix == ".md"
        }
        files = [*self.texts, *tree_files(root)]
        self.paths = {path.as_posix() for path in files}
        self.paths |= {parent.as_posix() for path in files for parent in path.parents}
        self.names = {path.name for path in files}

    def anchors(self, path: Path) -> set[str]:
        """What GitHub's and Debian's viewers make of the headings."""
        found: set[str] = set()
        for heading in _HEADING.finditer(self.documents[path]):
            plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"]).lower()
            slug = base = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            count = 0
            while slug in found:
                count += 1
                slug = f"{base}-{count}"
            found.add(slug)
        return found

    def exists(self, path: str, folder: Path) -> bool:
        """Whether a path in backticks is one of the tree's, as one of the ways in which people name it."""
        wanted = path.removeprefix("./").rstrip("/")
        bases = ["", folder.as_posix(), *INCLUDE_ROOTS]
        candidates = [os.path.normpath(os.path.join(base, wanted)) for base in bases]
        if "*" in wanted or "?" in wanted:
            return any(fnmatch.filter(self.paths, candidate) for candidate in candidates)
        if "/" not in wanted and wanted in self.names:
            return True
        return any(candidate in self.paths for candidate in candidates)


def find_dead_links(docs: Documents) -> list[str]:
    findings = []
    for path, text in docs.documents.items():
        plain = _CODE.sub(lambda match: blank(match.group()), text)
        for link in [*_LINK.finditer(plain), *_REFERENCE.finditer(plain)]:
            target, _, anchor = link["target"].partition("#")
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            where = f"{path}:{line_at(plain, link.start())}: {link['target']}"
            linked = Path(os.path.normpath(path.parent / target)) if target else path
            if target.startswith("/") or linked.as_posix() not in docs.paths:
                findings.append(f"{where} leads nowhere")
            elif anchor and linked in docs.documents and anchor not in docs.anchors(linked):
                findings.append(f"{where} has no such heading")
    return findings


def names_a_path(word: str) -> bool:
    """Whether a word in backticks means a file or folder of ours: by its top folder or its suffix."""
    if not _PATH.fullmatch(word):
        return False
    if re.search(r"[A-Z]{2}", word) and Path(word).suffix != ".md":
        return False
    parts = word.removeprefix("./").split("/")
    if len(parts) > 1 and parts[0] in TOP_FOLDERS:
        return True
    return word.endswith(SOURCE_SUFFIXES) and not word.startswith((".", "/", "*."))


def find_dead_paths(docs: Documents) -> list[str]:
    findings = []
    for path, text in docs.documents.items():
        for code in _CODE.finditer(text):
            for word in re.split(r"[\s=,;:()]+", code["code"]):
                word = re.sub(r"^<([\w./]+\.h)>$", r"\1", word)
                if names_a_path(word) and not docs.exists(word, path.parent):
                    findings.append(f"{path}:{line_at(text, code.start())}: `{word}` does not exist")
    return findings


def find_folders_without_readme(docs: Documents) -> list[str]:
    """For the headers in include/NAME, a README in include/ will do."""
    findings = []
    for folder in sorted({path.parent for path in tree_files(docs.root)}):
        places = [folder, folder.parent] if folder.parent.name == "include" else [folder]
        if not any((place / "README.md").as_posix() in docs.paths for place in places):
            findings.append(f"{folder}: has no README.md")
    return findings


def find_unused_terms(docs: Documents) -> list[str]:
    if GLOSSARY not in docs.documents:
        return [f"{GLOSSARY}: does not exist"]
    others = "\n".join(text for path, text in docs.texts.items() if path != GLOSSARY).lower()
    others = re.sub(r"[\s_-]+", " ", others)
    findings = []
    count = 0
    for number, line in enumerate(docs.documents[GLOSSARY].splitlines(), start=1):
        if found := _TERM_LINE.match(line):
            for term in _TERM.findall(found["terms"]):
                count += 1
                plain = re.sub(r"\s*\([^)]*\)|[`]", "", term).strip()
                if re.sub(r"[\s_-]+", " ", plain.lower()) not in others:
                    findings.append(f"{GLOSSARY}:{number}: nothing uses the term '{plain}'")
    if count == 0:
        findings.append(f"{GLOSSARY}:1: explains no term; one is written - **term**: what it means")
    return findings


def main() -> int:
    docs = Documents(parse_root("what the documents name"))
    report = Report()
    state_rule(report, "links_lead_somewhere", find_dead_links(docs))
    state_rule(report, "links_paths_exist", find_dead_paths(docs))
    state_rule(report, "links_every_folder_has_a_readme", find_folders_without_readme(docs))
    state_rule(report, "links_glossary_terms_are_used", find_unused_terms(docs))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
