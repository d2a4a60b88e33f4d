/* symbols.h: addresses in files to functions and lines, by libdw. Looks for separate debug files by build-id
 * and, where DEBUGINFOD_URLS is set, by debuginfod. One thread per hak_symbols. Files are opened when first
 * asked for. Cost: a unit's subprograms are indexed at the first question about the unit. */
#ifndef HAK_REPLAY_SYMBOLS_H
#define HAK_REPLAY_SYMBOLS_H

#include "trace/trace_format.h"

typedef struct hak_symbols hak_symbols;

#define HAK_SYMBOL_MAX_FRAMES 32 /* functions inlined into each other at one address */

/* Strings belong to the hak_symbols and stay until it is freed. */
typedef struct hak_symbol {
    const char *function; /* demangled; NULL: unknown */
    const char *file;     /* NULL: unknown */
    unsigned line;        /* 0: unknown */
} hak_symbol;

hak_symbols *hak_symbols_new(void); /* NULL: no memory */
void hak_symbols_free(hak_symbols *symbols);

/* The functions around the call before return address pc, which lay in that module: the innermost inlined one
 * first, the one that has the code last. Returns how many, at most max and HAK_SYMBOL_MAX_FRAMES; 0: nothing
 * is known. The module's file is believed only when its build-id is the recorded one. */
uint32_t hak_symbols_find(hak_symbols *symbols, const hak_trace_module *module, uint64_t pc, hak_symbol *out,
                          uint32_t max);

/* Modules whose file is another build than the recorded one, so far. */
unsigned hak_symbols_changed(const hak_symbols *symbols);

#endif
