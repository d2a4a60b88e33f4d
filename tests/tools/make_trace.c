/* make_trace.c: text on stdin to a trace file, so that tests can say what is in a trace. Test helper, one
 * thread.
 *
 *     make_trace OUT [payloads]     with `payloads`, OUT holds the raw members, each after its length (4
 * bytes)
 *
 * One word and its arguments a line; '#' begins a comment. Numbers are decimal, or hexadecimal with 0x.
 *     head PROGRAM PID [PARENT_PID PARENT_START START]   (first line, else all zero)
 *     module START END BIAS PATH [BUILD-ID]   rss BYTES          row PC OFFSET SLOT KIND
 *     thread TID NAME                     the events that follow are of this thread (declared when new)
 *     at NS                               time of the events that follow; `+NS` adds to it
 *     OP ID SIZE [PC,PC…]                 an allocation, innermost return address first; OP is malloc,
 * calloc, new … failed OP SIZE                      realloc OLD NEW SIZE [PC,PC…]   (OLD may be 0; NEW may be
 * 0) free ID | cfree ID | delete ID      (ID 0 is NULL, an unknown one is foreign) flush end the member end
 * DURATION [LOST STATUS]          (without it the trace is left as OUT.part) */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/print.h"
#include "core/base/wire.h"
#include "trace/gzip.h"
#include "trace/slots.h"
#include "trace/writer.h"

enum { MAX_WORDS = 8, MAX_LINE = 65536, MAX_THREADS = 1000 };

static hak_trace_head head = {.program = "", .command = "", .recorder = "make_trace"};
static hak_writer *writer;
static hak_slots *slots;
static uint64_t time_ns;
static uint32_t thread;
static uint64_t tids[MAX_THREADS];
static uint32_t threads;
static unsigned line_number;
static const char *out_path;

static void die(const char *what)
{
    fprintf(stderr, "make_trace: line %u: %s\n", line_number, what);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);
    if (*text == '\0' || *end != '\0')
        die("not a number");
    return value;
}

static uint32_t context_of(char *pcs)
{
    uint64_t chain[HAK_TRACE_MAX_DEPTH];
    unsigned depth = 0;
    for (char *save, *pc = strtok_r(pcs, ",", &save); pc != NULL; pc = strtok_r(NULL, ",", &save))
        chain[depth++] = number(pc);
    uint32_t node = 0;
    while (depth != 0)
        node = hak_writer_context(writer, node, chain[--depth]);
    return node;
}

static void open_writer(void)
{
    hak_trace_error error;
    const hak_writer_options options = {.force = true};
    if (writer == NULL && (writer = hak_writer_open(out_path, &head, &options, &error)) == NULL)
        die(error.text);
}

static void use_thread(uint64_t tid, const char *name)
{
    for (thread = 0; thread < threads; thread++) {
        if (tids[thread] == tid)
            return;
    }
    tids[threads++] = tid;
    thread = hak_writer_thread(writer, tid, name);
}

static int op_named(const char *name)
{
    for (int op = 0; op < HAK_OP_COUNT; op++) {
        const char *text = hak_op_text((hak_op)op);
        if (strcmp(text, name) == 0 || (strncmp(text, "operator ", 9) == 0 && strcmp(text + 9, name) == 0))
            return op;
    }
    die("unknown word");
    return 0;
}

static void block_event(const char *name, char **words, int count)
{
    hak_event event = {.op = (uint8_t)op_named(name), .time_ns = time_ns, .thread = thread};
    uint32_t lost;
    switch (hak_op_class_of((hak_op)event.op)) {
    case HAK_CLASS_ALLOC:
        event.slot = hak_slots_add(slots, number(words[0]), &lost);
        event.size_bytes = number(words[1]);
        event.context = count > 2 ? context_of(words[2]) : 0;
        break;
    case HAK_CLASS_REALLOC:
        event.slot_old = hak_slots_take(slots, number(words[0]));
        event.slot = hak_slots_add(slots, number(words[1]), &lost);
        event.flags = number(words[0]) != number(words[1]) ? HAK_EVENT_MOVED : 0;
        event.size_bytes = number(words[2]);
        event.context = count > 3 ? context_of(words[3]) : 0;
        break;
    case HAK_CLASS_FREE:
        event.slot_old = hak_slots_take(slots, number(words[0]));
        event.flags = event.slot_old == 0 && number(words[0]) != 0 ? HAK_EVENT_FOREIGN : 0;
        break;
    case HAK_CLASS_THREAD:
        break;
    }
    hak_writer_event(writer, &event);
}

static void finish(char **words, int count)
{
    hak_trace_tail tail = {.duration_ns = number(words[0])};
    tail.events_lost = count > 1 ? number(words[1]) : 0;
    tail.exit_status = count > 2 ? number(words[2]) : 0;
    hak_trace_error error;
    if (hak_writer_finish(writer, &tail, &error) != 0)
        die(error.text);
    writer = NULL;
}

static void set_head(char **words, int count)
{
    static char program[4096];
    snprintf(program, sizeof program, "%s", words[0]);
    head.program = head.command = program;
    head.command_bytes = strlen(program) + 1;
    head.pid = number(words[1]);
    head.parent_pid = count > 2 ? number(words[2]) : 0;
    head.parent_start_ns = count > 3 ? number(words[3]) : 0;
    head.start_unix_ns = count > 4 ? number(words[4]) : 0;
}

static void run_line(char **words, int count)
{
    static const struct {
        const char *word;
        int needs;
    } arity[] = {{"head", 2}, {"module", 4}, {"rss", 1},    {"row", 4},   {"thread", 2},
                 {"at", 1},   {"failed", 2}, {"end", 1},    {"flush", 0}, {"realloc", 3},
                 {"free", 1}, {"cfree", 1},  {"delete", 1}, {NULL, 2}};
    const char *word = words[0];
    size_t row = 0;
    while (arity[row].word != NULL && strcmp(arity[row].word, word) != 0)
        row++;
    words++;
    if (--count < arity[row].needs && strcmp(word, "thread start") != 0)
        die("too few arguments");
    if (strcmp(word, "head") == 0) {
        set_head(words, count);
        return;
    }
    open_writer();
    if (strcmp(word, "module") == 0) {
        hak_trace_module module = {.start = number(words[0]),
                                   .end = number(words[1]),
                                   .bias = number(words[2]),
                                   .from_ns = time_ns,
                                   .path = words[3]};
        for (size_t i = 0; count > 4 && words[4][2 * i] != '\0' && i < HAK_BUILD_ID_MAX_BYTES; i++) {
            const char byte[] = {words[4][2 * i], words[4][2 * i + 1], '\0'};
            module.build_id[module.build_id_bytes++] = (uint8_t)strtoul(byte, NULL, 16);
        }
        hak_writer_module_load(writer, &module);
    } else if (strcmp(word, "rss") == 0) {
        hak_writer_rss(writer, &(hak_trace_rss){time_ns, number(words[0])});
    } else if (strcmp(word, "row") == 0) {
        hak_frame_row frame = {.cfa_offset = (int32_t)number(words[1]),
                               .bp_slot = (int16_t)number(words[2]),
                               .kind = (uint8_t)number(words[3])};
        hak_writer_row(writer, &(hak_trace_row){number(words[0]), frame});
    } else if (strcmp(word, "thread") == 0) {
        use_thread(number(words[0]), words[1]);
    } else if (strcmp(word, "at") == 0) {
        time_ns = words[0][0] == '+' ? time_ns + number(words[0] + 1) : number(words[0]);
    } else if (strcmp(word, "failed") == 0) {
        hak_event event = {.op = (uint8_t)op_named(words[0]),
                           .flags = HAK_EVENT_FAILED,
                           .size_bytes = number(words[1]),
                           .time_ns = time_ns,
                           .thread = thread};
        hak_writer_event(writer, &event);
    } else if (strcmp(word, "flush") == 0) {
        hak_writer_flush(writer);
    } else if (strcmp(word, "end") == 0) {
        finish(words, count);
    } else {
        if (threads == 0)
            use_thread(1, "main");
        block_event(word, words, count);
    }
}

/* Replaces the trace by its raw members, each after its length. */
static void unpack(void)
{
    static uint8_t packed[8 << 20];
    static uint8_t raw[HAK_TRACE_MEMBER_MAX_BYTES];
    FILE *file = fopen(out_path, "rb");
    if (file == NULL)
        die("no trace to unpack");
    size_t n = fread(packed, 1, sizeof packed, file);
    fclose(file);
    file = fopen(out_path, "wb");
    hak_unpacker *unpacker = hak_unpacker_new();
    for (size_t at = 0, member_bytes, raw_bytes; at < n; at += member_bytes) {
        if (!hak_gzip_header(packed + at, &member_bytes, &raw_bytes) || raw_bytes > sizeof raw ||
            !hak_unpacker_unpack(unpacker, packed + at, member_bytes, raw, raw_bytes))
            die("cannot be unpacked");
        uint8_t length[4];
        hak_put_fixed(length, raw_bytes, 4);
        fwrite(length, 1, 4, file);
        fwrite(raw, 1, raw_bytes, file);
    }
    hak_unpacker_free(unpacker);
    fclose(file);
}

int main(int argc, char **argv)
{
    static char line[MAX_LINE];
    if (argc < 2)
        die("usage: make_trace OUT [payloads] < TEXT");
    out_path = argv[1];
    slots = hak_slots_new();
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *words[MAX_WORDS];
        int count = 0;
        line_number++;
        line[strcspn(line, "#\n")] = '\0';
        for (char *save, *word = strtok_r(line, " \t", &save); word != NULL && count < MAX_WORDS;
             word = strtok_r(NULL, " \t", &save))
            words[count++] = word;
        if (count != 0)
            run_line(words, count);
    }
    hak_slots_free(slots);
    if (argc > 2)
        unpack();
    return 0;
}
