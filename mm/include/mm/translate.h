// An address's way through the page tables, as it is drawn on a blackboard.
// SPDX-License-Identifier: BSD-2-Clause
//
// Of an address of the direct map, with three levels and pages of 8 KB:
//
//     0xffffffc081345678, translated by the root at 0x8fffe000
//                 level 2    level 1    level 0        offset
//       bits        38-30      29-21      20-12          11-0
//               100000010  000001001  101000101  011001111000
//       index         258          9        325         0x678
//       level 2  table 0x8fffe000, entry 258: 0x0000000023ffec01  V-------, PPN 0x8fffb: the table 0x8fffb000
//       level 1  table 0x8fffb000, entry 9: 0x00000000204800e7  VRW--GAD, PPN 0x81200: a leaf of 2 MB at 0x81200000
//       physical 0x81345678, page frame 0x409a2 of 8 KB: free
//       rights   read, write, no execution; kernel only; in every address space
//       place    the direct map
//       holds    0x0000000000000000 in the 8 bytes from 0xffffffc081345678 on
#pragma once

#include <mm/pgtable.h>

// Prints the walk, what it leads to and what kind of address it is. An address that is not canonical is told as one
// that no table is asked for. What memory holds is told of kernel_pgtable's RAM alone. Process context: areas of the
// vmalloc space are looked for under their lock.
void translate_print(const struct pgtable *table, vaddr_t address, void (*print)(const char *format, ...));
