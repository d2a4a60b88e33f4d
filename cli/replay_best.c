/* replay_best.c: what a comparison comes to: the targets that serve the trace best, and which mode to set. */
#include <string.h>

#include "cli/replay_view.h"
#include "cli/text.h"
#include "replay/best.h"

enum { NAME_COLUMNS = 24 };

static const char *const words[HAK_BEST_COUNT] = {"least time", "least memory", "both together",
                                                  "HAKMEM_MODE"};

static bool find(const hak_replayed *replayed, const hak_replay_setup *setup, hak_best best[HAK_BEST_COUNT])
{
    return hak_best_find(&replayed->compare, replayed->baseline, strcmp(setup->touch, "none") != 0,
                         setup->seed, best) == 0;
}

static const char *name_at(const hak_replayed *replayed, size_t row)
{
    return replayed->compare.rows[row].target.name;
}

/* "  as good: mimalloc, hakmem:fast" */
static void put_ties(FILE *out, const hak_replayed *replayed, const hak_best *best)
{
    bool any = false;
    for (size_t i = 0; i < replayed->compare.row_count && i < 64; i++) {
        if (!(best->ties >> i & 1))
            continue;
        fputs(any ? ", " : "  as good: ", out);
        put_safe(out, name_at(replayed, i));
        any = true;
    }
}

static void put_mode(FILE *out, const hak_replayed *replayed, const hak_best *best, bool with_rss)
{
    const char *mode = name_at(replayed, best->row) + strlen("hakmem:");
    if (strcmp(mode, "balanced") == 0)
        fprintf(out, "%-*s        the default: no other mode is better", NAME_COLUMNS, mode);
    else if (best->ratio.known)
        fprintf(out, "%-*s        %.2f of balanced's %s", NAME_COLUMNS, mode, best->ratio.ratio,
                with_rss ? "time and memory together" : "time");
    else
        fputs(mode, out);
}

void hak_replay_print_best(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup)
{
    hak_best best[HAK_BEST_COUNT];
    bool any = false;
    if (!find(replayed, setup, best))
        return;
    for (int by = 0; by < HAK_BEST_COUNT; by++) {
        if (!best[by].found || !best[by].known)
            continue;
        if (!any)
            fprintf(out, "\n%-16s  %-*s  vs %.14s\n", "BEST HERE", NAME_COLUMNS, "TARGET",
                    name_at(replayed, replayed->baseline));
        any = true;
        fprintf(out, "%-16s  ", words[by]);
        if (by == HAK_BEST_MODE) {
            put_mode(out, replayed, &best[by], best[HAK_BEST_BOTH].found);
        } else {
            put_safe(out, name_at(replayed, best[by].row));
            int used = (int)strlen(name_at(replayed, best[by].row));
            fprintf(out, "%*s  %.2f", used < NAME_COLUMNS ? NAME_COLUMNS - used : 0, "",
                    best[by].ratio.ratio);
            put_ties(out, replayed, &best[by]);
        }
        putc('\n', out);
    }
}

void hak_replay_json_best(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup)
{
    static const char *const keys[HAK_BEST_COUNT] = {"time", "rss", "both", "mode"};
    hak_best best[HAK_BEST_COUNT];
    bool any = false;
    fputs("\"best\": {", out);
    for (int by = 0; find(replayed, setup, best) && by < HAK_BEST_COUNT; by++) {
        if (!best[by].found || !best[by].known)
            continue;
        fprintf(out, "%s\"%s\": {\"name\": ", any ? ", " : "", keys[by]);
        json_string(out, name_at(replayed, best[by].row));
        fprintf(out, ", \"ratio\": %.4f, \"as_good\": [", best[by].ratio.ratio);
        bool tie = false;
        for (size_t i = 0; i < replayed->compare.row_count && i < 64; i++)
            if (best[by].ties >> i & 1) {
                fputs(tie ? ", " : "", out);
                json_string(out, name_at(replayed, i));
                tie = true;
            }
        fputs("]}", out);
        any = true;
    }
    fputs("}, ", out);
}
