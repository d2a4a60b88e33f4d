/* export_massif.c: valgrind's massif, for ms_print and massif-visualizer: the heap over time, and what it was
 * made of at its peak. */
#include "cli/export.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SNAPSHOTS = 100, MS_NS = 1000000, DEPTH_MAX = 200 };

static void put_snapshot(FILE *out, unsigned *number, uint64_t time_ns, uint64_t bytes, const char *tree)
{
    fprintf(out,
            "#-----------\nsnapshot=%u\n#-----------\ntime=%" PRIu64 "\nmem_heap_B=%" PRIu64
            "\nmem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=%s\n",
            (*number)++, time_ns / MS_NS, bytes, tree);
}

static const hak_tree *sorting;

static int by_peak(const void *a, const void *b)
{
    uint64_t x = sorting->sums[*(const uint32_t *)a].of[HAK_WEIGHT_PEAK];
    uint64_t y = sorting->sums[*(const uint32_t *)b].of[HAK_WEIGHT_PEAK];
    return (x < y) - (x > y);
}

/* Children worth an own line, heaviest first; what is below goes into one line. The caller frees. */
static uint32_t *children_of(hak_tree *tree, uint32_t node, uint64_t least, size_t *count, uint64_t *rest,
                             size_t *rest_count)
{
    size_t all = 0;
    bool fine = hak_tree_expand(tree, node);
    for (uint32_t at = tree->nodes[node].child; at != 0; at = tree->nodes[at].next)
        all++;
    uint32_t *list = fine ? calloc(all + 1, sizeof *list) : NULL;
    *count = *rest_count = 0;
    *rest = 0;
    for (uint32_t at = tree->nodes[node].child; list != NULL && at != 0; at = tree->nodes[at].next) {
        uint64_t bytes = tree->sums[at].of[HAK_WEIGHT_PEAK];
        if (bytes >= least) {
            list[(*count)++] = at;
        } else if (bytes != 0) {
            *rest += bytes;
            (*rest_count)++;
        }
    }
    sorting = tree;
    if (list != NULL)
        qsort(list, *count, sizeof *list, by_peak);
    return list;
}

static void put_label(const report *r, uint32_t node, FILE *out)
{
    char name[4096];
    if (node == 0) {
        fprintf(out, "(heap allocation functions) malloc/new/new[], --alloc-fns, etc.\n");
        return;
    }
    const hak_place *place = hak_places_at(r->places, r->inverted->nodes[node].place);
    export_name(name, sizeof name, place, "\n");
    fprintf(out, "0x%" PRIX64 ": %s ", place->offset, name);
    if (place->file != NULL && place->line != 0)
        fprintf(out, "(%s:%u)\n", place->file, place->line);
    else
        fprintf(out, "(in %s)\n", place->module);
}

static void put_tree(const report *r, uint32_t node, unsigned depth, uint64_t least, FILE *out)
{
    size_t count, rest_count;
    uint64_t rest;
    uint32_t *children = children_of(r->inverted, node, least, &count, &rest, &rest_count);
    if (children == NULL || depth == DEPTH_MAX)
        count = rest_count = 0;
    fprintf(out, "%*sn%zu: %" PRIu64 " ", (int)depth, "", count + (rest_count != 0),
            r->inverted->sums[node].of[HAK_WEIGHT_PEAK]);
    put_label(r, node, out);
    for (size_t i = 0; i < count; i++)
        put_tree(r, children[i], depth + 1, least, out);
    if (rest_count != 0)
        fprintf(out, "%*sn0: %" PRIu64 " in %zu place%s, below massif's threshold (%.2f%%)\n", (int)depth + 1,
                "", rest, rest_count, rest_count == 1 ? "" : "s", r->options->threshold_percent);
    free(children);
}

const char *export_massif(const report *r, FILE *out)
{
    const hak_profile *p = r->traces[0].profile;
    char command[4096];
    unsigned number = 0;
    uint32_t step = p->timeline_count / SNAPSHOTS + 1;
    bool peak_done = false;
    export_command(command, sizeof command, &r->traces[0]);
    fprintf(out, "desc: hakmem-report %s\ncmd: %s\ntime_unit: ms\n", HAKMEM_VERSION, command);
    put_snapshot(out, &number, 0, 0, "empty");
    for (uint32_t i = 0; i < p->timeline_count; i += step) {
        uint64_t bytes = 0;
        uint64_t time_ns = 0;
        for (uint32_t k = i; k < i + step && k < p->timeline_count; k++) {
            bytes = p->timeline[k].live_max_bytes > bytes ? p->timeline[k].live_max_bytes : bytes;
            time_ns = p->timeline[k].time_ns;
        }
        if (!peak_done && time_ns >= p->peak_ns) {
            uint64_t least = (uint64_t)((double)p->peak_bytes * r->options->threshold_percent / 100);
            put_snapshot(out, &number, p->peak_ns, p->peak_bytes, "peak");
            put_tree(r, 0, 0, least == 0 ? 1 : least, out);
            peak_done = true;
            continue; /* stands for its stretch of time */
        }
        put_snapshot(out, &number, time_ns, bytes, "empty");
    }
    put_snapshot(out, &number, p->duration_ns, p->live_bytes, "empty");
    return NULL;
}
