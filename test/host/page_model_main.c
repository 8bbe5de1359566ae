// The page allocator beside a model of it: a host program of its own, for as many operations as one likes.
// SPDX-License-Identifier: BSD-2-Clause
//
//     quire-page-model-SIZE [--ops N] [--seed S] [--frames F] [--harts H]
//
// Prints TAP with one case and the mix of operations. Exit code 0 when all was well, 1 when it was not, 2 for a bad
// argument, 3 after a panic.
#include "host_debug.h"
#include "page_model_run.h"

#include <debug/klog.h>
#include <stdlib.h>

#define LEAST_FRAMES 4096

int main(int argc, char **argv)
{
    static struct run run;
    struct model_options options = { .operations = 2000000, .seed = 1, .frames = 8192, .harts = 1 };

    model_parse_arguments(argc, argv, LEAST_FRAMES, &options);
    model_machine_start(&options, run.model.piece);
    run.random = random_seeded(options.seed);
    model_init(&run.model, calloc(1, model_storage_bytes(run.model.piece[0].pages + run.model.piece[1].pages)));
    console_print("# %lu frames to be had\n", run.model.capacity_pages);
    page_model_run(&run, options.operations);
    page_model_report(&run);
    console_print("ok 1 - page_model\n");
    return HOST_EXIT_OK;
}
