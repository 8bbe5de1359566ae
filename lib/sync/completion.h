// Completions: one side says that something is done, the other waits for it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each complete() lets one waiter through, now or later. Whoever has been let through may free
// the completion: nobody touches it afterwards. Ordering: as a semaphore's.
#pragma once

#include <sync/semaphore.h>

struct completion {
    struct semaphore semaphore;
};

#define COMPLETION_INIT(name) { SEMAPHORE_INIT((name).semaphore, 0) }

static inline void completion_init(struct completion *completion)
{
    semaphore_init(&completion->semaphore, 0);
}

// Any context.
static inline void complete(struct completion *completion)
{
    semaphore_up(&completion->semaphore);
}

// Process context that may sleep. The latter two are false when it did not come: by that moment, or before the thread
// was asked to end.
static inline void completion_wait(struct completion *completion)
{
    semaphore_down(&completion->semaphore);
}

static inline must_check bool completion_wait_until(struct completion *completion, uint64_t deadline)
{
    return semaphore_down_until(&completion->semaphore, deadline);
}

static inline must_check bool completion_wait_killable(struct completion *completion)
{
    return semaphore_down_killable(&completion->semaphore);
}
