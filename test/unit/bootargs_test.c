// Boot arguments: what a line means, and what each bad line is told.
// SPDX-License-Identifier: BSD-2-Clause
#include <init/bootargs.h>

#include <base/errno.h>
#include <base/string.h>
#include <ktest/ktest.h>

// A table of the test's own: parsing the image's would change what this very run was given.
static struct bootarg_value count_value, room_value, colour_value, name_value;
static const struct bootarg arguments[] = {
    { .name = "count", .kind = BOOTARG_KIND_U64, .least = 2, .most = 100, .default_number = 7,
      .unit = "rounds", .help = "how often", .value = &count_value },
    { .name = "room", .kind = BOOTARG_KIND_SIZE, .least = 4096, .most = UINT64_MAX, .default_number = 65536,
      .unit = "bytes", .help = "how much", .value = &room_value },
    { .name = "colour", .kind = BOOTARG_KIND_CHOICE, .choices = "red|green|dark-blue", .default_number = 1,
      .unit = "", .help = "which", .value = &colour_value },
    { .name = "name", .kind = BOOTARG_KIND_TEXT, .most = 8, .default_text = "*", .unit = "", .help = "whose",
      .value = &name_value },
};
static struct bootargs table = { .first = arguments, .end = arguments + array_count(arguments) };
static struct bootargs_error error;

static void expect_values(uint64_t count, uint64_t room, uint64_t colour, const char *name)
{
    char text[64];

    bootarg_format(&arguments[3], text, sizeof(text));
    EXPECT_STREQ(text + strlen("name="), name);
    EXPECT_EQ(count_value.given ? count_value.number : arguments[0].default_number, count);
    EXPECT_EQ(room_value.given ? room_value.number : arguments[1].default_number, room);
    EXPECT_EQ(colour_value.given ? colour_value.number : arguments[2].default_number, colour);
}

// A line that is refused leaves nothing of it behind.
static void expect_refused(const char *line, const char *message)
{
    EXPECT_EQ(bootargs_parse_table(&table, line, &error), -EINVAL);
    EXPECT_STREQ(error.text, message);
    expect_values(7, 65536, 1, "*");
    EXPECT_NULL(table.script);
}

KTEST(bootargs, has_defaults)
{
    EXPECT_EQ(bootargs_parse_table(&table, "", &error), 0);
    expect_values(7, 65536, 1, "*");
    EXPECT_EQ(bootargs_parse_table(&table, "    ", &error), 0);
    expect_values(7, 65536, 1, "*");
    EXPECT_NULL(table.script);
}

KTEST(bootargs, takes_every_kind)
{
    EXPECT_EQ(bootargs_parse_table(&table, " count=0x10  room=3M colour=dark-blue name=a=b;c ", &error), 0);
    expect_values(16, 3 << 20, 2, "a=b;c");
    EXPECT_EQ(bootargs_parse_table(&table, "name=12345678 count=100 room=4096 colour=red", &error), 0);
    expect_values(100, 4096, 0, "12345678");
    EXPECT_EQ(bootargs_parse_table(&table, "count=2", &error), 0);
    expect_values(2, 65536, 1, "*");
}

// What is behind -- is handed on as it is.
KTEST(bootargs, keeps_the_script)
{
    EXPECT_EQ(bootargs_parse_table(&table, "count=3 --  meminfo; x='1'  ", &error), 0);
    EXPECT_STREQ(table.script, " meminfo; x='1'  ");
    EXPECT_EQ(count_value.number, 3);
    EXPECT_EQ(bootargs_parse_table(&table, "-- a -- b", &error), 0);
    EXPECT_STREQ(table.script, "a -- b");
    EXPECT_EQ(bootargs_parse_table(&table, "count=3 --", &error), 0);
    EXPECT_STREQ(table.script, "");
}

KTEST(bootargs, formats_what_is_in_force)
{
    char text[32];

    EXPECT_EQ(bootargs_parse_table(&table, "count=9 colour=dark-blue", &error), 0);
    EXPECT_EQ(bootarg_format(&arguments[0], text, sizeof(text)), 7);
    EXPECT_STREQ(text, "count=9");
    bootarg_format(&arguments[1], text, sizeof(text));
    EXPECT_STREQ(text, "room=65536");
    bootarg_format(&arguments[2], text, sizeof(text));
    EXPECT_STREQ(text, "colour=dark-blue");
    EXPECT_EQ(bootargs_parse_table(&table, "", &error), 0);
    bootarg_format(&arguments[2], text, sizeof(text));
    EXPECT_STREQ(text, "colour=green");
}

KTEST(bootargs, names_what_it_refuses)
{
    expect_refused("speed=9", "unknown boot argument \"speed=9\"; known: count room colour name");
    expect_refused("count", "boot argument \"count\" is not of the form name=value");
    expect_refused("=5", "boot argument \"=5\" is not of the form name=value");
    expect_refused("count=", "boot argument count has no value behind its '='");
    expect_refused("count=5x", "boot argument count: \"5x\" is not a number of at most 64 bits");
    expect_refused("count=-1", "boot argument count: \"-1\" is not a number of at most 64 bits");
    expect_refused("count=18446744073709551616",
                   "boot argument count: \"18446744073709551616\" is not a number of at most 64 bits");
    expect_refused("count=1", "boot argument count: 1 is not within 2 to 100 rounds");
    expect_refused("count=0x65", "boot argument count: 0x65 is not within 2 to 100 rounds");
    expect_refused("room=4095", "boot argument room: 4095 is not within 4096 to 18446744073709551615 bytes");
    expect_refused("room=1T", "boot argument room: \"1T\" is not a size (digits, then K, M, G or nothing)");
    expect_refused("room=99999999999G",
                   "boot argument room: \"99999999999G\" is not a size (digits, then K, M, G or nothing)");
    expect_refused("colour=blue", "boot argument colour: \"blue\" is not one of red|green|dark-blue");
    expect_refused("colour=re", "boot argument colour: \"re\" is not one of red|green|dark-blue");
    expect_refused("colour=red|green",
                   "boot argument colour: \"red|green\" is not one of red|green|dark-blue");
    expect_refused("name=123456789", "boot argument name: \"123456789...\" has 9 characters, more than 8");
    expect_refused("count=3 room=8K count=4", "boot argument count is given twice: 3 and 4");
    expect_refused("name=\"a",
                   "boot argument name=\"a: quotes have no meaning here, a value holds no blanks");
    expect_refused("name='a", "boot argument name='a: quotes have no meaning here, a value holds no blanks");
    expect_refused("count=3\tx", "boot arguments: character 0x09 at place 7 is not printable");
    expect_refused("name=\xc3\xa4", "boot arguments: character 0xc3 at place 5 is not printable");
    expect_refused("--count=3", "unknown boot argument \"--count=3\"; known: count room colour name");
}

// The longest line fits with its NUL; no message runs over, however long what it shows.
KTEST(bootargs, bounds_the_line)
{
    static char line[BOOTARGS_LINE_BYTES + 2];

    memset(line, ' ', sizeof(line));
    line[BOOTARGS_LINE_BYTES - 1] = '\0';
    EXPECT_EQ(bootargs_parse_table(&table, line, &error), 0);
    memset(line, 'a', sizeof(line));
    line[BOOTARGS_LINE_BYTES] = '\0';
    expect_refused(line, "boot arguments of 2048 characters, more than 2047: "
                         "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"");
    line[1000] = '=';
    line[BOOTARGS_LINE_BYTES - 1] = '\0';
    EXPECT_EQ(bootargs_parse_table(&table, line, &error), -EINVAL);
    EXPECT_LT(strlen(error.text), sizeof(error.text));
    EXPECT_NOT_NULL(strstr(error.text, "known: count"));
}

// The list of known names stops where the message is full.
KTEST(bootargs, bounds_its_messages)
{
    static struct bootarg many[80];
    static struct bootargs large = { .first = many, .end = many + array_count(many) };
    struct { struct bootargs_error error; char behind[64]; } guarded;

    for (unsigned i = 0; i < array_count(many); i++)
        many[i] = arguments[i % array_count(arguments)];
    memset(&guarded, '#', sizeof(guarded));
    EXPECT_EQ(bootargs_parse_table(&large, "speed=9", &guarded.error), -EINVAL);
    EXPECT_EQ(strlen(guarded.error.text), sizeof(guarded.error.text) - 1);
    for (unsigned i = 0; i < sizeof(guarded.behind); i++)
        EXPECT_EQ(guarded.behind[i], '#');
}

// Any line of the letters that mean something is taken or refused, and refused with a text.
KTEST(bootargs, survives_random_lines)
{
    static const char letters[] = "count=room=colour=name=-- red 0x19 K\"'; |";
    char line[64];

    for (unsigned round = 0; round < ktest_rounds(100000, 2000); round++) {
        size_t length = ktest_random_below(sizeof(line));
        for (size_t i = 0; i < length; i++)
            line[i] = letters[ktest_random_below(sizeof(letters) - 1)];
        line[length] = '\0';
        error.text[0] = '\0';
        if (bootargs_parse_table(&table, line, &error) != 0)
            EXPECT(error.text[0] != '\0');
    }
}
