/* kind_calls.c: calls as they are written in C, with their result: "malloc(8) = 81d220b48<6655>", as in the
 * compact memory traces made of CHERI's and jemalloc's utrace records; and what those are made of: dtrace's
 * "call-trace\tTIME\tSTACK\tmalloc\t96\t81d21e100" and kdump's "61039 make USER  0x800607420 =
 * malloc(26)". hak_import_call also serves Mozilla's logalloc. */
#include "import/kinds.h"

#include <stdio.h>
#include <string.h>

enum { KDUMP_SPACES = 4096 }; /* processes that are kept apart */

typedef enum shape {
    SHAPE_SIZE,       /* (size) = block */
    SHAPE_COUNT_SIZE, /* (count, size) = block */
    SHAPE_ALIGN_SIZE, /* (align, size) = block */
    SHAPE_REALLOC,    /* (block, size) = block */
    SHAPE_FREE,       /* (block) */
    SHAPE_OTHER
} shape;

static const struct {
    const char *name;
    uint8_t shape;
    uint8_t op;
    bool arena; /* an arena's number comes first */
} calls[] = {
    {"malloc", SHAPE_SIZE, HAK_OP_MALLOC, false},
    {"free", SHAPE_FREE, HAK_OP_FREE, false},
    {"calloc", SHAPE_COUNT_SIZE, HAK_OP_CALLOC, false},
    {"realloc", SHAPE_REALLOC, HAK_OP_REALLOC, false},
    {"memalign", SHAPE_ALIGN_SIZE, HAK_OP_MEMALIGN, false},
    {"posix_memalign", SHAPE_ALIGN_SIZE, HAK_OP_POSIX_MEMALIGN, false},
    {"aligned_alloc", SHAPE_ALIGN_SIZE, HAK_OP_ALIGNED_ALLOC, false},
    {"valloc", SHAPE_SIZE, HAK_OP_VALLOC, false},
    {"pvalloc", SHAPE_SIZE, HAK_OP_PVALLOC, false},
    {"moz_arena_malloc", SHAPE_SIZE, HAK_OP_MALLOC, true},
    {"moz_arena_free", SHAPE_FREE, HAK_OP_FREE, true},
    {"moz_arena_calloc", SHAPE_COUNT_SIZE, HAK_OP_CALLOC, true},
    {"moz_arena_realloc", SHAPE_REALLOC, HAK_OP_REALLOC, true},
    {"moz_arena_memalign", SHAPE_ALIGN_SIZE, HAK_OP_MEMALIGN, true},
};

/* Of `calls`; their number when there is none of that name. */
static size_t row_of(const char *name, size_t len)
{
    size_t row = 0;
    while (row < HAK_COUNT_OF(calls) && !hak_scan_same(name, len, calls[row].name))
        row++;
    return row;
}

/* An address, or the number that took its place ("#12"); a "<12>" behind an address is the block's number.
 * `given`: the call was given the block. Preprocessing numbers NULL too, where it is freed or reallocated,
 * and drops calls on blocks that it has not seen: a number that stands for no block is NULL's. */
static uint64_t block_key(const hak_import *im, hak_scan *line, uint32_t space, bool given)
{
    hak_scan_blanks(line);
    uint64_t key;
    if (hak_scan_is(line, "#")) {
        key = hak_scan_decimal(line);
        if (given && hak_slots_find(im->slots, hak_import_key(key, space)) == 0)
            return 0;
    } else {
        key = hak_scan_address(line);
    }
    if (line->at < line->end && *line->at == '<') {
        line->at++;
        hak_scan_decimal(line);
        hak_scan_want(line, ">");
    }
    return key == 0 ? 0 : hak_import_key(key, space);
}

static uint64_t number(hak_scan *line)
{
    hak_scan_blanks(line);
    if (line->end - line->at > 2 && line->at[0] == '0' && line->at[1] == 'x')
        return hak_scan_address(line);
    return hak_scan_decimal(line);
}

static const char *call_put(hak_import *im, size_t row, uint64_t result, uint64_t first, uint64_t second)
{
    uint64_t size;
    switch ((shape)calls[row].shape) {
    case SHAPE_SIZE:
        hak_import_alloc(im, (hak_op)calls[row].op, result, first, 0);
        break;
    case SHAPE_COUNT_SIZE:
        if (__builtin_mul_overflow(first, second, &size)) {
            if (result != 0)
                return "calloc of more bytes than there are";
            size = UINT64_MAX;
        }
        hak_import_alloc(im, HAK_OP_CALLOC, result, size, 0);
        break;
    case SHAPE_ALIGN_SIZE:
        hak_import_alloc(im, (hak_op)calls[row].op, result, second, first);
        break;
    case SHAPE_REALLOC:
        hak_import_realloc(im, result, first, second);
        break;
    default:
        hak_import_free(im, HAK_OP_FREE, first);
    }
    return NULL;
}

static const char *call_finish(hak_import *im, hak_scan *line, size_t row, uint32_t space, uint64_t first,
                               uint64_t second)
{
    hak_scan_want(line, ")");
    uint64_t result = 0;
    if (calls[row].shape != SHAPE_FREE) {
        hak_scan_want(line, "=");
        result = block_key(im, line, space, false);
    }
    if (line->bad || (!hak_scan_done(line) && *line->at != '#'))
        return "not a whole call with its arguments and result";
    return call_put(im, row, result, first, second);
}

const char *hak_import_call(hak_import *im, hak_scan *line, uint32_t space)
{
    const char *name;
    size_t len = hak_scan_word(line, &name), row = row_of(name, len);
    if (len == 0 || !hak_scan_is(line, "("))
        return "no call with arguments in parentheses";
    if (row == HAK_COUNT_OF(calls)) {
        hak_import_ignore(im);
        return NULL;
    }
    if (calls[row].arena) {
        number(line);
        hak_scan_want(line, ",");
    }
    bool of_block = calls[row].shape == SHAPE_FREE || calls[row].shape == SHAPE_REALLOC;
    uint64_t first = of_block ? block_key(im, line, space, true) : number(line), second = 0;
    if (calls[row].shape != SHAPE_FREE && calls[row].shape != SHAPE_SIZE) {
        hak_scan_want(line, ",");
        second = number(line);
    }
    return call_finish(im, line, row, space, first, second);
}

static const char call_trace[] = "call-trace", user[] = "USER";

/* From "61039 make     USER  " on; the process is that of hak_import_thread. False: no such line. */
static bool kdump_head(hak_scan *line, uint64_t *pid)
{
    *pid = hak_scan_decimal(line);
    const char *at =
        line->bad ? NULL : memmem(line->at, (size_t)(line->end - line->at), user, sizeof user - 1);
    if (at == NULL)
        return false;
    line->at = at + sizeof user - 1;
    return true;
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    const char *name;
    uint64_t pid;
    hak_scan line = hak_head_line(head, len_bytes, '#'), dump = line;
    im->late_events = HAK_IMPORT_LATE_REALLOC;
    im->threads_unknown = true;
    if (hak_scan_is(&line, call_trace) || kdump_head(&dump, &pid))
        return true;
    size_t len = hak_scan_word(&line, &name);
    return hak_scan_is(&line, "(") && row_of(name, len) < HAK_COUNT_OF(calls);
}

/* "TIME\tSTACK\tmalloc\t96\t81d21e100": arguments and result in one row. */
static const char *call_trace_take(hak_import *im, hak_scan *line)
{
    static const char cut[] = "no call with its arguments and result";
    const char *name;
    size_t row = HAK_COUNT_OF(calls);
    while (row == HAK_COUNT_OF(calls) && !hak_scan_done(line)) {
        size_t len = hak_scan_word(line, &name);
        row = row_of(name, len);
        line->at += len == 0; /* a sign */
    }
    if (row == HAK_COUNT_OF(calls) || calls[row].arena)
        return cut;
    shape form = (shape)calls[row].shape;
    bool of_block = form == SHAPE_FREE || form == SHAPE_REALLOC;
    uint64_t first = of_block ? hak_scan_address(line) : hak_scan_decimal(line), second = 0, result = 0;
    if (form != SHAPE_FREE && form != SHAPE_SIZE)
        second = hak_scan_decimal(line);
    if (form != SHAPE_FREE)
        result = hak_scan_address(line);
    return line->bad || !hak_scan_done(line) ? cut : call_put(im, row, result, first, second);
}

/* "0x800607420 = malloc(26)", "free(0x0)". */
static const char *kdump_take(hak_import *im, hak_scan *line, uint64_t pid)
{
    char turned[256];
    hak_scan result = *line;
    hak_scan_blanks(&result);
    const char *from = result.at;
    if (!hak_scan_is(&result, "0x"))
        return hak_import_call(im, line, (uint32_t)(pid % KDUMP_SPACES));
    while (result.at < result.end && *result.at != ' ')
        result.at++;
    int pointer = (int)(result.at - from);
    hak_scan_want(&result, "=");
    hak_scan_blanks(&result);
    int len =
        snprintf(turned, sizeof turned, "%.*s=%.*s", (int)(result.end - result.at), result.at, pointer, from);
    if (result.bad || len < 0 || (size_t)len >= sizeof turned)
        return "no result and call";
    hak_scan call = hak_scan_of(turned, (size_t)len);
    return hak_import_call(im, &call, (uint32_t)(pid % KDUMP_SPACES));
}

static const char *parse(hak_import *im, hak_scan *line, void *state)
{
    uint64_t pid;
    (void)state;
    if (HAK_LIKELY((unsigned)(unsigned char)*line->at - '0' >= 10)) {
        hak_import_thread(im, 1);
        return hak_scan_is(line, call_trace) ? call_trace_take(im, line) : hak_import_call(im, line, 0);
    }
    if (!kdump_head(line, &pid)) {
        hak_import_ignore(im); /* kdump prints other records, too */
        return NULL;
    }
    hak_import_thread(im, pid);
    return kdump_take(im, line, pid);
}

static int run(hak_import *im)
{
    return hak_import_lines(im, parse, NULL);
}

const hak_import_kind hak_import_calls = {
    .format = {"cheri", "malloc(8) = 0x1234, free(0x1234) …, of CHERI's, utrace's, kdump's call traces"},
    .limits = "threads, times, call contexts",
    .detect = detect,
    .run = run,
};
