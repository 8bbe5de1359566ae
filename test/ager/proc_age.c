// The console command age: brings free memory to a chosen fragmentation, or back.
// SPDX-License-Identifier: BSD-2-Clause
#include <ager/ager.h>

#include <base/parse.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>

static struct ager console_ager;

static int refuse(void)
{
    console_print("age: wants an order of 1 to %u, an index of 0 to 1000 and a seed, or off\n", MAX_ORDER);
    return 1;
}

static int command_age(int argc, char **argv)
{
    uint64_t order, index, seed = 1;
    bool is_reached;

    if (argc == 2 && strcmp(argv[1], "off") == 0) {
        ager_release(&console_ager);
        return 0;
    }
    if (argc < 3 || argc > 4 || !parse_u64(argv[1], &order) || !parse_u64(argv[2], &index) ||
        (argc == 4 && !parse_u64(argv[3], &seed)) || order == 0 || order > MAX_ORDER || index > 1000)
        return refuse();
    ager_release(&console_ager);
    is_reached = ager_age(&console_ager, (unsigned)order, (unsigned)index, seed);
    console_print("age: unusable index for order %lu is %u/1000, %s %lu; %lu pages held, seed %lu\n", order,
                  console_ager.reached_index, is_reached ? "asked were" : "as near as it came to", index,
                  console_ager.held_pages, seed);
    return is_reached ? 0 : 1;
}

SHELL_COMMAND(age, "ORDER INDEX [SEED] | off", "fragment free memory: unusable index for an order, in 1/1000",
              command_age);
