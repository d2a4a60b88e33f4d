/* replay_html.h: a comparison as one page that needs no network: curves as SVG, the table, a few lines of
 * style. */
#ifndef HAK_CLI_REPLAY_HTML_H
#define HAK_CLI_REPLAY_HTML_H

#include "cli/replay_view.h"

/* 0, or -1 with errno. The file is replaced once the page is whole. */
int hak_replay_write_html(const char *path, const hak_replayed *all, size_t count,
                          const hak_replay_setup *setup);

#endif
