/* trainer_evidence.h: what a trained policy and its report say about how it came to be. One thread. */
#ifndef HAK_REPLAY_TRAINER_EVIDENCE_H
#define HAK_REPLAY_TRAINER_EVIDENCE_H

#include "replay/trainer_arena.h"

/* Lines of evidence from the report, into the policy. False when out of memory. */
bool hak_train_evidence(const hak_train_options *options, const hak_train_report *report, hak_policy *policy);

/* What the runs were made on. */
void hak_train_machine(char *text, size_t text_bytes);

/* Decisions of a family in the allocator's own counters. */
uint64_t hak_train_acted(const hak_measure *measure, hak_train_family family);

/* Change of a ratio from an estimate of its logarithm. */
hak_train_change hak_train_change_of(const hak_estimate *estimate);

#endif
