// What a board supplies: its console, the way off, and its external interrupts.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct machine;

// Takes over the console, the power-off and the interrupt controller that the machine describes, and maps them. vmalloc
// works, one hart runs. Interrupts of the console are routed to this hart. 0, or -ENOMEM with everything as before.
must_check int plat_init(const struct machine *machine);

// Ends the machine with that exit code (0 to 255). Before plat_init it uses the address given by
// plat_set_early_finisher, or, when the device tree could not even be read, the one that every board of this kind has.
_Noreturn void plat_exit(int code);
void plat_set_early_finisher(uint64_t finisher_phys);

// The next character typed on the console, or -1 when there is none. Any context.
int plat_console_poll(void);

// Calls `notify` in interrupt context whenever there is something to poll. False: this console cannot tell, poll it.
bool plat_console_on_input(void (*notify)(void));

// Serves every pending external interrupt of this hart. Interrupt context.
void plat_external_interrupt(void);
