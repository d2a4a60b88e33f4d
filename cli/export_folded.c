/* export_folded.c: a stack a line, outermost first, and its weight: what flamegraph.pl, speedscope and the
 * Firefox Profiler read. The weight is what --sort names. */
#include "cli/export.h"

#include <inttypes.h>

const char *export_folded(const report *r, FILE *out)
{
    uint32_t stack[HAK_STACK_MAX_FRAMES];
    hak_weight weight = r->options->order->weight;
    for (uint32_t i = 0; i < r->tree->count; i++) {
        uint64_t value = export_own(r->tree, i).of[weight];
        if (value == 0)
            continue;
        uint32_t depth = hak_tree_stack(r->tree, i, stack, HAK_STACK_MAX_FRAMES);
        if (depth == 0)
            fputs("(no call context)", out);
        while (depth-- != 0) {
            char name[4096];
            export_name(name, sizeof name, hak_places_at(r->places, stack[depth]), ";\n");
            fprintf(out, "%s%s", name, depth != 0 ? ";" : "");
        }
        fprintf(out, " %" PRIu64 "\n", value);
    }
    return NULL;
}
