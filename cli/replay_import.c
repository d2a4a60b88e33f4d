/* replay_import.c: hakmem-replay import: a recording made by another tool becomes a trace. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/import_view.h"
#include "cli/replay_verbs.h"
#include "cli/say.h"
#include "cli/text.h"

enum { OPTION_FORMAT = 256, OPTION_PARTIAL, OPTION_JSON };

typedef struct settings {
    const char *output, *format;
    unsigned flags;
    bool force, quiet, json;
} settings;

static void print_help(void)
{
    fputs("Examples:\n"
          "  hakmem-replay import systemui.zip                    writes systemui.trace.gz\n"
          "  hakmem-replay import -o app.trace.gz heaptrack.app.4711.zst\n"
          "  hakmem-replay import --format=rep --partial cut.rep\n"
          "\n"
          "Usage: hakmem-replay import [OPTIONS] FILE\n"
          "Turns a recording that another tool made into a trace.\n"
          "\n"
          "Options:\n"
          "  -o FILE           the trace to write (default: the file's name with .trace.gz, in this folder)\n"
          "  -f                replace an existing one\n"
          "  --format=NAME     of the recording (default: told from its contents)\n"
          "  --partial         leave out what is broken, instead of stopping there\n"
          "  --json            the summary as JSON\n"
          "  -q, --quiet       no summary\n"
          "\n"
          "Formats:\n",
          stdout);
    for (size_t i = 0; i < hak_import_format_count(); i++)
        printf("  %-12s %s\n", hak_import_format_at(i)->name, hak_import_format_at(i)->what);
}

/* "systemui.trace.gz" for "/some/where/systemui.zip". */
static void default_output(const char *from, char *to, size_t to_bytes)
{
    static const char *const endings[] = {".gz",  ".zst", ".xz",    ".zip",    ".txt", ".rep", ".ops",
                                          ".csv", ".log", ".trace", ".script", ".bz2", ".wl"};
    const char *base = base_name(from);
    size_t len = strlen(base);
    for (bool cut = true; cut;) {
        cut = false;
        for (size_t i = 0; i < HAK_COUNT_OF(endings); i++) {
            size_t ending = strlen(endings[i]);
            if (len > ending && memcmp(base + len - ending, endings[i], ending) == 0) {
                len -= ending;
                cut = true;
            }
        }
    }
    snprintf(to, to_bytes, "%.*s.trace.gz", (int)len, base);
}

/* -1: go on; else the exit status. */
static int options_parse(settings *s, int argc, char **argv)
{
    static const struct option longs[] = {{"format", required_argument, NULL, OPTION_FORMAT},
                                          {"partial", no_argument, NULL, OPTION_PARTIAL},
                                          {"json", no_argument, NULL, OPTION_JSON},
                                          {"output", required_argument, NULL, 'o'},
                                          {"force", no_argument, NULL, 'f'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    opterr = 0;
    optind = 1;
    for (int id; (id = getopt_long(argc, argv, "o:fqh", longs, NULL)) != -1;) {
        switch (id) {
        case 'o':
            s->output = optarg;
            break;
        case 'f':
            s->force = true;
            break;
        case 'q':
            s->quiet = true;
            break;
        case OPTION_FORMAT:
            s->format = optarg;
            break;
        case OPTION_PARTIAL:
            s->flags |= HAK_READER_PARTIAL;
            break;
        case OPTION_JSON:
            s->json = true;
            break;
        case 'h':
            print_help();
            return say_flushed() ? 0 : EXIT_TROUBLE;
        default:
            return hak_replay_trouble(
                say_option(argv),
                "unknown option, or one that wants a value; see hakmem-replay import --help");
        }
    }
    if (optind + 1 != argc)
        return hak_replay_trouble(NULL, "import takes one file; see hakmem-replay import --help");
    return -1;
}

int hak_replay_verb_import(int argc, char **argv)
{
    settings s = {.flags = 0};
    char named[4096];
    int status = options_parse(&s, argc, argv);
    if (status >= 0)
        return status;
    const char *from = argv[optind];
    if (s.format == NULL && access(from, R_OK) == 0 && hak_import_is_trace(from))
        return hak_replay_trouble(from, "is a trace already");
    if (s.output == NULL) {
        default_output(from, named, sizeof named);
        s.output = named;
    }
    const hak_writer_options options = {.background = true, .force = s.force};
    hak_import_summary summary;
    hak_trace_error error;
    if (hak_import_file(from, s.output, s.format, s.flags, &options, &summary, &error) != 0)
        return hak_replay_trouble(from, error.text);
    if (s.json) {
        fputs("{\"schema\": 1, ", stdout);
        hak_import_print_json(stdout, &summary);
        fputs("}\n", stdout);
    } else if (!s.quiet) {
        hak_import_print(stdout, &summary, "  ");
    }
    return say_flushed() ? 0 : EXIT_TROUBLE;
}
