#!/usr/bin/python3
# Checks what a text file looks like: its first lines, its width, what must not be left in it, how headers are
# made.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import re
import sys
from pathlib import Path

from check_common import parse_root, state_rule, text_files, without_comments
from run.emit import Report

LINE_COLUMNS_MAX = 120
LICENSE_LINE = "SPDX-License-Identifier: BSD-2-Clause"
# The first lines of a file, in which its purpose and its licence stand.
HEAD_LINES = 6

# Text whose form is not ours to choose: the licence, and files that programs wrote.
FOREIGN_NAMES = {"LICENSE", ".gitignore"}
FOREIGN_SUFFIXES = {".json", ".csv", ".html"}
# Tables in Markdown are as wide as they are.
ANY_WIDTH_SUFFIXES = {".md"}

# In two parts, so that this file does not hold them.
LEFTOVERS = re.compile(r"\b(?:" + "|".join(("TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK")) + r")\b")
# TAP's directive for a case that may fail, as a test of a TAP reader, or a text about it, writes it.
TAP_DIRECTIVE = re.compile(r"(?:\bok \d+ - [^#]*|`)# \w+")
# Places that only one machine has: homes, scratch folders, and what lies beside the project.
MACHINE_PLACES = re.compile(r"(?<![\w.$}])/(?:work|root|home|tmp|Users)/[\w.]|\.\./" r"shared\b|/mnt/[\w.]")

COMMENT_OPENERS = {
    ".c": ("//", "/*"), ".h": ("//", "/*"), ".S": ("//", "/*"), ".ld": ("//", "/*"),
    ".md": ("<!--",), ".css": ("/*",), ".js": ("//", "/*"), ".html": ("<!--",), ".j2": ("{#", "<!--"),
}

_GUARD = re.compile(r"^[ \t]*#[ \t]*ifndef[ \t]+(\w+_H_?_?)\s*\n[ \t]*#[ \t]*define[ \t]+\1\b", re.MULTILINE)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_QUALIFIERS = {"const", "volatile", "restrict", "register", "*"}
_KEYWORDS = {
    "const", "volatile", "restrict", "register", "static", "struct", "union", "enum", "unsigned", "signed",
    "void", "bool", "_Bool", "char", "short", "int", "long", "float", "double", "__restrict", "_Atomic",
}
_TAGGED = {"struct", "union", "enum"}
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")


# Without it the directives describe frames in a section that the kernel's link drops (tools/mkdebug.py).
CFI_SECTION = ".cfi_sections .debug_frame"


def lines_of(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.split("\n"), start=1))


def head_findings(path: Path, text: str) -> list[str]:
    """A file starts with a comment that says what it is; only a script's interpreter may come before it."""
    lines = text.split("\n")[:HEAD_LINES]
    if lines and lines[0].startswith("#!"):
        del lines[0]
    openers = COMMENT_OPENERS.get(path.suffix, ("#",))
    findings = []
    if not lines or not lines[0].lstrip().startswith(openers):
        findings.append(f"{path}:1: starts with no comment that says what it is")
    elif not any(re.search(r"[A-Za-z]{2}", line) for line in lines[:2] if LICENSE_LINE not in line):
        findings.append(f"{path}:1: its first comment does not say what it is")
    if not any(LICENSE_LINE in line for line in lines):
        findings.append(f"{path}:1: no {LICENSE_LINE}")
    return findings


def guard_findings(path: Path, text: str) -> list[str]:
    code = without_comments(text)
    findings = []
    if not re.search(r"^#pragma once$", code, re.MULTILINE):
        findings.append(f"{path}:1: no #pragma once")
    if guard := _GUARD.search(code):
        findings.append(f"{path}:{code.count(chr(10), 0, guard.start()) + 1}: {guard[1]} guards it as well")
    return findings


def top_level_declarations(text: str) -> list[tuple[int, str]]:
    """What stands outside of all braces and ends with a semicolon, each with its line."""
    code = without_comments(text, keep_strings=False)
    code = _DIRECTIVE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), code)
    code = code.replace('extern ""', "")
    found = []
    depth, start = 0, 0
    for at, character in enumerate(code):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                start = at + 1
        elif character == ";" and depth == 0:
            declaration = code[start:at]
            line = code.count("\n", 0, start + len(declaration) - len(declaration.lstrip())) + 1
            found.append((line, declaration.strip()))
            start = at + 1
    return found


def split_parameters(text: str) -> list[str]:
    """At the commas outside of parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def is_named(parameter: str) -> bool:
    """Whether a parameter's declaration has a name and not only a type."""
    if parameter in ("void", "...", ""):
        return True
    if pointer := re.match(r"[^()]*\(\s*\*\s*(?:const\s+)?(\w*)", parameter):
        return pointer[1] != ""
    words = re.findall(r"\w+|\*", re.sub(r"\[[^\]]*\]", "", parameter))
    if not words or words[-1] == "*" or words[-1] in _KEYWORDS:
        return False
    types = [word for word in words[:-1] if word not in _QUALIFIERS]
    # A type must be left before the name; "struct x" alone is a tag and its word.
    return bool(types) and types != [next(iter(_TAGGED & set(types)), None)]


def prototype_findings(path: Path, text: str) -> list[str]:
    findings = []
    for line, declaration in top_level_declarations(text):
        plain = _ATTRIBUTE.sub("", declaration)
        if plain.startswith(("typedef", "_Static_assert", "static_assert")) or "=" in plain:
            continue
        prototype = re.match(r"[\w\s*]+?\b(?P<name>\w+)\s*\((?P<rest>.*)", plain, re.DOTALL)
        if not prototype or prototype["rest"].lstrip().startswith("*"):
            continue
        depth, end = 1, 0
        while depth and end < len(prototype["rest"]):
            depth += (prototype["rest"][end] == "(") - (prototype["rest"][end] == ")")
            end += 1
        parameters = split_parameters(prototype["rest"][: end - 1])
        if parameters == [""]:
            findings.append(f"{path}:{line}: {prototype['name']}() wants (void)")
        findings += [
            f"{path}:{line}: {prototype['name']}: the parameter '{parameter}' has no name"
            for parameter in parameters
            if not is_named(parameter)
        ]
    return findings


def main() -> int:
    root = parse_root("what text files look like")
    rules: dict[str, list[str]] = {
        name: []
        for name in (
            "style_line_length", "style_no_tabs", "style_no_trailing_space", "style_ends_with_one_newline",
            "style_head_says_what_and_licence", "style_no_leftovers", "style_no_machine_places",
            "style_headers_pragma_once", "style_prototypes_name_parameters", "style_cfi_goes_to_debug_frame",
        )
    }
    for path, text in text_files(root):
        if path.name in FOREIGN_NAMES or path.suffix in FOREIGN_SUFFIXES:
            continue
        for number, line in lines_of(text):
            if len(line) > LINE_COLUMNS_MAX and path.suffix not in ANY_WIDTH_SUFFIXES:
                findings = rules["style_line_length"]
                findings.append(f"{path}:{number}: {len(line)} columns of at most {LINE_COLUMNS_MAX}")
            if "\t" in line:
                rules["style_no_tabs"].append(f"{path}:{number}: a tab")
            if line != line.rstrip():
                rules["style_no_trailing_space"].append(f"{path}:{number}: space at the end of the line")
            if word := LEFTOVERS.search(TAP_DIRECTIVE.sub("#", line)):
                rules["style_no_leftovers"].append(f"{path}:{number}: {word.group()}")
            if place := MACHINE_PLACES.search(line):
                rules["style_no_machine_places"].append(f"{path}:{number}: {place.group()}")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            rules["style_ends_with_one_newline"].append(f"{path}: no newline at the end, or empty lines")
        rules["style_head_says_what_and_licence"] += head_findings(path, text)
        if path.suffix == ".h":
            rules["style_headers_pragma_once"] += guard_findings(path, text)
            rules["style_prototypes_name_parameters"] += prototype_findings(path, text)
        if path.suffix == ".S" and ".cfi_startproc" in text and CFI_SECTION not in text:
            rules["style_cfi_goes_to_debug_frame"].append(f"{path}:1: .cfi directives but no {CFI_SECTION}")
    report = Report()
    for name, findings in rules.items():
        state_rule(report, name, findings)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
