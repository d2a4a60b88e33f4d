/* rows.h: what the stress programs share. A program is a table of rows, each one requirement; run without
 * arguments it runs every row in a fresh process of its own (so a crash or a hang costs one row), with names
 * as arguments only those. A row ends by returning (fine), by EXPECT failing, by skip(), or badly.
 *
 * Environment: STRESS_SCALE multiplies the work (default 1); STRESS_EXPECT names the hakmem mode that must be
 * running, so that a preload which did not take effect fails; with it, a quiet mode that prints fails too. */
#ifndef STRESS_ROWS_H
#define STRESS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#ifdef __cplusplus
#undef noreturn
#define noreturn
extern "C" {
#endif

typedef struct stress_row {
    const char *name; /* a leading '.' hides it from a run of all: another row starts it */
    void (*run)(void);
    unsigned limit_s; /* 0: ROWS_LIMIT_S; scaled by STRESS_SCALE */
} stress_row;

#define ROWS_LIMIT_S 30

int rows_main(int argc, char **argv, const stress_row *rows, unsigned count);
#define ROWS_MAIN(table)                                                                                     \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        return rows_main(argc, argv, table, sizeof(table) / sizeof(table)[0]);                               \
    }

/* Prints file, line and text with raw writes (the heap may be what is broken) and ends the process. */
noreturn void row_fail(const char *file, int line, const char *text, long long value);
#define EXPECT(cond)           ((cond) ? (void)0 : row_fail(__FILE__, __LINE__, #cond, 0))
#define EXPECT_OF(cond, value) ((cond) ? (void)0 : row_fail(__FILE__, __LINE__, #cond, (long long)(value)))
noreturn void row_skip(const char *why); /* only where the machine lacks what the row needs */

size_t scaled(size_t count);           /* count × STRESS_SCALE, at least 1 */
void row_leave_unchecked(void);        /* other threads still run: no hakmem_check at the end of this row */
void check_heap(void);                 /* hakmem_check(), where there is one */
const char *hakmem_mode_running(void); /* NULL: another allocator */

/* Starts this program again on one row with that environment (NULL: ours) and returns its wait status. */
int run_row(const char *name, char *const environment[]);

/* xorshift64*; never 0. */
uint64_t random_next(uint64_t *state);
/* Log-uniform in [1, max]. */
size_t random_size(uint64_t *state, size_t max);

/* From /proc/self: resident bytes, mapped bytes, number of mappings. Never allocate. */
size_t resident_bytes(void);
size_t mapped_bytes(void);
size_t mapping_count(void);

/* Fills and checks a block with a pattern that depends on its seed. */
void pattern_fill(void *at, size_t size, uint64_t seed);
bool pattern_holds(const void *at, size_t size, uint64_t seed);
bool all_zero(const void *at, size_t size);

void sleep_ms(unsigned ms);

#ifdef __cplusplus
}
#endif

#endif
