/* say.h: a command's messages: one line on stderr with the tool's name in front. Single-threaded programs. */
#ifndef HAK_CLI_SAY_H
#define HAK_CLI_SAY_H

#include <stdbool.h>

/* The name, once, at start; static text. */
void say_as(const char *tool);

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "'subject': problem"; the subject, which may be anybody's text, is made harmless for a terminal. NULL:
 * none. */
void say_about(const char *subject, const char *problem);

/* The option that getopt_long has just refused, as it was given. The text is static or argv's. */
const char *say_option(char *const *argv);

/* Whether all that was printed on stdout has arrived; if not, says why. To be asked before the exit status is
 * chosen. */
bool say_flushed(void);

#endif
