/* symbols.h: addresses in files to functions and lines, by libdw. Looks for separate debug files by build-id
 * and, where DEBUGINFOD_URLS is set, by debuginfod. One thread per hak_symbols. Files are opened when first
 * asked for. */
#ifndef HAK_REPLAY_SYMBOLS_H
#define HAK_REPLAY_SYMBOLS_H

#include "trace/trace_format.h"

typedef struct hak_symbols hak_symbols;

/* Strings belong to the hak_symbols and stay until it is freed. */
typedef struct hak_symbol {
    const char *function; /* demangled; NULL: unknown */
    const char *file;     /* NULL: unknown */
    unsigned line;        /* 0: unknown */
} hak_symbol;

hak_symbols *hak_symbols_new(void); /* NULL: no memory */
void hak_symbols_free(hak_symbols *symbols);

/* The function that holds the call before return address pc, which lay in that module. The module's file is
 * believed only when its build-id is the recorded one. */
hak_symbol hak_symbols_find(hak_symbols *symbols, const hak_trace_module *module, uint64_t pc);

/* Modules whose file is another build than the recorded one, so far. */
unsigned hak_symbols_changed(const hak_symbols *symbols);

#endif
