/* workload_store.c: the growing region of a workload that is being built, and the streams in it. Never looks
 * at events. One thread per build. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/print.h"
#include "replay/workload_build.h"

#define CHUNK_FIRST    64u /* words */
#define CHUNK_LAST     8192u
#define GROW_WORDS_MIN (HAK_MIB / 8)

int hak_builder_fail(hak_builder *b, const char *text)
{
    snprintf(b->error->text, sizeof b->error->text, "%s", text);
    b->error->event_index = b->w->info.operations;
    return -1;
}

/* Grows a malloc'ed array to hold at least `need` entries. */
int hak_array_grow(void **array, size_t *cap, size_t need, size_t entry_bytes)
{
    if (need <= *cap)
        return 0;
    size_t wanted = *cap < 64 ? 64 : *cap * 2;
    if (wanted < need)
        wanted = need;
    void *grown = realloc(*array, wanted * entry_bytes);
    if (grown == NULL)
        return -1;
    memset((char *)grown + *cap * entry_bytes, 0, (wanted - *cap) * entry_bytes);
    *array = grown;
    *cap = wanted;
    return 0;
}

int hak_builder_grow(hak_builder *b, void **array, uint32_t *cap, size_t need, size_t entry_bytes)
{
    size_t wide = *cap;
    if (hak_array_grow(array, &wide, need, entry_bytes) != 0 || wide > UINT32_MAX)
        return hak_builder_fail(b, "not enough memory to compile the trace");
    *cap = (uint32_t)wide;
    return 0;
}

static int words_reserve(hak_builder *b, uint64_t need)
{
    hak_workload *w = b->w;
    if (w->word_count + need <= w->word_cap)
        return 0;
    uint64_t cap = w->word_cap + w->word_cap / 2;
    if (cap < w->word_count + need + GROW_WORDS_MIN)
        cap = w->word_count + need + GROW_WORDS_MIN;
    if (cap * 8 > b->budget_bytes)
        return hak_builder_fail(
            b, "the compiled trace would take more than 80% of the available memory; cut it shorter");
    if (ftruncate(w->fd, (off_t)(cap * 8)) != 0)
        return hak_builder_fail(b, "not enough memory to compile the trace");
    void *at = w->words == NULL ? mmap(NULL, cap * 8, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0)
                                : mremap(w->words, w->word_cap * 8, cap * 8, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return hak_builder_fail(b, "not enough address space to compile the trace");
    w->words = at;
    w->word_cap = cap;
    return 0;
}

/* Word number of `count` fresh words on a cache line of their own. 0 on failure (word 0 is the header's). */
uint64_t hak_words_take(hak_builder *b, uint64_t count)
{
    uint64_t at = hak_align_up(b->w->word_count, HAK_CACHE_LINE / 8);
    if (words_reserve(b, at - b->w->word_count + count) != 0)
        return 0;
    b->w->word_count = at + count;
    return at;
}

bool hak_stream_grow(hak_builder *b, hak_stream *s, uint32_t count)
{
    s->chunk_words = s->chunk_words == 0 ? CHUNK_FIRST : s->chunk_words * 2;
    if (s->chunk_words > CHUNK_LAST)
        s->chunk_words = CHUNK_LAST;
    hak_assert(count < CHUNK_FIRST);
    uint64_t chunk = hak_words_take(b, s->chunk_words);
    if (chunk == 0)
        return false;
    if (s->first == 0)
        s->first = chunk;
    else
        b->w->words[s->at] = hak_w_number(HAK_W_JUMP, chunk);
    s->at = chunk;
    s->end = chunk + s->chunk_words - 1;
    return true;
}

int hak_stream_put_number(hak_builder *b, hak_stream *s, unsigned code, uint64_t number)
{
    uint64_t at = hak_stream_take(b, s, 1);
    if (at == 0)
        return -1;
    b->w->words[at] = hak_w_number(code, number);
    return 0;
}
