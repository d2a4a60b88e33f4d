/* say.h: a command's messages: one line on stderr with the tool's name in front. Single-threaded programs. */
#ifndef HAK_CLI_SAY_H
#define HAK_CLI_SAY_H

/* The name, once, at start; static text. */
void say_as(const char *tool);

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
