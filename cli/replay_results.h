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

/* Is `condition` ("rss>1.05", several with commas) true of any target against its older result? 1 with one
 * line on stderr, 0 if not, 2 when the condition or the results make no sense. */
int replay_results_fail(const char *old_path, const char *condition, const hak_replayed *all, size_t count);

#endif
