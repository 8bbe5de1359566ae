// The console: lines of commands, their codes, and what an editor makes of keys.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/shell.h>

#include "capture.h"

#include <base/string.h>
#include <ktest/ktest.h>

static char *output;

static int run(const char *text)
{
    static char line[512];

    (void)string_copy(line, text, sizeof(line));
    capture_start();
    int code = shell_run_line(line);
    output = capture_stop();
    return code;
}

static const char *keys;

static int next_key(void)
{
    return *keys != '\0' ? (unsigned char)*keys++ : -1;
}

static int type(const char *typed)
{
    keys = typed;
    capture_start();
    int code = shell_interactive(next_key);
    output = capture_stop();
    return code;
}

// How often a text occurs in the output.
static unsigned occurrences(const char *text)
{
    unsigned count = 0;

    for (const char *at = output; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

// Every command is listed on a line of its own, in the order of the alphabet.
KTEST(shell, lists_its_commands)
{
    EXPECT_EQ(run("help"), 0);
    char *help = strstr(output, "help "), *poweroff = strstr(output, "\npoweroff ");
    REQUIRE(help != NULL && poweroff != NULL);
    EXPECT(help < poweroff);
    const char *previous = "";
    for (char *line = output; *line != '\0';) {
        char *end = strchr(line, '\n');
        REQUIRE(end != NULL);
        *end = '\0';
        EXPECT(strcmp(previous, line) < 0);
        EXPECT_LT(30, strlen(line));
        previous = line;
        line = end + 1;
    }
}

// One failure is the line's failure, and does not keep the rest from running; poweroff does.
KTEST(shell, runs_a_line)
{
    EXPECT_EQ(run(""), 0);
    EXPECT_STREQ(output, "");
    EXPECT_EQ(run(" ; ;; \t "), 0);
    EXPECT_STREQ(output, "");
    EXPECT(!shell_is_over());
    EXPECT_EQ(run("nonesuch; help"), 1);
    EXPECT_EQ(strncmp(output, "nonesuch: no such command; help lists them\n", 43), 0);
    EXPECT_EQ(occurrences("this list"), 1);
    EXPECT_EQ(run("\thelp ;help"), 0);
    EXPECT_EQ(occurrences("this list"), 2);
    EXPECT_EQ(run("nonesuch;poweroff;help"), 1);
    EXPECT_EQ(occurrences("this list"), 0);
    EXPECT(shell_is_over());
    EXPECT_EQ(run("help"), 0);
    EXPECT(!shell_is_over());
}

KTEST(shell, refuses_words_it_does_not_want)
{
    EXPECT_EQ(run("poweroff now"), 1);
    EXPECT_STREQ(output, "poweroff: takes no arguments, and \"now\" was given\n");
    EXPECT(!shell_is_over());
    EXPECT_EQ(run("help 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"), 1);
    EXPECT_STREQ(output, "help: 17 words, more than 16\n");
}

KTEST(shell, edits_a_line)
{
    // Backspace, delete, and neither at the start of the line.
    EXPECT_EQ(type("\b\x7fpowerx\bofg\x7f" "f\nhelp\n"), 0);
    EXPECT(shell_is_over());
    EXPECT_EQ(occurrences("this list"), 0);
    EXPECT_EQ(occurrences("\b \b"), 2);
    EXPECT_EQ(strncmp(output, "quire> powerx\b \bofg\b \bf\n", 24), 0);

    // ^U and ^C each drop what was typed.
    EXPECT_EQ(type("nonesuch\x15help\r"), 0);
    EXPECT_EQ(occurrences("this list"), 1);
    EXPECT_EQ(type("nonesuch\x03help\r"), 0);
    EXPECT_EQ(occurrences("^C\nquire> help\n"), 1);

    // A cursor key and other control characters leave no trace in the line.
    EXPECT_EQ(type("he\033[A\033[1;5C\033OPl\x01\tp\xff\r"), 0);
    EXPECT_EQ(occurrences("this list"), 1);
    EXPECT_EQ(occurrences("\a"), 3);
}

// Return, newline or both end one line; the end of input and ^D on an empty line end the shell.
KTEST(shell, ends_lines_and_itself)
{
    EXPECT_EQ(type("help\r\nhelp\nhelp\r"), 0);
    EXPECT_EQ(occurrences("this list"), 3);
    EXPECT_EQ(occurrences("quire> "), 4);
    EXPECT_EQ(type("nonesuch\n\x04help\n"), 1);
    EXPECT_EQ(occurrences("this list"), 0);
    EXPECT_EQ(type("he\x04lp\n"), 0);
    EXPECT_EQ(occurrences("this list"), 1);
    EXPECT_EQ(type("help"), 0);
    EXPECT_EQ(occurrences("this list"), 0);
    EXPECT_EQ(type("nonesuch\nhelp\n"), 0);
    EXPECT_EQ(type("nonesuch\n"), 1);
}

// A line that does not fit is not run in part; emptied by ^U, it is a line like any other.
KTEST(shell, refuses_long_lines)
{
    static char text[SHELL_LINE_BYTES + 16];

    memset(text, ' ', sizeof(text));
    memcpy(text, "help", 4);
    memcpy(text + SHELL_LINE_BYTES - 1, "\n", 2);
    EXPECT_EQ(type(text), 0);
    EXPECT_EQ(occurrences("this list"), 1);
    memcpy(text + SHELL_LINE_BYTES - 1, ";\n", 3);
    EXPECT_EQ(type(text), 1);
    EXPECT_EQ(occurrences("this list"), 0);
    EXPECT_EQ(occurrences("\a"), 1);
    EXPECT_EQ(occurrences("more than 255 characters: not run\n"), 1);
    memcpy(text + SHELL_LINE_BYTES - 1, ";\x15help\n", 8);
    EXPECT_EQ(type(text), 0);
    EXPECT_EQ(occurrences("this list"), 1);
}
