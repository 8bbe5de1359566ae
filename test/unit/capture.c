// The console's text in a buffer.
// SPDX-License-Identifier: BSD-2-Clause
#include "capture.h"

#include <base/string.h>
#include <debug/klog.h>

static struct {
    char text[32768];
    size_t used;
    bool overflowed;
    console_writer_t earlier;
} capture;

static void write(const char *text, size_t size)
{
    if (size >= sizeof(capture.text) - capture.used) {
        capture.overflowed = true;
        return;
    }
    memcpy(capture.text + capture.used, text, size);
    capture.used += size;
}

void capture_start(void)
{
    capture.used = 0;
    capture.overflowed = false;
    capture.earlier = console_register(write);
}

char *capture_stop(void)
{
    console_register(capture.earlier);
    capture.text[capture.used] = '\0';
    return capture.overflowed ? NULL : capture.text;
}
