/* trace_summary.c: see trace_summary.h. */
#include "cli/trace_summary.h"

#include <stdio.h>
#include <string.h>

#include "cli/say.h"
#include "cli/text.h"
#include "trace/trace_format.h"

/* What is lacking is said at once, for each trace. */
static void tell_faults(const hak_collect_message *m)
{
    char lost[64] = "";
    if (m->lost != 0)
        snprintf(lost, sizeof lost, "; %llu event%s missing", (unsigned long long)m->lost,
                 m->lost == 1 ? " is" : "s are");
    if (m->end == HAK_END_WRITE && m->failed == 0)
        say("'%s': recording ended after %.3f s: %s%s", m->path, (double)m->duration_ns / 1e9, m->note, lost);
    else if (m->failed != 0)
        say("'%s': %s%s", m->path, m->note, lost);
    else if (m->end != HAK_END_PROGRAM)
        say("'%s': recording ended %s, after %.3f s%s", m->path, hak_trace_end_text(m->end),
            (double)m->duration_ns / 1e9, lost);
    else if (m->lost != 0)
        say("'%s': %s", m->path, lost + 2);
}

void summary_add(trace_summary *sum, const hak_collect_message *m)
{
    tell_faults(m);
    if (m->failed != 0)
        return;
    if (sum->images < SUMMARY_PATHS)
        snprintf(sum->paths[sum->images], sizeof sum->paths[0], "%s", m->path);
    sum->images++;
    sum->allocations += m->allocations;
    sum->temporary += m->temporary;
    sum->peak_bytes = sum->peak_bytes > m->peak_bytes ? sum->peak_bytes : m->peak_bytes;
    sum->left_bytes = m->left_bytes; /* an exec throws away what was there before */
    sum->file_bytes += m->file_bytes;
    sum->walks_checked += m->walks_checked;
    sum->walks_wrong += m->walks_wrong;
    sum->threads += m->threads;
    sum->sampled |= m->sampled != 0;
}

void summary_print(const trace_summary *sum, uint32_t processes)
{
    char count[TEXT_NUMBER], peak[TEXT_NUMBER], left[TEXT_NUMBER], size[TEXT_NUMBER], images[48] = "";
    if (sum->images == 0)
        return;
    if (sum->images > 1)
        snprintf(images, sizeof images, "%u program images · ", sum->images);
    uint64_t percent =
        sum->allocations == 0 ? 0 : (sum->temporary * 100 + sum->allocations / 2) / sum->allocations;
    char temporary[48] = "";
    if (!sum->sampled)
        snprintf(temporary, sizeof temporary, " · %llu%% temporary", (unsigned long long)percent);
    say("%s%s%s allocations · peak %s · %s never freed%s · %u thread%s · %s written", images,
        sum->sampled ? "about " : "", format_count(count, sum->allocations),
        format_bytes(peak, sum->peak_bytes), format_bytes(left, sum->left_bytes), temporary, sum->threads,
        sum->threads == 1 ? "" : "s", format_bytes(size, sum->file_bytes));
    if (sum->walks_wrong != 0)
        say("%llu of %llu sampled call stacks differ from the unwinder's",
            (unsigned long long)sum->walks_wrong, (unsigned long long)sum->walks_checked);
    static const char *const next[] = {"  next: hakmem-report", "        hakmem-replay"};
    for (size_t line = 0; line < 2; line++) {
        fputs(next[line], stderr);
        for (uint32_t i = 0; i < sum->images && i < SUMMARY_PATHS; i++)
            fprintf(stderr, " %s", sum->paths[i]);
        fputs(sum->images > SUMMARY_PATHS ? " …\n" : "\n", stderr);
    }
    if (processes > 1)
        fprintf(stderr, "  %u traces were written, one for each process and each program it became\n",
                processes);
}
