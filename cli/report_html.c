/* report_html.c: the data of the page as JSON between its two halves. What is too small to be seen is summed
 * up, so that the page stays small whatever the trace. */
#include "cli/report_html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/export.h"
#include "cli/report_json.h"
#include "cli/report_page.h"
#include "core/base/wire.h"
#include "replay/slices.h"

enum {
    NODES_MAX = 12000,
    SITES_MAX = 2000,
    THREADS_MAX = 1000,
    PAIRS_MAX = 50,
    SLICES = 128,
    LIVES = (HAK_LIFE_BUCKETS + 1) / 2
};

#define NO_FRAME UINT32_MAX

/* The tree without its small branches. */
typedef struct pruned {
    uint32_t *of;     /* by node of the tree: number here */
    uint32_t *parent; /* by number here */
    uint32_t *place;  /* NO_FRAME: what is too small under the parent */
    hak_weights *own;
    uint32_t count;
} pruned;

typedef struct page {
    const report *r;
    FILE *out;
    pruned tree;
    uint32_t *frame_of; /* by place: frame of the page + 1; 0: not used */
    uint32_t frames;
    hak_slices slices;
} page;

typedef struct sides {
    const report *base;
    const report *new;
} sides;

/* ---- pruning ---- */

static bool is_kept(const hak_tree *tree, uint32_t node, double least)
{
    for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++) {
        double whole = (double)tree->sums[0].of[w];
        if (tree->sums[node].of[w] != 0 && (double)tree->sums[node].of[w] >= whole * least)
            return true;
    }
    return node == 0;
}

/* The least share with which few enough are left; each may need a second node for what is small below it. */
static double least_share(const hak_tree *tree)
{
    double least = 0;
    for (;;) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < tree->count; i++)
            kept += is_kept(tree, i, least);
        if (kept <= NODES_MAX / 2)
            return least;
        least = least == 0 ? 1e-7 : least * 2;
    }
}

static uint32_t add_node(pruned *p, uint32_t parent, uint32_t place)
{
    p->parent[p->count] = parent;
    p->place[p->count] = place;
    return p->count++;
}

static void pruned_done(pruned *p)
{
    free(p->of);
    free(p->parent);
    free(p->place);
    free(p->own);
    *p = (pruned){.of = NULL};
}

/* False: no memory. */
static bool prune(const hak_tree *tree, pruned *p)
{
    double least = least_share(tree);
    uint32_t *rest = calloc(tree->count, sizeof *rest); /* by node: where its small branches are summed up */
    size_t room = (size_t)tree->count < NODES_MAX ? (size_t)tree->count * 2 : (size_t)NODES_MAX * 2;
    p->of = calloc(tree->count, sizeof *p->of);
    p->parent = calloc(room + 2, sizeof *p->parent);
    p->place = calloc(room + 2, sizeof *p->place);
    p->own = calloc(room + 2, sizeof *p->own);
    bool fine = rest != NULL && p->of != NULL && p->parent != NULL && p->place != NULL && p->own != NULL;
    for (uint32_t i = 0; fine && i < tree->count; i++) {
        uint32_t up = tree->nodes[i].parent;
        if (is_kept(tree, i, least)) {
            p->of[i] = add_node(p, p->of[up], i == 0 ? NO_FRAME : tree->nodes[i].place);
        } else {
            /* A parent that is small itself has handed its number down. */
            if (is_kept(tree, up, least) && rest[up] == 0)
                rest[up] = add_node(p, p->of[up], NO_FRAME);
            p->of[i] = is_kept(tree, up, least) ? rest[up] : p->of[up];
        }
        hak_weights own = export_own(tree, i);
        hak_weights_add(&p->own[p->of[i]], &own);
    }
    free(rest);
    return fine;
}

/* ---- frames ---- */

static uint32_t frame_of(page *p, uint32_t place)
{
    if (p->frame_of[place] == 0)
        p->frame_of[place] = ++p->frames;
    return p->frame_of[place] - 1;
}

static int by_frame(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

static uint32_t module_number(const char ***list, uint32_t *count, const char *path)
{
    for (uint32_t i = 0; i < *count; i++) {
        if ((*list)[i] == path || strcmp((*list)[i], path) == 0)
            return i;
    }
    (*list)[*count] = path;
    return (*count)++;
}

static void put_frame(page *p, const hak_place *place, uint32_t module)
{
    char name[4096];
    format_place(name, sizeof name, place, false);
    fputs("\n[", p->out);
    json_string(p->out, name);
    fputc(',', p->out);
    if (place->function != NULL)
        json_string(p->out, place->function);
    else
        fputc('0', p->out);
    fputc(',', p->out);
    if (place->file != NULL)
        json_string(p->out, place->file);
    else
        fputc('0', p->out);
    fprintf(p->out, ",%u,%" PRIu32 "]", place->line, module);
}

static bool put_frames(page *p)
{
    uint32_t places = hak_places_count(p->r->places);
    uint32_t(*order)[2] = calloc((size_t)p->frames + 1, sizeof *order);
    const char **modules = calloc((size_t)p->frames + 1, sizeof *modules);
    uint32_t count = 0;
    uint32_t modules_count = 0;
    for (uint32_t i = 0; order != NULL && i < places; i++) {
        if (p->frame_of[i] != 0) {
            order[count][0] = p->frame_of[i];
            order[count++][1] = i;
        }
    }
    if (order != NULL)
        qsort(order, count, sizeof *order, by_frame);
    fputs(",\n\"frames\":[", p->out);
    for (uint32_t i = 0; order != NULL && modules != NULL && i < count; i++) {
        const hak_place *place = hak_places_at(p->r->places, order[i][1]);
        if (i != 0)
            fputc(',', p->out);
        put_frame(p, place, module_number(&modules, &modules_count, place->module));
    }
    fputs("],\n\"modules\":[", p->out);
    for (uint32_t i = 0; modules != NULL && i < modules_count; i++) {
        fputs(i == 0 ? "" : ",", p->out);
        json_string(p->out, modules[i]);
    }
    fputs("]", p->out);
    bool fine = order != NULL && modules != NULL;
    free(order);
    free(modules);
    return fine;
}

/* ---- tree and slices ---- */

static void put_tree(page *p)
{
    const pruned *t = &p->tree;
    fputs(",\n\"tree\":{\"parent\":[", p->out);
    for (uint32_t i = 0; i < t->count; i++)
        fprintf(p->out, "%s%" PRIu32, i == 0 ? "" : ",", t->parent[i]);
    fputs("],\n\"frame\":[", p->out);
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->place[i] == NO_FRAME)
            fprintf(p->out, "%s-1", i == 0 ? "" : ",");
        else
            fprintf(p->out, "%s%" PRIu32, i == 0 ? "" : ",", frame_of(p, t->place[i]));
    }
    for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++) {
        fprintf(p->out, "],\n\"%s\":[", export_weight_names[w]);
        for (uint32_t i = 0; i < t->count; i++)
            fprintf(p->out, "%s%" PRIu64, i == 0 ? "" : ",", t->own[i].of[w]);
    }
    fputs("]}", p->out);
}

/* When the whole of it began and how long it took: processes of a tree begin at different times. */
static void span_of(const report *r, uint64_t *start_ns, uint64_t *span_ns)
{
    *start_ns = UINT64_MAX;
    *span_ns = 1;
    for (size_t i = 0; i < r->traces_count; i++) {
        uint64_t at = hak_reader_head(r->traces[i].reader)->start_unix_ns;
        *start_ns = at < *start_ns ? at : *start_ns;
    }
    for (size_t i = 0; i < r->traces_count; i++) {
        uint64_t at = hak_reader_head(r->traces[i].reader)->start_unix_ns - *start_ns;
        uint64_t end = at + r->traces[i].profile->duration_ns;
        *span_ns = end > *span_ns ? end : *span_ns;
    }
}

/* NULL, or what went wrong. */
static const char *make_slices(page *p, uint64_t start_ns, uint64_t span_ns)
{
    static hak_trace_error error;
    if (!hak_slices_init(&p->slices, SLICES, p->tree.count, span_ns))
        return "out of memory";
    for (size_t i = 0; i < p->r->traces_count; i++) {
        const report_trace *t = &p->r->traces[i];
        uint32_t contexts;
        hak_reader_nodes(t->reader, &contexts);
        uint32_t *node_of = calloc((size_t)contexts + 1, sizeof *node_of);
        if (node_of == NULL)
            return "out of memory";
        for (uint32_t k = 0; k < contexts; k++)
            node_of[k] =
                t->tree_nodes[k] == HAK_TREE_NO_NODE ? HAK_SLICES_NO_NODE : p->tree.of[t->tree_nodes[k]];
        uint64_t offset = hak_reader_head(t->reader)->start_unix_ns - start_ns;
        int result = hak_slices_add(&p->slices, t->reader, node_of, contexts, offset, &error);
        free(node_of);
        if (result != 0)
            return error.text;
    }
    return NULL;
}

/* Five bits a character, the lowest first; a sixth says that more follow. The characters need no escape in
 * JSON nor in HTML. As JSON numbers the slices were most of a page's bytes, and of the time until it was
 * shown. */
static void put_packed(FILE *out, uint64_t value)
{
    enum { BITS = 5, MORE = 1 << BITS, FIRST = '>', BACKSLASH = '\\' };
    do {
        unsigned digit = (unsigned)(value & (MORE - 1));
        value >>= BITS;
        digit = FIRST + digit + (value != 0 ? MORE : 0);
        fputc((int)(digit < BACKSLASH ? digit : digit + 1), out);
    } while (value != 0);
}

static void put_slice(const page *p, uint32_t slice)
{
    const hak_slices *s = &p->slices;
    uint32_t before = 0;
    for (uint32_t k = 0; k < s->nodes; k++) {
        const hak_slice *c = &s->cells[(size_t)slice * s->nodes + k];
        if (c->calls == 0 && c->live_bytes == 0 && c->temporary == 0)
            continue;
        put_packed(p->out, k - before);
        put_packed(p->out, c->calls);
        put_packed(p->out, c->bytes);
        put_packed(p->out, c->temporary);
        put_packed(p->out, hak_zigzag(c->live_bytes));
        before = k;
    }
}

static void put_slices(const page *p)
{
    fprintf(p->out, ",\n\"slices\":{\"step_ns\":%" PRIu64 ",\"packed\":[", p->slices.step_ns);
    for (uint32_t i = 0; i < p->slices.count; i++) {
        fputs(i == 0 ? "\n\"" : ",\n\"", p->out);
        put_slice(p, i);
        fputc('"', p->out);
    }
    fputs("]}", p->out);
}

/* One process: its own timeline. Several: what the slices sum up to. */
static void put_time(page *p)
{
    fputs(",\n\"heap\":[", p->out);
    if (p->r->traces_count == 1) {
        const hak_profile *profile = p->r->traces[0].profile;
        for (uint32_t i = 0; i < profile->timeline_count; i++)
            fprintf(p->out, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", profile->timeline[i].time_ns,
                    profile->timeline[i].live_max_bytes);
    } else {
        int64_t live = 0;
        for (uint32_t i = 0; i < p->slices.count; i++) {
            for (uint32_t k = 0; k < p->slices.nodes; k++)
                live += p->slices.cells[(size_t)i * p->slices.nodes + k].live_bytes;
            fprintf(p->out, "%s[%" PRIu64 ",%" PRId64 "]", i == 0 ? "" : ",", (i + 1) * p->slices.step_ns,
                    live);
        }
    }
    fputs("],\n\"rss\":[", p->out);
    uint32_t samples = 0;
    const hak_trace_rss *rss = NULL;
    if (p->r->traces_count == 1)
        rss = hak_reader_rss(p->r->traces[0].reader, &samples);
    uint32_t step = samples / HAK_TIMELINE_POINTS + 1;
    for (uint32_t i = 0; i < samples; i += step)
        fprintf(p->out, "%s[%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", rss[i].time_ns, rss[i].rss_bytes);
    fputc(']', p->out);
}

/* ---- tables ---- */

static void put_site(page *p, const hak_site *site)
{
    const hak_usage *u = site->usage;
    const uint32_t *frames = hak_sites_frames(p->r->sites, site);
    uint64_t p50 = hak_site_life_ns(site, 0.5);
    fputs("\n{\"frames\":[", p->out);
    for (uint32_t i = 0; i < site->frames_count; i++)
        fprintf(p->out, "%s%" PRIu32, i == 0 ? "" : ",", frame_of(p, frames[i]));
    fputc(']', p->out);
    json_number(p->out, "calls", u->calls);
    json_number(p->out, "bytes", u->bytes);
    json_number(p->out, "peak", u->at_peak_bytes);
    json_number(p->out, "live", u->live_bytes);
    json_number(p->out, "temporary", u->temporary);
    json_number(p->out, "freed", u->freed);
    json_number(p->out, "remote", u->freed_remotely);
    json_number(p->out, "pinned", u->pinned_bytes);
    json_number(p->out, "copied", u->copied_bytes + u->grown_bytes);
    fprintf(p->out, ",\"p50\":%" PRId64 "}", p50 == UINT64_MAX ? -1 : (int64_t)p50);
}

static void put_sites(page *p)
{
    fputs(",\n\"sites\":[", p->out);
    for (size_t i = 0; i < p->r->list_count && i < SITES_MAX; i++) {
        if (i != 0)
            fputc(',', p->out);
        put_site(p, &p->r->list[i]);
    }
    fputs("],\n\"advice\":[", p->out);
    report_advice_json(p->r, p->out);
    fputc(']', p->out);
}

static void put_histograms(page *p)
{
    uint64_t lives[LIVES] = {0};
    bool first = true;
    fputs(",\n\"sizes\":[", p->out);
    for (unsigned bits = 0; bits < HAK_SIZE_BUCKETS; bits++) {
        uint64_t calls = 0;
        uint64_t sum = 0;
        for (size_t i = 0; i < p->r->traces_count; i++) {
            calls += p->r->traces[i].profile->size_calls[bits];
            sum += p->r->traces[i].profile->size_bytes[bits];
        }
        if (calls == 0)
            continue;
        fprintf(p->out, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", first ? "" : ",",
                bits < 64 ? UINT64_C(1) << bits : UINT64_MAX, calls, sum);
        first = false;
    }
    for (size_t i = 0; i < p->r->list_count; i++) {
        hak_life room;
        const hak_life *life = hak_site_life(&p->r->list[i], &room);
        for (unsigned k = 0; life != NULL && k < HAK_LIFE_BUCKETS; k++)
            lives[k / 2] += hak_life_time_count(life, k);
    }
    fputs("],\n\"lives\":[", p->out);
    for (unsigned k = 0; k < LIVES; k++)
        fprintf(p->out, "[%" PRIu64 ",%" PRIu64 "],", (UINT64_C(1) << (2 * k)) * HAK_LIFE_UNIT_NS, lives[k]);
    fprintf(p->out, "[null,%" PRIu32 "]]", p->r->total.live_blocks);
}

static void put_threads(page *p)
{
    /* Of several processes, those of the one with the greatest heap. */
    const report_trace *t = &p->r->traces[0];
    for (size_t i = 1; i < p->r->traces_count; i++)
        t = p->r->traces[i].profile->peak_bytes > t->profile->peak_bytes ? &p->r->traces[i] : t;
    uint32_t count;
    const hak_trace_thread *threads = hak_reader_threads(t->reader, &count);
    fputs(",\n\"threads\":[", p->out);
    for (uint32_t i = 0; i < count && i < t->profile->threads_count && i < THREADS_MAX; i++) {
        const hak_profile_thread *of = &t->profile->threads[i];
        fprintf(p->out, "%s{\"tid\":%" PRIu64 ",\"name\":", i == 0 ? "" : ",", threads[i].tid);
        json_string(p->out, threads[i].name);
        json_number(p->out, "calls", of->calls);
        json_number(p->out, "bytes", of->bytes);
        json_number(p->out, "live", of->live_bytes);
        json_number(p->out, "frees", of->frees);
        json_number(p->out, "others", of->frees_of_others);
        fputc('}', p->out);
    }
    fputs("],\n\"pairs\":[", p->out);
    for (uint32_t i = 0; i < t->profile->pairs_count && i < PAIRS_MAX; i++) {
        const hak_remote_pair *pair = &t->profile->pairs[i];
        fprintf(p->out, "%s[%" PRIu32 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64 "]", i == 0 ? "" : ",", pair->from,
                pair->to, pair->frees, pair->bytes);
    }
    fputc(']', p->out);
}

static void put_totals(page *p, uint64_t span_ns)
{
    const report *r = p->r;
    uint64_t rss = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        rss += r->traces[i].profile->rss_peak_bytes;
    char title[512], command[4096];
    export_command(command, sizeof command, &r->traces[0]);
    format_safe(title, sizeof title, command, 100);
    fputs("\n{\"title\":", p->out);
    json_string(p->out, title);
    fputs(",\"program\":", p->out);
    json_string(p->out, hak_reader_head(r->traces[0].reader)->program);
    json_number(p->out, "processes", r->traces_count);
    json_number(p->out, "duration_ns", span_ns);
    fprintf(p->out, ",\"totals\":{\"rss\":%" PRIu64, rss);
    json_number(p->out, "calls", r->total.calls);
    json_number(p->out, "bytes", r->total.bytes);
    json_number(p->out, "peak", r->peak_bytes);
    json_number(p->out, "live", r->total.live_bytes);
    json_number(p->out, "temporary", r->total.temporary);
    fputc('}', p->out);
}

/* ---- page ---- */

static const char *put_side(const report *r, FILE *out)
{
    page p = {.r = r, .out = out};
    uint64_t start_ns, span_ns;
    span_of(r, &start_ns, &span_ns);
    p.frame_of = calloc((size_t)hak_places_count(r->places) + 1, sizeof *p.frame_of);
    const char *fault = p.frame_of != NULL && prune(r->tree, &p.tree) ? NULL : "out of memory";
    if (fault == NULL)
        fault = make_slices(&p, start_ns, span_ns);
    if (fault == NULL) {
        put_totals(&p, span_ns);
        put_time(&p);
        put_tree(&p);
        put_slices(&p);
        put_sites(&p);
        put_histograms(&p);
        put_threads(&p);
        fault = put_frames(&p) ? NULL : "out of memory"; /* last: all that are used are known */
        fputc('}', out);
    }
    hak_slices_done(&p.slices);
    pruned_done(&p.tree);
    free(p.frame_of);
    return fault;
}

static const char *put_page(const void *context, FILE *out)
{
    const sides *s = context;
    const char *fault = NULL;
    fwrite(report_page_head, 1, report_page_head_bytes, out);
    fprintf(out, "{\"schema\":%d,\"tool\":\"hakmem-report %s\",\"sides\":[", REPORT_SCHEMA, HAKMEM_VERSION);
    if (s->base != NULL) {
        fault = put_side(s->base, out);
        fputc(',', out);
    }
    if (fault == NULL)
        fault = put_side(s->new, out);
    fputs("]}", out);
    fwrite(report_page_tail, 1, report_page_tail_bytes, out);
    return fault;
}

int report_html_write(const report *base, const report *new, const char *path)
{
    const sides s = {base, new};
    return export_to(path, false, put_page, &s);
}
