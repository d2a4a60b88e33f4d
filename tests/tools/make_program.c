/* make_program.c: make_program FILE EVENTS THREADS CROSS_PERCENT [SEED [SIZE_MAX]]: a random trace for the
 * tests of the commands. */
#include <stdio.h>

#include "../unit/replay_maker.h"

int main(int argc, char **argv)
{
    static replay_maker maker;
    if (argc < 5) {
        fputs("make_program FILE EVENTS THREADS CROSS_PERCENT [SEED [SIZE_MAX]]\n", stderr);
        return 2;
    }
    replay_maker_begin(&maker, argc > 5 ? strtoull(argv[5], NULL, 10) : 1, (uint32_t)atoi(argv[3]),
                       (unsigned)atoi(argv[4]));
    if (argc > 6)
        maker.size_max = strtoull(argv[6], NULL, 10);
    replay_maker_file(&maker, argv[1], strtoull(argv[2], NULL, 10));
    return 0;
}
