// lib/base/string.c for the host, under names that do not collide with libc's.
// SPDX-License-Identifier: BSD-2-Clause
#include "string_names.h"

#include "../../lib/base/string.c"
