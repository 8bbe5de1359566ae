// printf's formatting: one pass over the format, one conversion at a time.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/format.h>
#include <base/string.h>

#include <limits.h>

// Where the text goes; what does not fit is counted but not stored.
struct output {
    char *buffer;
    size_t size;
    size_t length;
};

struct conversion {
    bool left, zeros, plus, space, alternative;
    int width;             // 0: as wide as it gets
    int precision;         // -1: none given
    char length;           // 'H' for hh, 'h', 'l' for anything of 64 bits, 0 for int
    char kind;
};

static void put(struct output *out, char character)
{
    if (out->length + 1 < out->size)
        out->buffer[out->length] = character;
    out->length++;
}

static void put_text(struct output *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        put(out, text[i]);
}

static void put_repeated(struct output *out, char character, int count)
{
    for (; count > 0; count--)
        put(out, character);
}

static void put_padded(struct output *out, const struct conversion *conversion, const char *text,
                       size_t length)
{
    int padding = (size_t)conversion->width > length ? conversion->width - (int)length : 0;

    if (!conversion->left)
        put_repeated(out, ' ', padding);
    put_text(out, text, length);
    if (conversion->left)
        put_repeated(out, ' ', padding);
}

static void put_number(struct output *out, const struct conversion *conversion, uint64_t value, bool negative)
{
    const char *digits = conversion->kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    bool is_hex = conversion->kind == 'x' || conversion->kind == 'X' || conversion->kind == 'p';
    char text[20], prefix[3];
    int length = 0, prefix_length = 0, zeros = 0, padding;

    if (negative)
        prefix[prefix_length++] = '-';
    else if (conversion->plus && !is_hex && conversion->kind != 'u')
        prefix[prefix_length++] = '+';
    else if (conversion->space && !is_hex && conversion->kind != 'u')
        prefix[prefix_length++] = ' ';
    if (is_hex && (conversion->kind == 'p' || (conversion->alternative && value != 0))) {
        prefix[prefix_length++] = '0';
        prefix[prefix_length++] = conversion->kind == 'X' ? 'X' : 'x';
    }

    for (uint64_t rest = value; rest != 0; rest /= is_hex ? 16 : 10)
        text[length++] = digits[rest % (is_hex ? 16 : 10)];
    if (length == 0 && conversion->precision != 0)
        text[length++] = '0';

    if (conversion->precision > length)
        zeros = conversion->precision - length;
    padding = conversion->width - prefix_length - zeros - length;
    if (padding > 0 && conversion->zeros && !conversion->left && conversion->precision < 0) {
        zeros += padding;
        padding = 0;
    }

    if (!conversion->left)
        put_repeated(out, ' ', padding);
    put_text(out, prefix, (size_t)prefix_length);
    put_repeated(out, '0', zeros);
    while (length > 0)
        put(out, text[--length]);
    if (conversion->left)
        put_repeated(out, ' ', padding);
}

static int64_t signed_argument(char length, va_list *args)
{
    switch (length) {
    case 'l': return va_arg(*args, int64_t);
    case 'h': return (int16_t)va_arg(*args, int);
    case 'H': return (int8_t)va_arg(*args, int);
    default: return va_arg(*args, int);
    }
}

static uint64_t unsigned_argument(char length, va_list *args)
{
    switch (length) {
    case 'l': return va_arg(*args, uint64_t);
    case 'h': return (uint16_t)va_arg(*args, unsigned);
    case 'H': return (uint8_t)va_arg(*args, unsigned);
    default: return va_arg(*args, unsigned);
    }
}

// A decimal number of the format, or the argument that '*' stands for.
static int read_count(const char **at, va_list *args)
{
    int count = 0;

    if (**at == '*') {
        (*at)++;
        return va_arg(*args, int);
    }
    for (; **at >= '0' && **at <= '9'; (*at)++)
        if (__builtin_mul_overflow(count, 10, &count) || __builtin_add_overflow(count, **at - '0', &count))
            count = INT_MAX / 10;
    return count;
}

// Reads what stands behind a '%'; *at ends behind the conversion's letter, or at the NUL.
static struct conversion read_conversion(const char **at, va_list *args)
{
    struct conversion conversion = { .precision = -1 };

    for (;; (*at)++) {
        switch (**at) {
        case '-': conversion.left = true; continue;
        case '0': conversion.zeros = true; continue;
        case '+': conversion.plus = true; continue;
        case ' ': conversion.space = true; continue;
        case '#': conversion.alternative = true; continue;
        }
        break;
    }
    conversion.width = read_count(at, args);
    if (conversion.width < 0) {
        conversion.left = true;
        conversion.width = conversion.width == INT_MIN ? INT_MAX : -conversion.width;
    }
    if (**at == '.') {
        (*at)++;
        conversion.precision = read_count(at, args);
    }
    for (; **at == 'h' || **at == 'l' || **at == 'j' || **at == 'z' || **at == 't'; (*at)++)
        conversion.length = **at != 'h' ? 'l' : conversion.length == 'h' ? 'H' : 'h';
    conversion.kind = **at;
    if (**at != '\0')
        (*at)++;
    return conversion;
}

static void put_conversion(struct output *out, const struct conversion *conversion, va_list *args)
{
    switch (conversion->kind) {
    case 'd':
    case 'i': {
        int64_t value = signed_argument(conversion->length, args);
        put_number(out, conversion, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0);
        break;
    }
    case 'u':
    case 'x':
    case 'X':
        put_number(out, conversion, unsigned_argument(conversion->length, args), false);
        break;
    case 'p':
        put_number(out, conversion, (uintptr_t)va_arg(*args, void *), false);
        break;
    case 'c': {
        char character = (char)va_arg(*args, int);
        put_padded(out, conversion, &character, 1);
        break;
    }
    case 's': {
        const char *text = va_arg(*args, const char *);
        if (text == NULL)
            text = "(null)";
        put_padded(out, conversion, text, strnlen(text, conversion->precision < 0 ? SIZE_MAX :
                                                  (size_t)conversion->precision));
        break;
    }
    }
}

static bool is_known(char kind)
{
    return kind != '\0' && strchr("diuxXcsp", kind) != NULL;
}

int format_text_va(char *buffer, size_t size, const char *format, va_list args)
{
    struct output out = { buffer, size, 0 };
    va_list rest;

    va_copy(rest, args);
    for (const char *at = format; *at != '\0';) {
        const char *start = at;
        if (*at++ != '%') {
            put(&out, *start);
            continue;
        }
        struct conversion conversion = read_conversion(&at, &rest);
        if (is_known(conversion.kind))
            put_conversion(&out, &conversion, &rest);
        else if (conversion.kind == '%')
            put(&out, '%');
        else
            put_text(&out, start, (size_t)(at - start));
    }
    va_end(rest);
    if (size > 0)
        buffer[out.length < size ? out.length : size - 1] = '\0';
    return out.length > INT_MAX ? INT_MAX : (int)out.length;
}

int format_text(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = format_text_va(buffer, size, format, args);
    va_end(args);
    return length;
}
