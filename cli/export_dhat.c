/* export_dhat.c: valgrind's DHAT, version 2, for its dh_view.html and the Firefox Profiler. Times are in
 * microseconds. */
#include "cli/export.h"

#include <inttypes.h>

#include "cli/report_json.h"

enum { US_NS = 1000 };

static void put_point(const report *r, const hak_usage *u, uint32_t node, FILE *out)
{
    uint32_t stack[HAK_STACK_MAX_FRAMES];
    fprintf(out, "{\"tb\":%" PRIu64 ",\"tbk\":%" PRIu64 ",\"tl\":%" PRIu64, u->bytes, u->calls,
            u->life_ns / US_NS);
    json_number(out, "mb", u->max_bytes);
    json_number(out, "mbk", u->max_blocks);
    json_number(out, "gb", u->at_peak_bytes);
    json_number(out, "gbk", u->at_peak_blocks);
    json_number(out, "eb", u->live_bytes);
    json_number(out, "ebk", u->live_blocks);
    fputs(",\"fs\":[", out);
    uint32_t depth = hak_tree_stack(r->tree, node, stack, HAK_STACK_MAX_FRAMES);
    if (depth == 0)
        fputc('1', out);
    for (uint32_t i = 0; i < depth; i++)
        fprintf(out, "%s%" PRIu32, i == 0 ? "" : ",", stack[i] + 2);
    fputs("]}", out);
}

static void put_frames(const report *r, FILE *out)
{
    uint32_t count = hak_places_count(r->places);
    fputs("\"ftbl\":[\"[root]\",\"0x0: (no call context)\"", out);
    for (uint32_t i = 0; i < count; i++) {
        char name[4096], text[8192];
        const hak_place *place = hak_places_at(r->places, i);
        export_name(name, sizeof name, place, "");
        if (place->file != NULL && place->line != 0)
            snprintf(text, sizeof text, "0x%" PRIX64 ": %s (%s:%u)", place->offset, name, place->file,
                     place->line);
        else
            snprintf(text, sizeof text, "0x%" PRIX64 ": %s (in %s)", place->offset, name, place->module);
        fputs(",\n", out);
        json_string(out, text);
    }
    fputs("]", out);
}

const char *export_dhat(const report *r, FILE *out)
{
    char command[4096];
    uint64_t end_ns = 0;
    for (size_t i = 0; i < r->traces_count; i++)
        end_ns = r->traces[i].profile->duration_ns > end_ns ? r->traces[i].profile->duration_ns : end_ns;
    export_command(command, sizeof command, &r->traces[0]);
    fputs("{\"dhatFileVersion\":2,\"mode\":\"heap\",\"verb\":\"Allocated\",\"bklt\":true,\"bkacc\":false,\n"
          "\"tu\":\"\\u00b5s\",\"Mtu\":\"s\",\"tuth\":10,\n\"cmd\":",
          out);
    json_string(out, command);
    json_number(out, "pid", hak_reader_head(r->traces[0].reader)->pid);
    json_number(out, "te", end_ns / US_NS);
    json_number(out, "tg", r->traces[0].profile->peak_ns / US_NS);
    fputs(",\n\"pps\":[", out);
    bool first = true;
    for (uint32_t i = 0; i < r->tree->count; i++) {
        uint32_t number = r->tree->nodes[i].usage;
        if (number == HAK_TREE_NO_USAGE || r->tree->usages[number]->calls == 0)
            continue;
        fputs(first ? "\n" : ",\n", out);
        first = false;
        put_point(r, r->tree->usages[number], i, out);
    }
    fputs("],\n", out);
    put_frames(r, out);
    fputs("}\n", out);
    return NULL;
}
