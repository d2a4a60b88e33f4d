/* import_view.c: see import_view.h. Text of the summary is ours: nothing of the file itself is printed. */
#include "cli/import_view.h"

typedef struct count_row {
    const char *name, *text;
    size_t offset;
} count_row;

static const count_row rows[] = {
#define X(field, name, text) {name, text, offsetof(hak_import_summary, field)},
    HAK_IMPORT_COUNTS(X)
#undef X
};

static unsigned long long count_of(const hak_import_summary *summary, size_t row)
{
    return *(const uint64_t *)(const void *)((const char *)summary + rows[row].offset);
}

void hak_import_print(FILE *out, const hak_import_summary *s, const char *indent)
{
    fprintf(out, "%s: %llu allocations, %llu reallocs, %llu frees by %llu threads", s->format,
            (unsigned long long)s->allocations, (unsigned long long)s->reallocs, (unsigned long long)s->frees,
            (unsigned long long)s->threads);
    if (s->threads_ended != 0)
        fprintf(out, " (%llu of them ended)", (unsigned long long)s->threads_ended);
    if (s->processes > 1)
        fprintf(out, " in %llu processes, replayed side by side", (unsigned long long)s->processes);
    fprintf(out, "; at most %llu bytes live, %llu blocks at the end\n", (unsigned long long)s->live_max_bytes,
            (unsigned long long)s->live_end_blocks);
    for (size_t i = 0; i < HAK_COUNT_OF(rows); i++)
        if (rows[i].text[0] != '\0' && count_of(s, i) != 0)
            fprintf(out, "%s%llu %s\n", indent, count_of(s, i), rows[i].text);
    if (s->first_broken != 0)
        fprintf(out, "%sthe first broken one is number %llu\n", indent, (unsigned long long)s->first_broken);
    if (s->cut_off)
        fprintf(out, "%sthe file is cut off; what was whole is used\n", indent);
    if (s->note[0] != '\0')
        fprintf(out, "%s%s\n", indent, s->note);
    if (s->limits[0] != '\0')
        fprintf(out, "%snot in such files: %s\n", indent, s->limits);
}

void hak_import_print_json(FILE *out, const hak_import_summary *s)
{
    fprintf(out, "\"format\": \"%s\"", s->format);
    for (size_t i = 0; i < HAK_COUNT_OF(rows); i++)
        fprintf(out, ", \"%s\": %llu", rows[i].name, count_of(s, i));
    fprintf(out, ", \"first_broken\": %llu, \"cut_off\": %s, \"note\": \"%s\", \"not_represented\": \"%s\"",
            (unsigned long long)s->first_broken, s->cut_off ? "true" : "false", s->note, s->limits);
}
