/* hakmem-policy.c: reads, compares, checks and converts policies: a table of verbs. See hakmem-policy(1). */
#include <stdio.h>
#include <string.h>

#include "cli/policy_verbs.h"
#include "cli/say.h"
#include "cli/text.h"

#define HELP_COLUMN 31

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
    const char *help;
} verbs[] = {
    {"show", hak_verb_show, "show [--json] [--top=N] [--site=F] FILE",
     "what the policy decides, heaviest sites first"},
    {"explain", hak_verb_explain, "explain FILE SITE", "one site: its callers, decision and evidence"},
    {"overlap", hak_verb_overlap, "overlap A B", "how many sites both decide on, and how many otherwise"},
    {"ablate", hak_verb_ablate, "ablate [--without=FAMILY -o OUT] FILE",
     "the families it holds; or a copy without one, to replay beside it"},
    {"canary", hak_verb_canary, "canary --records=R [-o OUT] FILE",
     "promotes or retires by what processes reported; exit status 1: undecided"},
    {"diff", hak_verb_diff, "diff OLD NEW", "decisions that differ; exit status 1 when there are any"},
    {"merge", hak_verb_merge, "merge -o OUT [--weight=W,]FILE...",
     "what policies of one program agree on, state learn"},
    {"validate", hak_verb_validate, "validate [--binary=B] FILE",
     "whether the allocator would take it, for this build"},
    {"remap", hak_verb_remap, "remap --binary=NEW [--from=OLD] -o OUT FILE",
     "the sites in another build, where their functions are the same; exit status 1: not all"},
    {"lint", hak_verb_lint, "lint FILE",
     "what a reviewer should look at; exit status 1 when there is anything"},
    {"compile", hak_verb_compile, "compile -o OUT FILE", "text to the form that programs load"},
    {"decompile", hak_verb_decompile, "decompile [-o OUT] FILE", "compiled form to canonical text"},
    {"state", hak_verb_state, "state -o OUT STATE FILE", "a copy in state learn, frozen, canary or retired"},
};

static void print_help(void)
{
    fputs("Examples:\n"
          "  hakmem-policy show app.policy\n"
          "  hakmem-policy explain app.policy libc.so.6+0x9a1b2\n"
          "  hakmem-policy diff old.policy new.policy\n"
          "  hakmem-policy decompile app.policy > app.txt; hakmem-policy compile -o app.policy app.txt\n"
          "\n"
          "Usage: hakmem-policy VERB [OPTIONS] FILE...\n"
          "A policy is read in either form, compiled or text.\n"
          "\n"
          "Verbs:\n",
          stdout);
    for (size_t i = 0; i < HAK_COUNT_OF(verbs); i++)
        put_row(stdout, verbs[i].usage, HELP_COLUMN, verbs[i].help);
    fputs("\n  -h, --help     this text\n"
          "  --version      version\n"
          "\nExit status: 0; 1 differences or findings; 2 trouble.\n",
          stdout);
}

static int run_verb(int argc, char **argv)
{
    for (size_t i = 0; i < HAK_COUNT_OF(verbs); i++)
        if (strcmp(verbs[i].name, argv[0]) == 0) {
            int status = verbs[i].run(argc, argv);
            return say_flushed() ? status : EXIT_TROUBLE;
        }
    return hak_policy_trouble(argv[0], "no such verb; see " HAK_POLICY_TOOL " --help");
}

/* In front of the verb or behind it. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return strcmp(argv[1], "help") == 0;
}

int main(int argc, char **argv)
{
    say_as(HAK_POLICY_TOOL);
    if (argc < 2)
        return hak_policy_trouble(NULL, "no verb given; see " HAK_POLICY_TOOL " --help");
    if (wants_help(argc, argv)) {
        print_help();
        return say_flushed() ? 0 : EXIT_TROUBLE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf(HAK_POLICY_TOOL " " HAKMEM_VERSION "\nfeatures: policies of format %d, as text and compiled\n",
               HAK_POLICY_VERSION);
        return say_flushed() ? 0 : EXIT_TROUBLE;
    }
    return run_verb(argc - 1, argv + 1);
}
