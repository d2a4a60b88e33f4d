/* kind_lttng.c: the lttng-ust libc wrapper's events as babeltrace2 prints them:
 *   [19:26:34.359148425] (+0.000000822) host lttng_ust_libc:malloc: { cpu_id = 3 }, { procname = "x", vtid =
 * 10611 }, { size = 8, ptr = 0x1F4BEE0 } A recording may hold several processes. Blocks belong to the vpid
 * where the recording has one, else to the vtid: by procname, blocks of different processes would meet at one
 * address. */
#include "import/kinds.h"

#include <stdlib.h>
#include <string.h>

static const char prefix[] = "lttng_ust_libc:";

enum { MAX_SPACES = 32768 };

typedef struct state {
    uint64_t first_ns, last_ns, day_ns;
    bool any;
    uint64_t owners[MAX_SPACES];
    uint32_t count, last;
    size_t prefix_at;
} state;

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    im->timed = true;
    hak_scan line = hak_head_line(head, len_bytes, '#');
    if (hak_scan_is(&line, "[") && memmem(head, len_bytes, prefix, sizeof prefix - 1) != NULL)
        return true;
    im->timed = false;
    return false;
}

/* The fields of an event that matter here, and which of them it has. */
#define FIELDS(X)                                                                                            \
    X(size)                                                                                                  \
    X(ptr) X(in_ptr) X(out_ptr) X(nmemb) X(alignment) X(result) X(vtid) X(vpid)

typedef struct fields {
#define X(name) uint64_t name;
    FIELDS(X)
#undef X
#define X(name) bool has_##name;
    FIELDS(X)
#undef X
} fields;

static void field_set(fields *f, const char *word, size_t len, uint64_t value)
{
#define X(name)                                                                                              \
    if (word[0] == #name[0] && hak_scan_same(word, len, #name)) {                                            \
        f->name = value;                                                                                     \
        f->has_##name = true;                                                                                \
        return;                                                                                              \
    }
    FIELDS(X)
#undef X
}

/* Steps over "text", in which quotes have a backslash. */
static bool text_skip(hak_scan *line)
{
    do {
        line->at++;
        const char *quote = memchr(line->at, '"', (size_t)(line->end - line->at));
        if (quote == NULL)
            return false;
        line->at = quote;
    } while (line->at[-1] == '\\');
    line->at++;
    return true;
}

/* "{ name = 3, other = \"text\" }, { … }": text may hold anything but its closing quote. */
static bool fields_take(hak_scan *line, fields *f)
{
    const char *word;
    for (;;) {
        const char *at = line->at;
        while (at < line->end && (*at == ' ' || *at == ',' || *at == '{' || *at == '}' || *at == '\t'))
            at++;
        line->at = at;
        if (at == line->end)
            return true;
        size_t len = hak_scan_word(line, &word);
        if (HAK_LIKELY(len != 0 && line->end - line->at > 3 && memcmp(line->at, " = ", 3) == 0))
            line->at += 3;
        else if (len == 0 || !hak_scan_is(line, "=") || hak_scan_done(line))
            return false;
        if (*line->at == '"') {
            if (!text_skip(line))
                return false;
            continue;
        }
        bool hex = line->end - line->at > 2 && line->at[0] == '0' && (line->at[1] | 0x20) == 'x';
        bool minus = hak_scan_is(line, "-");
        uint64_t value = hex ? hak_scan_address(line) : hak_scan_decimal(line);
        if (line->bad)
            return false;
        field_set(f, word, len, minus ? 0 - value : value);
        while (line->at < line->end && *line->at != ',' && *line->at != ' ') /* the rest of a fraction */
            line->at++;
    }
}

/* "[19:26:34.359148425]", with a date before it, or seconds since 1970. */
static bool time_take(hak_import *im, hak_scan *line, state *s)
{
    static const uint64_t second_ns = UINT64_C(1000000000), day_ns = 86400 * UINT64_C(1000000000);
    const char *close = memchr(line->at, ']', (size_t)(line->end - line->at));
    if (close == NULL || !hak_scan_is(line, "["))
        return false;
    hak_scan time = hak_scan_of(line->at, (size_t)(close - line->at));
    line->at = close + 1;
    const char *blank = memchr(time.at, ' ', (size_t)(time.end - time.at));
    if (blank != NULL)
        time.at = blank + 1; /* the date: recordings over midnight are told by the time that runs back */
    uint64_t seconds = hak_scan_decimal(&time);
    for (int i = 0; i < 2 && time.at < time.end && *time.at == ':'; i++) {
        time.at++;
        seconds = seconds * 60 + hak_scan_decimal(&time);
    }
    uint64_t ns = 0;
    if (time.at < time.end && *time.at == '.') {
        const char *from = ++time.at;
        ns = hak_scan_decimal(&time);
        for (ptrdiff_t digits = time.at - from; digits < 9; digits++)
            ns *= 10;
    }
    if (time.bad || ns >= second_ns || seconds > UINT64_MAX / second_ns - 1)
        return false;
    uint64_t now_ns = seconds * second_ns + ns;
    if (!s->any) {
        s->any = true;
        s->first_ns = now_ns;
    } else if (s->last_ns > now_ns && s->last_ns - now_ns > day_ns / 2 && s->last_ns < day_ns) {
        s->day_ns += day_ns;
    }
    s->last_ns = now_ns;
    now_ns += s->day_ns;
    im->time_ns = now_ns > s->first_ns ? now_ns - s->first_ns : 0;
    return true;
}

static bool space_of(state *s, uint64_t owner, uint32_t *space)
{
    if (s->count != 0 && s->owners[s->last] == owner) {
        *space = s->last;
        return true;
    }
    for (s->last = 0; s->last < s->count; s->last++)
        if (s->owners[s->last] == owner)
            break;
    if (s->last == MAX_SPACES)
        return false;
    if (s->last == s->count)
        s->owners[s->count++] = owner;
    *space = s->last;
    return true;
}

static uint64_t key_of(uint64_t address, uint32_t space)
{
    return address == 0 ? 0 : hak_import_key(address, space);
}

static const char *call(hak_import *im, const fields *f, const char *name, size_t len, uint32_t space)
{
    static const char missing[] = "a field of the event is missing";
    if (hak_scan_same(name, len, "free")) {
        if (f->has_ptr)
            hak_import_free(im, HAK_OP_FREE, key_of(f->ptr, space));
        return f->has_ptr ? NULL : missing;
    }
    bool posix = hak_scan_same(name, len, "posix_memalign");
    uint64_t key = key_of(posix ? f->out_ptr : f->ptr, space), size = f->size;
    if (!f->has_size || !(posix ? f->has_out_ptr : f->has_ptr))
        return missing;
    if (hak_scan_same(name, len, "malloc")) {
        hak_import_alloc(im, HAK_OP_MALLOC, key, size, 0);
    } else if (hak_scan_same(name, len, "calloc")) {
        if (!f->has_nmemb || __builtin_mul_overflow(f->nmemb, size, &size))
            return missing;
        hak_import_alloc(im, HAK_OP_CALLOC, key, size, 0);
    } else if (hak_scan_same(name, len, "realloc")) {
        if (!f->has_in_ptr)
            return missing;
        hak_import_realloc(im, key, key_of(f->in_ptr, space), size);
    } else if (posix || hak_scan_same(name, len, "memalign")) {
        if (!f->has_alignment)
            return missing;
        hak_import_alloc(im, posix ? HAK_OP_POSIX_MEMALIGN : HAK_OP_MEMALIGN, f->result == 0 ? key : 0, size,
                         f->alignment);
    } else {
        return "an unknown call of the C library";
    }
    return NULL;
}

/* Behind the time: "(+delta) host lttng_ust_libc:". Host names hold no blanks, so it mostly stands where it
 * last did. */
static bool name_find(hak_scan *line, state *s)
{
    const size_t len = sizeof prefix - 1;
    if ((size_t)(line->end - line->at) > s->prefix_at + len &&
        memcmp(line->at + s->prefix_at, prefix, len) == 0) {
        line->at += s->prefix_at + len;
        return true;
    }
    const char *at = memmem(line->at, (size_t)(line->end - line->at), prefix, len);
    if (at == NULL)
        return false;
    s->prefix_at = (size_t)(at - line->at);
    line->at = at + len;
    return true;
}

static const char *parse(hak_import *im, hak_scan *line, void *arg)
{
    state *s = arg;
    const char *name;
    fields f;
    if (!time_take(im, line, s))
        return "no [time] at its start";
    if (!name_find(line, s)) {
        hak_import_ignore(im);
        return NULL;
    }
    memset(&f, 0, sizeof f);
    size_t len = hak_scan_word(line, &name);
    hak_scan_want(line, ":");
    if (line->at == line->end || line->end[-1] != '}')
        return "the line is cut off";
    if (line->bad || !fields_take(line, &f))
        return "no fields of an event";
    if (!f.has_vtid)
        return "no vtid: record with lttng add-context -u -t vtid";
    uint32_t space = 0;
    if (!space_of(s, f.has_vpid ? f.vpid : f.vtid | (uint64_t)1 << 63, &space))
        return "too many processes";
    hak_import_thread(im, f.vtid);
    return call(im, &f, name, len, space);
}

static int run(hak_import *im)
{
    state *own = calloc(1, sizeof *own);
    if (own == NULL) {
        im->failed = true;
        return 0;
    }
    int status = hak_import_lines(im, parse, own);
    im->summary->processes = own->count;
    free(own);
    return status;
}

const hak_import_kind hak_import_lttng = {
    .format = {"lttng", "babeltrace2's text of lttng-ust's libc wrapper events"},
    .limits = "call contexts; without a vpid context, frees by another thread of the same process",
    .detect = detect,
    .run = run,
};
