/* trainer_parts.h: one training on its way, shared by trainer.c, trainer_closed.c, trainer_trials.c,
 * trainer_validate.c and trainer_pareto.c; nobody else includes it. */
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
    hak_target default_target;
    hak_journal journal;
    uint64_t created_unix_s;
    size_t held_first;   /* material that is judged on, to the last */
    uint32_t held_block; /* first block of that */
    uint32_t front[HAK_TRAIN_MAX_POINTS];
    uint32_t front_count;
} hak_training;

void hak_training_tell(void *training, hak_train_phase phase); /* progress, for people */
int hak_training_fail_memory(hak_training *t);
bool hak_training_stopped(const hak_training *t);
double hak_training_elapsed_s(const hak_training *t);

/* Reads every trace, names the program, decides all that needs no search. 0 or -1 with the training's error
 * filled. */
int hak_training_read(hak_training *t);
int hak_training_fit(hak_training *t);
void hak_training_close_readers(hak_training *t);

/* The policy that a candidate stands for; clear it with hak_policy_clear. 0 or -1 (out of memory). Any
 * thread. */
int hak_training_policy(const hak_training *t, const hak_candidate *candidate, hak_policy *policy);

/* The arena's runs. */
void hak_training_trials(void *training, uint32_t trace, hak_trial *trials, uint32_t count);

/* Weighs the best, and the points between which a person may choose, where they are asked for, on the
 * held-out traces; fills the report. 0 or -1 with the training's error filled. */
int hak_training_validate(hak_training *t);
void hak_training_report_trace(const hak_training *t, hak_train_report *report, uint32_t id, size_t trace,
                               uint32_t first_block);

/* Candidates, the default among them, of which none is better than another in both, time and memory of the
 * whole, by the runs since first_block: the leanest first, each next one faster. At most HAK_TRAIN_MAX_POINTS
 * of those `from` (NULL: of all). Returns the count. */
uint32_t hak_pareto_front(const hak_training *t, uint32_t first_block, const uint32_t *from,
                          uint32_t from_count, uint32_t *front);
/* Writes them as policies into the options' folder, and into the report. 0 or -1. */
int hak_training_export_front(hak_training *t);

#endif
