// The slots: objects wait here, filled, for whoever takes them next, in whatever context and on whatever hart.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <sync/spinlock.h>

#define SLOT_COUNT 256
#define TRIES 4

static struct slot {
    struct spinlock lock;
    struct object object;          // (L) kind OBJECT_NONE: empty
} slots[SLOT_COUNT];

void slots_init(void)
{
    for (unsigned i = 0; i < SLOT_COUNT; i++)
        spin_lock_init(&slots[i].lock, STRESS);
}

// Puts the object into a slot and takes out what was there, if it is for this context to free: else false.
static bool exchange(struct slot *slot, enum stress_context context, struct object *object)
{
    irqflags_t flags = spin_lock_irqsave(&slot->lock);
    struct object there = slot->object;
    bool is_suitable = there.kind == OBJECT_NONE || object_suits(&there, context);

    if (is_suitable) {
        slot->object = *object;
        *object = there;
    }
    spin_unlock_irqrestore(&slot->lock, flags);
    return is_suitable;
}

static void verify_taken(struct actor *actor, const struct object *object)
{
    object_verify(object);
    actor->checksum = stress_mix(actor->checksum, object->tag);
}

// Gives the object away; what comes back for it is verified and freed.
static void hand_over(struct actor *actor, enum stress_context context, struct object *object)
{
    bool is_handed = false;

    for (unsigned i = 0; i < TRIES && !is_handed; i++)
        is_handed = exchange(&slots[draw(actor, SLOT_COUNT)], context, object);
    if (object->kind == OBJECT_NONE)
        return;
    if (is_handed)
        verify_taken(actor, object);
    object_free(object);
}

static bool take(struct actor *actor, enum stress_context context, struct object *object)
{
    for (unsigned i = 0; i < TRIES; i++) {
        *object = (struct object){ .kind = OBJECT_NONE };
        if (exchange(&slots[draw(actor, SLOT_COUNT)], context, object) && object->kind != OBJECT_NONE) {
            verify_taken(actor, object);
            return true;
        }
    }
    return false;
}

void stress_operate(struct actor *actor, enum stress_context context)
{
    struct object object;
    uint64_t lot = draw(actor, 100);

    actor->operations++;
    STRESS_COUNT(operations);
    if (lot < 55 && object_make(actor, context, &object)) {
        hand_over(actor, context, &object);
    } else if (lot >= 95) {
        objects_in_bulk(actor, context);
    } else if (take(actor, context, &object)) {
        if (lot < 75) {
            object_free(&object);
            return;
        }
        if (lot < 85)
            object_resize(actor, context, &object);
        else
            object_fill(&object, random_next(&actor->random));
        hand_over(actor, context, &object);
    }
}

void slots_free_all(void)
{
    for (unsigned i = 0; i < SLOT_COUNT; i++)
        if (slots[i].object.kind != OBJECT_NONE) {
            object_verify(&slots[i].object);
            object_free(&slots[i].object);
        }
}
