// What the parts of the unwind tests' bare-metal image know of each other.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// SHAPES_SUFFIX tells the builds of shapes.c apart.
#define PASTE(name, suffix) name##_##suffix
#define EXPAND(name, suffix) PASTE(name, suffix)
#define NAME(name) EXPAND(name, SHAPES_SUFFIX)

long shapes_O2(long seed);
long shapes_O0(long seed);

long assembly_framed(long (*call)(long value), long value);
long assembly_plain(long value);
