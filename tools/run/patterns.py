# Patterns that choose test cases and benchmark rows by name, the same on the host and in the kernel.
# SPDX-License-Identifier: BSD-2-Clause
"""A filter is a list of globs (`*` and `?`); a name is chosen when one of them matches all of it.

A pattern typed without `*` and `?` means the name itself and everything below it: `page` chooses
`page.clear` and `buddy` chooses `buddy_merges`, but `page` does not choose `pagecache_reads`. It is widened
to globs on the host, so that the kernel, which is given `filter=GLOB,GLOB`, needs to know globs only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

_ALLOWED = re.compile(r"[A-Za-z0-9_.*?-]+")
_SEPARATORS = "._-"


def widen(pattern: str) -> list[str]:
    """Returns the globs that `pattern` stands for. Raises ValueError when it holds other characters."""
    if not _ALLOWED.fullmatch(pattern):
        raise ValueError(f"pattern '{pattern}': only letters, digits and _ . - * ? may stand in it")
    if "*" in pattern or "?" in pattern:
        return [pattern]
    return [pattern, *(f"{pattern}{separator}*" for separator in _SEPARATORS)]


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether one of the globs matches the whole name."""
    return any(fnmatchcase(name, glob) for glob in globs)
