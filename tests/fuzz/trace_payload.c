/* Fuzz target: raw members, each after its length, are packed with right checksums and read as a trace file:
 * what a mutator of the compressed file would hardly reach. */
#include "trace_read.h"

#include <stdlib.h>

#include "core/base/wire.h"
#include "trace/gzip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hak_packer *packer = hak_packer_new(1);
    size_t room = 2 * size + 65536;
    uint8_t *file = malloc(room);
    hak_assert(packer != NULL && file != NULL);
    size_t file_bytes = 0;
    hak_wire_in in = hak_wire_in_of(data, size);
    while (hak_wire_left(&in) > 4 && file_bytes < room) {
        size_t left = hak_wire_left(&in) - 4;
        size_t raw_bytes = (size_t)hak_get_fixed(&in, 4);
        if (raw_bytes > left)
            raw_bytes = left;
        size_t packed = hak_packer_pack(packer, in.at, raw_bytes, file + file_bytes, room - file_bytes);
        if (packed == 0)
            break;
        in.at += raw_bytes;
        file_bytes += packed;
    }
    fuzz_read_file(file, file_bytes);
    hak_packer_free(packer);
    free(file);
    return 0;
}
