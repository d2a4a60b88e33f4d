/* replay_calibrate.h: how true a replay is: the recorded program under each allocator beside its replay. */
#ifndef HAK_CLI_REPLAY_CALIBRATE_H
#define HAK_CLI_REPLAY_CALIBRATE_H

#include "cli/replay_options.h"
#include "cli/replay_view.h"

/* `replayed` holds the comparison of the program's trace. Runs the program s->rounds times under each target,
 * interleaved, and prints. The exit status. */
int replay_calibrate(const replay_settings *s, const hak_replayed *replayed, char *const *program);

#endif
