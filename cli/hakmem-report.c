/* hakmem-report.c: what a program allocates, from its traces. Chooses views, prints, exits; single-threaded.
 */
#include <getopt.h>
#include <string.h>

#include "cli/report_html.h"
#include "cli/report_options.h"
#include "cli/report_rewrite.h"
#include "cli/report_suppress.h"
#include "cli/say.h"

static int flush_output(void)
{
    return say_flushed() ? REPORT_FINE : REPORT_TROUBLE;
}

static int worse(int a, int b)
{
    return a > b ? a : b;
}

static int verify(char **paths, size_t count, bool partial)
{
    int status = REPORT_FINE;
    for (size_t i = 0; i < count; i++)
        status = worse(status, report_verify(paths[i], partial));
    return worse(status, flush_output());
}

static void print_text(const report *r, const report_arguments *args)
{
    report_summary(r, stdout);
    for (unsigned i = 0; i < args->views_count; i++)
        args->views[i]->print(r, stdout);
    if (args->options.overview) {
        report_sites_table(r, stdout);
        report_growers(r, stdout);
        report_sizes(r, stdout);
        report_threads(r, stdout);
        report_advice(r, stdout);
    }
    report_remarks(r, stdout);
}

static unsigned needs_of(const report_arguments *args)
{
    unsigned needs = args->checks_count != 0 ? REPORT_NEEDS_TREE : 0;
    if (args->html != NULL)
        needs |= REPORT_HTML_NEEDS;
    for (unsigned i = 0; i < args->views_count; i++)
        needs |= args->views[i]->needs;
    for (unsigned i = 0; i < args->exports_count; i++)
        needs |= args->exports[i].format->needs;
    return needs;
}

/* A broken budget is 1. */
static int judge(const report *r, const report_arguments *args)
{
    unsigned broken = 0;
    for (unsigned i = 0; i < args->checks_count; i++)
        broken += !report_check_holds(r, &args->checks[i]);
    return broken != 0 ? REPORT_BROKEN : REPORT_FINE;
}

/* Whether something other than the report is wanted: then only the views that are named are printed. */
static bool writes_elsewhere(const report_arguments *args)
{
    return args->checks_count != 0 || args->exports_count != 0 || args->html != NULL || args->symbolize ||
           args->anonymized != NULL;
}

/* Of the views that were named, those that JSON tells only then. */
static unsigned json_views(const report_arguments *args)
{
    static const struct {
        const char *view;
        unsigned flag;
    } known[] = {{"tree", REPORT_JSON_TREE}, {"invert", REPORT_JSON_INVERTED}, {"leaks", REPORT_JSON_LEAKS}};
    unsigned views = 0;
    for (unsigned i = 0; i < args->views_count; i++) {
        for (size_t k = 0; k < HAK_COUNT_OF(known); k++)
            views |= strcmp(args->views[i]->option, known[k].view) == 0 ? known[k].flag : 0;
    }
    return views;
}

static void print_report(const report *r, const report_arguments *args)
{
    if (args->form == FORM_JSON)
        report_json(r, json_views(args), stdout);
    else if (args->form == FORM_CSV)
        report_csv(r, stdout);
    else if (args->views_count != 0 || !writes_elsewhere(args))
        print_text(r, args);
}

static int run_report(const report_arguments *args, hak_places *places, char **paths, size_t count)
{
    report r;
    int status = report_load(&r, &args->options, places, paths, count, needs_of(args));
    if (status == REPORT_FINE) {
        print_report(&r, args);
        status = worse(judge(&r, args), flush_output());
        for (unsigned i = 0; i < args->exports_count; i++)
            status = worse(status, export_write(&r, &args->exports[i]));
        if (args->html != NULL)
            status = worse(status, report_html_write(NULL, &r, args->html));
        if (args->anonymized != NULL)
            status = worse(status, report_anonymize(&r, args->anonymized));
        if (args->symbolize)
            status =
                worse(status, report_symbolize(&r, args->symbolized != NULL ? args->symbolized : paths[0]));
    }
    report_free(&r);
    return status;
}

static int run_diff(const report_arguments *args, hak_places *places, char **paths)
{
    report base;
    report new = {.traces = NULL};
    int status = report_load(&base, &args->options, places, paths, 1, needs_of(args));
    if (status == REPORT_FINE)
        status = report_load(&new, &args->options, places, paths + 1, 1, needs_of(args));
    if (status == REPORT_FINE) {
        if (args->form == FORM_JSON)
            report_diff_json(&base, &new, stdout);
        else if (args->html == NULL)
            report_diff(&base, &new, stdout);
        status = flush_output();
        if (args->html != NULL)
            status = worse(status, report_html_write(&base, &new, args->html));
    }
    report_free(&base);
    report_free(&new);
    return status;
}

static int load_suppressions(report_arguments *args, report_suppressions **out)
{
    const char *fault;
    unsigned line;
    char text[512];
    if (args->suppressions == NULL)
        return REPORT_FINE;
    *out = report_suppressions_load(args->suppressions, &fault, &line);
    args->options.suppressions = *out;
    if (*out != NULL)
        return REPORT_FINE;
    if (line != 0)
        snprintf(text, sizeof text, "line %u: %s", line, fault);
    else
        snprintf(text, sizeof text, "%s", fault);
    return report_trouble(args->suppressions, text);
}

static int run(report_arguments *args, char **paths, size_t count)
{
    report_suppressions *suppressions = NULL;
    hak_places *places = hak_places_new(args->diff ? HAK_PLACES_BY_FUNCTION : 0);
    int status = places == NULL ? report_trouble(paths[0], "out of memory") : REPORT_FINE;
    if (status == REPORT_FINE)
        status = load_suppressions(args, &suppressions);
    if (status == REPORT_FINE)
        status = args->diff ? run_diff(args, places, paths) : run_report(args, places, paths, count);
    report_suppressions_free(suppressions);
    hak_places_free(places);
    return status;
}

int main(int argc, char **argv)
{
    report_arguments args;
    say_as("hakmem-report");
    int status = report_parse(&args, argc, argv);
    if (status != REPORT_FINE)
        return status;
    if (args.help) {
        fputs(report_help, stdout);
        return flush_output();
    }
    if (args.version) {
        printf("hakmem-report %s (trace format %d)\n", HAKMEM_VERSION, HAK_TRACE_VERSION);
        return flush_output();
    }
    char **paths = argv + optind;
    size_t count = (size_t)(argc - optind);
    return args.verify ? verify(paths, count, args.options.partial) : run(&args, paths, count);
}
