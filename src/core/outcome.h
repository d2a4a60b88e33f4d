/* outcome.h: the report of one process of a canary. */
#ifndef HAK_CORE_OUTCOME_H
#define HAK_CORE_OUTCOME_H

/* At exit. Does nothing where no canary ran or nobody asked; failures are silent, the program has ended. */
void hak_outcome_end(void);

#endif
