/* report_suppress.c: see report_suppress.h. Never prints. */
#include "cli/report_suppress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"

enum { LINE_MAX_BYTES = 4096, TEMPLATES_MAX = 100000 };

struct report_suppressions {
    char **templates;
    size_t count;
    size_t room;
};

/* Whether `text` begins with the template up to its end or to the next '*'; the rest by recursion over the
 * stars, each of which is tried at the earliest place only (enough for patterns whose parts are literal). */
static bool begins(const char *template, const char *text)
{
    for (;; template ++, text++) {
        if (*template == '\0')
            return true;
        if (template[0] == '$' && template[1] == '\0')
            return *text == '\0';
        if (*template == '*') {
            while (*template == '*')
                template ++;
            for (; *text != '\0'; text++) {
                if (begins(template, text))
                    return true;
            }
            return begins(template, text);
        }
        if (*text == '\0' || *template != *text)
            return false;
    }
}

static bool found_in(const char *template, const char *text)
{
    if (text == NULL)
        return false;
    if (*template == '^')
        return begins(template + 1, text);
    for (;; text++) {
        if (begins(template, text))
            return true;
        if (*text == '\0')
            return false;
    }
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n != 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
        text[--n] = '\0';
    return text;
}

static const char *take_line(report_suppressions *s, char *line)
{
    char *text = trim(line);
    char *colon = strchr(text, ':');
    if (*text == '\0' || *text == '#')
        return NULL;
    if (colon == NULL)
        return "no 'leak:' in front";
    if (strncmp(text, "leak:", 5) != 0)
        return NULL;
    unsigned stars = 0;
    for (const char *at = colon + 1; *at != '\0'; at++)
        stars += *at == '*';
    if (colon[1] == '\0' || stars > 8)
        return colon[1] == '\0' ? "empty template" : "more than eight stars";
    char *copy = strdup(colon + 1);
    if (copy == NULL || s->count == TEMPLATES_MAX || !HAK_GROW(&s->templates, &s->room, s->count + 1)) {
        free(copy);
        return "too many templates, or out of memory";
    }
    s->templates[s->count++] = copy;
    return NULL;
}

report_suppressions *report_suppressions_load(const char *path, const char **fault, unsigned *line)
{
    char text[LINE_MAX_BYTES];
    report_suppressions *s = calloc(1, sizeof *s);
    FILE *file = fopen(path, "re");
    *line = 0;
    *fault = file == NULL ? strerror(errno) : s == NULL ? "out of memory" : NULL;
    while (*fault == NULL && fgets(text, sizeof text, file) != NULL) {
        ++*line;
        *fault = strlen(text) + 1 == sizeof text ? "line too long" : take_line(s, text);
    }
    if (*fault == NULL && ferror(file))
        *fault = "cannot be read";
    if (file != NULL)
        fclose(file);
    if (*fault == NULL)
        return s;
    report_suppressions_free(s);
    return NULL;
}

void report_suppressions_free(report_suppressions *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        free(s->templates[i]);
    free(s->templates);
    free(s);
}

bool report_suppressions_match(const report_suppressions *s, const hak_place *place, size_t *which)
{
    for (size_t i = 0; i < s->count; i++) {
        if (found_in(s->templates[i], place->function) || found_in(s->templates[i], place->file) ||
            found_in(s->templates[i], place->module)) {
            *which = i;
            return true;
        }
    }
    return false;
}

size_t report_suppressions_count(const report_suppressions *s)
{
    return s->count;
}

const char *report_suppressions_text(const report_suppressions *s, size_t which)
{
    return s->templates[which];
}
