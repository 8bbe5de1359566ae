// The device tree as a description of the machine: the order of the parts, and what belongs to none of them.
// SPDX-License-Identifier: BSD-2-Clause

#include "machine_parse.h"

#include <base/assert.h>
#include <base/format.h>
#include <base/string.h>

bool machine_refuse(struct parse *parse, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_text_va(parse->error->text, sizeof(parse->error->text), format, args);
    va_end(args);
    return false;
}

void machine_note(struct parse *parse, const char *format, ...)
{
    struct machine *machine = parse->machine;
    va_list args;

    if (machine->note_count < MACHINE_MAX_NOTES) {
        va_start(args, format);
        format_text_va(machine->note[machine->note_count], MACHINE_TEXT_BYTES, format, args);
        va_end(args);
    }
    machine->note_count++;
}

static void parse_identity(struct parse *parse)
{
    const char *model = fdt_string(parse->fdt, fdt_root(parse->fdt), "model");
    const char *compatible = fdt_string(parse->fdt, fdt_root(parse->fdt), "compatible");

    (void)string_copy(parse->machine->model, model != NULL ? model : "", MACHINE_NAME_BYTES);
    (void)string_copy(parse->machine->compatible, compatible != NULL ? compatible : "", MACHINE_NAME_BYTES);
}

static bool parse_chosen(struct parse *parse)
{
    struct machine *machine = parse->machine;
    struct fdt_node chosen = fdt_find_path(parse->fdt, "/chosen");
    struct fdt_value bootargs = fdt_property(parse->fdt, chosen, "bootargs");
    struct fdt_value rng_seed = fdt_property(parse->fdt, chosen, "rng-seed");

    if (bootargs.size_bytes != 0) {
        uint32_t at = 0;
        const char *text = fdt_next_string(bootargs, &at);
        if (text == NULL || at != bootargs.size_bytes)
            return machine_refuse(parse, "/chosen: bootargs of %u bytes is not one string",
                                  bootargs.size_bytes);
        if (!string_copy(machine->bootargs, text, sizeof(machine->bootargs)))
            return machine_refuse(parse, "/chosen: bootargs has %u characters, more than %u: \"%.40s...\"",
                                  bootargs.size_bytes - 1, MACHINE_BOOTARGS_BYTES - 1, text);
    }
    machine->rng_seed_bytes = min_of(rng_seed.size_bytes, (uint32_t)MACHINE_RNG_SEED_BYTES);
    if (machine->rng_seed_bytes != 0)
        memcpy(machine->rng_seed, rng_seed.bytes, machine->rng_seed_bytes);
    return true;
}

bool machine_parse(const struct fdt *fdt, const struct machine_limits *limits, struct machine *out,
                   struct machine_error *error)
{
    struct parse parse = { .fdt = fdt, .limits = limits, .machine = out, .error = error };

    BUG_ON(limits->max_harts > MAX_HARTS);
    memset(out, 0, sizeof(*out));
    error->text[0] = '\0';
    parse_identity(&parse);
    if (!(machine_parse_ram(&parse) && machine_parse_reserved(&parse) &&
          machine_parse_initrd(&parse) && machine_parse_harts(&parse) && machine_parse_plics(&parse) &&
          machine_parse_uart(&parse) && parse_chosen(&parse)))
        return false;
    machine_parse_virtio(&parse);
    machine_parse_power(&parse);
    return true;
}
