/* kind_rep.c: the malloc lab's traces. ".rep": four header numbers, then "a ID SIZE", "r ID SIZE", "f ID" (-1
 * frees NULL); one course adds "w ID SIZE", which writes to a block. The numbers' meaning depends on the
 * edition (heap size, ids, operations, weight; or weight, ids, operations, greatest heap), but ids and
 * operations stand at the same place in both. ".script": the same lines without header, with comments. */
#include "import/kinds.h"

#include <stdio.h>

#define HEADER_NUMBERS 4

typedef struct state {
    uint64_t header[HEADER_NUMBERS];
    unsigned header_count;
    bool has_header;
    uint64_t operations;
} state;

static bool is_operation(hak_scan line)
{
    bool free_of = hak_scan_is(&line, "f ");
    if (!free_of && !hak_scan_is(&line, "a ") && !hak_scan_is(&line, "r ") && !hak_scan_is(&line, "w "))
        return false;
    if (free_of)
        hak_scan_is(&line, "-");
    hak_scan_decimal(&line);
    if (!free_of)
        hak_scan_decimal(&line);
    return !line.bad && (hak_scan_done(&line) || *line.at == '#' || *line.at == '\r');
}

static bool number_take(hak_scan *line, uint64_t *value)
{
    hak_scan_is(line, "-");
    *value = hak_scan_decimal(line);
    if (!line->bad && line->at < line->end && *line->at == '.') { /* a weight */
        line->at++;
        hak_scan_decimal(line);
    }
    return !line->bad;
}

static bool detect_rep(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    const char *end = head + len_bytes;
    unsigned numbers = 0;
    while (head < end && numbers < HEADER_NUMBERS) {
        const char *stop = memchr(head, '\n', (size_t)(end - head));
        hak_scan line = hak_scan_of(head, (size_t)((stop != NULL ? stop : end) - head));
        uint64_t value;
        while (!hak_scan_done(&line) && *line.at != '\r') {
            if (*line.at == '#')
                break;
            if (!number_take(&line, &value))
                return false;
            numbers++;
        }
        head = stop != NULL ? stop + 1 : end;
    }
    if (numbers != HEADER_NUMBERS)
        return false;
    hak_scan first = hak_head_line(head, (size_t)(end - head), '#');
    return first.at == first.end || is_operation(first);
}

static bool detect_script(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    return is_operation(hak_head_line(head, len_bytes, '#'));
}

static const char *parse(hak_import *im, hak_scan *line, void *arg)
{
    state *s = arg;
    while (s->has_header && s->header_count < HEADER_NUMBERS && !hak_scan_done(line)) {
        if (!number_take(line, &s->header[s->header_count++]))
            return "no number of the header";
        if (hak_scan_done(line))
            return NULL;
    }
    char operation = *line->at++;
    if (operation == '\0' || strchr("arfw", operation) == NULL || line->at == line->end ||
        (*line->at != ' ' && *line->at != '\t'))
        return "none of: a ID SIZE, r ID SIZE, f ID";
    bool minus = hak_scan_is(line, "-");
    uint64_t id = hak_scan_decimal(line), size = operation != 'f' ? hak_scan_decimal(line) : 0;
    if (!hak_scan_done(line) && *line->at != '#')
        line->bad = true;
    if (line->bad || id == UINT64_MAX || (minus && (id != 1 || operation != 'f')))
        return "no id and size behind the operation";
    uint64_t key = id + 1;
    hak_import_thread(im, 1);
    s->operations++;
    if (operation == 'a')
        hak_import_alloc(im, HAK_OP_MALLOC, key, size, 0);
    else if (operation == 'f')
        hak_import_free(im, HAK_OP_FREE, minus ? 0 : key);
    else if (operation == 'w')
        hak_import_ignore(im);
    else
        hak_import_realloc(im, key, hak_slots_find(im->slots, key) != 0 ? key : 0, size);
    return NULL;
}

static int run_rep(hak_import *im)
{
    state s = {.has_header = true};
    if (hak_import_lines(im, parse, &s) != 0)
        return -1;
    if (s.header_count < HEADER_NUMBERS)
        return hak_import_broken_line(im, "the header of four numbers is cut off");
    uint64_t promised = s.header[2];
    if (s.operations < promised) {
        char text[120];
        snprintf(text, sizeof text, "cut off: the header promises %llu operations, there are %llu",
                 (unsigned long long)promised, (unsigned long long)s.operations);
        im->summary->cut_off = true;
        return hak_import_broken_line(im, text);
    }
    if (s.operations > promised)
        snprintf(im->summary->note, sizeof im->summary->note,
                 "the header promises %llu operations, there are %llu", (unsigned long long)promised,
                 (unsigned long long)s.operations);
    return 0;
}

static int run_script(hak_import *im)
{
    state s = {.has_header = false};
    return hak_import_lines(im, parse, &s);
}

static const char lab_limits[] = "threads, times, call contexts, entry points";

const hak_import_kind hak_import_rep = {
    .format = {"rep", "malloc lab .rep files, with either kind of header"},
    .limits = lab_limits,
    .detect = detect_rep,
    .run = run_rep,
};

const hak_import_kind hak_import_script = {
    .format = {"script", "malloc lab .script files: a, r, f lines and comments"},
    .limits = lab_limits,
    .detect = detect_script,
    .run = run_script,
};
