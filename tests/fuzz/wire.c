/* wire.c: the byte reader never leaves its input, and what it accepts it writes back as the same value. */
#include "core/base/print.h"
#include "core/base/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hak_wire_in in = hak_wire_in_of(data, size);
    for (unsigned step = 0; hak_wire_left(&in) && !in.bad; step++) {
        if (step % 3 == 0) {
            uint64_t value = hak_get_varint(&in);
            uint8_t again[HAK_VARINT_MAX_BYTES];
            uint8_t *end = hak_put_varint(again, value);
            hak_wire_in back = hak_wire_in_of(again, (size_t)(end - again));
            hak_assert(in.bad || hak_get_varint(&back) == value);
            hak_assert(hak_unzigzag(hak_zigzag((int64_t)value)) == (int64_t)value);
        } else if (step % 3 == 1) {
            size_t len_bytes;
            const uint8_t *bytes = hak_get_bytes(&in, &len_bytes);
            hak_assert(in.bad ? !bytes : bytes >= data && bytes + len_bytes <= data + size);
        } else {
            hak_get_fixed(&in, 1 + data[0] % 8);
        }
        hak_assert(in.at >= data && in.at <= data + size);
    }
    return 0;
}
