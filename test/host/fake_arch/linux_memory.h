// The Linux calls behind the fake port, apart from it because both call their protection bits PROT_READ.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Creates the file that is physical memory.
void linux_memory_init(uint64_t phys_bytes);

// Reserves addresses where nothing may lie yet: without access, or as writable zeros that take memory when
// touched.
void linux_reserve(uint64_t address, uint64_t bytes, bool writable_zeros);

// Shows a part of physical memory at an address within a reserved range.
void linux_map_phys(uint64_t address, uint64_t bytes, uint64_t phys, bool read, bool write, bool exec);

// Takes all access away again.
void linux_unmap(uint64_t address, uint64_t bytes);

// Memory anywhere that reads as zeros, and costs something only where it is written.
void *linux_zeros(uint64_t bytes);
