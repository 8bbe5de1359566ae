// The object layer beside a model of it: a host program of its own, for as many operations as one likes.
// SPDX-License-Identifier: BSD-2-Clause
//
//     quire-object-model-SIZE [--ops N] [--seed S] [--frames F] [--harts H]
//
// Prints TAP with one case and the mix of operations. Exit code 0 when all was well, 1 when it was not, 2 for a bad
// argument, 3 after a panic.
#include "host_debug.h"
#include "object_model_run.h"

#include <debug/klog.h>

// So much RAM in pages of any size: a slab's objects are all written to when it is made.
#define LEAST_RAM_BYTES MB(16)
#define RAM_BYTES MB(32)

int main(int argc, char **argv)
{
    static struct object_run run;
    struct model_options options = { .operations = 2000000, .seed = 1, .frames = RAM_BYTES / PAGE_SIZE, .harts = 1 };

    model_parse_arguments(argc, argv, LEAST_RAM_BYTES / PAGE_SIZE, &options);
    model_machine_start(&options, object_model.piece);
    run.random = random_seeded(options.seed);
    object_model_start();
    object_model_run(&run, options.operations);
    object_model_report(&run);
    console_print("ok 1 - object_model\n");
    return HOST_EXIT_OK;
}
