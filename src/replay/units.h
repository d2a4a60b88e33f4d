/* units.h: the debug information of one file: which functions are inlined at an address, and the line. libdw
 * finds a scope by walking the whole unit each time; here the units' ranges are listed once, and a unit's
 * subprograms when it is first asked about. One thread per hak_units. */
#ifndef HAK_REPLAY_UNITS_H
#define HAK_REPLAY_UNITS_H

#include <elfutils/libdw.h>

#include "replay/symbols.h"

typedef struct hak_units hak_units;

/* NULL: no memory. The dwarf outlives it. */
hak_units *hak_units_new(Dwarf *dwarf);
void hak_units_free(hak_units *units);

/* As hak_symbols_find, for an address of the dwarf; names are as in the file, not demangled. */
uint32_t hak_units_find(hak_units *units, Dwarf_Addr address, hak_symbol *out, uint32_t max);

#endif
