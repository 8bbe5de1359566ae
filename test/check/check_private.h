// For the validators: how they tell what is wrong.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// The defects of one validator's run; .name opens its reports.
struct check {
    const char *name;
    unsigned defects;
};

// Counts a defect and, for the first 10, logs it.
void check_defect(struct check *check, const char *format, ...) printf_like(2, 3);
