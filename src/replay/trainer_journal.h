/* trainer_journal.h: the match log: every run that a training rests on, in the order it was made, and where
 * it stopped for lack of time. A training that reads its log back makes no run, and the same policy byte for
 * byte. Text, one line each; a log that is read is hostile. One thread. */
#ifndef HAK_REPLAY_TRAINER_JOURNAL_H
#define HAK_REPLAY_TRAINER_JOURNAL_H

#include <stdio.h>

#include "replay/trainer_arena.h"

#define HAK_JOURNAL_LINE_BYTES 1024

typedef struct hak_journal {
    FILE *file; /* NULL: no log; everything passes through */
    bool reading;
    bool ahead; /* `line` was read and not used */
    char line[HAK_JOURNAL_LINE_BYTES];
    uint64_t number; /* of the line */
    bool broken;     /* what was read is not this training's; error has been filled */
    hak_trace_error *error;
} hak_journal;

/* Begins a log, or opens one. 0 or -1 with *error filled. Errors found later set `broken`. */
int hak_journal_open(hak_journal *journal, const char *path, bool reading, hak_trace_error *error);

/* Closes it; a written one gets the candidates with their ratings as comments. 0 or -1. */
int hak_journal_close(hak_journal *journal, const hak_arena *arena);

/* Something that is not measured: kept when writing, replaced by the log's when reading. */
void hak_journal_fact(hak_journal *journal, const char *name, char *text, size_t text_bytes);

/* Whether to stop here. Reading: whether the log did. */
bool hak_journal_stops(hak_journal *journal, bool stop);

/* Reading: fills *trial, but its id, as it was. Writing: keeps it. The run is named by what asked for it. */
void hak_journal_run(hak_journal *journal, uint32_t block, uint32_t trace, hak_trial *trial);

#endif
