/* report_load.c: traces to profiles to sites and trees. Prints only what went wrong, to stderr. */
#include "cli/report.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import_view.h"
#include "cli/say.h"
#include "replay/names.h"

enum { PAGE_SITES = 2048 }; /* more than a page shows */

int report_trouble(const char *path, const char *text)
{
    say_about(path, text);
    return REPORT_TROUBLE;
}

int report_verify(const char *path, bool partial)
{
    hak_trace_error error;
    hak_reader *reader = hak_reader_open(path, partial ? HAK_READER_PARTIAL : 0, &error);
    if (reader == NULL)
        return report_trouble(path, error.text);
    const hak_event *events;
    size_t count;
    uint64_t total = 0;
    int got;
    while ((got = hak_reader_next(reader, &events, &count, &error)) == 1)
        total += count;
    if (got == 0) {
        uint32_t threads, contexts, modules;
        char safe[1024];
        hak_reader_threads(reader, &threads);
        hak_reader_nodes(reader, &contexts);
        hak_reader_modules(reader, &modules);
        format_safe(safe, sizeof safe, path, 0);
        bool cut = hak_reader_partial(reader, &error);
        printf("%s: %s: %" PRIu64 " events, %" PRIu32 " threads, %" PRIu32 " contexts, %" PRIu32
               " modules, %" PRIu64 " events lost",
               safe, cut ? "whole up to the cut" : "whole", total, threads, contexts - 1, modules,
               hak_reader_tail(reader)->events_lost);
        if (hak_reader_tail(reader)->end != HAK_END_PROGRAM)
            printf("; recording ended %s", hak_trace_end_text(hak_reader_tail(reader)->end));
        printf(cut ? "; %s\n" : "\n", error.text);
    }
    hak_reader_close(reader);
    return got == 0 ? REPORT_FINE : report_trouble(path, error.text);
}

/* ---- filters ---- */

static bool filter_matches(const void *context, const hak_place *place)
{
    const report_filter *filter = context;
    if (filter->kind == FILTER_FUNCTION)
        return place->function != NULL && hak_name_matches(filter->pattern, place->function);
    return fnmatch(filter->pattern, base_name(place->module), 0) == 0 ||
           strcmp(filter->pattern, place->module) == 0;
}

/* Contexts for which all filters of functions and modules hold; *keep is for the caller to free and NULL when
 * there is no such filter. False: no memory. */
static bool keep_nodes(const report_options *options, report_trace *t, uint8_t **keep, uint32_t *count)
{
    for (unsigned i = 0; i < options->filters_count; i++) {
        if (options->filters[i].kind == FILTER_THREAD)
            continue;
        uint8_t *marks = hak_stacks_mark(t->stacks, filter_matches, &options->filters[i], count);
        if (marks == NULL)
            return false;
        for (uint32_t k = 0; *keep != NULL && k < *count; k++)
            marks[k] &= (*keep)[k];
        free(*keep);
        *keep = marks;
    }
    return true;
}

/* Threads of which one filter holds. */
static bool keep_threads(const report_options *options, const report_trace *t, uint8_t **keep,
                         uint32_t *count)
{
    const hak_trace_thread *threads = hak_reader_threads(t->reader, count);
    for (unsigned i = 0; i < options->filters_count; i++) {
        if (options->filters[i].kind != FILTER_THREAD)
            continue;
        if (*keep == NULL && (*keep = calloc((size_t)*count + 1, 1)) == NULL)
            return false;
        for (uint32_t k = 0; k < *count; k++) {
            char tid[24];
            snprintf(tid, sizeof tid, "%" PRIu64, threads[k].tid);
            (*keep)[k] |= strcmp(options->filters[i].pattern, tid) == 0 ||
                          fnmatch(options->filters[i].pattern, threads[k].name, 0) == 0;
        }
    }
    return true;
}

/* ---- passes ---- */

static int build(report_trace *t, const hak_profile_options *how)
{
    hak_trace_error error;
    hak_profile_free(t->profile);
    t->profile = hak_profile_build(t->reader, how, &error);
    return t->profile != NULL ? REPORT_FINE : report_trouble(t->path, error.text);
}

/* Filters and the peak are known once the trace has been read: then it is read again. */
static int build_again(const report_options *options, report_trace *t, hak_profile_options *how)
{
    uint8_t *nodes = NULL;
    uint8_t *threads = NULL;
    hak_trace_error error;
    int status = REPORT_FINE;
    if (!keep_nodes(options, t, &nodes, &how->nodes_count) ||
        !keep_threads(options, t, &threads, &how->threads_count))
        status = report_trouble(t->path, "out of memory");
    how->nodes_keep = nodes;
    how->threads_keep = threads;
    if (status == REPORT_FINE && options->filters_count != 0) {
        status =
            hak_reader_rewind(t->reader, &error) == 0 ? build(t, how) : report_trouble(t->path, error.text);
    }
    if (status == REPORT_FINE && options->at_peak) {
        how->until_event = t->profile->peak_event;
        status =
            hak_reader_rewind(t->reader, &error) == 0 ? build(t, how) : report_trouble(t->path, error.text);
    }
    free(nodes);
    free(threads);
    return status;
}

static int read_trace(report *r, report_trace *t)
{
    const report_options *options = r->options;
    hak_trace_error error;
    hak_profile_options how = hak_profile_all();
    how.from_ns = options->from_ns;
    how.until_ns = options->until_ns;
    how.temporary = options->temporary;
    hak_import_summary imported;
    t->reader = hak_import_open(t->path, NULL, options->partial ? HAK_READER_PARTIAL : 0, &imported, &error);
    if (t->reader != NULL && imported.format != NULL && !options->quiet) {
        fputs("hakmem-report: imported ", stderr);
        hak_import_print(stderr, &imported, "  ");
    }
    if (t->reader == NULL)
        return report_trouble(t->path, error.text);
    if (build(t, &how) != REPORT_FINE)
        return REPORT_TROUBLE;
    if (hak_reader_partial(t->reader, &error) && !options->quiet)
        report_trouble(t->path, error.text);
    t->stacks = hak_stacks_new(r->places, t->reader);
    if (t->stacks == NULL)
        return report_trouble(t->path, "out of memory");
    if (options->filters_count != 0 || options->at_peak)
        return build_again(options, t, &how);
    return REPORT_FINE;
}

static bool make_nodes(report_trace *t)
{
    uint32_t count;
    hak_reader_nodes(t->reader, &count);
    t->tree_nodes = malloc(((size_t)count + 1) * sizeof *t->tree_nodes);
    for (uint32_t i = 0; t->tree_nodes != NULL && i < count; i++)
        t->tree_nodes[i] = HAK_TREE_NO_NODE;
    return t->tree_nodes != NULL;
}

static int merge_trace(report *r, report_trace *t, unsigned needs)
{
    hak_trace_error error;
    if ((needs & REPORT_NEEDS_NODES) != 0 && !make_nodes(t))
        return report_trouble(t->path, "out of memory");
    if ((r->tree != NULL && hak_tree_add(r->tree, t->stacks, t->profile, t->tree_nodes, &error) != 0) ||
        (r->inverted != NULL && hak_tree_add(r->inverted, t->stacks, t->profile, NULL, &error) != 0) ||
        hak_sites_add(r->sites, t->stacks, t->profile, &error) != 0)
        return report_trouble(t->path, error.text);
    r->peak_bytes += t->profile->peak_bytes;
    return REPORT_FINE;
}

int report_load(report *r, const report_options *options, hak_places *places, char **paths, size_t count,
                unsigned needs)
{
    unsigned flags = options->wrappers ? HAK_STACK_WRAPPERS : 0;
    *r = (report){.options = options, .traces_count = count, .places = places};
    r->traces = calloc(count, sizeof *r->traces);
    r->sites = hak_sites_new(places, options->frames, flags);
    r->tree = (needs & REPORT_NEEDS_TREE) != 0 ? hak_tree_new(false, flags) : NULL;
    r->inverted = (needs & REPORT_NEEDS_INVERTED) != 0 ? hak_tree_new(true, flags) : NULL;
    if (r->traces == NULL || r->sites == NULL || (r->tree == NULL && (needs & REPORT_NEEDS_TREE) != 0) ||
        (r->inverted == NULL && (needs & REPORT_NEEDS_INVERTED) != 0))
        return report_trouble(paths[0], "out of memory");
    int status = REPORT_FINE;
    for (size_t i = 0; status == REPORT_FINE && i < count; i++) {
        r->traces[i].path = paths[i];
        status = read_trace(r, &r->traces[i]);
        if (status == REPORT_FINE)
            status = merge_trace(r, &r->traces[i], needs);
    }
    if (status != REPORT_FINE)
        return status;
    if ((r->tree != NULL && !hak_tree_sum(r->tree)) || (r->inverted != NULL && !hak_tree_sum(r->inverted)))
        return report_trouble(paths[0], "out of memory");
    hak_site *list = hak_sites_list(r->sites, &r->list_count);
    for (size_t i = 0; i < r->list_count; i++) /* while they are in the order of their figures */
        hak_usage_add(&r->total, list[i].usage);
    r->list = list;
    size_t shown = options->top == 0 ? r->list_count : options->top > PAGE_SITES ? options->top : PAGE_SITES;
    return report_sort(list, r->list_count, options->order, shown)
               ? REPORT_FINE
               : report_trouble(paths[0], "out of memory");
}

void report_free(report *r)
{
    for (size_t i = 0; r->traces != NULL && i < r->traces_count; i++) {
        hak_profile_free(r->traces[i].profile);
        hak_stacks_free(r->traces[i].stacks);
        free(r->traces[i].tree_nodes);
        hak_reader_close(r->traces[i].reader);
    }
    hak_tree_free(r->tree);
    hak_tree_free(r->inverted);
    hak_sites_free(r->sites);
    free(r->traces);
    *r = (report){.traces = NULL};
}
