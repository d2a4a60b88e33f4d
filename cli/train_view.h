/* train_view.h: how a training looks in the terminal; shared by nothing but hakmem-replay. One thread. */
#ifndef HAK_CLI_TRAIN_VIEW_H
#define HAK_CLI_TRAIN_VIEW_H

#include "replay/trainer.h"

/* Pass to hak_train as progress and progress_arg: a bar where stderr is a terminal, else at most a line per
 * 30 s; nothing when quiet. Zero-initialise. */
typedef struct hak_train_view {
    bool quiet;
    bool drawn;       /* a bar stands on the terminal's line */
    uint64_t last_ns; /* of the last line */
    int last_phase;
} hak_train_view;

void hak_train_view_progress(const hak_train_progress *progress, void *view);

/* Removes the bar; summary to stderr, data (with --json) to stdout. */
void hak_train_view_summary(hak_train_view *view, const hak_train_options *options,
                            const hak_train_report *report, bool json);

#endif
