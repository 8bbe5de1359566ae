// Boot mode shell: the console, with a person or with the script behind -- in the boot arguments.
// SPDX-License-Identifier: BSD-2-Clause

#include "boot_mode.h"
#include "bootargs.h"
#include <debug/klog.h>
#include <debug/shell.h>
#include <platform/board.h>
#include <task/thread.h>

static struct thread *reader;

static void wake_reader(void)
{
    thread_wake(reader);
}

static int read_character(void)
{
    for (;;) {
        int character = plat_console_poll();
        if (character >= 0)
            return character;
        thread_block();
    }
}

static int run_shell(void)
{
    char *script = bootargs_script();

    if (script)
        return shell_run_line(script);
    reader = thread_current();
    if (!plat_console_on_input(wake_reader)) {
        console_print("The console cannot receive: give commands behind -- in the boot arguments.\n");
        return EXIT_FAILED;
    }
    console_print("Type help for the list of commands.\n");
    return shell_interactive(read_character);
}
BOOT_MODE(shell, run_shell);
