/* learn.h: what LEARNING and RESEARCH learn while the program runs. hak_learn_init fills hak_learn_hooks
 * (decide.h); where the features are off nothing here ever runs. Slow paths only; no malloc, no lock; any
 * thread. */
#ifndef HAK_CORE_LEARN_H
#define HAK_CORE_LEARN_H

/* Once, with the options read. */
void hak_learn_init(void);

/* At exit: prints what was learned where the mode is verbose, writes HAKMEM_POLICY_OUT. Once. */
void hak_learn_end(void);

#endif
