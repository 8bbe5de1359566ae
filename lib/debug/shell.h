// The console's commands: registration and running a line of them.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct shell_command {
    const char *name;
    const char *usage;              // arguments, as shown by help; "": none, and none are let through
    const char *summary;            // one line
    // argv[0] is the name. Returns 0, or an exit code after saying what is wrong.
    int (*run)(int argc, char **argv);
};

// A host program's sections are gathered by the linker under a C name; the kernel's linker script names its
// own.
#ifdef QUIRE_HOST
#define SHELL_SECTION "shell_commands"
#else
#define SHELL_SECTION ".shell_commands"
#endif

// Registers a command from any file of the image.
#define SHELL_COMMAND(command_name, usage_text, summary_text, function) \
    static const struct shell_command shell_command_##command_name \
        __attribute__((used, section(SHELL_SECTION), aligned(8))) = \
        { #command_name, usage_text, summary_text, function }

#define SHELL_LINE_BYTES 256
#define SHELL_MAX_ARGS 16

// Runs the commands of a line, separated by ';', up to poweroff; a failure does not keep the next one from
// running. Returns the first failure's code, or 0. An unknown command, too many words, or an argument for a
// command that takes none is reported and counts as failure 1. The line may have any length and is cut into
// words in place.
int shell_run_line(char *line);

// Reads lines from `read_char` (blocks; -1 at the end of input) and runs them until poweroff or the end (also
// ^D), with the usual editing (backspace, ^U, ^C) and echo. What is no printable character rings the bell,
// and so does what comes behind SHELL_LINE_BYTES - 1 characters; such a line is not run. Returns the code of
// the last line.
int shell_interactive(int (*read_char)(void));

// Whether the last line ran poweroff.
bool shell_is_over(void);
