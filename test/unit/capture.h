// Catches what is written to the console, for tests of what commands print.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// From here on nothing reaches the console. Print no expectations until the capture has stopped.
void capture_start(void);

// The text since the start, up to the room there is; NULL when it was more. Valid until the next start.
char *capture_stop(void);
