// Contract: the one atomic step that the compiler's own form makes too dear.
// SPDX-License-Identifier: BSD-2-Clause
//
// The port defines, inline
//   bool arch_replace(uint64_t *word, uint64_t expected, uint64_t desired)
//       Stores `desired` if the word holds `expected`, in one atomic step, and says whether it did. Orders nothing.
#pragma once

#include <port/atomic.h>
