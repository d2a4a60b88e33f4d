/* make_big.c: a large trace of any shape, to measure and to strain the tools with. Test helper, one thread.
 *
 *     make_big OUT EVENTS CONTEXTS LIVE [own]
 *
 * EVENTS in all, about LIVE blocks live at once, from CONTEXTS call stacks of seven frames, four threads.
 * With `own`, every stack ends at a return address of its own, so that nothing can be merged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "trace/slots.h"
#include "trace/writer.h"

enum { LEVELS = 7, THREADS = 4, STEP_NS = 40 };

static uint64_t seed = 1;

static uint64_t draw(void)
{
    return hak_mix64(seed += UINT64_C(0x9e3779b97f4a7c15));
}

/* The stack of a number: its digits, so that stacks share their callers. */
static uint32_t context_of(hak_writer *writer, uint64_t number, uint64_t contexts, bool own)
{
    uint64_t base = 2;
    uint32_t node = 0;
    uint64_t high = 1;
    while (base * base * base * base * base * base < contexts)
        base++;
    for (unsigned i = 1; i < LEVELS; i++)
        high *= base;
    for (unsigned level = 0; level + 1 < LEVELS; level++, high /= base)
        node = hak_writer_context(writer, node, 0x400000 + level * 0x10000 + (number / high) % base * 16);
    return hak_writer_context(writer, node, own ? 0x10000000 + number * 16 : 0x800000 + number % base * 16);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: make_big OUT EVENTS CONTEXTS LIVE [own]\n");
        return 2;
    }
    uint64_t events = strtoull(argv[2], NULL, 10);
    uint64_t contexts = strtoull(argv[3], NULL, 10);
    uint64_t live = strtoull(argv[4], NULL, 10);
    bool own = argc > 5 && strcmp(argv[5], "own") == 0;
    const hak_trace_head head = {
        .program = "/big", .command = "big", .command_bytes = 4, .recorder = "make_big", .pid = 1};
    hak_trace_error error;
    hak_writer *writer =
        hak_writer_open(argv[1], &head, &(hak_writer_options){.background = true, .force = true}, &error);
    uint32_t *blocks = calloc(live + 1, sizeof *blocks); /* slots; 0: free */
    uint32_t *nodes = calloc(contexts + 1, sizeof *nodes);
    uint32_t *unused = calloc(live + 1, sizeof *unused);
    if (writer == NULL || blocks == NULL || nodes == NULL || unused == NULL || contexts == 0 || live == 0) {
        fprintf(stderr, "make_big: %s\n", writer == NULL ? error.text : "bad arguments, or out of memory");
        return 2;
    }
    for (unsigned i = 0; i < THREADS; i++)
        hak_writer_thread(writer, 1000 + i, "worker");
    const hak_trace_module module = {.start = 0x400000, .end = 0x7fffffff, .path = "/big"};
    hak_writer_module_load(writer, &module);
    uint32_t top = 0;
    size_t unused_count = 0;
    for (uint64_t i = 0; i < events; i++) {
        uint64_t random = draw();
        uint64_t at = random % live;
        hak_event event = {.time_ns = i * STEP_NS, .thread = (uint32_t)(random >> 40) % THREADS};
        if (blocks[at] != 0) {
            event.op = HAK_OP_FREE;
            event.slot_old = blocks[at];
            unused[unused_count++] = blocks[at];
            blocks[at] = 0;
        } else {
            uint64_t number = i < contexts * 2 ? i / 2 : (random >> 20) % contexts;
            if (nodes[number] == 0)
                nodes[number] = context_of(writer, number, contexts, own);
            event.op = HAK_OP_MALLOC;
            event.context = nodes[number];
            event.size_bytes = 16 + (number * 7919 % 500);
            event.slot = blocks[at] = unused_count != 0 ? unused[--unused_count] : ++top;
        }
        hak_writer_event(writer, &event);
    }
    const hak_trace_tail tail = {.ended = true, .duration_ns = events * STEP_NS};
    int result = hak_writer_finish(writer, &tail, &error);
    if (result != 0)
        fprintf(stderr, "make_big: %s\n", error.text);
    free(blocks);
    free(nodes);
    free(unused);
    return result != 0;
}
