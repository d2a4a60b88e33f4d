/* kind_fleetbench.c: no recording but a profile of many: Fleetbench's TCMALLOC_*.csv, "SIZE, ALLOCATIONS,
 * LIVE" per line (google/fleetbench, fleetbench/tcmalloc). A workload is drawn from it: blocks of each size
 * are born at a rate proportional to its allocations and die at the rate that keeps its live blocks at their
 * number, from a live set that is there when it begins. Drawn with a fixed seed: the same file gives the same
 * workload. */
#include "import/kinds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/bits.h"
#include "trace/grow.h"

#define OPERATIONS      1000.0 /* per size, after the first live set is there */
#define OPERATIONS_MAX  1e6
#define LIVE_BYTES      (256.0 * (1 << 20)) /* the profile is scaled to about this much */
#define LIVE_BLOCKS     1000.0              /* and to this many per size */
#define LIVE_BLOCKS_MAX 1e6
#define SIZE_MAX_BYTES  ((uint64_t)1 << 40)
#define SEED            UINT64_C(0x66656e63)

typedef struct row {
    uint64_t size;
    double rate, live;
    double births;    /* sum of the rates up to and with this row */
    uint64_t *blocks; /* numbers of live ones */
    size_t count, room;
} row;

typedef struct state {
    row *rows;
    size_t count, room;
    uint64_t random, blocks;
} state;

static double draw(state *s) /* in [0, 1) */
{
    s->random += UINT64_C(0x9e3779b97f4a7c15);
    return (double)(hak_mix64(s->random) >> 11) * 0x1p-53;
}

/* A decimal number with fraction and exponent, without strtod: the line is not ended by a NUL. */
static double real(hak_scan *line)
{
    char text[64];
    hak_scan_blanks(line);
    size_t len = 0;
    while (line->at < line->end && len < sizeof text - 1 && strchr("0123456789.eE+-", *line->at) != NULL &&
           *line->at != '\0')
        text[len++] = *line->at++;
    text[len] = '\0';
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0) || value > 1e18)
        line->bad = true;
    return value;
}

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    (void)im;
    hak_scan line = hak_head_line(head, len_bytes, '#');
    hak_scan_decimal(&line);
    hak_scan_want(&line, ",");
    real(&line);
    hak_scan_want(&line, ",");
    real(&line);
    return !line.bad;
}

static const char *parse(hak_import *im, hak_scan *line, void *arg)
{
    state *s = arg;
    row r = {.size = hak_scan_decimal(line)};
    hak_scan_want(line, ",");
    r.rate = real(line);
    hak_scan_want(line, ",");
    r.live = real(line);
    if (line->bad || !hak_scan_done(line) || r.size > SIZE_MAX_BYTES)
        return "no: size, allocations, live blocks";
    if (!HAK_GROW(&s->rows, &s->room, s->count + 1)) {
        im->failed = true;
        return "out of memory";
    }
    s->rows[s->count++] = r;
    return NULL;
}

static bool birth(hak_import *im, state *s, row *r)
{
    if (!HAK_GROW(&r->blocks, &r->room, r->count + 1)) {
        im->failed = true;
        return false;
    }
    r->blocks[r->count++] = ++s->blocks;
    hak_import_alloc(im, HAK_OP_MALLOC, s->blocks, r->size, 0);
    return true;
}

static void death(hak_import *im, state *s, row *r)
{
    size_t which = (size_t)(draw(s) * (double)r->count);
    hak_import_free(im, HAK_OP_FREE, r->blocks[which]);
    r->blocks[which] = r->blocks[--r->count];
}

/* The first row whose sum is beyond x. */
static row *row_at(state *s, double x)
{
    size_t low = 0, high = s->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->rows[middle].births > x)
            high = middle;
        else
            low = middle + 1;
    }
    return &s->rows[low];
}

/* In the steady state as many blocks of a size die as are born, so deaths are drawn from the same rates. */
static int generate(hak_import *im, state *s)
{
    double bytes = 0, blocks = 0, births = 0;
    for (size_t i = 0; i < s->count; i++) {
        bytes += (double)s->rows[i].size * s->rows[i].live;
        blocks += s->rows[i].live;
        births += s->rows[i].rate;
        s->rows[i].births = births;
    }
    if (!(births > 0)) {
        im->in.fault = "a profile without allocations";
        return hak_import_input_end(im);
    }
    double scale = bytes > LIVE_BYTES ? LIVE_BYTES / bytes : 1;
    double most = LIVE_BLOCKS * (double)s->count;
    if (most > LIVE_BLOCKS_MAX)
        most = LIVE_BLOCKS_MAX;
    if (blocks * scale > most)
        scale = most / blocks;
    double operations = OPERATIONS * (double)s->count;
    if (operations > OPERATIONS_MAX)
        operations = OPERATIONS_MAX;
    hak_import_thread(im, 1);
    for (size_t i = 0; i < s->count; i++) {
        double wanted = s->rows[i].live * scale;
        uint64_t whole = (uint64_t)wanted + (draw(s) < wanted - floor(wanted));
        for (uint64_t k = 0; k < whole; k++)
            if (!birth(im, s, &s->rows[i]))
                return 0;
    }
    uint64_t standing = s->blocks;
    for (uint64_t i = 0; i < (uint64_t)operations / 2 && !im->failed; i++) {
        birth(im, s, row_at(s, draw(s) * births));
        row *r = row_at(s, draw(s) * births);
        if (r->count != 0)
            death(im, s, r);
    }
    snprintf(
        im->summary->note, sizeof im->summary->note,
        "drawn from %zu sizes: %llu blocks live from the start (scale %.3g), then %.0f births and deaths",
        s->count, (unsigned long long)standing, scale, operations);
    return 0;
}

static int run(hak_import *im)
{
    state s = {.random = SEED};
    int status = hak_import_lines(im, parse, &s);
    if (status == 0 && s.count != 0)
        status = generate(im, &s);
    for (size_t i = 0; i < s.count; i++)
        free(s.rows[i].blocks);
    free(s.rows);
    return status;
}

const hak_import_kind hak_import_fleetbench = {
    .format = {"fleetbench", "Fleetbench size distributions (CSV): a workload drawn from them"},
    .limits = "the order of events, threads, times, call contexts, entry points (it is a distribution)",
    .detect = detect,
    .run = run,
};
