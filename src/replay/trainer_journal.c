/* trainer_journal.c: see trainer_journal.h. Numbers are written so that they are read back exactly. */
#include "replay/trainer_journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "hakmem-match-log 3"

static void break_off(hak_journal *journal, const char *why)
{
    if (journal->broken)
        return;
    journal->broken = true;
    snprintf(journal->error->text, sizeof journal->error->text, "match log, line %" PRIu64 ": %s",
             journal->number, why);
}

/* The next line that is no comment, without its end; NULL at the end of the file. */
static const char *next_line(hak_journal *journal)
{
    while (!journal->ahead) {
        if (fgets(journal->line, sizeof journal->line, journal->file) == NULL)
            return NULL;
        journal->number++;
        journal->ahead = journal->line[0] != '#';
    }
    journal->line[strcspn(journal->line, "\n")] = 0;
    return journal->line;
}

int hak_journal_open(hak_journal *journal, const char *path, bool reading, hak_trace_error *error)
{
    *journal = (hak_journal){.reading = reading, .error = error};
    journal->file = fopen(path, reading ? "re" : "we");
    if (journal->file == NULL) {
        snprintf(error->text, sizeof error->text, "cannot be %s: %s", reading ? "read" : "written",
                 strerror(errno));
        return -1;
    }
    if (!reading) {
        fputs(HEAD "\n", journal->file);
        return 0;
    }
    const char *line = next_line(journal);
    if (line != NULL && strcmp(line, HEAD) == 0) {
        journal->ahead = false;
        return 0;
    }
    snprintf(error->text, sizeof error->text, "no match log of this version");
    fclose(journal->file);
    journal->file = NULL;
    return -1;
}

static void put_candidate(FILE *out, const hak_arena *arena, uint32_t id)
{
    const hak_candidate *c = &arena->candidates[id];
    fprintf(out, "# candidate %" PRIu32 " elo %.1f %.1f families", id, arena->rating[id],
            arena->deviation[id]);
    for (unsigned f = 0; f < HAK_TRAIN_KNOBS; f++)
        fprintf(out, " %d", c->families[f]);
    for (unsigned i = 0; i < HAK_KNOB_COUNT; i++)
        if (c->knob_set[i])
            fprintf(out, " %s=%" PRId64, hak_knob_infos[i].text, c->knobs[i]);
    fputs(arena->failed[id] ? " failed\n" : "\n", out);
}

int hak_journal_close(hak_journal *journal, const hak_arena *arena)
{
    if (journal->file == NULL)
        return 0;
    for (uint32_t i = 0; !journal->reading && i < arena->candidate_count; i++)
        put_candidate(journal->file, arena, i);
    bool failed = !journal->reading && ferror(journal->file) != 0;
    if (fclose(journal->file) != 0 || failed) {
        snprintf(journal->error->text, sizeof journal->error->text, "match log: cannot be written: %s",
                 strerror(errno));
        failed = true;
    }
    journal->file = NULL;
    return failed ? -1 : 0;
}

void hak_journal_fact(hak_journal *journal, const char *name, char *text, size_t text_bytes)
{
    if (journal->file == NULL)
        return;
    if (!journal->reading) {
        fprintf(journal->file, "%s %s\n", name, text);
        return;
    }
    const char *line = next_line(journal);
    size_t name_bytes = strlen(name);
    if (line == NULL || strncmp(line, name, name_bytes) != 0 || line[name_bytes] != ' ') {
        break_off(journal,
                  line == NULL ? "it ends early" : "of another training (traces, options or version differ)");
        return;
    }
    journal->ahead = false;
    snprintf(text, text_bytes, "%s", line + name_bytes + 1);
}

bool hak_journal_stops(hak_journal *journal, bool stop)
{
    if (journal->file == NULL)
        return stop;
    if (!journal->reading) {
        if (stop)
            fputs("stop\n", journal->file);
        return stop;
    }
    const char *line = journal->broken ? NULL : next_line(journal);
    if (line == NULL)
        return true;
    if (strcmp(line, "stop") != 0)
        return false;
    journal->ahead = false;
    return true;
}

static bool parse_trial(const char *at, hak_trial *trial)
{
    char *end;
    int used = 0;
    if (sscanf(at, " ns_per_op %la rss_bytes %la acted%n", &trial->ns_per_op, &trial->rss_bytes, &used) !=
            2 ||
        used == 0)
        return false;
    at += used;
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++, at = end) {
        trial->acted[f] = strtoull(at, &end, 10);
        if (end == at)
            return false;
    }
    return *at == 0;
}

static void read_run(hak_journal *journal, const char *name, hak_trial *trial)
{
    const char *line = next_line(journal);
    size_t name_bytes = strlen(name);
    trial->status = 1;
    if (line == NULL || strncmp(line, name, name_bytes) != 0) {
        break_off(journal,
                  line == NULL ? "it ends early" : "of another training (traces, options or version differ)");
        return;
    }
    journal->ahead = false;
    if (strcmp(line + name_bytes, " failed") == 0)
        trial->status = -1;
    else if (strcmp(line + name_bytes, " interrupted") == 0)
        trial->status = 1;
    else if (parse_trial(line + name_bytes, trial))
        trial->status = 0;
    else
        break_off(journal, "not understood");
}

void hak_journal_run(hak_journal *journal, uint32_t block, uint32_t trace, hak_trial *trial)
{
    if (journal->file == NULL)
        return;
    char name[96];
    snprintf(name, sizeof name, "run block %" PRIu32 " trace %" PRIu32 " candidate %" PRIu32, block, trace,
             trial->id);
    if (journal->reading) {
        read_run(journal, name, trial);
        return;
    }
    fputs(name, journal->file);
    if (trial->status != 0) {
        fputs(trial->status < 0 ? " failed\n" : " interrupted\n", journal->file);
        return;
    }
    fprintf(journal->file, " ns_per_op %a rss_bytes %a acted", trial->ns_per_op, trial->rss_bytes);
    for (unsigned f = 0; f < HAK_TRAIN_FAMILIES; f++)
        fprintf(journal->file, " %" PRIu64, trial->acted[f]);
    putc('\n', journal->file);
    fflush(journal->file); /* a training that is killed leaves what it has measured */
}
