/* export_speedscope.c: speedscope's JSON, one profile per figure. Its schema is in the npm package. */
#include "cli/export.h"

#include <inttypes.h>

#include "cli/report_json.h"

static void put_frames(const report *r, FILE *out)
{
    uint32_t count = hak_places_count(r->places);
    fputs("\"shared\":{\"frames\":[{\"name\":\"(no call context)\"}", out);
    for (uint32_t i = 0; i < count; i++) {
        char name[4096];
        const hak_place *place = hak_places_at(r->places, i);
        export_name(name, sizeof name, place, "");
        fputs(",\n{\"name\":", out);
        json_string(out, name);
        if (place->file != NULL && place->line != 0) {
            fputs(",\"file\":", out);
            json_string(out, place->file);
            json_number(out, "line", place->line);
        }
        fputc('}', out);
    }
    fputs("]}", out);
}

static void put_samples(const report *r, hak_weight weight, FILE *out)
{
    uint32_t stack[HAK_STACK_MAX_FRAMES];
    bool first = true;
    fputs("\"samples\":[", out);
    for (uint32_t i = 0; i < r->tree->count; i++) {
        if (export_own(r->tree, i).of[weight] == 0)
            continue;
        uint32_t depth = hak_tree_stack(r->tree, i, stack, HAK_STACK_MAX_FRAMES);
        fputs(first ? "[" : ",\n[", out);
        first = false;
        if (depth == 0)
            fputc('0', out);
        while (depth-- != 0)
            fprintf(out, "%" PRIu32 "%s", stack[depth] + 1, depth != 0 ? "," : "");
        fputc(']', out);
    }
    fputs("],\"weights\":[", out);
    first = true;
    for (uint32_t i = 0; i < r->tree->count; i++) {
        uint64_t value = export_own(r->tree, i).of[weight];
        if (value != 0)
            fprintf(out, "%s%" PRIu64, first ? "" : ",", value);
        first = first && value == 0;
    }
    fputs("]", out);
}

const char *export_speedscope(const report *r, FILE *out)
{
    fputs("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n", out);
    fputs("\"exporter\":\"hakmem-report " HAKMEM_VERSION "\",\"activeProfileIndex\":0,\n", out);
    put_frames(r, out);
    fputs(",\n\"profiles\":[", out);
    for (unsigned w = 0; w < HAK_WEIGHT_COUNT; w++) {
        bool calls = w == HAK_WEIGHT_CALLS || w == HAK_WEIGHT_TEMPORARY;
        fprintf(
            out,
            "%s{\"type\":\"sampled\",\"name\":\"%s\",\"unit\":\"%s\",\"startValue\":0,\"endValue\":%" PRIu64
            ",\n",
            w == 0 ? "\n" : ",\n", export_weight_names[w], calls ? "none" : "bytes", r->tree->sums[0].of[w]);
        put_samples(r, (hak_weight)w, out);
        fputc('}', out);
    }
    fputs("]}\n", out);
    return NULL;
}
