/* report_tree.c: the call tree from either end, and one function's callers and callees. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/report_json.h"
#include "replay/names.h"
#include "trace/grow.h"

enum { INDENT_MAX = 40, BEFORE = 6 + 11 + 2, ROWS = 12, CHILDREN_MAX = 4096 };

static hak_weight weight_of(const report *r)
{
    return r->options->order->weight;
}

static const char *format_weight(char *out, const report *r, uint64_t value)
{
    hak_weight weight = weight_of(r);
    return weight == HAK_WEIGHT_CALLS || weight == HAK_WEIGHT_TEMPORARY ? format_count(out, value)
                                                                        : format_bytes(out, value);
}

static const char *weight_title(const report *r)
{
    static const char *const titles[HAK_WEIGHT_COUNT] = {"BYTES", "CALLS", "AT PEAK", "LEFT", "TEMPORARY"};
    return titles[weight_of(r)];
}

static void print_titles(const report *r, const char *title, FILE *out)
{
    char cut[64];
    format_safe(cut, sizeof cut, title, report_room(r, BEFORE));
    fprintf(out, "\n%s SHARE", report_bold(r));
    report_cell(out, weight_title(r), 11);
    fprintf(out, "  %s%s\n", cut, report_plain(r));
}

static const char *const nothing[HAK_WEIGHT_COUNT] = {"nothing was allocated", "nothing was allocated",
                                                      "nothing was live at the peak",
                                                      "nothing was left unfreed", "nothing was temporary"};

/* ---- tree ---- */

typedef struct walk {
    const report *r;
    hak_tree *tree; /* may get nodes while it is walked */
    FILE *out;
    uint64_t least; /* weight of what is shown */
    size_t left;    /* rows; --top=0: no limit */
    bool inverted;  /* what called main is the same for all */
} walk;

static const hak_tree *sorting;
static hak_weight sorting_by;

static int by_sum(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    uint64_t wx = sorting->sums[x].of[sorting_by];
    uint64_t wy = sorting->sums[y].of[sorting_by];
    if (wx != wy)
        return wx < wy ? 1 : -1;
    return (x > y) - (x < y);
}

/* Children worth showing, heaviest first; the caller frees. */
static uint32_t *children_of(const walk *w, uint32_t node, size_t *count)
{
    size_t all = 0;
    *count = 0;
    if (!hak_tree_expand(w->tree, node))
        return NULL;
    for (uint32_t at = w->tree->nodes[node].child; at != 0; at = w->tree->nodes[at].next)
        all += w->tree->sums[at].of[weight_of(w->r)] >= w->least;
    uint32_t *list = calloc(all + 1, sizeof *list);
    if (list == NULL)
        return NULL;
    for (uint32_t at = w->tree->nodes[node].child; at != 0; at = w->tree->nodes[at].next) {
        if (w->tree->sums[at].of[weight_of(w->r)] >= w->least)
            list[(*count)++] = at;
    }
    sorting = w->tree;
    sorting_by = weight_of(w->r);
    qsort(list, *count, sizeof *list, by_sum);
    return list;
}

static void print_node(walk *w, uint32_t node, const char *indent, const char *branch)
{
    const report *r = w->r;
    char n[REPORT_NUMBER], place[2048], text[REPORT_LINE];
    uint64_t value = w->tree->sums[node].of[weight_of(r)];
    report_cell(w->out, format_share(n, value, w->tree->sums[0].of[weight_of(r)]), 6);
    report_cell(w->out, format_weight(n, r, value), 11);
    const hak_place *at = hak_places_at(r->places, w->tree->nodes[node].place);
    const char *inlined = at->inlined ? " (inlined)" : "";
    unsigned deep = (unsigned)(format_columns(indent) + format_columns(branch) + strlen(inlined));
    format_wide_place(place, sizeof place, r, at, BEFORE + deep);
    snprintf(text, sizeof text, "%s%s%s%s", indent, branch, place, inlined);
    fprintf(w->out, "  ");
    report_last(r, w->out, text, BEFORE);
}

/* Branches are indented, a lone child is not: deep stacks stay readable. A loop along lone children, a
 * recursion (no deeper than INDENT_MAX) at branches. */
static void print_below(walk *w, uint32_t node, const char *indent, unsigned depth)
{
    for (;;) {
        size_t count;
        if (w->inverted && node != 0 &&
            report_is_outermost(hak_places_at(w->r->places, w->tree->nodes[node].place)))
            return;
        uint32_t *children = children_of(w, node, &count);
        if (children == NULL || count == 0 || w->left == 0) {
            free(children);
            return;
        }
        bool lone = count == 1;
        for (size_t i = 0; i < count && w->left != 0; i++, w->left--) {
            bool last = i + 1 == count;
            char deeper[INDENT_MAX * 8];
            print_node(w, children[i], indent, lone ? "" : last ? "└ " : "├ ");
            snprintf(deeper, sizeof deeper, "%s%s", indent, lone ? "" : last ? "  " : "│ ");
            if (!lone && depth < INDENT_MAX)
                print_below(w, children[i], deeper, depth + 1);
        }
        node = children[0];
        free(children);
        if (!lone)
            return;
    }
}

static void print_tree(const report *r, hak_tree *tree, const char *title, FILE *out)
{
    enum { UNLIMITED = 1000000 };
    uint64_t all = tree->sums[0].of[weight_of(r)];
    if (all == 0) {
        report_nothing(r, out, nothing[weight_of(r)]);
        return;
    }
    walk w = {.r = r,
              .tree = tree,
              .out = out,
              .left = r->options->top != 0 ? r->options->top * 5 : UNLIMITED,
              .inverted = tree == r->inverted};
    w.least = (uint64_t)((double)all * r->options->threshold_percent / 100);
    w.least = w.least == 0 ? 1 : w.least;
    print_titles(r, title, out);
    print_below(&w, 0, "", 0);
    if (w.left == 0)
        fprintf(out, "%s  more branches (--top=0 shows all from --threshold on)%s\n", report_dim(r),
                report_plain(r));
}

/* Nodes by number, the root first and each behind its parent; branches below the threshold are left out. */
void report_tree_json(const report *r, hak_tree *tree, const char *name, FILE *out)
{
    static const char *const weights[HAK_WEIGHT_COUNT] = {"bytes", "calls", "at_peak_bytes", "live_bytes",
                                                          "temporary"};
    uint32_t *number = NULL;
    size_t room = 0;
    uint32_t count = 0;
    double least = (double)tree->sums[0].of[weight_of(r)] * r->options->threshold_percent / 100;
    fprintf(out, ",\n\"%s\":[", name);
    for (uint32_t i = 0; i < tree->count && HAK_GROW(&number, &room, (size_t)i + 1); i++) {
        const hak_tree_node *node = &tree->nodes[i];
        if (i != 0 && (tree->sums[i].of[weight_of(r)] == 0 || (double)tree->sums[i].of[weight_of(r)] < least))
            continue;
        if (i == 0)
            fputs("\n{\"parent\":null", out);
        else
            fprintf(out, ",\n{\"parent\":%" PRIu32 ",", number[node->parent]);
        if (i != 0)
            json_place(out, hak_places_at(r->places, node->place));
        for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++)
            json_number(out, weights[w], tree->sums[i].of[w]);
        fputc('}', out);
        number[i] = count++;
        if (!hak_tree_expand(tree, i))
            break;
    }
    fputc(']', out);
    free(number);
}

void report_tree(const report *r, FILE *out)
{
    print_tree(r, r->tree, "CALL TREE", out);
}

void report_inverted(const report *r, FILE *out)
{
    print_tree(r, r->inverted, "ALLOCATED IN, CALLED FROM", out);
}

/* ---- one function ---- */

/* Weights by place. */
typedef struct table {
    uint64_t *of; /* by place */
    uint32_t *used;
    size_t count;
} table;

static const table *sorting_table;

static int by_value(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a;
    uint32_t k = *(const uint32_t *)b;
    uint64_t x = sorting_table->of[i];
    uint64_t y = sorting_table->of[k];
    if (x != y)
        return x < y ? 1 : -1;
    return (i > k) - (i < k);
}

static void add_to(table *t, uint32_t place, uint64_t value)
{
    if (value != 0 && t->of[place] == 0)
        t->used[t->count++] = place;
    t->of[place] += value;
}

static bool table_new(table *t, size_t places)
{
    *t = (table){calloc(places + 1, sizeof *t->of), calloc(places + 1, sizeof *t->used), 0};
    return t->of != NULL && t->used != NULL;
}

static void print_table(const report *r, table *t, uint64_t whole, const char *title, FILE *out)
{
    sorting_table = t;
    qsort(t->used, t->count, sizeof *t->used, by_value);
    print_titles(r, title, out);
    size_t shown = r->options->top != 0 && t->count > ROWS ? ROWS : t->count;
    for (size_t i = 0; i < shown; i++) {
        char n[REPORT_NUMBER], place[2048];
        report_cell(out, format_share(n, t->of[t->used[i]], whole), 6);
        report_cell(out, format_weight(n, r, t->of[t->used[i]]), 11);
        format_wide_place(place, sizeof place, r, hak_places_at(r->places, t->used[i]), BEFORE);
        fprintf(out, "  ");
        report_last(r, out, place, BEFORE);
    }
    report_more(r, out, t->count - shown, "places");
}

/* Recursion counts once: what is inside an outer call of the function is in its sum already. */
static uint64_t gather(const report *r, const uint8_t *means, uint8_t *inside, table *callers, table *callees)
{
    const hak_tree *tree = r->tree;
    hak_weight weight = weight_of(r);
    uint64_t whole = 0;
    for (uint32_t i = 1; i < tree->count; i++) {
        const hak_tree_node *node = &tree->nodes[i];
        bool is = means[node->place] != 0;
        uint64_t value = tree->sums[i].of[weight];
        if (is && inside[node->parent] == 0) {
            whole += value;
            if (node->parent != 0)
                add_to(callers, tree->nodes[node->parent].place, value);
        }
        inside[i] = is || inside[node->parent] != 0;
        if (!is && node->parent != 0 && means[tree->nodes[node->parent].place] != 0)
            add_to(callees, node->place, value);
        if (is && node->usage != HAK_TREE_NO_USAGE) {
            hak_weights own = hak_weights_of(tree->usages[node->usage]);
            add_to(callees, node->place, own.of[weight]);
        }
    }
    return whole;
}

void report_function(const report *r, FILE *out)
{
    uint32_t places = hak_places_count(r->places);
    uint8_t *means = calloc((size_t)places + 1, 1);
    uint8_t *inside = calloc((size_t)r->tree->count + 1, 1);
    table callers = {.count = 0};
    table callees = {.count = 0};
    bool fine = means != NULL && inside != NULL && table_new(&callers, places) && table_new(&callees, places);
    size_t found = 0;
    for (uint32_t i = 0; fine && i < places; i++) {
        const char *name = hak_places_at(r->places, i)->function;
        means[i] = name != NULL && hak_name_matches(r->options->function, name);
        found += means[i];
    }
    char n[REPORT_NUMBER], share[REPORT_NUMBER], name[256];
    format_safe(name, sizeof name, r->options->function, 80);
    if (fine && found == 0) {
        fprintf(out, "\nNo function '%s' in the stacks of what was allocated.\n", name);
    } else if (fine) {
        uint64_t whole = gather(r, means, inside, &callers, &callees);
        uint64_t all = r->tree->sums[0].of[weight_of(r)];
        fprintf(out, "\n%s%s%s  %s (%s), with all it calls\n", report_bold(r), name, report_plain(r),
                format_weight(n, r, whole), format_share(share, whole, all));
        print_table(r, &callers, whole, "CALLED FROM", out);
        print_table(r, &callees, whole, "ALLOCATES ITSELF, OR CALLS", out);
    }
    free(means);
    free(inside);
    free(callers.of);
    free(callers.used);
    free(callees.of);
    free(callees.used);
}
