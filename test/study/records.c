// Records are put together in one static buffer, so that printing allocates nothing.
// SPDX-License-Identifier: BSD-2-Clause

#include "records.h"
#include "crc32.h"
#include <base/assert.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <stdarg.h>

#define RECORD_BYTES 4096

static const char prefix[] = "@study ";

static char line[RECORD_BYTES];
static size_t line_bytes;
static bool wants_comma;
static uint64_t record_count;
static uint32_t records_crc;

static void put(const char *format, ...) printf_like(1, 2);

static void put(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = format_text_va(line + line_bytes, sizeof line - line_bytes, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof line - line_bytes)
        panic("study: a record is longer than %d bytes", RECORD_BYTES);
    line_bytes += (size_t)length;
}

static void put_name(const char *name)
{
    put("%s\"%s\": ", wants_comma ? ", " : "", name);
    wants_comma = true;
}

void record_begin(const char *kind)
{
    line_bytes = 0;
    put("%s{", prefix);
    wants_comma = false;
    record_text("kind", kind);
}

void record_text(const char *name, const char *text)
{
    put_name(name);
    put("\"%s\"", text);
}

void record_hex(const char *name, uint32_t value)
{
    put_name(name);
    put("\"%08x\"", value);
}

void record_number(const char *name, uint64_t value)
{
    put_name(name);
    put("%lu", value);
}

void record_signed(const char *name, int64_t value)
{
    put_name(name);
    put("%ld", value);
}

void record_array(const char *name, const uint64_t *values, unsigned count)
{
    put_name(name);
    put("[");
    for (unsigned i = 0; i < count; i++)
        put("%s%lu", i ? ", " : "", values[i]);
    put("]");
}

void record_object_begin(const char *name)
{
    put_name(name);
    put("{");
    wants_comma = false;
}

void record_object_end(void)
{
    put("}");
    wants_comma = true;
}

void record_end(void)
{
    put("}\n");
    console_write(line, line_bytes);
    records_crc = crc32_of(records_crc, line + sizeof prefix - 1, line_bytes - (sizeof prefix - 1));
    record_count++;
}

void record_finish(void)
{
    uint32_t crc = records_crc;
    uint64_t count = record_count;

    record_begin("end");
    record_number("records", count);
    record_hex("crc", crc);
    record_end();
}
