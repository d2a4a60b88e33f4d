/* kind_android.c: memory_replay and malloc_debug's record_allocs text (AOSP, malloc_debug/README.md and
 * memory_trace): "TID: malloc PTR SIZE [START_NS END_NS]". Order of lines is the order of events. */
#include "import/kinds.h"

static bool is_line(hak_scan line, bool *timed)
{
    const char *word;
    hak_scan_id(&line);
    if (line.bad || line.at == line.end || *line.at++ != ':')
        return false;
    size_t len = hak_scan_word(&line, &word);
    unsigned numbers = 0;
    uint64_t pointer = hak_scan_address(&line);
    while (!line.bad && !hak_scan_done(&line)) {
        if (hak_scan_address(&line) != 0 || !line.bad)
            numbers++;
    }
    (void)pointer;
    static const struct {
        const char *name;
        unsigned numbers;
    } words[] = {{"malloc", 1},   {"calloc", 2}, {"realloc", 2},
                 {"memalign", 2}, {"free", 0},   {"thread_done", 0}};
    for (size_t i = 0; i < HAK_COUNT_OF(words); i++)
        if (hak_scan_same(word, len, words[i].name)) {
            *timed = numbers >= words[i].numbers + 2;
            return !line.bad;
        }
    return false;
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    im->late_events = HAK_IMPORT_LATE_THREADS;
    return is_line(hak_head_line(head, len_bytes, '#'), &im->timed);
}

/* Behind the arguments: nothing, both times, or both times and the resident bytes (which a replay decides
 * itself). */
static const char *times(hak_import *im, hak_scan *line, uint64_t *first_ns)
{
    if (hak_scan_done(line))
        return NULL;
    uint64_t start_ns = hak_scan_decimal(line);
    if (hak_scan_done(line))
        return line->bad ? "what follows the size is no number" : "a start time without an end time";
    hak_scan_decimal(line);
    if (!hak_scan_done(line))
        hak_scan_decimal(line);
    if (line->bad || !hak_scan_done(line))
        return "what follows the size is no pair of times";
    if (*first_ns == 0)
        *first_ns = start_ns;
    im->time_ns = start_ns > *first_ns ? start_ns - *first_ns : 0;
    return NULL;
}

static const char *allocation(hak_import *im, hak_scan *line, const char *word, size_t len, uint64_t pointer,
                              uint64_t *first_ns)
{
    uint64_t first = word[0] == 'r' ? hak_scan_address(line) : hak_scan_decimal(line);
    bool two = !hak_scan_same(word, len, "malloc");
    uint64_t second = two ? hak_scan_decimal(line) : 0;
    if (line->bad)
        return "arguments are missing or no numbers";
    const char *fault = times(im, line, first_ns);
    uint64_t size;
    if (fault != NULL)
        return fault;
    if (!two)
        hak_import_alloc(im, HAK_OP_MALLOC, pointer, first, 0);
    else if (hak_scan_same(word, len, "realloc"))
        hak_import_realloc(im, pointer, first, second);
    else if (hak_scan_same(word, len, "memalign"))
        hak_import_alloc(im, HAK_OP_MEMALIGN, pointer, second, first);
    else if (!__builtin_mul_overflow(first, second, &size))
        hak_import_alloc(im, HAK_OP_CALLOC, pointer, size, 0);
    else if (pointer != 0)
        return "calloc of more bytes than there are";
    else
        hak_import_alloc(im, HAK_OP_CALLOC, 0, UINT64_MAX, 0);
    return NULL;
}

static const char *parse(hak_import *im, hak_scan *line, void *state)
{
    uint64_t *first_ns = state;
    const char *word, *fault;
    uint64_t tid = hak_scan_id(line);
    if (line->bad || line->at == line->end || *line->at++ != ':')
        return "no thread id with a colon at its start";
    size_t len = hak_scan_word(line, &word);
    uint64_t pointer = hak_scan_address(line);
    if (line->bad)
        return "no operation and address after the thread id";
    hak_import_thread(im, tid);
    if (hak_scan_same(word, len, "free")) {
        if ((fault = times(im, line, first_ns)) == NULL)
            hak_import_free(im, HAK_OP_FREE, pointer);
        return fault;
    }
    if (hak_scan_same(word, len, "malloc") || hak_scan_same(word, len, "realloc") ||
        hak_scan_same(word, len, "calloc") || hak_scan_same(word, len, "memalign"))
        return allocation(im, line, word, len, pointer, first_ns);
    if (!hak_scan_same(word, len, "thread_done"))
        return "an unknown operation";
    uint64_t end_ns = hak_scan_done(line) ? 0 : hak_scan_decimal(line);
    if (line->bad || !hak_scan_done(line))
        return "something follows the end of a thread";
    if (end_ns > *first_ns && *first_ns != 0)
        im->time_ns = end_ns - *first_ns;
    hak_import_thread_end(im);
    return NULL;
}

static int run(hak_import *im)
{
    uint64_t first_ns = 0;
    return hak_import_lines(im, parse, &first_ns);
}

const hak_import_kind hak_import_android = {
    .format = {"android", "Android memory_replay and malloc_debug record_allocs text, also zipped"},
    .limits = "call contexts; when threads begin; aligned_alloc and posix_memalign (they are memalign there)",
    .detect = detect,
    .run = run,
};
