/* scenes.h: a program that does what a recorder must survive, one scene a run: `scenes NAME [ARGUMENTS]`. A
 * scene prints only what must be the same with and without a recorder. Test helper. */
#ifndef HAK_TESTS_SCENES_H
#define HAK_TESTS_SCENES_H

typedef struct scene {
    const char *name; /* NULL ends a list */
    int (*run)(int argc, char **argv);
} scene;

extern const scene scenes_of_stacks[];

/* The number in argv[index], or what it is without. */
int scene_number(int argc, char **argv, int index, int otherwise);

/* Marked blocks, of which every second one is freed. They come from valloc(3), which nothing else calls, so
 * that a test can count them. */
void scene_mark(int count);

/* Something to compress, so that a trace grows: sizes and orders that do not repeat. */
void scene_churn(int count);

#endif
