/* replay_json.c: the results for programs; the same walk as replay_view.c's. Fields are only ever added. */
#include <string.h>

#include "cli/replay_view.h"
#include "cli/text.h"

static void json_ratio(FILE *out, const char *name, const hak_ratio *ratio)
{
    fprintf(out, ", \"%s\": ", name);
    if (!(ratio->ratio > 0))
        fputs("null", out);
    else if (!ratio->known)
        fprintf(out, "{\"ratio\": %.6f}", ratio->ratio);
    else
        fprintf(out, "{\"ratio\": %.6f, \"low\": %.6f, \"high\": %.6f, \"significant\": %s}", ratio->ratio,
                ratio->low, ratio->high, hak_ratio_significant(ratio) ? "true" : "false");
}

static void json_runs(FILE *out, const hak_compare_row *row)
{
    fputs(", \"runs\": [", out);
    for (uint32_t i = 0; i < row->runs; i++) {
        const hak_measure *m = &row->runs_data[i];
        fprintf(out,
                "%s{\"round\": %u, \"ns_per_op\": %.4f, \"ns_per_op_first\": %.4f, \"peak_rss_bytes\": %llu, "
                "\"minor_faults\": %llu, \"ns_per_op_warm\": %.4f}",
                i != 0 ? ", " : "", row->runs_round[i], m->ns_per_op, m->ns_per_op_cold,
                (unsigned long long)m->peak_rss_bytes, (unsigned long long)m->minor_faults,
                m->ns_per_op_warm);
    }
    putc(']', out);
}

static void json_latency(FILE *out, const hak_detail *d)
{
    static const char *const names[] = {
#define X(name, text) text,
        HAK_LATENCY_POINTS(X)
#undef X
    };
    fprintf(out, ", \"latency\": {\"unit\": \"ns\", \"clock_step\": %.2f, \"clock_cost\": %.2f",
            d->quantum_ns, d->timer_ns);
    for (size_t i = 0; i < HAK_LATENCY_POINT_COUNT; i++) {
        const hak_latency *l = &d->latency[i];
        uint64_t count = hak_latency_count(l);
        if (count == 0)
            continue;
        fprintf(out, ", \"%s\": {\"count\": %llu", names[i], (unsigned long long)count);
        fprintf(out, ", \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}",
                hak_latency_quantile(l, 0.5) * d->ns_per_tick, hak_latency_quantile(l, 0.99) * d->ns_per_tick,
                hak_latency_quantile(l, 0.999) * d->ns_per_tick,
                (double)atomic_load(&l->max) * d->ns_per_tick);
    }
    putc('}', out);
}

#define JSON_SAMPLES 256u /* of the curve, at most */

static void json_detail(FILE *out, const hak_detail *d)
{
    static const char *const names[] = {
#define X(name) #name,
        HAK_SYSTEM_CALLS(X)
#undef X
    };
    fprintf(
        out,
        ", \"replayed_live_max_bytes\": %llu, \"rss_mean_bytes\": %.0f, \"fragmentation_mean_bytes\": %.0f, "
        "\"fragmentation_max_bytes\": %llu",
        (unsigned long long)d->live_max_bytes, d->rss_mean_bytes, d->waste_mean_bytes,
        (unsigned long long)d->waste_max_bytes);
    fprintf(out, ", \"voluntary_switches\": %llu, \"involuntary_switches\": %llu, \"system_calls\": ",
            (unsigned long long)d->voluntary_switches, (unsigned long long)d->involuntary_switches);
    for (size_t i = 0; i < HAK_SYSTEM_CALL_COUNT && d->system_calls_known; i++)
        fprintf(out, "%s\"%s\": %llu", i != 0 ? ", " : "{", names[i],
                (unsigned long long)atomic_load(&d->system_calls[i]));
    fputs(d->system_calls_known ? "}" : "null", out);
    json_latency(out, d);
    fputs(", \"samples\": [", out);
    uint32_t step = d->sample_count / JSON_SAMPLES + 1;
    for (uint32_t i = 0; i < d->sample_count; i += step)
        fprintf(out, "%s[%llu, %llu, %llu]", i != 0 ? ", " : "", (unsigned long long)d->samples[i].time_ns,
                (unsigned long long)d->samples[i].rss_bytes, (unsigned long long)d->samples[i].live_bytes);
    putc(']', out);
}

static void json_target(FILE *out, const hak_replayed *replayed, const hak_compare_row *row)
{
    const hak_measure *m = &row->median;
    fputs("      {\"name\": ", out);
    json_string(out, row->target.name);
    fputs(", \"version\": ", out);
    json_string(out, m->version);
    fprintf(out, ", \"baseline\": %s, \"null\": %s, \"rounds\": %u",
            row == &replayed->compare.rows[replayed->baseline] ? "true" : "false",
            row->target.null ? "true" : "false", row->runs);
    if (row->problem[0] != '\0') {
        fputs(", \"problem\": ", out);
        json_string(out, row->problem);
    }
    if (row->runs != 0) {
        fprintf(out,
                ", \"ns_per_op\": %.4f, \"ns_per_op_net\": %.4f, \"ns_per_op_first\": %.4f, "
                "\"ns_per_op_warm\": %.4f",
                m->ns_per_op, row->net_ns_per_op, m->ns_per_op_cold, m->ns_per_op_warm);
        fprintf(out,
                ", \"wall_ns\": %llu, \"cpu_ns\": %llu, \"peak_rss_bytes\": %llu, \"end_rss_bytes\": %llu",
                (unsigned long long)m->wall_ns, (unsigned long long)m->cpu_ns,
                (unsigned long long)m->peak_rss_bytes, (unsigned long long)m->end_rss_bytes);
        fprintf(out, ", \"minor_faults\": %llu, \"major_faults\": %llu, \"context_switches\": %llu",
                (unsigned long long)m->minor_faults, (unsigned long long)m->major_faults,
                (unsigned long long)m->context_switches);
        fprintf(out, ", \"start_rss_bytes\": %llu", (unsigned long long)m->start_rss_bytes);
        fprintf(out, ", \"failed_allocations\": %llu", (unsigned long long)m->failed_allocations);
        json_ratio(out, "time", &row->time);
        json_ratio(out, "first", &row->first);
        json_ratio(out, "rss", &row->rss);
        fputs(", \"counters\": {", out);
        for (uint32_t i = 0; i < m->counter_count; i++) {
            fputs(i != 0 ? ", " : "", out);
            json_string(out, m->counters[i].name);
            fprintf(out, ": %llu", (unsigned long long)m->counters[i].value);
        }
        putc('}', out);
        if (row->detail != NULL)
            json_detail(out, row->detail);
        json_runs(out, row);
    }
    putc('}', out);
}

static void json_targets(FILE *out, const hak_replayed *replayed)
{
    for (size_t i = 0; i < replayed->compare.row_count; i++) {
        json_target(out, replayed, &replayed->compare.rows[i]);
        fputs(i + 1 < replayed->compare.row_count ? ",\n" : "\n", out);
    }
}

static void json_trace(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup)
{
    const hak_workload_info *info = &replayed->info;
    fputs("    {\"trace\": ", out);
    json_string(out, replayed->path);
    fputs(", \"program\": ", out);
    json_string(out, replayed->program);
    fprintf(out,
            ", \"operations\": %llu, \"allocations\": %llu, \"threads\": %u, \"threads_max\": %u, "
            "\"live_max_bytes\": %llu, \"live_max_blocks\": %llu, \"cross_thread_frees\": %llu, ",
            (unsigned long long)info->operations, (unsigned long long)info->allocations, info->threads,
            info->threads_max, (unsigned long long)info->live_max_bytes,
            (unsigned long long)info->live_max_blocks, (unsigned long long)info->cross_thread_frees);
    hak_replay_json_best(out, replayed, setup);
    fputs("\"targets\": [\n", out);
    json_targets(out, replayed);
    fputs("    ]}", out);
}

void hak_replay_print_json(FILE *out, const hak_replayed *all, size_t count, const hak_replay_setup *setup)
{
    fprintf(out, "{\"schema\": %d, \"tool\": \"hakmem-replay\", \"version\": \"%s\",\n", HAK_REPLAY_SCHEMA,
            HAKMEM_VERSION);
    fprintf(out, "  \"touch\": \"%s\", \"order\": \"%s\", \"rounds\": %u, \"repeats\": %u, \"seed\": %llu,\n",
            setup->touch, setup->order, setup->rounds, setup->repeats, (unsigned long long)setup->seed);
    fprintf(out, "  \"rss_valid\": %s,\n", strcmp(setup->touch, "none") != 0 ? "true" : "false");
    if (count == 1) { /* where most readers look */
        fputs("  \"targets\": [\n", out);
        json_targets(out, &all[0]);
        fputs("    ],\n", out);
    }
    fputs("  \"traces\": [\n", out);
    for (size_t i = 0; i < count; i++) {
        json_trace(out, &all[i], setup);
        fputs(i + 1 < count ? ",\n" : "\n", out);
    }
    fputs("  ]}\n", out);
}
