// The study's records: one line of JSON each on the console, and a CRC over all of them at the end.
// SPDX-License-Identifier: BSD-2-Clause
//
// A record is begun, given its fields in order, and ended, which prints it as one unit:
//
//     record_begin("op");
//     record_text("class", "page_alloc");
//     record_number("count", 17);
//     record_end();
//
// Names and texts must hold no character that JSON escapes; a record too long for the buffer panics. One
// thread.
#pragma once

#include <base/compiler.h>

// The longest text that a record can hold beside its other fields, NUL included.
#define RECORD_TEXT_BYTES 1024

void record_begin(const char *kind);
void record_text(const char *name, const char *text);
void record_hex(const char *name, uint32_t value);            // text of 8 digits
void record_number(const char *name, uint64_t value);
void record_signed(const char *name, int64_t value);
void record_array(const char *name, const uint64_t *values, unsigned count);
void record_object_begin(const char *name);
void record_object_end(void);
void record_end(void);

// The last record: how many there were and the CRC-32 of their text, each with a newline behind.
void record_finish(void);
