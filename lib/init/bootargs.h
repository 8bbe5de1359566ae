// Boot arguments: a table of what may be said, and the command line checked against it.
// SPDX-License-Identifier: BSD-2-Clause
//
// The line is words of the form name=value, separated by blanks. A word -- ends them: the rest is a list of
// console commands, separated by ';'. There is no quoting; a quote outside the commands is refused, since
// somebody meant one.
//
// Any file of the image declares an argument at file level and reads it by name:
//
//     BOOTARG_CHOICE(bound, "own|packed", 0, "study: how requests become pages");
//     if (bootarg_choice("bound") == 1) ...
//
// Context: parsing is for the boot hart; reading is allowed anywhere. Before parsing, every argument has its
// default. The console command `bootargs` shows the table.
#pragma once

#include <base/compiler.h>

enum bootarg_kind { BOOTARG_KIND_U64, BOOTARG_KIND_SIZE, BOOTARG_KIND_CHOICE, BOOTARG_KIND_TEXT };

struct bootarg_value {
    bool given;
    uint64_t number;               // u64, size (bytes), or the index of the choice
    const char *text;              // what was typed
};

struct bootarg {
    const char *name;
    const char *help;              // one line
    const char *unit;              // of a number; "" for none
    const char *choices;           // "a|b|c"
    const char *default_text;
    uint64_t default_number;
    uint64_t least, most;          // of a number; most: the longest text
    enum bootarg_kind kind;
    struct bootarg_value *value;
};

#ifdef QUIRE_HOST
#define BOOTARG_SECTION "bootargs"
#else
#define BOOTARG_SECTION ".bootargs"
#endif

#define BOOTARG_DECLARE(arg_name, ...) \
    static struct bootarg_value bootarg_value_##arg_name; \
    static const struct bootarg bootarg_##arg_name \
        __attribute__((used, section(BOOTARG_SECTION), aligned(8))) = \
        { .name = #arg_name, .value = &bootarg_value_##arg_name, __VA_ARGS__ }

// A number, decimal or hexadecimal after 0x, from `low` to `high`.
#define BOOTARG_U64(arg_name, low, high, default_value, unit_text, help_text) \
    BOOTARG_DECLARE(arg_name, .kind = BOOTARG_KIND_U64, .least = (low), .most = (high), \
                    .default_number = (default_value), .unit = (unit_text), .help = (help_text))

// The same in bytes, with K, M or G allowed behind it.
#define BOOTARG_SIZE(arg_name, low, high, default_bytes, help_text) \
    BOOTARG_DECLARE(arg_name, .kind = BOOTARG_KIND_SIZE, .least = (low), .most = (high), \
                    .default_number = (default_bytes), .unit = "bytes", .help = (help_text))

// One of the words of "a|b|c"; a choice's number is its place there, counted from 0.
#define BOOTARG_CHOICE(arg_name, words, default_index, help_text) \
    BOOTARG_DECLARE(arg_name, .kind = BOOTARG_KIND_CHOICE, .choices = (words), \
                    .default_number = (default_index), .unit = "", .help = (help_text))

// Any text without blanks of at most `longest` characters.
#define BOOTARG_TEXT(arg_name, longest, default_value, help_text) \
    BOOTARG_DECLARE(arg_name, .kind = BOOTARG_KIND_TEXT, .most = (longest), .default_text = (default_value), \
                    .unit = "", .help = (help_text))

#define BOOTARGS_LINE_BYTES 2048
#define BOOTARGS_ERROR_BYTES 256

struct bootargs_error {
    char text[BOOTARGS_ERROR_BYTES];       // names the argument and its value; without newline
};

// Takes the whole line over (it is copied); what an earlier line said is forgotten. 0; -EINVAL with *error
// filled in and every argument at its default: line too long, a character that is not printable, a word
// without name or '=', an unknown name, one given twice, a value that is no number, out of range, no choice,
// or too long, a quote.
must_check int bootargs_parse(const char *line, struct bootargs_error *error);

// The value of an argument; asking for a name that nobody declared, or for the wrong kind, is a bug and
// panics. bootarg_u64 answers for numbers and sizes, bootarg_choice for choices (the word's index).
uint64_t bootarg_u64(const char *name);
unsigned bootarg_choice(const char *name);
const char *bootarg_text(const char *name);

// The console commands behind --, to be cut by whoever runs them (shell_run_line); NULL when there was no --.
char *bootargs_script(void);

// The value now in force as text, for reports: "name=value". Returns what the whole text needs, as snprintf
// does.
int bootarg_format(const struct bootarg *argument, char *buffer, size_t size);

// Every declared argument, in the order of the image.
void bootargs_for_each(void (*visit)(const struct bootarg *argument, void *context), void *context);

// The same for a table of one's own: what the functions above do with the image's.
struct bootargs {
    const struct bootarg *first, *end;
    char line[BOOTARGS_LINE_BYTES];        // cut into words; the values' texts point into it
    char *script;
};
must_check int bootargs_parse_table(struct bootargs *table, const char *line, struct bootargs_error *error);
