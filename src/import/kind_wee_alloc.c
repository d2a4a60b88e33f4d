/* kind_wee_alloc.c: the traces of the wee_alloc test suite, Rust literals: "Alloc(SIZE)," numbers objects 0,
 * 1, 2 … in order, "Free(OBJECT),". */
#include "import/kinds.h"

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    hak_scan line = hak_head_line(head, len_bytes, '#');
    if (line.at < line.end && hak_scan_is(&line, "["))
        line = hak_head_line(line.end, (size_t)(head + len_bytes - line.end), '#');
    if (!hak_scan_is(&line, "Alloc(") && !hak_scan_is(&line, "Free("))
        return false;
    hak_scan_decimal(&line);
    return !line.bad && hak_scan_is(&line, ")");
}

static const char *parse(hak_import *im, hak_scan *line, void *state)
{
    uint64_t *objects = state;
    bool alloc = hak_scan_is(line, "Alloc(");
    if (!alloc && !hak_scan_is(line, "Free(")) {
        if (*line->at == '[' || *line->at == ']' || hak_scan_is(line, "//"))
            return NULL; /* around the list */
        return "neither Alloc(SIZE), nor Free(OBJECT),";
    }
    uint64_t number = hak_scan_decimal(line);
    hak_scan_want(line, ")");
    hak_scan_is(line, ",");
    if (line->bad || !hak_scan_done(line))
        return "no whole Alloc(SIZE), or Free(OBJECT),";
    hak_import_thread(im, 1);
    if (alloc)
        hak_import_alloc(im, HAK_OP_MALLOC, ++*objects, number, 0);
    else
        hak_import_free(im, HAK_OP_FREE, number < UINT64_MAX ? number + 1 : number);
    return NULL;
}

static int run(hak_import *im)
{
    uint64_t objects = 0;
    return hak_import_lines(im, parse, &objects);
}

const hak_import_kind hak_import_wee_alloc = {
    .format = {"wee_alloc", "Alloc(SIZE), and Free(OBJECT), lines of the wee_alloc test suite"},
    .limits = "threads, times, call contexts, entry points, reallocs",
    .detect = detect,
    .run = run,
};
