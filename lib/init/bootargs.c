// Boot arguments: the command line cut into words, and each checked against the table of declared arguments.
// SPDX-License-Identifier: BSD-2-Clause
#include <init/bootargs.h>

#include <base/assert.h>
#include <base/errno.h>
#include <base/format.h>
#include <base/parse.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>

#ifdef QUIRE_HOST
#define TABLE_START __start_bootargs
#define TABLE_END __stop_bootargs
#else
#define TABLE_START __bootargs_start
#define TABLE_END __bootargs_end
#endif

// Weak, since a host program may declare no argument at all.
extern const struct bootarg TABLE_START[] __attribute__((weak)), TABLE_END[] __attribute__((weak));

// How much of a word that may be long is shown in a message.
#define SHOWN "%.60s"

static struct bootargs image_table = { .first = TABLE_START, .end = TABLE_END };

static int refuse(struct bootargs_error *error, const char *format, ...) printf_like(2, 3);
static int refuse(struct bootargs_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_text_va(error->text, sizeof(error->text), format, args);
    va_end(args);
    return -EINVAL;
}

static const struct bootarg *find(const struct bootargs *table, const char *name)
{
    for (const struct bootarg *argument = table->first; argument < table->end; argument++)
        if (strcmp(argument->name, name) == 0)
            return argument;
    return NULL;
}

// The length of the choice that starts at `word` of "a|b|c".
static size_t choice_length(const char *word)
{
    const char *bar = strchr(word, '|');

    return bar != NULL ? (size_t)(bar - word) : strlen(word);
}

// The index'th choice, which exists, and its length.
static const char *choice_word(const char *choices, uint64_t index, size_t *length)
{
    for (; index > 0; index--)
        choices += choice_length(choices) + 1;
    *length = choice_length(choices);
    return choices;
}

static bool find_choice(const char *choices, const char *text, uint64_t *index)
{
    for (*index = 0;; ++*index) {
        size_t length = choice_length(choices);
        if (strlen(text) == length && strncmp(choices, text, length) == 0)
            return true;
        if (choices[length] == '\0')
            return false;
        choices += length + 1;
    }
}

static int take_value(const struct bootarg *argument, const char *text, struct bootargs_error *error)
{
    const char *unit_gap = *argument->unit != '\0' ? " " : "";
    uint64_t number = 0;

    switch (argument->kind) {
    case BOOTARG_KIND_U64:
    case BOOTARG_KIND_SIZE: {
        bool is_size = argument->kind == BOOTARG_KIND_SIZE;
        if (!(is_size ? parse_size(text, &number) : parse_u64(text, &number)))
            return refuse(error, "boot argument %s: \"" SHOWN "\" is not a %s", argument->name, text,
                          is_size ? "size (digits, then K, M, G or nothing)" : "number of at most 64 bits");
        if (number < argument->least || number > argument->most)
            return refuse(error, "boot argument %s: " SHOWN " is not within %lu to %lu%s%s", argument->name,
                          text, argument->least, argument->most, unit_gap, argument->unit);
        break;
    }
    case BOOTARG_KIND_CHOICE:
        if (!find_choice(argument->choices, text, &number))
            return refuse(error, "boot argument %s: \"" SHOWN "\" is not one of %s", argument->name, text,
                          argument->choices);
        break;
    case BOOTARG_KIND_TEXT:
        if (strlen(text) > argument->most)
            return refuse(error, "boot argument %s: \"" SHOWN "...\" has %zu characters, more than %lu",
                          argument->name, text, strlen(text), argument->most);
        break;
    }
    *argument->value = (struct bootarg_value){ true, number, text };
    return 0;
}

static int take_unknown(const struct bootargs *table, const char *name, const char *value,
                        struct bootargs_error *error)
{
    size_t size = sizeof(error->text);
    size_t used = (size_t)format_text(error->text, size, "unknown boot argument \"%.40s=%.40s\"; known:",
                                      name, value);

    for (const struct bootarg *known = table->first; known < table->end && used < size; known++)
        used += (size_t)format_text(error->text + used, size - used, " %s", known->name);
    return -EINVAL;
}

// One word, which ends with a NUL and may be cut at its '='.
static int take_word(const struct bootargs *table, char *word, struct bootargs_error *error)
{
    char *equals = strchr(word, '=');

    if (strchr(word, '"') != NULL || strchr(word, '\'') != NULL)
        return refuse(error, "boot argument " SHOWN ": quotes have no meaning here, a value holds no blanks",
                      word);
    if (equals == NULL || equals == word)
        return refuse(error, "boot argument \"" SHOWN "\" is not of the form name=value", word);
    *equals = '\0';
    const char *text = equals + 1;
    const struct bootarg *argument = find(table, word);
    if (argument == NULL)
        return take_unknown(table, word, text, error);
    if (argument->value->given)
        return refuse(error, "boot argument %s is given twice: " SHOWN " and " SHOWN, word,
                      argument->value->text, text);
    if (*text == '\0')
        return refuse(error, "boot argument %s has no value behind its '='", word);
    return take_value(argument, text, error);
}

static int take_line(struct bootargs *table, const char *line, struct bootargs_error *error)
{
    if (!string_copy(table->line, line, sizeof(table->line)))
        return refuse(error, "boot arguments of %zu characters, more than %u: \"%.40s...\"", strlen(line),
                      BOOTARGS_LINE_BYTES - 1, line);
    for (const char *at = table->line; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            return refuse(error, "boot arguments: character 0x%02x at place %zu is not printable",
                          (unsigned)(unsigned char)*at, (size_t)(at - table->line));

    for (char *at = table->line; *at != '\0';) {
        char *word = at;
        while (*at != '\0' && *at != ' ')
            at++;
        if (*at != '\0')
            *at++ = '\0';
        if (strcmp(word, "--") == 0) {
            table->script = at;
            return 0;
        }
        int result = *word != '\0' ? take_word(table, word, error) : 0;
        if (result != 0)
            return result;
    }
    return 0;
}

static void forget_all(struct bootargs *table)
{
    for (const struct bootarg *argument = table->first; argument < table->end; argument++)
        *argument->value = (struct bootarg_value){ 0 };
    table->script = NULL;
}

int bootargs_parse_table(struct bootargs *table, const char *line, struct bootargs_error *error)
{
    forget_all(table);
    int result = take_line(table, line, error);
    if (result != 0)
        forget_all(table);
    return result;
}

int bootargs_parse(const char *line, struct bootargs_error *error)
{
    return bootargs_parse_table(&image_table, line, error);
}

static const struct bootarg *find_declared(const char *name)
{
    const struct bootarg *argument = find(&image_table, name);

    if (argument == NULL)
        panic("bootargs: nobody declares \"%s\"", name);
    return argument;
}

static uint64_t number_of(const struct bootarg *argument)
{
    return argument->value->given ? argument->value->number : argument->default_number;
}

static const char *text_of(const struct bootarg *argument)
{
    return argument->value->given ? argument->value->text : argument->default_text;
}

uint64_t bootarg_u64(const char *name)
{
    const struct bootarg *argument = find_declared(name);

    BUG_ON(argument->kind != BOOTARG_KIND_U64 && argument->kind != BOOTARG_KIND_SIZE);
    return number_of(argument);
}

unsigned bootarg_choice(const char *name)
{
    const struct bootarg *argument = find_declared(name);

    BUG_ON(argument->kind != BOOTARG_KIND_CHOICE);
    return (unsigned)number_of(argument);
}

const char *bootarg_text(const char *name)
{
    const struct bootarg *argument = find_declared(name);

    BUG_ON(argument->kind != BOOTARG_KIND_TEXT);
    return text_of(argument);
}

char *bootargs_script(void)
{
    return image_table.script;
}

int bootarg_format(const struct bootarg *argument, char *buffer, size_t size)
{
    if (argument->kind == BOOTARG_KIND_TEXT)
        return format_text(buffer, size, "%s=%s", argument->name, text_of(argument));
    if (argument->kind != BOOTARG_KIND_CHOICE)
        return format_text(buffer, size, "%s=%lu", argument->name, number_of(argument));
    size_t length;
    const char *word = choice_word(argument->choices, number_of(argument), &length);
    return format_text(buffer, size, "%s=%.*s", argument->name, (int)length, word);
}

void bootargs_for_each(void (*visit)(const struct bootarg *argument, void *context), void *context)
{
    for (const struct bootarg *argument = image_table.first; argument < image_table.end; argument++)
        visit(argument, context);
}

static void show(const struct bootarg *argument, void *context unused_arg)
{
    char value[64];
    char allowed[96] = "";

    bootarg_format(argument, value, sizeof(value));
    if (argument->kind == BOOTARG_KIND_CHOICE)
        (void)string_copy(allowed, argument->choices, sizeof(allowed));
    else if (argument->kind == BOOTARG_KIND_TEXT)
        format_text(allowed, sizeof(allowed), "at most %lu characters", argument->most);
    else
        format_text(allowed, sizeof(allowed), "%lu to %lu%s%s", argument->least, argument->most,
                    *argument->unit != '\0' ? " " : "", argument->unit);
    console_print("%-24s %s (%s)\n", value, argument->help, allowed);
}

static int command_bootargs(int argc unused_arg, char **argv unused_arg)
{
    bootargs_for_each(show, NULL);
    return 0;
}

SHELL_COMMAND(bootargs, "", "boot arguments: value in force, meaning, what is allowed", command_bootargs);
