/* replay_view.h: what hakmem-replay shows: a table for people, JSON for programs. One walk over the results
 * each. */
#ifndef HAK_CLI_REPLAY_VIEW_H
#define HAK_CLI_REPLAY_VIEW_H

#include <stdio.h>

#include "replay/compare.h"

#define HAK_REPLAY_SCHEMA 1

/* One compared trace. */
typedef struct hak_replayed {
    const char *path;
    const char *program; /* of the recording, "" if unknown */
    hak_workload_info info;
    hak_compare compare;
    size_t baseline; /* row that ratios refer to */
} hak_replayed;

/* How it was replayed. */
typedef struct hak_replay_setup {
    const char *touch; /* names as on the command line */
    const char *order;
    uint32_t rounds;
    uint32_t repeats; /* of the last trace */
    uint64_t seed;
    bool colour;
} hak_replay_setup;

void hak_replay_print_table(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup);

/* Which targets serve the trace best, and the mode to set; nothing with fewer rounds than intervals need. The
 * JSON is a member and a comma. */
void hak_replay_print_best(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup);
void hak_replay_json_best(FILE *out, const hak_replayed *replayed, const hak_replay_setup *setup);

/* All traces together: geometric means of the ratios. For two traces or more. */
void hak_replay_print_summary(FILE *out, const hak_replayed *all, size_t count,
                              const hak_replay_setup *setup);

void hak_replay_print_json(FILE *out, const hak_replayed *all, size_t count, const hak_replay_setup *setup);

#endif
