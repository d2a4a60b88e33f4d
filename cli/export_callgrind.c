/* export_callgrind.c: the format of callgrind, for KCachegrind and callgrind_annotate. Each node of the tree
 * is a piece of its function's costs and of the calls it makes; readers add them up. As ever in this format,
 * inclusive costs of recursive functions count each level. */
#include "cli/export.h"

#include <inttypes.h>
#include <stdlib.h>

/* Names are written out once and by number from then on. */
typedef struct names {
    uint8_t *function; /* by place */
    const report *r;
    FILE *out;
} names;

static void put_function(names *n, const char *key_file, const char *key_function, uint32_t place)
{
    char name[4096], file[4096];
    const hak_place *at = hak_places_at(n->r->places, place);
    export_name(name, sizeof name, at, "\n");
    format_safe(file, sizeof file, at->file != NULL ? at->file : "???", 0);
    fprintf(n->out, "%s=%s\n", key_file, file);
    if (n->function[place] != 0) {
        fprintf(n->out, "%s=(%" PRIu32 ")\n", key_function, place + 1);
    } else {
        fprintf(n->out, "%s=(%" PRIu32 ") %s\n", key_function, place + 1, name);
        n->function[place] = 1;
    }
}

static void put_costs(FILE *out, unsigned line, const hak_weights *weights)
{
    fprintf(out, "%u", line);
    for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++)
        fprintf(out, " %" PRIu64, weights->of[w]);
    fputc('\n', out);
}

static void put_node(names *n, uint32_t node)
{
    const hak_tree *tree = n->r->tree;
    const hak_place *place = hak_places_at(n->r->places, tree->nodes[node].place);
    hak_weights own = export_own(tree, node);
    put_function(n, "\nfl", "fn", tree->nodes[node].place);
    put_costs(n->out, place->line, &own);
    for (uint32_t at = tree->nodes[node].child; at != 0; at = tree->nodes[at].next) {
        const hak_place *callee = hak_places_at(n->r->places, tree->nodes[at].place);
        put_function(n, "cfi", "cfn", tree->nodes[at].place);
        fprintf(n->out, "calls=%" PRIu64 " %u\n", tree->sums[at].of[HAK_WEIGHT_CALLS], callee->line);
        put_costs(n->out, place->line, &tree->sums[at]);
    }
}

const char *export_callgrind(const report *r, FILE *out)
{
    char command[4096];
    names n = {calloc((size_t)hak_places_count(r->places) + 1, 1), r, out};
    if (n.function == NULL)
        return "out of memory";
    export_command(command, sizeof command, &r->traces[0]);
    fprintf(out,
            "# callgrind format\nversion: 1\ncreator: hakmem-report %s\npid: %" PRIu64
            "\ncmd: %s\npart: 1\n\n",
            HAKMEM_VERSION, hak_reader_head(r->traces[0].reader)->pid, command);
    fprintf(out, "positions: line\nevents: Bytes Calls Peak Live Temporary\nsummary:");
    for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++)
        fprintf(out, " %" PRIu64, r->tree->sums[0].of[w]);
    fputc('\n', out);
    hak_weights root = export_own(r->tree, 0);
    if (root.of[HAK_WEIGHT_CALLS] != 0) {
        fprintf(out, "\nfl=???\nfn=(0) (no call context)\n");
        put_costs(out, 0, &root);
    }
    for (uint32_t i = 1; i < r->tree->count; i++)
        put_node(&n, i);
    fprintf(out, "\ntotals:");
    for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++)
        fprintf(out, " %" PRIu64, r->tree->sums[0].of[w]);
    fputc('\n', out);
    free(n.function);
    return NULL;
}
