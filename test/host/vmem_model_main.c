// vmem beside a model of it: a host program of its own, for as many operations as one likes.
// SPDX-License-Identifier: BSD-2-Clause
//
//     quire-vmem-model-SIZE [--ops N] [--seed S] [--frames F] [--harts H]
//
// Prints TAP with one case and the mix of operations. Exit code 0 when all was well, 1 when it was not, 2 for a bad
// argument, 3 after a panic.
#include "host_debug.h"
#include "model_machine.h"
#include "vmem_model_run.h"

#include <debug/klog.h>

#define LEAST_FRAMES 4096

int main(int argc, char **argv)
{
    static struct run run;
    struct model_options options = { .operations = 2000000, .seed = 1, .frames = 8192, .harts = 1 };
    struct model_ram ram[MODEL_PIECES];

    model_parse_arguments(argc, argv, LEAST_FRAMES, &options);
    model_machine_start(&options, ram);
    run.random = random_seeded(options.seed);
    vmem_model_start(&run);
    vmem_model_run(&run, options.operations);
    vmem_model_report(&run);
    console_print("ok 1 - vmem_model\n");
    return HOST_EXIT_OK;
}
