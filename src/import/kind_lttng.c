/* kind_lttng.c: the lttng-ust libc wrapper's events as babeltrace 1 and 2 print them:
 *   [19:26:34.359148425] (+0.000000822) host lttng_ust_libc:malloc: { cpu_id = 3 }, { procname = "x", vtid =
 * 10611 }, { size = 8, ptr = 0x1F4BEE0 }
 * and with names in front of all of it (-n all: "timestamp = …, name = …, event.fields = { … }"), with dates,
 * seconds or cycles for times, without deltas, in colours. Older wrappers call themselves ust_libc.
 *
 * A recording may hold several processes. Blocks belong to the vpid where the recording has one, else to the
 * vtid: by procname, blocks of different processes would meet at one address. Where it has neither, all is
 * one process and one thread.
 *
 * The arguments are the last group in braces. What stands between the event's name and them changes with the
 * thread only, so its text is kept with what it says. */
#include "import/kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char provider[] = "ust_libc:";

enum { MAX_SPACES = 32768, PLACES = 256, PLACE_BYTES = 225, COLOURED_BYTES = 4096 };

/* Whose event it is, by the text that says so. */
typedef struct place {
    uint64_t tid, before; /* before: vpid_before */
    uint32_t space;
    uint16_t len;
    bool known;
    char text[PLACE_BYTES];
} place;

typedef struct state {
    uint64_t first_ns, last_ns, day_ns;
    uint64_t second_ns; /* of `second` */
    char second[9];     /* "HH:MM:SS." as last seen */
    bool any;
    bool no_vtid;
    uint64_t discarded; /* events that the tracer says it lost */
    uint64_t owners[MAX_SPACES];
    uint32_t count;
    size_t name_at; /* from behind the time to the event's name, where it last stood */
    place places[PLACES];
    char plain[COLOURED_BYTES]; /* a line without its colours */
} state;

static bool has(const char *text, size_t len, const char *what)
{
    return memmem(text, len, what, strlen(what)) != NULL;
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    im->timed = true;
    im->late_events = HAK_IMPORT_LATE_THREADS;
    hak_scan line = hak_head_line(head, len_bytes, '#');
    bool header =
        line.at < line.end && (*line.at == '[' || *line.at == '\x1b' || hak_scan_is(&line, "timestamp = "));
    if (header && (has(head, len_bytes, provider) || has(head, len_bytes, " malloc: {") ||
                   has(head, len_bytes, ": { cpu_id = ")))
        return true;
    im->timed = false;
    return false;
}

/* ---- fields by name ---- */

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
    for (line->at++; line->at < line->end && *line->at != '"'; line->at++)
        line->at += *line->at == '\\';
    if (line->at >= line->end)
        return false;
    line->at++;
    return true;
}

/* The end of a field's name: a blank before "=". */
static size_t name_skip(hak_scan *line, const char **name)
{
    *name = line->at;
    while (line->at < line->end && strchr(" ,{}=\"", *line->at) == NULL)
        line->at++;
    return (size_t)(line->at - *name);
}

/* Fields of any depth of braces, brackets and parentheses: "{ name = 3, list = [ [0] = 1 ], kind = ( "A" :
 * container = 1 ) }". What is no whole number is stepped over. */
static bool fields_take(hak_scan *line, fields *f)
{
    const char *name;
    while (!hak_scan_done(line)) {
        if (strchr(",{}[]():", *line->at) != NULL && *line->at != '\0') {
            line->at++;
            continue;
        }
        if (*line->at == '"') {
            if (!text_skip(line))
                return false;
            continue;
        }
        size_t len = name_skip(line, &name);
        if (len == 0 && !hak_scan_is(line, "="))
            return false;
        if (!hak_scan_is(line, "=") || hak_scan_done(line))
            continue; /* a value, or a word of one */
        hak_scan value = *line;
        bool minus = hak_scan_is(&value, "-");
        bool hex = value.end - value.at > 2 && value.at[0] == '0' && (value.at[1] | 0x20) == 'x';
        uint64_t number = hex ? hak_scan_address(&value) : hak_scan_decimal(&value);
        if (value.bad || (value.at < value.end && *value.at != ',' && *value.at != ' '))
            continue;
        line->at = value.at;
        field_set(f, name, len, minus ? 0 - number : number);
    }
    return true;
}

/* ---- time ---- */

/* Eight decimal digits at once; false where there are others. */
static bool eight_digits(const char *at, uint64_t *value)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    if (((v & UINT64_C(0xf0f0f0f0f0f0f0f0)) |
         ((v + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) >> 4) !=
        UINT64_C(0x3333333333333333))
        return false;
    v = (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) * 2561 >> 8;
    v = (v & UINT64_C(0x00ff00ff00ff00ff)) * 6553601 >> 16;
    *value = (v & UINT64_C(0x0000ffff0000ffff)) * UINT64_C(42949672960001) >> 32;
    return true;
}

static const uint64_t second_ns = UINT64_C(1000000000);

/* "19:26:34.359148425", with a date before it; seconds since 1970; or cycles, taken for nanoseconds. */
static bool clock_read(hak_scan time, uint64_t *now_ns)
{
    const char *blank = memchr(time.at, ' ', (size_t)(time.end - time.at));
    if (blank != NULL)
        time.at = blank + 1; /* the date: recordings over midnight are told by the time that runs back */
    uint64_t seconds = hak_scan_decimal(&time);
    if (!time.bad && hak_scan_done(&time)) {
        *now_ns = seconds;
        return true;
    }
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
    *now_ns = seconds * second_ns + ns;
    return !time.bad && ns < second_ns && seconds <= UINT64_MAX / second_ns - 1;
}

static void time_set(hak_import *im, state *s, uint64_t now_ns)
{
    static const uint64_t day_ns = 86400 * UINT64_C(1000000000);
    if (!s->any) {
        s->any = true;
        s->first_ns = now_ns;
    } else if (HAK_UNLIKELY(s->last_ns > now_ns) && s->last_ns - now_ns > day_ns / 2 && s->last_ns < day_ns) {
        s->day_ns += day_ns;
    }
    s->last_ns = now_ns;
    now_ns += s->day_ns;
    im->time_ns = now_ns > s->first_ns ? now_ns - s->first_ns : 0;
}

static bool time_take(hak_import *im, hak_scan *line, state *s, char close)
{
    static const size_t usual = sizeof s->second + 9;
    uint64_t now_ns, most;
    if (HAK_LIKELY((size_t)(line->end - line->at) > usual && line->at[usual] == close &&
                   memcmp(line->at, s->second, sizeof s->second) == 0 &&
                   eight_digits(line->at + sizeof s->second, &most) &&
                   (unsigned)(unsigned char)line->at[usual - 1] - '0' < 10)) {
        now_ns = s->second_ns + most * 10 + (uint64_t)(line->at[usual - 1] - '0');
        line->at += usual + 1;
        time_set(im, s, now_ns);
        return true;
    }
    const char *stop = memchr(line->at, close, (size_t)(line->end - line->at));
    if (stop == NULL)
        return false;
    hak_scan time = hak_scan_of(line->at, (size_t)(stop - line->at));
    line->at = stop + 1;
    if (time.at < time.end && *time.at == '?') /* an event without a time */
        return true;
    if (!clock_read(time, &now_ns))
        return false;
    if ((size_t)(time.end - time.at) == usual && time.at[2] == ':' && time.at[8] == '.') {
        memcpy(s->second, time.at, sizeof s->second);
        s->second_ns = now_ns - now_ns % second_ns;
    }
    time_set(im, s, now_ns);
    return true;
}

/* ---- whose ---- */

static bool space_of(state *s, uint64_t owner, uint32_t *space)
{
    for (*space = 0; *space < s->count; ++*space)
        if (s->owners[*space] == owner)
            return true;
    if (s->count == MAX_SPACES)
        return false;
    s->owners[s->count++] = owner;
    return true;
}

/* Buffers of one process each say whose they are in front of the event's name: "host:ust:program:(4711)",
 * "host:program:4711", "trace:vpid = 4711". 0: they do not. */
static uint64_t vpid_before(const char *from, const char *name, bool names)
{
    static const char word[] = "trace:vpid = ";
    const char *digits = names ? memmem(from, (size_t)(name - from), word, sizeof word - 1) : NULL;
    if (names && digits == NULL)
        return 0;
    if (names) {
        digits += sizeof word - 1;
    } else {
        while (name > from && name[-1] != ' ')
            name--;
        while (name > from && (name[-1] == ' ' || name[-1] == ')'))
            name--;
        for (digits = name; digits > from && (unsigned)(unsigned char)digits[-1] - '0' < 10;)
            digits--;
        const char *colon = digits > from && digits[-1] == '(' ? digits - 1 : digits;
        if (digits == name || colon == from || colon[-1] != ':' ||
            memchr(from, ':', (size_t)(colon - 1 - from)) == NULL)
            return 0;
    }
    hak_scan number = hak_scan_of(digits, (size_t)(name - digits));
    uint64_t vpid = hak_scan_decimal(&number);
    return number.bad ? 0 : vpid;
}

static const char *place_read(state *s, place *p, hak_scan contexts)
{
    fields f;
    memset(&f, 0, sizeof f);
    if (!fields_take(&contexts, &f))
        return "no fields of an event";
    if (!f.has_vpid && p->before != 0) {
        f.has_vpid = true;
        f.vpid = p->before;
    }
    s->no_vtid |= !f.has_vtid;
    p->tid = f.has_vtid ? f.vtid : f.has_vpid ? f.vpid : 1;
    uint64_t owner = f.has_vpid ? f.vpid : p->tid | (uint64_t)1 << 63;
    return space_of(s, owner, &p->space) ? NULL : "too many processes";
}

/* [from, end) is what stands between the event's name and the arguments. */
static const char *place_find(state *s, const place **found, uint64_t before, const char *from,
                              const char *end)
{
    size_t len = (size_t)(end - from);
    uint64_t sum = len + before;
    if (len >= 16) {
        uint64_t tail[2];
        memcpy(tail, end - 16, sizeof tail);
        sum += tail[0] * 31 + tail[1];
    }
    place *p = &s->places[sum * UINT64_C(0x9e3779b97f4a7c15) >> 56];
    *found = p;
    if (HAK_LIKELY(p->known && p->len == len && p->before == before && memcmp(p->text, from, len) == 0))
        return NULL;
    p->before = before;
    const char *fault = place_read(s, p, hak_scan_of(from, len));
    p->known = fault == NULL && len <= PLACE_BYTES;
    if (p->known) {
        memcpy(p->text, from, len);
        p->len = (uint16_t)len;
    }
    return fault;
}

/* ---- the calls ---- */

typedef enum call_kind {
    CALL_MALLOC,
    CALL_FREE,
    CALL_CALLOC,
    CALL_REALLOC,
    CALL_MEMALIGN,
    CALL_POSIX,
    CALL_NONE
} call_kind;

enum { ARGUMENTS_MAX = 4 };

/* Arguments in the order in which the wrapper writes them. */
static const struct {
    const char *name;
    struct {
        const char *before; /* blanks and all */
        uint8_t len;
        bool hex;
    } arguments[ARGUMENTS_MAX];
} calls[] = {
#define A(before, hex)                                                                                       \
    {                                                                                                        \
        before, sizeof(before) - 1, hex                                                                      \
    }
    [CALL_MALLOC] = {"malloc", {A("{ size = ", false), A(", ptr = 0x", true)}},
    [CALL_FREE] = {"free", {A("{ ptr = 0x", true)}},
    [CALL_CALLOC] = {"calloc", {A("{ nmemb = ", false), A(", size = ", false), A(", ptr = 0x", true)}},
    [CALL_REALLOC] = {"realloc", {A("{ in_ptr = 0x", true), A(", size = ", false), A(", ptr = 0x", true)}},
    [CALL_MEMALIGN] = {"memalign",
                       {A("{ alignment = ", false), A(", size = ", false), A(", ptr = 0x", true)}},
    [CALL_POSIX] = {"posix_memalign",
                    {A("{ out_ptr = 0x", true), A(", alignment = ", false), A(", size = ", false),
                     A(", result = ", false)}},
#undef A
};

static call_kind call_of(const char *name, size_t len)
{
    call_kind kind = 0;
    while (kind < CALL_NONE && !hak_scan_same(name, len, calls[kind].name))
        kind++;
    return kind;
}

/* The arguments as they are usually written; false: some other way. */
static bool arguments_usual(hak_scan line, call_kind kind, uint64_t values[ARGUMENTS_MAX])
{
    for (unsigned i = 0; i < ARGUMENTS_MAX && calls[kind].arguments[i].before != NULL; i++) {
        size_t len = calls[kind].arguments[i].len;
        if ((size_t)(line.end - line.at) < len || memcmp(line.at, calls[kind].arguments[i].before, len) != 0)
            return false;
        line.at += len;
        values[i] = calls[kind].arguments[i].hex ? hak_scan_hex(&line) : hak_scan_decimal(&line);
    }
    return !line.bad && line.end - line.at == 2 && line.at[0] == ' ' && line.at[1] == '}';
}

/* The same in any order. */
static bool arguments_named(hak_scan line, call_kind kind, uint64_t values[ARGUMENTS_MAX])
{
    fields f;
    memset(&f, 0, sizeof f);
    if (!fields_take(&line, &f))
        return false;
    switch (kind) {
    case CALL_MALLOC:
        values[0] = f.size, values[1] = f.ptr;
        return f.has_size && f.has_ptr;
    case CALL_FREE:
        values[0] = f.ptr;
        return f.has_ptr;
    case CALL_CALLOC:
        values[0] = f.nmemb, values[1] = f.size, values[2] = f.ptr;
        return f.has_nmemb && f.has_size && f.has_ptr;
    case CALL_REALLOC:
        values[0] = f.in_ptr, values[1] = f.size, values[2] = f.ptr;
        return f.has_in_ptr && f.has_size && f.has_ptr;
    case CALL_MEMALIGN:
        values[0] = f.alignment, values[1] = f.size, values[2] = f.ptr;
        return f.has_alignment && f.has_size && f.has_ptr;
    default:
        values[0] = f.out_ptr, values[1] = f.alignment, values[2] = f.size, values[3] = f.result;
        return f.has_out_ptr && f.has_alignment && f.has_size;
    }
}

static uint64_t key_of(uint64_t address, uint32_t space)
{
    return address == 0 ? 0 : hak_import_key(address, space);
}

static const char *call(hak_import *im, call_kind kind, const uint64_t v[ARGUMENTS_MAX], uint32_t space)
{
    uint64_t size;
    switch (kind) {
    case CALL_MALLOC:
        hak_import_alloc(im, HAK_OP_MALLOC, key_of(v[1], space), v[0], 0);
        break;
    case CALL_FREE:
        hak_import_free(im, HAK_OP_FREE, key_of(v[0], space));
        break;
    case CALL_CALLOC:
        if (__builtin_mul_overflow(v[0], v[1], &size)) {
            if (v[2] != 0)
                return "calloc of more bytes than there are";
            size = UINT64_MAX;
        }
        hak_import_alloc(im, HAK_OP_CALLOC, key_of(v[2], space), size, 0);
        break;
    case CALL_REALLOC:
        hak_import_realloc(im, key_of(v[2], space), key_of(v[0], space), v[1]);
        break;
    case CALL_MEMALIGN:
        hak_import_alloc(im, HAK_OP_MEMALIGN, key_of(v[2], space), v[1], v[0]);
        break;
    default:
        hak_import_alloc(im, HAK_OP_POSIX_MEMALIGN, v[3] == 0 ? key_of(v[0], space) : 0, v[2], v[1]);
    }
    return NULL;
}

/* ---- lines ---- */

/* The event's name, [*name, *name_end), and where its groups begin. False: there is none. */
static bool name_find(hak_scan *line, state *s, bool names, const char **name, const char **name_end)
{
    const char *from = line->at;
    size_t left = (size_t)(line->end - from);
    if (HAK_LIKELY(!names && left > s->name_at + sizeof provider &&
                   memcmp(from + s->name_at, provider, sizeof provider - 1) == 0)) {
        *name = from + s->name_at + sizeof provider - 1;
        *name_end = memchr(*name, ':', (size_t)(line->end - *name));
        if (*name_end == NULL)
            return false;
        line->at = *name_end + 1;
        return true;
    }
    const char *at = memmem(from, left, names ? ", name = " : ": {", names ? 9 : 3);
    if (at == NULL)
        return false;
    if (names) {
        at += 9;
        *name_end = memchr(at, ',', (size_t)(line->end - at));
        if (*name_end == NULL)
            return false;
        *name = at;
    } else {
        *name_end = *name = at;
        while (*name > from && (*name)[-1] != ' ')
            --*name;
    }
    line->at = *name_end + 1;
    /* Of "provider:call" the call; of other providers' events nothing is wanted. */
    const char *colon = memrchr(*name, ':', (size_t)(*name_end - *name));
    if (colon == NULL)
        return true;
    size_t len = sizeof provider - 1;
    if ((size_t)(colon + 1 - *name) >= len && memcmp(colon + 1 - len, provider, len) == 0) {
        *name = colon + 1;
        s->name_at = (size_t)(*name - from) - len;
    } else {
        *name = *name_end;
    }
    return true;
}

static const char *event_take(hak_import *im, hak_scan *line, state *s, bool names)
{
    const char *host = line->at, *name = NULL, *name_end = NULL;
    uint64_t values[ARGUMENTS_MAX] = {0};
    const place *whose;
    if (!name_find(line, s, names, &name, &name_end))
        return "no event's name in front of its fields";
    call_kind kind = call_of(name, (size_t)(name_end - name));
    if (kind == CALL_NONE) {
        hak_import_ignore(im);
        return NULL;
    }
    if (line->at == line->end || line->end[-1] != '}')
        return "the line is cut off";
    const char *last = memrchr(line->at, '{', (size_t)(line->end - line->at));
    if (last == NULL)
        return "no fields of an event";
    hak_scan arguments = hak_scan_of(last, (size_t)(line->end - last));
    if (HAK_UNLIKELY(!arguments_usual(arguments, kind, values)) && !arguments_named(arguments, kind, values))
        return "not the fields of this call by their names";
    const char *fault = place_find(s, &whose, vpid_before(host, name, names), line->at, last);
    if (HAK_UNLIKELY(fault != NULL))
        return fault;
    hak_import_thread(im, whose->tid);
    return call(im, kind, values, whose->space);
}

/* What babeltrace says between events: "[warning] Tracer discarded 15 events between …". */
static bool is_remark(hak_import *im, hak_scan line, state *s)
{
    static const char word[] = "discarded ";
    if (line.at < line.end && *line.at == '[')
        line.at++;
    if (line.at == line.end || ((unsigned)(unsigned char)*line.at | 0x20) - 'a' >= 26)
        return false;
    const char *at = memmem(line.at, (size_t)(line.end - line.at), word, sizeof word - 1);
    if (at != NULL) {
        hak_scan number = hak_scan_of(at + sizeof word - 1, (size_t)(line.end - at) - (sizeof word - 1));
        uint64_t count = hak_scan_decimal(&number);
        s->discarded += number.bad ? 0 : count;
    }
    hak_import_ignore(im);
    return true;
}

/* The line without its terminal escapes. False: it has none, or is too long. */
static bool colours_strip(hak_scan *line, state *s)
{
    size_t len = 0, left = (size_t)(line->end - line->at);
    if (left > sizeof s->plain || memchr(line->at, '\x1b', left) == NULL)
        return false;
    for (const char *at = line->at; at < line->end; at++) {
        if (*at != '\x1b') {
            s->plain[len++] = *at;
            continue;
        }
        while (at < line->end && ((unsigned)(unsigned char)*at | 0x20) - 'a' >= 26)
            at++;
    }
    *line = hak_scan_of(s->plain, len);
    return true;
}

static const char *line_take(hak_import *im, hak_scan line, state *s)
{
    if (HAK_LIKELY(*line.at == '[')) {
        line.at++;
        return time_take(im, &line, s, ']') ? event_take(im, &line, s, false) : "no [time] at its start";
    }
    if (!hak_scan_is(&line, "timestamp = ") || !time_take(im, &line, s, ','))
        return "no [time] at its start";
    return event_take(im, &line, s, true);
}

static const char *parse(hak_import *im, hak_scan *line, void *arg)
{
    state *s = arg;
    const char *fault = line_take(im, *line, s);
    if (HAK_LIKELY(fault == NULL) || is_remark(im, *line, s))
        return NULL;
    return colours_strip(line, s) ? line_take(im, *line, s) : fault;
}

static int run(hak_import *im)
{
    state *own = calloc(1, sizeof *own);
    if (own == NULL) {
        im->failed = true;
        return 0;
    }
    int status = hak_import_lines(im, parse, own);
    hak_import_summary *sum = im->summary;
    sum->processes = own->count;
    if (own->discarded != 0)
        snprintf(sum->note, sizeof sum->note, "the recorder lost %llu events, by what the file says",
                 (unsigned long long)own->discarded);
    else if (own->no_vtid)
        snprintf(
            sum->note, sizeof sum->note,
            "events without a vtid: the threads of a process are one (lttng add-context -u -t vtid -t vpid)");
    free(own);
    return status;
}

const hak_import_kind hak_import_lttng = {
    .format = {"lttng", "babeltrace's text of lttng-ust's libc wrapper events"},
    .limits = "call contexts; without a vpid context, frees by another thread of the same process",
    .detect = detect,
    .run = run,
};
