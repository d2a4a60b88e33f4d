/* cfi.h: call frame information of one return address, reduced to a frame row.
 *
 * Reads the .eh_frame of the loaded module (LSB Core 5, 10.6; DWARF 5, 6.4) in the running process. No
 * allocation, no locks where the C library has _dl_find_object (glibc 2.35 on); dl_iterate_phdr(3) elsewhere.
 * Any thread, signal handlers included. About a microsecond. */
#ifndef HAK_CALLSITE_CFI_H
#define HAK_CALLSITE_CFI_H

#include "core/callsite/frame.h"

/* Row in force at the call that returns to `pc`. DYNAMIC for code without frame information and for
 * everything that a row cannot say. */
hak_frame_row hak_cfi_row(uintptr_t pc);

/* False: no frame information covers that address (generated code, some assembly). */
bool hak_cfi_covers(uintptr_t pc);

#endif
