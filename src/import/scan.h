/* scan.h: numbers and words out of one line. A scan stays within its line; the first thing that is not there
 * sets `bad`, and all that follows yields 0, so that a parser checks once a line. Pure; any thread. */
#ifndef HAK_IMPORT_SCAN_H
#define HAK_IMPORT_SCAN_H

#include "core/base/types.h"

#include <string.h>

typedef struct hak_scan {
    const char *at, *end;
    bool bad;
} hak_scan;

HAK_INLINE hak_scan hak_scan_of(const char *line, size_t len_bytes)
{
    return (hak_scan){line, line + len_bytes, false};
}

HAK_INLINE void hak_scan_blanks(hak_scan *s)
{
    const char *at = s->at;
    while (at < s->end && (*at == ' ' || *at == '\t'))
        at++;
    s->at = at;
}

/* Nothing but blanks is left. */
HAK_INLINE bool hak_scan_done(hak_scan *s)
{
    hak_scan_blanks(s);
    return s->at == s->end;
}

/* Decimal, up to 64 bits, blanks before it skipped. */
HAK_INLINE uint64_t hak_scan_decimal(hak_scan *s)
{
    hak_scan_blanks(s);
    const char *at = s->at, *end = s->end, *safe = end - at > 19 ? at + 19 : end; /* 19 digits always fit */
    uint64_t value = 0;
    unsigned digit = 0;
    while (at < safe && (digit = (unsigned)(unsigned char)*at - '0') < 10) {
        value = value * 10 + digit;
        at++;
    }
    s->bad |= at == s->at;
    while (HAK_UNLIKELY(at == safe) && at < end && (digit = (unsigned)(unsigned char)*at - '0') < 10) {
        s->bad |= __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value);
        safe = ++at;
    }
    s->at = at;
    return s->bad ? 0 : value;
}

/* A thread's or process's number: decimal, printed by some as signed. */
HAK_INLINE uint64_t hak_scan_id(hak_scan *s)
{
    hak_scan_blanks(s);
    bool minus = s->at < s->end && *s->at == '-';
    s->at += minus;
    uint64_t value = hak_scan_decimal(s);
    return minus ? 0 - value : value;
}

/* Does such a number stand here? */
HAK_INLINE bool hak_scan_at_id(const hak_scan *s)
{
    const char *at = s->at + (s->at < s->end && *s->at == '-');
    return at < s->end && (unsigned)(unsigned char)*at - '0' < 10;
}

HAK_INLINE int hak_scan_hex_digit(char c)
{
    unsigned digit = (unsigned)(unsigned char)c - '0';
    if (HAK_LIKELY(digit < 10))
        return (int)digit;
    unsigned letter = ((unsigned)(unsigned char)c | 0x20) - 'a';
    return letter < 6 ? (int)letter + 10 : -1;
}

/* Hexadecimal without prefix, up to 64 bits. */
HAK_INLINE uint64_t hak_scan_hex(hak_scan *s)
{
    hak_scan_blanks(s);
    const char *at = s->at, *end = s->end;
    uint64_t value = 0, lost = 0;
    int digit;
    while (at < end && (digit = hak_scan_hex_digit(*at)) >= 0) {
        lost |= value >> 60;
        value = value << 4 | (unsigned)digit;
        at++;
    }
    s->bad |= at == s->at || lost != 0;
    s->at = at;
    return value;
}

/* Takes the text if it stands here, blanks before it skipped. */
HAK_INLINE bool hak_scan_is(hak_scan *s, const char *text)
{
    hak_scan_blanks(s);
    size_t len = strlen(text);
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, text, len) != 0)
        return false;
    s->at += len;
    return true;
}

HAK_INLINE void hak_scan_want(hak_scan *s, const char *text)
{
    if (!hak_scan_is(s, text))
        s->bad = true;
}

/* An address: 0x…, or hexadecimal digits, or one of the ways to print NULL. */
HAK_INLINE uint64_t hak_scan_address(hak_scan *s)
{
    hak_scan_blanks(s);
    if (HAK_LIKELY(s->end - s->at > 2 && s->at[0] == '0' && (s->at[1] == 'x' || s->at[1] == 'X'))) {
        s->at += 2;
        return hak_scan_hex(s);
    }
    if (hak_scan_is(s, "(nil)") || hak_scan_is(s, "nil") || hak_scan_is(s, "NULL"))
        return 0;
    return hak_scan_hex(s);
}

/* A word of letters, digits and underscores; its length, 0 if there is none. */
HAK_INLINE size_t hak_scan_word(hak_scan *s, const char **word)
{
    hak_scan_blanks(s);
    const char *at = s->at, *end = s->end;
    while (at < end && (((unsigned)(unsigned char)*at | 0x20) - 'a' < 26 || *at == '_' ||
                        (unsigned)(unsigned char)*at - '0' < 10))
        at++;
    *word = s->at;
    s->at = at;
    return (size_t)(at - *word);
}

HAK_INLINE bool hak_scan_same(const char *word, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(word, text, len) == 0;
}

#endif
