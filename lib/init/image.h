// The parts of the running kernel image, as the linker laid them out.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/kernel_map.h>

// Constant; the same every time.
const struct kernel_image *image_describe(void);
