/* index.c: see index.h. Never touches files. */
#include "trace/index.h"

void hak_index_init(hak_index *index)
{
    *index = (hak_index){.stride = 1};
}

void hak_index_done(hak_index *index)
{
    free(index->entries);
    *index = (hak_index){.stride = 1};
}

static void halve(hak_index *index)
{
    for (size_t i = 0; i < index->count / 2; i++) {
        hak_index_entry a = index->entries[2 * i];
        hak_index_entry b = index->entries[2 * i + 1];
        index->entries[i] = (hak_index_entry){a.len_bytes + b.len_bytes, a.events + b.events};
    }
    index->count /= 2;
    index->stride *= 2;
}

bool hak_index_add(hak_index *index, uint64_t len_bytes, uint64_t events)
{
    if (index->members % index->stride == 0) {
        if (index->count == HAK_INDEX_MAX)
            halve(index); /* the count is even: this member begins an entry of the wider stride as well */
        if (!HAK_GROW(&index->entries, &index->room, index->count + 1))
            return false;
        index->entries[index->count++] = (hak_index_entry){0, 0};
    }
    hak_index_entry *last = &index->entries[index->count - 1];
    last->len_bytes += len_bytes;
    last->events += events;
    index->members++;
    return true;
}

void hak_index_put(const hak_index *index, hak_bytes *body)
{
    hak_bytes_varint(body, index->stride);
    hak_bytes_varint(body, index->count);
    for (size_t i = 0; i < index->count; i++) {
        hak_bytes_varint(body, index->entries[i].len_bytes);
        hak_bytes_varint(body, index->entries[i].events);
    }
}

bool hak_index_equals(const hak_index *index, hak_wire_in body)
{
    if (hak_get_varint(&body) != index->stride || hak_get_varint(&body) != index->count)
        return false;
    for (size_t i = 0; i < index->count; i++) {
        if (hak_get_varint(&body) != index->entries[i].len_bytes ||
            hak_get_varint(&body) != index->entries[i].events)
            return false;
    }
    return !body.bad;
}
