// The fake port's physical memory and address windows, out of Linux system calls.
// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "linux_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int phys_file = -1;

// The test program cannot go on without its memory, and nothing has been printed yet.
static void *checked(void *result, const char *what, uint64_t address, uint64_t bytes)
{
    if (result == MAP_FAILED) {
        fprintf(stderr, "%s of %#lx bytes at %#lx: ", what, bytes, address);
        perror(NULL);
        _exit(2);
    }
    return result;
}

void linux_memory_init(uint64_t phys_bytes)
{
    phys_file = memfd_create("quire-physical-memory", MFD_CLOEXEC);
    if (phys_file < 0 || ftruncate(phys_file, (off_t)phys_bytes) != 0) {
        perror("physical memory");
        _exit(2);
    }
}

void linux_reserve(uint64_t address, uint64_t bytes, bool writable_zeros)
{
    checked(mmap((void *)address, bytes, writable_zeros ? PROT_READ | PROT_WRITE : PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0),
            "reserving", address, bytes);
}

void linux_map_phys(uint64_t address, uint64_t bytes, uint64_t phys, bool read, bool write, bool exec)
{
    int prot = (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0) | (exec ? PROT_EXEC : 0);

    checked(mmap((void *)address, bytes, prot, MAP_SHARED | MAP_FIXED, phys_file, (off_t)phys), "mapping",
            address, bytes);
}

void linux_unmap(uint64_t address, uint64_t bytes)
{
    checked(mmap((void *)address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                 -1, 0),
            "unmapping", address, bytes);
}

void *linux_zeros(uint64_t bytes)
{
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return checked(start, "reserving", 0, bytes);
}
