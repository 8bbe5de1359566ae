// What the model programs share: their arguments, and a machine of two pieces of RAM with mm/ started on it.
// SPDX-License-Identifier: BSD-2-Clause
//
// One piece lies on each side of 4 GB, so that there is memory of every zone that needs no mapping.
#pragma once

#include <mm/gfp.h>
#include <mm/zone.h>

#define MODEL_PIECES 2

struct model_ram {
    uint64_t start_pfn, pages;     // whole largest blocks
};

// Set to the defaults by the caller.
struct model_options {
    uint64_t operations, seed, frames, harts;
};

// --ops N --seed S --frames F --harts H: ends the program with code 2 when one of them is bad.
void model_parse_arguments(int argc, char **argv, uint64_t least_frames, struct model_options *options);

// Starts harts, RAM and mm/, and prints the plan of one case. Nothing is in harts' lists, and no slab is empty.
void model_machine_start(const struct model_options *options, struct model_ram ram[MODEL_PIECES]);

// What a zone may keep from a request: nothing from one that may take the last pages.
uint64_t model_pages_kept(const struct zone *zone, gfp_t gfp);
