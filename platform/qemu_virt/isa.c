// What a hart can do, out of its isa string. (RISC-V unprivileged specification 20191213, chapter 27:
// naming.)
// SPDX-License-Identifier: BSD-2-Clause

#include "machine_parse.h"

#include <base/bits.h>
#include <base/format.h>
#include <base/string.h>

// What the letter g stands for.
#define GENERAL (ISA_LETTER('i') | ISA_LETTER('m') | ISA_LETTER('a') | ISA_LETTER('f') | ISA_LETTER('d'))

static const struct {
    const char *name;
    uint64_t feature;
} extensions[] = {
    { "sstc", ISA_SSTC },
    { "svnapot", ISA_SVNAPOT },
    { "svinval", ISA_SVINVAL },
    { "svpbmt", ISA_SVPBMT },
    { "svadu", ISA_SVADU },
    { "sscofpmf", ISA_SSCOFPMF },
    { "zba", ISA_ZBA },
    { "zbb", ISA_ZBB },
    { "zbc", ISA_ZBC },
    { "zbs", ISA_ZBS },
    { "zicbom", ISA_ZICBOM },
    { "zicboz", ISA_ZICBOZ },
    { "zihintpause", ISA_ZIHINTPAUSE },
    { "zawrs", ISA_ZAWRS },
};

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

// Skips the version that may stand behind a name: "2", "2p1".
static const char *skip_version(const char *text)
{
    while (is_digit(*text))
        text++;
    if (*text == 'p' && is_digit(text[1]) && is_digit(text[-1]))
        for (text++; is_digit(*text); text++)
            ;
    return text;
}

static uint64_t letter_features(char letter)
{
    if (letter == 'g')
        return GENERAL;
    return letter >= 'a' && letter <= 'z' ? ISA_LETTER(letter) : 0;
}

// A longer name that ends at '_' or the end of the text.
static uint64_t name_features(const char *name)
{
    for (size_t i = 0; i < array_count(extensions); i++) {
        size_t length = strlen(extensions[i].name);
        if (strncmp(name, extensions[i].name, length) != 0)
            continue;
        char behind = *skip_version(name + length);
        if (behind == '\0' || behind == '_')
            return extensions[i].feature;
    }
    return 0;
}

uint64_t isa_extension(const char *name)
{
    return name[0] != '\0' && name[1] == '\0' ? letter_features(name[0]) : name_features(name);
}

bool isa_parse(const char *isa, uint64_t *features)
{
    if (strncmp(isa, "rv64", 4) != 0)
        return false;
    *features = 0;
    // Letters up to the first longer name. Those start with z, x or s; but old strings end in the modes "su".
    const char *at = isa + 4;
    while (*at != '\0' && *at != '_' && *at != 'z' && *at != 'x' &&
           !(*at == 's' && at[1] != 'u' && at[1] != '\0')) {
        *features |= letter_features(*at);
        at = skip_version(at + 1);
    }
    while (*at != '\0') {
        if (*at == '_')
            at++;
        *features |= name_features(at);
        while (*at != '\0' && *at != '_')
            at++;
    }
    return true;
}

char *machine_feature_names(uint64_t features, char *buffer, size_t size)
{
    size_t used = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < array_count(extensions); i++) {
        if ((features & extensions[i].feature) == 0 || used >= size)
            continue;
        used += (size_t)format_text(buffer + used, size - used, "%s%s", used == 0 ? "" : " ",
                                    extensions[i].name);
    }
    return buffer;
}
