// The console's commands: finding and running them, and a line editor for whoever types them.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/shell.h>

#include <base/string.h>
#include <debug/klog.h>

#ifdef QUIRE_HOST
#define TABLE_START __start_shell_commands
#define TABLE_END __stop_shell_commands
#else
#define TABLE_START __shell_commands_start
#define TABLE_END __shell_commands_end
#endif

#define PROMPT "quire> "
#define HELP_COLUMN 30

extern const struct shell_command TABLE_START[], TABLE_END[];

static bool is_over;

static const struct shell_command *find(const char *name)
{
    for (const struct shell_command *command = TABLE_START; command < TABLE_END; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

// Cuts text at blanks into at most SHELL_MAX_ARGS words; returns how many there are, also when they are more.
static int split_words(char *text, char *words[SHELL_MAX_ARGS])
{
    int count = 0;

    for (;;) {
        while (*text == ' ' || *text == '\t')
            *text++ = '\0';
        if (*text == '\0')
            return count;
        if (count < SHELL_MAX_ARGS)
            words[count] = text;
        count++;
        while (*text != '\0' && *text != ' ' && *text != '\t')
            text++;
    }
}

static int run_command(char *text)
{
    char *words[SHELL_MAX_ARGS];
    int count = split_words(text, words);

    if (count == 0)
        return 0;
    const struct shell_command *command = find(words[0]);
    if (command == NULL) {
        console_print("%.60s: no such command; help lists them\n", words[0]);
        return 1;
    }
    if (count > SHELL_MAX_ARGS) {
        console_print("%s: %d words, more than %d\n", command->name, count, SHELL_MAX_ARGS);
        return 1;
    }
    if (count > 1 && *command->usage == '\0') {
        console_print("%s: takes no arguments, and \"%.60s\" was given\n", command->name, words[1]);
        return 1;
    }
    return command->run(count, words);
}

int shell_run_line(char *line)
{
    int first_failure = 0;

    is_over = false;
    while (line != NULL && !is_over) {
        char *semicolon = strchr(line, ';');
        if (semicolon != NULL)
            *semicolon = '\0';
        int code = run_command(line);
        if (first_failure == 0)
            first_failure = code;
        line = semicolon != NULL ? semicolon + 1 : NULL;
    }
    return first_failure;
}

bool shell_is_over(void)
{
    return is_over;
}

// The line as typed so far, and where an escape sequence (a cursor key) stands: none of it enters the line.
struct editor {
    char line[SHELL_LINE_BYTES];
    size_t length;
    bool is_too_long;              // something was refused: the line is not what was meant
    enum { ESCAPE_NONE, ESCAPE_STARTED, ESCAPE_IN_SEQUENCE } escape;
};

static void erase(struct editor *editor, size_t count)
{
    for (; count > 0 && editor->length > 0; count--) {
        editor->length--;
        console_print("\b \b");
    }
}

// True when the character belongs to an escape sequence. (ECMA-48, 5.4: ESC [ parameters, then one of 0x40 to
// 0x7e.)
static bool take_escape(struct editor *editor, int character)
{
    if (character == '\033') {
        editor->escape = ESCAPE_STARTED;
        return true;
    }
    if (editor->escape == ESCAPE_NONE)
        return false;
    if (editor->escape == ESCAPE_STARTED && (character == '[' || character == 'O'))
        editor->escape = ESCAPE_IN_SEQUENCE;
    else if (editor->escape == ESCAPE_STARTED || (character >= 0x40 && character <= 0x7e))
        editor->escape = ESCAPE_NONE;
    return true;
}

static void take_character(struct editor *editor, int character)
{
    if (take_escape(editor, character))
        return;
    switch (character) {
    case '\b':
    case 0x7f:
        erase(editor, 1);
        return;
    case 'U' - '@':
        erase(editor, editor->length);
        editor->is_too_long = false;
        return;
    case 'C' - '@':
        console_print("^C\n" PROMPT);
        editor->length = 0;
        editor->is_too_long = false;
        return;
    }
    bool is_printable = character >= ' ' && character <= '~';
    if (is_printable && editor->length + 1 < SHELL_LINE_BYTES) {
        editor->line[editor->length++] = (char)character;
        console_print("%c", character);
        return;
    }
    editor->is_too_long |= is_printable;
    console_print("\a");
}

// Reads a line; false at the end of input.
static bool read_line(struct editor *editor, int (*read_char)(void))
{
    static bool ended_with_return;         // a newline behind a carriage return is the same key

    editor->length = 0;
    editor->is_too_long = false;
    editor->escape = ESCAPE_NONE;
    console_print(PROMPT);
    for (;;) {
        int character = read_char();
        bool is_second_half = character == '\n' && ended_with_return;

        ended_with_return = character == '\r';
        if (character < 0 || (character == 'D' - '@' && editor->length == 0))
            break;
        if (is_second_half)
            continue;
        if (character == '\r' || character == '\n') {
            editor->line[editor->length] = '\0';
            console_print("\n");
            return true;
        }
        take_character(editor, character);
    }
    console_print("\n");
    return false;
}

int shell_interactive(int (*read_char)(void))
{
    struct editor editor;
    int code = 0;

    is_over = false;
    while (!is_over && read_line(&editor, read_char)) {
        if (editor.is_too_long) {
            console_print("more than %d characters: not run\n", SHELL_LINE_BYTES - 1);
            code = 1;
        } else {
            code = shell_run_line(editor.line);
        }
    }
    return code;
}

// The command whose name follows `name` in the alphabet; NULL behind the last. The table has the linker's
// order.
static const struct shell_command *following(const char *name)
{
    const struct shell_command *best = NULL;

    for (const struct shell_command *command = TABLE_START; command < TABLE_END; command++)
        if (strcmp(command->name, name) > 0 && (best == NULL || strcmp(command->name, best->name) < 0))
            best = command;
    return best;
}

static int command_help(int argc unused_arg, char **argv unused_arg)
{
    for (const struct shell_command *command = following(""); command != NULL;
         command = following(command->name)) {
        int used = (int)(strlen(command->name) + 1 + strlen(command->usage));
        console_print("%s %s%*s %s\n", command->name, command->usage,
                      used < HELP_COLUMN ? HELP_COLUMN - used : 0, "", command->summary);
    }
    return 0;
}

static int command_poweroff(int argc unused_arg, char **argv unused_arg)
{
    is_over = true;
    return 0;
}

SHELL_COMMAND(help, "", "this list", command_help);
SHELL_COMMAND(poweroff, "", "ends the machine", command_poweroff);
