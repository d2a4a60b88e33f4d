/* replay_verbs.h: verbs of hakmem-replay that are not a replay. argv[0] is the verb. Each returns the exit
 * status. */
#ifndef HAK_CLI_REPLAY_VERBS_H
#define HAK_CLI_REPLAY_VERBS_H

enum { EXIT_REGRESSION = 1, EXIT_TROUBLE = 2 };

int hak_replay_verb_import(int argc, char **argv);
int hak_replay_verb_merge(int argc, char **argv);

/* "hakmem-replay: 'SUBJECT': PROBLEM" to stderr; subject may be NULL. Returns EXIT_TROUBLE. */
int hak_replay_trouble(const char *subject, const char *problem);

#endif
