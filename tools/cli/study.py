# `tools/quire study`: builds, then hands its arguments on to the study's own program.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cli import build
from run import qemu

PROGRAM = build.ROOT / "tools" / "study" / "study.py"


def command(arguments: Sequence[str]) -> int:
    if not {"--help", "-h"} & set(arguments):
        qemu.find()
        build.build()
    os.execv(sys.executable, [sys.executable, str(PROGRAM), *arguments])
