/* worker.h: the life of a worker process: hakmem-replay-worker, started by measure.c and by nobody else. */
#ifndef HAK_REPLAY_WORKER_H
#define HAK_REPLAY_WORKER_H

/* Does what the plan on descriptor HAK_PLAN_FD says. The exit status: 0 when the plan holds a result or a
 * problem, 2 when there is no plan. Call once, first thing in main. */
int hak_worker_main(void);

#endif
