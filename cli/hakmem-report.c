/* hakmem-report.c: what a program allocates, from its traces. Parses options, prints, exits; single-threaded.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/import_view.h"
#include "cli/report.h"

enum { EXIT_FINE = 0, EXIT_TROUBLE = 2, DEFAULT_TOP = 20, DEFAULT_FRAMES = 3 };

typedef enum report_form { FORM_TEXT, FORM_JSON, FORM_CSV } report_form;

typedef struct arguments {
    report_options options;
    report_form form;
    unsigned frames;
    bool wrappers;
    bool verify;
    bool partial;
    const char *color;
} arguments;

static const struct {
    const char *name;
    report_sort sort;
} sorts[] = {{"peak", SORT_PEAK},     {"calls", SORT_CALLS},         {"bytes", SORT_BYTES},
             {"live", SORT_LIVE},     {"temporary", SORT_TEMPORARY}, {"lifetime", SORT_LIFETIME},
             {"copied", SORT_COPIED}, {"cross-thread", SORT_REMOTE}};

static const char help[] =
    "Examples:\n"
    "  hakmem-report app.trace.gz                  the profile of one recording\n"
    "  hakmem-report --sort=calls --top=50 a.gz    other order, more rows\n"
    "  hakmem-report hakmem-trace.make.*.gz        a tree of processes as one\n"
    "  hakmem-report --partial a.trace.gz.part     a recording that was killed, or still runs\n"
    "  hakmem-report --verify app.trace.gz         check every byte; status 0 or 2\n"
    "\n"
    "Usage: hakmem-report [OPTIONS] TRACE…\n"
    "  --sort=KEY        peak (default), calls, bytes, live, temporary, lifetime, copied, cross-thread\n"
    "  --top=N           show N sites (20; 0: all)\n"
    "  --frames=N        functions that tell sites apart, 1 to 16 (3)\n"
    "  --wrappers        do not look past malloc-like functions\n"
    "  --json, --csv     for programs\n"
    "  --verify          read everything, report what is wrong\n"
    "  --partial         take what is whole of a cut-off or damaged trace\n"
    "  --color=WHEN      auto (default), always, never\n"
    "  -q, --quiet       no remarks on stderr\n"
    "  -h, --help        this text\n"
    "  --version         version and features\n"
    "\n"
    "hakmem-report(1) explains every column.\n";

/* ---- order of sites ---- */

static report_sort sorted_by;

static uint64_t sort_key(const hak_site *site)
{
    const hak_usage *u = &site->usage;
    switch (sorted_by) {
    case SORT_CALLS:
        return u->calls;
    case SORT_BYTES:
        return u->bytes;
    case SORT_LIVE:
        return u->live_bytes;
    case SORT_TEMPORARY:
        return u->temporary;
    case SORT_LIFETIME:
        return hak_life_time_ns(&site->life, u->live_blocks, 0.5);
    case SORT_COPIED:
        return u->copied_bytes;
    case SORT_REMOTE:
        return u->freed_remotely;
    case SORT_PEAK:
        break;
    }
    return u->at_peak_bytes;
}

/* Greatest first; equal ones by calls, then bytes, then place, so that the order is always the same. */
static int by_key(const void *a, const void *b)
{
    const hak_site *x = a;
    const hak_site *y = b;
    const uint64_t keys[][2] = {{sort_key(x), sort_key(y)},
                                {x->usage.calls, y->usage.calls},
                                {x->usage.bytes, y->usage.bytes},
                                {y->frames[0], x->frames[0]}};
    for (size_t i = 0; i < HAK_COUNT_OF(keys); i++) {
        if (keys[i][0] != keys[i][1])
            return keys[i][0] < keys[i][1] ? 1 : -1;
    }
    return 0;
}

/* ---- trouble ---- */

static int trouble(const char *path, const char *text)
{
    char safe[1024];
    format_safe(safe, sizeof safe, path, 0);
    fprintf(stderr, "hakmem-report: '%s': %s\n", safe, text);
    return EXIT_TROUBLE;
}

static int usage(const char *subject, const char *text)
{
    char safe[256];
    format_safe(safe, sizeof safe, subject, 0);
    fprintf(stderr, "hakmem-report: %s%s%s; see hakmem-report --help\n", text, *safe != '\0' ? ": " : "",
            safe);
    return EXIT_TROUBLE;
}

static int flush_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_FINE;
    if (errno != EPIPE)
        fprintf(stderr, "hakmem-report: standard output: %s\n", strerror(errno));
    return EXIT_TROUBLE;
}

/* ---- verify ---- */

static int verify(const char *path)
{
    hak_trace_error error;
    hak_reader *reader = hak_reader_open(path, 0, &error);
    if (reader == NULL)
        return trouble(path, error.text);
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
        printf("%s: whole: %" PRIu64 " events, %" PRIu32 " threads, %" PRIu32 " contexts, %" PRIu32
               " modules, %" PRIu64 " events lost\n",
               safe, total, threads, contexts - 1, modules, hak_reader_tail(reader)->events_lost);
    }
    hak_reader_close(reader);
    return got == 0 ? EXIT_FINE : trouble(path, error.text);
}

/* ---- report ---- */

static int read_trace(report_trace *t, const arguments *args)
{
    hak_trace_error error;
    hak_import_summary imported;
    t->reader = hak_import_open(t->path, NULL, args->partial ? HAK_READER_PARTIAL : 0, &imported, &error);
    if (t->reader != NULL && imported.format != NULL && !args->options.quiet) {
        fputs("hakmem-report: imported ", stderr);
        hak_import_print(stderr, &imported, "  ");
    }
    if (t->reader == NULL)
        return trouble(t->path, error.text);
    t->profile = hak_profile_build(t->reader, &error);
    if (t->profile == NULL)
        return trouble(t->path, error.text);
    if (hak_reader_partial(t->reader, &error) && !args->options.quiet)
        trouble(t->path, error.text);
    return EXIT_FINE;
}

static void print_report(const report *r, report_form form)
{
    if (form == FORM_JSON)
        report_json(r, stdout);
    else if (form == FORM_CSV)
        report_csv(r, stdout);
    else
        report_text(r, stdout);
}

static int run_report(const arguments *args, char **paths, size_t count)
{
    report r = {.options = args->options, .traces_count = count};
    int status = EXIT_FINE;
    r.traces = calloc(count, sizeof *r.traces);
    r.sites = hak_sites_new(args->frames, args->wrappers);
    if (r.traces == NULL || r.sites == NULL)
        status = trouble(paths[0], "out of memory");
    for (size_t i = 0; status == EXIT_FINE && i < count; i++) {
        hak_trace_error error;
        r.traces[i].path = paths[i];
        status = read_trace(&r.traces[i], args);
        if (status == EXIT_FINE &&
            hak_sites_add(r.sites, r.traces[i].reader, r.traces[i].profile, &error) != 0)
            status = trouble(paths[i], error.text);
    }
    if (status == EXIT_FINE) {
        hak_site *list = hak_sites_list(r.sites, &r.list_count);
        sorted_by = r.options.sort;
        if (r.list_count != 0)
            qsort(list, r.list_count, sizeof *list, by_key);
        r.list = list;
        print_report(&r, args->form);
        status = flush_output();
    }
    for (size_t i = 0; r.traces != NULL && i < count; i++) {
        hak_profile_free(r.traces[i].profile);
        hak_reader_close(r.traces[i].reader);
    }
    hak_sites_free(r.sites);
    free(r.traces);
    return status;
}

/* ---- options ---- */

enum {
    OPT_SORT = 256,
    OPT_TOP,
    OPT_FRAMES,
    OPT_WRAPPERS,
    OPT_JSON,
    OPT_CSV,
    OPT_VERIFY,
    OPT_PARTIAL,
    OPT_COLOR,
    OPT_VERSION
};

static const struct option long_options[] = {{"sort", required_argument, NULL, OPT_SORT},
                                             {"top", required_argument, NULL, OPT_TOP},
                                             {"frames", required_argument, NULL, OPT_FRAMES},
                                             {"wrappers", no_argument, NULL, OPT_WRAPPERS},
                                             {"json", no_argument, NULL, OPT_JSON},
                                             {"csv", no_argument, NULL, OPT_CSV},
                                             {"verify", no_argument, NULL, OPT_VERIFY},
                                             {"partial", no_argument, NULL, OPT_PARTIAL},
                                             {"color", required_argument, NULL, OPT_COLOR},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {NULL, 0, NULL, 0}};

static bool parse_number(const char *text, unsigned low, unsigned high, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < low || value > high)
        return false;
    *out = (unsigned)value;
    return true;
}

static bool parse_sort(const char *text, report_options *options)
{
    for (size_t i = 0; i < HAK_COUNT_OF(sorts); i++) {
        if (strcmp(sorts[i].name, text) == 0) {
            options->sort = sorts[i].sort;
            options->sort_name = sorts[i].name;
            return true;
        }
    }
    return false;
}

/* What is wrong with an option's value; NULL: nothing. */
static const char *take_option(int option, arguments *args)
{
    switch (option) {
    case OPT_SORT:
        return parse_sort(optarg, &args->options) ? NULL : "--sort takes one of its keys";
    case OPT_TOP:
        return parse_number(optarg, 0, 100000000, &args->options.top) ? NULL : "--top takes a number";
    case OPT_FRAMES:
        return parse_number(optarg, 1, HAK_SITE_MAX_FRAMES, &args->frames) ? NULL : "--frames takes 1 to 16";
    case OPT_COLOR:
        args->color = optarg;
        return strcmp(optarg, "auto") == 0 || strcmp(optarg, "always") == 0 || strcmp(optarg, "never") == 0
                   ? NULL
                   : "--color takes auto, always or never";
    case OPT_WRAPPERS:
        args->wrappers = true;
        return NULL;
    case OPT_JSON:
        args->form = FORM_JSON;
        return NULL;
    case OPT_CSV:
        args->form = FORM_CSV;
        return NULL;
    case OPT_VERIFY:
        args->verify = true;
        return NULL;
    case OPT_PARTIAL:
        args->partial = true;
        return NULL;
    case 'q':
        args->options.quiet = true;
        return NULL;
    default:
        return "unknown option, or its value is missing";
    }
}

static void look_at_terminal(arguments *args)
{
    bool terminal = isatty(STDOUT_FILENO) != 0;
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool wanted =
        terminal && (no_color == NULL || *no_color == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
    args->options.color = strcmp(args->color, "auto") == 0 ? wanted : strcmp(args->color, "always") == 0;
    struct winsize size;
    unsigned columns;
    const char *given = getenv("COLUMNS");
    if (given != NULL && parse_number(given, 1, 10000, &columns))
        args->options.width = columns;
    else if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        args->options.width = size.ws_col;
}

int main(int argc, char **argv)
{
    arguments args = {.options = {.sort = SORT_PEAK, .sort_name = "peak", .top = DEFAULT_TOP},
                      .frames = DEFAULT_FRAMES,
                      .color = "auto"};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "hq", long_options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return flush_output();
        }
        if (option == OPT_VERSION) {
            printf("hakmem-report %s (trace format %d)\n", HAKMEM_VERSION, HAK_TRACE_VERSION);
            return flush_output();
        }
        const char *fault = take_option(option, &args);
        if (fault != NULL)
            return usage(argv[optind - 1], fault);
    }
    if (optind == argc)
        return usage("", "no trace given");
    look_at_terminal(&args);
    if (!args.verify)
        return run_report(&args, argv + optind, (size_t)(argc - optind));
    int status = EXIT_FINE;
    for (int i = optind; i < argc; i++) {
        int one = verify(argv[i]);
        status = one != EXIT_FINE ? one : status;
    }
    int flushed = flush_output();
    return status != EXIT_FINE ? status : flushed;
}
