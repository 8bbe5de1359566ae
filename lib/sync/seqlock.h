// Sequence lock: readers never wait for one another nor hold up the writer; they read again when he was at work.
// SPDX-License-Identifier: BSD-2-Clause
//
// For a few words that are read much and written by one at a time: the writer holds a lock of his own, or is the only
// one. The data are plain words, read and written by relaxed atomics, since a reader may see them half changed; he
// throws such a reading away. No pointer that a writer may free can be followed.
//
//     unsigned start;                           write_seqcount_begin(&s);
//     do {                                      ... write ...
//         start = read_seqcount_begin(&s);      write_seqcount_end(&s);
//         ... read ...
//     } while (read_seqcount_retry(&s, start));
//
// Ordering (RVWMO, RISC-V unprivileged specification 20191213, chapter 14, rule 4, fences): the writer's fence w,w
// after the count became odd keeps his stores behind it, the release keeps them before the count is even again; the
// reader's acquire keeps his loads behind the first look, and his fence r,r keeps them before the second.
#pragma once

#include <arch/irq.h>
#include <base/compiler.h>

struct seqcount {
    uint32_t count;                // (A) odd while a writer is at work
};

static inline void write_seqcount_begin(struct seqcount *seq)
{
    store_relaxed(&seq->count, seq->count + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void write_seqcount_end(struct seqcount *seq)
{
    __atomic_store_n(&seq->count, seq->count + 1, __ATOMIC_RELEASE);
}

static inline uint32_t read_seqcount_begin(const struct seqcount *seq)
{
    uint32_t count;

    for (unsigned round = 0; (count = __atomic_load_n(&seq->count, __ATOMIC_ACQUIRE)) & 1; round++)
        arch_relax(round);
    return count;
}

static inline must_check bool read_seqcount_retry(const struct seqcount *seq, uint32_t start)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&seq->count, __ATOMIC_RELAXED) != start;
}
