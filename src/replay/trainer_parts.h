/* trainer_parts.h: one training on its way, shared by trainer.c and trainer_closed.c; nobody else includes
 * it. */
#ifndef HAK_REPLAY_TRAINER_PARTS_H
#define HAK_REPLAY_TRAINER_PARTS_H

#include "replay/trainer_journal.h"
#include "replay/trainer_search.h"
#include "replay/trainer_trace.h"

/* A trace while it is used: the first trace_count are trained on, the others held out. */
typedef struct hak_material {
    const char *path;
    hak_reader *reader; /* closed once the closed form is done */
    hak_train_trace digest;
    hak_workload *workload;
    uint64_t program_ns;        /* processor time of what was recorded, 0: unknown; so the next */
    uint64_t program_rss_bytes; /* at most */
    bool single; /* one thread at a time: processor time is the same as time, less what others took */
} hak_material;

typedef struct hak_training {
    const hak_train_options *options;
    hak_train_report *report;
    hak_trace_error *error;
    const char *failed;
    uint64_t start_ns;
    double limit_s;
    double begun_s; /* when the first run could be made, since start_ns */
    hak_material *materials;
    size_t material_count;
    hak_arena_rest rests[HAK_TRAIN_MAX_TRACES]; /* by material */
    hak_policy closed_form;                     /* all that the closed form decides */
    hak_candidate closed_candidate;
    hak_arena arena;
    hak_search search;
    char folder[256];
    char candidate_path[300];
    hak_target default_target;
    hak_journal journal;
    uint64_t created_unix_s;
} hak_training;

void hak_training_tell(void *training, hak_train_phase phase); /* progress, for people */
int hak_training_fail_memory(hak_training *t);

/* Reads every trace, names the program, decides all that needs no search. 0 or -1 with the training's error
 * filled. */
int hak_training_read(hak_training *t);
int hak_training_fit(hak_training *t);
void hak_training_close_readers(hak_training *t);

#endif
