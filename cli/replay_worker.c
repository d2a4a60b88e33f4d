/* replay_worker.c: hakmem-replay-worker, one measured run of hakmem-replay, in a process of its own. Not for
 * people. */
#include "replay/worker.h"

#include "core/base/print.h"

int main(void)
{
    int status = hak_worker_main();
    if (status == 2) {
        hak_out out;
        hak_out_init(&out, 2);
        hak_out_text(&out, "hakmem-replay-worker: started by hakmem-replay only; see hakmem-replay(1)\n");
        hak_out_flush(&out);
    }
    return status;
}
