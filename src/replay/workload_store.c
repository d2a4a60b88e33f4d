/* workload_store.c: the growing region of a workload that is being built, and the streams in it. Never looks
 * at events. One thread per build. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/bits.h"
#include "core/base/print.h"
#include "replay/workload_build.h"

#define CHUNK_FIRST    64u /* words */
#define CHUNK_LAST     HAK_W_CHUNK_WORDS
#define GROW_WORDS_MIN (HAK_MIB / 8)
#define FILE_STEP      (64 * HAK_MIB / 8) /* words by which a file grows, and that stay mapped in */

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

/* From memory to an unnamed file of `cap` words, which costs no memory but what is being written. */
static int spill(hak_builder *b, uint64_t cap)
{
    hak_workload *w = b->w;
    int fd = open(b->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    const char *from = (const char *)w->words;
    for (uint64_t done = 0, all = w->word_count * 8; fd >= 0 && done < all;) {
        ssize_t n = pwrite(fd, from + done, all - done < HAK_GIB ? all - done : HAK_GIB, (off_t)done);
        if (n <= 0) {
            close(fd);
            fd = -1;
        } else {
            done += (uint64_t)n;
        }
    }
    /* Room is made sure of: a write to a mapping of a full disk would be a signal. */
    void *at = fd >= 0 && fallocate(fd, 0, 0, (off_t)(cap * 8)) == 0
                   ? mmap(NULL, cap * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                   : MAP_FAILED;
    if (at == MAP_FAILED) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    munmap(w->words, w->word_cap * 8);
    close(w->fd);
    w->fd = fd;
    w->words = at;
    w->word_cap = cap;
    w->in_file = true;
    return 0;
}

static int file_grow(hak_builder *b, uint64_t need)
{
    hak_workload *w = b->w;
    uint64_t cap = w->word_count + need + FILE_STEP;
    if (fallocate(w->fd, 0, 0, (off_t)(cap * 8)) != 0)
        return hak_builder_fail(b, "not enough room on the disk to compile the trace; see --cache");
    if (w->word_count >
        FILE_STEP) /* what is written may leave memory; blocks handed over later bring theirs back */
        madvise(w->words, hak_align_down((w->word_count - FILE_STEP) * 8, HAK_OS_PAGE_BYTES), MADV_DONTNEED);
    void *at = mremap(w->words, w->word_cap * 8, cap * 8, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return hak_builder_fail(b, "not enough address space to compile the trace");
    w->words = at;
    w->word_cap = cap;
    return 0;
}

static int words_reserve(hak_builder *b, uint64_t need)
{
    hak_workload *w = b->w;
    if (w->word_count + need <= w->word_cap)
        return 0;
    if (w->in_file)
        return file_grow(b, need);
    if (b->folder != NULL && (w->word_count + need) * 8 > b->spill_bytes &&
        spill(b, w->word_count + need + FILE_STEP) == 0)
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
