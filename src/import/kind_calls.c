/* kind_calls.c: calls as they are written in C, with their result: "malloc(8) = 81d220b48<6655>", as in the
 * compact memory traces made of CHERI's and jemalloc's utrace records. hak_import_call also serves Mozilla's
 * logalloc. */
#include "import/kinds.h"

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

static const char *call_finish(hak_import *im, hak_scan *line, size_t row, uint32_t space, uint64_t first,
                               uint64_t second)
{
    hak_scan_want(line, ")");
    uint64_t result = 0, size;
    if (calls[row].shape != SHAPE_FREE) {
        hak_scan_want(line, "=");
        result = block_key(im, line, space, false);
    }
    if (line->bad || (!hak_scan_done(line) && *line->at != '#'))
        return "not a whole call with its arguments and result";
    switch ((shape)calls[row].shape) {
    case SHAPE_SIZE:
        hak_import_alloc(im, (hak_op)calls[row].op, result, first, 0);
        break;
    case SHAPE_COUNT_SIZE:
        if (__builtin_mul_overflow(first, second, &size))
            return "calloc of more bytes than there are";
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

const char *hak_import_call(hak_import *im, hak_scan *line, uint32_t space)
{
    const char *name;
    size_t len = hak_scan_word(line, &name), row = 0;
    if (len == 0 || !hak_scan_is(line, "("))
        return "no call with arguments in parentheses";
    while (row < HAK_COUNT_OF(calls) && !hak_scan_same(name, len, calls[row].name))
        row++;
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

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    const char *name;
    hak_scan line = hak_head_line(head, len_bytes, '#');
    size_t len = hak_scan_word(&line, &name);
    if (!hak_scan_is(&line, "("))
        return false;
    for (size_t i = 0; i < HAK_COUNT_OF(calls); i++)
        if (hak_scan_same(name, len, calls[i].name))
            return true;
    return false;
}

static const char *parse(hak_import *im, hak_scan *line, void *state)
{
    (void)state;
    hak_import_thread(im, 1);
    return hak_import_call(im, line, 0);
}

static int run(hak_import *im)
{
    return hak_import_lines(im, parse, NULL);
}

const hak_import_kind hak_import_calls = {
    .format = {"cheri", "call traces: malloc(8) = 0x1234, free(0x1234) …, as of CHERI's and utrace's tools"},
    .limits = "threads, times, call contexts",
    .detect = detect,
    .run = run,
};
