// Copying out of memory that may not be there.
// SPDX-License-Identifier: BSD-2-Clause
//
// For what follows pointers that may be wrong: reports, dumps, the console. Any context, panics included; no lock, no
// allocation. Whole aligned words are loaded, so not for device memory, where a load may do something.
#pragma once

#include <base/compiler.h>

// Copies from an address of any kind and alignment. 0; or -EFAULT when any of it cannot be read: then the contents of
// `to` are undefined. `to` is memory of the caller's.
must_check int copy_from_kernel_nofault(void *to, const void *from, size_t bytes);
