/* pieces.h: memory for many small things that stay where they are and go all at once: profiles keep a
 * million of them and touch them in no order, so they lie on huge pages where the kernel has some. Memory is
 * zeroed and aligned to 16 bytes. Owned by one thread. */
#ifndef HAK_REPLAY_PIECES_H
#define HAK_REPLAY_PIECES_H

#include "core/base/types.h"

#define HAK_PIECE_MAX_BYTES (2 * HAK_MIB)

typedef struct hak_piece {
    void *start;
    size_t bytes;
} hak_piece;

typedef struct hak_pieces { /* all zero: empty */
    hak_piece *list;
    size_t list_room;
    size_t count;
    size_t used_bytes; /* of the last one */
} hak_pieces;

/* bytes <= HAK_PIECE_MAX_BYTES. NULL: no memory. */
void *hak_pieces_take(hak_pieces *pieces, size_t bytes);
void hak_pieces_done(hak_pieces *pieces);

#endif
