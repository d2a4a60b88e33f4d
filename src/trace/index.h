/* index.h: where the members of a trace lie. Bounded: past HAK_INDEX_MAX entries, neighbours are merged and
 * an entry stands for twice as many members. Writer and reader build it alike and so can compare. One thread.
 */
#ifndef HAK_TRACE_INDEX_H
#define HAK_TRACE_INDEX_H

#include "trace/bytes.h"

#define HAK_INDEX_MAX 65536

typedef struct hak_index_entry {
    uint64_t len_bytes; /* compressed */
    uint64_t events;
} hak_index_entry;

typedef struct hak_index {
    hak_index_entry *entries;
    size_t count;
    size_t room;
    uint64_t stride;  /* members per entry; the last entry may stand for fewer */
    uint64_t members; /* in all */
} hak_index;

void hak_index_init(hak_index *index);
void hak_index_done(hak_index *index);
bool hak_index_add(hak_index *index, uint64_t len_bytes, uint64_t events); /* false: no memory */
void hak_index_put(const hak_index *index, hak_bytes *body);               /* body of an INDEX section */
bool hak_index_equals(const hak_index *index, hak_wire_in body);

#endif
