/* Fuzz target: bytes as a trace file, read whole, strictly and with PARTIAL, twice. Every event must be
 * consistent. */
#include "trace_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_read_file(data, size);
    return 0;
}
