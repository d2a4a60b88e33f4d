/* report_options.c: see report_options.h. */
#include "cli/report_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/say.h"

enum { DEFAULT_TOP = 20, DEFAULT_FRAMES = 3 };

const report_view report_views[] = {
    {"tree", REPORT_NEEDS_TREE, report_tree},
    {"invert", REPORT_NEEDS_INVERTED, report_inverted},
    {"function", REPORT_NEEDS_TREE, report_function},
    {"leaks", REPORT_NEEDS_TREE, report_leaks},
    {"temporary", 0, report_temporary},
    {"lifetimes", 0, report_lifetimes},
    {"growers", 0, report_growers},
    {"sizes", 0, report_sizes},
    {"threads", 0, report_threads},
    {"sites", 0, report_sites_table},
    {"advice", 0, report_advice},
    {NULL, 0, NULL},
};

const char report_help[] =
    "Examples:\n"
    "  hakmem-report app.trace.gz                  the profile of one recording\n"
    "  hakmem-report --sort=calls --top=50 a.gz    other order, more rows\n"
    "  hakmem-report --tree --sort=bytes a.gz      who calls whom\n"
    "  hakmem-report --at=peak --invert a.gz       what the greatest heap was made of\n"
    "  hakmem-report --leaks --suppressions=lsan.supp a.gz\n"
    "  hakmem-report --diff before.gz after.gz     what a change did\n"
    "  hakmem-report --check='peak<200M' --check='leaked=0' a.gz     budgets: status 1 when broken\n"
    "  hakmem-report --html=app.html a.gz          a page to look around in\n"
    "  hakmem-report --export=pprof:app.pb.gz a.gz && go tool pprof -top app.pb.gz\n"
    "  hakmem-report hakmem-trace.make.*.gz        a tree of processes as one\n"
    "  hakmem-report --partial a.trace.gz.part     a recording that was killed, or still runs\n"
    "  hakmem-report --verify app.trace.gz         check every byte; status 0 or 2\n"
    "\n"
    "Usage: hakmem-report [OPTIONS] TRACE…\n"
    "Views (several may be given; without one: sites, growers, sizes, threads, advice):\n"
    "  --sites           calls, bytes, share of the peak, leavings, lifetime by place in the source\n"
    "  --tree            call tree from main down\n"
    "  --invert          from the allocating functions to their callers\n"
    "  --function=NAME   who calls NAME, and what is allocated below it\n"
    "  --leaks           what was never freed, with its stacks\n"
    "  --temporary[=N]   what was freed before its thread had allocated more than N times again (0)\n"
    "  --lifetimes       histogram of lifetimes per site\n"
    "  --growers         who pays for growing by copying\n"
    "  --sizes           histogram of sizes\n"
    "  --threads         who allocates, who frees, who frees for whom\n"
    "  --advice          what could be changed, what it would save\n"
    "  --diff            BASE NEW: what changed, by function\n"
    "What counts:\n"
    "  --from=T, --to=T  allocations made in that time (1.5s, 200ms; since the start)\n"
    "  --at=T, --at=peak what was live then\n"
    "  --filter=function:NAME, module:NAME, thread:NAME-OR-ID   may be given several times; * and ? match\n"
    "  --suppressions=FILE   leaks that are known, as LeakSanitizer has them\n"
    "Budgets:\n"
    "  --check=FIGURE<N  status 1 and one line when it does not hold: peak<200M, leaked=0,\n"
    "                    calls(parse)<1e6, temporary<30%; may be given several times\n"
    "For viewers:\n"
    "  --html=FILE       one page that needs no network: flame graph, time, tables; with --diff both\n"
    "                    sides\n"
    "  --export=FORMAT:FILE   pprof, heaptrack, folded, speedscope, dhat, callgrind or massif; FILE\n"
    "                    may be -\n"
    "How it is shown:\n"
    "  --sort=KEY        peak (default), calls, bytes, live, temporary, lifetime, fragmentation, copied,\n"
    "                    cross-thread\n"
    "  --top=N           show N rows (20; 0: all)\n"
    "  --frames=N        functions that tell sites apart, 1 to 16 (3)\n"
    "  --threshold=P     leave out branches of trees below P percent (1)\n"
    "  --wrappers        do not look past malloc-like functions\n"
    "  --json, --csv     for programs: every figure (--tree, --invert and --leaks add theirs), or the\n"
    "                    sites\n"
    "  --color=WHEN      auto (default), always, never\n"
    "The trace itself:\n"
    "  --symbolize[=FILE]   write functions, files and lines into the trace (or into a copy)\n"
    "  --anonymize=FILE     a copy without names of programs, modules, threads, functions, files\n"
    "Other:\n"
    "  --verify          read everything, report what is wrong\n"
    "  --partial         take what is whole of a cut-off or damaged trace\n"
    "  -q, --quiet       no remarks on stderr\n"
    "  -h, --help        this text\n"
    "  --version         version and features\n"
    "\n"
    "hakmem-report(1) explains every column.\n";

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
    OPT_VERSION,
    OPT_VIEW,
    OPT_DIFF,
    OPT_FROM,
    OPT_TO,
    OPT_AT,
    OPT_FILTER,
    OPT_SUPPRESSIONS,
    OPT_THRESHOLD,
    OPT_CHECK,
    OPT_EXPORT,
    OPT_HTML,
    OPT_SYMBOLIZE,
    OPT_ANONYMIZE,
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
                                             {"sites", no_argument, NULL, OPT_VIEW},
                                             {"tree", no_argument, NULL, OPT_VIEW},
                                             {"invert", no_argument, NULL, OPT_VIEW},
                                             {"function", required_argument, NULL, OPT_VIEW},
                                             {"leaks", no_argument, NULL, OPT_VIEW},
                                             {"temporary", optional_argument, NULL, OPT_VIEW},
                                             {"lifetimes", no_argument, NULL, OPT_VIEW},
                                             {"growers", no_argument, NULL, OPT_VIEW},
                                             {"sizes", no_argument, NULL, OPT_VIEW},
                                             {"threads", no_argument, NULL, OPT_VIEW},
                                             {"advice", no_argument, NULL, OPT_VIEW},
                                             {"check", required_argument, NULL, OPT_CHECK},
                                             {"export", required_argument, NULL, OPT_EXPORT},
                                             {"symbolize", optional_argument, NULL, OPT_SYMBOLIZE},
                                             {"anonymize", required_argument, NULL, OPT_ANONYMIZE},
                                             {"html", required_argument, NULL, OPT_HTML},
                                             {"diff", no_argument, NULL, OPT_DIFF},
                                             {"from", required_argument, NULL, OPT_FROM},
                                             {"to", required_argument, NULL, OPT_TO},
                                             {"at", required_argument, NULL, OPT_AT},
                                             {"filter", required_argument, NULL, OPT_FILTER},
                                             {"suppressions", required_argument, NULL, OPT_SUPPRESSIONS},
                                             {"threshold", required_argument, NULL, OPT_THRESHOLD},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {NULL, 0, NULL, 0}};

static int usage(const char *subject, const char *text)
{
    char safe[256];
    format_safe(safe, sizeof safe, subject, 0);
    fprintf(stderr, "hakmem-report: %s%s%s; see hakmem-report --help\n", text, *safe != '\0' ? ": " : "",
            safe);
    return REPORT_TROUBLE;
}

/* ---- values ---- */

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

static bool parse_decimal(const char *text, char **end, double *out)
{
    *out = strtod(text, end);
    return ((*text >= '0' && *text <= '9') || *text == '.') && *end != text && *out >= 0 && *out < 1e18;
}

static bool parse_time(const char *text, uint64_t *out_ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"µs", 1e3}, {"ns", 1}, {"min", 60e9}};
    char *end;
    double value;
    if (!parse_decimal(text, &end, &value))
        return false;
    for (size_t i = 0; i < HAK_COUNT_OF(units); i++) {
        if (strcmp(end, units[i].unit) == 0 && value * units[i].ns < 1e19) {
            *out_ns = (uint64_t)(value * units[i].ns);
            return true;
        }
    }
    return false;
}

static const char *take_filter(report_options *options, const char *text)
{
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {{"function:", FILTER_FUNCTION}, {"module:", FILTER_MODULE}, {"thread:", FILTER_THREAD}};
    if (options->filters_count == REPORT_FILTERS_MAX)
        return "too many filters";
    for (size_t i = 0; i < HAK_COUNT_OF(kinds); i++) {
        size_t n = strlen(kinds[i].name);
        if (strncmp(text, kinds[i].name, n) != 0 || text[n] == '\0')
            continue;
        report_filter *filter = &options->filters[options->filters_count++];
        filter->kind = kinds[i].kind;
        filter->pattern = text + n;
        return NULL;
    }
    return "--filter takes function:NAME, module:NAME or thread:NAME";
}

static const char *take_at(report_options *options, const char *text)
{
    options->at_peak = strcmp(text, "peak") == 0;
    return options->at_peak || parse_time(text, &options->until_ns) ? NULL
                                                                    : "--at takes 'peak' or a time (1.5s)";
}

static const char *take_view(report_arguments *args, const char *name)
{
    const report_view *view = report_views;
    unsigned n = 0;
    while (strcmp(view->option, name) != 0)
        view++;
    if (strcmp(name, "function") == 0)
        args->options.function = optarg;
    if (strcmp(name, "temporary") == 0 && optarg != NULL) {
        if (!parse_number(optarg, 0, 1000000000, &n))
            return "--temporary takes a number";
        args->options.temporary = n;
    }
    for (unsigned i = 0; i < args->views_count; i++) {
        if (args->views[i] == view)
            return NULL;
    }
    args->views[args->views_count++] = view;
    return NULL;
}

static const char *take_check(report_arguments *args)
{
    if (args->checks_count == REPORT_CHECKS_MAX)
        return "too many checks";
    return report_check_parse(optarg, &args->checks[args->checks_count++]);
}

static const char *take_export(report_arguments *args)
{
    if (args->exports_count == REPORT_EXPORTS_MAX)
        return "too many exports";
    return export_parse(optarg, &args->exports[args->exports_count++]);
}

static const char *take_sort(report_options *options, const char *text)
{
    const report_order *order = report_order_named(text);
    options->order = order != NULL ? order : options->order;
    return order != NULL ? NULL : "--sort takes one of its keys";
}

static const char *take_threshold(report_options *options, const char *text)
{
    char *end;
    bool fine = parse_decimal(text, &end, &options->threshold_percent) && options->threshold_percent <= 100;
    return fine && (*end == '\0' || strcmp(end, "%") == 0) ? NULL : "--threshold takes 0 to 100";
}

static const char *take_color(report_arguments *args)
{
    args->color = optarg;
    bool known = strcmp(optarg, "auto") == 0 || strcmp(optarg, "always") == 0 || strcmp(optarg, "never") == 0;
    return known ? NULL : "--color takes auto, always or never";
}

/* What is wrong with an option's value; NULL: nothing. */
static const char *take_option(int option, const char *name, report_arguments *args)
{
    report_options *options = &args->options;
    switch (option) {
    case OPT_SORT:
        return take_sort(options, optarg);
    case OPT_TOP:
        return parse_number(optarg, 0, 100000000, &options->top) ? NULL : "--top takes a number";
    case OPT_FRAMES:
        return parse_number(optarg, 1, HAK_SITE_MAX_FRAMES, &options->frames) ? NULL
                                                                              : "--frames takes 1 to 16";
    case OPT_FROM:
        return parse_time(optarg, &options->from_ns) ? NULL : "--from takes a time (1.5s, 200ms)";
    case OPT_TO:
        args->to_given = true;
        return parse_time(optarg, &options->until_ns) ? NULL : "--to takes a time (1.5s, 200ms)";
    case OPT_AT:
        args->at_given = true;
        return take_at(options, optarg);
    case OPT_FILTER:
        return take_filter(options, optarg);
    case OPT_THRESHOLD:
        return take_threshold(options, optarg);
    case OPT_COLOR:
        return take_color(args);
    case OPT_CHECK:
        return take_check(args);
    case OPT_EXPORT:
        return take_export(args);
    case OPT_VIEW:
        return take_view(args, name);
    default:
        return "unknown option, or its value is missing";
    }
}

/* Options without a value; false: not one of them. */
static bool take_switch(int option, report_arguments *args)
{
    switch (option) {
    case OPT_WRAPPERS:
        return args->options.wrappers = true;
    case OPT_JSON:
        args->forms_count += args->form != FORM_JSON;
        args->form = FORM_JSON;
        return true;
    case OPT_CSV:
        args->forms_count += args->form != FORM_CSV;
        args->form = FORM_CSV;
        return true;
    case OPT_VERIFY:
        return args->verify = true;
    case OPT_PARTIAL:
        return args->options.partial = true;
    case OPT_DIFF:
        return args->diff = true;
    case OPT_SYMBOLIZE:
        args->symbolized = optarg;
        return args->symbolize = true;
    case OPT_ANONYMIZE:
        args->anonymized = optarg;
        return true;
    case OPT_HTML:
        args->html = optarg;
        return true;
    case OPT_SUPPRESSIONS:
        args->suppressions = optarg;
        return true;
    case OPT_VERSION:
        return args->version = true;
    case 'q':
        return args->options.quiet = true;
    case 'h':
        return args->help = true;
    default:
        return false;
    }
}

static void look_at_terminal(report_arguments *args)
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

static bool has_view(const report_arguments *args, const char *name)
{
    for (unsigned i = 0; i < args->views_count; i++) {
        if (strcmp(args->views[i]->option, name) == 0)
            return true;
    }
    return false;
}

static const char *conflict_of_diff(const report_arguments *args, int operands)
{
    if (operands != 2)
        return "--diff takes two traces, BASE and NEW";
    if (args->checks_count != 0 || args->exports_count != 0)
        return "--check and --export are for traces, not for differences";
    if (args->views_count != 0)
        return "--diff compares sites; other views of both sides are in --diff --html=FILE";
    if (args->form == FORM_CSV)
        return "--diff has --json, not --csv";
    return NULL;
}

/* Of options that mean nothing together, none is quietly left out. NULL: all is well. */
static const char *conflict_of(const report_arguments *args, int operands)
{
    bool rewrites = args->symbolize || args->anonymized != NULL;
    if (operands == 0)
        return "no trace given";
    if (args->verify && (args->views_count != 0 || args->diff || args->checks_count != 0 ||
                         args->exports_count != 0 || args->html != NULL || rewrites))
        return "--verify only reads traces; ask for a report apart from it";
    if (rewrites && (operands != 1 || args->diff))
        return "--symbolize and --anonymize take one trace";
    if (args->at_given && args->to_given)
        return "--at and --to both say where to end; give one";
    if (args->options.from_ns > args->options.until_ns)
        return "--from is later than where it ends";
    if (args->forms_count > 1)
        return "--json or --csv, not both";
    if (args->form == FORM_CSV && args->views_count > has_view(args, "sites"))
        return "--csv is the table of sites; other views are in --json";
    if (args->form == FORM_JSON && has_view(args, "function"))
        return "--function has no --json; --json --tree has all calls";
    if (args->suppressions != NULL && args->checks_count == 0 && !has_view(args, "leaks"))
        return "--suppressions is for --leaks and --check=leaked";
    return args->diff ? conflict_of_diff(args, operands) : NULL;
}

int report_parse(report_arguments *args, int argc, char **argv)
{
    *args = (report_arguments){.options = {.order = report_order_named("peak"),
                                           .top = DEFAULT_TOP,
                                           .frames = DEFAULT_FRAMES,
                                           .threshold_percent = 1,
                                           .until_ns = UINT64_MAX},
                               .color = "auto"};
    opterr = 0;
    int index = 0;
    for (int option; (option = getopt_long(argc, argv, "hq", long_options, &index)) != -1;) {
        if (take_switch(option, args))
            continue;
        const char *fault = take_option(option, long_options[index].name, args);
        if (fault != NULL)
            return usage(option == '?' ? say_option(argv) : argv[optind - 1], fault);
    }
    if (args->help || args->version)
        return REPORT_FINE;
    const char *conflict = conflict_of(args, argc - optind);
    if (conflict != NULL)
        return usage("", conflict);
    args->options.overview = args->views_count == 0;
    look_at_terminal(args);
    return REPORT_FINE;
}
