/* replay_results.h: results that were printed as JSON, read again: to be merged, or as a baseline. One
 * thread. */
#ifndef HAK_CLI_REPLAY_RESULTS_H
#define HAK_CLI_REPLAY_RESULTS_H

#include "cli/replay_view.h"
#include "replay/json.h"

typedef struct replay_results {
    char *text; /* of the file; the document points into it */
    hak_json *root;
} replay_results;

/* 0, or the exit status after a message. */
int replay_results_open(replay_results *results, const char *path);
void replay_results_close(replay_results *results);

/* Before anything is measured: whether the conditions ("rss>1.05", several with commas) and the older results
 * make sense. 0, or EXIT_TROUBLE after a message. */
int replay_results_check(const char *old_path, const char *conditions);

/* Whether one of the conditions is true of any target against its older result: EXIT_REGRESSION, with a line
 * on stderr for each; 0 if not; EXIT_TROUBLE when there is nothing to compare. */
int replay_results_fail(const char *old_path, const char *conditions, const hak_replayed *all, size_t count);

#endif
