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
} state;

static const char *find(const hak_scan *line, const char *text, size_t len)
{
    return memmem(line->at, (size_t)(line->end - line->at), text, len);
}

#define FIND(line, text) find((line), (text), sizeof(text) - 1)

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    im->timed = true;
    hak_scan line = hak_head_line(head, len_bytes, 0);
    if (hak_scan_is(&line, "[") && memmem(head, len_bytes, prefix, sizeof prefix - 1) != NULL)
        return true;
    im->timed = false;
    return false;
}

/* "name = " … the number behind it, 0x… or decimal; false if there is none. */
static bool field(const hak_scan *line, const char *name, size_t len, uint64_t *value)
{
    for (const char *at = line->at; (at = memmem(at, (size_t)(line->end - at), name, len)) != NULL;
         at += len) {
        if (at == line->at || at[-1] != ' ')
            continue; /* the end of a longer name */
        hak_scan number = hak_scan_of(at + len, (size_t)(line->end - at) - len);
        bool hex = number.end - number.at > 2 && number.at[0] == '0' && (number.at[1] | 0x20) == 'x';
        *value = hex ? hak_scan_address(&number) : hak_scan_decimal(&number);
        return !number.bad;
    }
    return false;
}

#define FIELD(line, name, value) field((line), name " = ", sizeof(name " = ") - 1, (value))

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

static const char *call(hak_import *im, const hak_scan *fields, const char *name, size_t len, uint32_t space)
{
    static const char missing[] = "a field of the event is missing";
    uint64_t size = 0, pointer = 0, other = 0;
    bool has_size = FIELD(fields, "size", &size);
    bool has_pointer = FIELD(fields, "ptr", &pointer);
    if (hak_scan_same(name, len, "free")) {
        if (has_pointer)
            hak_import_free(im, HAK_OP_FREE, key_of(pointer, space));
        return has_pointer ? NULL : missing;
    }
    if (hak_scan_same(name, len, "posix_memalign"))
        has_pointer = FIELD(fields, "out_ptr", &pointer);
    if (!has_size || !has_pointer)
        return missing;
    uint64_t key = key_of(pointer, space);
    if (hak_scan_same(name, len, "malloc")) {
        hak_import_alloc(im, HAK_OP_MALLOC, key, size, 0);
    } else if (hak_scan_same(name, len, "calloc")) {
        if (!FIELD(fields, "nmemb", &other) || __builtin_mul_overflow(other, size, &size))
            return missing;
        hak_import_alloc(im, HAK_OP_CALLOC, key, size, 0);
    } else if (hak_scan_same(name, len, "realloc")) {
        if (!FIELD(fields, "in_ptr", &other))
            return missing;
        hak_import_realloc(im, key, key_of(other, space), size);
    } else {
        if (!FIELD(fields, "alignment", &other))
            return missing;
        uint64_t result = 0;
        FIELD(fields, "result", &result);
        hak_import_alloc(im, name[0] == 'p' ? HAK_OP_POSIX_MEMALIGN : HAK_OP_MEMALIGN, result == 0 ? key : 0,
                         size, other);
    }
    return NULL;
}

static const char *parse(hak_import *im, hak_scan *line, void *arg)
{
    state *s = arg;
    const char *name;
    uint64_t vtid = 0, owner;
    if (!time_take(im, line, s))
        return "no [time] at its start";
    const char *at = FIND(line, "lttng_ust_libc:");
    if (at == NULL) {
        hak_import_ignore(im);
        return NULL;
    }
    line->at = at + sizeof prefix - 1;
    size_t len = hak_scan_word(line, &name);
    if (!hak_scan_same(name, len, "malloc") && !hak_scan_same(name, len, "free") &&
        !hak_scan_same(name, len, "calloc") && !hak_scan_same(name, len, "realloc") &&
        !hak_scan_same(name, len, "memalign") && !hak_scan_same(name, len, "posix_memalign"))
        return "an unknown call of the C library";
    if (line->at == line->end || line->end[-1] != '}')
        return "the line is cut off";
    if (!FIELD(line, "vtid", &vtid))
        return "no vtid: record with lttng add-context -u -t vtid";
    uint32_t space = 0;
    if (!FIELD(line, "vpid", &owner))
        owner = vtid | (uint64_t)1 << 63;
    if (!space_of(s, owner, &space))
        return "too many processes";
    hak_import_thread(im, vtid);
    return call(im, line, name, len, space);
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
