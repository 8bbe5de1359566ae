// Error numbers. A function that can fail in more than one way returns 0 or one of these, negated.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#ifdef QUIRE_HOST
#include <errno.h>
#else
enum {
    ENOENT = 2,
    EIO = 5,
    E2BIG = 7,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    ENODEV = 19,
    EINVAL = 22,
    ENOSPC = 28,
    ERANGE = 34,
    ENOSYS = 38,
};
#endif
