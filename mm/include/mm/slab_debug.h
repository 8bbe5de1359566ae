// Finding errors in the use of objects: what a cache does more when it is told to.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A cache that looks for errors has a flag for each kind of them, given when it is created or by the boot argument
// slab_debug=FLAGS[,CACHE...] (a name may end with *; without names: all caches). Flags are letters:
//
//     F  SLAB_CONSISTENCY   the slab's bookkeeping is verified at each allocation and free
//     Z  SLAB_RED_ZONE      bytes around the object that nobody may write, what kmalloc rounds up included
//     P  SLAB_POISON        a new object is full of 0x5a, a free one of 0x6b, and stays so; a constructed one is given
//                           back as the constructor left it, and stays so
//     U  SLAB_STORE_USER    who allocated and who freed, with backtraces
//     Gn SLAB_GUARD         every n-th object in a page of its own (<mm/slab_guard.h>)
//
// With any of them objects come from and go to their slab at once: no magazine holds them, so that a pointer that is
// free is known to be.
//
//     | left zone | object as asked for | rounding | right zone | record: mark, request, users | pristine |
//     | bb / cc   | 5a.. / 6b..         | bb / cc  | bb / cc    |                              |          |
//       free / in use
//
// What the constructor wrote is told from what it left alone by filling the object first; its bytes are kept in
// `pristine` and compared when the object comes back. A free object is looked at when it is allocated, when its slab
// goes back, and by kmem_cache_validate; one in use when it is freed.
//
// A report says cache, object, the first wrong byte's place, what was found and expected there, how many bytes are
// wrong, and with U who allocated and freed. It counts once in slab_misuse_count(). Then the bytes are put right, so
// that the same damage is told once.
//
// There is no list through free objects whose links could be damaged: what is free is a bitmap outside of them, and
// the magazines' pointers lie in memory of their own and are examined when they come back to the slabs.
#pragma once

#include <mm/slab.h>

// Start-up, before slab_init. NULL; or why the setting is refused, and nothing is set. "none" sets nothing. `setting`
// stays the caller's and in place.
must_check const char *slab_debug_init(const char *setting);

// Start-up, before slab_init: whether each object, and each large block of kmalloc, is cleared when it is allocated,
// and when it is freed. Constructed objects are left alone.
void slab_clear_init(bool on_alloc, bool on_free);
extern bool slab_clears_on_alloc, slab_clears_on_free;         // (C)

// Looks at all objects of a cache that has any of the flags; returns what was found wrong and reported. Nobody else
// uses the cache meanwhile.
unsigned kmem_cache_validate(struct kmem_cache *cache);

// What an address that was used as a pointer looks like, "memory that nobody has written" or "freed memory", when its
// bytes are poison; else NULL.
const char *slab_poison_text(uintptr_t address);

// Prints what is known of the object in use or freed last at that address: cache, who allocated and freed it. False
// when there is no such object, or its cache keeps no record.
bool slab_print_users(const void *object, void (*print)(const char *format, ...));
