/* best.c: see best.h. Memory counts in HAK_BEST_BOTH with what the allocator took to start and with a MiB
 * that any program has: else a target that saves 100 KiB of 200 would win over one that saves half the time.
 */
#include "replay/best.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ANY_PROGRAM_BYTES ((double)(1 << 20))
#define ROWS_MAX          64u /* bits of hak_best.ties */

static const char *const modes[] = {"hakmem:balanced", "hakmem:fast", "hakmem:minimal"}; /* default first */

static double time_of(const hak_measure *m, double unused)
{
    (void)unused;
    return m->ns_per_op;
}

static double rss_of(const hak_measure *m, double unused)
{
    (void)unused;
    return (double)m->peak_rss_bytes;
}

static double both_of(const hak_measure *m, double least_start_bytes)
{
    double memory = (double)m->peak_rss_bytes + fmax((double)m->start_rss_bytes - least_start_bytes, 0);
    return sqrt(m->ns_per_op * (memory + ANY_PROGRAM_BYTES));
}

static const hak_figure figures[HAK_BEST_COUNT] = {
    [HAK_BEST_TIME] = time_of, [HAK_BEST_RSS] = rss_of, [HAK_BEST_BOTH] = both_of, [HAK_BEST_MODE] = both_of};

static bool is_mode(const hak_compare_row *row)
{
    for (size_t i = 0; i < HAK_COUNT_OF(modes); i++)
        if (strcmp(row->target.name, modes[i]) == 0)
            return true;
    return false;
}

static bool may_win(const hak_compare_row *row)
{
    static const char again[] = " again";
    size_t len = strlen(row->target.name), mark = sizeof again - 1;
    return row->runs != 0 && row->problem[0] == '\0' && !row->target.null &&
           strncmp(row->target.name, "hakmem:learning", 15) != 0 &&
           strncmp(row->target.name, "hakmem:research", 15) != 0 &&
           (len < mark || strcmp(row->target.name + len - mark, again) != 0);
}

typedef struct search {
    const hak_compare *compare;
    uint64_t seed;
    double least_start_bytes;
    double *scratch; /* as hak_compare_ratio */
} search;

static hak_ratio ratio_of(const search *s, size_t row, size_t base, hak_figure figure)
{
    return hak_compare_ratio(&s->compare->rows[row], &s->compare->rows[base], figure, s->least_start_bytes,
                             s->seed, s->scratch);
}

static void find(const search *s, hak_figure figure, bool modes_only, hak_best *best)
{
    size_t count = s->compare->row_count < ROWS_MAX ? s->compare->row_count : ROWS_MAX;
    for (size_t i = 0; i < count; i++) {
        const hak_compare_row *row = &s->compare->rows[i];
        if (!may_win(row) || (modes_only && !is_mode(row)))
            continue;
        if (!best->found || ratio_of(s, i, best->row, figure).ratio < 1)
            best->row = i;
        best->found = true;
    }
    size_t others = 0;
    best->known = best->found;
    for (size_t i = 0; i < count && best->found; i++) {
        const hak_compare_row *row = &s->compare->rows[i];
        if (i == best->row || !may_win(row) || (modes_only && !is_mode(row)))
            continue;
        hak_ratio ratio = ratio_of(s, i, best->row, figure);
        best->known &= ratio.known;
        others++;
        if (!hak_ratio_significant(&ratio))
            best->ties |= (uint64_t)1 << i;
    }
    best->known &= others != 0;
}

/* The default is kept unless another mode is better beyond noise. */
static void prefer_default(const search *s, hak_figure figure, hak_best *best)
{
    for (size_t i = 0; i < s->compare->row_count && i < ROWS_MAX; i++)
        if (strcmp(s->compare->rows[i].target.name, modes[0]) == 0) {
            if (best->ties >> i & 1) {
                best->ties ^= (uint64_t)1 << i | (uint64_t)1 << best->row;
                best->row = i;
            }
            best->ratio = ratio_of(s, best->row, i, figure);
            return;
        }
}

int hak_best_find(const hak_compare *compare, size_t baseline, bool with_rss, uint64_t seed,
                  hak_best best[HAK_BEST_COUNT])
{
    search s = {.compare = compare, .seed = seed, .least_start_bytes = INFINITY};
    uint32_t rounds = 1;
    memset(best, 0, HAK_BEST_COUNT * sizeof *best);
    for (size_t i = 0; i < compare->row_count; i++) {
        const hak_compare_row *row = &compare->rows[i];
        rounds = row->runs > rounds ? row->runs : rounds;
        if (row->runs != 0)
            s.least_start_bytes = fmin(s.least_start_bytes, (double)row->median.start_rss_bytes);
    }
    s.scratch = calloc(2 * (size_t)rounds, sizeof *s.scratch);
    if (s.scratch == NULL)
        return -1;
    for (int by = 0; by < HAK_BEST_COUNT; by++) {
        hak_figure figure = with_rss ? figures[by] : time_of;
        if (!with_rss && (by == HAK_BEST_RSS || by == HAK_BEST_BOTH))
            continue;
        find(&s, figure, by == HAK_BEST_MODE, &best[by]);
        if (!best[by].found)
            continue;
        if (by == HAK_BEST_MODE)
            prefer_default(&s, figure, &best[by]);
        else
            best[by].ratio = ratio_of(&s, best[by].row, baseline, figure);
    }
    free(s.scratch);
    return 0;
}
